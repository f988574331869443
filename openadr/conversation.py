"""What a pull VEN and its VTN say to each other, exchange by exchange, and which rules that breaks.

The rules of single messages are in `rules`; here are those that need the messages before: ids, answers that
are owed, versions of events, the life of reports. A conversation may begin anywhere: what was said before is
unknown, so nothing is held against anybody for it.
"""

from collections.abc import Iterator

from openadr.conversation_events import EventTalk
from openadr.conversation_reports import ReportTalk
from openadr.event import CreatedEvent, DistributeEvent, RequestEvent
from openadr.opt import CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from openadr.registration import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    QueryRegistration,
    RequestReregistration,
)
from openadr.remark import Remark, of_ven, of_vtn
from openadr.report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    UpdatedReport,
    UpdateReport,
)
from openadr.response import EiResponse, Poll, Response
from openadr.wire import Message

_POLLED = (
    DistributeEvent,
    CreateReport,
    RegisterReport,
    CancelReport,
    UpdateReport,
    CancelPartyRegistration,
    RequestReregistration,
    Response,
)
ANSWERS: dict[type[Message], tuple[type[Message], ...]] = {
    QueryRegistration: (CreatedPartyRegistration,),
    CreatePartyRegistration: (CreatedPartyRegistration,),
    CancelPartyRegistration: (CanceledPartyRegistration,),
    CanceledPartyRegistration: (Response,),
    Poll: _POLLED,
    RequestEvent: (DistributeEvent,),
    CreatedEvent: (Response,),
    CreateOpt: (CreatedOpt,),
    CancelOpt: (CanceledOpt,),
    RegisterReport: (RegisteredReport,),
    RegisteredReport: (Response, CreatedReport),
    CreateReport: (CreatedReport,),
    CreatedReport: (Response,),
    UpdateReport: (UpdatedReport,),
    UpdatedReport: (Response,),
    CancelReport: (CanceledReport,),
    CanceledReport: (Response,),
    Response: (Response,),
}
"""Which payloads answer a request of a VEN (Appendix A of the conformance list)."""

_WRONG_ANSWER = {RequestEvent: "EVT-14", Poll: "POLL-02"}
_NEED_NO_REGISTRATION = (QueryRegistration, CreatePartyRegistration)
_MAY_COME_AGAIN = (CancelPartyRegistration, CanceledPartyRegistration)
"""After the registration has ended by them, because the answer was lost (GEN-18)."""
_OWED = {
    RegisterReport: (RegisteredReport, "REG-13"),
    CreateReport: (CreatedReport, "POLL-04"),
    CancelReport: (CanceledReport, "POLL-04"),
    UpdateReport: (UpdatedReport, "POLL-04"),
    CancelPartyRegistration: (CanceledPartyRegistration, "REG-18"),
    RequestReregistration: (CreatePartyRegistration, "REG-16"),
}
"""What the VEN sends of its own accord once the VTN handed this out in the reply to a poll."""


def code_of(message: Message | None) -> EiResponse | None:
    """The outcome that a message states, if it states one."""
    response = getattr(message, "response", None)
    return response if isinstance(response, EiResponse) else None


def accepted(message: Message | None) -> bool:
    """Whether a reply says that the request was accepted."""
    response = code_of(message)
    return message is not None and (response is None or response.is_success)


class Conversation:
    """One VEN and its VTN. Feed it each exchange in order."""

    def __init__(self) -> None:
        self._ven_id: str | None = None
        self._vtn_id: str | None = None
        self._registration_id: str | None = None
        self._cancelled = False
        self._owed: dict[type[Message], tuple[type[Message], str]] = {}
        self._handed_out: Message | None = None
        self._drained = False
        self._due: set[str] = set()
        self._event_opts: set[str] = set()
        self._events = EventTalk()
        self._reports = ReportTalk()

    def hear(self, request: Message | None, response: Message | None) -> list[Remark]:
        """What is to be said of an exchange; None: a message that could not be read, or an empty one."""
        if request is None:
            return []
        return [*self._request(request), *self._response(request, response)]

    def _request(self, request: Message) -> Iterator[Remark]:
        name = type(request).__name__
        if type(request) not in ANSWERS:
            yield of_ven("REG-25", f"a VEN never sends {name}")
        yield from self._ven_id_of(request)
        if isinstance(request, Poll):
            yield from self._before_the_next_poll()
        for asked, (answer, _) in list(self._owed.items()):
            if isinstance(request, answer) or (isinstance(request, Response) and asked is not RegisterReport):
                self._owed.pop(asked)
        yield from self._after_registration(request)
        yield from self._events.request(request)
        yield from self._reports.request(request)

    def _ven_id_of(self, request: Message) -> Iterator[Remark]:
        if isinstance(request, QueryRegistration):
            return
        named = getattr(request, "ven_id", None)
        if not named:
            if not isinstance(request, CreatePartyRegistration):
                yield of_ven("GEN-09", f"{type(request).__name__} has no venID")
        elif self._ven_id is not None and named != self._ven_id:
            yield of_ven("GEN-11", f"venID {named}, registered as {self._ven_id}")

    def _before_the_next_poll(self) -> Iterator[Remark]:
        """What a poll shows to be missing. All that waits may be fetched before it is answered (POLL-03,
        POLL-05), but events are answered first (VEX-30).
        """
        yield from self._events.before_the_next_poll()
        yield from self._reports.before_the_next_poll(drained=self._drained)
        if not self._drained:
            return
        self._drained = False
        for asked, (answer, rule) in self._owed.items():
            yield of_ven(rule, f"{asked.__name__} was not answered by {answer.__name__} before the next poll")
        self._owed.clear()

    def _after_registration(self, request: Message) -> Iterator[Remark]:
        """A new registration is followed by metadata in both directions and a request of events (REG-11)."""
        if isinstance(request, RequestEvent):
            self._due.discard("events")
        elif isinstance(request, RegisterReport):
            self._due.discard("metadata")
        elif "events" in self._due and isinstance(request, CreatedEvent | CreateOpt | UpdateReport):
            self._due.discard("events")
            name = type(request).__name__
            yield of_ven("REG-11", f"{name} before oadrRequestEvent after a new registration")

    def _response(self, request: Message, response: Message | None) -> Iterator[Remark]:
        allowed = ANSWERS.get(type(request), ())
        if response is None:
            text = f"{type(request).__name__} is answered by nothing that can be read"
            yield of_vtn("ERR-03", text, warning=True)  # a reply that was lost looks the same
            return
        if allowed and not isinstance(response, allowed):
            rule = _WRONG_ANSWER.get(type(request), "ERR-03")
            yield of_vtn(rule, f"{type(request).__name__} is answered by {type(response).__name__}")
        yield from _echo(request, response)
        yield from self._identity(request, response)
        if isinstance(request, Poll):
            yield from self._polled(response)
        yield from self._registration(request, response)
        yield from self._opt(request, response)
        yield from self._events.response(request, response)
        yield from self._reports.response(request, response)

    def _identity(self, request: Message, response: Message) -> Iterator[Remark]:
        vtn_id = getattr(response, "vtn_id", None)
        if vtn_id is not None:
            if self._vtn_id is not None and vtn_id != self._vtn_id:
                yield of_vtn("EVT-08", f"vtnID {vtn_id}, it was {self._vtn_id}")
            self._vtn_id = vtn_id
        if not accepted(response) or isinstance(request, _NEED_NO_REGISTRATION):
            return
        if self._cancelled and isinstance(request, _MAY_COME_AGAIN):
            return
        name = type(request).__name__
        named = getattr(request, "ven_id", None)
        if self._cancelled:
            yield of_ven("REG-19", f"{name} after the registration was cancelled")
            yield of_vtn("SEC-12", f"{name} is accepted from a VEN that is not registered")
        elif self._ven_id is not None and named and named != self._ven_id:
            yield of_vtn("SEC-13", f"{name} with the venID {named} is accepted")

    def _polled(self, response: Message) -> Iterator[Remark]:
        self._drained = isinstance(response, Response) or response == self._handed_out
        if type(response) in _OWED:
            self._owed[type(response)] = _OWED[type(response)]
            self._handed_out = response
        if isinstance(response, RegisterReport):
            self._due.discard("metadata of the VTN")
        if isinstance(response, Response) and response.response.is_success:
            if "events" in self._due:
                yield of_ven("REG-11", "no oadrRequestEvent after a new registration")
            if "metadata" in self._due:
                yield of_ven("RPT-01", "no oadrRegisterReport after a new registration")
            if "metadata of the VTN" in self._due:
                yield of_vtn("REG-12", "no oadrRegisterReport from the VTN after a new registration")
            self._due.clear()

    def _registration(self, request: Message, response: Message) -> Iterator[Remark]:
        if isinstance(response, CreatedPartyRegistration) and accepted(response):
            if isinstance(request, QueryRegistration):
                if response.registration_id and self._registration_id is None and self._due:
                    yield of_vtn("REG-03", "ids for a VEN that is not registered")
            elif isinstance(request, CreatePartyRegistration):
                yield from self._registered(request, response)
        elif isinstance(request, CancelPartyRegistration):
            yield from self._cancel(request, response)
        elif isinstance(request, CanceledPartyRegistration) and accepted(request) and accepted(response):
            self._forget()

    def _registered(
        self, request: CreatePartyRegistration, response: CreatedPartyRegistration
    ) -> Iterator[Remark]:
        if not response.registration_id or not response.ven_id:
            yield of_vtn("REG-08", "no registrationID or venID in the answer to a registration")
        if request.http_pull_model and response.requested_poll_freq is None:
            yield of_vtn("REG-08", "no oadrRequestedOadrPollFreq for a pull VEN")
        again = bool(request.registration_id and request.ven_id)
        if again and (response.registration_id, response.ven_id) != (request.registration_id, request.ven_id):
            yield of_vtn("REG-14", "a re-registration changed registrationID or venID")
        if not again:
            self._forget()
            self._due = {"events", "metadata", "metadata of the VTN"}
        self._ven_id, self._registration_id = response.ven_id, response.registration_id
        self._cancelled = False

    def _cancel(self, request: CancelPartyRegistration, response: Message) -> Iterator[Remark]:
        if not accepted(response):
            return
        known = self._registration_id is not None
        if known and request.registration_id != self._registration_id:
            yield of_vtn("REG-20", f"a cancel of registrationID {request.registration_id} is accepted")
            return
        if isinstance(response, CanceledPartyRegistration) and not response.registration_id:
            yield of_vtn("REG-18", "oadrCanceledPartyRegistration without registrationID")
        self._forget()

    def _forget(self) -> None:
        self._cancelled = True
        self._registration_id = self._ven_id = None
        self._due.clear()
        self._owed.clear()
        self._handed_out, self._drained = None, False
        self._events, self._reports = EventTalk(), ReportTalk()

    def _opt(self, request: Message, response: Message) -> Iterator[Remark]:
        if isinstance(request, CreateOpt):
            if isinstance(response, CreatedOpt) and response.opt_id != request.opt_id:
                yield of_vtn("OPT-06", f"optID {request.opt_id} is echoed as {response.opt_id}")
            if request.event_id is not None and accepted(response):
                self._event_opts.add(request.opt_id)
        elif isinstance(request, CancelOpt) and request.opt_id in self._event_opts:
            yield of_ven("OPT-14", f"oadrCancelOpt of {request.opt_id}, which qualifies an event")
            if accepted(response):
                yield of_vtn(
                    "OPT-14", f"oadrCancelOpt of {request.opt_id}, which qualifies an event, is accepted"
                )


def _echo(request: Message, response: Message) -> Iterator[Remark]:
    asked, answer = getattr(request, "request_id", None), code_of(response)
    if not isinstance(asked, str) or answer is None or isinstance(response, DistributeEvent):
        return
    if answer.request_id != asked:
        yield of_vtn("GEN-14", f"requestID {asked!r} is echoed as {answer.request_id!r}")
