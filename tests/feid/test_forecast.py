"""The node's forecast: better than last week's day, the same whenever it is made, honest about too little."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from feid.baseload import SLOTS_PER_DAY, GeneratedLoad
from feid.errors import HistoryTooShortError
from feid.forecast import STEPS_PER_DAY, learn, predict

DAYS, SHOWN = 28, 7
FIRST = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
EPOCH_DAY = (FIRST - datetime(1970, 1, 1, tzinfo=UTC)).days

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def nodes() -> list[Array]:
    """Quarter-hour load of three nodes of ten generated homes, five weeks, in kW."""
    homes = GeneratedLoad(seed=11, homes=30)
    days = [homes.day(EPOCH_DAY + n)[0] for n in range(DAYS + SHOWN)]
    load = np.concatenate(
        [day.reshape(30, STEPS_PER_DAY, SLOTS_PER_DAY // STEPS_PER_DAY).mean(axis=2) for day in days], 1
    )
    return [load[10 * n : 10 * n + 10].sum(axis=0) for n in range(3)]


def nmae(forecast: Array, actual: Array) -> float:
    return float(np.abs(forecast - actual).sum() / actual.sum())


def day_ahead(load: Array) -> Array:
    made: list[float] = []
    for day in range(DAYS, DAYS + SHOWN):
        end = FIRST + timedelta(days=day)
        past = load[(day - DAYS) * STEPS_PER_DAY : day * STEPS_PER_DAY].tolist()
        made += predict(learn(past, end), past, end, STEPS_PER_DAY)
    return np.array(made)


def test_the_day_ahead_is_told_clearly_better_than_by_last_week(nodes: list[Array]) -> None:
    for load in nodes:
        actual = load[DAYS * STEPS_PER_DAY :]
        naive = load[(DAYS - 7) * STEPS_PER_DAY : -7 * STEPS_PER_DAY]
        assert nmae(day_ahead(load), actual) < 0.85 * nmae(naive, actual)


def test_what_repeats_every_day_is_told_at_any_hour() -> None:
    day = np.sin(np.arange(STEPS_PER_DAY) / 7) + 2
    past = np.tile(day, DAYS)
    model = learn(past.tolist(), FIRST)
    for hours in (0, 5, 14):
        shifted = np.roll(past, -4 * hours)
        told = predict(model, shifted.tolist(), FIRST + timedelta(hours=hours), 148)
        expected = np.roll(np.tile(day, 2), -4 * hours)[:148]
        assert np.abs(told - expected).mean() < 0.01


def test_weekends_are_told_apart_from_working_days() -> None:
    weekday, weekend = np.full(STEPS_PER_DAY, 2.0), np.full(STEPS_PER_DAY, 5.0)
    rng = np.random.default_rng(1)
    past = np.concatenate(
        [(weekend if n % 7 >= 5 else weekday) + rng.normal(0, 0.1, 96) for n in range(DAYS - 2)]
    )
    saturday = FIRST + timedelta(days=DAYS - 2)
    told = predict(learn(past.tolist(), saturday), past.tolist(), saturday, STEPS_PER_DAY)
    assert np.mean(told) > 4.0


def test_missing_quarter_hours_do_no_harm(nodes: list[Array]) -> None:
    load = nodes[0].copy()
    actual = load[DAYS * STEPS_PER_DAY :].copy()
    whole = nmae(day_ahead(load), actual)
    rng = np.random.default_rng(2)
    load[rng.choice(DAYS * STEPS_PER_DAY, 200, replace=False)] = np.nan
    load[10 * STEPS_PER_DAY : 11 * STEPS_PER_DAY] = np.nan
    assert nmae(day_ahead(load), actual) < whole + 0.02


def test_a_forecast_is_never_negative() -> None:
    rng = np.random.default_rng(3)
    past = np.maximum(0, rng.normal(0, 1, DAYS * STEPS_PER_DAY)).tolist()
    assert min(predict(learn(past, FIRST), past, FIRST, 148)) >= 0.0


def test_nothing_but_zeros_is_told_as_zeros() -> None:
    past = [0.0] * (DAYS * STEPS_PER_DAY)
    assert predict(learn(past, FIRST), past, FIRST, 4) == [0.0] * 4


def test_too_few_days_are_refused() -> None:
    with pytest.raises(HistoryTooShortError, match="9 days of readings, got 8"):
        learn([1.0] * (8 * STEPS_PER_DAY + 95), FIRST)
