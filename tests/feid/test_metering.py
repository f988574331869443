"""Registers become readings: nothing missing, negative or absurd is passed on silently."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feid.devices import (
    METER_STEP,
    Command,
    Device,
    DeviceState,
    DriverUnreachableError,
    MeterReading,
    Quality,
)
from feid.guard import Limits
from feid.metering import GRACE, Metering, judge, node_sums, quarter_floor, severity
from feid.store import OfferedQuarter, Register, Store
from openadr.enums import DataQuality

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
HOMES = ("home-01", "home-02")
GOOD, MISSING, BAD = (str(q) for q in (Quality.GOOD, Quality.MISSING, Quality.IMPLAUSIBLE))


def reading(home: str, start: datetime, energy_wh: int, quality: Quality = Quality.GOOD) -> MeterReading:
    return MeterReading(home, start, METER_STEP, energy_wh, 20, quality)


class Meters:
    """A driver of meters whose registers are a list."""

    def __init__(self) -> None:
        self.registers: dict[tuple[str, datetime], MeterReading] = {}
        self.answers = True
        self.asked: list[tuple[datetime, datetime]] = []

    def count(self, start: datetime, end: datetime, homes: Sequence[str] = HOMES) -> None:
        at = start
        while at < end:
            for number, home in enumerate(homes, start=1):
                self.registers[home, at] = reading(home, at, 100 * number + at.hour)
            at += METER_STEP

    async def devices(self) -> list[Device]:
        return []

    async def meter_readings(self, start: datetime, end: datetime) -> list[MeterReading]:
        if not self.answers:
            raise DriverUnreachableError("the line is cut")
        self.asked.append((start, end))
        return [r for (_, at), r in sorted(self.registers.items()) if start <= at < end]

    async def states(self, at: datetime) -> list[DeviceState]:
        return []

    async def schedule(self, commands: Sequence[Command]) -> list[Command]:
        return list(commands)

    async def close(self) -> None:
        return None


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "feid.sqlite")


@pytest.fixture
def meters() -> Meters:
    return Meters()


@pytest.fixture
def metering(store: Store, meters: Meters) -> Metering:
    return Metering(store, meters, Limits(connection_capacity_kw=10.0), HOMES)


DAY = timedelta(days=1)


async def test_the_history_is_fetched_once_and_then_what_is_new(metering: Metering, meters: Meters) -> None:
    meters.count(NOW - 3 * DAY, NOW + METER_STEP)
    assert await metering.collect(NOW, 3 * DAY) == 3 * 96
    assert metering.complete_until() == NOW
    meters.asked.clear()
    assert await metering.collect(NOW + METER_STEP, 3 * DAY) == 1
    assert meters.asked == [(NOW, NOW + METER_STEP)]


async def test_a_history_shorter_than_asked_for_begins_where_the_meters_begin(
    metering: Metering, meters: Meters, store: Store
) -> None:
    meters.count(NOW - timedelta(hours=6), NOW)
    assert await metering.collect(NOW, timedelta(hours=20)) == 24
    assert store.registers(NOW - DAY, NOW)[0].start == NOW - timedelta(hours=6)


async def test_a_quarter_hour_that_one_home_has_not_closed_is_waited_for(
    metering: Metering, meters: Meters, store: Store
) -> None:
    meters.count(NOW - DAY, NOW - METER_STEP)
    meters.count(NOW - METER_STEP, NOW, HOMES[:1])
    await metering.collect(NOW, DAY)
    assert metering.complete_until() == NOW - METER_STEP
    meters.count(NOW - METER_STEP, NOW)
    await metering.collect(NOW, DAY)
    assert metering.complete_until() == NOW
    assert {r.quality for r in store.registers(NOW - METER_STEP, NOW)} == {GOOD}


async def test_a_home_that_stays_silent_is_reported_as_missing_with_its_usual_value(
    metering: Metering, meters: Meters, store: Store
) -> None:
    meters.count(NOW - DAY, NOW)
    await metering.collect(NOW, DAY)
    meters.count(NOW, NOW + timedelta(hours=2), HOMES[:1])
    await metering.collect(NOW + timedelta(hours=2), DAY)
    assert metering.complete_until() == NOW + timedelta(hours=2) - GRACE
    silent = store.registers(NOW, NOW + METER_STEP, "home-02")
    assert silent == [Register("home-02", NOW, 200 + NOW.hour, 20, MISSING)]
    assert node_sums(store.registers(NOW, NOW + METER_STEP), 2)[NOW].quality == MISSING


async def test_what_the_memory_has_lost_is_fetched_again(
    metering: Metering, meters: Meters, store: Store, tmp_path: Path
) -> None:
    meters.count(NOW - DAY, NOW)
    await metering.collect(NOW, DAY)
    metering.look_back(DAY)
    assert metering.complete_until() == NOW
    whole = store.registers(NOW - DAY, NOW)
    lost = int((NOW - timedelta(hours=3)).timestamp())
    with sqlite3.connect(tmp_path / "feid.sqlite") as other:
        other.execute("DELETE FROM register WHERE start = ? AND home_id = 'home-02'", (lost,))
        other.execute("DELETE FROM register WHERE start = ?", (lost + 3600,))
    other.close()
    metering.look_back(DAY)
    assert metering.complete_until() == NOW - timedelta(hours=3)
    await metering.collect(NOW, DAY)
    assert store.registers(NOW - DAY, NOW) == whole


async def test_a_memory_that_holds_nothing_has_lost_nothing(metering: Metering, store: Store) -> None:
    metering.look_back(DAY)
    assert metering.complete_until() is None
    store.keep_mark("complete_until", NOW)
    metering.look_back(DAY)
    assert metering.complete_until() == NOW - DAY


async def test_meters_that_do_not_answer_change_nothing(metering: Metering, meters: Meters) -> None:
    meters.answers = False
    with pytest.raises(DriverUnreachableError):
        await metering.collect(NOW, DAY)
    assert metering.complete_until() is None


@pytest.mark.parametrize(
    ("energy_wh", "quality", "expected"),
    [
        pytest.param(0, Quality.GOOD, (0, GOOD), id="nothing taken is a value"),
        pytest.param(3750, Quality.GOOD, (3750, GOOD), id="one and a half times the connection can be true"),
        pytest.param(3751, Quality.GOOD, (111, BAD), id="more than that is no consumption"),
        pytest.param(-1, Quality.GOOD, (111, BAD), id="a negative register is no consumption"),
        pytest.param(500, Quality.MISSING, (500, MISSING), id="the meter's own verdict stays"),
        pytest.param(-1, Quality.MISSING, (111, MISSING), id="the worse of two verdicts is kept"),
    ],
)
def test_a_register_is_judged(energy_wh: int, quality: Quality, expected: tuple[int, str]) -> None:
    usual = Register("home-01", NOW - DAY, 111, 20, GOOD)
    kept = judge(reading("home-01", NOW, energy_wh, quality), 10.0, usual)
    assert (kept.energy_wh, kept.quality) == expected
    assert (kept.home_id, kept.start, kept.flexible_wh) == ("home-01", NOW, 20)


def test_without_a_usual_value_a_bad_register_counts_as_nothing_and_says_so() -> None:
    assert judge(reading("home-01", NOW, -5), 10.0, None) == Register("home-01", NOW, 0, 0, BAD)


def test_the_node_takes_the_worst_quality_of_its_homes() -> None:
    registers = [Register("home-01", NOW, 100, 10, GOOD), Register("home-02", NOW, 200, 20, BAD)]
    assert node_sums(registers, 2) == {NOW: Register("load", NOW, 300, 30, BAD)}


def test_an_absent_home_makes_the_node_s_sum_one_without_quality() -> None:
    assert node_sums([Register("home-01", NOW, 100, 10, GOOD)], 2)[NOW].quality == MISSING


def test_every_quality_of_the_standard_has_its_place() -> None:
    order = [DataQuality.GOOD, DataQuality.LIMIT_LOW, DataQuality.UNCERTAIN, DataQuality.PREVIOUS_VALUE]
    order += [DataQuality.BAD, DataQuality.NO_VALUE]
    assert [severity(q) for q in order] == [0, 1, 2, 3, 4, 5]
    assert severity("x-something") == 6


def test_quarter_hours_begin_at_the_clock_s_own() -> None:
    assert quarter_floor(NOW + timedelta(minutes=29, seconds=59, microseconds=1)) == NOW + METER_STEP


@pytest.mark.parametrize("ahead", [timedelta(days=3), timedelta(days=1500)])
async def test_goals_77_a_clock_that_was_days_ahead_costs_no_reading_and_little_room(
    metering: Metering, meters: Meters, store: Store, ahead: timedelta
) -> None:
    meters.count(NOW - 20 * DAY, NOW)
    await metering.collect(NOW, 20 * DAY)
    before = store.registers(NOW - 20 * DAY, NOW)
    await metering.collect(NOW + ahead, 20 * DAY)
    store.keep_offer(NOW + ahead, [OfferedQuarter(NOW + ahead, 1, 1)])
    store.purge(NOW + ahead)
    assert len(store.registers(NOW - DAY, NOW + 2 * ahead)) <= 36 * 96 * len(HOMES)
    back = NOW + timedelta(hours=1)
    meters.count(NOW, back)
    await metering.collect(back, 20 * DAY)
    assert metering.complete_until() == back
    assert store.registers(NOW - timedelta(days=19), NOW) == [
        r for r in before if r.start >= NOW - timedelta(days=19)
    ]
    assert {r.quality for r in store.registers(NOW, NOW + 2 * ahead)} == {GOOD}
    assert store.last_issued() is None


async def test_a_clock_set_back_by_an_hour_fetches_nothing_twice(metering: Metering, meters: Meters) -> None:
    meters.count(NOW - DAY, NOW)
    await metering.collect(NOW, DAY)
    meters.asked.clear()
    await metering.collect(NOW - timedelta(hours=1), DAY)
    assert meters.asked == []
    assert metering.complete_until() == NOW
