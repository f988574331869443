"""What a VEN does with the events that it is sent (pull model; group VEX). Pure: no clock, no I/O.

Life of an event here: taken (decided once for each modification) -> followed -> over. A cancelled or finished
event is kept for a day, so that a late copy with a lower modification number is recognised (VEX-06).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from openadr import (
    ActivePeriod,
    CreatedEvent,
    DistributeEvent,
    Duration,
    EiResponse,
    Event,
    EventResponse,
    UnreadableEvent,
)
from openadr.enums import EventStatus, OptType, ResponseRequired
from openadr.interval import MAX_SECONDS
from ven.errors import RefusedEventError
from ven.scope import Scope, fault, later

Decide = Callable[[Event, datetime], OptType]
Draw = Callable[[], float]
"""A random number from [0, 1)."""

KEEP = timedelta(days=1)
OVER_KEPT = 500
"""Events that are over, within that day: a VTN may make and cancel any number."""
_NO_TIME = timedelta(0)


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event as the VEN keeps it, with its answer. `code` other than 200: refused, and not followed."""

    event: Event
    request_id: str
    """Of the DistributeEvent that delivered it last (VEX-02)."""
    received_at: datetime
    opt_type: OptType
    code: str = "200"
    description: str = "OK"
    offset: timedelta = _NO_TIME
    """Random delay of the start, drawn once (VEX-18)."""
    stop_at: datetime | None = None
    """Set when the event was cancelled: from here on it is not followed."""
    vanished: bool = False
    """Cancelled by being left out of a list (VEX-09), so that its return makes it a new event."""

    @property
    def start(self) -> datetime:
        """Start with the random delay."""
        return later(self.event.dtstart, self.offset)

    @property
    def end(self) -> datetime | None:
        """End with the random delay (exclusive); None while open-ended (VEX-24)."""
        end = None if self.event.end is None else later(self.event.end, self.offset)
        if self.stop_at is None:
            return end
        return self.stop_at if end is None else min(end, self.stop_at)

    @property
    def is_followed(self) -> bool:
        """Whether it belongs in the timeline: opted in, not refused, no test (VEX-23)."""
        return self.code == "200" and self.opt_type is OptType.OPT_IN and not self.event.is_test

    @property
    def answer(self) -> EventResponse:
        """What the VTN is told about this version of the event."""
        return EventResponse(
            code=self.code,
            description=self.description,
            request_id=self.request_id,
            event_id=self.event.event_id,
            modification_number=self.event.modification_number,
            opt_type=self.opt_type,
        )


@dataclass(frozen=True, slots=True)
class Taken:
    """Outcome of a DistributeEvent: the events now held, and the answer if one is wanted."""

    held: dict[str, HeldEvent]
    answer: CreatedEvent | None


@dataclass(frozen=True, slots=True)
class Desk:
    """What is needed to take events: scope, the site's decision, chance and the present."""

    scope: Scope
    decide: Decide
    draw: Draw
    now: datetime


def take(held: Mapping[str, HeldEvent], message: DistributeEvent, desk: Desk, *, complete: bool) -> Taken:
    """The events after `message`, and the CreatedEvent that answers it.

    `complete`: the message lists all events, so that a missing one is cancelled; an error message is never
    complete (VEX-10).
    """
    if message.response is not None and not message.response.is_success:
        return Taken(dict(held), None)
    if message.vtn_id != desk.scope.vtn_id:
        wrong = EiResponse("452", f"vtnID {message.vtn_id} is not {desk.scope.vtn_id}", message.request_id)
        return Taken(dict(held), CreatedEvent(response=wrong, ven_id=desk.scope.ven_id))
    now_held = dict(held)
    answers = []
    for event in message.events:
        answer = _take_one(now_held, event, message.request_id, desk)
        if event.response_required is ResponseRequired.ALWAYS:
            answers.append(answer)
    for broken in message.unreadable:
        answer = _refuse_unreadable(now_held, broken, message.request_id)
        if broken.response_required is ResponseRequired.ALWAYS:
            answers.append(answer)
    if complete:
        listed = {event.event_id for event in message.events}
        _drop_missing(now_held, listed | {broken.event_id for broken in message.unreadable}, desk)
    if not answers:
        return Taken(now_held, None)
    # with eventResponses the request id above them is empty (VEX-02)
    created = CreatedEvent(response=EiResponse.ok(), event_responses=tuple(answers), ven_id=desk.scope.ven_id)
    return Taken(now_held, created)


def _take_one(held: dict[str, HeldEvent], event: Event, request_id: str, desk: Desk) -> EventResponse:
    known = held.get(event.event_id)
    if known is not None and _is_stale(known, event):
        return EventResponse(
            code="450",
            description=f"modification {event.modification_number} comes after "
            f"{known.event.modification_number}",
            request_id=request_id,
            event_id=event.event_id,
            modification_number=event.modification_number,
            opt_type=OptType.OPT_OUT,
        )
    if event.is_cancelled:
        taken = _cancelled(known, event, request_id, desk)
    elif known is not None and _is_same(known, event):
        taken = replace(known, request_id=request_id)
    else:
        taken = _decided(known, event, request_id, desk)
    held[event.event_id] = taken
    return taken.answer


def _refuse_unreadable(held: dict[str, HeldEvent], broken: UnreadableEvent, request_id: str) -> EventResponse:
    """The answer to an event that says nothing sensible; an earlier version of it is not followed on."""
    known = held.get(broken.event_id)
    if known is not None and known.event.modification_number < broken.modification_number:
        refused = replace(known, opt_type=OptType.OPT_OUT, code=broken.code, description=broken.description)
        held[broken.event_id] = refused
    return EventResponse(
        code=broken.code,
        description=broken.description,
        request_id=request_id,
        event_id=broken.event_id,
        modification_number=broken.modification_number,
        opt_type=OptType.OPT_OUT,
    )


def _is_stale(known: HeldEvent, event: Event) -> bool:
    if event.modification_number != known.event.modification_number:
        return event.modification_number < known.event.modification_number
    # the number that cancelled an event cannot bring it back
    return known.event.is_cancelled and not known.vanished and not event.is_cancelled


def _is_same(known: HeldEvent, event: Event) -> bool:
    return not known.vanished and known.event.modification_number == event.modification_number


def _decided(known: HeldEvent | None, event: Event, request_id: str, desk: Desk) -> HeldEvent:
    offset = _offset(known, event, desk.draw)
    wrong = fault(event, offset, desk.scope, desk.now)
    if wrong is not None:
        code, text = wrong
        return HeldEvent(event, request_id, desk.now, OptType.OPT_OUT, code, text, offset)
    try:
        opt_type = desk.decide(event, desk.now)
    except RefusedEventError as error:
        return HeldEvent(event, request_id, desk.now, OptType.OPT_OUT, error.code, str(error), offset)
    return HeldEvent(event, request_id, desk.now, opt_type, offset=offset)


def _cancelled(known: HeldEvent | None, event: Event, request_id: str, desk: Desk) -> HeldEvent:
    """The event stopped; an unknown one is acknowledged and remembered, nothing else (VEX-07)."""
    if known is None:
        return HeldEvent(event, request_id, desk.now, OptType.OPT_IN, stop_at=desk.now)
    # what it asked for stays: a randomised event runs on until its spread end
    body = replace(known.event, descriptor=event.descriptor, response_required=event.response_required)
    again = known.event.is_cancelled and known.event.modification_number == event.modification_number
    stop_at = known.stop_at if known.stop_at is not None else _stop(known, desk)
    was_followed = known.is_followed
    return replace(
        known,
        event=body,
        request_id=request_id,
        # not renewed by a VTN that repeats its list: each poll would be a change, which is written
        received_at=known.received_at if again else desk.now,
        opt_type=OptType.OPT_IN,
        code="200",
        description="OK",
        stop_at=stop_at if was_followed else min(desk.now, stop_at),
        vanished=False,
    )


def _stop(known: HeldEvent, desk: Desk) -> datetime:
    """When a cancelled event ends: now, or spread over `startafter` if it is running (VEX-19)."""
    running = known.is_followed and known.start <= desk.now and (known.end is None or desk.now < known.end)
    spread = _random_part(known.event.active_period, desk.draw) if running else _NO_TIME
    return later(desk.now, spread)


def _drop_missing(held: dict[str, HeldEvent], listed: set[str], desk: Desk) -> None:
    for event_id in [key for key in held if key not in listed]:
        known = held[event_id]
        if known.stop_at is not None:
            continue
        stop_at = _stop(known, desk)
        if stop_at > desk.now:
            held[event_id] = replace(known, stop_at=stop_at, vanished=True)
        else:
            del held[event_id]


def _offset(known: HeldEvent | None, event: Event, draw: Draw) -> timedelta:
    if known is not None and known.event.active_period.start_after == event.active_period.start_after:
        return known.offset
    return _random_part(event.active_period, draw)


def _random_part(period: ActivePeriod, draw: Draw) -> timedelta:
    if period.start_after is None:
        return _NO_TIME
    width = int((period.start_after.after(period.dtstart) - period.dtstart).total_seconds())
    return timedelta(seconds=int(draw() * (width + 1))) if width > 0 else _NO_TIME


def followed(held: Iterable[HeldEvent]) -> tuple[Event, ...]:
    """What the site has to follow: events opted in, moved by their random delay, cut where cancelled."""
    return tuple(_as_followed(known) for known in held if _has_effect(known))


def _has_effect(known: HeldEvent) -> bool:
    return known.is_followed and (known.stop_at is None or known.stop_at > known.start)


def _as_followed(known: HeldEvent) -> Event:
    period = replace(known.event.active_period, dtstart=known.start)
    descriptor = known.event.descriptor
    if known.stop_at is not None and known.end is not None:
        period = replace(period, duration=_whole(known.end - known.start))
        descriptor = replace(descriptor, event_status=EventStatus.ACTIVE)
    return replace(known.event, active_period=period, descriptor=descriptor)


def _whole(span: timedelta) -> Duration:
    return Duration(min(MAX_SECONDS, max(1, int(span.total_seconds()))))


def prune(held: Mapping[str, HeldEvent], now: datetime) -> dict[str, HeldEvent]:
    """What is still worth keeping: everything that ended less than a day ago, of that the newest."""
    ended = {key: max(known.end, known.received_at) for key, known in held.items() if known.end is not None}
    over = [key for key, end in ended.items() if end <= now]
    surplus = sorted(over, key=ended.__getitem__)[: max(0, len(over) - OVER_KEPT)]
    gone = {key for key in over if now >= later(ended[key], KEEP)}.union(surplus)
    return {key: known for key, known in held.items() if key not in gone}
