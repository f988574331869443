"""A request as the server sees it, whether a connection of ours read it or aiohttp did.

`simple_head` reads the form that nearly all heads have: a POST to a service, of plain XML whose length is
said, without a header that changes how it is read. It says nothing about any other; aiohttp does.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from aiohttp import hdrs, web
from multidict import CIMultiDict, MultiMapping

from openadr.errors import TooLarge
from openadr.http_signature import CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT, Fields
from vtn.headers import CLIENT_CERT, coding, is_xml, path_of

DEV_FINGERPRINT = "X-Client-Fingerprint"  # believed on a plain loopback listener only
# printable characters only, no folded lines
_SIMPLE = re.compile(rb"POST (/[!-~]*) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[ \t]*[ -~]*\r\n)+)\r\n")
_NOT_SIMPLE = (
    "Transfer-Encoding", "Expect", "Upgrade", "Trailer", "HTTP2-Settings", "Proxy-Connection", CLIENT_CERT,
)  # fmt: skip
_LENGTH = re.compile(r"[0-9]{1,7}")


class Refused(Exception):  # noqa: N818 - the name says what happened
    """A request that is answered by an HTTP status alone."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Request(Protocol):
    """What is asked."""

    @property
    def path(self) -> str:
        """The target as it was sent."""

    @property
    def connection(self) -> ssl.SSLObject | None:
        """The connection's TLS, None for plain HTTP."""

    @property
    def coding(self) -> str | None:
        """By which method the reply may be compressed."""

    @property
    def fingerprint(self) -> str:
        """Who speaks, on a listener without TLS."""

    @property
    def forwarded(self) -> str | None:
        """The certificate that a proxy names, None where none is named."""

    @property
    def wanted(self) -> str | None:
        """The target where something is to be read (GET)."""

    @property
    def attested(self) -> Fields | None:
        """The signature over the body, None where the head holds none."""

    def service(self, services: Mapping[str, str]) -> str:
        """The service that is asked (HTTP-04 to HTTP-07); Refused where there is none."""

    async def body(self, limit: int, timeout_s: float) -> bytes:
        """The body within its limits of size and time; TooLarge or Refused."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a simple request."""

    path: str
    service: str
    length: int
    coding: str | None
    fingerprint: str
    attested: Fields | None = None


def simple_head(octets: bytes, services: Mapping[str, str]) -> Head | None:
    """What the head that these bytes are asks for; None says nothing about it."""
    match = _SIMPLE.fullmatch(octets)
    if match is None:
        return None
    lines = [line.partition(":") for line in match[2].decode("ascii").splitlines()]
    fields = CIMultiDict((name, value.strip(" \t")) for name, _, value in lines)
    path = match[1].decode("ascii")
    service = services.get(path) or services.get(path_of(path))
    length = fields.get(hdrs.CONTENT_LENGTH, "")
    kept = fields.get(hdrs.CONNECTION, "keep-alive").lower() == "keep-alive"
    if (
        service is None
        or hdrs.HOST not in fields
        or len(fields) != len(set(map(str.lower, fields)))
        or any(name in fields for name in _NOT_SIMPLE)
        or not (kept and _LENGTH.fullmatch(length) and is_xml(fields))
    ):
        return None
    accepted = fields.get(hdrs.ACCEPT_ENCODING)
    return Head(
        path,
        service,
        int(length),
        coding(accepted) if accepted else None,
        fields.get(DEV_FINGERPRINT, "").lower(),
        _attested(fields),
    )


def _attested(fields: MultiMapping[str]) -> Fields | None:
    """What the three fields say, each as a whole however often it came."""
    if SIGNATURE_INPUT not in fields:
        return None
    return Fields(
        *(", ".join(fields.getall(name, [])) for name in (CONTENT_DIGEST, SIGNATURE_INPUT, SIGNATURE))
    )


class Whole:
    """A simple request, its body at hand."""

    __slots__ = ("_octets", "attested", "coding", "connection", "fingerprint", "head", "path")
    forwarded = None
    wanted = None

    def __init__(self, head: Head, octets: bytes, connection: ssl.SSLObject | None) -> None:
        self.path, self.coding, self.fingerprint = head.path, head.coding, head.fingerprint
        self.attested = head.attested
        self.head = head
        self.connection = connection
        self._octets = octets

    def service(self, _services: Mapping[str, str]) -> str:
        """The service; a head without one is not simple."""
        return self.head.service

    async def body(self, limit: int, _timeout_s: float) -> bytes:
        """The body; TooLarge."""
        if len(self._octets) > limit:
            raise TooLarge
        return self._octets


class Streamed:
    """A request that aiohttp reads."""

    forwarded: str | None
    wanted: str | None

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self.path = request.raw_path
        self.wanted = request.raw_path if request.method == hdrs.METH_GET else None
        transport = request.transport
        self.connection = transport.get_extra_info("ssl_object") if transport is not None else None
        accepted = request.headers.get(hdrs.ACCEPT_ENCODING)
        self.coding = coding(accepted) if accepted else None
        self.fingerprint = request.headers.get(DEV_FINGERPRINT, "").lower()
        self.attested = _attested(request.headers)
        self.last = b""
        """The end of its body, once that was read."""
        # of two, one may be the client's own invention: together they are no certificate
        self.forwarded = ",".join(request.headers.getall(CLIENT_CERT, [])) or None

    def service(self, services: Mapping[str, str]) -> str:
        """The service that the target names (HTTP-04 to HTTP-07)."""
        if self._request.method != hdrs.METH_POST:
            raise Refused(501)
        service = services.get(self.path) or services.get(path_of(self.path))
        if service is None:
            raise Refused(404)
        if not is_xml(self._request.headers):
            raise Refused(406)
        return service

    async def body(self, limit: int, timeout_s: float) -> bytes:
        """The body, waited for."""
        whole = await self._body(limit, timeout_s)
        self.last = whole[-64:]
        return whole

    async def _body(self, limit: int, timeout_s: float) -> bytes:
        request = self._request
        if (request.content_length or 0) > limit:
            raise TooLarge
        if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # else it waits with the body
        if request.content.is_eof():  # it came with the headers
            whole = await request.content.read()
            if len(whole) > limit:
                raise TooLarge
            return whole
        body = bytearray()
        try:
            async with asyncio.timeout(timeout_s):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > limit:
                        raise TooLarge
        except TimeoutError:
            raise Refused(408) from None
        except ConnectionError:  # nobody is there to be answered
            raise Refused(400) from None
        except RuntimeError:  # aiohttp's word for a peer that had gone before it began to wait
            if request.transport is not None:
                raise
            raise Refused(400) from None
        return bytes(body)
