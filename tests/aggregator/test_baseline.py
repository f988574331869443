"""Baselines by hand-worked cases: which days count, what they average to, how the adjustment is bounded."""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from aggregator.baseline import Baseline, Method, Question, adjustment_window, baseline, typical_day
from aggregator.errors import BaselineError
from aggregator.profile import QUARTER, Calendar, LoadProfile, Period

# Tuesday 20 January 2026; January 2026 begins on a Thursday.
DAY = date(2026, 1, 20)
START = datetime(2026, 1, 20, 17, tzinfo=UTC)
EVENT = Period(START, START + timedelta(hours=2))
NOTIFIED = datetime(2026, 1, 20, 14, 7, 30, tzinfo=UTC)
FIRST = datetime(2025, 12, 23, tzinfo=UTC)
UTC_DAYS = Calendar()


def load_of(
    kw: Callable[[datetime], float], first: datetime = FIRST, end: datetime = EVENT.end
) -> LoadProfile:
    """A profile of a formula."""
    slots = Period(first, end).slots()
    return LoadProfile(first, QUARTER, tuple(kw(slot) for slot in slots))


def by_day(values: dict[int, float], otherwise: float = 100.0) -> Callable[[datetime], float]:
    """A flat value for each day of January."""
    return lambda slot: values.get(slot.day, otherwise) if slot.month == 1 else otherwise


def made(
    method: Method, load: LoadProfile, others: list[Period] | None = None, **changes: object
) -> Baseline:
    """The baseline of the event."""
    question = Question(
        load,
        EVENT,
        changes.get("notified_at", NOTIFIED),  # type: ignore[arg-type]  # a table of mixed changes
        changes.get("calendar", UTC_DAYS),  # type: ignore[arg-type]
        others or [],
    )
    return baseline(method, question, changes.get("cap", 0.4))  # type: ignore[arg-type]


def days(found: Baseline) -> list[int]:
    """Days of January that were used."""
    return [day.day for day in found.days]


# The ten working days before Tuesday the 20th: 6 7 8 9, 12 13 14 15 16, 19. Their loads 1 to 10 average to
# 5.5.
TEN = dict(zip([6, 7, 8, 9, 12, 13, 14, 15, 16, 19], range(1, 11), strict=True))


def test_ten_of_ten_averages_the_last_ten_working_days() -> None:
    found = made(Method.TEN_OF_TEN, load_of(by_day({**TEN, 20: 5.5})))
    assert days(found) == sorted(TEN)
    assert found.profile.kw == (5.5,) * 8
    assert found.adjustment_kw == 0


def test_high_four_of_five_leaves_out_the_lowest_of_the_last_five() -> None:
    # the last five: 13 14 15 16 19 with 6 7 8 9 10; the lowest is the 13th, the rest average to 8.5
    found = made(Method.HIGH_4_OF_5, load_of(by_day({**TEN, 20: 8.5})))
    assert days(found) == [14, 15, 16, 19]
    assert found.profile.kw == (8.5,) * 8


def test_of_equal_days_high_four_of_five_keeps_the_later_ones() -> None:
    assert days(made(Method.HIGH_4_OF_5, load_of(lambda slot: 3.0))) == [14, 15, 16, 19]


def test_energy_outside_the_event_does_not_choose_days() -> None:
    def kw(slot: datetime) -> float:
        in_event = 17 <= slot.hour < 19
        return by_day({**TEN, 20: 1.0})(slot) if in_event else 50.0 - by_day(TEN)(slot)

    assert days(made(Method.HIGH_4_OF_5, load_of(kw))) == [14, 15, 16, 19]


def test_holidays_count_as_weekend() -> None:
    calendar = Calendar(holidays=frozenset({date(2026, 1, 19), date(2026, 1, 6)}))
    found = made(Method.TEN_OF_TEN, load_of(lambda slot: 1.0), calendar=calendar)
    assert days(found) == [2, 5, 7, 8, 9, 12, 13, 14, 15, 16]


def test_a_weekend_event_is_compared_with_weekends_and_holidays() -> None:
    event = Period(datetime(2026, 1, 18, 17, tzinfo=UTC), datetime(2026, 1, 18, 19, tzinfo=UTC))
    calendar = Calendar(holidays=frozenset({date(2026, 1, 1)}))
    load = load_of(lambda slot: 2.0, end=event.end)
    found = baseline(Method.TEN_OF_TEN, Question(load, event, event.start - timedelta(hours=3), calendar))
    assert found.days == (
        date(2025, 12, 27), date(2025, 12, 28), date(2026, 1, 1), date(2026, 1, 3),
        date(2026, 1, 4), date(2026, 1, 10), date(2026, 1, 11), date(2026, 1, 17),
    )  # fmt: skip


def test_days_with_another_call_are_no_like_days() -> None:
    called = [Period(datetime(2026, 1, 16, 8, tzinfo=UTC), datetime(2026, 1, 16, 9, tzinfo=UTC))]
    assert days(made(Method.TEN_OF_TEN, load_of(lambda slot: 1.0), called)) == [
        5,
        6,
        7,
        8,
        9,
        12,
        13,
        14,
        15,
        19,
    ]


def test_a_call_over_midnight_takes_both_days() -> None:
    called = [Period(datetime(2026, 1, 14, 23, tzinfo=UTC), datetime(2026, 1, 15, 1, tzinfo=UTC))]
    assert {14, 15}.isdisjoint(days(made(Method.TEN_OF_TEN, load_of(lambda slot: 1.0), called)))


def test_a_call_that_ends_at_midnight_takes_one_day() -> None:
    called = [Period(datetime(2026, 1, 14, 23, tzinfo=UTC), datetime(2026, 1, 15, tzinfo=UTC))]
    assert 15 in days(made(Method.TEN_OF_TEN, load_of(lambda slot: 1.0), called))


@pytest.mark.parametrize(
    ("hour", "kept"),
    [(18, False), (12, False), (3, True)],
    ids=["in the event", "in the window", "elsewhere"],
)
def test_a_day_with_a_gap_is_left_out_where_the_gap_matters(hour: int, kept: bool) -> None:
    gap = datetime(2026, 1, 15, hour, 15, tzinfo=UTC)
    found = made(Method.TEN_OF_TEN, load_of(lambda slot: math.nan if slot == gap else 1.0))
    assert (15 in days(found)) is kept


def test_fewer_than_ten_days_all_count_and_fewer_than_five_do_not() -> None:
    five = load_of(lambda slot: 4.0, first=datetime(2026, 1, 13, tzinfo=UTC))
    assert days(made(Method.TEN_OF_TEN, five)) == [13, 14, 15, 16, 19]
    four = load_of(lambda slot: 4.0, first=datetime(2026, 1, 14, tzinfo=UTC))
    for method in Method:
        with pytest.raises(BaselineError, match="4 complete like days before 2026-01-20T17:00:00Z, needed 5"):
            made(method, four)


def test_an_event_shorter_than_a_quarter_hour_has_no_baseline() -> None:
    event = Period(START + timedelta(minutes=1), START + timedelta(minutes=14))
    with pytest.raises(BaselineError, match="no whole quarter hour"):
        baseline(Method.TEN_OF_TEN, Question(load_of(lambda slot: 1.0), event, NOTIFIED, UTC_DAYS))


# The window: 11:00 to 14:00, the three hours before the last quarter hour that began before 14:07:30.
@pytest.mark.parametrize(
    ("notified_at", "window"),
    [
        ("2026-01-20T14:07:30", ("11:00", "14:00")),
        ("2026-01-20T14:00:00", ("11:00", "14:00")),
        ("2026-01-20T16:59:59", ("13:45", "16:45")),
        ("2026-01-20T18:00:00", ("14:00", "17:00")),  # notified in the event: never later than the start
        ("2026-01-20T02:20:00", ("00:00", "02:15")),  # not into the day before
        ("2026-01-20T01:00:00", ("00:00", "01:00")),
        ("2026-01-20T00:59:00", None),  # less than an hour is left
        ("2026-01-19T10:00:00", None),  # notified the day before
    ],
)
def test_the_adjustment_window_ends_before_the_notification(
    notified_at: str, window: tuple[str, str] | None
) -> None:
    found = adjustment_window(EVENT, datetime.fromisoformat(notified_at).replace(tzinfo=UTC), UTC_DAYS)
    assert (None if found is None else (f"{found.start:%H:%M}", f"{found.end:%H:%M}")) == window


@pytest.mark.parametrize(
    ("in_window", "cap", "adjustment"),
    [
        (12.0, 0.4, 2.0),
        (8.0, 0.4, -2.0),
        (20.0, 0.4, 4.0),
        (1.0, 0.4, -4.0),
        (20.0, 0.0, 0.0),
        (10.0, 0.4, 0.0),
    ],
    ids=["up", "down", "capped up", "capped down", "switched off", "none needed"],
)
def test_the_adjustment_moves_the_baseline_within_its_cap(
    in_window: float, cap: float, adjustment: float
) -> None:
    found = made(Method.TEN_OF_TEN, load_of(lambda slot: in_window if slot.date() == DAY else 10.0), cap=cap)
    assert found.adjustment_kw == pytest.approx(adjustment)
    assert found.profile.kw == pytest.approx((10.0 + adjustment,) * 8)


def test_what_the_node_does_after_the_notification_changes_nothing() -> None:
    def honest(slot: datetime) -> float:
        return 10.0

    def raised(slot: datetime) -> float:
        return 15.0 if slot.date() == DAY and slot.hour >= 14 else 10.0

    assert made(Method.TEN_OF_TEN, load_of(raised)) == made(Method.TEN_OF_TEN, load_of(honest))


def test_quarter_hours_of_another_call_do_not_adjust() -> None:
    called = [Period(datetime(2026, 1, 20, 11, tzinfo=UTC), datetime(2026, 1, 20, 13, tzinfo=UTC))]

    def kw(slot: datetime) -> float:
        if slot.date() != DAY:
            return 10.0
        return 2.0 if slot.hour in (11, 12) else 11.0

    assert made(Method.TEN_OF_TEN, load_of(kw), called).adjustment_kw == pytest.approx(1.0)


def test_too_few_readings_in_the_window_adjust_nothing() -> None:
    def kw(slot: datetime) -> float:
        if slot.date() == DAY and slot >= datetime(2026, 1, 20, 11, 45, tzinfo=UTC):
            return math.nan
        return 13.0 if slot.date() == DAY else 10.0

    assert made(Method.TEN_OF_TEN, load_of(kw)).adjustment_kw == 0.0


def test_like_days_follow_the_local_clock_over_a_change_of_it() -> None:
    zone = ZoneInfo("Europe/Amsterdam")
    # Tuesday 31 March 2026 is the second working day of summer time, which began on Sunday the 29th.
    event = Period(datetime(2026, 3, 31, 17, tzinfo=zone), datetime(2026, 3, 31, 18, tzinfo=zone))

    def kw(slot: datetime) -> float:
        return 9.0 if slot.astimezone(zone).hour == 17 else 1.0

    load = load_of(kw, first=datetime(2026, 3, 2, tzinfo=UTC), end=event.end.astimezone(UTC))
    question = Question(load, event, event.start - timedelta(hours=3), Calendar(zone))
    assert baseline(Method.TEN_OF_TEN, question).profile.kw == (9.0,) * 4


def test_a_typical_day_is_the_unadjusted_baseline_of_all_of_it() -> None:
    load = load_of(lambda slot: float(slot.hour), end=datetime(2026, 1, 20, tzinfo=UTC))
    profile = typical_day(Method.TEN_OF_TEN, load, DAY, UTC_DAYS, [])
    assert profile.kw == tuple(float(slot // 4) for slot in range(96))
