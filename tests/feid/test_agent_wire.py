"""The box at work with a VTN over the wire: it reports, opts in and delivers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.profile import Period
from aggregator.readings import report_requests
from feid.agent import run
from feid.facility import OFFER_REPORT
from feid.store import QUARTER_HOUR
from flexpact.pki import issue, make_authority
from openadr import Event, Report, ReportRequest, Target
from tests.feid.evening import AFTERNOON, ASKED_KW, END, START, evening, held
from tests.feid.town import CYCLE, Town
from ven.facility import GOOD
from ven.settings import VenSettings
from vtn.event import event_states, modify, publish
from vtn.reading import readings
from vtn.registration import Ven, enrol, vens
from vtn.server import Server
from vtn.settings import VtnSettings
from vtn.store import Database


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


async def test_over_the_wire_homes_that_a_modification_leaves_out_are_left_alone(
    afternoon: Town, vtn: tuple[Server, VenSettings, str], database: Database
) -> None:
    _, ven, ven_id = vtn
    place, stop = afternoon, asyncio.Event()
    box = run(replace(place.settings(), ven=ven), place.driver(), place.clock, place.clock.sleep, stop)
    running = asyncio.create_task(box)
    others = tuple(f"home-{number:02d}" for number in range(3, 11))

    async def until_answered(number: int) -> None:
        while True:
            async with database.read() as conn:
                (state,) = await event_states(conn, "e-1")
            if (state.modification_number, state.opt) == (number, "optIn"):
                return
            await place.move_to(place.clock() + timedelta(seconds=5))

    async with asyncio.timeout(120):
        while not await _registered(database, ven_id):
            await place.move_to(place.clock() + timedelta(seconds=5))
        async with database.write() as conn:
            await publish(conn, evening(), ven_id, place.clock(), admit)
        await until_answered(0)
        async with database.write() as conn:
            fewer = replace(evening(), target=Target(resource_id=others))
            await modify(conn, fewer, ven_id, place.clock(), admit)
        await until_answered(1)
        assert place.clock() < START - timedelta(minutes=20)
        while place.clock() < START + 2 * CYCLE:
            await place.move_to(min(place.clock() + timedelta(minutes=1), START + 2 * CYCLE))
    homes = {device_id.partition("/")[0] for device_id in await held(place)}
    stop.set()
    await running
    assert homes
    assert homes <= set(others)


async def _registered(database: Database, ven_id: str) -> bool:
    async with database.read() as conn:
        return any(ven.ven_id == ven_id and ven.registration_id is not None for ven in await vens(conn))
