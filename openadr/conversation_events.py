"""The part of a conversation that is about events: versions, order, and the answers that are owed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from openadr.enums import EventStatus, ResponseRequired
from openadr.event import CreatedEvent, DistributeEvent, Event, EventResponse, RequestEvent
from openadr.remark import Remark, of_ven, of_vtn
from openadr.response import Poll
from openadr.wire import Message

_STEPS = [EventStatus.FAR, EventStatus.NEAR, EventStatus.ACTIVE, EventStatus.COMPLETED, EventStatus.CANCELLED]
_OPEN = (EventStatus.FAR, EventStatus.NEAR, EventStatus.ACTIVE)
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Known:
    """The newest version of an event, and the requestID of the message that brought it last."""

    event: Event
    request_id: str


class EventTalk:
    """What was said of events so far."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._owed: set[str] = set()
        self._complete = False

    def request(self, request: Message) -> Iterator[Remark]:
        """What a VEN's request breaks."""
        if not isinstance(request, CreatedEvent):
            return
        for answer in request.event_responses:
            yield from self._answer(answer)
        if not request.response.is_success:
            self._owed.clear()

    def before_the_next_poll(self) -> Iterator[Remark]:
        """Each event with `always` is answered before the next poll (VEX-01, VEX-30)."""
        for event_id in sorted(self._owed):
            yield of_ven("VEX-01", f"event {event_id} was not answered before the next poll")
        self._owed.clear()

    def response(self, request: Message, response: Message) -> Iterator[Remark]:
        """What a VTN's reply breaks."""
        if isinstance(request, CreatedEvent):
            yield from self._accepted_answer(request, response)
        if not isinstance(response, DistributeEvent) or not isinstance(request, RequestEvent | Poll):
            return
        if response.response is None:
            yield of_vtn("EVT-07", "no eiResponse in a reply")
        elif not response.response.is_success:
            return
        limit = request.reply_limit if isinstance(request, RequestEvent) else None
        if limit is not None and len(response.events) > limit:
            yield of_vtn("EVT-15", f"{len(response.events)} events, replyLimit was {limit}")
        yield from _order(response.events)
        for event in response.events:
            yield from self._version(event)
            yield from _status_by_the_clock(event)
        if limit is None:
            yield from self._missing(response.events)
        self._keep(response, complete=limit is None)

    def _answer(self, answer: EventResponse) -> Iterator[Remark]:
        name = f"event {answer.event_id}"
        known = self._known.get(answer.event_id)
        self._owed.discard(answer.event_id)
        if known is None:
            if self._complete:
                yield of_ven("VEX-04", f"{name} is answered, the VTN never sent it")
            return
        if known.event.response_required is ResponseRequired.NEVER:
            yield of_ven("VEX-01", f"{name} is answered although oadrResponseRequired is never")
        if answer.request_id != known.request_id:
            text = f"{name}: requestID {answer.request_id!r}, it came with {known.request_id!r}"
            yield of_ven("VEX-02", text)
        if answer.modification_number != known.event.modification_number:
            version = known.event.modification_number
            yield of_ven("VEX-04", f"{name}: version {answer.modification_number}, it came as {version}")

    def _accepted_answer(self, request: CreatedEvent, response: Message) -> Iterator[Remark]:
        code = getattr(getattr(response, "response", None), "code", "")
        if not code.startswith("2"):
            return
        for answer in request.event_responses:
            known = self._known.get(answer.event_id)
            if known is None and self._complete:
                yield of_vtn("EVT-38", f"an answer to the unknown event {answer.event_id} is accepted")
            elif known and answer.modification_number > known.event.modification_number:
                yield of_vtn("EVT-38", f"an answer to a version of event {answer.event_id} that is not there")

    def _version(self, event: Event) -> Iterator[Remark]:
        known = self._known.get(event.event_id)
        name = f"event {event.event_id}"
        if known is None:
            if event.modification_number and self._complete and not event.is_cancelled:
                yield of_vtn("EVT-01", f"{name} is new and has the version {event.modification_number}")
            return
        before = known.event
        step = event.modification_number - before.modification_number
        if step < 0:
            yield of_vtn("EVT-02", f"{name}: version {event.modification_number} after a later one")
        elif step == 0 and _content(event) != _content(before):
            yield of_vtn("EVT-02", f"{name} changed without a new modificationNumber")
        elif step == 0 and event.is_cancelled and not before.is_cancelled:
            yield of_vtn("EVT-11", f"{name} was cancelled without a new modificationNumber")
        elif step > 1 and self._complete:
            yield of_vtn("EVT-02", f"{name}: modificationNumber rose by {step}", warning=True)
        if step == 0 and _rank(event) < _rank(before):
            was, now = before.descriptor.event_status, event.descriptor.event_status
            yield of_vtn("EVT-09", f"{name} went from {was} back to {now}")

    def _missing(self, events: tuple[Event, ...]) -> Iterator[Remark]:
        listed = {event.event_id for event in events}
        now = max((event.descriptor.created_date_time for event in events), default=_NO_TIME)
        for event_id, known in list(self._known.items()):
            if event_id in listed:
                continue
            event = known.event
            running = event.descriptor.event_status in _OPEN and (event.end is None or event.end > now)
            if running and now > _NO_TIME:
                yield of_vtn("EVT-13", f"event {event_id} is missing from the list before it ended")
            self._owed.discard(event_id)
            del self._known[event_id]

    def _keep(self, message: DistributeEvent, *, complete: bool) -> None:
        for event in message.events:
            self._known[event.event_id] = _Known(event, message.request_id)
            if event.response_required is ResponseRequired.ALWAYS:
                self._owed.add(event.event_id)
        self._complete = self._complete or complete


def _content(event: Event) -> str:
    """What may not change without a new modification number (EVT-02); as text, so that NaN equals itself."""
    descriptor = replace(event.descriptor, created_date_time=_NO_TIME, event_status=EventStatus.NONE)
    signals = tuple(replace(signal, current_value=None) for signal in event.signals)
    return repr(replace(event, descriptor=descriptor, signals=signals))


def _rank(event: Event) -> int:
    status = event.descriptor.event_status
    return _STEPS.index(status) if status in _STEPS else -1


def _status_by_the_clock(event: Event) -> Iterator[Remark]:
    now, status = event.descriptor.created_date_time, event.descriptor.event_status
    if status in (EventStatus.FAR, EventStatus.NEAR) and now >= event.dtstart:
        yield of_vtn("EVT-10", f"event {event.event_id} is {status} after its dtstart")
    if status is EventStatus.ACTIVE and now < event.dtstart:
        yield of_vtn("EVT-09", f"event {event.event_id} is active before its dtstart")


def _order(events: tuple[Event, ...]) -> Iterator[Remark]:
    """Active first, by priority (0 last) and dtstart, then pending by dtstart; cancelled ones stay aside."""
    places = [_place(event) for event in events if event.descriptor.event_status in _OPEN]
    if places != sorted(places):
        yield of_vtn("EVT-16", "the events are not in the order of status, priority and dtstart")


def _place(event: Event) -> tuple[int, float, datetime]:
    if event.descriptor.event_status is EventStatus.ACTIVE:
        return (0, event.descriptor.priority or float("inf"), event.dtstart)
    return (1, 0, event.dtstart)
