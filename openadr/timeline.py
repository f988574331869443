"""Many events to one question: what holds at an instant?

    event A (prio 2)   |--- 1 ---|--- 2 ---|
    event B (prio 1)        |--- 3 ---|
    timeline           |-A1-|---B3----|-A2-|

Rules: periods are half-open, so that at a common edge the later event rules (VEX-25); where events overlap
the smaller priority number wins, 0 and none being the weakest, then the earlier start (EVT-16). Cancelled
events and tests hold nothing (VEX-07, VEX-23). Values come in the plain unit, with the scale code applied
(SGN-03).
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from openadr.enums import EventStatus, SignalType
from openadr.event import Event, Signal
from openadr.interval import END_OF_TIME, Duration
from openadr.ramp import Ramp, ramps

_LOWEST_PRIORITY = 2**32


class Precedence(StrEnum):
    """Which event rules where two overlap (VEX-25)."""

    PRIORITY = "priority"
    """The first in the VTN's own order of active events (EVT-16)."""
    NEWEST = "newest"
    """The one that started last."""


@dataclass(frozen=True, slots=True)
class SignalValue:
    """What one signal says at an instant: `value` in the plain unit of the signal's `item_base`."""

    signal: Signal
    value: float


@dataclass(frozen=True, slots=True)
class Setpoint:
    """What holds in [start, end): the ruling event and its signals' values. `end` None: until cancelled."""

    event: Event
    signals: tuple[SignalValue, ...]
    start: datetime
    end: datetime | None

    @property
    def values(self) -> dict[str, float]:
        """Value by signal name; the first one where an event has several signals of one name."""
        found: dict[str, float] = {}
        for item in self.signals:
            found.setdefault(item.signal.signal_name, item.value)
        return found

    def value(self, signal_name: str, signal_type: SignalType | None = None) -> float | None:
        """Value of the signal with this name (and type), None where the event has none."""
        for item in self.signals:
            if item.signal.signal_name == signal_name and signal_type in (None, item.signal.signal_type):
                return item.value
        return None


@dataclass(frozen=True, slots=True)
class _Span:
    """One event on the time axis, with the edges of each signal's intervals."""

    event: Event
    start: datetime
    end: datetime | None
    signals: tuple[tuple[Signal, tuple[datetime, ...], tuple[float, ...]], ...]

    def rank(self, precedence: Precedence) -> tuple[timedelta, int, datetime, str]:
        """The smallest rules."""
        late = END_OF_TIME - self.start if precedence is Precedence.NEWEST else timedelta()
        return (late, _priority(self.event), self.start, self.event.event_id)

    def covers(self, instant: datetime) -> bool:
        return self.start <= instant and (self.end is None or instant < self.end)

    def edges(self) -> Iterable[datetime]:
        yield self.start
        if self.end is not None:
            yield self.end
        for _, starts, _ in self.signals:
            yield from (edge for edge in starts if self.covers(edge))

    def values(self, instant: datetime) -> tuple[SignalValue, ...]:
        found = []
        for signal, starts, values in self.signals:
            index = bisect_right(starts, instant) - 1
            if 0 <= index < len(values):
                found.append(SignalValue(signal, values[index]))
        return tuple(found)


class Timeline:
    """The setpoints of a set of events; immutable."""

    __slots__ = ("_edges", "_ramps", "_setpoints")

    def __init__(
        self, edges: list[datetime], setpoints: list[Setpoint | None], ramps: tuple[Ramp, ...]
    ) -> None:
        self._edges = edges
        self._setpoints = setpoints
        self._ramps = ramps

    @classmethod
    def from_events(cls, events: Iterable[Event], precedence: Precedence = Precedence.PRIORITY) -> "Timeline":
        """The timeline of these events, each moved already where it starts at random (VEX-18)."""
        spans = [_span(event) for event in events if not event.is_cancelled and not event.is_test]
        spans.sort(key=lambda span: span.rank(precedence))
        edges = sorted({edge for span in spans for edge in span.edges()})
        found = tuple(ramp for span in spans for ramp in ramps(span.event))
        return cls(*_merge(edges, [_ruling(spans, edge) for edge in edges]), found)

    def at(self, now: datetime) -> Setpoint | None:
        """What holds at this instant, None where no event does."""
        index = bisect_right(self._edges, now) - 1
        return self._setpoints[index] if index >= 0 else None

    def next_change(self, now: datetime) -> datetime | None:
        """The first instant after `now` at which something else holds, None where nothing changes more."""
        index = bisect_right(self._edges, now)
        return self._edges[index] if index < len(self._edges) else None

    def ramp(self, now: datetime) -> Ramp | None:
        """The passage into or out of an event that is under way, None where another event holds (VEX-21)."""
        ruling = self.at(now)
        for ramp in self._ramps:
            if ramp.start <= now < ramp.end and (ruling is None or ruling.event is ramp.event):
                return ramp
        return None

    def setpoints(self) -> list[Setpoint]:
        """All setpoints in order of time."""
        return [setpoint for setpoint in self._setpoints if setpoint is not None]


def event_status(event: Event, now: datetime) -> EventStatus:
    """Where an event stands by the clock (EVT-09); cancelled stays cancelled."""
    if event.is_cancelled:
        return EventStatus.CANCELLED
    return _status_by_clock(event, now)


def in_order(events: Iterable[Event], now: datetime) -> list[Event]:
    """Events as a VTN lists them: active before pending, then priority or start (EVT-16, Appendix C).

    Priority counts among active events only. A cancelled event keeps the place that it had when it was
    modified last, which is when it was cancelled.
    """
    return sorted(events, key=lambda event: listing_key(event, now))


def listing_key(event: Event, now: datetime) -> tuple[int, int, datetime, str]:
    """The event's place among others: the smallest is listed first."""
    cancelled_at = event.descriptor.modification_date_time
    at = min(now, cancelled_at) if event.is_cancelled and cancelled_at is not None else now
    status = _status_by_clock(event, at)
    if status is EventStatus.ACTIVE:
        return (0, _priority(event), event.dtstart, event.event_id)
    pending = status in (EventStatus.FAR, EventStatus.NEAR)
    return (1 if pending else 2, 0, event.dtstart, event.event_id)


def _priority(event: Event) -> int:
    """1 is the highest; 0 and none are the lowest (EVT-16)."""
    return event.descriptor.priority or _LOWEST_PRIORITY


def _status_by_clock(event: Event, now: datetime) -> EventStatus:
    end = event.end
    if end is not None and now >= end:
        return EventStatus.COMPLETED
    if now >= event.dtstart:
        return EventStatus.ACTIVE
    near = _near_at(event)
    return EventStatus.FAR if near is None or now < near else EventStatus.NEAR


def _near_at(event: Event) -> datetime | None:
    """When the event's ramp-up begins, None where it has none."""
    ramp_up = event.active_period.ramp_up
    if not ramp_up or ramp_up.is_negative:
        return None
    return Duration(-ramp_up.seconds, -ramp_up.months).after(event.dtstart)


def edges_of(event: Event) -> list[datetime]:
    """All instants at which status, place or value of an event may change, in order; it may list more."""
    cancelled_at = event.descriptor.modification_date_time
    found = {event.dtstart, event.end, _near_at(event), cancelled_at}
    for signal in event.signals:
        found.update(_steps(signal, event.dtstart)[0])
    return sorted(edge for edge in found if edge is not None)


def _span(event: Event) -> _Span:
    signals = tuple((signal, *_steps(signal, event.dtstart)) for signal in event.signals)
    return _Span(event, event.dtstart, event.end, signals)


def _steps(signal: Signal, start: datetime) -> tuple[tuple[datetime, ...], tuple[float, ...]]:
    """Edges and values of a signal: one edge more than values where its last interval ends by itself.

    An interval without a duration, or with duration 0, lasts until the event ends (EVT-22).
    """
    scale = signal.item_base.si_scale_code if signal.item_base else None
    factor = scale.factor if scale else 1.0
    edges, values = [start], []
    for interval in signal.intervals:
        values.append(interval.payload_float * factor)
        if not interval.duration:
            return tuple(edges), tuple(values)
        edges.append(interval.duration.after(edges[-1]))
    return tuple(edges), tuple(values)


def _ruling(spans: Iterable[_Span], instant: datetime) -> tuple[_Span, tuple[SignalValue, ...]] | None:
    """`spans` in order of rank: the first that holds at the instant rules."""
    span = next((span for span in spans if span.covers(instant)), None)
    return None if span is None else (span, span.values(instant))


def _merge(
    edges: list[datetime], ruling: list[tuple[_Span, tuple[SignalValue, ...]] | None]
) -> tuple[list[datetime], list[Setpoint | None]]:
    """One setpoint for each stretch in which the same event says the same."""
    starts: list[datetime] = []
    kept: list[tuple[_Span, tuple[SignalValue, ...]] | None] = []
    for edge, item in zip(edges, ruling, strict=True):
        if kept and _same(kept[-1], item):
            continue
        starts.append(edge)
        kept.append(item)
    ends: list[datetime | None] = [*starts[1:], None]
    setpoints = [
        None if item is None else Setpoint(item[0].event, item[1], start, end)
        for item, start, end in zip(kept, starts, ends, strict=False)
    ]
    return starts, setpoints


def _same(
    left: tuple[_Span, tuple[SignalValue, ...]] | None, right: tuple[_Span, tuple[SignalValue, ...]] | None
) -> bool:
    if left is None or right is None:
        return left is right
    return left[0] is right[0] and [item.value for item in left[1]] == [item.value for item in right[1]]
