"""The OpenADR listener: HTTP in, one exchange, HTTP out.

Rules: POST only (501), known paths only (404), XML that the schema allows only (406), bounded bodies (413);
every OpenADR reply is a 200, refusals included; 503 with Retry-After when the database cannot take a change,
and nothing was kept then. An empty poll is answered from memory.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from aiohttp import hdrs, web
from sqlalchemy.exc import DBAPIError

from openadr import (
    Extension,
    Info,
    ServiceInfo,
)
from openadr.enums import ServiceName
from openadr.errors import CertificateError, TooLarge, TransportError
from openadr.parser import Limits
from vtn import finding, nonce, registration
from vtn.errors import StoreError
from vtn.exchange import SERVICES, Terms
from vtn.headers import CLIENT_CERT, XML, coding, compressed, forwarded_certificate, is_xml, path_of
from vtn.hooks import Review, pass_all
from vtn.listener import Listener
from vtn.reception import Reception
from vtn.renewal import Renewal
from vtn.report import RequestReports
from vtn.settings import VtnSettings
from vtn.signature import Signatures
from vtn.skew import Skews
from vtn.store import Database
from vtn.tls import Tls, server_tls
from vtn.trace import Exchange, Tracer

log = structlog.get_logger(__name__)

BASE = "/OpenADR2/Simple/2.0b/"
DEV_FINGERPRINT = "X-Client-Fingerprint"  # believed on a plain loopback listener only
OFF_LOOP_BYTES = 16_384  # larger bodies are parsed in another thread
CONTACTS_EVERY_S = 30.0
NAME = "flexpact"
POLL = str(ServiceName.OADR_POLL)
REPORT = str(ServiceName.EI_REPORT)


class _Refused(Exception):  # noqa: N818 - the name says what happened
    """A request that is answered by an HTTP status alone."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Server:
    """A VTN on one port.

    `request_reports` says what to ask of a VEN whose metadata arrive, `review` may refuse a message.
    """

    def __init__(
        self,
        settings: VtnSettings,
        db: Database,
        clock: Callable[[], datetime],
        request_reports: RequestReports,
        review: Review = pass_all,
    ) -> None:
        self._settings = settings
        self._db = db
        self._clock = clock
        self._limits = Limits(max_bytes=settings.max_body_bytes, max_report_bytes=settings.max_report_bytes)
        self._skews = Skews(settings.clock_skew_s)
        signatures = Signatures(settings, self._limits)
        terms = replace(_terms(settings, request_reports), review=review, signatures=signatures.offered)
        self._reception = Reception(db, clock, terms, signatures, self._skews)
        self._tracer = Tracer(db)
        self._tls: Tls | None = None
        self._renewal: Renewal | None = None
        self._services = {settings.prefix + BASE + service: service for service in SERVICES}
        self._listener: Listener | None = None
        self._contacts: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that the listener got."""
        if self._listener is None:
            raise RuntimeError("the server is not running")
        return self._listener.port

    async def start(self) -> None:
        """Listen; StartupError says in one sentence what stands in the way."""
        self._tls = self._reception.tls = tls = server_tls(self._settings)
        await self._reception.presence.open()
        await self._tracer.open()
        settings = self._settings
        listener = Listener(
            self._serve,
            header_timeout_s=settings.header_timeout_s,
            max_per_address=settings.max_connections_per_address,
            keepalive_s=settings.keepalive_s,
        )
        await listener.listen(settings.host, settings.port, tls.context if tls else None)
        self._listener = listener
        self._contacts = asyncio.create_task(self._write_contacts(), name="vtn.server contacts")
        if tls is not None:
            self._renewal = Renewal(tls, self._db, self._clock)
            self._renewal.start()
        log.info("vtn listens", host=self._settings.host, port=self.port, tls=tls is not None)

    def reload(self) -> None:
        """Read the certificates again: new connections get them, open ones go on."""
        if self._renewal is not None:
            self._renewal.reload()

    async def stop(self) -> None:
        """Finish the requests under way and close."""
        if self._renewal is not None:
            await self._renewal.stop()
            self._renewal = None
        if self._contacts is not None:
            self._contacts.cancel()
            with suppress(asyncio.CancelledError):
                await self._contacts
            self._contacts = None
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
            with suppress(StoreError):
                await self._keep_contacts()

    def last_contacts(self) -> dict[str, datetime]:
        """When VENs spoke, as far as it is not in the database yet."""
        return self._reception.presence.contacts()

    def clock_skews(self) -> dict[str, timedelta]:
        """How far the clocks of VENs are ahead of ours, as their last messages tell (GEN-20)."""
        return self._skews.by_ven()

    async def _write_contacts(self) -> None:
        while True:
            await asyncio.sleep(CONTACTS_EVERY_S)
            try:
                await self._keep_contacts()
            except (StoreError, DBAPIError) as error:
                log.warning("last contacts were not kept", error=str(error))

    async def _keep_contacts(self) -> None:
        contacts, found = self._reception.presence.take_contacts(), self._reception.findings.take()
        if contacts or found:
            async with self._db.write() as conn:
                await registration.seen(conn, contacts)
                await finding.keep(conn, found)
                await nonce.prune(conn, self._clock())

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request: its reply, or the status that says why there is none."""
        service, raw, body, principal = "", b"", b"", ""
        try:
            principal = self._principal(request)
            service = self._service(request)
            raw = await self._body(request, service)
            body = await self._reception.answer(raw, service, principal, _tls_of(request))
            response = _reply(body, request.headers)
        except _Refused as refused:
            response = _status(refused.status)
        except TransportError as error:
            response = _status(error.http_status)
        except (StoreError, DBAPIError) as error:
            log.error("the database does not take changes", error=str(error))
            response = _status(503, {hdrs.RETRY_AFTER: str(self._settings.retry_after_s)})
        except Exception:
            log.exception("a request failed", service=service)
            response = _status(500)
        if self._tracer.traced:
            await self._trace(principal, service or request.path, raw, body, response.status)
        return response

    async def _trace(self, principal: str, service: str, raw: bytes, body: bytes, status: int) -> None:
        """Keep the exchange if its VEN is traced."""
        guest = None
        with suppress(StoreError, DBAPIError):  # a VEN that has just registered is not in memory yet
            guest = await self._reception.presence.find(principal, {}, self._clock())
        if guest is not None and guest.ven.ven_id in self._tracer.traced:
            exchange = Exchange(
                ven_id=guest.ven.ven_id,
                at=self._clock(),
                service=service,
                http_status=status,
                request=raw,
                response=body,
            )
            await self._tracer.keep(exchange)

    def _service(self, request: web.BaseRequest) -> str:
        """The service that the request is for (HTTP-04 to HTTP-07)."""
        if request.method != hdrs.METH_POST:
            raise _Refused(501)
        target = request.raw_path
        service = self._services.get(target) or self._services.get(path_of(target))
        if service is None:
            raise _Refused(404)
        if not is_xml(request.headers):
            raise _Refused(406)
        return service

    async def _body(self, request: web.BaseRequest, service: str) -> bytes:
        """The body within its limits of size and time."""
        limit = self._limits.max_report_bytes if service == REPORT else self._limits.max_bytes
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
            async with asyncio.timeout(self._settings.body_timeout_s):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > limit:
                        raise TooLarge
        except TimeoutError:
            raise _Refused(408) from None
        except ConnectionError:  # nobody is there to be answered
            raise _Refused(400) from None
        return bytes(body)

    def _principal(self, request: web.BaseRequest) -> str:
        """SHA-256 of the connection's certificate; 403 where that has ended since the handshake (SEC-10)."""
        connection = _tls_of(request)
        if connection is None or self._tls is None:  # plain HTTP: the settings allow it on loopback only
            return request.headers.get(DEV_FINGERPRINT, "").lower()
        try:
            known = self._tls.client(connection, self._clock()).fingerprint
            return self._behind(request, known, self._tls) if known in self._settings.proxies else known
        except CertificateError as error:
            log.warning("a client is turned away", error=str(error))
            raise _Refused(403) from None

    def _behind(self, request: web.BaseRequest, proxy: str, tls: Tls) -> str:
        """Whom a proxy of ours speaks for: it has checked the chain, we check our lists (HTTP-22)."""
        values = request.headers.getall(CLIENT_CERT, [])
        if not values:
            return proxy  # no VEN: nobody enrols a proxy
        # of two, one may be the client's own invention
        certificate = forwarded_certificate(",".join(values), self._clock())
        tls.refuse_revoked(certificate)
        return certificate.fingerprint


def _terms(settings: VtnSettings, request_reports: RequestReports) -> Terms:
    def infos(pairs: Mapping[str, str]) -> tuple[Info, ...]:
        return tuple(Info(key=key, value=value) for key, value in pairs.items())

    return Terms(
        settings.vtn_id,
        settings.poll_period_s,
        request_reports,
        settings.enrolment,
        tuple(
            ServiceInfo(service_name=name, infos=infos(pairs))
            for name, pairs in settings.service_info.items()
        ),
        tuple(
            Extension(extension_name=name, infos=infos(pairs)) for name, pairs in settings.extensions.items()
        ),
        settings.opt,
    )


def _tls_of(request: web.BaseRequest) -> ssl.SSLObject | None:
    """The request's TLS connection, None for plain HTTP."""
    transport = request.transport
    return transport.get_extra_info("ssl_object") if transport is not None else None


def _status(status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """A reply without an OpenADR payload."""
    response = web.Response(status=status, headers={hdrs.SERVER: NAME, **(headers or {})})
    if status in (403, 408, 413):
        response.force_close()  # the rest of the body is not read
    return response


def _reply(body: bytes, request_headers: Mapping[str, str]) -> web.Response:
    """A payload, compressed where the peer asked for it (HTTP-13), its length known (HTTP-11)."""
    headers = {hdrs.CONTENT_TYPE: XML, hdrs.SERVER: NAME}
    accepted = request_headers.get(hdrs.ACCEPT_ENCODING)
    if accepted and (method := coding(accepted)) is not None:
        headers[hdrs.CONTENT_ENCODING] = method
        body = compressed(body, method)
    return web.Response(body=body, headers=headers)
