"""How a site passes into an event and out of it: x-eiRampUp and x-eiRecovery (VEX-21).

    ramp-up  5 min    |/////|------ event ------|            negative: |/////--- event ---|
    recovery 5 min          |------ event ------|\\\\\\\\\\|                |--- event ---\\\\\\\\\\|

A positive time lies outside the event, before its start or after its end, a negative one inside.
"""

from dataclasses import dataclass
from datetime import datetime

from openadr.event import Event
from openadr.interval import Duration


@dataclass(frozen=True, slots=True)
class Ramp:
    """The time in [start, end) in which a site takes up the event's level (`rising`), or lets go of it."""

    event: Event
    start: datetime
    end: datetime
    rising: bool

    def share(self, now: datetime) -> float:
        """How much of the event's effect is to be reached at `now`: from 0 to 1, in a straight line."""
        passed = (now - self.start) / (self.end - self.start)
        passed = min(1.0, max(0.0, passed))
        return passed if self.rising else 1.0 - passed


def ramps(event: Event) -> tuple[Ramp, ...]:
    """The ramps of an event; none of length 0, and no recovery where the event is open-ended."""
    period = event.active_period
    found = []
    if period.ramp_up:
        found.append(Ramp(event, *_around(event.dtstart, _minus(period.ramp_up)), rising=True))
    if period.recovery and event.end is not None:
        found.append(Ramp(event, *_around(event.end, period.recovery), rising=False))
    return tuple(ramp for ramp in found if ramp.start < ramp.end)


def _around(instant: datetime, span: Duration) -> tuple[datetime, datetime]:
    """From `instant` to the end of `span`, in the order of time."""
    other = span.after(instant)
    return min(instant, other), max(instant, other)


def _minus(span: Duration) -> Duration:
    return Duration(-span.seconds, -span.months)
