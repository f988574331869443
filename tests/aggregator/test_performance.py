"""Reductions by quarter hour, and what missing readings mean."""

import math
from datetime import UTC, date, datetime, timedelta

import pytest

from aggregator.baseline import Baseline, Method
from aggregator.performance import home_weights, measure, unmeasured, watt_hours
from aggregator.profile import QUARTER, LoadProfile, Period

START = datetime(2026, 1, 20, 17, tzinfo=UTC)
PERIOD = Period(START, START + timedelta(hours=1))


def profile(*kw: float, start: datetime = START) -> LoadProfile:
    """Quarter hours from a start."""
    return LoadProfile(start, QUARTER, kw)


EXPECTED = Baseline(Method.TEN_OF_TEN, (date(2026, 1, 19),), 0.0, None, profile(8, 8, 8, 8))


def test_reduction_is_baseline_minus_metered() -> None:
    found = measure("e", "v", EXPECTED, profile(6, 8, 9, 4))
    assert [interval.reduction_wh for interval in found.intervals] == [500, 0, -250, 1000]
    assert found.delivered_wh == 1250
    assert found.complete


def test_a_missing_reading_counts_as_not_reduced() -> None:
    found = measure("e", "v", EXPECTED, profile(6, math.nan, 6))
    assert [interval.reduction_wh for interval in found.intervals] == [500, 0, 500, 0]
    assert [interval.metered_wh for interval in found.intervals] == [1500, None, 1500, None]
    assert not found.complete


def test_without_a_baseline_nothing_is_measured() -> None:
    found = unmeasured("e", "v")
    assert (found.method, found.intervals, found.delivered_wh) == ("none", (), 0)


def test_a_baseline_with_a_gap_is_our_mistake() -> None:
    gap = Baseline(Method.TEN_OF_TEN, (), 0.0, None, profile(8, math.nan))
    with pytest.raises(ValueError, match="no value at 2026-01-20 17:15"):
        measure("e", "v", gap, profile(1, 1))


@pytest.mark.parametrize(("kw", "wh"), [(4.0, 1000), (0.002, 0), (0.006, 2), (-1.0, -250), (math.nan, None)])
def test_a_quarter_hour_in_whole_watt_hours_rounds_half_even(kw: float, wh: int | None) -> None:
    assert watt_hours(kw) == wh


def test_homes_weigh_by_what_they_used_less_than_usual_and_never_negatively() -> None:
    usual = {
        "home-01": profile(2, 2, 2, 2),
        "home-02": profile(1, 1, 1, 1),
        "home-03": profile(1, math.nan, 1, 1),
    }
    used = {
        "home-01": profile(1, 1, 2, 2),
        "home-02": profile(3, 3, 3, 3),
        "home-03": profile(0, 0, math.nan, 0),
    }
    assert home_weights(usual, used, PERIOD) == {"home-01": 500, "home-02": 0, "home-03": 500}
