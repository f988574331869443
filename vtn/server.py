"""The OpenADR listener: HTTP in, one exchange, HTTP out.

Rules: POST only (501), known paths only (404), XML that the schema allows only (406), bounded bodies (413);
every OpenADR reply is a 200, refusals included; 503 with Retry-After when the database cannot take a change,
and nothing was kept then. A poll that finds nothing is answered from memory, where its bytes arrive.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache

import structlog
from aiohttp import hdrs
from sqlalchemy.exc import DBAPIError

from openadr import (
    Extension,
    Info,
    ServiceInfo,
)
from openadr.enums import ServiceName
from openadr.errors import CertificateError, TransportError
from openadr.parser import Limits
from vtn import finding, hooks, nonce, original, registration
from vtn.connection import Service
from vtn.errors import StoreError
from vtn.exchange import SERVICES, Terms
from vtn.headers import forwarded_certificate
from vtn.hooks import Review
from vtn.latency import Latencies
from vtn.listener import Listener
from vtn.open_files import room_for
from vtn.reception import Reception
from vtn.renewal import Renewal
from vtn.reply import Reply, document, payload, status
from vtn.report import RequestReports
from vtn.request import DEV_FINGERPRINT, Head, Refused, Request, simple_head
from vtn.settings import VtnSettings
from vtn.signature import Seal, Signatures
from vtn.skew import Skews
from vtn.store import Database
from vtn.tls import Tls, server_tls, tails_of
from vtn.trace import Exchange, Tracer

__all__ = ["BASE", "DEV_FINGERPRINT", "Server"]

log = structlog.get_logger(__name__)

BASE = "/OpenADR2/Simple/2.0b/"
CONTACTS_EVERY_S = 30.0
CACHED_HEADS = 1024
POLL = str(ServiceName.OADR_POLL)
REPORT = str(ServiceName.EI_REPORT)


HandOut = Callable[[str, str], Awaitable[tuple[bytes, str]]]
"""Takes the id of the VEN that asks and its query; gives bytes and media type, ValueError for a bad query."""


class Server:
    """A VTN on one port.

    `request_reports` says what to ask of a VEN whose metadata arrive, `review` may refuse a message, in the
    place of the one that the settings name. `shelf` has what VENs may read beside OpenADR, by its path.
    """

    def __init__(
        self,
        settings: VtnSettings,
        db: Database,
        clock: Callable[[], datetime],
        request_reports: RequestReports,
        review: Review | None = None,
        *,
        shelf: Mapping[str, HandOut] | None = None,
    ) -> None:
        self._settings = settings
        self._db = db
        self._clock = clock
        self._limits = Limits(max_bytes=settings.max_body_bytes, max_report_bytes=settings.max_report_bytes)
        self._skews = Skews(settings.clock_skew_s)
        signatures = Signatures(settings, self._limits)
        if review is None:
            review = hooks.find(settings.review) if settings.review else hooks.pass_all
        terms = replace(_terms(settings, request_reports), review=review, signatures=signatures.offered)
        self._reception = Reception(db, clock, terms, signatures, self._skews)
        self._tracer = Tracer(db)
        self._tls: Tls | None = None
        self._renewal: Renewal | None = None
        self._shelf = {settings.prefix + path: hand_out for path, hand_out in (shelf or {}).items()}
        self._services = {settings.prefix + BASE + service: service for service in SERVICES}
        self.latencies = Latencies()
        """Answered requests by service and status."""
        self._idle_polls = self.latencies.kinds[POLL, "200"]
        self._listener: Listener | None = None
        self._contacts: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that the listener got."""
        if self._listener is None:
            raise RuntimeError("the server is not running")
        return self._listener.port

    @property
    def listens(self) -> bool:
        """Whether VENs are heard."""
        return self._listener is not None

    async def start(self) -> None:
        """Listen; StartupError says in one sentence what stands in the way."""
        self._tls = self._reception.tls = tls = server_tls(self._settings)
        await self._reception.presence.open()
        await self._tracer.open()
        settings = self._settings
        service = Service(
            self._clock,
            # the clients of one make send a few heads, with the lengths of their messages
            lru_cache(maxsize=CACHED_HEADS)(self._head),
            self._at_once,
            self._answer,
            settings.body_timeout_s,
        )
        listener = Listener(
            service,
            header_timeout_s=settings.header_timeout_s,
            max_connections=room_for(settings.max_connections),
            max_per_address=settings.max_connections_per_address,
            keepalive_s=settings.keepalive_s,
        )
        await listener.listen(settings.host, settings.port, tls.door if tls else None)
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
                await original.prune(self._db, self._clock() - timedelta(days=self._settings.originals_days))
            except (StoreError, DBAPIError) as error:
                log.warning("last contacts were not kept, or old messages were", error=str(error))

    async def _keep_contacts(self) -> None:
        contacts, found = self._reception.presence.take_contacts(), self._reception.findings.take()
        if contacts or found:
            async with self._db.write() as conn:
                await registration.seen(conn, contacts)
                await finding.keep(conn, found)
                await nonce.prune(conn, self._clock())

    def _at_once(self, head: Head, body: bytes, connection: ssl.SSLObject | None) -> Reply | None:
        """The reply to a poll that finds nothing; None where that is not certain."""
        if head.service != POLL:
            return None
        began, now = time.perf_counter(), self._clock()
        try:
            principal = self._known(head.fingerprint, connection, now)
        except CertificateError:  # `_answer` says it
            return None
        octets = self._reception.at_once(body, principal, now, self._tracer.traced)
        if octets is None:
            return None
        self._idle_polls.add(time.perf_counter() - began)
        return payload(octets, head.coding)

    async def _answer(self, request: Request) -> Reply:
        """One request: its reply, or the status that says why there is none."""
        began, service, raw, body, principal = time.perf_counter(), "", b"", b"", ""
        try:
            principal = self._principal(request)
            if request.wanted is not None and (found := await self._handed_out(request.wanted, principal)):
                return found
            service = request.service(self._services)
            raw = await request.body(self._limit(service), self._settings.body_timeout_s)
            seal = self._seal(request) if service == REPORT else None
            body = await self._reception.answer(raw, service, principal, request.connection, seal)
            reply = payload(body, request.coding)
        except Refused as refused:
            reply = status(refused.status)
        except TransportError as error:
            reply = status(error.http_status)
        except (StoreError, DBAPIError) as error:
            log.error("the database does not take changes", error=str(error))
            reply = status(503, (hdrs.RETRY_AFTER, str(self._settings.retry_after_s)))
        except Exception:
            log.exception("a request failed", service=service)
            reply = status(500)
        self.latencies.add((service or "other", str(reply.status)), time.perf_counter() - began)
        if self._tracer.traced:
            await self._trace(principal, service or request.path, raw, body, reply.status)
        return reply

    async def _handed_out(self, target: str, principal: str) -> Reply | None:
        """What a VEN may read beside OpenADR, by its certificate alone; None: nothing is on that path."""
        path, _, query = target.partition("?")
        hand_out = self._shelf.get(path)
        if hand_out is None:
            return None
        guest = await self._reception.presence.find(principal, tails_of(principal, self._tls), self._clock())
        if guest is None or guest.ven.suspended_at is not None:
            raise Refused(403)
        try:
            return document(*await hand_out(guest.ven.ven_id, query))
        except ValueError:
            raise Refused(400) from None

    def _limit(self, service: str) -> int:
        return self._limits.max_report_bytes if service == REPORT else self._limits.max_bytes

    def _head(self, octets: bytes) -> Head | None:
        """A simple head whose body is let in."""
        head = simple_head(octets, self._services)
        return head if head is not None and head.length <= self._limit(head.service) else None

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

    def _principal(self, request: Request) -> str:
        """SHA-256 of the connection's certificate; 403 where that has ended since the handshake (SEC-10)."""
        try:
            known = self._known(request.fingerprint, request.connection, self._clock())
            if self._tls is None or request.forwarded is None or known not in self._settings.proxies:
                return known  # a proxy that speaks for nobody is no VEN: nobody enrols one
            return self._behind(request.forwarded, self._tls)
        except CertificateError as error:
            raise _turned_away(error) from None

    def _known(self, fingerprint: str, connection: ssl.SSLObject | None, now: datetime) -> str:
        if self._tls is None:  # plain HTTP: the settings allow it on loopback only
            return fingerprint
        if connection is None:  # a header is no identity, least of all of one who has hung up
            raise CertificateError("the client has gone before it was looked at")
        return self._tls.client(connection, now).fingerprint

    def _behind(self, forwarded: str, tls: Tls) -> str:
        """Whom a proxy of ours speaks for: it has checked the chain, we check our lists (HTTP-22)."""
        certificate = forwarded_certificate(forwarded, self._clock())
        tls.refuse_revoked(certificate)
        return certificate.fingerprint

    def _seal(self, request: Request) -> Seal | None:
        """The signature over a body and the certificate of `_principal`; without TLS nobody has one.

        403 where the certificate ended while the body came.
        """
        fields, connection = request.attested, request.connection
        if fields is None or not fields.present or self._tls is None or connection is None:
            return None
        now = self._clock()
        try:
            certificate = self._tls.client(connection, now).certificate
            if request.forwarded is not None and certificate.fingerprint in self._settings.proxies:
                certificate = forwarded_certificate(request.forwarded, now)
        except CertificateError as error:
            raise _turned_away(error) from None
        return Seal(fields, certificate.der)


def _turned_away(error: CertificateError) -> Refused:
    log.warning("a client is turned away", error=str(error))
    return Refused(403)


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
        settings.ranges,
    )
