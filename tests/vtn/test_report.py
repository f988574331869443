"""Metadata, requests and data of reports, over the wire."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from openadr import (
    CreatedReport,
    EiResponse,
    Message,
    RegisteredReport,
    RegisterReport,
    Response,
    UpdatedReport,
    encode,
)
from tests.vtn.desk import ALICE, BOB, HISTORY, NOW, OFFER, QUARTER, USAGE, Desk, metadata, usage
from vtn import report
from vtn.catalogue import catalogue
from vtn.reading import quarantined
from vtn.report import ReadingRow

DAY = timedelta(days=1)


async def ready(desk: Desk) -> str:
    """A VEN whose metadata have arrived."""
    ven_id = await desk.settle_in()
    await desk.say(metadata(ven_id))
    return ven_id


async def code(desk: Desk, message: Message) -> str:
    reply = await desk.say(message)
    assert isinstance(reply, UpdatedReport | RegisteredReport | Response)
    return reply.response.code


async def kept(desk: Desk, names: Sequence[str] | None = None) -> list[ReadingRow]:
    async with desk.db.read() as conn:
        return await report.readings(conn, report_names=names)


async def reasons(desk: Desk) -> list[str]:
    async with desk.db.read() as conn:
        return [row.reason for row in await quarantined(conn)]


@pytest.mark.criterion("RPT-09", "RPT-46")
async def test_metadata_are_answered_with_what_is_asked_for(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    reply = await desk.say(metadata(ven_id))
    assert isinstance(reply, RegisteredReport)
    assert [request.report_request_id for request in reply.report_requests] == [
        f"ask-{name}" for name in (USAGE, HISTORY, OFFER)
    ]
    accepted = CreatedReport(response=EiResponse.ok("m1"), pending_reports=(f"ask-{USAGE}",), ven_id=ven_id)
    acknowledged = await desk.say(accepted)
    assert isinstance(acknowledged, Response)
    assert acknowledged.response.code == "200"


async def test_same_metadata_again_get_the_same_requests(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    first = await desk.say(metadata(ven_id))
    desk.now += timedelta(hours=1)
    assert await desk.say(metadata(ven_id)) == first


async def test_rpt_07_newer_metadata_replace_the_older(desk: Desk) -> None:
    ven_id = await ready(desk)
    newer = metadata(ven_id, "m2")
    await desk.say(replace(newer, reports=newer.reports[:1]))
    async with desk.db.read() as conn:
        assert [each.report_name for each in await catalogue(conn, ven_id)] == [USAGE]
    assert await code(desk, usage(ven_id, [(NOW, 1.0)])) == "200"


async def test_rpt_02_metadata_without_reports_ask_for_nothing(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    reply = await desk.say(RegisterReport(request_id="m1", ven_id=ven_id))
    assert isinstance(reply, RegisteredReport)
    assert reply.report_requests == ()


async def test_rpt_05_double_ids_in_metadata_are_refused(desk: Desk) -> None:
    ven_id = await desk.settle_in()
    message = metadata(ven_id)
    one = message.reports[0]
    twice = replace(one, report_descriptions=one.report_descriptions[:1] * 2)
    for reports in ((one, one), (twice,)):
        assert await code(desk, replace(message, reports=reports)) == "459"


async def test_data_become_readings_and_one_fact_with_the_hash_of_the_bytes(desk: Desk) -> None:
    ven_id = await ready(desk)
    message = usage(ven_id, [(NOW - QUARTER, 120.0), (NOW, 130.5)])
    assert await code(desk, message) == "200"
    first, second = await kept(desk)
    assert (first.start, first.duration_s, first.value, first.r_id) == (NOW - QUARTER, 900.0, 120.0, "load")
    assert (second.value, second.report_name, second.created_at) == (130.5, USAGE, NOW)
    assert second.quality == "Quality Good - Non Specific"
    (fact,) = await desk.facts("report")
    assert fact.raw_sha256 == hashlib.sha256(encode(message)).hexdigest()
    assert (fact.body["readings"], fact.body["quarantined"]) == (2, 0)
    assert (fact.body["start"], fact.body["end"]) == ("2026-03-02T11:45:00Z", "2026-03-02T12:15:00Z")


@pytest.mark.criterion("RPT-34", "GEN-18", who="vtn")
async def test_same_report_again_is_the_same_answer_and_no_second_fact(desk: Desk) -> None:
    ven_id = await ready(desk)
    message = usage(ven_id, [(NOW, 120.0)])
    first = await desk.say(message)
    desk.now += timedelta(hours=1)
    assert await desk.say(message) == first
    await desk.say(replace(message, request_id="u2"))
    assert len(await desk.facts("report")) == 1
    assert len(await kept(desk)) == 1


async def test_rpt_34_newer_value_replaces_the_older_and_not_the_other_way(desk: Desk) -> None:
    ven_id = await ready(desk)
    for created, value in ((1, 10.0), (3, 30.0), (2, 20.0)):
        at = NOW + timedelta(minutes=created)
        assert await code(desk, usage(ven_id, [(NOW, value)], created=at)) == "200"
    assert [row.value for row in await kept(desk)] == [30.0]
    assert len(await desk.facts("report")) == 3


@pytest.mark.criterion("RPT-44", who="vtn")
async def test_rpt_36_unknown_report_request_is_refused_and_nothing_kept(desk: Desk) -> None:
    ven_id = await ready(desk)
    message = usage(ven_id, [(NOW, 1.0)])
    for changes in ({"report_request_id": "unknown"}, {"report_specifier_id": "unknown"}):
        wrong = replace(message, reports=(replace(message.reports[0], **changes),))
        assert await code(desk, wrong) == "452"
    assert await kept(desk) == []
    assert await desk.facts("report") == []


async def test_known_report_beside_an_unknown_one_is_kept(desk: Desk) -> None:
    ven_id = await ready(desk)
    message = usage(ven_id, [(NOW, 1.0)])
    unknown = replace(message.reports[0], report_request_id="unknown")
    assert await code(desk, replace(message, reports=(unknown, message.reports[0]))) == "452"
    assert len(await kept(desk)) == 1


async def test_unknown_data_point_is_quarantined_and_named_by_452(desk: Desk) -> None:
    ven_id = await ready(desk)
    assert await code(desk, usage(ven_id, [(NOW, 1.0)], r_id="unknown")) == "452"
    assert await kept(desk) == []
    assert await reasons(desk) == ["the data point was not asked for"]


@pytest.mark.goal(22)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e308])
async def test_value_that_cannot_be_is_quarantined_and_the_rest_is_kept(desk: Desk, value: float) -> None:
    ven_id = await ready(desk)
    message = usage(ven_id, [(NOW - QUARTER, value), (NOW, 7.0)])
    for _ in range(2):
        assert await code(desk, message) == "200"
    assert [row.value for row in await kept(desk)] == [7.0]
    assert len(await reasons(desk)) == 1
    (fact,) = await desk.facts("report")
    assert (fact.body["readings"], fact.body["quarantined"]) == (1, 1)


@pytest.mark.goal(22)
@pytest.mark.parametrize(
    ("name", "offset", "good"),
    [
        (USAGE, -34 * DAY, True),
        (USAGE, -36 * DAY, False),
        (USAGE, timedelta(minutes=5), True),
        (USAGE, timedelta(minutes=6), False),
        (USAGE, 2_900_000 * DAY, False),
        (HISTORY, -27 * DAY, True),
        (HISTORY, -29 * DAY, False),
        (HISTORY, timedelta(minutes=6), False),
        (OFFER, 2 * DAY, True),
        (OFFER, 4 * DAY, False),
    ],
)
async def test_time_of_a_value_must_fit_its_kind_of_report(
    desk: Desk, name: str, offset: timedelta, good: bool
) -> None:
    ven_id = await ready(desk)
    assert await code(desk, usage(ven_id, [(NOW + offset, 1.0)], name=name)) == "200"
    assert len(await kept(desk)) == good
    assert len(await reasons(desk)) == (not good)


async def test_readings_are_found_by_ven_point_name_and_half_open_period(desk: Desk) -> None:
    ven_id = await ready(desk)
    other = await desk.settle_in(BOB, "bob")
    await desk.say(metadata(other), BOB)
    await desk.say(usage(ven_id, [(NOW - QUARTER, 1.0), (NOW, 2.0)]))
    await desk.say(usage(ven_id, [(NOW, 3.0)], r_id="home-01"))
    await desk.say(usage(ven_id, [(NOW - DAY, 4.0)], name=HISTORY))
    await desk.say(usage(other, [(NOW, 5.0)]), BOB)
    async with desk.db.read() as conn:

        async def values(**filters: object) -> list[float]:
            rows = await report.readings(conn, **filters)  # type: ignore[arg-type] - filters by name
            return sorted(row.value for row in rows)

        assert await values() == [1.0, 2.0, 3.0, 4.0, 5.0]
        assert await values(ven_ids=[ven_id], r_ids=["load"], report_names=[USAGE]) == [1.0, 2.0]
        assert await values(start=NOW - QUARTER, end=NOW) == [1.0]
        assert await values(ven_ids=[]) == []


async def test_report_of_a_day_with_many_points_is_taken(desk: Desk) -> None:
    """Large enough to be parsed and judged in another thread."""
    ven_id = await ready(desk)
    values = [(NOW - DAY + number * QUARTER / 10, float(number)) for number in range(960)]
    message = usage(ven_id, values)
    assert len(encode(message)) > 65_536
    assert await code(desk, message) == "200"
    assert len(await kept(desk)) == 960


async def test_report_request_stays_known_to_its_ven_alone(desk: Desk) -> None:
    ven_id = await ready(desk)
    other = await desk.settle_in(BOB, "bob")
    reply = await desk.say(usage(other, [(NOW, 1.0)]), BOB)
    assert isinstance(reply, UpdatedReport)
    assert reply.response.code == "452"
    assert await code(desk, usage(ven_id, [(NOW, 1.0)])) == "200"
    assert desk.ids[ALICE] == ven_id
