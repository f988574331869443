"""Identity and encryption: the certificate says who speaks, and without one nobody does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from flexpact.pki import Identity, issue, make_authority
from openadr import CreatedPartyRegistration, CreatePartyRegistration, Message, Poll, Response, decode, encode
from tests.vtn.desk import ALICE, NOW
from tests.vtn.secure import RUNNERS, Run
from vtn import registration
from vtn.errors import StartupError
from vtn.request import Head, Whole
from vtn.server import BASE, DEV_FINGERPRINT, Server
from vtn.settings import TlsProfile, VtnSettings
from vtn.store import Database
from vtn.tls import server_tls

ECDSA, RSA = "ECDHE-ECDSA-AES128-SHA256", "AES128-SHA256"
REFUSED = "(?i)handshake|reset|^$"  # an alert, or the connection is cut


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One authority with a server and two VENs, and another authority with a VEN of its own."""
    directory = tmp_path_factory.mktemp("pki")
    now = datetime.now(UTC)
    make_authority(directory, now)
    for name, server in (("vtn", True), ("alice", False), ("bob", False)):
        issue(directory, name, now, server=server)
    issue(directory, "late", now - timedelta(days=200), server=False)
    other = directory / "other"
    other.mkdir()
    make_authority(other, now)
    issue(other, "mallory", now, server=False)
    return directory


def identity(pki: Path, name: str) -> Identity:
    return Identity(name, pki / f"{name}.pem", pki / f"{name}.key", pki / "ca.pem")


def settings(pki: Path, **more: object) -> VtnSettings:
    mine = identity(pki, "vtn")
    values = {"port": 0, "cert": mine.cert, "key": mine.key, "ca": mine.ca, **more}
    return VtnSettings.model_validate(values)


def client_context(pki: Path, name: str | None, **limits: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=pki / "ca.pem")
    if name is not None:
        who = identity(pki / "other" if name == "mallory" else pki, name)
        context.load_cert_chain(who.cert, who.key)
    for attribute, value in limits.items():
        setattr(context, attribute, value)
    return context


async def post(server: Server, context: ssl.SSLContext, service: str, message: Message) -> Message:
    """The reply over a new connection; the header claims to be somebody else, which must not matter."""
    url = f"https://127.0.0.1:{server.port}{BASE}{service}"
    headers = {"Content-Type": "application/xml", DEV_FINGERPRINT: ALICE}
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data=encode(message), headers=headers, ssl=context) as response,
    ):
        assert response.status == 200
        return decode(await response.read())


@asynccontextmanager
async def started(pki: Path, database_path: Path, **more: object) -> AsyncIterator[tuple[Server, Database]]:
    """A VTN with TLS on a port of the system's choice."""
    database = await Database.open(database_path)
    server = Server(settings(pki, **more), database, lambda: NOW, lambda _ven, _reports, _now: [])
    await server.start()
    try:
        yield server, database
    finally:
        await server.stop()
        await database.close()


@pytest.mark.goal(15)
@pytest.mark.parametrize("run", RUNNERS)
def test_certificate_says_who_speaks_whatever_a_header_or_an_id_claims(
    run: Run, pki: Path, database_path: Path
) -> None:
    async def scene() -> None:
        async with started(pki, database_path) as (server, database):
            alice, bob = (client_context(pki, name) for name in ("alice", "bob"))
            async with database.write() as conn:
                fingerprint = identity(pki, "alice").fingerprint
                alice_id = await registration.enrol(conn, "alice", fingerprint, NOW)
                await registration.enrol(conn, "header", ALICE, NOW)
            create = CreatePartyRegistration(request_id="c", ven_name="alice", http_pull_model=True)
            reply = await post(server, alice, "EiRegisterParty", create)
            assert isinstance(reply, CreatedPartyRegistration)
            assert (reply.response.code, reply.ven_id) == ("200", alice_id)
            stranger = await post(server, bob, "EiRegisterParty", create)
            assert isinstance(stranger, CreatedPartyRegistration)
            assert stranger.response.code == "463"
            polled = await post(server, bob, "OadrPoll", Poll(ven_id=alice_id))
            assert isinstance(polled, Response)
            assert polled.response.code == "463"

    run(scene())


@pytest.mark.parametrize("run", RUNNERS)
@pytest.mark.parametrize("name", [None, "mallory", "late"], ids=["none", "other-authority", "expired"])
def test_sec_09_client_without_a_good_certificate_gets_no_answer(
    run: Run, name: str | None, pki: Path, database_path: Path
) -> None:
    async def scene() -> None:
        async with started(pki, database_path) as (server, _database):
            context = client_context(pki, name)
            with pytest.raises(aiohttp.ClientError):
                await post(server, context, "OadrPoll", Poll(ven_id="x"))

    run(scene())


async def negotiated(server: Server, context: ssl.SSLContext) -> tuple[str, str]:
    _reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    cipher, version, _bits = writer.get_extra_info("cipher")
    writer.close()
    await writer.wait_closed()
    return cipher, version


async def test_sec_02_compat_takes_the_standards_suite_whatever_else_is_offered(
    pki: Path, database_path: Path
) -> None:
    async with started(pki, database_path) as (server, _):
        context = client_context(pki, "alice")
        context.set_ciphers(f"ECDHE-ECDSA-AES256-GCM-SHA384:{RSA}:{ECDSA}")
        assert await negotiated(server, context) == (ECDSA, "TLSv1.2")
        context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
        with pytest.raises(OSError, match=REFUSED):
            await negotiated(server, context)


async def test_modern_takes_authenticated_encryption_only(pki: Path, database_path: Path) -> None:
    async with started(pki, database_path, tls_profile="modern") as (server, _):
        context = client_context(pki, "alice")
        assert (await negotiated(server, context))[1] == "TLSv1.3"
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        cipher, version = await negotiated(server, context)
        assert ("GCM" in cipher, version) == (True, "TLSv1.2")
        context.set_ciphers(f"{ECDSA}:{RSA}")
        with pytest.raises(OSError, match=REFUSED):
            await negotiated(server, context)


def test_sec_01_compat_offers_the_two_suites_and_tls_1_2_alone(pki: Path) -> None:
    tls = server_tls(settings(pki))
    assert tls is not None
    context = tls.context
    names = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
    assert names == [ECDSA, RSA]
    assert context.maximum_version is ssl.TLSVersion.TLSv1_2 is context.minimum_version
    assert context.verify_mode is ssl.CERT_REQUIRED


MATRIX = [
    ({"cert": None}, "cert is not set"),
    ({"key": None}, "key is not set"),
    ({"ca": None}, "ca is not set"),
    ({"cert": None, "key": None, "ca": None}, "cert, key, ca is not set"),
    ({"insecure_dev": True}, "exclude each other"),
    ({"insecure_dev": True, "cert": None, "key": None}, "exclude each other"),
    ({"insecure_dev": True, "cert": None, "key": None, "ca": None, "host": "0.0.0.0"}, "loopback only"),
    ({"insecure_dev": True, "cert": None, "key": None, "ca": None, "host": "example.org"}, "loopback only"),
    ({"cert": "/nowhere/vtn.pem"}, "cert file /nowhere/vtn.pem does not exist"),
]


@pytest.mark.goal(14)
@pytest.mark.parametrize(("changes", "text"), MATRIX)
def test_half_configured_tls_does_not_start(pki: Path, changes: dict[str, object], text: str) -> None:
    with pytest.raises(StartupError, match=text):
        server_tls(settings(pki, **changes))


@pytest.mark.goal(14)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_plain_http_is_for_loopback_on_demand(pki: Path, host: str) -> None:
    assert server_tls(VtnSettings(host=host, insecure_dev=True)) is None


def test_key_of_another_certificate_is_named(pki: Path) -> None:
    with pytest.raises(StartupError, match="is not that of the certificate"):
        server_tls(settings(pki, key=identity(pki, "bob").key))


def test_authority_file_without_a_certificate_is_named(pki: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(StartupError, match=r"empty\.pem holds no certificate"):
        server_tls(settings(pki, ca=empty))


def test_compat_is_the_default() -> None:
    assert VtnSettings().tls_profile is TlsProfile.COMPAT


@pytest.mark.goal(15)
async def test_sec_09_one_who_has_hung_up_is_nobody_whatever_a_header_claims(
    pki: Path, database_path: Path
) -> None:
    """aiohttp may hand a request over when the connection, and with it the certificate, is gone."""
    async with started(pki, database_path) as (server, database):
        async with database.write() as conn:
            await registration.enrol(conn, "victim", ALICE, NOW)
        gone = Whole(Head(BASE + "OadrPoll", "OadrPoll", 0, None, ALICE), encode(Poll(ven_id="")), None)
        assert (await server._answer(gone)).status == 403
        assert server._at_once(gone.head, encode(Poll(ven_id="")), None) is None
