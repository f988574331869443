"""A connection of the listener, below aiohttp: simple requests one after the other, each answered in turn.

Rules: a poll that finds nothing is answered where its bytes arrive; everything else gets a task. What is not
simple (`vtn.request`) hands the connection over to aiohttp, from that request on and for good. A peer that
does not read its answers, or sends far ahead, is not read from meanwhile.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from vtn.reply import Reply, status
from vtn.request import Head, Request, Whole

HEAD_BYTES = 2048  # longer ones are aiohttp's
AHEAD_BYTES = 65_536  # of further requests, while one is being answered


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """What answers.

    `head` reads a head, None where it is not simple; `at_once` gives the reply to a poll that finds nothing,
    None where `answer` must be asked.
    """

    clock: Callable[[], datetime]
    head: Callable[[bytes], Head | None]
    at_once: Callable[[Head, bytes, ssl.SSLObject | None], Reply | None]
    answer: Callable[[Request], Awaitable[Reply]]
    body_timeout_s: float


class Host(Protocol):
    """Where connections are known."""

    def arrived(self, connection: asyncio.Protocol, transport: asyncio.Transport) -> None:
        """A peer is there."""

    def heard(self, connection: asyncio.Protocol) -> None:
        """It has said what it wants."""

    def gone(self, connection: asyncio.Protocol) -> None:
        """It is there no more, and nothing of it is under way."""

    def __call__(self) -> asyncio.Protocol:
        """Who takes the connection over, for what is not simple."""


class Connection(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_begun", "_ending", "_full", "_held", "_host", "_loop", "_rest", "_service", "_silent", "_timer",
        "_tls", "_transport", "heard_at", "task",
    )  # fmt: skip

    _transport: asyncio.Transport

    def __init__(self, service: Service, host: Host) -> None:
        self._service = service
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._tls: ssl.SSLObject | None = None
        self._rest: bytes | bytearray = b""
        self._begun: tuple[Head, int] | None = None  # a head and its length, while its body arrives
        self.task: asyncio.Task[None] | None = None
        """The answer that is under way."""
        self._timer: asyncio.TimerHandle | None = None
        self._silent = True
        self._full = False  # the peer does not read
        self._held = False  # we do not read
        self._ending = False
        self.heard_at = self._loop.time()

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport = transport
        self._tls = transport.get_extra_info("ssl_object")
        below = transport.get_extra_info("socket")
        if below is not None:
            below.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._host.arrived(self, transport)

    def connection_lost(self, _error: Exception | None) -> None:
        """End; an answer under way is carried through, for what it changes."""
        self._rest = b""
        self._stop_timer()
        if self.task is None:
            self._host.gone(self)

    def data_received(self, data: bytes) -> None:
        """Requests, in whole or in part."""
        self.heard_at = self._loop.time()
        if not self._rest:
            self._rest = data
        else:
            if isinstance(self._rest, bytes):
                self._rest = bytearray(self._rest)
            self._rest += data
        if self.task is None and not self._full:
            self._go_on()
        elif len(self._rest) > AHEAD_BYTES:
            self._hold()

    def pause_writing(self) -> None:
        """The peer does not read its answers."""
        self._full = True
        self._hold()

    def resume_writing(self) -> None:
        """It does again."""
        self._full = False
        if self.task is None:
            self._go_on()

    def end(self) -> None:
        """Close when the request under way is answered; a part of one is none."""
        self._ending = True
        if self.task is None:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    def _go_on(self) -> None:
        """Answer what has come in whole, unless nobody would hear it."""
        if self._transport.is_closing():
            self._rest = b""
        while self._rest and self.task is None and not self._full:
            head, end = self._begun or self._head()
            if head is None:
                self._hand_over()
                return
            if self._silent:
                self._silent = False
                self._host.heard(self)
            if len(self._rest) < end + head.length:
                self._begun = head, end
                if self._timer is None:
                    self._timer = self._loop.call_later(self._service.body_timeout_s, self._too_slow)
                break
            self._stop_timer()
            self._begun = None
            last = end + head.length
            body = bytes(memoryview(self._rest)[end:last])  # copied once: it may be a megabyte
            self._rest = self._rest[last:] if len(self._rest) > last else b""
            reply = self._service.at_once(head, body, self._tls)
            if reply is not None:
                self._transport.write(reply.octets(self._service.clock()))
            else:
                self.task = self._loop.create_task(self._answer(Whole(head, body, self._tls)))
        if self._held and not self._full and (self.task is None or len(self._rest) <= AHEAD_BYTES):
            self._read_on()

    def _head(self) -> tuple[Head | None, int]:
        """The head of the next request and its length, None where it is not simple."""
        end = self._rest.find(b"\r\n\r\n", 0, HEAD_BYTES) + 4
        return (self._service.head(bytes(self._rest[:end])) if end > 3 else None), end

    async def _answer(self, request: Whole) -> None:
        try:
            reply = await self._service.answer(request)
        except BaseException:  # a fault of ours: who waits for an answer must see that none comes
            self.task = None
            self._host.gone(self)
            self._transport.abort()
            raise
        self.task = None
        self.heard_at = self._loop.time()
        if self._transport.is_closing():
            self._host.gone(self)
            return
        self._transport.write(reply.octets(self._service.clock()))
        if reply.closes or self._ending:
            self._transport.close()
        else:
            self._go_on()

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self._transport.pause_reading()

    def _read_on(self) -> None:
        self._held = False
        self._transport.resume_reading()

    def _too_slow(self) -> None:
        self._timer = None
        self._transport.write(status(408).octets(self._service.clock()))
        self._transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hand_over(self) -> None:
        """What is not simple, and all that follows, is for aiohttp."""
        self._stop_timer()
        self._host.gone(self)
        protocol = self._host()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if self._held:
            self._read_on()
        protocol.data_received(bytes(self._rest))
        self._rest = b""
