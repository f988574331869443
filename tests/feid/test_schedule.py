from datetime import UTC, datetime, timedelta

import pytest

from feid.devices import Command
from feid.schedule import MAX_ENTRIES, Schedule, ScheduleError

T0 = datetime(2025, 1, 20, 17, tzinfo=UTC)
BATTERY, CAR = "home-01/battery", "home-01/ev-charger"


def at(minute: int) -> datetime:
    return T0 + timedelta(minutes=minute)


def entry(device_id: str, start: int, end: int, power_kw: float = 0.0) -> Command:
    return Command(device_id, at(start), at(end), power_kw)


@pytest.fixture
def schedule() -> Schedule:
    return Schedule([BATTERY, CAR])


def test_an_entry_is_in_force_from_its_start_until_its_end(schedule: Schedule) -> None:
    schedule.replace([entry(CAR, 5, 10)], at(0))
    assert schedule.in_force(at(4)) == []
    assert schedule.in_force(at(5)) == [entry(CAR, 5, 10)]
    assert schedule.in_force(at(10)) == []


def test_a_new_schedule_replaces_the_old_one_from_its_earliest_start(schedule: Schedule) -> None:
    schedule.replace([entry(CAR, 0, 30, 1.0), entry(BATTERY, 10, 30, -1.0)], at(0))
    held = schedule.replace([entry(CAR, 5, 35, 2.0)], at(2))
    assert held == [entry(CAR, 0, 5, 1.0), entry(CAR, 5, 35, 2.0)]


def test_the_same_plan_sent_again_changes_nothing(schedule: Schedule) -> None:
    plan = [entry(CAR, minute, minute + 5, minute / 10) for minute in range(0, 60, 5)]
    schedule.replace(plan[:6], at(-5))
    schedule.replace(plan[1:7], at(6))  # a little late: the entry from minute 5 runs already
    assert [command.power_kw for command in schedule.in_force(at(6))] == [0.5]
    assert [command.power_kw for command in schedule.in_force(at(31))] == [3.0]


def test_an_entry_that_comes_late_acts_from_now_on(schedule: Schedule) -> None:
    assert schedule.replace([entry(CAR, 0, 10), entry(BATTERY, 0, 3)], at(5)) == [entry(CAR, 5, 10)]


def test_an_empty_schedule_frees_the_devices_from_now_on(schedule: Schedule) -> None:
    schedule.replace([entry(CAR, 0, 30)], at(0))
    assert schedule.replace([], at(10)) == []
    assert schedule.in_force(at(10)) == []


def test_the_next_change_is_the_next_start_or_end(schedule: Schedule) -> None:
    assert schedule.next_change(at(0)) is None
    schedule.replace([entry(CAR, 5, 10)], at(0))
    assert schedule.next_change(at(0)) == at(5)
    assert schedule.next_change(at(5)) == at(10)
    assert schedule.next_change(at(10)) is None


@pytest.mark.parametrize(
    ("commands", "says"),
    [
        pytest.param(
            [entry("home-09/battery", 0, 5)], "'home-09/battery' is not a device", id="unknown device"
        ),
        pytest.param([entry(CAR, 0, 10), entry(CAR, 9, 12)], "entries overlap", id="overlap"),
        pytest.param([entry(CAR, 0, 24 * 60 + 1)], "is after 2025-01-21T17:00:00", id="too far ahead"),
        pytest.param([entry(CAR, m, m + 1) for m in range(MAX_ENTRIES + 1)], "2001 entries", id="too many"),
    ],
)
def test_a_refused_schedule_leaves_the_old_one_in_place(
    schedule: Schedule, commands: list[Command], says: str
) -> None:
    schedule.replace([entry(BATTERY, 0, 30)], at(0))
    with pytest.raises(ScheduleError, match=says):
        schedule.replace(commands, at(0))
    assert schedule.in_force(at(0)) == [entry(BATTERY, 0, 30)]
