"""Headers that claim an identity, in every spelling and from everybody but a trusted proxy (GOALS 15)."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flexpact.pki import Identity, issue, make_authority
from openadr import CreatedPartyRegistration, QueryRegistration, decode, encode
from tests.vtn.secure import Connection, context_of
from vtn import registration
from vtn.headers import CLIENT_CERT
from vtn.server import BASE, DEV_FINGERPRINT, Server
from vtn.settings import VtnSettings
from vtn.store import Database

QUERY = encode(QueryRegistration(request_id="q"))
NAMES = ("alice", "bob", "proxy")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    """A server, two VENs and a proxy."""
    directory, now = tmp_path_factory.mktemp("pki"), datetime.now(UTC)
    make_authority(directory, now)
    made = {name: issue(directory, name, now, server=False) for name in NAMES}
    return {**made, "vtn": issue(directory, "vtn", now, server=True)}


def claims(who: Identity) -> dict[str, str]:
    """Headers by which somebody says that he is this party, by what servers in front are known to send."""
    pem = who.cert.read_text()
    der = base64.b64encode(ssl.PEM_cert_to_DER_cert(pem)).decode()
    fingerprint = who.fingerprint
    one_line = pem.replace("\n", "%0A")
    return {
        CLIENT_CERT: f":{der}:",
        CLIENT_CERT.lower(): f":{der}:",
        CLIENT_CERT.replace("-", "_"): f":{der}:",
        "Client-Cert-Chain": f":{der}:",
        "X-Client-Cert": one_line,
        "X-SSL-Client-Cert": one_line,
        "X-SSL-Client-SHA256": fingerprint,
        "X-Forwarded-Client-Cert": f"Hash={fingerprint};Subject=CN={who.cert.stem}",
        "X-Forwarded-Tls-Client-Cert": der,
        "X-ARR-ClientCert": der,
        "Ssl-Client-Verify": "SUCCESS",
        "X-Forwarded-For": "127.0.0.1",
        "Forwarded": 'for=127.0.0.1;by="_proxy"',
        "X-Remote-User": who.cert.stem,
        "X-Real-IP": "127.0.0.1",
        "Authorization": f"Bearer {fingerprint}",
        DEV_FINGERPRINT: fingerprint,
        DEV_FINGERPRINT.upper(): fingerprint,
    }


async def speaks_as(connection: Connection, *headers: tuple[str, str]) -> str | None:
    """The venID for which the server takes whoever sends these headers; None for a stranger, 403 refused."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = (
        f"POST {BASE}EiRegisterParty HTTP/1.1\r\nHost: x\r\n{lines}"
        f"Content-Type: application/xml\r\nContent-Length: {len(QUERY)}\r\n\r\n"
    )
    connection.writer.write(head.encode() + QUERY)
    head = (await connection.reader.readuntil(b"\r\n\r\n")).decode()
    length = next(line for line in head.lower().splitlines() if line.startswith("content-length"))
    body = await connection.reader.readexactly(int(length.split(":")[1]))
    if head.split()[1] != "200":
        return head.split()[1]
    reply = decode(body)
    assert isinstance(reply, CreatedPartyRegistration)
    return reply.ven_id


async def serve(people: dict[str, Identity], database: Database, *proxies: Identity) -> Server:
    mine = people["vtn"]
    settings = VtnSettings(
        port=0,
        cert=mine.cert,
        key=mine.key,
        ca=mine.ca,
        proxies=frozenset(each.fingerprint for each in proxies),
    )
    server = Server(settings, database, lambda: datetime.now(UTC), lambda _ven, _reports, _now: [])
    await server.start()
    return server


async def enrolled(people: dict[str, Identity], database: Database) -> dict[str, str]:
    """The ids of the two VENs, which are registered."""
    ids = {}
    for name in ("alice", "bob"):
        async with database.write() as conn:
            now = datetime.now(UTC)
            ids[name] = await registration.enrol(conn, name, people[name].fingerprint, now)
            await registration.change(conn, ids[name], registration_id=f"r-{name}", registered_at=now)
    return ids


@pytest.mark.goal(15)
@pytest.mark.criterion("HTTP-22", who="vtn")
@pytest.mark.parametrize("behind_a_proxy", [False, True], ids=["direct", "with a proxy"])
async def test_a_client_speaks_for_itself_whatever_its_headers_claim(
    people: dict[str, Identity], database: Database, behind_a_proxy: bool
) -> None:
    ids = await enrolled(people, database)
    server = await serve(people, database, *([people["proxy"]] if behind_a_proxy else []))
    directory: Path = people["vtn"].ca.parent
    connection = await Connection.open(server, context_of(directory, people["alice"]))
    for whose in ("bob", "proxy"):
        for header in claims(people[whose]).items():
            assert await speaks_as(connection, header) == ids["alice"], header
            assert await speaks_as(connection, header, header) == ids["alice"], header
        assert await speaks_as(connection, *claims(people[whose]).items()) == ids["alice"]
    await connection.close()
    if not behind_a_proxy:  # nobody is believed, the proxy neither: it is a stranger
        connection = await Connection.open(server, context_of(directory, people["proxy"]))
        for header in claims(people["bob"]).items():
            assert await speaks_as(connection, header) is None, header
        await connection.close()
    await server.stop()


@pytest.mark.goal(15)
@pytest.mark.criterion("HTTP-22", who="vtn")
async def test_a_trusted_proxy_is_believed_by_the_one_header_alone(
    people: dict[str, Identity], database: Database
) -> None:
    ids = await enrolled(people, database)
    server = await serve(people, database, people["proxy"])
    context = context_of(people["vtn"].ca.parent, people["proxy"])
    bobs, alices = claims(people["bob"]), claims(people["alice"])
    for name, value in bobs.items():
        connection = await Connection.open(server, context)
        believed = name.lower() == CLIENT_CERT.lower()
        assert await speaks_as(connection, (name, value)) == (ids["bob"] if believed else None), name
        # what the client behind the proxy has invented beside it makes no difference, or it is refused
        true = (CLIENT_CERT, alices[CLIENT_CERT])
        for headers in (((name, value), true), (true, (name, value))):
            one = await Connection.open(server, context)
            assert await speaks_as(one, *headers) == ("403" if believed else ids["alice"]), name
            await one.close()
        await connection.close()
    await server.stop()
