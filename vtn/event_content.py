"""What an event says: as it is stored, as a VEN is sent it at an instant, and what may not be published.

Stored is what the operator decided, for one VEN. Status, createdDateTime and currentValue follow from `now`
and are added when the event is sent (EVT-03, EVT-09, EVT-25). Plain functions of values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from math import isfinite
from typing import Any

from openadr import DistributeEvent, Duration, Event, ServiceArea, Signal, Target, decode, encode, rules
from openadr.enums import EventStatus
from openadr.event_digest import as_agreed
from openadr.interval import ZERO
from openadr.parser import OWN
from openadr.timeline import event_status
from vtn.errors import NotAdmitted

_OPEN, _CLOSE = b"<ei:venID>", b"</ei:venID>"
_SOMEBODY = "-"
_PLAIN = re.compile(r"[ -%'-;=?-~]+", re.ASCII)  # what XML writes as it is


def for_ven(event: Event, ven_id: str, modification_number: int, now: datetime) -> Event:
    """The event as it is stored: for this VEN alone (TGT-05), without what follows from the clock."""
    descriptor = replace(
        event.descriptor,
        modification_number=modification_number,
        modification_date_time=whole(now) if modification_number else None,
        modification_reason=event.descriptor.modification_reason if modification_number else None,
        created_date_time=whole(now),
        event_status=EventStatus.FAR,
        test_event=_test_event(event),
    )
    signals = tuple(replace(signal, current_value=None) for signal in event.signals)
    target = event.target.of_ven(ven_id)
    period = event.active_period
    if period.notification is None:  # always sent (EVT-19): without it there is no notice
        period = replace(period, notification=ZERO)
    return replace(event, descriptor=descriptor, active_period=period, signals=signals, target=target)


def _test_event(event: Event) -> str | None:
    """`true` or `false` and no other text (EVT-31)."""
    if event.descriptor.test_event is None:
        return None
    return "true" if event.is_test else "false"


def as_of(event: Event, now: datetime, *, cancelled: bool) -> Event:
    """The event with all that depends on the instant at which it is sent."""
    status = EventStatus.CANCELLED if cancelled else event_status(event, now)
    descriptor = replace(event.descriptor, event_status=status, created_date_time=whole(now))
    active = status is EventStatus.ACTIVE
    signals = tuple(
        replace(signal, current_value=_current_value(signal, event, active, now)) for signal in event.signals
    )
    return replace(event, descriptor=descriptor, signals=signals, target=_own_ids(event))


def _own_ids(event: Event) -> Target:
    """The target, whose areas have XML ids of this event's own: two events of one list may name one area."""
    target = event.target
    if not target.service_area and not target.service_location:
        return target

    def own(name: str | None) -> str | None:
        return None if name is None else "id-" + sha256(f"{event.event_id} {name}".encode()).hexdigest()[:32]

    def renamed(areas: tuple[ServiceArea, ...]) -> tuple[ServiceArea, ...]:
        return tuple(
            replace(area, feature_id=own(area.feature_id), polygon_id=own(area.polygon_id)) for area in areas
        )

    return replace(
        target,
        service_area=renamed(target.service_area),
        service_location=renamed(target.service_location),
    )


def _current_value(signal: Signal, event: Event, active: bool, now: datetime) -> float | None:
    """The running interval's value; SIMPLE is 0 where the event is not active, others have none (EVT-25)."""
    if not active:
        return 0.0 if signal.signal_name.upper() == "SIMPLE" else None
    start = event.dtstart
    for interval in signal.intervals:
        end = interval.duration.after(start) if interval.duration else None
        if end is None or now < end:
            return interval.payload_float
        start = end
    return signal.intervals[-1].payload_float if signal.intervals else None


def check(event: Event) -> None:
    """NotAdmitted where the event breaks a rule of the standard; the clause is the rule's ID."""
    if not event.event_id:
        raise NotAdmitted("GEN-19", "an event needs an eventID")
    if not event.signals:
        raise NotAdmitted("SGN-01", f"event {event.event_id}: no signal")
    for signal in event.signals:
        if not all(isfinite(interval.payload_float) for interval in signal.intervals):
            raise NotAdmitted("EVT-23", f"event {event.event_id}, signal {signal.signal_id}: no number")
    message = DistributeEvent(request_id="0", vtn_id="0", events=(event,))
    broken = [finding for finding in rules.check(message) if not finding.warning]
    if broken:
        raise NotAdmitted(broken[0].rule, "; ".join(finding.text for finding in broken))


def check_change(old: Event, new: Event, now: datetime) -> None:
    """NotAdmitted where the change would alter what is past (EVT-04)."""
    now = whole(now)
    if old.dtstart <= now and new.dtstart != old.dtstart:
        raise NotAdmitted("EVT-04", "the start of an event that has started is in the past")
    if new.dtstart < now < old.dtstart:
        raise NotAdmitted("EVT-04", f"the new start {new.dtstart:%Y-%m-%dT%H:%M:%SZ} is in the past")
    if new.end is not None and new.end <= now:
        raise NotAdmitted("EVT-04", f"the new end {new.end:%Y-%m-%dT%H:%M:%SZ} is past: cancel the event")
    if _past(old, now) != _past(new, now):
        raise NotAdmitted("EVT-04", "a value of an interval that has begun would change in the past")


def _past(event: Event, now: datetime) -> dict[tuple[Any, ...], list[tuple[datetime, float]]]:
    """What each signal has said before `now`: each value with the instant from which it held."""
    said = {}
    for signal in event.signals:
        start, steps = event.dtstart, list[tuple[datetime, float]]()
        for interval in signal.intervals:
            if start < now and (not steps or steps[-1][1] != interval.payload_float):
                steps.append((start, interval.payload_float))
            start = (interval.duration or Duration(0)).after(start)
        if steps:
            said[signal.signal_id, signal.signal_name, signal.signal_type, signal.item_base] = steps
    return said


def same_content(old: Event, new: Event) -> bool:
    """Whether nothing differs but number, instant and reason of the modification."""

    def bare(event: Event) -> Event:
        descriptor = replace(
            event.descriptor,
            modification_number=0,
            modification_date_time=None,
            modification_reason=None,
            created_date_time=old.descriptor.created_date_time,
        )
        return replace(event, descriptor=descriptor)

    return bare(old) == bare(new)


def write(event: Event) -> bytes:
    """The event as XML, in a DistributeEvent of its own."""
    return encode(DistributeEvent(request_id="0", vtn_id="0", events=(event,)))


def told_writer(event: Event, *, cancelled: bool) -> Callable[[str], bytes]:
    """What VENs are told of an event, whenever that is, as bytes to be hashed (`openadr.event_digest`)."""
    return writer(as_agreed(as_of(event, event.descriptor.created_date_time, cancelled=cancelled)))


def writer(event: Event) -> Callable[[str], bytes]:
    """`write` for many VENs that are given the same event: what their contents share is written once."""

    def write_for(ven_id: str) -> bytes:
        return write(replace(event, target=event.target.of_ven(ven_id)))

    head, somebody, tail = parted(write_for(_SOMEBODY))
    if somebody.decode() != _SOMEBODY:
        return write_for
    return lambda ven_id: (
        head + ven_id.encode() + tail if _PLAIN.fullmatch(ven_id) is not None else write_for(ven_id)
    )


def parted(content: bytes) -> tuple[bytes, bytes, bytes]:
    """What stands before, in and after the one venID of an event, which names its VEN (TGT-05).

    Of a content that is not so simple, or for some of the VEN's resources, all stands before.
    """
    parts = content.split(_OPEN)
    if len(parts) != 2:
        return content, b"", b""
    ven_id, _, rest = parts[1].partition(_CLOSE)
    return parts[0] + _OPEN, ven_id, _CLOSE + rest


def read(content: bytes) -> Event:
    """The event that `write` wrote; what many VENs were given alike is parsed once."""
    head, ven_id, tail = parted(content)
    if _PLAIN.fullmatch(ven_id.decode()) is None:
        return _read(content)
    event = _read(head + _SOMEBODY.encode() + tail)
    if event.target.ven_id != (_SOMEBODY,):  # a signal's target has one
        return _read(content)
    return replace(event, target=replace(event.target, ven_id=(ven_id.decode(),)))


@lru_cache(maxsize=1024)
def _read(content: bytes) -> Event:
    message = decode(content, OWN)
    assert isinstance(message, DistributeEvent)  # noqa: S101 - written by write
    return message.events[0]


def last_moment(event: Event) -> datetime | None:
    """When the event leaves the list: its end plus the random start (EVT-12); None: open-ended."""
    if event.end is None or event.active_period.start_after is None:
        return event.end
    return event.active_period.start_after.after(event.end)


def whole(instant: datetime) -> datetime:
    """The instant as it is sent, in whole seconds."""
    return instant.replace(microsecond=0)


def signal_body(signal: Signal) -> dict[str, Any]:
    """The signal with values in whole thousandths: a hash must not depend on how a float prints."""
    return {
        "signal_name": signal.signal_name,
        "signal_type": str(signal.signal_type),
        "unit": (signal.item_base.item_units or "") if signal.item_base else "",
        "durations": [str(interval.duration or "") for interval in signal.intervals],
        "values_milli": [round(interval.payload_float * 1000) for interval in signal.intervals],
    }
