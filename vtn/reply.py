"""What goes back over HTTP, length known (HTTP-11): a payload, or a status that says why there is none."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from http import HTTPStatus

from aiohttp import hdrs, web

from vtn.headers import XML, compressed

NAME = "flexpact"
CLOSING = frozenset({400, 403, 408, 413})  # after these, what else was sent is not read
Fields = tuple[tuple[str, str], ...]
_NAMED: Fields = ((hdrs.SERVER, NAME),)
_PAYLOAD: Fields = ((hdrs.CONTENT_TYPE, XML), *_NAMED)


class Reply:
    """A whole answer."""

    __slots__ = ("body", "fields", "status")

    def __init__(self, status: int, fields: Fields = (), body: bytes = b"") -> None:
        self.status = status
        self.fields = fields or _NAMED
        self.body = body

    @property
    def closes(self) -> bool:
        """Whether the connection ends with it."""
        return self.status in CLOSING

    def octets(self, now: datetime) -> bytes:
        """The answer as it goes over a connection of ours."""
        return _head(self.status, self.fields, len(self.body), int(now.timestamp())) + self.body

    def response(self) -> web.Response:
        """The answer for aiohttp to send."""
        response = web.Response(status=self.status, body=self.body or None, headers=dict(self.fields))
        if self.closes:
            response.force_close()
        return response


def status(code: int, *fields: tuple[str, str]) -> Reply:
    """A reply without an OpenADR payload."""
    return Reply(code, (*_NAMED, *fields))


def payload(body: bytes, coding: str | None) -> Reply:
    """A payload, compressed by the method that the peer asked for (HTTP-13)."""
    if coding is None:
        return Reply(200, _PAYLOAD, body)
    return Reply(200, (*_PAYLOAD, (hdrs.CONTENT_ENCODING, coding)), compressed(body, coding))


def document(body: bytes, kind: str) -> Reply:
    """What is no OpenADR payload, of this media type."""
    return Reply(200, ((hdrs.CONTENT_TYPE, kind), *_NAMED), body)


@lru_cache(maxsize=256)
def _head(code: int, fields: Fields, length: int, second: int) -> bytes:
    """Everything before the body; empty polls of one second all have the same."""
    date = format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True)
    rest: Fields = ((hdrs.CONTENT_LENGTH, str(length)), (hdrs.DATE, date))
    if code in CLOSING:
        rest += ((hdrs.CONNECTION, "close"),)
    lines = (f"{name}: {value}\r\n" for name, value in (*fields, *rest))
    return f"HTTP/1.1 {code} {HTTPStatus(code).phrase}\r\n{''.join(lines)}\r\n".encode()
