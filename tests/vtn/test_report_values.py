"""What values carry beside a number, and the shapes in which data may come."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from openadr import (
    Duration,
    LoadControlState,
    LoadControlValue,
    Message,
    RegisterReport,
    Report,
    ReportInterval,
    ReportPayload,
    ResourceStatus,
    UpdatedReport,
    UpdateReport,
)
from tests.openadr.samples.feed import FEED
from tests.vtn.desk import NOW, QUARTER, USAGE, Desk, metadata, usage
from vtn.reading import ReadingRow, readings
from vtn.reading_detail import ReadingDetail, details, green_button

ASK = f"ask-{USAGE}"


async def ready(desk: Desk, offered: RegisterReport | None = None) -> str:
    ven_id = await desk.settle_in()
    await desk.say(metadata(ven_id) if offered is None else replace(offered, ven_id=ven_id))
    return ven_id


async def code(desk: Desk, message: Message) -> str:
    reply = await desk.say(message)
    assert isinstance(reply, UpdatedReport)
    return reply.response.code


async def kept(desk: Desk) -> list[ReadingRow]:
    async with desk.db.read() as conn:
        return await readings(conn)


async def carried(desk: Desk, ven_id: str) -> list[ReadingDetail]:
    async with desk.db.read() as conn:
        return await details(conn, ven_id, NOW - QUARTER, NOW + QUARTER)


def with_payloads(ven_id: str, *payloads: ReportPayload, created: datetime = NOW) -> UpdateReport:
    message = usage(ven_id, [(NOW, 1.0)], created=created)
    interval = replace(message.reports[0].intervals[0], payloads=payloads)
    return replace(message, reports=(replace(message.reports[0], intervals=(interval,)),))


@pytest.mark.criterion("RPT-29", who="vtn")
async def test_accuracy_and_confidence_are_kept_with_the_newest_value(desk: Desk) -> None:
    ven_id = await ready(desk)
    for minute, accuracy in ((1, 2.0), (2, float("nan")), (0, 9.0)):
        payload = ReportPayload(r_id="load", payload_float=5.0, accuracy=accuracy, confidence=90 + minute)
        other = ReportPayload(r_id="nobody", payload_float=5.0, accuracy=1.0)
        created = NOW + timedelta(minutes=minute)
        assert await code(desk, with_payloads(ven_id, payload, other, created=created)) == "452"
    (found,) = await carried(desk, ven_id)
    assert (found.r_id, found.start, found.report_name) == ("load", NOW, USAGE)
    assert found.content == {"confidence": 92}
    assert [row.created_at for row in await kept(desk)] == [found.created_at]


async def test_ordinary_values_leave_no_trace_beside_the_readings(desk: Desk) -> None:
    ven_id = await ready(desk)
    await desk.say(usage(ven_id, [(NOW, 1.0)]))
    assert await carried(desk, ven_id) == []
    async with desk.db.read() as conn:
        assert await green_button(conn, ven_id) == []


@pytest.mark.criterion("RPT-30", who="vtn")
async def test_the_state_of_a_resource_is_kept_with_the_loads_control(desk: Desk) -> None:
    ven_id = await ready(desk)
    control = LoadControlState(
        capacity=LoadControlValue(current=0.5), set_point=LoadControlValue(current=float("inf"), normal=21.0)
    )
    status = ResourceStatus(online=True, manual_override=True, load_control_state=control)
    assert (
        await code(desk, with_payloads(ven_id, ReportPayload(r_id="load", resource_status=status))) == "200"
    )
    assert [row.value for row in await kept(desk)] == [3.0]
    (found,) = await carried(desk, ven_id)
    assert found.content == {"load_control": {"capacity": {"current": 0.5}, "set_point": {"normal": 21.0}}}


@pytest.mark.criterion("RPT-47", "RPT-25", who="vtn")
async def test_green_button_reports_are_asked_for_and_kept_as_they_came(desk: Desk) -> None:
    offered = metadata("x")
    name = "HISTORY_GREENBUTTON"
    one = replace(offered.reports[0], report_name=f"METADATA_{name}", report_specifier_id=f"spec-{name}")
    ven_id = await ready(desk, replace(offered, reports=(one,)))
    intervals = tuple(ReportInterval(duration=Duration(900), feeds=(FEED,)) for _ in range(2))  # no uid
    report = Report(
        dtstart=NOW - QUARTER,
        intervals=intervals,
        report_request_id=f"ask-{name}",
        report_specifier_id=f"spec-{name}",
        report_name=name,
        created_date_time=NOW,
    )
    older = replace(report, intervals=intervals[:1], created_date_time=NOW - QUARTER)
    for each in (report, report, older):
        assert await code(desk, UpdateReport(request_id="u", reports=(each,), ven_id=ven_id)) == "200"
    async with desk.db.read() as conn:
        assert await green_button(conn, ven_id) == [report]
    facts = await desk.facts("report")
    assert len({fact.body["values_sha256"] for fact in facts}) == len(facts) == 2


@pytest.mark.criterion("RPT-35", who="vtn")
async def test_the_reports_own_id_means_nothing(desk: Desk) -> None:
    ven_id = await ready(desk)
    message = usage(ven_id, [(NOW, 1.0)])
    for number in range(2):
        named = replace(message.reports[0], report_id=f"id-{number}")
        assert await code(desk, replace(message, reports=(named,))) == "200"
    assert len(await kept(desk)) == 1
    assert len(await desk.facts("report")) == 1


@pytest.mark.criterion("RPT-34", who="vtn")
async def test_late_and_overlapping_reports_in_any_order_replace_what_is_older(desk: Desk) -> None:
    ven_id = await ready(desk)
    for minute, first, value in ((3, -1, 3.0), (1, -2, 1.0), (4, -3, 4.0), (2, -1, 2.0)):
        starts = [NOW + (first + step) * QUARTER for step in range(2)]
        created = NOW + timedelta(minutes=minute)
        assert await code(desk, usage(ven_id, [(start, value) for start in starts], created=created)) == "200"
    assert [row.value for row in await kept(desk)] == [4.0, 4.0, 3.0, 3.0]


@pytest.mark.criterion("RPT-28", who="vtn")
async def test_a_placeholder_of_bad_quality_is_kept_with_its_quality(desk: Desk) -> None:
    ven_id = await ready(desk)
    bad = ReportPayload(r_id="load", payload_float=0.0, data_quality="Quality Bad - Sensor Failure")
    assert await code(desk, with_payloads(ven_id, bad)) == "200"
    assert [row.quality for row in await kept(desk)] == ["Quality Bad - Sensor Failure"]


@pytest.mark.criterion("RPT-44", "RPT-36", who="vtn")
async def test_each_wrong_id_of_a_report_is_named_by_452(desk: Desk) -> None:
    ven_id = await ready(desk)
    message = usage(ven_id, [(NOW, 1.0)])
    wrong = (
        replace(message, ven_id="other"),
        replace(message, reports=(replace(message.reports[0], report_request_id="other"),)),
        replace(message, reports=(replace(message.reports[0], report_specifier_id="other"),)),
        usage(ven_id, [(NOW, 1.0)], r_id="other"),
    )
    for each in wrong:
        assert await code(desk, each) == "452"
    assert await kept(desk) == []
    assert await code(desk, replace(message, reports=(message.reports[0],))) == "200"


@pytest.mark.criterion("RPT-48", who="vtn")
async def test_an_r_id_is_any_text(desk: Desk) -> None:
    offered = metadata("x")
    points = offered.reports[0].report_descriptions
    names = ("007", "Zähler/1 in Küche", "load")
    described = tuple(replace(points[0], r_id=name) for name in names)
    ven_id = await ready(
        desk, replace(offered, reports=(replace(offered.reports[0], report_descriptions=described),))
    )
    for name in names:
        assert await code(desk, usage(ven_id, [(NOW, 1.0)], r_id=name)) == "200"
    assert sorted(row.r_id for row in await kept(desk)) == sorted(names)
