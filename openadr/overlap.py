"""Do two events of one VEN overlap? An operator asks before publishing an event (EVT-33).

    event 1   |------- duration -------|-- startafter --|
    event 2                                             |--- the first instant that does not overlap

Worked: dtstart 12:00, PT1H, startafter PT10M: the effective end is 13:10, so an event at 13:10 does not
overlap and one at 13:09 does. Cancelled and acknowledged at 12:20: the effective end is 12:30.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from openadr.event import Event
from openadr.interval import ZERO

_NOBODY: Mapping[str, datetime] = {}


def effective_end(event: Event, acknowledged_at: datetime | None = None) -> datetime | None:
    """When the event is over for every VEN that starts it at random (exclusive); None: open-ended.

    `acknowledged_at` is when the VEN confirmed that the event is cancelled; without it a cancelled event
    counts in full, because the VEN may not know.
    """
    start_after = event.active_period.start_after or ZERO
    end = None if event.end is None else start_after.after(event.end)
    if not event.is_cancelled or acknowledged_at is None:
        return end
    stopped = start_after.after(acknowledged_at)
    return stopped if end is None else min(end, stopped)


def overlap(one: Event, other: Event, acknowledged: Mapping[str, datetime] = _NOBODY) -> bool:
    """Whether both hold at some instant; events that touch do not overlap (R18, end exclusive).

    `acknowledged`: when a cancellation was confirmed, by event id.
    """
    first, second = sorted((one, other), key=lambda event: event.dtstart)
    ends = [effective_end(event, acknowledged.get(event.event_id)) for event in (first, second)]
    if any(
        end is not None and end <= event.dtstart for event, end in zip((first, second), ends, strict=True)
    ):
        return False  # cancelled before it began
    return ends[0] is None or second.dtstart < ends[0]


def overlapping(
    event: Event, others: Iterable[Event], acknowledged: Mapping[str, datetime] = _NOBODY
) -> list[Event]:
    """Those of `others` that overlap with `event`, in the order given; its own versions are left out."""
    return [
        other for other in others if other.event_id != event.event_id and overlap(event, other, acknowledged)
    ]
