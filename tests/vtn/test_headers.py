"""The head of a request: paths in one form, XML in UTF-8, compression by a listed method, a proxy's word."""

from __future__ import annotations

import asyncio
import base64
import shutil
import socket
import ssl
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from pydantic import ValidationError

from flexpact.pki import Identity, issue, make_authority
from flexpact.revocation import revoke, start_list
from openadr import CreatePartyRegistration, Poll, QueryRegistration, Response, decode, encode
from openadr.enums import ServiceName
from openadr.errors import CertificateError
from tests.vtn.desk import ALICE, NOW, Desk, metadata
from vtn import registration
from vtn.headers import CLIENT_CERT, coding, forwarded_certificate, path_of
from vtn.server import BASE, DEV_FINGERPRINT, Server
from vtn.settings import VtnSettings
from vtn.store import Database

QUERY = encode(QueryRegistration(request_id="q"))
XML = {"Content-Type": "application/xml"}


async def status_of(port: int, target: str, *lines: str, method: str = "POST") -> int:
    """The status of a request with exactly these lines in its head."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (f"{method} {target} HTTP/1.1", "Host: x", f"Content-Length: {len(QUERY)}", *lines)
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + QUERY)
    status = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return int(status.split()[1])


@pytest.mark.parametrize("service", sorted(ServiceName))
async def test_http_01_every_service_has_its_endpoint(desk: Desk, service: str) -> None:
    assert (await desk.post(service, QUERY))[0] == 200


EQUIVALENT = [
    BASE.replace("A", "%41"),
    BASE.replace("/Simple/", "/Simple/./"),
    BASE.replace("/Simple/", "/other/../Simple/"),
    "/.." + BASE,
    "HTTP://LOCALHOST:80" + BASE,
    "http://x" + BASE.replace("2.0b", "2%2E0b"),
]
DIFFERENT = [BASE.lower(), "/" + BASE, BASE.replace("/Simple/", "%2FSimple/"), "/other" + BASE]


@pytest.mark.criterion("HTTP-04", who="vtn")
@pytest.mark.parametrize("base", EQUIVALENT)
async def test_http_04_equivalent_spellings_reach_the_same_endpoint(desk: Desk, base: str) -> None:
    lines = ("Content-Type: application/xml",)
    assert await status_of(desk.server.port, base + "EiRegisterParty", *lines) == 200


@pytest.mark.parametrize("base", DIFFERENT)
async def test_other_paths_are_not_mistaken_for_an_endpoint(desk: Desk, base: str) -> None:
    lines = ("Content-Type: application/xml",)
    assert await status_of(desk.server.port, base + "EiRegisterParty", *lines) == 404


def test_any_target_has_a_path() -> None:
    for target in ("*", "", "http://[::1", "//x", "/%", "/%zz", "/\x00"):
        assert isinstance(path_of(target), str)


async def test_peer_that_waits_for_leave_to_send_its_body_gets_it(desk: Desk) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.server.port)
    lines = ("Content-Type: application/xml", "Expect: 100-continue", f"Content-Length: {len(QUERY)}")
    head = (f"POST {BASE}EiRegisterParty HTTP/1.1", "Host: x", *lines)
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(QUERY)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()


@pytest.mark.criterion("HTTP-12", who="vtn")
@pytest.mark.parametrize(
    "lines",
    [(), ("Accept: application/xml",), ("Accept: */*",), ("User-Agent: curl/8",), ("User-Agent: ",)],
    ids=["neither", "accept", "accept all", "agent", "empty agent"],
)
async def test_http_12_accept_and_user_agent_change_nothing(desk: Desk, lines: tuple[str, ...]) -> None:
    target = BASE + "EiRegisterParty"
    assert await status_of(desk.server.port, target, "Content-Type: application/xml", *lines) == 200


@pytest.mark.parametrize(
    ("accepted", "method"),
    [
        ("gzip, deflate", "gzip"),
        ("deflate", "deflate"),
        ("deflate;q=1, gzip;q=0", "deflate"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("*", "gzip"),
        ("*, gzip;q=0", "deflate"),
        ("gzip;q=0", None),
        ("gzip;q=0.000", None),
        ("gzip;q=never", None),
        ("*;q=0", None),
        ("br", None),
        ("identity", None),
        ("", None),
        ("gzipped", None),
    ],
)
def test_http_13_method_is_one_that_the_peer_lists(accepted: str, method: str | None) -> None:
    assert coding(accepted) == method


async def test_http_13_deflate_is_the_zlib_format(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    headers = {**XML, "Accept-Encoding": "deflate", DEV_FINGERPRINT: ALICE}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as plain,
        plain.post(desk.url("OadrPoll"), data=encode(Poll(ven_id=ven_id)), headers=headers) as response,
    ):
        assert response.headers["Content-Encoding"] == "deflate"
        assert "Transfer-Encoding" not in response.headers
        decode(zlib.decompress(await response.read()))


async def test_gen_24_vtn_with_a_prefix_is_there_and_nowhere_else(database: Database) -> None:
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http, prefix="/site-1/down")
        lines = ("Content-Type: application/xml",)
        service = BASE + "EiRegisterParty"
        assert await status_of(desk.server.port, "/site-1/down" + service, *lines) == 200
        for other in ("", "/site-1", "/site-1/up", "/Site-1/down"):
            assert await status_of(desk.server.port, other + service, *lines) == 404
        await desk.server.stop()


@pytest.mark.parametrize("prefix", ["site", "/site/", "/", "/a b", "/%41", "/a?b", "//a", "/.."])
def test_prefix_that_cannot_be_reached_is_refused(prefix: str) -> None:
    with pytest.raises(ValidationError, match="prefix"):
        VtnSettings(prefix=prefix)


@pytest.mark.goal(9)
@pytest.mark.criterion("HTTP-07", who="vtn")
async def test_http_07_fault_of_our_own_gets_500_and_tells_nothing(database: Database) -> None:
    def broken(_ven: object, _reports: object, _now: datetime) -> list[object]:
        raise RuntimeError("secret")

    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http)
        await desk.server.stop()
        desk.server = Server(VtnSettings(port=0, insecure_dev=True), database, lambda: NOW, broken)  # type: ignore[arg-type] - broken on purpose
        await desk.server.start()
        ven_id = await desk.settle_in()
        status, body = await desk.post("EiReport", encode(metadata(ven_id)))
        assert (status, body) == (500, b"")
        assert isinstance(await desk.poll(), Response)
        await desk.server.stop()


# behind a proxy


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server, a proxy in front of it, a VEN, and a VEN whose certificate has ended."""
    directory = tmp_path_factory.mktemp("pki")
    now = datetime.now(UTC)
    make_authority(directory, now)
    issue(directory, "vtn", now, server=True)
    for name in ("proxy", "alice"):
        issue(directory, name, now, server=False)
    issue(directory, "late", now - timedelta(days=200), server=False)
    return directory


def identity(pki: Path, name: str) -> Identity:
    return Identity(name, pki / f"{name}.pem", pki / f"{name}.key", pki / "ca.pem")


def header(pki: Path, name: str) -> str:
    """The certificate as RFC 9440 puts it into a header."""
    der = ssl.PEM_cert_to_DER_cert(identity(pki, name).cert.read_text())
    return f":{base64.b64encode(der).decode()}:"


def test_forwarded_certificate_is_known_by_its_fingerprint(pki: Path) -> None:
    now = datetime.now(UTC)
    found = forwarded_certificate(header(pki, "alice"), now)
    assert found.fingerprint == identity(pki, "alice").fingerprint
    with pytest.raises(CertificateError, match="not valid now"):
        forwarded_certificate(header(pki, "late"), now)
    with pytest.raises(CertificateError, match="not valid now"):
        forwarded_certificate(header(pki, "alice"), now - timedelta(days=400))


@pytest.mark.parametrize(
    "value", ["", ":", "::", "alice", ":a:", ":YQ==:,:YQ==:", ":YQ==:", ":YQ==", f":{'A' * 20_000}:", ":é:"]
)
def test_forwarded_text_that_is_no_certificate_is_refused(value: str) -> None:
    with pytest.raises(CertificateError, match="Client-Cert"):
        forwarded_certificate(value, NOW)


@pytest.mark.goal(15)
@pytest.mark.criterion("HTTP-22", who="vtn")
async def test_http_22_certificate_in_a_header_is_believed_from_our_proxy_only(
    pki: Path, database: Database
) -> None:
    mine, proxy, alice = (identity(pki, name) for name in ("vtn", "proxy", "alice"))
    files = {"cert": mine.cert, "key": mine.key, "ca": mine.ca, "port": 0}
    settings = VtnSettings.model_validate({**files, "proxies": [proxy.fingerprint]})
    today = datetime.now(UTC)
    async with database.write() as conn:
        alice_id = await registration.enrol(conn, "alice", alice.fingerprint, today)
    create = encode(CreatePartyRegistration(request_id="c", ven_name="alice", http_pull_model=True))

    async def asked(server: Server, who: Identity, *values: str) -> tuple[int, str | None]:
        context = ssl.create_default_context(cafile=pki / "ca.pem")
        context.load_cert_chain(who.cert, who.key)
        headers = [*XML.items(), *((CLIENT_CERT, value) for value in values)]
        url = f"https://127.0.0.1:{server.port}{BASE}EiRegisterParty"
        async with (
            aiohttp.ClientSession() as http,
            http.post(url, data=create, headers=headers, ssl=context) as response,
        ):
            body = await response.read()
            return response.status, getattr(decode(body), "ven_id", None) if body else None

    for trusting in (settings, settings.model_copy(update={"proxies": frozenset()})):
        server = Server(trusting, database, lambda: today, lambda _ven, _reports, _now: [])
        await server.start()
        believed = bool(trusting.proxies)
        assert await asked(server, proxy, header(pki, "alice")) == (200, alice_id if believed else None)
        assert await asked(server, proxy) == (200, None)
        assert await asked(server, proxy, "nonsense") == ((403, None) if believed else (200, None))
        two = [
            header(pki, "late"),
            header(pki, "alice"),
        ]  # the client's own invention before the proxy's word
        assert await asked(server, proxy, *two) == ((403, None) if believed else (200, None))
        assert await asked(server, proxy, header(pki, "late")) == ((403, None) if believed else (200, None))
        # whoever is no proxy speaks for himself, whatever he claims
        assert await asked(server, alice, header(pki, "proxy")) == (200, alice_id)
        await server.stop()


@pytest.mark.goal(16)
async def test_a_revoked_certificate_is_refused_behind_a_proxy_too(
    pki: Path, tmp_path: Path, database: Database
) -> None:
    directory, now = Path(shutil.copytree(pki, tmp_path / "pki")), datetime.now(UTC)
    start_list(directory, now)
    mine, proxy = identity(directory, "vtn"), identity(directory, "proxy")
    settings = VtnSettings.model_validate(
        {
            "port": 0,
            "cert": mine.cert,
            "key": mine.key,
            "ca": mine.ca,
            "crl": directory / "crl.pem",
            "proxies": [proxy.fingerprint],
        }
    )
    server = Server(settings, database, lambda: now, lambda _ven, _reports, _now: [])
    await server.start()
    context = ssl.create_default_context(cafile=mine.ca)
    context.load_cert_chain(proxy.cert, proxy.key)
    url = f"https://127.0.0.1:{server.port}{BASE}EiRegisterParty"

    async def asked() -> int:
        headers = {**XML, CLIENT_CERT: header(directory, "alice")}
        async with (
            aiohttp.ClientSession() as http,
            http.post(url, data=QUERY, headers=headers, ssl=context) as response,
        ):
            return response.status

    assert await asked() == 200
    revoke(directory, identity(directory, "alice").certificate, now)
    server.reload()
    assert await asked() == 403
    await server.stop()


def test_no_proxy_is_believed_by_default_and_one_is_named_in_full() -> None:
    assert VtnSettings().proxies == frozenset()
    with pytest.raises(ValidationError, match="proxies"):
        VtnSettings(proxies=frozenset({"5E:71:FA:E4:61:75:9C:EF:A4:D6"}))


async def test_http_21_a_tls_session_is_taken_up_again(pki: Path, database: Database) -> None:
    mine, alice = identity(pki, "vtn"), identity(pki, "alice")
    settings = VtnSettings(port=0, cert=mine.cert, key=mine.key, ca=mine.ca)
    server = Server(settings, database, lambda: datetime.now(UTC), lambda _ven, _reports, _now: [])
    await server.start()
    context = ssl.create_default_context(cafile=pki / "ca.pem")
    context.load_cert_chain(alice.cert, alice.key)

    def asked(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None, bytes]:
        with (
            socket.create_connection(("127.0.0.1", server.port), 30) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as tls,
        ):
            head = f"POST {BASE}EiRegisterParty HTTP/1.1\r\nHost: x\r\nContent-Type: application/xml\r\n"
            tls.sendall(f"{head}Content-Length: {len(QUERY)}\r\n\r\n".encode() + QUERY)
            return tls.session, tls.session_reused, tls.recv(12)

    session, _, status = await asyncio.to_thread(asked, None)
    _, reused, again = await asyncio.to_thread(asked, session)
    assert (reused, status, again) == (True, b"HTTP/1.1 200", b"HTTP/1.1 200")
    await server.stop()
