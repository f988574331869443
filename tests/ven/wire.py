"""A VTN on loopback, a proxy in front of it that can cut and refuse, and a clock that runs fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from tests.ven.site import NOW, Site
from ven.client import run
from ven.settings import VenSettings
from ven.store import Store

PATIENCE_S = 60.0
ALICE = "a1" * 32


@dataclass
class FastClock:
    """Time that begins at NOW and runs `speed` times as fast as the machine's."""

    speed: float = 3600.0
    begun: float = field(default_factory=time.monotonic)

    def __call__(self) -> datetime:
        return NOW + timedelta(seconds=(time.monotonic() - self.begun) * self.speed)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)


async def eventually(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Returns as soon as the condition holds; fails the test where it never does."""
    async with asyncio.timeout(patience_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is in a database or another task's value
            await asyncio.sleep(0.005)


@dataclass
class Proxy:
    """Hands requests on to a VTN on plain loopback, as the VEN with this certificate.

    `cut` is asked for each answer (request path, answer bytes): None lets it through, a number cuts the
    connection after that many bytes. `down` refuses without asking the VTN, `replay` has its own answers.
    """

    target: int
    fingerprint: str = ALICE
    cut: Callable[[str, bytes], int | None] = lambda _path, _answer: None
    down: Callable[[str], bool] = lambda _path: False
    replay: Callable[[str], bytes | None] = lambda _path: None
    port: int = 0
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._hand_on(reader, writer):
                    pass
        finally:
            await _close(writer)

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head, body = await _message(reader)
        path = head.split(b" ", 2)[1].decode().rpartition("/")[2]
        self.requests.append((path, body))
        if self.down(path):
            return False
        answer = self.replay(path) or await self._ask(head, body)
        keep = self.cut(path, answer)
        writer.write(answer if keep is None else answer[:keep])
        await writer.drain()
        return keep is None

    async def _ask(self, head: bytes, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target)
        identity = f"X-Client-Fingerprint: {self.fingerprint}\r\nConnection: close\r\n".encode()
        try:
            writer.write(head[:-2] + identity + b"\r\n" + body)
            answer = await reader.read()
        finally:
            await _close(writer)
        return answer.replace(b"Connection: close\r\n", b"")


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    return head, await reader.readexactly(length)


def plain(port: int, state: Path, **changes: object) -> VenSettings:
    """Settings of a VEN that speaks plain HTTP to a port of this machine."""
    values: dict[str, object] = {
        "vtn_url": f"http://127.0.0.1:{port}",
        "insecure_dev": True,
        "ven_name": "alice",
        "state_path": state,
    }
    return VenSettings(**(values | changes))  # type: ignore[arg-type] - fields by name


@asynccontextmanager
async def running(settings: VenSettings, site: Site, clock: FastClock) -> AsyncIterator[Store]:
    """The VEN at work while the block runs; its store may be read."""
    store = Store.open(settings.state_path)
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings, site, store, clock, clock.sleep, stop))
    try:
        yield store
        assert not task.done(), task.exception()
    finally:
        stop.set()
        await task
        store.close()
