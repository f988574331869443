"""Requests to the VTN: what goes out, and what is taken for an answer (HTTP)."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from openadr import Poll, decode, encode
from tests.ven.messages import VEN, ok
from tests.ven.site import NOW
from tests.ven.wire import plain
from ven.errors import BadAnswerError, UnreachableError, WrongStatusError
from ven.settings import VenSettings
from ven.transport import Transport

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


POLL = encode(Poll(VEN))


@asynccontextmanager
async def answering(
    handler: Handler, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """A server on loopback that answers every request so; gives its port."""
    runner = web.ServerRunner(web.Server(handler))  # type: ignore[arg-type] - a request is a BaseRequest
    await runner.setup()
    site = web.TCPSite(runner, host, 0, ssl_context=context)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def posted(settings: VenSettings, body: bytes = POLL) -> bytes:
    async with Transport(settings, lambda: NOW) as transport:
        return await transport.post("OadrPoll", body)


def xml(body: bytes, **more: object) -> web.Response:
    return web.Response(body=body, content_type="application/xml", **more)  # type: ignore[arg-type] - options by name


@pytest.mark.criterion("HTTP-11")
async def test_http_10_a_request_is_xml_of_known_length_and_asks_for_no_compression(tmp_path: Path) -> None:
    seen: list[web.Request] = []
    bodies: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        bodies.append(await request.read())
        return xml(encode(ok()))

    async with answering(answer) as port:
        body = await posted(plain(port, tmp_path / "x"))
    assert decode(body) == ok()
    (request,) = seen
    assert (request.method, request.path) == ("POST", "/OpenADR2/Simple/2.0b/OadrPoll")
    assert request.headers["Content-Type"] == "application/xml"
    assert request.headers["Content-Length"] == str(len(POLL))
    assert "Transfer-Encoding" not in request.headers
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.headers["Accept"] == "application/xml"
    assert bodies == [POLL]


@pytest.mark.parametrize(
    ("status", "refused"),
    [
        (404, True),
        (406, True),
        (501, True),
        (400, True),
        (413, True),
        (302, True),
        (403, False),
        (429, False),
        (500, False),
        (502, False),
        (503, False),
    ],
)
async def test_http_09_another_status_is_no_answer_and_says_whether_to_try_again(
    tmp_path: Path, status: int, refused: bool
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return xml(encode(ok()), status=status, headers={"Retry-After": "7"})

    async with answering(answer) as port:
        with pytest.raises(WrongStatusError, match=f"status {status}") as error:
            await posted(plain(port, tmp_path / "x"))
    assert error.value.refused is refused
    assert error.value.retry_after_s == 7


@pytest.mark.criterion("GEN-21")
async def test_an_answer_longer_than_the_limit_is_not_read(tmp_path: Path) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return xml(b" " * 3000)

    async with answering(answer) as port:
        with pytest.raises(BadAnswerError, match="longer than 2000 bytes"):
            await posted(plain(port, tmp_path / "x", response_limit_bytes=2000))


async def test_nobody_at_the_other_end_is_named(tmp_path: Path, unused_tcp_port: int) -> None:
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{unused_tcp_port}"):
        await posted(plain(unused_tcp_port, tmp_path / "x"))


async def test_a_transport_is_used_open(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await Transport(plain(1, tmp_path / "x"), lambda: NOW).post("OadrPoll", POLL)
