"""Who is chosen: the request is met by forecast at the lowest cost, within every agreement."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.agreement import Clause, ClauseHit
from aggregator.dispatch import Dispatch, FlexibilityOffer, ReductionRequest, energy_wh, plan_dispatch
from aggregator.profile import QUARTER, LoadProfile, Period

START = datetime(2026, 1, 20, 17, tzinfo=UTC)
PERIOD = Period(START, START + timedelta(hours=2))
MIDNIGHT = START.replace(hour=0)


def offer(
    name: str, kw: float | list[float], price: int, capacity_kw: float = 100, hits: tuple[ClauseHit, ...] = ()
) -> FlexibilityOffer:
    """An offer for the eight quarter hours of the event, or flat over the whole day."""
    flat = isinstance(kw, int | float)
    profile = (
        LoadProfile(MIDNIGHT, QUARTER, (float(kw),) * 96) if flat else LoadProfile(START, QUARTER, tuple(kw))
    )
    return FlexibilityOffer(name, name, profile, int(capacity_kw * 1000), Decimal(price), hits)


def chosen(dispatch: Dispatch) -> list[tuple[str, int]]:
    """Names and watts."""
    return [(assignment.ven_name, assignment.power_w) for assignment in dispatch.assignments]


FLEET = [offer("a", 5, 40), offer("b", 3, 30), offer("c", 4, 35), offer("d", 6, 30)]


@pytest.mark.parametrize(
    ("kw", "expected"),
    [
        (5, [("d", 5000)]),
        (6, [("d", 6000)]),
        (7, [("d", 6000), ("b", 1000)]),
        (10, [("d", 6000), ("b", 3000), ("c", 1000)]),
        (18, [("d", 6000), ("b", 3000), ("c", 4000), ("a", 5000)]),
    ],
    ids=["part of one", "all of one", "a second", "by price", "everybody"],
)
def test_the_cheapest_nodes_are_asked_and_no_more_of_them_than_needed(
    kw: int, expected: list[tuple[str, int]]
) -> None:
    dispatch = plan_dispatch(ReductionRequest(PERIOD, kw * 1000), FLEET)
    assert chosen(dispatch) == expected
    assert (dispatch.power_w, dispatch.shortfall_w) == (kw * 1000, 0)


def test_a_request_beyond_all_offers_shows_its_shortfall() -> None:
    dispatch = plan_dispatch(ReductionRequest(PERIOD, 20_000), FLEET)
    assert (dispatch.power_w, dispatch.shortfall_w, len(dispatch.assignments)) == (18_000, 2000, 4)


def test_cost_is_price_times_energy() -> None:
    dispatch = plan_dispatch(ReductionRequest(PERIOD, 7000), FLEET)
    assert dispatch.cost_minor == Decimal(30) * 14  # 7 kW for 2 h


@pytest.mark.parametrize(
    ("offered", "firm_w"),
    [
        (offer("x", [4, 4, 4, 2.5, 4, 4, 4, 4], 1), 2500),
        (offer("x", 8, 1, capacity_kw=3), 3000),
        (offer("x", [4, 4, 4, math.nan, 4, 4, 4, 4], 1), 0),
        (offer("x", [4, 4, 4, 4], 1), 0),
        (offer("x", [4, 4, 4, -1, 4, 4, 4, 4], 1), 0),
        (offer("x", 0.0019999, 1), 1),
    ],
    ids=["lowest quarter hour", "agreed capacity", "a gap", "ends too early", "negative", "whole watts"],
)
def test_a_node_counts_with_what_it_can_hold_through_the_event(
    offered: FlexibilityOffer, firm_w: int
) -> None:
    assert offered.firm_w(PERIOD) == firm_w


def test_a_node_kept_out_by_a_clause_is_not_asked_and_the_clause_is_shown() -> None:
    hit = ClauseHit(Clause.NOTICE, "too late")
    dispatch = plan_dispatch(
        ReductionRequest(PERIOD, 6000), [offer("a", 5, 10, hits=(hit,)), offer("b", 3, 30)]
    )
    assert chosen(dispatch) == [("b", 3000)]
    assert [(passed.ven_name, passed.hits) for passed in dispatch.passed] == [("a", (hit,))]


def test_a_node_without_an_offer_is_shown_as_such() -> None:
    dispatch = plan_dispatch(ReductionRequest(PERIOD, 1000), [offer("a", 0, 10)])
    assert dispatch.assignments == ()
    assert dispatch.passed[0].hits[0].clause is Clause.OFFER


def test_an_event_within_a_quarter_hour_is_nothing_that_nodes_offer() -> None:
    short = Period(START + timedelta(minutes=1), START + timedelta(minutes=14))
    dispatch = plan_dispatch(ReductionRequest(short, 5000), FLEET[:1])
    (passed,) = dispatch.passed
    assert [hit.text for hit in passed.hits] == ["offers whole quarter hours, and it holds none"]


def test_a_reduction_must_be_positive() -> None:
    with pytest.raises(ValueError, match="must be positive: 0 W"):
        ReductionRequest(PERIOD, 0)


def test_energy_is_in_whole_watt_hours() -> None:
    assert energy_wh(1001, Period(START, START + timedelta(minutes=30))) == 500


@pytest.mark.parametrize(("first", "last", "wh"), [(5, 65, 3000), (0, 44, 2000), (5, 7, 0), (1, 29, 0)])
def test_energy_counts_whole_quarter_hours_only(first: int, last: int, wh: int) -> None:
    period = Period(START + timedelta(minutes=first), START + timedelta(minutes=last))
    assert energy_wh(4000, period) == wh


offers = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=5).map(
    lambda pairs: [offer(f"node-{n}", kw, price) for n, (kw, price) in enumerate(pairs)]
)


@given(offers, st.integers(1, 12))
def test_no_other_split_in_whole_kilowatts_is_cheaper(fleet: list[FlexibilityOffer], kw: int) -> None:
    dispatch = plan_dispatch(ReductionRequest(PERIOD, kw * 1000), fleet)
    wanted = min(kw, sum(o.firm_w(PERIOD) for o in fleet) // 1000)
    costs = [
        sum(2 * part * o.price_minor_per_kwh for part, o in zip(parts, fleet, strict=True))
        for parts in product(*(range(o.firm_w(PERIOD) // 1000 + 1) for o in fleet))
        if sum(parts) == wanted
    ]
    assert dispatch.power_w == wanted * 1000
    assert dispatch.cost_minor == min(costs)


@given(offers, st.integers(1, 12), st.randoms())
def test_the_order_of_the_offers_does_not_matter(
    fleet: list[FlexibilityOffer], kw: int, random: object
) -> None:
    request = ReductionRequest(PERIOD, kw * 1000)
    shuffled = fleet[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert plan_dispatch(request, shuffled) == plan_dispatch(request, fleet)
