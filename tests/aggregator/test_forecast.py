"""The portfolio's day-ahead forecast: better than weekly naive, honest about gaps, the same every time."""

import math
import os
import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from aggregator import forecaster
from aggregator.errors import ForecastError
from aggregator.forecast import day_ahead, weekly_naive
from aggregator.forecaster import answer, portfolio_forecast
from aggregator.profile import QUARTER, Calendar, LoadProfile, Period

DAY = date(2026, 1, 20)
MIDNIGHT = datetime(2026, 1, 20, tzinfo=UTC)
FIRST = MIDNIGHT - timedelta(days=28)


def noisy(days: int = 28, seed: int = 1, after: int = 1) -> LoadProfile:
    """A day curve with a level that wanders from day to day and noise by the quarter hour."""
    rng = random.Random(seed)
    start, kw, level = MIDNIGHT - timedelta(days=days), [], 30.0
    for number in range((days + after) * 96):
        slot = start + number * QUARTER
        if number % 96 == 0:
            level = max(10.0, level + rng.gauss(0, 1.5))
        weekend = 1.2 if slot.weekday() >= 5 else 1.0
        shape = 1 - 0.4 * math.cos(2 * math.pi * (slot.hour * 4 + slot.minute // 15 - 20) / 96)
        kw.append(level * weekend * shape + rng.gauss(0, 2.0))
    return LoadProfile(start, QUARTER, tuple(kw))


def known_before(load: LoadProfile, end: datetime) -> LoadProfile:
    """Only what was metered before an instant."""
    return LoadProfile(load.start, load.step, load.kw[: (end - load.start) // load.step])


def nmae(made: LoadProfile, truth: LoadProfile) -> float:
    """Sum of errors over sum of load."""
    pairs = [(kw, truth.at(made.start + n * QUARTER)) for n, kw in enumerate(made.kw)]
    return sum(abs(a - b) for a, b in pairs) / sum(b for _, b in pairs)


def test_it_is_much_better_than_weekly_naive() -> None:
    ours, naive = [], []
    for seed in range(12):
        load = noisy(seed=seed)
        past = known_before(load, MIDNIGHT)
        ours.append(nmae(day_ahead(past, DAY, Calendar()), load))
        naive.append(nmae(weekly_naive(past, DAY, Calendar()), load))
    assert sum(ours) < 0.75 * sum(naive)


def test_a_forecast_depends_on_the_readings_before_its_day_alone() -> None:
    load = noisy()
    assert day_ahead(load, DAY, Calendar()) == day_ahead(known_before(load, MIDNIGHT), DAY, Calendar())


def test_gaps_are_bridged() -> None:
    load = known_before(noisy(), MIDNIGHT)
    rng = random.Random(2)
    holey = LoadProfile(
        load.start, load.step, tuple(math.nan if rng.random() < 0.05 else kw for kw in load.kw)
    )
    whole = day_ahead(load, DAY, Calendar())
    assert nmae(day_ahead(holey, DAY, Calendar()), whole) < 0.05


@pytest.mark.parametrize(("days", "enough"), [(8, False), (9, True)])
def test_nine_days_are_needed(days: int, enough: bool) -> None:
    load = noisy(days=days, after=0)
    if enough:
        assert len(day_ahead(load, DAY, Calendar()).kw) == 96
    else:
        with pytest.raises(ForecastError, match="needs 9 days of readings, there are 8"):
            day_ahead(load, DAY, Calendar())


def test_days_that_are_not_in_yet_do_not_count() -> None:
    load = noisy(after=0)
    begun = LoadProfile(load.start, QUARTER, load.kw[: 8 * 96 + 95])
    with pytest.raises(ForecastError, match="too many of them have gaps"):
        day_ahead(begun, DAY, Calendar())


def test_no_readings_at_all_are_said_so() -> None:
    with pytest.raises(ForecastError, match="there are 0"):
        day_ahead(LoadProfile(FIRST, QUARTER, ()), DAY, Calendar())


@pytest.mark.parametrize(("day", "slots"), [(date(2026, 3, 29), 92), (date(2026, 10, 25), 100)])
def test_a_day_of_23_or_25_hours_has_its_own_number_of_quarter_hours(day: date, slots: int) -> None:
    calendar = Calendar(ZoneInfo("Europe/Amsterdam"))
    midnight = calendar.day(day).start
    period = Period(midnight - timedelta(days=30), midnight)
    load = LoadProfile(period.start, QUARTER, tuple(5.0 + slot.hour for slot in period.slots()))
    made = day_ahead(load, day, calendar)
    assert len(made.kw) == len(weekly_naive(load, day, calendar).kw) == slots
    assert made.start == midnight


async def test_the_process_of_the_forecast_gives_the_same_numbers() -> None:
    load = known_before(noisy(), MIDNIGHT)
    made = await portfolio_forecast(load, DAY, Calendar(holidays=frozenset({date(2026, 1, 1)})))
    assert made is not None
    assert made.kw == pytest.approx(day_ahead(load, DAY, Calendar(holidays=frozenset({date(2026, 1, 1)}))).kw)


@pytest.mark.parametrize(("days", "made"), [(8, True), (3, False)])
def test_with_too_few_days_the_week_before_stands_in_where_it_is_known(days: int, made: bool) -> None:
    load = noisy(days=days, after=0)
    calendar = {"zone": "UTC", "holidays": []}
    import json  # noqa: PLC0415

    told = {"start": load.start.isoformat(), "step_s": 900, "kw": list(load.kw)}
    said = json.loads(answer(json.dumps({"load": told, "day": DAY.isoformat(), "calendar": calendar})))
    if made:
        assert said["kw"] == list(weekly_naive(load, DAY, Calendar()).kw)
    else:
        assert said is None


async def test_a_process_that_fails_is_told_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        forecaster, "COMMAND", ("/bin/sh", "-c", "cat > /dev/null; echo no space >&2; exit 3")
    )
    with pytest.raises(ForecastError, match="the forecast failed: no space"):
        await portfolio_forecast(noisy(), DAY, Calendar())


async def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecaster, "COMMAND", ("/bin/sh", "-c", "exec sleep 600"))
    monkeypatch.setattr(forecaster, "LIMIT_S", 0.05)
    with pytest.raises(ForecastError, match=r"took longer than 0\.05 s"):
        await portfolio_forecast(noisy(), DAY, Calendar())


def test_the_server_does_not_carry_the_model() -> None:
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    code = "import sys, aggregator.server; sys.exit(any(m in sys.modules for m in ('sklearn', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ)).returncode == 0
