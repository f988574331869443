"""Peers that hold connections, and requests that are no HTTP: both are hung up on, others are served."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack, suppress

import aiohttp
import pytest
from aiohttp import web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.streams import StreamReader
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from openadr import Poll, QueryRegistration, encode
from tests.vtn.desk import ALICE, Desk
from tests.vtn.peers import connect, hangs_up
from vtn.request import Refused, Streamed
from vtn.server import BASE, DEV_FINGERPRINT
from vtn.store import Database

QUERY = encode(QueryRegistration(request_id="q"))
SIZE = str(len(QUERY)).encode()
LENGTH = b"Content-Length: " + SIZE
CHUNKED = b"Transfer-Encoding: chunked"
START = f"POST {BASE}EiRegisterParty HTTP/1.1".encode()
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(QUERY), QUERY)
SLOW = 900


def request(*lines: bytes, body: bytes = QUERY, start: bytes = START, end: bytes = b"\r\n") -> bytes:
    """A request of ALICE's with some lines of its own."""
    usual = (start, b"Host: x", f"{DEV_FINGERPRINT}: {ALICE}".encode(), b"Content-Type: application/xml")
    return end.join([*usual, *lines]) + 2 * end + body


SMUGGLED = {
    "length and chunks": request(LENGTH, CHUNKED, body=CHUNKS),
    "chunks and length": request(CHUNKED, b"Content-Length: 4", body=CHUNKS),
    "two lengths": request(LENGTH, b"Content-Length: 4"),
    "one length twice": request(LENGTH, LENGTH),
    "list of lengths": request(LENGTH + b", " + SIZE),
    "length with a plus": request(b"Content-Length: +" + SIZE),
    "negative length": request(b"Content-Length: -1"),
    "hexadecimal length": request(b"Content-Length: 0x10"),
    "empty length": request(b"Content-Length: "),
    "length with a space": request(b"Content-Length : " + SIZE),
    "length beyond 64 bits": request(b"Content-Length: " + b"9" * 23),
    "identity and length": request(b"Transfer-Encoding: identity", LENGTH),
    "unknown coding": request(b"Transfer-Encoding: xchunked", body=CHUNKS),
    "chunks not last": request(b"Transfer-Encoding: chunked, identity", body=CHUNKS),
    "chunks twice": request(CHUNKED, CHUNKED, body=CHUNKS),
    "vertical tab": request(b"Transfer-Encoding: \x0bchunked", body=CHUNKS),
    "folded line": request(b"X: a\r\n b", LENGTH),
    "folded length": request(b"Content-Length:\r\n " + SIZE),
    "bare line feeds": request(LENGTH, end=b"\n"),
    "bare carriage return": request(b"X: a\rb", LENGTH),
    "NUL in a value": request(b"X: a\0b", LENGTH),
    "NUL in a name": request(b"X\0: ab", LENGTH),
    "control character in a name": request(b"X\x01: ab", LENGTH),
    "line without a colon": request(b"nonsense", LENGTH),
    "line without a name": request(b": v", LENGTH),
    "huge line": request(b"X: " + b"a" * 20_000, LENGTH),
    "many lines": request(*[b"X%d: a" % number for number in range(3000)], LENGTH),
    "two hosts": request(b"Host: y", LENGTH),
    "chunk of no size": request(CHUNKED, body=b"zz\r\n" + QUERY + b"\r\n0\r\n\r\n"),
    "chunk of negative size": request(CHUNKED, body=b"-1\r\n" + QUERY + b"\r\n0\r\n\r\n"),
    "chunk with a prefix": request(CHUNKED, body=b"0x10\r\n" + QUERY + b"\r\n0\r\n\r\n"),
    "chunk with line feeds": request(CHUNKED, body=b"%x\n%s\n0\n\n" % (len(QUERY), QUERY)),
    "chunk without an end": request(CHUNKED, body=b"%x\r\n%s0\r\n\r\n" % (len(QUERY), QUERY)),
    "chunk beyond 64 bits": request(CHUNKED, body=b"f" * 17 + b"\r\n" + QUERY),
    "line feed in an extension": request(
        CHUNKED, body=b"%x;a\nb\r\n" % len(QUERY) + QUERY + b"\r\n0\r\n\r\n"
    ),
    "HTTP/2": request(LENGTH, start=b"PRI * HTTP/2.0"),
    "HTTP/1.2": request(LENGTH, start=START.replace(b"1.1", b"1.2")),
    "junk behind the version": request(LENGTH, start=START + b"x"),
    "space in the target": request(LENGTH, start=START.replace(b"EiReg", b"Ei Reg")),
    "method in small letters": request(LENGTH, start=START.lower()),
    "long target": request(LENGTH, start=b"POST /" + b"a" * 10_000 + b" HTTP/1.1"),
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01" * 20,
}


async def said(port: int, raw: bytes) -> bytes:
    """All that the server says until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    return answer


async def test_well_formed_request_is_answered(desk: Desk) -> None:
    for good in (request(LENGTH, b"Connection: close"), request(CHUNKED, b"Connection: close", body=CHUNKS)):
        assert (await said(desk.server.port, good)).startswith(b"HTTP/1.1 200")


@pytest.mark.goal(20)
@pytest.mark.parametrize("raw", SMUGGLED.values(), ids=SMUGGLED)
async def test_goals_20_smuggled_request_gets_400_and_the_end_of_the_connection(
    raw: bytes, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    behind = request(LENGTH)
    answer = await said(desk.server.port, raw + behind)
    assert answer.split(b"\r\n")[0].endswith(b"400 Bad Request")
    assert b"200 OK" not in answer  # what came behind was not taken for a request
    assert b"Traceback" not in answer
    refusal = answer.rpartition(b" 400 Bad Request\r\n")[2]
    assert refusal.endswith(b"\r\n\r\n")  # no words about it
    fields = {line.partition(b": ")[0] for line in refusal.split(b"\r\n") if line}
    assert fields <= {b"Server", b"Content-Length", b"Content-Type", b"Date", b"Connection"}
    assert b"Server: flexpact\r\n" in refusal
    assert b"aiohttp" not in answer.lower() + b"python"
    lines = [record for record in caplog.records if record.name == "vtn.listener"]
    assert all(line.levelno <= logging.WARNING and line.exc_info is None for line in lines)


async def test_what_was_wrong_with_a_request_is_a_line_in_the_log(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await said(desk.server.port, SMUGGLED["two lengths"])
    (line,) = (record for record in caplog.records if record.name == "vtn.listener")
    assert (line.levelname, line.exc_info) == ("WARNING", None)
    assert "127.0.0.1" in line.getMessage()
    assert "Content-Length" in line.getMessage()


@pytest.mark.goal(19)
async def test_goals_19_others_are_served_while_sockets_say_half_a_request_and_these_are_closed(
    database: Database, files: int
) -> None:
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http, header_timeout_s=2)
        slow = min(SLOW, (files - 300) // 2)  # both ends of each are in this process
        poll = encode(Poll(ven_id=await desk.settle_in()))
        with ExitStack() as stack:
            half = request(LENGTH)[:60]
            peers = [stack.enter_context(connect(desk.server.port, half)) for _ in range(slow)]
            assert (await desk.post("OadrPoll", poll))[0] == 200
            assert all([await hangs_up(peer) for peer in peers])
        assert (await desk.post("OadrPoll", poll))[0] == 200
        await desk.server.stop()


@pytest.mark.goal(19)
async def test_goals_19_a_connection_that_has_spoken_may_be_idle(database: Database) -> None:
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http, header_timeout_s=0.2)
        poll = encode(Poll(ven_id=await desk.settle_in()))  # over a connection that is kept
        with connect(desk.server.port) as silent:
            assert await hangs_up(silent)  # so the time is over
        assert (await desk.post("OadrPoll", poll))[0] == 200
        await desk.server.stop()


HALF = request(LENGTH)[:60]


@pytest.mark.parametrize(
    "behind",
    [
        (request(CHUNKED, body=CHUNKS), HALF),
        (request(CHUNKED, body=CHUNKS) + HALF,),
        (request(LENGTH, b"Expect: 100-continue") + HALF,),
        (request(CHUNKED, body=CHUNKS), *(HALF[at : at + 1] for at in range(50))),
    ],
    ids=["later", "at once", "behind a length", "byte by byte"],
)
@pytest.mark.goal(19)
async def test_goals_19_half_a_head_behind_a_request_that_aiohttp_read_ends_the_connection(
    behind: tuple[bytes, ...], database: Database
) -> None:
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http, header_timeout_s=0.2)
        reader, writer = await asyncio.open_connection("127.0.0.1", desk.server.port)
        writer.write(behind[0])
        said = await reader.readuntil(b"</oadr:oadrPayload>")
        assert b"200 OK" in said
        async with asyncio.timeout(30):  # an idle one is kept for 90 s
            for piece in behind[1:]:
                writer.write(piece)
                await writer.drain()
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
        await desk.server.stop()


async def test_a_peer_that_has_gone_before_its_body_is_waited_for_is_no_fault_of_ours() -> None:
    async def nobody(_request: web.BaseRequest) -> web.Response:
        return web.Response()

    protocol = web.Server(nobody)()
    payload = StreamReader(protocol, 2**16, loop=asyncio.get_running_loop())
    payload.feed_data(b"ab")
    usual = CIMultiDict({"Content-Length": "5"})
    head = RawRequestMessage(
        "POST", BASE, HttpVersion11, CIMultiDictProxy(usual), (), False, None, False, False, URL(BASE)
    )
    asked = web.BaseRequest(head, payload, protocol, None, None, asyncio.get_running_loop())  # type: ignore[arg-type]  # unused here
    assert asked.transport is None
    with pytest.raises(Refused) as refused:
        await Streamed(asked).body(100, 30)
    assert refused.value.status == 400


@pytest.mark.goal(19)
async def test_goals_19_a_connection_that_aiohttp_read_may_be_idle(database: Database) -> None:
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http, header_timeout_s=0.2)
        reader, writer = await asyncio.open_connection("127.0.0.1", desk.server.port)
        for whole in (request(CHUNKED, body=CHUNKS), request(LENGTH, b"Expect: 100-continue")):
            writer.write(whole)
            assert b"200 OK" in await reader.readuntil(b"</oadr:oadrPayload>")
            with connect(desk.server.port) as silent:
                assert await hangs_up(silent)  # so the time is over
        writer.write(request(LENGTH))
        assert b"200 OK" in await reader.readuntil(b"</oadr:oadrPayload>")
        writer.close()
        await desk.server.stop()


@pytest.mark.goal(19)
async def test_goals_19_an_address_has_a_share_of_the_connections(database: Database) -> None:
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http, max_connections_per_address=2)
        last_words = request(LENGTH, b"Connection: close")
        with (
            connect(desk.server.port) as first,
            connect(desk.server.port),
            connect(desk.server.port) as third,
        ):
            assert await hangs_up(third)
            first.sendall(last_words)
            assert not await hangs_up(first)
        assert (await said(desk.server.port, last_words)).startswith(b"HTTP/1.1 200")
        await desk.server.stop()
