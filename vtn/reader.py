"""A connection that aiohttp reads: the time that each head may take, and its refusals in our form."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from vtn import reply

END = 16  # bytes, by which the end of a body is known
BLANK = b"\r\n\r\n"  # ends a head, and a body in chunks


class Host(Protocol):
    """Where connections are known."""

    def awaited(self, reader: Reader) -> None:
        """A head has begun: the rest of it has little time."""


class Reader(web.RequestHandler):
    """aiohttp's end of a connection.

    A head begins with bytes that come while no request is under way, or that came behind the end of one.
    """

    __slots__ = ("_busy", "_ends", "_host", "_last")

    def __init__(self, manager: Any, host: Host, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._host = host
        self._busy = False
        self._last = b""
        self._ends: tuple[bytes, ...] = (BLANK,)

    def data_received(self, data: bytes) -> None:
        """Bytes of heads and bodies; aiohttp knows which."""
        super().data_received(data)
        self._last = (self._last + data[-END:])[-END:]
        if not self._busy:
            self._host.awaited(self)

    def begun(self) -> None:
        """A request is under way."""
        self._busy, self._ends = True, (BLANK,)

    def ended(self, last: bytes) -> None:
        """Its body was read, and these are its last bytes."""
        self._ends = (BLANK, last[-END:])

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; what came behind the request is the next one's head."""
        sent = await super().finish_response(request, resp, start_time)
        self._busy = False
        if not self._last.endswith(self._ends):
            self._host.awaited(self)
        return sent

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The reply to what is no request: as all our refusals, the connection ends with it."""
        super().handle_error(request, status, exc, message)  # it writes the log
        return reply.status(status).response()
