from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from feid.baseload import GeneratedLoad, MeteredLoad, is_weekend
from feid.meters import ABSURD, MISSING, Meters

DAY = 20_108  # 2025-01-20, a Monday
MIDNIGHT = datetime(2025, 1, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def weeks() -> np.ndarray:
    """Four weeks of sixty generated homes: kW by day, home, slot."""
    load = GeneratedLoad(7, 60)
    return np.stack([load.day(DAY + day)[0] for day in range(28)])


def test_a_seed_makes_the_same_load_however_many_homes_there_are() -> None:
    np.testing.assert_array_equal(GeneratedLoad(7, 3).day(DAY)[0], GeneratedLoad(7, 60).day(DAY)[0][:3])
    assert not np.array_equal(GeneratedLoad(8, 3).day(DAY)[0], GeneratedLoad(7, 3).day(DAY)[0])


def test_generated_homes_use_what_homes_use(weeks: np.ndarray) -> None:
    assert weeks.min() > 0.05
    assert weeks.max() < 15.0
    daily_kwh = weeks.sum(axis=2) / 12
    assert 8.0 < daily_kwh.mean() < 20.0
    assert 3.0 < daily_kwh.mean(axis=0).min() < daily_kwh.mean(axis=0).max() < 45.0


def test_the_peak_is_in_the_evening_and_the_valley_at_night(weeks: np.ndarray) -> None:
    hourly = weeks.mean(axis=(0, 1)).reshape(24, 12).mean(axis=1)
    assert 17 <= hourly.argmax() <= 20
    assert 0 <= hourly.argmin() <= 5
    assert hourly.max() > 2.5 * hourly.min()


def test_weekends_have_their_own_shape(weeks: np.ndarray) -> None:
    weekend = np.array([is_weekend(DAY + day) for day in range(28)])
    assert (
        weekend.tolist()
        == [False] * 5 + [True] * 2 + [False] * 5 + [True] * 2 + ([False] * 5 + [True] * 2) * 2
    )
    forenoon = slice(10 * 12, 12 * 12)
    assert weeks[weekend, :, forenoon].mean() > 1.15 * weeks[~weekend, :, forenoon].mean()


def test_noise_lasts_beyond_a_slot(weeks: np.ndarray) -> None:
    rest = (weeks - weeks.mean(axis=0)).reshape(-1, 288)
    near = np.mean(rest[:, 1:] * rest[:, :-1]) / np.mean(rest**2)
    far = np.mean(rest[:, 48:] * rest[:, :-48]) / np.mean(rest**2)
    assert near > 0.5
    assert near > far + 0.3


def metered(
    kw: list[float], step: timedelta, start: datetime = MIDNIGHT, marks: list[int] | None = None
) -> MeteredLoad:
    column = np.array(kw)[:, np.newaxis]
    quality = np.array(marks or [0] * len(kw), np.uint8)[:, np.newaxis]
    return MeteredLoad(Meters(start, step, ("m1",), column, quality, ()), 1)


@pytest.mark.parametrize("minutes", [1, 5, 6, 7, 15, 40, 60, 240])
def test_metered_energy_is_kept_whatever_the_step(minutes: int) -> None:
    count = 48 * 60 // minutes + 1
    kw = np.random.default_rng(minutes).uniform(0.1, 4.0, count)
    load = metered(kw.tolist(), timedelta(minutes=minutes))
    day_kwh = load.day(DAY)[0].sum() / 12
    edges = np.interp(24 * 60, np.arange(count + 1) * minutes, np.concatenate(([0.0], np.cumsum(kw))))
    assert day_kwh == pytest.approx(edges * minutes / 60)


def test_a_slot_shows_what_the_meter_showed_then() -> None:
    kw, marks = metered([1.0, 2.0, 4.0] + [0.5] * 93, timedelta(minutes=15)).day(DAY)
    assert kw[0, :9].tolist() == pytest.approx([1.0] * 3 + [2.0] * 3 + [4.0] * 3)
    assert not marks.any()


def test_a_day_begins_at_the_midnight_of_the_file() -> None:
    start = datetime(2025, 1, 20, tzinfo=timezone(timedelta(hours=1)))
    load = metered([float(hour) for hour in range(24)], timedelta(hours=1), start)
    assert load.utc_offset_s == 3600
    assert load.day(DAY)[0][0, ::12].tolist() == pytest.approx(list(range(24)))


def test_marks_of_a_meter_reach_every_slot_that_they_touch() -> None:
    marks = [0, ABSURD, 0, MISSING] + [0] * 92
    shown = metered([1.0] * 96, timedelta(minutes=15), marks=marks).day(DAY)[1][0]
    assert shown[:13].tolist() == [0, 0, 0, ABSURD, ABSURD, ABSURD, 0, 0, 0, MISSING, MISSING, MISSING, 0]
    assert not shown[13:].any()


def test_after_its_end_a_file_shows_the_week_before_and_says_so() -> None:
    values = [float(quarter // 96) for quarter in range(96 * 8)]  # eight days, 0 to 7 kW
    load = metered(values, timedelta(minutes=15))
    kw, marks = load.day(DAY + 8)
    assert kw[0].tolist() == pytest.approx([1.0] * 288)
    assert (marks == MISSING).all()


def test_outside_a_file_shorter_than_a_week_a_home_takes_its_mean() -> None:
    kw, marks = metered([1.0, 2.0] * 48, timedelta(minutes=15)).day(DAY + 3)
    assert kw[0].tolist() == pytest.approx([1.5] * 288)
    assert (marks == MISSING).all()
