"""What the box at work meters and offers, also with silent meters and after it was killed."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from feid.agent import Agent
from feid.devices import MeterReading
from feid.drivers.simulated import SimulatedDriver
from feid.facility import OFFER_REPORT
from feid.metering import GRACE
from feid.store import QUARTER_HOUR, Store
from tests.feid.town import DAY, Town, town


async def test_the_first_cycle_meters_the_history_and_issues_the_hour_s_offer(place: Town) -> None:
    await place.move_to(DAY + timedelta(minutes=20))
    async with place.box() as (agent, store):
        await agent.cycle(place.clock())
        assert agent.metering.complete_until() == DAY + QUARTER_HOUR
        assert len(store.registers(DAY - timedelta(days=28), DAY)) == 10 * 96 * 10
        assert store.last_issued() == DAY
        assert agent.facility.watermark(OFFER_REPORT) is not None


async def test_an_offer_is_the_same_whenever_it_is_made(place: Town, tmp_path: Path) -> None:
    hour = DAY + timedelta(hours=3)
    await place.move_to(hour)
    async with place.box() as (agent, store):
        await agent.cycle(place.clock())
        on_time = store.offer(hour)
    (tmp_path / "node-1.sqlite").unlink()
    await place.move_to(hour + timedelta(minutes=40))
    async with place.box() as (agent, store):
        await agent.cycle(place.clock())
        assert store.offer(hour) == on_time != []


class SilentMeter(SimulatedDriver):
    """Real meters, of which one does not tell what it counts from an instant on."""

    silent_from: datetime | None = None

    async def meter_readings(self, start: datetime, end: datetime) -> list[MeterReading]:
        given = await super().meter_readings(start, end)
        since = self.silent_from
        return [r for r in given if since is None or r.home_id != "home-03" or r.start < since]


async def offered(place: Town, name: str, hour: datetime, silent_from: datetime | None) -> object:
    """What a box with a memory of its own has offered for the hour, after a cycle now."""
    settings = replace(place.settings(), state=place.folder / f"{name}.sqlite")
    store, driver = Store(settings.state), SilentMeter(place.socket, "node-1")
    driver.silent_from = silent_from
    try:
        await Agent(settings, driver, store, await driver.devices()).cycle(place.clock())
        return store.offer(hour)
    finally:
        store.close()
        await driver.close()


async def test_an_offer_waits_for_the_last_register_before_its_hour(place: Town) -> None:
    hour = DAY + timedelta(hours=3)
    await place.move_to(hour)
    assert await offered(place, "late", hour, hour - QUARTER_HOUR) == []
    await place.move_to(hour + timedelta(minutes=1))
    late = await offered(place, "late", hour, None)
    assert late == await offered(place, "new", hour, None) != []


async def test_offers_of_a_box_with_a_dead_meter_come_later_and_are_the_same(place: Town) -> None:
    dead, hour = DAY + timedelta(hours=1), DAY + timedelta(hours=3)
    await place.move_to(hour)
    assert await offered(place, "old", hour, dead) == []
    await place.move_to(hour + GRACE)
    old = await offered(place, "old", hour, dead)
    await place.move_to(hour + GRACE + timedelta(minutes=14))
    assert await offered(place, "new", hour, dead) == old != []


async def test_a_box_killed_before_its_offer_makes_it_when_it_is_back(place: Town) -> None:
    hour = DAY + timedelta(hours=3)
    await place.move_to(hour)
    async with place.box() as (agent, store):
        await agent.metering.collect(place.clock(), timedelta(days=10))
        assert store.offer(hour) == []
    async with place.box() as (agent, store):
        await agent.cycle(place.clock())
        assert store.offer(hour) != []


async def test_a_silent_simulator_is_named_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with town(tmp_path) as place:
        settings, driver = place.settings(), place.driver()
        store = Store(settings.state)
        agent = Agent(settings, driver, store, await driver.devices())
        await agent.cycle(place.clock())
    await agent.cycle(DAY + timedelta(minutes=15))
    assert "trying again" in caplog.text
    async with town(tmp_path, start=DAY + timedelta(hours=1)) as place:
        await agent.cycle(place.clock())
        assert agent.metering.complete_until() == DAY + timedelta(hours=1)
    await driver.close()
    store.close()


async def test_without_history_the_box_meters_and_says_that_it_offers_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with town(tmp_path, days_of_history=2) as place, place.box() as (agent, store):
        await agent.cycle(place.clock())
        assert store.last_issued() is None
        assert "no offer at 2026-01-20T00:00:00+00:00" in caplog.text
        assert agent.metering.complete_until() == DAY
