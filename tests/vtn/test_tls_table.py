"""The listener against `openssl s_client`: what is offered, by whom, and what comes of it (SEC-01 to 09)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from flexpact.pki import identity, issue, make_authority
from openadr.certificate import KeyKind
from tests.vtn.secure import BOTH, make_pki, odd_certificate, serving, vtn_settings
from vtn.server import Server

NOW = datetime.now(UTC)
REFUSED = "refused"
ECDSA, RSA = "ECDHE-ECDSA-AES128-SHA256", "AES128-SHA256"
WEAK = ":@SECLEVEL=0"  # the client lets itself do what the server must refuse
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"  # answered by 501, which ends the connection
)

# what is offered -> version, suite and kind of the server's certificate, for a client with a good certificate
COMPAT = {
    f"-tls1_2 -cipher {ECDSA}": f"TLSv1.2 {ECDSA} EC",
    f"-tls1_2 -cipher {RSA}": f"TLSv1.2 {RSA} RSA",
    f"-tls1_2 -cipher {RSA}:{ECDSA}": f"TLSv1.2 {ECDSA} EC",
    f"-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:{RSA}": f"TLSv1.2 {RSA} RSA",
    "": f"TLSv1.2 {ECDSA} EC",
    f"-cipher ALL{WEAK}": f"TLSv1.2 {ECDSA} EC",
    "-tls1_3": REFUSED,
    f"-tls1_1 -cipher ALL{WEAK}": REFUSED,
    f"-tls1 -cipher ALL{WEAK}": REFUSED,
    "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256": REFUSED,
    "-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256": REFUSED,
    "-tls1_2 -cipher ECDHE-RSA-AES128-SHA256": REFUSED,
    "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA": REFUSED,
    "-tls1_2 -cipher AES128-SHA": REFUSED,
    "-tls1_2 -cipher AES256-SHA256": REFUSED,
    f"-tls1_2 -cipher aNULL:eNULL{WEAK}": REFUSED,
}
MODERN = {
    "": "TLSv1.3 TLS_AES_256_GCM_SHA384 EC",
    "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256": "TLSv1.3 TLS_AES_128_GCM_SHA256 EC",
    "-tls1_3 -sigalgs RSA-PSS+SHA256:RSA+SHA256": "TLSv1.3 TLS_AES_256_GCM_SHA384 RSA",
    "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256": "TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256 EC",
    "-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256": "TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 RSA",
    "-tls1_2 -cipher ECDHE-RSA-CHACHA20-POLY1305": "TLSv1.2 ECDHE-RSA-CHACHA20-POLY1305 RSA",
    f"-tls1_2 -cipher {ECDSA}:{RSA}": REFUSED,
    "-tls1_2 -cipher AES128-GCM-SHA256": REFUSED,
    "-tls1_2 -cipher ECDHE-RSA-AES128-SHA256": REFUSED,
    f"-tls1_1 -cipher ALL{WEAK}": REFUSED,
}
ONE_KIND = {
    (KeyKind.EC, f"-tls1_2 -cipher {ECDSA}"): f"TLSv1.2 {ECDSA} EC",
    (KeyKind.EC, f"-tls1_2 -cipher {RSA}"): REFUSED,
    (KeyKind.RSA, f"-tls1_2 -cipher {RSA}"): f"TLSv1.2 {RSA} RSA",
    (KeyKind.RSA, f"-tls1_2 -cipher {ECDSA}"): REFUSED,
}
# who comes -> whether the handshake is good
CLIENTS = {
    "alice": True,
    "carol-rsa": True,
    "p384": True,
    "nobody": False,
    "self-signed": False,
    "of-another-authority": False,
    "expired": False,
    "not-yet": False,
    "a-server": False,
    "rsa-1024": False,
    "p-224": False,
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    make_pki(directory, NOW)
    p256, days = ec.generate_private_key(ec.SECP256R1()), timedelta(days=1)
    odd_certificate(directory, "p384", NOW, ec.generate_private_key(ec.SECP384R1()))
    odd_certificate(directory, "self-signed", NOW, p256, self_signed=True)
    odd_certificate(directory, "expired", NOW, p256, from_to=(-9 * days, -1 * days))
    odd_certificate(directory, "not-yet", NOW, p256, from_to=(days, 9 * days))
    odd_certificate(directory, "a-server", NOW, p256, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    odd_certificate(directory, "rsa-1024", NOW, rsa.generate_private_key(65537, 1024))
    odd_certificate(directory, "p-224", NOW, ec.generate_private_key(ec.SECP224R1()))
    make_authority(directory / "other", NOW)
    issue(directory / "other", "of-another-authority", NOW, server=False)
    return directory


async def s_client(server: Server, pki: Path, offer: str, who: str = "alice") -> str:
    """What `openssl s_client` says of one connection, over which the server answered a request."""
    folder = pki / "other" if who == "of-another-authority" else pki
    ours = identity(folder, who, KeyKind.EC)
    shown = ["-cert", str(ours.cert), "-key", str(ours.key)] if who != "nobody" else []
    to = ["-connect", f"127.0.0.1:{server.port}", "-CAfile", str(pki / "ca.pem"), "-verify_return_error"]
    process = await asyncio.create_subprocess_exec(
        "openssl", "s_client", "-ign_eof", *to, *shown, *offer.split(),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said = (await process.communicate(REQUEST))[0].decode(errors="replace")
    if "HTTP/1.1" not in said:
        return REFUSED
    assert "HTTP/1.1 501" in said
    version, suite = re.findall(r"New, (\S+), Cipher is (\S+)", said)[0]
    kind = "EC" if "Server public key is 256 bit" in said else "RSA"
    return f"{version} {suite} {kind}"


async def table(server: Server, pki: Path, offers: Iterable[str]) -> Mapping[str, str]:
    """By offer; a client signs with what it offers too, so one without ECDSA has an RSA certificate."""
    by = {offer: "carol-rsa" if "RSA-PSS" in offer else "alice" for offer in offers}
    return {offer: await s_client(server, pki, offer, who) for offer, who in by.items()}


@pytest.mark.goal(13)
@pytest.mark.criterion("SEC-01", "SEC-04", "SEC-05")
async def test_sec_02_compat_takes_the_two_mandated_suites_and_nothing_else(
    pki: Path, database_path: Path
) -> None:
    async with serving(vtn_settings(pki), database_path, lambda: NOW) as server:
        assert await table(server, pki, COMPAT) == COMPAT


@pytest.mark.goal(13)
@pytest.mark.criterion("SEC-04", "SEC-05", who="vtn")
async def test_goals_13_modern_takes_authenticated_encryption_and_nothing_else(
    pki: Path, database_path: Path
) -> None:
    settings = vtn_settings(pki, tls_profile="modern")
    async with serving(settings, database_path, lambda: NOW) as server:
        assert await table(server, pki, MODERN) == MODERN


@pytest.mark.goal(13)
@pytest.mark.criterion("SEC-05")
async def test_a_server_with_one_kind_serves_that_kind_alone(pki: Path, database_path: Path) -> None:
    got = {}
    for kind in BOTH:
        async with serving(vtn_settings(pki, kind), database_path, lambda: NOW) as server:
            rows = [row for row in ONE_KIND if row[0] is kind]
            got |= {row: await s_client(server, pki, row[1]) for row in rows}
    assert got == ONE_KIND


@pytest.mark.criterion("SEC-06", "SEC-07", "SEC-18", who="both")
@pytest.mark.parametrize("profile", ["compat", "modern"])
async def test_sec_09_only_a_good_certificate_gets_through_the_handshake(
    profile: str, pki: Path, database_path: Path
) -> None:
    settings = vtn_settings(pki, tls_profile=profile)
    async with serving(settings, database_path, lambda: NOW) as server:
        offer = f"-cipher ALL{WEAK}"
        got = {who: await s_client(server, pki, offer, who) != REFUSED for who in CLIENTS}
    assert got == CLIENTS
