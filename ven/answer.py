"""What a message of the VTN changes in what the VEN remembers, and what is sent in answer. Pure.

`good` says that a response carries success, or that the ids in the VTN's request are ours; `states` has the
state that follows.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from openadr import (
    CanceledPartyRegistration,
    CanceledReport,
    CancelPartyRegistration,
    CancelReport,
    CreatedOpt,
    CreatedPartyRegistration,
    CreatedReport,
    CreateOpt,
    CreatePartyRegistration,
    CreateReport,
    DistributeEvent,
    EiResponse,
    Event,
    Message,
    RegisteredReport,
    RegisterReport,
    ReportRequest,
    RequestEvent,
    RequestReregistration,
    Response,
    UpdatedReport,
    UpdateReport,
)
from openadr.enums import OptType
from openadr.report_request import asks_metadata
from openadr.report_rules import report_requests
from ven import opt, registration, report, request
from ven.errors import RefusedEventError
from ven.event import Desk, take
from ven.facility import Capability, Facility, ReportReader
from ven.registration import Registration
from ven.report import Offer
from ven.saved import Saved
from ven.scope import Scope
from ven.settings import VenSettings

log = logging.getLogger(__name__)

NEVER = datetime.max.replace(microsecond=0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Context:
    """What an answer depends on beside the message: the set-up, the site, chance and the present."""

    settings: VenSettings
    facility: Facility
    capabilities: tuple[Capability, ...]
    new_id: Callable[[], str]
    draw: Callable[[], float]
    now: datetime

    @property
    def offers(self) -> dict[str, Offer]:
        """The capabilities by report specifier."""
        return report.offers(self.capabilities)

    def metadata(self, ven_id: str, answering: str | None = None) -> RegisterReport:
        """Everything that the site can report."""
        return report.metadata(self.capabilities, self.new_id(), ven_id, self.now, answering)

    def wanted(self, message: RegisterReport) -> tuple[ReportRequest, ...]:
        """What the site asks of a VTN that can report this; a site that fails asks for nothing."""
        if not isinstance(self.facility, ReportReader):
            return ()
        try:
            wanted = tuple(self.facility.wanted(message.reports, self.now))
        except Exception:
            log.exception("the site could not say what it wants of the VTN's reports")
            return ()
        for finding in report_requests(wanted):  # one that breaks a rule would spoil the answer (RPT-14)
            log.error("the site's requests for the VTN's reports are not sent: %s", finding.text)
            return ()
        return wanted

    def take(self, message: UpdateReport) -> EiResponse:
        """How the site takes data of the VTN: 452 names those that it has not asked for (RPT-44)."""
        response = EiResponse.ok(message.request_id)
        if not isinstance(self.facility, ReportReader):
            return EiResponse("452", "no report was asked for", message.request_id)
        for each in message.reports:
            try:
                if not self.facility.take(each):
                    text = f"report request {each.report_request_id} is unknown"
                    response = EiResponse("452", text, message.request_id)
            except Exception:
                log.exception("the site could not take report %s", each.report_request_id)
                response = EiResponse("459", "the report could not be taken", message.request_id)
        return response

    def decide(self, event: Event, now: datetime) -> OptType:
        """The site's decision, RefusedEventError included; a site that fails does not take part."""
        try:
            return self.facility.decide(event, now)
        except RefusedEventError:
            raise
        except Exception:
            log.exception("the site could not decide on event %s: opted out", event.event_id)
            return OptType.OPT_OUT


@dataclass(frozen=True, slots=True)
class Answered:
    """What is remembered now, what to send, and the report requests whose unsent reports are void."""

    saved: Saved
    messages: Sequence[Message] = ()
    revoked: frozenset[str] = frozenset()


def answer(message: Message, asked: Message, saved: Saved, context: Context, *, good: bool) -> Answered:
    """The outcome of `message`, which came in answer to `asked`."""
    if isinstance(message, CreatedPartyRegistration):
        return _registered(message, asked, saved, context)
    known = saved.registration
    if known is None:
        return Answered(saved)
    if isinstance(message, DistributeEvent):
        return _events(message, asked, saved, known, context)
    if isinstance(message, CreateReport | RegisterReport | CancelReport | UpdateReport):
        return _reporting(message, saved, known, context)
    if isinstance(asked, RegisterReport):
        saved = given(asked, saved, context.now)
        if good and isinstance(message, RegisteredReport | Response):
            saved = _offered(message, saved, context)
    if isinstance(message, RegisteredReport):
        return _requested(message, asked, saved, known, context) if good else Answered(saved)
    return _standing(message, asked, saved, known, context, good=good)


def _standing(
    message: Message, asked: Message, saved: Saved, known: Registration, context: Context, *, good: bool
) -> Answered:
    """Messages about the registration itself, and plain responses."""
    match message:
        case Response() if isinstance(asked, RequestEvent):
            return Answered(replace(saved, synced=saved.synced or good))
        case CancelPartyRegistration():
            return _ended(message, saved, known, context, good=good)
        case CanceledPartyRegistration() | Response() if isinstance(asked, CancelPartyRegistration):
            return forgotten(saved, context) if good else Answered(_kept_here(saved))
        case CreatedOpt() | Response() if isinstance(asked, CreateOpt):
            taken = replace(saved, opts=opt.superseded(asked, saved.opts))
            return Answered(taken if good else _untold(asked, saved))
        case RequestReregistration():
            return _renewed(saved, known, good=good)
        case _:
            return Answered(saved)


def _registered(
    message: CreatedPartyRegistration, asked: Message, saved: Saved, context: Context
) -> Answered:
    if not isinstance(asked, CreatePartyRegistration):
        return Answered(_told(message, saved))
    granted = registration.accepted(message, asked, saved.registration)
    if granted is None:
        return Answered(saved)
    if asked.registration_id is not None:
        return Answered(replace(saved, registration=granted, renewing=False))
    # a new registration starts over: metadata, requests and the list of events come again (REG-11, REG-17)
    fresh = Saved(registration=granted, events=saved.events, opts=saved.opts)
    return Answered(fresh, (), frozenset(saved.requests))


def _told(message: CreatedPartyRegistration, saved: Saved) -> Saved:
    """A registered VEN has asked what is offered: the newest rhythm holds at once (REG-24)."""
    known, period_s = saved.registration, registration.poll_period_s(message)
    if known is None or not message.response.is_success or period_s is None:
        return saved
    return replace(saved, registration=replace(known, poll_period_s=period_s))


def _events(
    message: DistributeEvent, asked: Message, saved: Saved, known: Registration, context: Context
) -> Answered:
    settings = context.settings
    scope = Scope(
        ven_id=known.ven_id,
        vtn_id=known.vtn_id,
        signals=frozenset() if settings.report_only else settings.signals,
        market_contexts=settings.market_contexts,
        groups=settings.groups,
        parties=settings.parties,
        resources=frozenset(point.resource_id for point in context.capabilities if point.resource_id),
        device_classes=settings.device_classes,
        meters=settings.meters,
        grid_nodes=settings.grid_nodes,
        links=settings.transport_interfaces,
        position=settings.position,
    )
    complete = not isinstance(asked, RequestEvent) or asked.reply_limit is None
    desk = Desk(scope, opt.said_first(saved.opts, context.decide), context.draw, context.now)
    taken = take(saved.events, message, desk, complete=complete)
    synced = saved.synced or isinstance(asked, RequestEvent)
    messages = () if taken.answer is None else (taken.answer,)
    events = saved.events if taken.held == saved.events else taken.held
    return Answered(replace(saved, events=events, synced=synced), messages)


def never_taken(asked: Message, saved: Saved, now: datetime) -> Saved:
    """What is remembered after the VTN would not take a request, however often it was sent."""
    if isinstance(asked, RegisterReport):
        return given(asked, saved, now)
    if isinstance(asked, CancelPartyRegistration):
        return _kept_here(saved)
    return _untold(asked, saved) if isinstance(asked, CreateOpt) else saved


def _kept_here(saved: Saved) -> Saved:
    """The VTN does not let us go: the registration goes on, and so does the VEN."""
    log.error("the VTN does not end the registration: it goes on, say it again to leave")
    return replace(saved, leaving=False)


def _untold(asked: CreateOpt, saved: Saved) -> Saved:
    """The VTN does not have this opt: it is none that could be taken back, or that binds us (OPT-13)."""
    what = "a schedule" if asked.event_id is None else f"event {asked.event_id}"
    log.error("the VTN has not taken %s (optID %s) for %s: say it again", asked.opt_type, asked.opt_id, what)
    return replace(saved, opts=tuple(each for each in saved.opts if each != asked))


def given(offered: RegisterReport, saved: Saved, now: datetime) -> Saved:
    """The VTN has answered these metadata, or will never take them: the request for them is served."""
    if offered.report_request_id is None:
        return saved
    return replace(saved, requests=request.metadata_given(saved.requests, offered.report_request_id, now))


def _offered(message: RegisteredReport | Response, saved: Saved, context: Context) -> Saved:
    """The VTN has our metadata. A plain response neither asks for reports nor ends those under way."""
    offered = replace(saved, metadata=report.digest(context.capabilities))
    if isinstance(message, Response) and offered != saved:
        log.warning(
            "the VTN took our metadata with a plain oadrResponse (RPT-09 wants oadrRegisteredReport):"
            " they are offered again when they change, or are asked for"
        )
    return offered


def _requested(
    message: RegisteredReport, asked: Message, saved: Saved, known: Registration, context: Context
) -> Answered:
    """The VTN has our metadata: what it asked for before is void, what comes along is asked anew (RPT-07)."""
    along = {each.report_request_id for each in message.report_requests}
    kept = {
        key: held
        for key, held in saved.requests.items()
        if key in along or asks_metadata(held.request)  # RPT-42
    }
    revoked = frozenset(saved.requests) - frozenset(kept)
    saved = replace(saved, requests=kept)
    if not message.report_requests:
        return Answered(saved, (), revoked)
    served = asked.report_request_id if isinstance(asked, RegisterReport) else None
    outcome = _accepted(
        message.report_requests, message.response.request_id, saved, known, context, served=served
    )
    return replace(outcome, revoked=revoked)


def _accepted(
    asked: Sequence[ReportRequest],
    request_id: str,
    saved: Saved,
    known: Registration,
    context: Context,
    *,
    served: str | None = None,
) -> Answered:
    """The requests taken, and the answer that lists them; metadata follow it.

    `served` is the request for metadata that was answered last, if these requests came along with that: it
    is not served twice, and another one for metadata waits, so that none of them follow each other for ever.
    """
    pause = timedelta(seconds=context.settings.register_retry_s if served is not None else 0)
    outcome = request.accept_all(
        saved.requests,
        [each for each in asked if not (asks_metadata(each) and each.report_request_id == served)],
        context.offers,
        request_id,
        context.now,
        metadata_from=context.now + pause,
    )
    created = CreatedReport(
        response=outcome.response, pending_reports=request.pending(outcome.requests), ven_id=known.ven_id
    )
    return Answered(replace(saved, requests=outcome.requests), (created,))


def _reporting(
    message: CreateReport | RegisterReport | CancelReport | UpdateReport,
    saved: Saved,
    known: Registration,
    context: Context,
) -> Answered:
    wrong = _wrong_id(message.ven_id, message.request_id, known)
    match message:
        case CreateReport():
            if wrong is None:
                return _accepted(message.report_requests, message.request_id, saved, known, context)
            refusal: Message = CreatedReport(
                response=wrong, pending_reports=request.pending(saved.requests), ven_id=known.ven_id
            )
            return Answered(saved, (refusal,))
        case CancelReport():
            return _canceled(message, saved, known, wrong)
        case RegisterReport():
            # what the VTN can report is asked for along with the answer, where the site wants any (RPT-09)
            wanted = () if wrong else context.wanted(message)
            response = wrong or EiResponse.ok(message.request_id)
            done = RegisteredReport(response=response, report_requests=wanted, ven_id=known.ven_id)
            if wrong or saved.metadata == report.digest(context.capabilities):
                return Answered(saved, (done,))
            return Answered(saved, (done, context.metadata(known.ven_id)))  # ours is to follow (REG-13)
        case UpdateReport():
            response = wrong or context.take(message)
            return Answered(saved, (UpdatedReport(response=response, ven_id=known.ven_id),))


def _wrong_id(ven_id: str | None, request_id: str, known: Registration) -> EiResponse | None:
    if not ven_id or ven_id == known.ven_id:
        return None
    return EiResponse("452", f"venID {ven_id} is not {known.ven_id}", request_id)


def _canceled(message: CancelReport, saved: Saved, known: Registration, wrong: EiResponse | None) -> Answered:
    if wrong is not None:
        refusal = CanceledReport(
            response=wrong, pending_reports=request.pending(saved.requests), ven_id=known.ven_id
        )
        return Answered(saved, (refusal,))
    saved, response, revoked = withdrawn(message, saved)
    done = CanceledReport(
        response=response, pending_reports=request.pending(saved.requests), ven_id=known.ven_id
    )
    return Answered(saved, (done,), revoked)


def withdrawn(message: CancelReport, saved: Saved) -> tuple[Saved, EiResponse, frozenset[str]]:
    """What is remembered after reports were cancelled, the outcome, and the requests that are void."""
    changed = request.cancel(
        saved.requests,
        message.report_request_ids,
        follow=message.report_to_follow,
        request_id=message.request_id,
    )
    revoked = frozenset(saved.requests) - frozenset(changed.requests)
    return replace(saved, requests=changed.requests), changed.response, revoked


def _ended(
    message: CancelPartyRegistration, saved: Saved, known: Registration, context: Context, *, good: bool
) -> Answered:
    wrong = EiResponse("452", "the registration is another one", message.request_id)
    response = EiResponse.ok(message.request_id) if good else wrong
    done = CanceledPartyRegistration(
        response=response, registration_id=known.registration_id, ven_id=known.ven_id
    )
    if not good:
        return Answered(saved, (done,))
    return replace(forgotten(saved, context), messages=(done,))


def forgotten(saved: Saved, context: Context) -> Answered:
    """Nothing of the registration is left (REG-19); events end with it."""
    pause = context.settings.register_after_cancel_s
    until = NEVER if pause is None else context.now + timedelta(seconds=pause)
    return Answered(Saved(barred_until=until), (), frozenset(saved.requests))


def _renewed(saved: Saved, known: Registration, *, good: bool) -> Answered:
    """Answered at once; the renewal is a request of its own (REG-16)."""
    response = EiResponse.ok() if good else EiResponse("452", "the venID is another one")
    answered = Response(response=response, ven_id=known.ven_id)
    return Answered(replace(saved, renewing=saved.renewing or good), (answered,))
