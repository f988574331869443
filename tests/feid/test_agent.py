"""The box at work, on real simulated homes: what it meters, offers and does, also after it was killed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.profile import Period
from aggregator.readings import report_requests
from feid.agent import HOLD_AHEAD, Agent, run
from feid.devices import MeterReading
from feid.drivers.simulated import SimulatedDriver
from feid.facility import OFFER_REPORT
from feid.freeze import freeze_at
from feid.metering import GRACE
from feid.store import QUARTER_HOUR, Store
from flexpact.pki import issue, make_authority
from openadr import Event, Report, ReportRequest
from openadr.timeline import Timeline
from tests.feid.town import CYCLE, DAY, Town, event, town
from ven.facility import GOOD
from ven.settings import VenSettings
from vtn.event import event_states, publish
from vtn.reading import readings
from vtn.registration import Ven, enrol, vens
from vtn.server import Server
from vtn.settings import VtnSettings
from vtn.store import Database

START = DAY + timedelta(hours=17)
END = START + timedelta(hours=2)
AFTERNOON = START - timedelta(hours=1)
ASKED_KW = 8.0


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    """A town in the early morning."""
    async with town(tmp_path) as made:
        yield made


@pytest.fixture
async def afternoon(tmp_path: Path) -> AsyncIterator[Town]:
    """A town shortly before the event."""
    async with town(tmp_path, start=AFTERNOON) as made:
        yield made


def evening(kw: float = ASKED_KW, start: datetime = START, event_id: str = "e-1") -> Event:
    return event(start, -1000.0 * kw, event_id=event_id)


def follow(agent: Agent, *events: Event) -> None:
    agent.facility.follow(Timeline.from_events(events))


async def play(place: Town, agent: Agent, until: datetime) -> None:
    """Cycles at every five-minute mark up to an instant."""
    while place.clock() < until:
        await place.move_to(place.clock() + CYCLE)
        await agent.cycle(place.clock())


async def held(place: Town) -> dict[str, datetime]:
    """The devices that are held at present, and until when."""
    driver = place.driver()
    states = await driver.states(place.clock())
    await driver.close()
    return {state.device_id: state.held_until for state in states if state.held_until is not None}


async def undisturbed(folder: Path, until: datetime = END) -> list[float]:
    async with town(folder, start=AFTERNOON) as place, place.box() as (agent, _):
        follow(agent, evening())
        await play(place, agent, until)
        return await place.reduction_kw(START, END)


async def test_what_is_delivered_is_near_what_is_asked(tmp_path: Path) -> None:
    delivered = await undisturbed(tmp_path)
    assert 0.75 * ASKED_KW < sum(delivered) / len(delivered) < 1.25 * ASKED_KW


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


async def test_a_box_killed_in_the_event_goes_on_with_the_same_plan(afternoon: Town, tmp_path: Path) -> None:
    async with afternoon.box() as (agent, _):
        follow(agent, evening())
        await play(afternoon, agent, START + timedelta(minutes=35))
    await afternoon.move_to(START + timedelta(minutes=52, seconds=30))
    async with afternoon.box() as (agent, _):
        follow(agent, evening())
        await agent.cycle(afternoon.clock())
        await afternoon.move_to(START + timedelta(minutes=55))
        await play(afternoon, agent, END)
    (tmp_path / "calm").mkdir()
    assert await afternoon.reduction_kw(START, END) == await undisturbed(tmp_path / "calm")


async def test_a_box_whose_memory_is_lost_in_the_event_makes_the_same_plan(
    afternoon: Town, tmp_path: Path
) -> None:
    async with afternoon.box() as (agent, _):
        follow(agent, evening())
        await play(afternoon, agent, START + timedelta(minutes=10))
    (tmp_path / "node-1.sqlite").write_bytes(b"what was here is gone" * 300)
    async with afternoon.box() as (agent, store):
        assert store.moved_aside is not None
        follow(agent, evening())
        await agent.cycle(afternoon.clock())
        await play(afternoon, agent, END)
    (tmp_path / "calm").mkdir()
    assert await afternoon.reduction_kw(START, END) == await undisturbed(tmp_path / "calm")


async def test_devices_of_a_dead_box_are_in_normal_operation_half_an_hour_later(afternoon: Town) -> None:
    await afternoon.move_to(START - CYCLE)
    async with afternoon.box() as (agent, _):
        follow(agent, evening())
        await play(afternoon, agent, START)
    await afternoon.move_to(START + HOLD_AHEAD - CYCLE)
    assert set((await held(afternoon)).values()) == {START + HOLD_AHEAD}
    await afternoon.move_to(START + HOLD_AHEAD)
    assert await held(afternoon) == {}


async def test_nothing_is_held_before_and_after_the_event(afternoon: Town) -> None:
    await afternoon.move_to(START - timedelta(minutes=40))
    async with afternoon.box() as (agent, store):
        follow(agent, evening())
        await play(afternoon, agent, START - CYCLE)
        assert await held(afternoon) == {}
        await play(afternoon, agent, END - CYCLE)
        assert set((await held(afternoon)).values()) == {END}
        await play(afternoon, agent, END)
        assert await held(afternoon) == {}
        assert store.mark("held_since") is None


async def test_a_cancelled_event_lets_the_devices_go_at_once(afternoon: Town) -> None:
    await afternoon.move_to(START - CYCLE)
    async with afternoon.box() as (agent, _):
        follow(agent, evening())
        await play(afternoon, agent, START + CYCLE)
        assert await held(afternoon) != {}
        follow(agent)
        assert agent.changed.is_set()
        await agent.cycle(afternoon.clock() + timedelta(seconds=30))
        await afternoon.move_to(START + 2 * CYCLE)
        assert await held(afternoon) == {}


async def test_an_event_that_ended_while_the_box_was_down_is_not_followed(place: Town) -> None:
    await place.move_to(END + CYCLE)
    async with place.box() as (agent, _):
        follow(agent, evening())
        await agent.cycle(place.clock())
        await place.move_to(END + 2 * CYCLE)
        assert await held(place) == {}


async def test_an_event_known_in_advance_is_followed_with_nobody_to_ask(afternoon: Town) -> None:
    await afternoon.move_to(START - timedelta(minutes=55))
    async with afternoon.box() as (agent, _):
        follow(agent, evening())
    await afternoon.move_to(START - timedelta(minutes=20))
    async with afternoon.box() as (agent, _):
        follow(agent, evening())  # as the VEN's own store says, whose VTN is out of reach
        await play(afternoon, agent, START)
        assert await held(afternoon) != {}


async def test_two_events_in_a_row_have_a_plan_each(afternoon: Town) -> None:
    half = timedelta(minutes=30)
    first = event(START, -3000.0, hours=0.5, event_id="first")
    second = event(START + half, -9000.0, hours=0.5, event_id="second")
    await afternoon.move_to(START - 2 * CYCLE)
    async with afternoon.box() as (agent, store):
        follow(agent, first, second)
        await play(afternoon, agent, START + 2 * half)
        assert store.frozen("first", freeze_at(first)) is not None
        assert store.frozen("second", freeze_at(second)) is not None
    delivered = await afternoon.reduction_kw(START, START + 2 * half)
    assert sum(delivered[2:]) > 1.5 * sum(delivered[:2])


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


async def admit(conn: AsyncConnection, asked: Event, ven_id: str, now: datetime) -> None:
    """No agreement stands in the way."""


@pytest.fixture
async def vtn(
    afternoon: Town, database: Database, tmp_path: Path
) -> AsyncIterator[tuple[Server, VenSettings, str]]:
    """A VTN over mutual TLS that asks for all reports, how the node reaches it, and the node's id there."""
    now = datetime.now(UTC)
    make_authority(tmp_path, now)
    own, node = (issue(tmp_path, name, now, server=name == "vtn") for name in ("vtn", "node-1"))
    async with database.write() as conn:
        ven_id = await enrol(conn, "node-1", node.fingerprint, afternoon.clock())
    history = Period(AFTERNOON - timedelta(days=2), AFTERNOON)

    def requests(ven: Ven, reports: Sequence[Report], at: datetime) -> Sequence[ReportRequest]:
        return report_requests(ven.ven_id, reports, history, at)

    settings = VtnSettings(port=0, cert=own.cert, key=own.key, ca=own.ca, poll_period_s=60)
    server = Server(settings, database, afternoon.clock, requests)
    await server.start()
    yield (
        server,
        VenSettings(
            vtn_url=f"https://127.0.0.1:{server.port}",
            ven_name="node-1",
            state_path=tmp_path / "ven.sqlite",
            cert=node.cert,
            key=node.key,
            ca=node.ca,
        ),
        ven_id,
    )
    await server.stop()


async def test_over_the_wire_a_node_reports_opts_in_and_delivers(
    afternoon: Town, vtn: tuple[Server, VenSettings, str], database: Database
) -> None:
    _, ven, ven_id = vtn
    place, stop = afternoon, asyncio.Event()
    box = run(replace(place.settings(), ven=ven), place.driver(), place.clock, place.clock.sleep, stop)
    running = asyncio.create_task(box)

    async def count(name: str, start: datetime, end: datetime, r_id: str = "load") -> int:
        async with database.read() as conn:
            return len(await readings(conn, r_ids=[r_id], report_names=[name], start=start, end=end))

    async def until(name: str, wanted: int, start: datetime, end: datetime, r_id: str = "load") -> None:
        while await count(name, start, end, r_id) < wanted:
            assert not running.done()
            # slowly before the event, so that registering takes seconds of that time and not its minutes
            before = place.clock() < START - timedelta(minutes=20)
            await place.move_to(place.clock() + timedelta(seconds=5 if before else 60))

    async with asyncio.timeout(120):
        await until("HISTORY_USAGE", 2 * 96, AFTERNOON - timedelta(days=2), AFTERNOON)
        await until(OFFER_REPORT, 8, START, END, "offer")
        assert place.clock() < START - timedelta(minutes=20)
        async with database.write() as conn:
            await publish(conn, evening(), ven_id, place.clock(), admit)
        await until("TELEMETRY_USAGE", 8, START, END)
    async with database.read() as conn:
        told = await readings(conn, r_ids=["load"], report_names=["TELEMETRY_USAGE"], start=START, end=END)
        answers = await event_states(conn, "e-1")
    stop.set()
    await running
    driver = place.driver()
    metered = await driver.meter_readings(START, END)
    await driver.close()
    assert [answer.opt for answer in answers] == ["optIn"]
    assert [row.value for row in told] == [
        sum(r.energy_wh for r in metered if r.start == START + QUARTER_HOUR * n) for n in range(8)
    ]
    assert {row.quality for row in told} == {GOOD}
    delivered = await place.reduction_kw(START, END)
    assert sum(delivered) / 8 > 0.75 * ASKED_KW


async def test_a_node_that_starts_without_its_vtn_follows_what_it_knows(
    afternoon: Town, vtn: tuple[Server, VenSettings, str], database: Database
) -> None:
    server, ven, ven_id = vtn
    place, settings = afternoon, replace(afternoon.settings(), ven=ven)

    def begin() -> tuple[asyncio.Task[None], asyncio.Event]:
        stop = asyncio.Event()
        box = run(settings, place.driver(), place.clock, place.clock.sleep, stop)
        return asyncio.create_task(box), stop

    async def answered() -> bool:
        async with database.read() as conn:
            return any(state.opt == "optIn" for state in await event_states(conn, "e-1"))

    running, stop = begin()
    async with asyncio.timeout(120):
        while not await _registered(database, ven_id):
            await place.move_to(place.clock() + timedelta(seconds=5))
        async with database.write() as conn:
            await publish(conn, evening(), ven_id, place.clock(), admit)
        while not await answered():
            await place.move_to(place.clock() + timedelta(seconds=5))
    stop.set()
    await running
    await server.stop()
    assert place.clock() < START - timedelta(minutes=20)

    await place.move_to(START - timedelta(minutes=10))
    running, stop = begin()
    async with asyncio.timeout(120):
        while place.clock() < START + 2 * CYCLE:
            await place.move_to(place.clock() + timedelta(minutes=1))
    assert await held(place) != {}
    stop.set()
    await running


async def _registered(database: Database, ven_id: str) -> bool:
    async with database.read() as conn:
        return any(ven.ven_id == ven_id and ven.registration_id is not None for ven in await vens(conn))
