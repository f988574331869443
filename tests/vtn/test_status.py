"""Each fault has its HTTP status, at the OpenADR listener and at the operator's API (GOALS 11).

On OpenADR endpoints the standard decides: a body that is no message, and one of another type, gets 406,
another method 501. The operator's API says 400, 415 and 405 of these.
"""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from openadr import QueryRegistration, encode
from tests.vtn.desk import ALICE, NOW, Desk, metadata, usage
from tests.vtn.office import Clerk, peak
from vtn.api import MAX_BODY_BYTES
from vtn.server import DEV_FINGERPRINT
from vtn.settings import VtnSettings
from vtn.store import Database

XML = {"Content-Type": "application/xml"}
QUERY = encode(QueryRegistration(request_id="q"))
REPORT = encode(usage("", [(NOW, 1.0)]))
PARTY = "EiRegisterParty"
KB = 1024


def padded(size: int, body: bytes = QUERY) -> bytes:
    """A message of so many bytes."""
    return body + b" " * (size - len(body))


@dataclass(frozen=True)
class Chunks:
    """So many bytes, sent without saying how many they are."""

    size: int


async def in_chunks(size: int) -> AsyncIterator[bytes]:
    for start in range(0, size, 8 * KB):
        yield b" " * min(8 * KB, size - start)


def data_of(body: bytes | Chunks | None) -> Any:
    """A body as aiohttp sends it: with its length, or in chunks."""
    if isinstance(body, Chunks):
        return in_chunks(body.size)
    return None if body is None else BytesIO(body)


OPENADR: dict[str, tuple[int, str, str, Any, dict[str, str]]] = {
    # what -> status, method, path below the service, body, headers
    "a message": (200, "POST", PARTY, QUERY, XML),
    "64 kB": (200, "POST", PARTY, padded(64 * KB), XML),
    "more than 64 kB": (413, "POST", PARTY, padded(64 * KB + 1), XML),
    "more than 64 kB in chunks": (413, "POST", PARTY, Chunks(64 * KB + 1), XML),
    "1 MB of a report": (200, "POST", "EiReport", padded(KB * KB, REPORT), XML),
    "1 MB of another message": (413, "POST", "EiReport", padded(KB * KB), XML),
    "more than 1 MB to EiReport": (413, "POST", "EiReport", padded(KB * KB + 1), XML),
    "more than 1 MB to EiReport in chunks": (413, "POST", "EiReport", Chunks(KB * KB + 1), XML),
    "no type": (406, "POST", PARTY, QUERY, {"Content-Type": ""}),
    "JSON": (406, "POST", PARTY, b"{}", {"Content-Type": "application/json"}),
    "a form": (406, "POST", PARTY, QUERY, {"Content-Type": "application/x-www-form-urlencoded"}),
    "another charset": (406, "POST", PARTY, QUERY, {"Content-Type": "application/xml; charset=utf-16"}),
    "compressed": (406, "POST", PARTY, gzip.compress(QUERY), {**XML, "Content-Encoding": "gzip"}),
    "nothing": (406, "POST", PARTY, b"", XML),
    "no XML": (406, "POST", PARTY, b"{}", XML),
    "cut XML": (406, "POST", PARTY, QUERY[:-9], XML),
    "another schema": (406, "POST", PARTY, b"<a/>", XML),
    "not as the schema says": (406, "POST", PARTY, QUERY.replace(b"requestID", b"requestId"), XML),
    "an unknown service": (404, "POST", "EiNothing", QUERY, XML),
    "a path below a service": (404, "POST", "EiEvent/x", QUERY, XML),
    "no service": (404, "POST", "", QUERY, XML),
    "the root": (404, "POST", "../../../../", QUERY, XML),
    "GET": (501, "GET", PARTY, None, {}),
    "PUT": (501, "PUT", PARTY, QUERY, XML),
    "DELETE": (501, "DELETE", PARTY, None, {}),
    "OPTIONS": (501, "OPTIONS", PARTY, None, {}),
    "GET of an unknown path": (501, "GET", "EiNothing", None, {}),
}


@pytest.mark.goal(11)
async def test_each_fault_of_a_ven_has_its_status(desk: Desk) -> None:
    await desk.settle_in()
    found = {}
    for what, (_, method, path, body, headers) in OPENADR.items():
        sent = {DEV_FINGERPRINT: ALICE, **headers}
        async with desk.http.request(method, desk.url(path), data=data_of(body), headers=sent) as response:
            found[what] = response.status
            said = await response.read()
            assert response.status == 200 or said == b"", what  # the status says it all
    assert found == {what: row[0] for what, row in OPENADR.items()}


JSON = "application/json"
OPERATOR: dict[str, tuple[int, str, str, Any, str]] = {
    # what -> status, method, path, body, its type
    "a body that is too large": (413, "POST", "/vtn/events", b" " * (MAX_BODY_BYTES + 1), JSON),
    "one in chunks": (413, "POST", "/vtn/events", Chunks(MAX_BODY_BYTES + 1), JSON),
    "plain text": (415, "POST", "/vtn/events", b"{}", "text/plain"),
    "a form": (415, "POST", "/vtn/events", b"a=b", "application/x-www-form-urlencoded"),
    "XML": (415, "PATCH", "/vtn/events/e1", QUERY, "application/xml"),
    "bytes": (415, "POST", "/vtn/vens", b"{}", "application/octet-stream"),
    "cut JSON": (400, "POST", "/vtn/events", b'{"a":', JSON),
    "no text": (400, "POST", "/vtn/events", b"\xff\xfe", JSON),
    "JSON with a charset": (422, "POST", "/vtn/events", b"{}", JSON + "; charset=utf-8"),
    "an unknown path": (404, "GET", "/vtn/nothing", None, JSON),
    "a path outside": (404, "GET", "/etc/passwd", None, JSON),
    "another method": (405, "PUT", "/vtn/vens", b"{}", JSON),
}


@pytest.mark.goal(11)
async def test_each_fault_of_an_operator_has_its_status(clerk: Clerk) -> None:
    found = {}
    for what, (_, method, path, body, kind) in OPERATOR.items():
        found[what], problem = await clerk.ask(method, path, raw=data_of(body), kind=kind)
        assert problem["status"] == found[what]
    assert found == {what: row[0] for what, row in OPERATOR.items()}


@pytest.fixture
async def hurried(database_path: Path) -> AsyncIterator[Database]:
    """A database that does not wait long for its lock."""
    opened = await Database.open(database_path, busy_timeout_s=0.05)
    yield opened
    await opened.close()


@pytest.mark.goal(11)
async def test_overload_is_503_and_says_when_to_come_again(hurried: Database, database_path: Path) -> None:
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(hurried, http)
        ven_id = await desk.settle_in()
        await desk.say(metadata(ven_id))
        body = encode(usage(ven_id, [(NOW, 1.0)]))
        with closing(sqlite3.connect(database_path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            headers = {DEV_FINGERPRINT: ALICE, **XML}
            async with http.post(desk.url("EiReport"), data=body, headers=headers) as response:
                assert response.status == 503
                assert int(response.headers["Retry-After"]) > 0
            other.execute("ROLLBACK")
        assert (await desk.post("EiReport", body))[0] == 200
        await desk.server.stop()


@pytest.mark.goal(11)
async def test_an_operator_is_told_of_overload_likewise(clerk: Clerk) -> None:
    await clerk.desk.db.close()
    async with clerk.http.post("/vtn/events", json=peak()) as answer:
        assert (answer.status, int(answer.headers["Retry-After"]) > 0) == (503, True)


@pytest.mark.goal(19)
def test_peers_have_the_times_that_are_promised() -> None:
    chosen = VtnSettings()
    times = chosen.header_timeout_s, chosen.body_timeout_s, chosen.keepalive_s
    assert times == (10, 30, 90)
