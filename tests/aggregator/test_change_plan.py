"""Who gives how much once an event is changed: what was promised stays promised."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from aggregator.agreement import Clause, ClauseHit
from aggregator.change_plan import plan_change
from aggregator.dispatch import FlexibilityOffer, ReductionRequest
from aggregator.profile import QUARTER, LoadProfile, Period
from aggregator.sent_event import SentEvent
from aggregator.store import StoredCall

START = datetime(2026, 1, 20, 17, tzinfo=UTC)
EVENING = Period(START, START + timedelta(hours=1))
LATER = Period(START + timedelta(hours=1), START + timedelta(hours=2))
TOO_LATE = ClauseHit(Clause.NOTICE, "starts in 10 min, 60 min of notice agreed")


def offer(name: str, kw: float, price: int = 30, *hits: ClauseHit) -> FlexibilityOffer:
    """One for two hours."""
    available = LoadProfile(START, QUARTER, (kw,) * 8)
    return FlexibilityOffer(name, name, available, 50_000, Decimal(price), hits)


def sent(*out: str, **watts: int) -> SentEvent:
    """An event of the evening, of which some nodes were taken out."""
    parts = {
        name: StoredCall("e", name, 1, EVENING, power_w, False, START) for name, power_w in watts.items()
    }
    return SentEvent("e", 1, EVENING, False, parts, frozenset(out), False)


BARRED = [offer("a", 2, 30, TOO_LATE), offer("b", 4, 20)]


@pytest.mark.parametrize(
    ("power_w", "period", "offers", "before", "expected"),
    [
        (5000, EVENING, [offer("a", 2), offer("b", 4, 40)], sent(a=2000, b=1000), {"a": 2000, "b": 3000}),
        (2500, EVENING, [offer("a", 2), offer("b", 4, 40)], sent(a=2000, b=1000), {"a": 2000, "b": 500}),
        (3000, EVENING, [offer("a", 1, 30), offer("b", 4, 40)], sent(a=2000), {"a": 2000, "b": 1000}),
        (3000, LATER, [offer("a", 1, 30), offer("b", 4, 40)], sent(a=2000), {"a": 1000, "b": 2000}),
        (
            3000,
            EVENING,
            BARRED,
            sent(a=2000),
            {"a": 2000, "b": 1000},
        ),
        (3000, LATER, BARRED, sent(a=2000), {"b": 3000}),
        (1000, EVENING, BARRED, sent(a=2000), {"b": 1000}),
        (2000, EVENING, BARRED, sent(a=2000), {"a": 2000}),
        (3000, EVENING, [offer("a", 2), offer("b", 4, 40)], sent("a", b=1000), {"b": 3000}),
    ],
    ids=[
        "more is given by who offers it",
        "less is taken from the most expensive",
        "an offer that fell is still what was promised",
        "at another time offers count as they are",
        "a clause stands against what is new, not against what was promised",
        "at another time a clause keeps out",
        "who cannot change and is more than is wanted leaves",
        "what is promised is enough",
        "who was taken out stays out",
    ],
)
def test_what_stays_promised_and_who_gives_the_rest(
    power_w: int,
    period: Period,
    offers: list[FlexibilityOffer],
    before: SentEvent,
    expected: dict[str, int],
) -> None:
    found = plan_change(ReductionRequest(period, power_w), offers, before)
    assert {one.ven_id: one.power_w for one in found.assignments} == expected
    assert found.shortfall_w == 0
    assert all(one.cost_minor > 0 for one in found.assignments)


@pytest.mark.parametrize("period", [EVENING, LATER])
def test_what_homes_that_stay_out_would_give_is_asked_of_others(period: Period) -> None:
    before = replace(sent(a=1500), lowered_w={"a": 1500})
    found = plan_change(ReductionRequest(period, 3000), [offer("a", 3), offer("b", 4, 40)], before)
    assert {one.ven_id: one.power_w for one in found.assignments} == {"a": 1500, "b": 1500}
    gaps = replace(offer("a", 3), available=LoadProfile(START, QUARTER, (3.0, float("nan"))))
    assert plan_change(ReductionRequest(period, 3000), [gaps], before).power_w <= 1500


def test_who_was_taken_out_is_named_with_the_reason() -> None:
    found = plan_change(ReductionRequest(EVENING, 9000), [offer("a", 2), offer("b", 4)], sent("a", b=1000))
    assert [(one.ven_name, one.hits[0].clause) for one in found.passed] == [("a", Clause.TAKEN_OUT)]
    assert found.shortfall_w == 5000
