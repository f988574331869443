"""What the agreements on the chain say about a call, from the local mirror of them: never asked from the
chain.

The terms of a node's newest agreement on the chain are in force as soon as the node has accepted them; its
state, start and end stand against calls from its proposal on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from aggregator.agreement import Agreement, Call, Clause, ClauseHit
from aggregator.errors import BadInputError
from aggregator.profile import Period
from aggregator.told import Values
from ledger.agreement import Standing, State, Terms
from ledger.agreement_store import Held

MICRO = 1_000_000
NOT_THERE = ClauseHit(Clause.STATE, "has no agreement on the chain, and one is required")


def agreement_of(terms: Terms, currency: str) -> Agreement:
    """The terms of an agreement on the chain as the business counts with them."""
    return Agreement(
        capacity_kw=Decimal(terms.capacity_w) / 1000,
        price_minor_per_kwh=Decimal(terms.price_micro) / MICRO,
        penalty_minor_per_kwh=Decimal(terms.penalty_micro) / MICRO,
        threshold=Decimal(terms.threshold_ppm) / MICRO,
        max_calls_per_day=terms.max_calls_per_day,
        notice=timedelta(seconds=terms.notice_s),
        currency=currency,
    )


def limits_of(agreement: Agreement) -> dict[str, int]:
    """The fields of the chain's terms that an agreement decides; BadInputError if the chain's units are too
    coarse for one.
    """
    return {
        "capacity_w": _whole("capacity_kw", agreement.capacity_kw, 1000),
        "notice_s": int(agreement.notice.total_seconds()),
        "threshold_ppm": _whole("threshold", agreement.threshold, MICRO),
        "price_micro": _whole("price_minor_per_kwh", agreement.price_minor_per_kwh, MICRO),
        "penalty_micro": _whole("penalty_minor_per_kwh", agreement.penalty_minor_per_kwh, MICRO),
        "max_calls_per_day": agreement.max_calls_per_day,
    }


def standing_hits(
    held: Held | None, call: Call, others: Sequence[Period], now: datetime, *, required: bool
) -> list[ClauseHit]:
    """What an agreement's standing has against a call, as it was seen last; `others` are the node's other
    calls. Without an agreement on the chain: nothing, unless one is required.
    """
    if held is None or held.standing is None:
        return [NOT_THERE] if required else []
    standing, hits = held.standing, []
    now_s, start_s, end_s = (int(at.timestamp()) for at in (now, call.period.start, call.period.end))
    state = standing.state_at(now_s)
    if state is not State.ACTIVE:
        hits.append(_state_hit(standing, state, now_s))
    if start_s < standing.terms.starts_at:
        values = {"start": _utc(start_s), "agreed": _utc(standing.terms.starts_at)}
        hits.append(ClauseHit(Clause.START, "starts at %(start)s, agreed from %(agreed)s", values))
    if end_s > standing.terms.expires_at:
        values = {"end": _utc(end_s), "agreed": _utc(standing.terms.expires_at)}
        hits.append(ClauseHit(Clause.EXPIRY, "ends at %(end)s, agreed until %(agreed)s", values))
    elif standing.closes_at and start_s >= standing.closes_at:
        values = {"start": _utc(start_s), "closed": _utc(standing.closes_at)}
        text = "starts at %(start)s, the agreement is closed from %(closed)s on"
        hits.append(ClauseHit(Clause.EXPIRY, text, values))
    return hits + _calls_hits(standing.terms, start_s, others)


def _calls_hits(terms: Terms, start_s: int, others: Sequence[Period]) -> list[ClauseHit]:
    """The contract counts days by a constant offset, the programme by its zone: both must allow a call."""
    day = terms.day_of(start_s)
    calls = sum(terms.day_of(int(other.start.timestamp())) == day for other in others)
    if calls < terms.max_calls_per_day:
        return []
    offset = f"{terms.utc_offset_s / 3600:+g}"
    values: Values = {"calls": calls, "offset": offset, "agreed": terms.max_calls_per_day}
    text = "%(calls)s calls on that day at UTC%(offset)s h, %(agreed)s agreed"
    return [ClauseHit(Clause.DAILY_CALLS, text, values)]


def _state_hit(standing: Standing, state: State, now_s: int) -> ClauseHit:
    if state is State.SUSPENDED:
        why = {"why": standing.why_suspended(now_s)}
        return ClauseHit(Clause.STATE, "is suspended (%(why)s), active is agreed", why)
    return ClauseHit(Clause.STATE, "is %(state)s, active is agreed", {"state": state.name.lower()})


def _whole(name: str, value: Decimal, scale: int) -> int:
    scaled = value * scale
    if scaled != scaled.to_integral_value():
        raise BadInputError(f"{name}: {value} has more digits than the chain's units, 1/{scale}")
    return int(scaled)


def _utc(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)
