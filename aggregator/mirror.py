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
        hits.append(ClauseHit(Clause.STATE, f"is {_state_text(standing, state, now_s)}, active is agreed"))
    if start_s < standing.terms.starts_at:
        hits.append(
            ClauseHit(
                Clause.START, f"starts at {_iso(start_s)}, agreed from {_iso(standing.terms.starts_at)}"
            )
        )
    if end_s > standing.terms.expires_at:
        text = f"ends at {_iso(end_s)}, agreed until {_iso(standing.terms.expires_at)}"
        hits.append(ClauseHit(Clause.EXPIRY, text))
    elif standing.closes_at and start_s >= standing.closes_at:
        text = f"starts at {_iso(start_s)}, the agreement is closed from {_iso(standing.closes_at)} on"
        hits.append(ClauseHit(Clause.EXPIRY, text))
    return hits + _calls_hits(standing.terms, start_s, others)


def _calls_hits(terms: Terms, start_s: int, others: Sequence[Period]) -> list[ClauseHit]:
    """The contract counts days by a constant offset, the programme by its zone: both must allow a call."""
    day = terms.day_of(start_s)
    calls = sum(terms.day_of(int(other.start.timestamp())) == day for other in others)
    if calls < terms.max_calls_per_day:
        return []
    text = (
        f"{calls} calls on that day at UTC{terms.utc_offset_s / 3600:+g} h, {terms.max_calls_per_day} agreed"
    )
    return [ClauseHit(Clause.DAILY_CALLS, text)]


def _state_text(standing: Standing, state: State, now_s: int) -> str:
    why = standing.why_suspended(now_s) if state is State.SUSPENDED else ""
    return state.name.lower() + (f" ({why})" if why else "")


def _whole(name: str, value: Decimal, scale: int) -> int:
    scaled = value * scale
    if scaled != scaled.to_integral_value():
        raise BadInputError(f"{name}: {value} has more digits than the chain's units, 1/{scale}")
    return int(scaled)


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
