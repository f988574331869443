"""Periods, profiles and days, each at the edges where they go wrong."""

import math
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from aggregator.profile import QUARTER, Calendar, LoadProfile, Period, floor_to, known_part, total

NOON = datetime(2026, 1, 20, 12, tzinfo=UTC)
NAIVE = datetime(2026, 1, 20, 12)  # noqa: DTZ001 - that is what is refused
AMSTERDAM = Calendar(ZoneInfo("Europe/Amsterdam"))


@pytest.mark.parametrize(
    ("start", "end"), [(NAIVE, NOON), (NOON, NAIVE), (NOON, NOON), (NOON, NOON - QUARTER)]
)
def test_a_period_is_aware_and_has_a_length(start: datetime, end: datetime) -> None:
    with pytest.raises(ValueError, match="a period"):
        Period(start, end)


def test_a_period_holds_its_start_and_not_its_end() -> None:
    period = Period(NOON, NOON + QUARTER)
    assert period.contains(NOON)
    assert not period.contains(NOON + QUARTER)


def test_slots_are_the_whole_quarter_hours_inside() -> None:
    period = Period(NOON + timedelta(minutes=1), NOON + timedelta(minutes=59))
    assert [f"{slot:%H:%M}" for slot in period.slots()] == ["12:15", "12:30"]


def test_floor_goes_down_also_before_1970() -> None:
    assert floor_to(NOON + timedelta(minutes=14, seconds=59), QUARTER) == NOON
    assert floor_to(datetime(1969, 12, 31, 23, 50, tzinfo=UTC), QUARTER).minute == 45


@pytest.mark.parametrize(("start", "step"), [(NAIVE, QUARTER), (NOON, timedelta(0))])
def test_a_profile_is_aware_and_advances(start: datetime, step: timedelta) -> None:
    with pytest.raises(ValueError, match="a profile needs"):
        LoadProfile(start, step, ())


def test_a_profile_knows_nothing_outside_itself() -> None:
    profile = LoadProfile(NOON, QUARTER, (1.0, 2.0))
    assert math.isnan(profile.at(NOON - timedelta(seconds=1)))
    assert math.isnan(profile.at(profile.end))
    assert profile.at(NOON + timedelta(minutes=29)) == 2.0
    window = profile.window(Period(NOON - QUARTER, NOON + QUARTER))
    assert (math.isnan(window.kw[0]), window.kw[1], window.known()) == (True, 1.0, False)


def test_energy_is_that_of_the_known_slots() -> None:
    assert LoadProfile(NOON, QUARTER, (4.0, math.nan, 2.0)).energy_kwh() == 1.5


def test_a_total_is_unknown_where_a_part_is() -> None:
    parts = [LoadProfile(NOON, QUARTER, (1.0, 2.0)), LoadProfile(NOON, QUARTER, (3.0,))]
    summed = total(parts, Period(NOON, NOON + 2 * QUARTER))
    assert summed.kw[0] == 4.0
    assert math.isnan(summed.kw[1])
    assert math.isnan(total([], Period(NOON, NOON + QUARTER)).kw[0])


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)]
)
def test_a_local_day_has_23_24_or_25_hours(day: date, hours: int) -> None:
    period = AMSTERDAM.day(day)
    assert period.end - period.start == timedelta(hours=hours)
    assert AMSTERDAM.day_of(period.start) == day
    assert AMSTERDAM.day_of(period.end) == day + timedelta(days=1)


def test_shifting_keeps_the_wall_clock_over_a_change_of_it() -> None:
    winter = datetime(2026, 3, 28, 16, tzinfo=UTC)  # 17:00 in Amsterdam
    assert AMSTERDAM.shifted(winter, 1) == datetime(2026, 3, 29, 15, tzinfo=UTC)  # 17:00 still


def test_weekends_and_holidays_are_no_workdays() -> None:
    calendar = Calendar(holidays=frozenset({date(2026, 1, 1)}))
    assert [calendar.is_workday(date(2026, 1, day)) for day in (1, 2, 3, 4, 5)] == [
        False,
        True,
        False,
        False,
        True,
    ]


def test_the_known_part_says_of_how_many_it_is_and_is_unknown_where_most_are() -> None:
    start = datetime(2026, 1, 20, tzinfo=UTC)
    period = Period(start, start + 3 * QUARTER)
    profiles = [
        LoadProfile(start, QUARTER, (1.0, 1.0, math.nan)),
        LoadProfile(start, QUARTER, (2.0, math.nan, math.nan)),
        LoadProfile(start - QUARTER, QUARTER, (9.0, 4.0, 4.0, 4.0)),
    ]
    found, counts = known_part(profiles, period)
    assert counts == (3, 2, 1)
    assert found.kw[:2] == (7.0, 5.0)
    assert math.isnan(found.kw[2])
    assert known_part([], period)[1] == (0, 0, 0)
