"""Who may be connected for how long before a request stands there, and how many from one address.

Simple requests are read here (`vtn.connection`); others by aiohttp, which reads HTTP strictly. A peer that
sends nothing, or a byte a minute, holds its socket for a short time only, and one that has gone quiet for
the time of an idle connection. An answer under way is carried through when the listener closes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections import Counter
from typing import Any

from aiohttp import web

from vtn.connection import Connection, Service
from vtn.errors import StartupError
from vtn.request import Streamed

BACKLOG = 4096
SHUTDOWN_S = 60.0
SWEEPS = 4  # for idle connections, in the time that one is kept


class Listener(web.Server):
    """Requests to `service`, from connections that are heard of within `header_timeout_s` seconds.

    An address that holds `max_per_address` connections gets no further one.
    """

    def __init__(
        self, service: Service, *, header_timeout_s: float, max_per_address: int, keepalive_s: float
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
        self._max_per_address = max_per_address
        self._service = service
        self._keepalive_s = keepalive_s
        self._addresses: dict[asyncio.Protocol, str] = {}
        self._held: Counter[str] = Counter()
        self._silent: dict[asyncio.Protocol, asyncio.TimerHandle] = {}
        self._socket: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port that it got."""
        if self._socket is None:
            raise RuntimeError("the server is not running")
        return int(self._socket.sockets[0].getsockname()[1])

    async def listen(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Take connections; StartupError says in one sentence what stands in the way."""
        handshake_s = self._header_timeout_s if context else None
        try:
            self._socket = await self._loop.create_server(
                lambda: Connection(self._service, self),
                host,
                port,
                ssl=context,
                backlog=BACKLOG,
                ssl_handshake_timeout=handshake_s,
            )
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise StartupError(f"cannot listen on {host} port {port}: {reason}") from error
        self._close_idle()

    async def close(self) -> None:
        """Take no more connections, finish the requests under way, hang up."""
        if self._socket is None:
            return
        self._socket.close()
        if self._sweep is not None:
            self._sweep.cancel()
        await asyncio.sleep(0)  # what has just come in is begun
        mine = self._mine()
        for connection in mine:
            connection.end()
        self.pre_shutdown()
        if tasks := [connection.task for connection in mine if connection.task is not None]:
            await asyncio.wait(tasks, timeout=SHUTDOWN_S)
        await self.shutdown(SHUTDOWN_S)
        for connection in self._mine():
            connection.abort()
        self._socket = None

    def _mine(self) -> list[Connection]:
        """The connections that aiohttp has not got."""
        return [connection for connection in self._addresses if isinstance(connection, Connection)]

    def _close_idle(self) -> None:
        self._sweep = self._loop.call_later(self._keepalive_s / SWEEPS, self._close_idle)
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
        address = _address(transport)
        self._addresses[connection] = address
        self._held[address] += 1
        if self._held[address] > self._max_per_address:
            _faults.warning("too many connections from %s: one more is closed", address)
            transport.abort()
            return
        later = self._loop.call_later
        self._silent[connection] = later(self._header_timeout_s, self._give_up, connection, transport)

    def heard(self, connection: asyncio.Protocol) -> None:
        """A peer has said what it wants."""
        if timer := self._silent.pop(connection, None):
            timer.cancel()

    def gone(self, connection: asyncio.Protocol) -> None:
        """A peer has gone."""
        self.heard(connection)
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
        self.heard(protocol)
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop)

    async def _of_aiohttp(self, request: web.BaseRequest) -> web.Response:
        return (await self._service.answer(Streamed(request))).response()


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
