"""A simulator that a test plays: the real one, on a socket of its own, on a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from feid.scenario import Scenario
from feid.simulate import serve

START = datetime(2025, 1, 20, tzinfo=UTC)


class HandClock:
    """Time that stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._moved = asyncio.Event()

    def __call__(self) -> datetime:
        return self._now

    def move(self, to: datetime) -> None:
        self._now = to
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def sleep(self, seconds: float) -> None:
        until = self._now + timedelta(seconds=seconds)
        while self._now < until:
            await self._moved.wait()


class Stage:
    """A running simulator of two nodes with three homes each, and one day of history."""

    def __init__(self, folder: Path, start: datetime = START) -> None:
        self.scenario = Scenario(
            folder / "s.sock", seed=7, start=start, days_of_history=1, nodes=2, homes_per_node=3
        )
        self.socket = self.scenario.socket
        self.clock = HandClock(start)

    async def ask_raw(self, *lines: bytes) -> list[Any]:
        """The answers to some lines, sent in one go on a connection of their own."""
        reader, writer = await asyncio.open_unix_connection(self.socket, limit=1 << 24)
        writer.write(b"".join(lines))
        answers = [json.loads(await reader.readline()) for _ in lines]
        writer.close()
        return answers

    async def ask(self, op: str, **fields: object) -> Any:
        """The answer to one question."""
        return (await self.ask_raw(json.dumps({"op": op, **fields}).encode() + b"\n"))[0]

    async def move(self, to: datetime) -> None:
        """Move the clock and let the simulation follow."""
        self.clock.move(to)
        to = to.replace(second=0)  # steps end at whole minutes
        while datetime.fromisoformat((await self.ask("now"))["result"]["simulated_until"]) < to:
            pass


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


@asynccontextmanager
async def playing(stage: Stage) -> AsyncIterator[Stage]:
    """The stage while its simulator runs; it is stopped in the end, and must stop cleanly."""
    stop = asyncio.Event()
    running = asyncio.create_task(serve(stage.scenario, stage.clock, stage.clock.sleep, stop))
    try:
        while not running.done() and not _listens(stage.socket):  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)
        yield stage
    finally:
        stop.set()
        await running
    assert not stage.socket.exists()
