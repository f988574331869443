"""The worst body that the limits let in costs little, and others are served meanwhile (GOALS 12).

The goal, 100 ms of CPU for such a body and no stall above 250 ms, is measured by `benchmarks/worst_body.py`.
Here, where other work makes clocks unreliable, the measure is what lxml alone needs to parse and validate the
largest report: the whole exchange, its rows on disk and the client's share included, takes four to six times
as long, and may take twenty times.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import cache

import aiohttp
import pytest

from openadr import (
    Duration,
    ItemBase,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportDescription,
    Response,
    SamplingRate,
    UpdatedReport,
    decode,
)
from openadr.errors import TooLarge
from openadr.parser import parse, validate
from tests.vtn.desk import ALICE, BOB, USAGE, Desk, make_event, metadata
from tests.vtn.worst_bodies import KINDS, REFERENCE, day
from vtn.catalogue import catalogue
from vtn.report import readings
from vtn.store import Database

ROUNDS = 3  # the best of them counts, because other work on the machine only ever adds
MOST_TIMES_BARE = 20.0


@pytest.fixture
async def busy(desk: Desk) -> AsyncIterator[Desk]:
    """A VTN with a VEN whose event and reports are known, and another one that will only poll."""
    ven_id = await desk.settle_in()
    await desk.settle_in(BOB, "bob")
    await desk.publish(make_event("e1"))
    await desk.poll()
    await desk.say(metadata(ven_id))
    yield desk


@cache
def bare_cpu_s() -> float:
    """What parsing and validating the largest report takes."""
    body = KINDS[REFERENCE].largest("ven", 0)
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time()
        validate(parse(body))
        spent.append(time.process_time() - began)
    return min(spent)


@pytest.mark.goal(12)
@pytest.mark.parametrize("name", KINDS)
async def test_goal_12_worst_body_of_each_kind_costs_a_bounded_multiple_of_its_parsing(
    busy: Desk, name: str
) -> None:
    kind, spent = KINDS[name], []
    for turn in range(ROUNDS):
        body = kind.largest(busy.ids[ALICE], turn)
        decode(body)  # it is let in; and its names are known from now on
        began = time.process_time()
        status, _ = await busy.post(kind.service, body)
        spent.append(time.process_time() - began)
        assert status == 200
    assert min(spent) < MOST_TIMES_BARE * bare_cpu_s()


@pytest.mark.goal(12)
@pytest.mark.parametrize("name", ["intervals", "unknown points", "data points"])
async def test_goal_12_others_are_served_while_the_worst_body_is_read(busy: Desk, name: str) -> None:
    kind = KINDS[name]
    body = kind.largest(busy.ids[ALICE], 0)
    async with aiohttp.ClientSession() as http:
        busy.http, own = http, busy.http
        working = asyncio.ensure_future(busy.post(kind.service, body))
        busy.http = own
        polls = 0
        while not working.done():
            assert isinstance(await busy.poll(BOB), Response)
            polls += not working.done()
        assert (await working)[0] == 200
    assert polls > 1


@pytest.mark.goal(12)
@pytest.mark.parametrize("name", KINDS)
def test_goal_12_a_tenth_more_than_the_worst_body_is_refused(name: str) -> None:
    """The bodies above are the largest: the limits let in no larger one of the kind."""
    kind = KINDS[name]
    with pytest.raises(TooLarge):
        decode(kind.make("ven", kind.most("ven", 0) * 11 // 10 + 1, 0))


def data_point(number: int) -> ReportDescription:
    return ReportDescription(
        r_id=f"home-{number:03}",
        report_type="usage",
        reading_type="Direct Read",
        item_base=ItemBase.energy_real(),
        sampling_rate=SamplingRate(min_period=Duration(60), max_period=Duration(900)),
    )


async def test_metadata_of_five_hundred_points_with_unit_and_sampling_rate_fit(
    busy: Desk, database: Database
) -> None:
    points = tuple(map(data_point, range(500)))
    report = Report(
        duration=Duration(86_400),
        report_descriptions=points,
        report_specifier_id="usage",
        report_name="METADATA_TELEMETRY_USAGE",
        created_date_time=busy.now,
    )
    await busy.say(RegisterReport(request_id="m", reports=(report,), ven_id=busy.ids[ALICE]))
    async with database.read() as conn:
        (offered,) = await catalogue(conn, busy.ids[ALICE])
    assert offered.report == report


async def test_day_of_twelve_points_fits_and_is_kept(busy: Desk, database: Database) -> None:
    body = day(busy.ids[ALICE], 12, 1)
    _, reply = await busy.post("EiReport", body)
    message = decode(reply)
    assert isinstance(message, UpdatedReport)
    assert message.response.code == "200"
    async with database.read() as conn:
        assert len(await readings(conn, report_names=[USAGE])) == 96 * 2  # twelve values of two points


async def test_largest_metadata_are_kept_and_answered_the_same_again(busy: Desk, database: Database) -> None:
    ven_id = busy.ids[ALICE]
    body = KINDS["data points"].largest(ven_id, 1)
    replies = [await busy.post("EiReport", body) for _ in range(2)]
    assert replies[0] == replies[1]
    async with database.read() as conn:
        (offered,) = await catalogue(conn, ven_id)
    assert offered.report is not None
    assert len(offered.report.report_descriptions) > 1000
    assert b"200" in replies[0][1]
    assert RegisteredReport.__name__.encode() in replies[0][1]
