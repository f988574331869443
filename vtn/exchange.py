"""One request, one reply: what each message means here, and the one place where errors become replies.

    message                     service           who may        reply, also on refusal (ERR-03)
    QueryRegistration           EiRegisterParty   anyone         CreatedPartyRegistration
    CreatePartyRegistration     EiRegisterParty   enrolled       CreatedPartyRegistration
    CancelPartyRegistration     EiRegisterParty   enrolled       CanceledPartyRegistration
    CanceledPartyRegistration   EiRegisterParty   enrolled       Response
    RequestEvent                EiEvent           registered     DistributeEvent
    CreatedEvent                EiEvent           registered     Response
    RegisterReport              EiReport          registered     RegisteredReport
    RegisteredReport            EiReport          registered     Response
    CreateReport                EiReport          registered     CreatedReport
    CreatedReport               EiReport          registered     Response
    UpdateReport                EiReport          registered     UpdatedReport
    UpdatedReport               EiReport          registered     Response
    CancelReport                EiReport          registered     CanceledReport
    CanceledReport              EiReport          registered     Response
    CreateOpt, CancelOpt        EiOpt             registered     CreatedOpt, CanceledOpt
    Poll                        OadrPoll          registered     one of what waits, or Response
    Response                    any but OadrPoll  registered     Response

Rules: the principal is the certificate, an id in a message is only compared; a missing venID means his
own. A stranger, and a VEN that is not registered, get 463 in the same words (SEC-12). Handlers raise
ProtocolError, whose transaction is undone before `refusal` makes the reply.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import (
    CanceledOpt,
    CanceledPartyRegistration,
    CanceledReport,
    CancelOpt,
    CancelPartyRegistration,
    CancelReport,
    CreatedEvent,
    CreatedOpt,
    CreatedPartyRegistration,
    CreatedReport,
    CreateOpt,
    CreatePartyRegistration,
    CreateReport,
    DistributeEvent,
    Duration,
    EiResponse,
    Extension,
    Message,
    Poll,
    Profile,
    ProtocolError,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    RequestEvent,
    Response,
    ServiceInfo,
    UpdatedReport,
    UpdateReport,
    encode,
)
from openadr.enums import ProfileName, ServiceName, TransportName
from openadr.errors import BadSignature, ComplianceError, InvalidId, NotRegistered
from vtn import availability, distribution, opt, outbox, own_report, registration, report, report_request
from vtn.hooks import Review, pass_all
from vtn.opt_policy import OptPolicies
from vtn.reading_range import ReadingRange
from vtn.registration import NOT_REGISTERED, Ven
from vtn.report import RequestReports
from vtn.settings import Enrolment

SERVICES = frozenset(str(service) for service in ServiceName)
PROFILES = (Profile(profile_name=ProfileName.B, transports=(TransportName.SIMPLE_HTTP,)),)


@dataclass(frozen=True, slots=True)
class Terms:
    """What this server tells every VEN, and how it decides what to ask of one."""

    vtn_id: str
    poll_period_s: int
    request_reports: RequestReports
    enrolment: Enrolment = Enrolment.APPROVAL
    services: tuple[ServiceInfo, ...] = ()
    extensions: tuple[Extension, ...] = ()
    opt: OptPolicies = field(default_factory=OptPolicies)
    ranges: tuple[ReadingRange, ...] = ()
    review: Review = pass_all
    signatures: bool = False  # XML signatures are offered


@dataclass(frozen=True, slots=True)
class Peer:
    """Who speaks: a certificate, its VEN (None: a stranger), the hash of what came, and the payload in it.

    `source` is what is kept of its signature, None where it has not signed; `signed` what came, if it has.
    """

    fingerprint: str
    ven: Ven | None
    raw_sha256: str = ""
    body: bytes = b""
    source: Mapping[str, str] | None = None
    signed: bytes = b""


@dataclass(frozen=True, slots=True)
class Call:
    """Everything that a handler may look at."""

    conn: AsyncConnection
    peer: Peer
    now: datetime
    terms: Terms

    @property
    def ven(self) -> Ven:
        """The VEN that speaks."""
        if self.peer.ven is None:
            raise NotRegistered(NOT_REGISTERED)
        return self.peer.ven


async def exchange(
    message: Message, service: str, peer: Peer, conn: AsyncConnection, now: datetime, *, terms: Terms
) -> Message:
    """The reply to a message, all that it changes written to `conn`; ProtocolError where it is refused.

    It may be bytes already (`vtn.written`).
    """
    route = ROUTES.get(type(message))
    if route is None or service not in route.services:
        raise ComplianceError(f"{type(message).__name__} does not belong to {service}", rule="GEN-17")
    if not (peer.ven is not None and peer.ven.registered):
        suspended = peer.ven is not None and peer.ven.suspended_at is not None
        if not route.open_to_unregistered or (suspended and not isinstance(message, QueryRegistration)):
            raise NotRegistered(NOT_REGISTERED)
    ven_id = getattr(message, "ven_id", None)
    if peer.ven is not None and ven_id not in (None, "", peer.ven.ven_id):
        raise InvalidId("the venID is not the one of this certificate", rule="SEC-13")
    if peer.ven is not None:
        await terms.review(message, peer.ven, conn, now)
    return await route.handle(message, Call(conn, peer, now, terms))


async def _query(message: QueryRegistration, call: Call) -> Message:
    return _created_registration(call, EiResponse.ok(message.request_id), call.peer.ven)


async def _register(message: CreatePartyRegistration, call: Call) -> Message:
    ven = call.peer.ven
    if ven is None and call.terms.enrolment is Enrolment.AUTO:
        ven = await registration.admit(call.conn, call.peer.fingerprint, message, call.now)
        await call.terms.review(message, ven, call.conn, call.now)  # a refusal undoes the enrolment
    if ven is None:
        await registration.note_stranger(call.conn, call.peer.fingerprint, message.ven_name, call.now)
        return refusal(message, NotRegistered(NOT_REGISTERED), call.peer, call.terms)
    registration_id, ven_id = await registration.register(
        call.conn, message, ven, call.now, signatures=call.terms.signatures
    )
    granted = replace(ven, registration_id=registration_id, ven_id=ven_id)
    return _created_registration(call, EiResponse.ok(message.request_id), granted)


def _created_registration(call: Call, response: EiResponse, ven: Ven | None) -> CreatedPartyRegistration:
    """What is offered here, with the ids of a VEN that is registered (REG-03, REG-08)."""
    known = ven if ven is not None and ven.registered else None
    period_s = known.poll_period_s if known else None
    return CreatedPartyRegistration(
        response=response,
        registration_id=known.registration_id if known else None,
        ven_id=known.ven_id if known else None,
        vtn_id=call.terms.vtn_id,
        profiles=PROFILES,
        requested_poll_freq=Duration(period_s or call.terms.poll_period_s),
        services=call.terms.services,
        extensions=call.terms.extensions,
    )


async def _cancel_registration(message: CancelPartyRegistration, call: Call) -> Message:
    await registration.cancelled_by_ven(call.conn, message, call.ven, call.now)
    return CanceledPartyRegistration(
        response=EiResponse.ok(message.request_id),
        registration_id=message.registration_id,
        ven_id=call.ven.ven_id,
    )


async def _registration_was_cancelled(message: CanceledPartyRegistration, call: Call) -> Message:
    await registration.cancel_was_answered(call.conn, message, call.ven, call.now)
    return _ok(message, call)


async def _request_event(message: RequestEvent, call: Call) -> Message:
    return await distribution.distribute(
        call.conn,
        call.ven.ven_id,
        call.terms.vtn_id,
        call.now,
        request_id=message.request_id,
        reply_limit=message.reply_limit,
    )


async def _created_event(message: CreatedEvent, call: Call) -> Message:
    fault = await opt.created_event(call.conn, message, call.ven, call.now)
    if fault is not None:  # the other answers of the message count, so this is no exception
        return refusal(message, fault, call.peer, call.terms)
    return _ok(message, call)


async def _register_report(message: RegisterReport, call: Call) -> Message:
    body = call.peer.body or encode(message)
    return await report.register(
        call.conn, message, call.ven, call.now, call.terms.request_reports, body=body
    )


async def _registered_report(message: RegisteredReport, call: Call) -> Message:
    return await own_report.registered(call.conn, message, call.ven.ven_id, call.now)


async def _create_report(message: CreateReport, call: Call) -> Message:
    return await own_report.asked(call.conn, message, call.ven.ven_id, call.now)


async def _created_report(message: CreatedReport, call: Call) -> Message:
    await report_request.created(call.conn, message, call.ven.ven_id, call.now)
    return _ok(message, call)


async def _update_report(message: UpdateReport, call: Call) -> Message:
    peer, terms = call.peer, call.terms
    if call.ven.report_signature_required and peer.source is None:
        raise BadSignature("the report is not signed, and of this VEN it must be")
    received = report.Received(peer.raw_sha256, peer.source, peer.signed)
    return await report.updated(call.conn, message, call.ven, call.now, received, ranges=terms.ranges)


async def _cancel_report(message: CancelReport, call: Call) -> Message:
    return await own_report.canceled(call.conn, message, call.ven.ven_id, call.now)


async def _canceled_report(message: CanceledReport, call: Call) -> Message:
    await report_request.canceled(call.conn, message, call.ven.ven_id, call.now)
    return _ok(message, call)


async def _updated_report(message: UpdatedReport, call: Call) -> Message:
    await own_report.delivered(call.conn, message, call.ven.ven_id, call.now)
    return _ok(message, call)


async def _create_opt(message: CreateOpt, call: Call) -> Message:
    await opt.create_opt(call.conn, message, call.ven, call.now, call.terms.opt)
    return CreatedOpt(response=EiResponse.ok(message.request_id), opt_id=message.opt_id)


async def _cancel_opt(message: CancelOpt, call: Call) -> Message:
    await availability.cancel(call.conn, message, call.ven.ven_id, call.now)
    return CanceledOpt(response=EiResponse.ok(message.request_id), opt_id=message.opt_id)


async def _poll(_message: Poll, call: Call) -> Message:
    """One of what waits (POLL-02); all events are one payload (EVT-13)."""
    ven_id = call.ven.ven_id
    while (item := await outbox.next_item(call.conn, ven_id)) is not None:
        if item.message is not None:
            await outbox.offered(call.conn, ven_id, item.kind, [item.key], call.now)
            return item.message
        told = await distribution.due(call.conn, ven_id, call.terms.vtn_id, call.now)
        if told is not None:
            return told
    return nothing_waits(ven_id)


async def _acknowledged(message: Response, call: Call) -> Message:
    """A VEN posts oadrResponse to acknowledge RequestReregistration (REG-16)."""
    return _ok(message, call)


def nothing_waits(ven_id: str) -> Response:
    """The answer to a poll when nothing waits."""
    return Response(response=EiResponse.ok(), ven_id=ven_id)


def _ok(message: Message, call: Call) -> Response:
    return Response(response=EiResponse.ok(request_id_of(message)), ven_id=call.ven.ven_id)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a message belongs and what is done with it."""

    services: frozenset[str]
    handle: Callable[[Any, Call], Awaitable[Message]]
    open_to_unregistered: bool = False


def _route(service: ServiceName, handle: Callable[[Any, Call], Awaitable[Message]]) -> Route:
    return Route(frozenset({str(service)}), handle)


PARTY = frozenset({str(ServiceName.EI_REGISTER_PARTY)})
ROUTES: Mapping[type[Message], Route] = {
    QueryRegistration: Route(PARTY, _query, open_to_unregistered=True),
    CreatePartyRegistration: Route(PARTY, _register, open_to_unregistered=True),
    # these two may be repeats of what ended the registration
    CancelPartyRegistration: Route(PARTY, _cancel_registration, open_to_unregistered=True),
    CanceledPartyRegistration: Route(PARTY, _registration_was_cancelled, open_to_unregistered=True),
    RequestEvent: _route(ServiceName.EI_EVENT, _request_event),
    CreatedEvent: _route(ServiceName.EI_EVENT, _created_event),
    RegisterReport: _route(ServiceName.EI_REPORT, _register_report),
    RegisteredReport: _route(ServiceName.EI_REPORT, _registered_report),
    CreateReport: _route(ServiceName.EI_REPORT, _create_report),
    CreatedReport: _route(ServiceName.EI_REPORT, _created_report),
    UpdateReport: _route(ServiceName.EI_REPORT, _update_report),
    UpdatedReport: _route(ServiceName.EI_REPORT, _updated_report),
    CancelReport: _route(ServiceName.EI_REPORT, _cancel_report),
    CanceledReport: _route(ServiceName.EI_REPORT, _canceled_report),
    CreateOpt: _route(ServiceName.EI_OPT, _create_opt),
    CancelOpt: _route(ServiceName.EI_OPT, _cancel_opt),
    Poll: _route(ServiceName.OADR_POLL, _poll),
    Response: Route(SERVICES - {str(ServiceName.OADR_POLL)}, _acknowledged),
}


def request_id_of(message: Message | None) -> str:
    """The requestID to echo (GEN-14): the message's own, or that of the response which it carries."""
    request_id = getattr(message, "request_id", None)
    if request_id is None:
        request_id = getattr(getattr(message, "response", None), "request_id", None)
    return str(request_id or "")


def refusal(message: Message | None, error: ProtocolError, peer: Peer, terms: Terms) -> Message:
    """The reply that says no, in the payload that belongs to the request (ERR-03); decided here alone.

    `message` is None where the bytes named their message but could not become one.
    """
    name = type(message).__name__ if message is not None else str(error.message_name or "")
    request_id = error.request_id if message is None else request_id_of(message)
    code = EiResponse(error.code, error.description, request_id)
    ven_id = peer.ven.ven_id if peer.ven is not None and peer.ven.registered else None
    if name in ("QueryRegistration", "CreatePartyRegistration"):
        return CreatedPartyRegistration(response=code, vtn_id=terms.vtn_id, profiles=PROFILES)
    if name == "RequestEvent":
        # EVT-06: never empty
        return DistributeEvent(response=code, request_id=request_id or "0", vtn_id=terms.vtn_id)
    if name in ("CreateOpt", "CancelOpt"):
        opt_id = str(getattr(message, "opt_id", error.opt_id))
        reply = CreatedOpt if name == "CreateOpt" else CanceledOpt
        return reply(response=code, opt_id=opt_id)
    return REFUSALS.get(name, Response)(response=code, ven_id=ven_id)


class _Refusing(Protocol):
    def __call__(self, *, response: EiResponse, ven_id: str | None) -> Message: ...


REFUSALS: Mapping[str, _Refusing] = {
    "CancelPartyRegistration": CanceledPartyRegistration,
    "RegisterReport": RegisteredReport,
    "CreateReport": CreatedReport,
    "UpdateReport": UpdatedReport,
    "CancelReport": CanceledReport,
}
