"""The VTN is killed at any time and started again (GOALS 72), its answers are lost on the way (GOALS 70)."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path

import aiohttp
import pytest

from openadr import (
    CreatePartyRegistration,
    DistributeEvent,
    EiResponse,
    Poll,
    RegisteredReport,
    RegisterReport,
    Response,
    UpdatedReport,
    encode,
)
from tests.vtn.desk import ALICE, NOW, Desk, created_event, make_event, metadata, usage
from tests.walks.vtn_driver import Vtn, client, enrolled
from vtn import journal, opt
from vtn.report import readings
from vtn.server import BASE, DEV_FINGERPRINT
from vtn.store import Database

RESTART_CPU_S = 10.0


@pytest.mark.goal(72)
async def test_killed_vtn_serves_soon_and_delivers_what_it_had_promised(database_path: Path) -> None:
    async with client() as http:
        ven_id = await enrolled(database_path)
        vtn = await Vtn.start(database_path, http)
        create = CreatePartyRegistration(request_id="c", ven_name="alice", http_pull_model=True)
        await vtn.say("EiRegisterParty", create)
        own = await vtn.say("OadrPoll", Poll(ven_id=ven_id))
        assert isinstance(own, RegisterReport)
        await vtn.say("EiReport", RegisteredReport(response=EiResponse.ok(own.request_id), ven_id=ven_id))
        for number in range(3):
            await vtn.publish(f"e{number}")
            await vtn.kill()  # it has said that the event is durable, nobody has seen it yet
            vtn = await Vtn.start(database_path, http)
            told = await vtn.offered(ven_id)
            assert vtn.cpu_s() < RESTART_CPU_S
            assert [item.event_id for item in told] == [f"e{index}" for index in range(number + 1)]
        for item in told:
            await vtn.say("EiEvent", created_event(ven_id, item))
            await vtn.kill()
            vtn = await Vtn.start(database_path, http)
        assert isinstance(await vtn.say("OadrPoll", Poll(ven_id=ven_id)), Response)
        await vtn.kill()
    database = await Database.open(database_path)
    async with database.read() as conn:
        facts = [fact.kind for fact in await journal.facts_after(conn, 0, 100)]
    await database.close()
    assert facts == ["registration", *["signal"] * 3, *["opt"] * 3]


@pytest.mark.goal(72)
async def test_killed_vtn_keeps_each_acknowledged_report_once(database_path: Path) -> None:
    """The VEN sends a report again until it is acknowledged; kills come at any moment of its handling."""
    async with client() as http:
        ven_id = await enrolled(database_path)
        vtn = await Vtn.start(database_path, http)
        create = CreatePartyRegistration(request_id="c", ven_name="alice", http_pull_model=True)
        await vtn.say("EiRegisterParty", create)
        await vtn.say("EiReport", metadata(ven_id))
        for number in range(4):
            message = usage(ven_id, [(NOW, float(number))], created=NOW.replace(minute=number))
            sending = asyncio.create_task(vtn.say("EiReport", message))
            for _ in range(number * 3):  # from "not sent yet" to "being answered"
                await asyncio.sleep(0)
            await vtn.kill()
            await asyncio.gather(sending, return_exceptions=True)
            vtn = await Vtn.start(database_path, http)
            reply = await vtn.say("EiReport", message)
            assert isinstance(reply, UpdatedReport)
        await vtn.kill()
    database = await Database.open(database_path)
    async with database.read() as conn:
        facts = [fact for fact in await journal.facts_after(conn, 0, 100) if fact.kind == "report"]
        values = [row.value for row in await readings(conn)]
    await database.close()
    assert (len(facts), values) == (4, [3.0])


@pytest.mark.goal(70)
async def test_answer_cut_at_every_byte_is_offered_until_it_is_answered(database: Database) -> None:
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http)
        try:
            ven_id = await desk.settle_in()
            await desk.publish(make_event())
            await cut_everywhere(desk.server.port, poll_request(ven_id))
            told = await desk.poll()
            assert isinstance(told, DistributeEvent)
            await desk.answer(told.events[0])
            assert isinstance(await desk.poll(), Response)
            async with database.read() as conn:
                assert len(await opt.opts(conn, "e1")) == 1
            assert len(await desk.facts("signal")) == 1
        finally:
            await desk.server.stop()


async def cut_everywhere(port: int, request: bytes) -> None:
    """Have the answer cut behind each of its bytes, by eight connections at a time."""
    whole = await answer_cut_at(port, request, None)
    offsets = iter(range(len(whole)))

    async def cutter() -> None:
        for offset in offsets:
            part = await answer_cut_at(port, request, offset)
            assert part.startswith(b"HTTP/1.1 200"[:offset])

    await asyncio.gather(*(cutter() for _ in range(8)))


def poll_request(ven_id: str) -> bytes:
    body = encode(Poll(ven_id=ven_id))
    head = (
        f"POST {BASE}OadrPoll HTTP/1.1\r\nHost: x\r\n{DEV_FINGERPRINT}: {ALICE}\r\n"
        "Content-Type: application/xml\r\nAccept-Encoding: gzip\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def answer_cut_at(port: int, request: bytes, offset: int | None) -> bytes:
    """The first `offset` bytes of an answer, the connection is reset behind them; None: the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await (reader.read() if offset is None else reader.readexactly(offset))
    except asyncio.IncompleteReadError as error:  # compressed answers differ in length by a few bytes
        return error.partial
    finally:
        if offset is not None:
            way = writer.get_extra_info("socket")
            way.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
