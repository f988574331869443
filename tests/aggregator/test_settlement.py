"""Statements by hand-worked cases, and what must hold for all of them."""

import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.agreement import Agreement
from aggregator.performance import IntervalPerformance, Performance
from aggregator.profile import Period
from aggregator.sent_event import event_of
from aggregator.settlement import Outcome, requested_w, settle, shares
from aggregator.store import StoredCall
from ledger.record import Record

CASES = tomllib.loads((Path(__file__).parent / "cases" / "settlement.toml").read_text())
START = datetime(2026, 1, 20, 17, tzinfo=UTC)
NOTIFIED = START - timedelta(hours=3)
AGREEMENT = Agreement(
    capacity_kw=Decimal(10),
    price_minor_per_kwh=Decimal(35),
    penalty_minor_per_kwh=Decimal(20),
    threshold=Decimal("0.8"),
    max_calls_per_day=1,
    notice=timedelta(hours=1),
    currency="EUR",
)
CALL = StoredCall("event-1", "ven-1", 1, Period(START, START + timedelta(hours=2)), 4000, False, NOTIFIED)


def performance(hourly_wh: list[int], opted_out_at: datetime | None = None) -> Performance:
    """Reductions by the hour as intervals against a baseline of 10 kWh."""
    intervals = tuple(
        IntervalPerformance(START + timedelta(hours=n), 10_000, 10_000 - wh) for n, wh in enumerate(hourly_wh)
    )
    return Performance("event-1", "ven-1", "10-of-10" if hourly_wh else "none", intervals, opted_out_at)


@pytest.mark.parametrize("case", CASES["case"], ids=lambda case: case["id"])
def test_statement(case: dict[str, Any]) -> None:
    after_s = case.get("opted_out_after_s")
    opted_out_at = None if after_s is None else NOTIFIED + timedelta(seconds=after_s)
    call = replace(
        CALL,
        test_event=case.get("test_event", False),
        cancelled_at=START if case.get("cancelled") else None,
    )
    agreement = replace(AGREEMENT, price_minor_per_kwh=Decimal(case.get("price", 35)))
    made = settle(
        event_of(call, "http://example/peak"), performance(case["delivered_wh"], opted_out_at), agreement
    )
    assert (made.incentive_minor, made.penalty_minor, made.amount_minor) == (
        case["incentive"],
        case["penalty"],
        case["amount"],
    )
    assert made.outcome == case.get("outcome", "measured")
    assert made.delivered_wh == case.get("counted_wh", sum(case["delivered_wh"]))
    assert made.requested_wh == 8000


@given(
    delivered_wh=st.integers(-20_000, 20_000),
    price=st.decimals(0, 1000, places=3),
    rate=st.decimals(0, 1000, places=3),
    threshold=st.decimals(0, 1, places=2),
)
def test_parts_add_up_and_stay_within_a_unit_of_the_definition(
    delivered_wh: int, price: Decimal, rate: Decimal, threshold: Decimal
) -> None:
    agreement = replace(AGREEMENT, price_minor_per_kwh=price, penalty_minor_per_kwh=rate, threshold=threshold)
    made = settle(event_of(CALL, "http://example/peak"), performance([delivered_wh, 0]), agreement)
    incentive = Fraction(price) * max(0, min(delivered_wh, 8000)) / 1000
    penalty = Fraction(rate) * max(0, Fraction(threshold) * 8000 - delivered_wh) / 1000
    assert made.amount_minor == round(incentive - penalty)  # of a Fraction: half-even
    assert abs(made.incentive_minor - incentive) <= Fraction(1, 2)
    assert abs(made.penalty_minor - penalty) <= 1
    assert made.penalty_minor >= 0


def test_the_free_period_never_reaches_past_the_start() -> None:
    agreement = replace(AGREEMENT, notice=timedelta(hours=5))
    late = settle(event_of(CALL, "http://example/peak"), performance([0, 0], START), agreement)
    early = settle(
        event_of(CALL, "http://example/peak"), performance([0, 0], START - timedelta(seconds=1)), agreement
    )
    assert (late.outcome, early.outcome) == (Outcome.LATE_OPT_OUT, Outcome.OPTED_OUT)


def test_a_statement_has_canonical_record_bytes() -> None:
    made = settle(event_of(CALL, "http://example/peak"), performance([4000, 4000]), AGREEMENT)
    body = Record("statement", "key", START, made.body()).canonical()
    assert b'"amount_minor":280' in body
    assert b'"currency":"EUR"' in body


def test_an_event_without_a_power_signal_asks_for_nothing() -> None:
    event = event_of(CALL, "http://example/peak")
    assert requested_w(event) == 4000
    assert requested_w(replace(event, signals=event.signals[:1])) == 0


def test_the_largest_step_of_the_power_signal_is_what_the_agreement_must_allow() -> None:
    event = event_of(CALL, "http://example/peak")
    simple, power = event.signals
    steps = tuple(replace(power.intervals[0], payload_float=float(-w)) for w in (1000, 9000, 4000))
    assert requested_w(replace(event, signals=(simple, replace(power, intervals=steps)))) == 9000


def test_a_node_that_the_event_never_reached_earns_and_owes_nothing() -> None:
    event = event_of(CALL, "http://example/peak")
    made = settle(event, replace(performance([0, 0]), reached=False), AGREEMENT)
    assert (made.outcome, made.incentive_minor, made.penalty_minor) == (Outcome.NOT_DELIVERED, 0, 0)


def test_an_open_ended_event_cannot_be_settled() -> None:
    event = event_of(CALL, "http://example/peak")
    endless = replace(
        event, active_period=replace(event.active_period, duration=type(event.active_period.duration)(0))
    )
    with pytest.raises(ValueError, match="event-1 has no end"):
        settle(endless, performance([0, 0]), AGREEMENT)


@pytest.mark.parametrize("case", CASES["share"], ids=lambda case: case["id"])
def test_shares(case: dict[str, Any]) -> None:
    assert shares(case["amount"], case["weights"]) == case["shares"]


@given(
    st.integers(-10_000, 10_000),
    st.dictionaries(st.text(max_size=3), st.integers(0, 5000), min_size=1, max_size=12),
)
def test_shares_lose_nothing_and_are_within_one_unit_of_the_exact_part(
    amount: int, weights: dict[str, int]
) -> None:
    split = shares(amount, weights)
    assert sum(split.values()) == amount
    if amount >= 0 and sum(weights.values()):
        for name, weight in weights.items():
            assert abs(split[name] - Fraction(amount * weight, sum(weights.values()))) < 1
