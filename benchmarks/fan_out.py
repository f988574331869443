"""All VENs poll, one event comes, each answers."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from benchmarks.line import client_context, request_bytes
from benchmarks.servers import POLL_PERIOD_S, VENS, Running, ven_id
from openadr import CreatedEvent, DistributeEvent, EiResponse, EventResponse, Poll, decode, encode
from openadr.enums import OptType


class FanOut:
    """All VENs poll, one event comes, each answers."""

    def __init__(self, directory: Path, server: Running) -> None:
        self._directory = directory
        self._server = server
        self._had: dict[int, float] = {}
        self._answered: set[int] = set()
        self._wanted = 0
        self._done = asyncio.Event()

    async def run(self) -> dict[str, float]:
        """Connect all, publish, wait for all answers."""
        vens = range(VENS)
        lines = [await self._connect(number) for number in vens]
        tasks = [asyncio.create_task(self._live(*line)) for line in lines]
        await asyncio.sleep(POLL_PERIOD_S)
        begun = time.perf_counter()
        await asyncio.to_thread(self._server.tell, "publish")
        self._wanted = len(vens)
        async with asyncio.timeout(10 * POLL_PERIOD_S):
            await self._done.wait()
        for task in tasks:
            task.cancel()
        recorded = int(await asyncio.to_thread(self._server.tell, "answers"))
        slowest = max(self._had.values(), default=float("inf")) - begun
        return {"fanout_vens": len(vens), "fanout_max_s": slowest, "answers_recorded": recorded}

    async def _connect(self, number: int) -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
        context = client_context(self._directory, number)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._server.port, ssl=context, server_hostname="127.0.0.1"
        )
        await _ask(reader, writer, "OadrPoll", encode(Poll(ven_id(number))))  # the silent are cut off
        return number, reader, writer

    async def _live(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        poll = encode(Poll(ven_id(number)))
        await asyncio.sleep(random.random() * POLL_PERIOD_S)
        while True:
            found = await _ask(reader, writer, "OadrPoll", poll)
            if b"fan-out" in found:
                self._had.setdefault(number, time.perf_counter())
                await _ask(reader, writer, "EiEvent", _opt_in(found, number))
                self._answered.add(number)
                if len(self._answered) == self._wanted:
                    self._done.set()
            await asyncio.sleep(POLL_PERIOD_S)


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, service: str, body: bytes
) -> bytes:
    writer.write(request_bytes(service, body))
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    return await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))


def _opt_in(raw: bytes, number: int) -> bytes:
    told = decode(raw)
    assert isinstance(told, DistributeEvent)
    answers = tuple(
        EventResponse(
            code="200",
            request_id=told.request_id,
            event_id=each.event_id,
            modification_number=each.modification_number,
            opt_type=OptType.OPT_IN,
        )
        for each in told.events
    )
    return encode(CreatedEvent(response=EiResponse.ok(), event_responses=answers, ven_id=ven_id(number)))
