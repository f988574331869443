"""The comparison of baseline methods: hand-worked errors on days that are known exactly."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from aggregator.accuracy import History, Variant, compare
from aggregator.baseline import Method
from aggregator.profile import QUARTER, Calendar, LoadProfile, Period

MONDAY = datetime(2026, 1, 19, tzinfo=UTC)
FIRST = MONDAY - timedelta(days=28)
TEN = Variant(Method.TEN_OF_TEN, adjusted=False)
TEN_ADJUSTED = Variant(Method.TEN_OF_TEN, adjusted=True)
EVENT = Period(MONDAY + timedelta(hours=17), MONDAY + timedelta(hours=19))
NOTICE = timedelta(hours=3)


def history(**changes: float) -> History:
    """28 days at 10 kW; `changes` are days before Monday (`d3`) with another level for the whole day."""
    kw = []
    for index in range(29 * 96):
        back = 28 - index // 96
        kw.append(changes.get(f"d{back}", 10.0))
    return History(LoadProfile(FIRST, QUARTER, tuple(kw)), (), Calendar())


def accuracy(compared: object, variant: Variant) -> object:
    """The line of one variant."""
    return next(one for one in compared.accuracies if one.variant == variant)


def test_a_day_that_used_twice_as_much_is_a_negative_bias_and_the_morning_corrects_it_to_the_cap() -> None:
    compared = compare(history(d3=20.0), EVENT, NOTICE)  # the Friday before
    plain, adjusted = accuracy(compared, TEN), accuracy(compared, TEN_ADJUSTED)
    days = len(plain.placebos)
    assert days == len(adjusted.placebos) == 15  # of 20 working days the first five carry no baseline
    used = 10.0 * (days - 1) + 20.0
    assert math.isclose(plain.bias, -10.0 / used)
    assert math.isclose(adjusted.bias, -6.0 / used)  # 40 % of 10 kW are added
    mean, values = used / days, days * 8
    assert math.isclose(plain.rrmse, math.sqrt(100 / days) / mean)
    assert math.isclose(plain.cvrmse, math.sqrt(100 * 8 / (values - 1)) / mean)
    assert compared.best == TEN_ADJUSTED


def test_days_with_a_call_and_days_with_a_gap_are_no_tests() -> None:
    whole = history()
    kw = list(whole.load.kw)
    kw[26 * 96 + 70] = math.nan  # Saturday is another type; this is the Saturday
    kw[25 * 96 + 70] = math.nan  # Friday, 17:30
    called = Period(MONDAY - timedelta(days=4, hours=-9), MONDAY - timedelta(days=4, hours=-10))
    compared = compare(History(LoadProfile(FIRST, QUARTER, tuple(kw)), (called,), Calendar()), EVENT, NOTICE)
    tested = {one.day for one in accuracy(compared, TEN).placebos}
    assert (MONDAY - timedelta(days=3)).date() not in tested
    assert (MONDAY - timedelta(days=4)).date() not in tested
    assert (MONDAY - timedelta(days=5)).date() in tested


def test_a_node_without_history_has_no_figures_at_all() -> None:
    nothing = LoadProfile(MONDAY, QUARTER, (math.nan,) * 96)
    compared = compare(History(nothing, (), Calendar()), EVENT, NOTICE)
    assert compared.best is None
    assert all(one.rrmse is one.bias is one.like_days is None for one in compared.accuracies)
    assert not compared.chosen and not compared.typical
