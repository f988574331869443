"""An agreement from statement to token balance, as the chain alone shows it: for people, as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ledger.agreement import Settled, Standing, State, Terms
from ledger.agreement_contract import AgreementContract, Booked
from ledger.errors import ChainError

MICRO = 1_000_000


async def view(contract: AgreementContract, agreement_id: bytes, now: datetime) -> dict[str, Any]:
    """Parties, clauses, state and why, every event and the node's tokens; ChainError for an unknown id."""
    block = await contract.node.newest()
    standing = await contract.standing(agreement_id, block.number)
    if standing is None:
        raise ChainError(f"the contract 0x{contract.address.hex()} knows no agreement {agreement_id.hex()}")
    events = [
        _event(booked, await contract.settled(agreement_id, booked.event_key, block.number))
        for booked in await contract.booked(agreement_id, block.number)
    ]
    now_s = max(int(now.timestamp()), block.timestamp)
    state = standing.state_at(now_s)
    return {
        "id": agreement_id.hex(),
        "state": state.name.lower(),
        "why": standing.why_suspended(now_s) if state is State.SUSPENDED else "",
        "parties": _parties(standing.terms),
        "clauses": _clauses(standing.terms),
        **_standing(standing),
        "events": events,
        "paid_minor": sum(e["amount_minor"] for e in events if e["status"] == "paid"),
        "node_token_balance_minor": await contract.token_balance(standing.terms.node),
        "block": block.number,
    }


def time_or_none(at: int) -> str | None:
    """Seconds since 1970 as text, as far as years have four digits; None for the contract's 0."""
    if not at:
        return None
    try:
        return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{at} s since 1970"


def _parties(terms: Terms) -> dict[str, str]:
    return {name: f"0x{getattr(terms, name).hex()}" for name in ("aggregator", "node", "arbiter")}


def _clauses(terms: Terms) -> dict[str, Any]:
    return {
        "starts_at": time_or_none(terms.starts_at),
        "expires_at": time_or_none(terms.expires_at),
        "capacity_kw": terms.capacity_w / 1000,
        "max_calls_per_day": terms.max_calls_per_day,
        "day_starts_at_utc_offset_s": terms.utc_offset_s,
        "notice_s": terms.notice_s,
        "price_minor_per_kwh": terms.price_micro / MICRO,
        "penalty_minor_per_kwh": terms.penalty_micro / MICRO,
        "threshold": terms.threshold_ppm / MICRO,
        "payment_term_s": terms.payment_term_s,
        "dispute_window_s": terms.dispute_window_s,
    }


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "accepted_at": time_or_none(standing.accepted_at),
        "closes_at": time_or_none(standing.closes_at),
        "next_payment_due_at": time_or_none(standing.earliest_due_at),
        "withdrawable_minor": standing.withdrawable,
        "debt_minor": standing.debt,
    }


def _event(booked: Booked, settled: Settled | None) -> dict[str, Any]:
    if settled is None:
        raise ChainError(f"the contract's events name {booked.event_key.hex()}, which it does not hold")
    return {
        "event_key": booked.event_key.hex(),
        "signal_hash": booked.signal_hash.hex(),
        "response_hash": booked.response_hash.hex(),
        "measurement_hash": booked.measurement_hash.hex(),
        "status": settled.status.name.lower(),
        "outcome": settled.outcome.name.lower(),
        "revision": settled.revision,
        "requested_wh": settled.requested_wh,
        "delivered_wh": settled.delivered_wh,
        "incentive_minor": settled.incentive_minor,
        "penalty_minor": settled.penalty_minor,
        "penalty_waived": settled.penalty_waived,
        "amount_minor": settled.amount_minor,
        "final_at": time_or_none(settled.final_at),
        "due_at": time_or_none(settled.due_at),
    }
