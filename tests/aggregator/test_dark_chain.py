"""A day on which the chain takes connections and answers nobody: no exchange waits, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

from ledger.node import Node
from tests.aggregator.chain import Chain
from tests.aggregator.conftest import START, Platform, Prepared, node_settings, running, write_settings

TIMEOUT_S = 60  # real seconds; the day of the test takes less


class Hole:
    """A proxy that swallows what it gets while it is dark, and passes it on while it is not."""

    def __init__(self, target: str) -> None:
        self._port = int(target.rstrip("/").rpartition(":")[2])
        self._light = asyncio.Event()
        self._swallowed: list[asyncio.StreamWriter] = []
        self.calls = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            self.light()
            server.close()

    @property
    def hanging(self) -> int:
        """How many connections wait for an answer."""
        return sum(not writer.is_closing() for writer in self._swallowed)

    def light(self) -> None:
        """Be a wire again; whoever waits is hung up on."""
        self._light.set()
        for writer in self._swallowed:
            writer.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            if not self._light.is_set():
                self._swallowed.append(writer)
                while await reader.read(65_536):
                    self.calls += 1
                return
            ours, theirs = await asyncio.open_connection("127.0.0.1", self._port)
            await asyncio.gather(_copy(reader, theirs), _copy(ours, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
    writer.close()


async def test_no_exchange_of_a_day_waits_for_the_chain(prepared: Prepared, tmp_path: Path) -> None:
    folder = tmp_path / "chain"
    folder.mkdir()
    chain = Chain(folder)
    settings = await chain.start()
    hole = Hole(settings["rpc_url"])
    async with hole.open() as url:
        dark = {**settings, "rpc_url": url, "timeout_s": TIMEOUT_S}
        made = write_settings(tmp_path, [node_settings(n) for n in (1, 2, 3)], chain=dark)
        async with running(made, prepared.copy(tmp_path)) as platform:
            await platform.until("/status", lambda _: hole.calls == 1)
            await a_day(platform)
            # All that was exchanged lies between the anchorer's first question and its answer.
            assert (hole.calls, hole.hanging) == (1, 1)
            counts = (await platform.get("/status"))["counts"]
            assert counts["anchored"] == 0
            assert counts["checkpoints"] > 1
            hole.light()
            sealed = await platform.post("/seal", {"timeout_s": TIMEOUT_S})
            assert sealed["complete"]
            assert sealed["anchored"] == sealed["leaves"] >= counts["leaves"] > 0
            contract = bytes.fromhex(settings["contract"][2:])
            async with Node.open(url, TIMEOUT_S) as node:
                steps = await node.published(contract, 0, 100)
            assert [step.size for step in steps] == [sealed["leaves"]]
    await chain.close()


async def a_day(platform: Platform) -> None:
    """An event in the evening, and polls, reports and offers every four hours until midnight."""
    answer = await platform.ask(5)
    for hour in range(16, 28, 4):
        await platform.jump(START + timedelta(hours=hour))
    taken = {name for name, box in platform.boxes.items() if box.events}
    assert taken == {node["ven_name"] for node in answer["nodes"]}
    await platform.settled(len(taken))
