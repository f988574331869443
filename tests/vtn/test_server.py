"""What the listener answers below OpenADR: statuses, limits, compression, faults of the database."""

from __future__ import annotations

import asyncio
import gzip
import io
import sqlite3
import zlib
from collections.abc import Awaitable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from openadr import (
    CancelPartyRegistration,
    DistributeEvent,
    Poll,
    QueryRegistration,
    Response,
    decode,
    encode,
)
from tests.vtn.desk import ALICE, NOW, Desk, make_event, metadata, usage
from vtn import registration
from vtn.errors import StartupError
from vtn.server import BASE, DEV_FINGERPRINT, Server
from vtn.settings import VtnSettings
from vtn.store import Database

QUERY = encode(QueryRegistration(request_id="q"))


def head(path: str, length: int) -> bytes:
    """The head of a request of ALICE's."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: x",
        f"{DEV_FINGERPRINT}: {ALICE}",
        "Content-Type: application/xml",
        f"Content-Length: {length}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
async def test_http_05_other_methods_get_501(desk: Desk, method: str) -> None:
    async with desk.http.request(method, desk.url("OadrPoll")) as response:
        assert response.status == 501


@pytest.mark.parametrize(
    "path",
    ["", "/", BASE, BASE + "Nothing", BASE + "oadrpoll", "/OpenADR2/Simple/EiEvent", BASE + "OadrPoll/"],
)
async def test_http_07_unknown_paths_get_404(desk: Desk, path: str) -> None:
    url = f"http://127.0.0.1:{desk.server.port}{path}"
    async with desk.http.post(url, data=QUERY, headers={"Content-Type": "application/xml"}) as response:
        assert response.status == 404


async def test_http_04_escaped_path_is_the_same_path(desk: Desk) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.server.port)
    writer.write(head(BASE.replace("A", "%41") + "EiRegisterParty", len(QUERY)) + QUERY)
    assert b"200" in await reader.readline()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/xml", 200),
        ("application/xml; charset=utf-8", 200),
        ("Application/XML;charset=UTF-8", 200),
        ('application/xml; charset="utf-8"', 200),
        ("application/xml; charset=latin-1", 406),
        ("text/xml", 406),
        ("application/json", 406),
        ("", 406),
    ],
)
async def test_http_10_body_is_xml_in_utf_8(desk: Desk, kind: str, status: int) -> None:
    assert (await desk.post("EiRegisterParty", QUERY, **{"Content-Type": kind}))[0] == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no xml",
        b"<a/>",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + QUERY,
        QUERY.replace(b"requestID", b"somethingElse"),
        QUERY[:-20],
        b"\xff\xfe" + QUERY,
    ],
    ids=["empty", "text", "other-root", "doctype", "schema", "cut", "utf-16"],
)
async def test_gen_02_body_that_is_no_message_gets_406(desk: Desk, body: bytes) -> None:
    assert (await desk.post("EiRegisterParty", body))[0] == 406


@pytest.mark.criterion("GEN-21")
async def test_compressed_body_is_not_taken(desk: Desk) -> None:
    status, _ = await desk.post("EiRegisterParty", gzip.compress(QUERY), **{"Content-Encoding": "gzip"})
    assert status == 406


@pytest.mark.parametrize(
    ("service", "size", "status"),
    [("OadrPoll", 65_537, 413), ("OadrPoll", 65_536, 406), ("EiReport", 1_048_577, 413)],
)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_body_above_its_limit_gets_413(
    desk: Desk, service: str, size: int, status: int, chunked: bool
) -> None:
    headers = {"Content-Type": "application/xml"}

    async def pieces() -> object:
        yield b" " * size

    data = pieces() if chunked else io.BytesIO(b" " * size)
    async with desk.http.post(desk.url(service), data=data, headers=headers) as response:
        assert response.status == status


async def test_http_11_replies_have_a_length_and_are_never_chunked(desk: Desk) -> None:
    headers = {"Content-Type": "application/xml", "Accept-Encoding": "identity"}
    async with desk.http.post(desk.url("EiRegisterParty"), data=QUERY, headers=headers) as response:
        body = await response.read()
        assert response.headers["Content-Length"] == str(len(body))
        assert response.headers["Content-Type"] == "application/xml"
        assert "Transfer-Encoding" not in response.headers
        assert response.headers["Server"] == "flexpact"


@pytest.mark.parametrize(
    ("accepts", "used"),
    [
        ("gzip, deflate", "gzip"),
        ("gzip;q=0", None),
        ("br", None),
        ("identity", None),
        ("deflate, gzip;q=1", "gzip"),
    ],
)
async def test_http_13_reply_is_compressed_as_the_peer_wishes(
    desk: Desk, accepts: str, used: str | None
) -> None:
    ven_id = await desk.settle_in()
    headers = {"Content-Type": "application/xml", "Accept-Encoding": accepts, DEV_FINGERPRINT: ALICE}
    async with aiohttp.ClientSession(auto_decompress=False) as plain:
        for _ in range(2):
            async with plain.post(
                desk.url("OadrPoll"), data=encode(Poll(ven_id=ven_id)), headers=headers
            ) as response:
                body = await response.read()
                assert response.headers.get("Content-Encoding") == used
                assert isinstance(decode(zlib.decompress(body, 31) if used else body), Response)


@pytest.mark.goal(19)
async def test_slow_body_gets_408(database: Database) -> None:
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http, body_timeout_s=0.05)
        reader, writer = await asyncio.open_connection("127.0.0.1", desk.server.port)
        writer.write(head(BASE + "OadrPoll", 9))
        assert b"408" in await reader.readline()
        writer.close()
        await writer.wait_closed()
        await desk.server.stop()


@pytest.mark.criterion("HTTP-07")
async def test_locked_database_gets_503_and_nothing_is_lost(database_path: Path) -> None:
    database = await Database.open(database_path, busy_timeout_s=0.05)
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http)
        ven_id = await desk.settle_in()
        await desk.say(metadata(ven_id))
        await desk.publish(make_event())
        body = encode(usage(ven_id, [(NOW, 1.0)]))
        with closing(sqlite3.connect(database_path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            headers = {"Content-Type": "application/xml", DEV_FINGERPRINT: ALICE}
            for service, sent in (("EiReport", body), ("OadrPoll", encode(Poll(ven_id=ven_id)))):
                async with desk.http.post(desk.url(service), data=sent, headers=headers) as response:
                    assert (response.status, response.headers["Retry-After"]) == (503, "5")
            other.execute("ROLLBACK")
        assert isinstance(await desk.poll(), DistributeEvent)
        assert (await desk.post("EiReport", body))[0] == 200
        await desk.server.stop()
    await database.close()


async def test_empty_poll_is_answered_while_the_database_is_locked(database_path: Path) -> None:
    database = await Database.open(database_path, busy_timeout_s=0.05)
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http)
        await desk.settle_in()
        await desk.poll()
        with closing(sqlite3.connect(database_path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert isinstance(await desk.poll(), Response)
            other.execute("ROLLBACK")
        await desk.server.stop()
    await database.close()


async def test_port_in_use_is_one_sentence(desk: Desk) -> None:
    settings = VtnSettings(port=desk.server.port, insecure_dev=True)
    second = Server(settings, desk.db, lambda: NOW, lambda _ven, _reports, _now: [])
    with pytest.raises(StartupError, match=r"cannot listen on 127.0.0.1 port .* Address already"):
        await second.start()
    with pytest.raises(RuntimeError, match="not running"):
        _ = second.port


async def test_gen_18_requests_at_once_of_one_ven_leave_one_state(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    await desk.say(metadata(ven_id))
    message = usage(ven_id, [(NOW - timedelta(hours=1), 5.0)])
    replies = await asyncio.gather(*(desk.say(message) for _ in range(10)))
    assert all(reply == replies[0] for reply in replies)
    assert len(await desk.facts("report")) == 1


async def test_request_cut_at_any_byte_changes_nothing(desk: Desk) -> None:
    """GOALS 71, on a sample of the offsets; the server answers the next whole request."""
    ven_id = await desk.settle_in()
    await desk.say(metadata(ven_id))
    body = encode(usage(ven_id, [(NOW, 1.0)]))
    raw = head(BASE + "EiReport", len(body)) + body
    for offset in range(0, len(raw), 37):
        _reader, writer = await asyncio.open_connection("127.0.0.1", desk.server.port)
        writer.write(raw[:offset])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert await desk.facts("report") == []
    assert (await desk.post("EiReport", body))[0] == 200


async def in_line(desk: Desk, *works: Awaitable[object]) -> list[object]:
    """The results of works that stand in line for the writer in this order, to be committed together."""
    tasks = []
    async with desk.db.write():
        for number, work in enumerate(works, start=1):
            tasks.append(asyncio.ensure_future(work))
            async with asyncio.timeout(60):
                while desk.db.waiting < number:  # noqa: ASYNC110 - the queue has no event of its own
                    await asyncio.sleep(0)
    return await asyncio.gather(*tasks)


async def test_event_that_is_published_right_behind_an_empty_poll_is_offered(desk: Desk) -> None:
    await desk.settle_in()
    await desk.publish(make_event("over", NOW))
    desk.now = NOW + timedelta(hours=2)  # the listener believes that something waits; the poll finds nothing
    replies = await in_line(desk, desk.poll(), desk.publish(make_event("e2", desk.now)))
    assert isinstance(replies[0], Response)
    assert isinstance(await desk.poll(), DistributeEvent)


async def test_request_behind_the_end_of_the_registration_is_refused(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    async with desk.db.read() as conn:
        (ven,) = await registration.vens(conn)
    cancel = CancelPartyRegistration(request_id="x", registration_id=str(ven.registration_id), ven_id=ven_id)
    _, reply = await in_line(desk, desk.say(cancel), desk.answer(make_event()))
    assert isinstance(reply, Response)
    assert reply.response.code == "463"
