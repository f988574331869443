"""Who may be connected for how long before a request stands there, and how many, of one address and in all.

Simple requests are read here (`vtn.connection`); others by aiohttp, which reads HTTP strictly. A peer that
sends nothing, or a byte a minute, holds its socket for a short time only, in its handshake and in each head,
and one that has gone quiet for the time of an idle connection. An answer under way is carried through when
the listener closes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from typing import Any, cast

from aiohttp import web

from vtn.connection import Connection, Service
from vtn.entrance import Entrance
from vtn.reader import Reader
from vtn.request import Streamed

SHUTDOWN_S = 60.0
SWEEPS = 4  # for idle connections, in the time that one is kept


class Listener(web.Server):
    """Requests to `service`; a handshake takes `header_timeout_s` seconds at the most, and so does each head.

    There are `max_connections` at a time, `max_per_address` of one address, handshakes under way included;
    further ones are closed.
    """

    def __init__(
        self,
        service: Service,
        *,
        header_timeout_s: float,
        max_connections: int,
        max_per_address: int,
        keepalive_s: float,
    ) -> None:
        super().__init__(
            self._of_aiohttp,
            request_factory=self._heard,
            access_log=None,
            keepalive_timeout=keepalive_s,
            auto_decompress=False,
            logger=_faults,
        )
        self._header_timeout_s = header_timeout_s
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self._service = service
        self._keepalive_s = keepalive_s
        self._addresses: dict[asyncio.Protocol, str] = {}
        self._held: Counter[str] = Counter()
        self._full: set[str] = set()  # addresses that the log has named since the last sweep
        self._coming: dict[asyncio.Protocol, asyncio.Task[None]] = {}  # handshakes
        self._silent: dict[asyncio.Protocol, asyncio.TimerHandle] = {}
        self._entrance = Entrance(self._admit)
        self._context: ssl.SSLContext | None = None
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port that it got."""
        return self._entrance.port

    async def listen(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Take connections; StartupError says in one sentence what stands in the way."""
        self._context = context
        await self._entrance.open(host, port)
        self._close_idle()

    async def close(self) -> None:
        """Take no more connections, finish the requests under way, hang up."""
        self._entrance.close()
        if self._sweep is not None:
            self._sweep.cancel()
        await asyncio.sleep(0)  # what has just come in is begun
        coming = list(self._coming.values())
        for handshake in coming:
            handshake.cancel()
        await asyncio.gather(*coming, return_exceptions=True)
        mine = self._mine()
        for connection in mine:
            connection.end()
        self.pre_shutdown()
        if tasks := [connection.task for connection in mine if connection.task is not None]:
            await asyncio.wait(tasks, timeout=SHUTDOWN_S)
        await self.shutdown(SHUTDOWN_S)
        for connection in self._mine():
            connection.abort()

    def __call__(self) -> Reader:
        """aiohttp's end of a connection."""
        return Reader(self, self, loop=self._loop, **self._kwargs)

    def _admit(self, peer: socket.socket, address: str) -> None:
        """One more, if there is room for it."""
        is_full = self._held[address] >= self._max_per_address
        if is_full or len(self._addresses) >= self._max_connections:
            peer.close()
            if address not in self._full:
                self._full.add(address)
                _faults.warning("too many connections%s: one more is closed", f" from {address}" * is_full)
            return
        connection = Connection(self._service, self)
        self._count(connection, address)
        self._coming[connection] = self._loop.create_task(self._greet(connection, peer))

    async def _greet(self, connection: Connection, peer: socket.socket) -> None:
        """The handshake; one that fails has been no connection."""
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                peer,
                ssl=self._context,
                ssl_handshake_timeout=self._header_timeout_s if self._context else None,
            )
        except OSError:
            self.gone(connection)
        except BaseException:
            self.gone(connection)
            raise

    def _count(self, connection: asyncio.Protocol, address: str) -> None:
        self._addresses[connection] = address
        self._held[address] += 1

    def _mine(self) -> list[Connection]:
        """The connections that stand and that aiohttp has not got."""
        return [
            connection
            for connection in self._addresses
            if isinstance(connection, Connection) and connection not in self._coming
        ]

    def _close_idle(self) -> None:
        self._sweep = self._loop.call_later(self._keepalive_s / SWEEPS, self._close_idle)
        self._full.clear()
        since = self._loop.time() - self._keepalive_s
        for connection in self._mine():
            if connection.task is None and connection.heard_at < since:
                connection.end()

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """aiohttp has a connection."""
        super().connection_made(handler, transport)
        self.arrived(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """And has it no more."""
        super().connection_lost(handler, exc)
        self.gone(handler)

    def arrived(self, connection: asyncio.Protocol, transport: asyncio.Transport) -> None:
        """A peer is there; it has little time to say what it wants."""
        self._coming.pop(connection, None)
        if connection not in self._addresses:
            self._count(connection, _address(transport))
        self._await_head(connection, transport)

    def awaited(self, reader: Reader) -> None:
        """A head has begun: the rest of it has little time."""
        if reader in self._addresses and reader not in self._silent and reader.transport is not None:
            self._await_head(reader, reader.transport)

    def _await_head(self, connection: asyncio.Protocol, transport: asyncio.Transport) -> None:
        later = self._loop.call_later
        self._silent[connection] = later(self._header_timeout_s, self._give_up, connection, transport)

    def heard(self, connection: asyncio.Protocol) -> None:
        """A peer has said what it wants."""
        if timer := self._silent.pop(connection, None):
            timer.cancel()

    def gone(self, connection: asyncio.Protocol) -> None:
        """A peer has gone."""
        self.heard(connection)
        self._coming.pop(connection, None)
        if (address := self._addresses.pop(connection, None)) is not None:
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]

    def _give_up(self, connection: asyncio.Protocol, transport: asyncio.Transport) -> None:
        self._silent.pop(connection, None)
        transport.abort()

    def _heard(
        self, message: Any, payload: Any, protocol: web.RequestHandler, writer: Any, task: Any
    ) -> web.BaseRequest:
        cast(Reader, protocol).begun()
        self.heard(protocol)
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop)

    async def _of_aiohttp(self, request: web.BaseRequest) -> web.Response:
        asked = Streamed(request)
        answer = await self._service.answer(asked)
        cast(Reader, request.protocol).ended(asked.last)
        return answer.response()


def _address(transport: asyncio.Transport) -> str:
    """The peer's address; empty where it has gone already."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""


def _in_one_line(record: logging.LogRecord) -> bool:
    """A request that is no HTTP is the peer's fault: what is wrong is worth a line, our stack is not."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        words = " ".join(str(error).split())[:200]
        record.msg, record.args = f"{record.getMessage()}: {words!r}", None
        record.levelno = min(record.levelno, logging.WARNING)
        record.levelname = logging.getLevelName(record.levelno)
        record.exc_info = None
    return True


_faults = logging.getLogger("vtn.listener")
_faults.addFilter(_in_one_line)
