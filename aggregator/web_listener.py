"""Where browsers are heard: TLS 1.2 and 1.3, the time that a handshake, a head and a body may take, and how
many connections one address may hold. What is no HTTP gets an answer with the same headers as all others.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

from aiohttp import hdrs, web

from aggregator.web_settings import WebSettings
from openadr.errors import CertificateError
from openadr.private_file import read_key_file, read_password_file
from vtn.errors import StartupError
from vtn.reply import NAME

MODERN_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
SHUTDOWN_S = 5.0
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_log = logging.getLogger("aggregator.web_listener")


def security_headers(*, tls: bool) -> Mapping[str, str]:
    """What every answer says to a browser."""
    headers = {
        hdrs.SERVER: NAME,
        "Content-Security-Policy": _CSP,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        # not no-referrer: with that, browsers send `Origin: null` with our own forms
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    }
    return {**headers, "Strict-Transport-Security": "max-age=63072000"} if tls else headers


class WebListener:
    """An application on a port of TCP."""

    def __init__(self, app: web.Application, settings: WebSettings) -> None:
        self._app = app
        self._settings = settings
        self._door: _Door | None = None
        self._runner: web.ServerRunner | None = None
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The port that it got."""
        return self._port

    async def open(self) -> None:
        """Listen; StartupError says in one sentence what stands in the way."""
        settings = self._settings
        self._door = None if settings.insecure_dev else _Door.through(_context(settings))
        self._app._set_loop(asyncio.get_running_loop())  # as AppRunner does; WebSockets ask for it
        self._app.on_startup.freeze()
        await self._app.startup()
        self._app.freeze()
        server = _Connections(self._app, settings)
        self._runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        try:
            self._server = await asyncio.get_running_loop().create_server(
                server,
                settings.host,
                settings.port,
                ssl=self._door,
                ssl_handshake_timeout=settings.header_timeout_s if self._door else None,
            )
        except OSError as error:
            await self.close()
            where = f"{settings.host} port {settings.port}"
            raise StartupError(
                f"the dashboard cannot listen on {where}: {error.strerror or error}"
            ) from error
        self._port = int(self._server.sockets[0].getsockname()[1])

    def reload(self) -> None:
        """Read the certificate again: new connections get it. One that cannot be used changes nothing."""
        if self._door is None:
            return
        try:
            self._door.newest = _context(self._settings)
        except StartupError as error:
            _log.error("the certificate stays as it was: %s", error)

    async def close(self) -> None:
        """Take no more connections, finish what is under way, hang up."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await self._app.shutdown()
            await runner.cleanup()
            await self._app.cleanup()


class _Connections(web.Server):
    """aiohttp's server with an application of ours; it closes who is silent, and who is one too many."""

    def __init__(self, app: web.Application, settings: WebSettings) -> None:
        super().__init__(
            self._answer,
            request_factory=self._heard,
            access_log=None,
            keepalive_timeout=settings.keepalive_s,
            logger=_log,
        )
        self._app = app
        self._settings = settings
        self._held: Counter[str] = Counter()
        self._addresses: dict[web.RequestHandler, str] = {}
        self._silent: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._headers = security_headers(tls=not settings.insecure_dev)

    def __call__(self) -> web.RequestHandler:
        """aiohttp's end of a connection."""
        return _Connection(self, self._headers, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """One more, if there is room for it."""
        super().connection_made(handler, transport)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        full = len(self._addresses) >= self._settings.max_connections
        if full or self._held[address] >= self._settings.max_connections_per_address:
            transport.abort()
            return
        self._addresses[handler] = address
        self._held[address] += 1
        later = self._loop.call_later
        self._silent[handler] = later(self._settings.header_timeout_s, transport.abort)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """One less."""
        super().connection_lost(handler, exc)
        self._spoke(handler)
        address = self._addresses.pop(handler, None)
        if address is not None:
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._app._handle(cast(web.Request, request))  # as AppRunner, which has no limits

    def _spoke(self, handler: web.RequestHandler) -> None:
        if timer := self._silent.pop(handler, None):
            timer.cancel()

    def _heard(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        self._spoke(protocol)
        if not payload.is_eof() and protocol.transport is not None:
            slow = self._loop.call_later(self._settings.body_timeout_s, protocol.transport.abort)
            payload.on_eof(slow.cancel)
        return self._app._make_request(message, payload, protocol, writer, task)


class _Connection(web.RequestHandler):
    """aiohttp's end of a connection; what is no HTTP is refused with our headers."""

    __slots__ = ("_headers",)

    def __init__(self, server: web.Server, headers: Mapping[str, str], **settings: Any) -> None:
        super().__init__(server, **settings)
        self._headers = headers

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request; the connection ends with it."""
        # not its text: that quotes what was sent, and a cookie may be in it
        _log.warning("what is no request was refused with %s: %s", status, type(exc).__name__)
        response = web.Response(status=status, headers={**self._headers, hdrs.CACHE_CONTROL: "no-store"})
        response.force_close()
        return response


class _Door(ssl.SSLContext):
    """A context that opens each connection with another, the newest."""

    newest: ssl.SSLContext

    @classmethod
    def through(cls, newest: ssl.SSLContext) -> _Door:
        """The door to this context."""
        door = cls(ssl.PROTOCOL_TLS_SERVER)
        door.newest = newest
        return door

    def wrap_bio(self, *bios: Any, **options: Any) -> ssl.SSLObject:
        """A connection by the newest files."""
        return self.newest.wrap_bio(*bios, **options)


def _context(settings: WebSettings) -> ssl.SSLContext:
    if settings.cert is None or settings.key is None:
        raise StartupError("web: TLS needs cert and key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(MODERN_SUITES)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    file = settings.key_password_file
    try:
        # never None: it would ask the terminal
        password = read_password_file(file) if file else b""
        read_key_file(settings.key)  # refused where others can read it
        context.load_cert_chain(settings.cert, settings.key, password)
    except CertificateError as error:
        raise StartupError(f"web: {error}") from None
    except ssl.SSLError as error:
        raise StartupError(
            f"web: TLS takes not {settings.cert} with {settings.key}: {error.reason or error}"
        ) from None
    except OSError as error:
        raise StartupError(f"web: {error.filename} cannot be read: {error.strerror}") from None
    return context
