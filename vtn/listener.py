"""Who may be connected for how long before a request stands there, and how many from one address.

aiohttp reads HTTP strictly and ends idle connections. What it leaves open is how long the first request's
head may take, so that a peer can hold sockets by sending nothing, or a byte a minute; and from one address
there may come as many as the system lets in.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections import Counter
from typing import Any

from aiohttp import web

from vtn.errors import StartupError

BACKLOG = 4096
SHUTDOWN_S = 60.0


class Listener(web.Server):
    """Requests to `handler`, from connections that are heard of within `header_timeout_s` seconds.

    An address that holds `max_per_address` connections gets no further one.
    """

    def __init__(
        self, handler: Any, *, header_timeout_s: float, max_per_address: int, keepalive_s: float
    ) -> None:
        super().__init__(
            handler,
            request_factory=self._heard,
            access_log=None,
            keepalive_timeout=keepalive_s,
            auto_decompress=False,
            logger=_faults,
        )
        self._header_timeout_s = header_timeout_s
        self._max_per_address = max_per_address
        self._addresses: dict[web.RequestHandler, str] = {}
        self._held: Counter[str] = Counter()
        self._silent: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._socket: asyncio.Server | None = None

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
            self._socket = await asyncio.get_running_loop().create_server(
                self, host, port, ssl=context, backlog=BACKLOG, ssl_handshake_timeout=handshake_s
            )
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise StartupError(f"cannot listen on {host} port {port}: {reason}") from error

    async def close(self) -> None:
        """Take no more connections, finish the requests under way, hang up."""
        if self._socket is None:
            return
        self._socket.close()
        await asyncio.sleep(0)  # what has just come in is begun
        self.pre_shutdown()
        await self.shutdown(SHUTDOWN_S)
        self._socket = None

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """A peer is there; it has little time to say what it wants."""
        super().connection_made(handler, transport)
        address = _address(transport)
        self._addresses[handler] = address
        self._held[address] += 1
        if self._held[address] > self._max_per_address:
            _faults.warning("too many connections from %s: one more is closed", address)
            transport.abort()
            return
        later = asyncio.get_running_loop().call_later
        self._silent[handler] = later(self._header_timeout_s, self._give_up, handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """A peer has gone."""
        super().connection_lost(handler, exc)
        if timer := self._silent.pop(handler, None):
            timer.cancel()
        if (address := self._addresses.pop(handler, None)) is not None:
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]

    def _give_up(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        self._silent.pop(handler, None)
        transport.abort()

    def _heard(
        self, message: Any, payload: Any, protocol: web.RequestHandler, writer: Any, task: Any
    ) -> web.BaseRequest:
        if timer := self._silent.pop(protocol, None):
            timer.cancel()
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop)


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
