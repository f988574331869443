"""Connections below aiohttp: what is simple, peers that do not read, the end of idle ones."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from openadr import CreatedPartyRegistration, Poll, QueryRegistration, Response, decode, encode
from tests.vtn.desk import ALICE, BOB, Desk
from vtn import connection, trace
from vtn.connection import Connection, Service
from vtn.listener import Listener
from vtn.reply import Reply, payload
from vtn.request import Head, Request, simple_head
from vtn.server import BASE, DEV_FINGERPRINT

QUERY = encode(QueryRegistration(request_id="q"))
SERVICES = {BASE + "OadrPoll": "OadrPoll", BASE + "EiRegisterParty": "EiRegisterParty"}
START = f"POST {BASE}OadrPoll HTTP/1.1"
USUAL = ("Host: x", "Content-Type: application/xml", "Content-Length: 7")


def head(*lines: str, end: str = "\r\n") -> bytes:
    """The head of a request in these lines."""
    return (end.join(lines) + 2 * end).encode("latin-1")


def request(service: str, body: bytes, *more: str, who: str = ALICE) -> bytes:
    """A simple request, unless `more` says otherwise."""
    lines = (f"POST {BASE}{service} HTTP/1.1", "Host: x", f"{DEV_FINGERPRINT}: {who}", *more)
    return head(*lines, "Content-Type: application/xml", f"Content-Length: {len(body)}") + body


def test_simple_head_is_read() -> None:
    more = ("ACCEPT-ENCODING: gzip, deflate", "Connection: Keep-Alive", f"{DEV_FINGERPRINT}: AB")
    assert simple_head(head(START, *USUAL, *more), SERVICES) == Head(
        BASE + "OadrPoll", "OadrPoll", 7, "gzip", "ab"
    )
    escaped = START.replace("OadrPoll", "%4FadrPoll")
    found = simple_head(head(escaped, *USUAL), SERVICES)
    assert found is not None
    assert (found.service, found.coding, found.fingerprint) == ("OadrPoll", None, "")


NOT_SIMPLE = (
    "Transfer-Encoding: chunked",
    "transfer-encoding: identity",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "Connection: close",
    "Proxy-Connection: close",
    "Client-Cert: :AA==:",
    "Content-Encoding: gzip",
    "content-length: 7",
    "Host: y",
    "X: a\x00b",
    "X: \xe9",
    "X : a",
    " folded",
    "nonsense",
)


@pytest.mark.parametrize(
    "octets",
    [
        *(head(START, *USUAL, line) for line in NOT_SIMPLE),
        head(START, *USUAL[1:]),
        head(START, *USUAL[:2]),
        head(START, *USUAL[:2], "Content-Length: +7"),
        head(START, *USUAL[:2], "Content-Length: 12345678"),
        head(START, USUAL[0], USUAL[2]),
        head(START, USUAL[0], "Content-Type: text/xml", USUAL[2]),
        head(START.replace("POST", "GET"), *USUAL),
        head(START.replace("1.1", "1.0"), *USUAL),
        head(START.replace("OadrPoll", "Nothing"), *USUAL),
        head(START, *USUAL, end="\n"),
        head(START, *USUAL) + head(START, *USUAL),
    ],
)
def test_head_that_needs_more_than_a_glance_is_not_simple(octets: bytes) -> None:
    assert simple_head(octets, SERVICES) is None


async def answers(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    """Bodies of so many answers, each a success."""
    found = []
    async with asyncio.timeout(30):
        for _ in range(count):
            said = await reader.readuntil(b"\r\n\r\n")
            assert said.startswith(b"HTTP/1.1 200 OK\r\n")
            (length,) = re.findall(rb"Content-Length: (\d+)", said)
            found.append(await reader.readexactly(int(length)))
    return found


async def test_requests_sent_ahead_are_answered_in_turn_simple_or_not(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    poll = encode(Poll(ven_id=ven_id))
    chunked = head(START, USUAL[0], USUAL[1], f"{DEV_FINGERPRINT}: {ALICE}", "Transfer-Encoding: chunked")
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(poll), poll)
    ahead = [
        request("OadrPoll", poll),
        request("EiRegisterParty", QUERY),
        request("OadrPoll", poll),
        chunked + chunks,  # aiohttp's from here on
        request("EiRegisterParty", QUERY),
        request("OadrPoll", poll),
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.server.port)
    writer.write(b"".join(ahead))
    names = [type(decode(body)).__name__ for body in await answers(reader, len(ahead))]
    asked = "CreatedPartyRegistration"
    assert names == ["Response", asked, "Response", "Response", asked, "Response"]
    writer.close()


async def test_body_may_come_in_pieces(desk: Desk) -> None:
    poll = request("OadrPoll", encode(Poll(ven_id=await desk.settle_in())))
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.server.port)
    query = request("EiRegisterParty", QUERY)
    for whole, answer in ((poll, Response), (query, CreatedPartyRegistration), (poll, Response)):
        end = whole.index(b"\r\n\r\n") + 4
        for piece in (whole[:end], whole[end : end + 9], whole[end + 9 : -1], whole[-1:]):
            writer.write(piece)
            await writer.drain()
            await desk.poll()  # so that it has come in
        assert isinstance(decode((await answers(reader, 1))[0]), answer)
    writer.close()


async def test_one_connection_answers_each_ven_for_itself(desk: Desk) -> None:
    """The cache of heads and bodies knows no identity: without TLS, the header alone says who speaks."""
    alice, bob = await desk.settle_in(), await desk.settle_in(BOB, "bob")
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.server.port)
    poll = encode(Poll(ven_id=""))
    for _ in range(2):
        writer.write(request("OadrPoll", poll) + request("OadrPoll", poll, who=BOB))
        of_alice, of_bob = (decode(body) for body in await answers(reader, 2))
        assert isinstance(of_alice, Response) and isinstance(of_bob, Response)
        assert (of_alice.ven_id, of_bob.ven_id) == (alice, bob)
    writer.write(request("OadrPoll", encode(Poll(ven_id=alice)), who=BOB))
    (refused,) = (decode(body) for body in await answers(reader, 1))
    assert isinstance(refused, Response)
    assert refused.response.code == "452"
    writer.close()


async def test_poll_that_finds_nothing_is_traced_and_counts_as_heard(desk: Desk) -> None:
    alice, bob = await desk.settle_in(), await desk.settle_in(BOB, "bob")
    for who in (ALICE, BOB):
        await desk.poll(who)  # from now on it is known that nothing waits
    async with desk.db.write() as conn:
        await trace.turn(conn, alice, True, desk.now)
    desk.now += timedelta(minutes=5)
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.server.port)
    for ven_id, who in ((alice, ALICE), (bob, BOB)):
        writer.write(request("OadrPoll", encode(Poll(ven_id=ven_id)), who=who))
        await answers(reader, 1)
        assert desk.server.last_contacts()[ven_id] == desk.now
    async with desk.db.read() as conn:
        ((_, kept),) = await trace.newest(conn, alice, 9, desk.now)
        assert (kept.request_name, kept.response_name) == ("oadrPoll", "oadrResponse")
        assert await trace.newest(conn, bob, 9, desk.now) == []
    writer.close()


class Line(asyncio.Transport):
    """A transport that keeps what is written, and says whether it is read from."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading = True
        self.closed = False
        self.protocol: Any = None

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


class Till:
    """A server that answers polls at once and everything else when it is told to."""

    def __init__(self, keepalive_s: float = 30) -> None:
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.service = Service(
            lambda: datetime(2026, 3, 2, tzinfo=UTC),
            lambda octets: simple_head(octets, SERVICES),
            lambda head, body, _tls: payload(body, None) if head.service == "OadrPoll" else None,
            self._answer,
            30.0,
        )
        self.listener = Listener(
            self.service, header_timeout_s=30, max_connections=9, max_per_address=9, keepalive_s=keepalive_s
        )

    async def _answer(self, asked: Request) -> Reply:
        self.begun.set()
        await self.go.wait()
        return payload(b"late " + await asked.body(99, 1.0), None)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        await self.listener.listen("127.0.0.1", 0, None)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        yield reader, writer
        writer.close()
        await self.listener.close()


async def test_peer_that_does_not_read_its_answers_is_not_read_from() -> None:
    till, line = Till(), Line()
    one = Connection(till.service, till.listener)
    one.connection_made(line)
    one.data_received(request("OadrPoll", b"1"))
    one.pause_writing()
    assert not line.reading
    one.data_received(request("OadrPoll", b"2"))
    assert len(line.written) == 1
    one.resume_writing()
    assert line.reading
    assert [said[-1:] for said in line.written] == [b"1", b"2"]
    one.connection_lost(None)


async def test_peer_that_sends_far_ahead_is_not_read_from_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "AHEAD_BYTES", 500)
    till, line = Till(), Line()
    one = Connection(till.service, till.listener)
    one.connection_made(line)
    one.data_received(request("EiRegisterParty", b"0"))
    for number in range(1, 6):
        one.data_received(request("OadrPoll", b"%d" % number))
    assert not line.reading
    assert line.written == []
    till.go.set()
    assert one.task is not None
    await one.task
    assert line.reading
    assert [said[-1:] for said in line.written] == [b"%d" % number for number in range(6)]
    one.connection_lost(None)


async def test_answer_under_way_is_carried_through_when_the_peer_goes() -> None:
    till, line = Till(), Line()
    one = Connection(till.service, till.listener)
    one.connection_made(line)
    one.data_received(request("EiRegisterParty", b"0") + request("OadrPoll", b"1"))
    line.close()
    one.connection_lost(None)
    task = one.task
    assert task is not None
    till.go.set()
    await task
    assert line.written == []


async def test_nothing_is_begun_for_a_peer_that_was_hung_up_on() -> None:
    till, line = Till(), Line()
    one = Connection(till.service, till.listener)
    one.connection_made(line)
    one.pause_writing()
    one.data_received(request("EiRegisterParty", b"0"))
    one.end()
    one.resume_writing()
    one.data_received(request("OadrPoll", b"1"))
    assert (one.task, line.written) == (None, [])
    one.connection_lost(None)


async def test_answer_that_fails_ends_its_connection_and_is_not_counted_any_more() -> None:
    async def fail(_: Request) -> Reply:
        raise RuntimeError("a fault of ours")

    till, faults = Till(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: faults.append(told))
    till.listener = Listener(
        replace(till.service, answer=fail),
        header_timeout_s=30,
        max_connections=9,
        max_per_address=1,
        keepalive_s=30,
    )
    async with till.open() as (reader, writer), asyncio.timeout(30):
        writer.write(request("EiRegisterParty", b"!"))
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        again, other = await asyncio.open_connection("127.0.0.1", till.listener.port)
        other.write(request("OadrPoll", b"?"))
        assert (await again.readuntil(b"?")).startswith(b"HTTP/1.1 200")
        other.close()


async def test_closing_listener_finishes_what_it_has_begun_and_hangs_up() -> None:
    till = Till()
    async with till.open() as (reader, writer):
        writer.write(request("EiRegisterParty", b"!"))
        await till.begun.wait()
        closing = asyncio.create_task(till.listener.close())
        await asyncio.sleep(0)
        till.go.set()
        assert (await reader.read()).endswith(b"late !")  # and then the end
        await closing


@pytest.mark.goal(19)
async def test_http_21_a_connection_that_has_gone_quiet_is_closed_and_one_that_is_waited_for_is_not() -> None:
    till = Till(keepalive_s=0.05)
    async with till.open() as (reader, writer), asyncio.timeout(30):
        other, waiting = await asyncio.open_connection("127.0.0.1", till.listener.port)
        waiting.write(request("EiRegisterParty", b"!"))
        writer.write(request("OadrPoll", b"?"))
        assert (await reader.read()).endswith(b"?")
        till.go.set()
        assert (await other.read()).endswith(b"late !")
        waiting.close()


async def test_server_stops_with_open_connections_of_both_kinds(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    async with aiohttp.ClientSession() as http:
        url, kind = desk.url("OadrPoll"), {"Content-Type": "application/xml", DEV_FINGERPRINT: ALICE}
        for more in ({}, {"Expect": "100-continue"}):
            async with http.post(url, data=encode(Poll(ven_id=ven_id)), headers=kind | more) as answer:
                assert answer.status == 200
        await desk.server.stop()
        with pytest.raises(aiohttp.ClientError):
            await http.post(url, data=b"", headers=kind)
