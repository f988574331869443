"""What was agreed with a node, and which of its clauses a call would break.

Every path to an event asks ``broken_clauses``, and ``mirror.standing_hits`` where agreements are on the
chain; none asks the chain.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from aggregator.profile import Calendar, Period
from aggregator.told import Values, in_english


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
    TAKEN_OUT = "taken_out"


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
    """A clause that stands against a call: a sentence, and both values in it."""

    clause: Clause
    message: str
    values: Values = field(default_factory=dict, hash=False)

    @property
    def text(self) -> str:
        """The sentence in English, with instants in UTC."""
        return in_english(self.message, self.values)


def broken_clauses(
    agreement: Agreement, call: Call, others: Sequence[Period], calendar: Calendar, now: datetime
) -> list[ClauseHit]:
    """Every clause that ``call`` would break if it were sent now; ``others`` are the node's other calls.

    A call counts for the local day on which it starts. Cancelled calls are not among ``others``.
    """
    hits = []
    if call.power_w > agreement.capacity_w():
        power = {"asked_w": call.power_w, "agreed_w": agreement.capacity_w()}
        hits.append(ClauseHit(Clause.CAPACITY, "%(asked_w)s asked, %(agreed_w)s agreed", power))
    notice = call.period.start - now
    if notice < agreement.notice:
        minutes = {"left": _minutes(notice), "agreed": _minutes(agreement.notice)}
        text = "starts in %(left)s min, %(agreed)s min of notice agreed"
        hits.append(ClauseHit(Clause.NOTICE, text, minutes))
    day = calendar.day_of(call.period.start)
    calls = sum(calendar.day_of(other.start) == day for other in others)
    if calls >= agreement.max_calls_per_day:
        text = "%(calls)s calls on %(day)s, %(agreed)s agreed"
        agreed = agreement.max_calls_per_day
        hits.append(ClauseHit(Clause.DAILY_CALLS, text, {"calls": calls, "day": day, "agreed": agreed}))
    return hits + [
        ClauseHit(Clause.OVERLAP, "is called already: %(period)s", {"period": other})
        for other in others
        if other.overlaps(call.period)
    ]


def _minutes(span: timedelta) -> int:
    return int(span / timedelta(minutes=1))
