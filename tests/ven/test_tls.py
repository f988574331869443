"""Our certificate and the VTN's: what is offered, refused, renewed, and said of it (SEC)."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from flexpact.pki import identity, issue, load, make_authority, renew
from openadr import Poll, encode
from openadr.certificate import KeyKind
from tests.ven.messages import VEN, ok
from tests.ven.wire import eventually
from tests.vtn.secure import odd_certificate
from ven.errors import SettingsError, UnreachableError
from ven.settings import VenSettings
from ven.tls import Tls
from ven.transport import Transport

NOW = datetime.now(UTC)
POLL = encode(Poll(VEN))
ECDSA, RSA = "ECDHE-ECDSA-AES128-SHA256", "AES128-SHA256"
KINDS = (KeyKind.EC, KeyKind.RSA)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    make_authority(directory, NOW, KINDS)
    for kind in KINDS:
        issue(directory, "vtn", NOW, server=True, kind=kind)
        issue(directory, "ven", NOW, server=False, kind=kind)
    return directory


@pytest.fixture
def pki(made: Path, tmp_path: Path) -> Path:
    """Certificates that the test may change."""
    return Path(shutil.copytree(made, tmp_path / "pki"))


def settings(pki: Path, port: int = 1, kind: KeyKind = KeyKind.EC, **changes: object) -> VenSettings:
    ours = identity(pki, "ven", kind)
    values: dict[str, object] = {
        "vtn_url": f"https://127.0.0.1:{port}",
        "ven_name": "alice",
        "state_path": pki / "unused",
        "cert": ours.cert,
        "key": ours.key,
        "ca": ours.ca,
    }
    return VenSettings(**(values | changes))  # type: ignore[arg-type] - fields by name


@dataclass
class Vtn:
    """A server that answers every request, and holds one back while `held` is not set."""

    port: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    """Version, suite and client certificate of each request."""
    connections: list[object] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def serving(cls, pki: Path, *names: str) -> AsyncIterator[Vtn]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_ciphers("ALL:@SECLEVEL=0")
        for name in names or ("vtn",):
            context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
        vtn = cls()
        vtn.held.set()
        runner = web.ServerRunner(web.Server(vtn.answer))  # type: ignore[arg-type] - a request is a BaseRequest
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        vtn.port = runner.addresses[0][1]
        try:
            yield vtn
        finally:
            await runner.cleanup()

    async def answer(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        tls = request.transport.get_extra_info("ssl_object")
        self.connections.append(tls)
        self.seen.append((tls.version(), tls.cipher()[0], tls.getpeercert(binary_form=True)))
        await self.held.wait()
        return web.Response(body=encode(ok()), content_type="application/xml")


def names_of(context: ssl.SSLContext) -> list[str]:
    return [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"]


@pytest.mark.goal(13)
@pytest.mark.criterion("SEC-01", "SEC-03", "SEC-04")
def test_sec_04_compat_is_the_default_and_offers_the_two_suites_of_tls_1_2_alone(made: Path) -> None:
    chosen = settings(made)
    assert chosen.tls_profile == "compat"
    context = Tls(chosen).context
    assert names_of(context) == [ECDSA, RSA]
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2 is context.maximum_version


@pytest.mark.goal(13)
@pytest.mark.criterion("SEC-04")
def test_goals_13_modern_offers_authenticated_encryption_alone(made: Path) -> None:
    context = Tls(settings(made, tls_profile="modern")).context
    assert all("GCM" in name or "CHACHA20" in name for name in names_of(context))
    assert all(name.startswith("ECDHE-") for name in names_of(context))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.maximum_version is ssl.TLSVersion.MAXIMUM_SUPPORTED


@pytest.mark.goal(17)
@pytest.mark.parametrize("profile", ["compat", "modern"])
@pytest.mark.parametrize("pin", [None, "ab" * 32])
def test_goals_17_nothing_switches_the_check_of_name_and_chain_off(
    made: Path, profile: str, pin: str | None
) -> None:
    context = Tls(settings(made, tls_profile=profile, vtn_fingerprint=pin)).context
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


@pytest.mark.criterion("SEC-03", "SEC-06", "SEC-18")
@pytest.mark.parametrize("ours", KINDS)
@pytest.mark.parametrize(("theirs", "suite"), [("vtn", ECDSA), ("vtn-rsa", RSA)])
async def test_sec_06_either_kind_of_ours_meets_either_kind_of_theirs(
    made: Path, ours: KeyKind, theirs: str, suite: str
) -> None:
    async with Vtn.serving(made, theirs) as vtn:
        async with Transport(settings(made, vtn.port, ours), lambda: NOW) as transport:
            await transport.post("OadrPoll", POLL)
        assert vtn.seen == [("TLSv1.2", suite, load(identity(made, "ven", ours).cert)[0].der)]


@pytest.mark.criterion("SEC-07", "SEC-08")
@pytest.mark.parametrize("profile", ["compat", "modern"])
@pytest.mark.parametrize("kind", ["rsa-1024", "p-224"])
async def test_sec_07_a_vtn_with_a_weak_key_gets_no_byte(pki: Path, profile: str, kind: str) -> None:
    key = (
        ec.generate_private_key(ec.SECP224R1()) if kind == "p-224" else rsa.generate_private_key(65537, 1024)
    )
    odd_certificate(pki, kind, NOW, key, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    async with Vtn.serving(pki, kind) as vtn:
        async with Transport(settings(pki, vtn.port, tls_profile=profile), lambda: NOW) as transport:
            with pytest.raises(UnreachableError):
                await transport.post("OadrPoll", POLL)
        assert vtn.seen == []


@pytest.mark.criterion("SEC-10")
async def test_sec_10_a_connection_is_not_used_once_the_vtns_certificate_has_expired(made: Path) -> None:
    """A new connection is made instead: its handshake refuses what has expired by the machine's clock."""
    now = [NOW]
    ends = load(made / "vtn.pem")[0].not_after
    async with Vtn.serving(made) as vtn, Transport(settings(made, vtn.port), lambda: now[0]) as transport:
        for instant in (NOW, NOW, ends - timedelta(seconds=1), ends, ends + timedelta(seconds=1)):
            now[0] = instant
            await transport.post("OadrPoll", POLL)
        used = [vtn.connections.index(connection) for connection in vtn.connections]
    assert used == [0, 0, 0, 3, 4]


@pytest.mark.goal(82)
@pytest.mark.criterion("SEC-15")
async def test_sec_15_a_renewed_certificate_is_used_from_the_next_request_and_cuts_none(pki: Path) -> None:
    old = load(pki / "ven.pem")[0].der
    async with Vtn.serving(pki) as vtn, Transport(settings(pki, vtn.port), lambda: NOW) as transport:
        vtn.held.clear()
        under_way = asyncio.create_task(transport.post("OadrPoll", POLL))
        await eventually(lambda: len(vtn.seen) == 1)
        renew(identity(pki, "ven", KeyKind.EC), KeyKind.EC, NOW)
        second = asyncio.create_task(transport.post("OadrPoll", POLL))
        await eventually(lambda: len(vtn.seen) == 2)
        vtn.held.set()
        assert await under_way == await second == encode(ok())
        await transport.post("OadrPoll", POLL)
        new = load(pki / "ven.pem")[0].der
        assert [certificate for _, _, certificate in vtn.seen] == [old, new, new]


async def test_files_that_cannot_be_used_are_said_once_and_change_nothing(
    pki: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Vtn.serving(pki) as vtn, Transport(settings(pki, vtn.port), lambda: NOW) as transport:
        (pki / "ven.key").write_text("nothing")
        for _ in range(3):
            await transport.post("OadrPoll", POLL)
        assert len(set(map(id, vtn.connections))) == 1
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [f"the new certificates are not used: {pki / 'ven.key'} holds no private key"]


@pytest.mark.criterion("SEC-14", "SEC-15")
def test_sec_14_our_fingerprint_and_end_are_said_at_the_start_and_before_the_end(
    made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ours = load(made / "ven.pem")[0]
    tls = Tls(settings(made))
    assert caplog.messages == [f"our certificate is {ours.short}, valid until {ours.not_after}"]
    told = []
    for days in (31, 29, 28, 6, 5, 0.5, 0.25):
        caplog.clear()
        assert not tls.stale(ours.not_after - timedelta(days=days))
        told.append(caplog.messages)
    tls = Tls(settings(made))
    caplog.clear()
    tls.stale(ours.not_after)
    assert caplog.messages == [f"our certificate {ours.short} has ended at {ours.not_after}: renew it"]
    said = [f"our certificate {ours.short} ends at {ours.not_after}: renew it"]
    assert told == [[], said, [], said, [], said, []]


def lock(key: Path, to: Path, password: bytes) -> None:
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    to.touch(mode=0o600)
    to.write_bytes(loaded.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(password)))


@pytest.mark.criterion("SEC-07")
def test_files_that_cannot_be_used_are_one_sentence_that_names_them(pki: Path) -> None:
    plain, locked, right, wrong, both = (pki / name for name in ("plain", "locked", "right", "wrong", "both"))
    odd_certificate(pki, "weak", NOW, ec.generate_private_key(ec.SECP224R1()))
    for secret in (plain, right, wrong, both):
        secret.touch(mode=0o600)
    plain.write_text("nothing")
    right.write_text("secret\n")
    wrong.write_text("guess\n")
    lock(pki / "ven.key", locked, b"secret")
    bare, told = Path(shutil.copy(pki / "ven.key", pki / "bare")), Path(shutil.copy(right, pki / "told"))
    bare.chmod(0o644)
    told.chmod(0o644)
    both.write_bytes((pki / "ven.pem").read_bytes() + locked.read_bytes())
    broken_block = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    (pki / "bad-ca.pem").write_bytes((pki / "ca.pem").read_bytes() + broken_block)
    cases: list[tuple[dict[str, object], str]] = [
        ({"cert": pki / "nowhere"}, f"{pki / 'nowhere'} cannot be read: No such file"),
        ({"key": pki / "nowhere"}, f"{pki / 'nowhere'} cannot be read: No such file"),
        ({"ca": pki / "nowhere"}, f"{pki / 'nowhere'} cannot be read: No such file"),
        ({"cert": plain}, f"{plain} holds no certificate"),
        ({"key": plain}, f"{plain} holds no private key"),
        ({"ca": plain}, f"{plain} holds no certificate"),
        ({"ca": pki / "bad-ca.pem"}, "bad-ca.pem"),
        ({"key": None}, f"{pki / 'ven.pem'} holds no private key"),
        ({"key": pki / "vtn.key"}, f"the key in {pki / 'vtn.key'} is not that of the certificate in"),
        ({"key": locked}, f"the key in {locked} is encrypted, and no password was given"),
        ({"key": locked, "key_password_file": wrong}, f"the key in {locked} does not open"),
        ({"key": locked, "key_password_file": told}, f"{told} holds a password and is open to others"),
        ({"key": bare}, f"{bare} holds a private key and is open to others"),
        ({"cert": both, "key": None}, f"the key in {both} is encrypted"),
        ({"cert": pki / "vtn.pem", "key": pki / "vtn.key"}, f"{pki / 'vtn.pem'} is not for a client"),
        ({"cert": pki / "weak.pem", "key": pki / "weak.key"}, "an EC key of 224 bits, expected at least 256"),
    ]
    for changes, text in cases:
        with pytest.raises(SettingsError) as error:
            Tls(settings(pki, **changes))
        assert text in str(error.value), changes
        assert "\n" not in str(error.value)
    Tls(settings(pki, key=locked, key_password_file=right))
    Tls(settings(pki, cert=both, key=None, key_password_file=right))
