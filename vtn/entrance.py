"""The sockets that are listened on, and what comes in by them.

Rules: connections are taken in turns, others go on in between. Where the system has no file left for one,
they wait in its queue for a moment: the listener neither spins nor ends.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from vtn.errors import StartupError

log = structlog.get_logger(__name__)

BACKLOG = 4096
PER_TURN = 64
REST_S = 1.0  # real seconds, after the system refused one more
GONE = (BlockingIOError, InterruptedError, ConnectionAbortedError)  # nobody is there, or no longer


class Entrance:
    """Gives each connection that comes in, and its peer's address, to `admit`, which owns the socket then."""

    def __init__(self, admit: Callable[[socket.socket, str], None]) -> None:
        self._admit = admit
        self._sockets: list[socket.socket] = []
        self._rests: dict[socket.socket, asyncio.TimerHandle] = {}

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._sockets[0].getsockname()[1])

    async def open(self, host: str, port: int) -> None:
        """Listen on all addresses of `host`; StartupError says in one sentence what stands in the way."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            self._bind(dict.fromkeys((each[0], each[4]) for each in found))
        except OSError as error:
            self.close()
            named = isinstance(error, socket.gaierror) or not error.errno
            reason = error.strerror or str(error) if named else os.strerror(error.errno or 0)
            raise StartupError(f"cannot listen on {host} port {port}: {reason}") from error
        for listening in self._sockets:
            listening.setblocking(False)
            self._listen(listening)

    def _bind(self, addresses: Iterable[tuple[int, Any]]) -> None:
        """A name may stand for an address whose family the system has not, as ::1 where there is no IPv6."""
        lacking: OSError | None = None
        for family, address in addresses:
            try:
                self._sockets.append(socket.create_server(address, family=family, backlog=BACKLOG))
            except OSError as error:
                if error.errno != errno.EAFNOSUPPORT:
                    raise
                lacking = error
        if lacking is not None and not self._sockets:
            raise lacking

    def close(self) -> None:
        """Take no more."""
        for rest in self._rests.values():
            rest.cancel()
        self._rests.clear()
        for listening in self._sockets:
            if listening.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._sockets.clear()

    def _listen(self, listening: socket.socket) -> None:
        self._rests.pop(listening, None)
        asyncio.get_running_loop().add_reader(listening, self._take, listening)

    def _take(self, listening: socket.socket) -> None:
        for _ in range(PER_TURN):
            try:
                peer, address = listening.accept()
            except GONE:
                return
            except OSError as error:  # no file or no memory: asked again at once, it would say so for ever
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                self._rests[listening] = loop.call_later(REST_S, self._listen, listening)
                log.error("no connection can be taken for a moment", error=error.strerror)
                return
            peer.setblocking(False)
            self._admit(peer, str(address[0]))
