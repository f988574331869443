"""A proxy that swallows what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Hole:
    """A proxy that swallows what it gets while it is dark, and passes it on while it is not."""

    def __init__(self, target: str) -> None:
        self._port = int(target.rstrip("/").rpartition(":")[2])
        self._light = asyncio.Event()
        self._swallowed: list[asyncio.StreamWriter] = []
        self._passing: list[asyncio.StreamWriter] = []
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

    def darken(self) -> None:
        """Swallow from now on what comes."""
        self._light.clear()
        for writer in self._passing:
            writer.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            if not self._light.is_set():
                self._swallowed.append(writer)
                while await reader.read(65_536):
                    self.calls += 1
                return
            ours, theirs = await asyncio.open_connection("127.0.0.1", self._port)
            self._passing += [writer, theirs]
            await asyncio.gather(_copy(reader, theirs), _copy(ours, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
    writer.close()
