"""What was agreed with a node, and which of its clauses a call would break.

Every path to an event asks ``broken_clauses``, and ``mirror.standing_hits`` where agreements are on the
chain; none asks the chain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from aggregator.profile import Calendar, Period


class Clause(StrEnum):
    """The clauses that can stand against a call."""

    CAPACITY = "capacity"
    NOTICE = "notice"
    DAILY_CALLS = "daily_calls"
    OVERLAP = "overlap"
    OFFER = "offer"
    OPT_OUT = "opt_out"
    STATE = "state"
    START = "start"
    EXPIRY = "expiry"


@dataclass(frozen=True, slots=True)
class Agreement:
    """Price, penalty and limits of one node; money in minor units of ``currency``.

    ``threshold`` is the share of the requested energy below which the penalty starts. ``notice`` is how long
    before the start a call must be sent; for as long after the notification the node may opt out for nothing.
    """

    capacity_kw: Decimal
    price_minor_per_kwh: Decimal
    penalty_minor_per_kwh: Decimal
    threshold: Decimal
    max_calls_per_day: int
    notice: timedelta
    currency: str

    def free_opt_out_ends(self, notified_at: datetime, start: datetime) -> datetime:
        """Until when (not included) an opt-out costs nothing."""
        return min(notified_at + self.notice, start)

    def capacity_w(self) -> int:
        """The agreed capacity in whole watts."""
        return int(self.capacity_kw * 1000)


@dataclass(frozen=True, slots=True)
class Call:
    """A reduction by ``power_w`` that is asked of a node over a period."""

    period: Period
    power_w: int


@dataclass(frozen=True, slots=True)
class ClauseHit:
    """A clause that stands against a call, in words with both values."""

    clause: Clause
    text: str


def broken_clauses(
    agreement: Agreement, call: Call, others: Sequence[Period], calendar: Calendar, now: datetime
) -> list[ClauseHit]:
    """Every clause that ``call`` would break if it were sent now; ``others`` are the node's other calls.

    A call counts for the local day on which it starts. Cancelled calls are not among ``others``.
    """
    hits = []
    if call.power_w > agreement.capacity_w():
        text = f"{call.power_w} W asked, {agreement.capacity_w()} W agreed"
        hits.append(ClauseHit(Clause.CAPACITY, text))
    notice = call.period.start - now
    if notice < agreement.notice:
        text = f"starts in {_minutes(notice)} min, {_minutes(agreement.notice)} min of notice agreed"
        hits.append(ClauseHit(Clause.NOTICE, text))
    day = calendar.day_of(call.period.start)
    calls = sum(calendar.day_of(other.start) == day for other in others)
    if calls >= agreement.max_calls_per_day:
        text = f"{calls} calls on {day}, {agreement.max_calls_per_day} agreed"
        hits.append(ClauseHit(Clause.DAILY_CALLS, text))
    for other in others:
        if other.overlaps(call.period):
            hits.append(
                ClauseHit(Clause.OVERLAP, f"is called from {other.start:%H:%M} to {other.end:%H:%M} already")
            )
    return hits


def _minutes(span: timedelta) -> int:
    return int(span / timedelta(minutes=1))
