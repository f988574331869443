"""G-16, G-17: the whole life of reports between our VEN and our VTN, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from openadr import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    LoadControlState,
    LoadControlValue,
    Message,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportRequest,
    ResourceStatus,
    UpdatedReport,
    UpdateReport,
)
from openadr.enums import DataQuality
from openadr.rules import check
from tests.pair import Pair
from tests.ven.messages import ask
from tests.ven.site import HISTORY, NOW, QUARTER, USAGE, Site, capability, energy_wh
from tests.ven.test_report import DAY, HOUR
from tests.ven.wire import plain
from ven.facility import Capability, Reading, Unit
from vtn import reading, report_request
from vtn.reading_detail import details
from vtn.registration import Ven
from vtn.report_request import Requested, RequestState
from vtn.store import Database

STATUS = "TELEMETRY_STATUS"
MINUTE = timedelta(minutes=1)
ONCE = timedelta(0)


@dataclass
class RichSite(Site):
    """A site that tells its state too, is sure of what it measures to 2 Wh, and reads the VTN's reports."""

    offered: list[Capability] = field(
        default_factory=lambda: [
            capability(USAGE, "load", device_class="Thermostat", market_context="http://programme.test/a"),
            capability(HISTORY, "load"),
            capability(STATUS, "state", unit=Unit.STATUS, resource_id="home-01"),
        ]
    )
    overridden: set[datetime] = field(default_factory=set)
    constant: bool = False
    asks: list[ReportRequest] = field(default_factory=list)
    taken: list[Report] = field(default_factory=list)

    def read(
        self, report_name: str, r_ids: Sequence[str], start: datetime, end: datetime
    ) -> Sequence[Reading]:
        readings = super().read(report_name, r_ids, start, end)
        if report_name == STATUS:
            return [Reading(each.r_id, each.start, QUARTER, 0, status=self.state(each)) for each in readings]
        return [
            Reading(
                each.r_id,
                each.start,
                QUARTER,
                7.0 if self.constant else each.value,
                accuracy=2.0,
                confidence=95,
            )
            for each in readings
        ]

    def state(self, each: Reading) -> ResourceStatus:
        control = LoadControlState(level_offset=LoadControlValue(minimum=-5, maximum=5, current=2, normal=0))
        return ResourceStatus(
            online=True, manual_override=each.start in self.overridden, load_control_state=control
        )

    def wanted(self, reports: Sequence[Report], now: datetime) -> Sequence[ReportRequest]:
        return self.asks if reports else []

    def take(self, report: Report) -> bool:
        self.taken.append(report)
        return report.report_request_id in {request.report_request_id for request in self.asks}


@dataclass
class Desk:
    """The operator of the VTN, and the requests that come along with the answer to metadata."""

    pair: Pair
    site: RichSite
    along: list[ReportRequest] = field(default_factory=list)

    @property
    def ven_id(self) -> str:
        known = self.pair.session.saved.registration
        assert known is not None
        return known.ven_id

    async def at(self, now: datetime) -> list[tuple[Message, Message]]:
        """What is said at `now`, when the meter is complete until then. All of it keeps the rules."""
        self.site.complete_until = now
        said = await self.pair.run(now)
        for message in (each for pair in said for each in pair):
            assert check(message) == []
        return said

    async def ask(self, request: ReportRequest, now: datetime) -> list[tuple[Message, Message]]:
        async with self.pair.db.write() as conn:
            await report_request.request_report(conn, self.ven_id, request, now)
        return await self.at(now)

    async def cancel(self, request_id: str, follow: bool, now: datetime) -> None:
        async with self.pair.db.write() as conn:
            await report_request.cancel_report(conn, self.ven_id, [request_id], follow, now)

    async def kept(self) -> dict[str, Requested]:
        async with self.pair.db.read() as conn:
            found = await report_request.requests(conn, self.ven_id)
        return {each.report_request_id: each for each in found}

    async def values(self, name: str = USAGE) -> list[reading.ReadingRow]:
        async with self.pair.db.read() as conn:
            return await reading.readings(conn, report_names=[name])


def sent(said: Sequence[tuple[Message, Message]]) -> list[Report]:
    return [each for asked, _ in said if isinstance(asked, UpdateReport) for each in asked.reports]


M = TypeVar("M", bound=Message)


def only(said: Sequence[tuple[Message, Message]], kind: type[M]) -> M:
    (found,) = (each for pair in said for each in pair if isinstance(each, kind))
    return found


@pytest.fixture
async def desk(database: Database, tmp_path: Path) -> Desk:
    site, along = RichSite(), []

    def request_along(_ven: Ven, _reports: Sequence[Report], _now: datetime) -> list[ReportRequest]:
        return along

    made = await Pair.join(database, plain(1, tmp_path / "unused"), site, request_along, NOW)
    desk = Desk(made, site, along)
    await desk.at(NOW)
    return desk


def every_quarter(request_id: str = "usage", **more: object) -> ReportRequest:
    return ask(USAGE, request_id=request_id, **more)  # type: ignore[arg-type] - fields by name


@pytest.mark.criterion("RPT-11", "RPT-16", "RPT-22", "RPT-31", who="both")
async def test_g_16_a_single_report_is_sent_at_once_whatever_its_granularity(desk: Desk) -> None:
    now = NOW + 20 * MINUTE
    request = every_quarter("once", back=ONCE, granularity=7 * MINUTE, start=None)
    said = await desk.ask(request, now)
    assert only(said, CreatedReport).pending_reports == ("once",)
    (report,) = sent(said)
    (interval,) = report.intervals
    assert (interval.dtstart, [each.r_id for each in interval.payloads]) == (NOW, ["load"])
    assert interval.duration is not None
    said = await desk.ask(every_quarter(start=now), now + 2 * MINUTE)
    assert only(said, CreatedReport).pending_reports == ("usage",)
    assert (await desk.kept())["once"].last_report_at == now


@pytest.mark.criterion(
    "RPT-17", "RPT-18", "RPT-21", "RPT-23", "RPT-24", "RPT-27", "RPT-29", "RPT-30", "RPT-45", who="both"
)
async def test_g_16_status_and_usage_come_together_with_all_that_belongs_to_them(desk: Desk) -> None:
    desk.site.overridden = {NOW + 2 * QUARTER}
    await desk.ask(every_quarter(back=HOUR, length=2 * HOUR), NOW)
    await desk.ask(ask(STATUS, request_id="state", r_ids=("state",), back=HOUR), NOW + 2 * MINUTE)
    reports = [report for hour in range(1, 4) for report in sent(await desk.at(NOW + hour * HOUR))]
    assert [report.report_name for report in reports] == [USAGE, STATUS, USAGE, STATUS, STATUS]
    usage, state = reports[:2]
    assert (usage.dtstart, state.dtstart) == (NOW, NOW)
    assert all(payload.accuracy == 2 for interval in usage.intervals for payload in interval.payloads)
    assert {interval.duration for interval in state.intervals} == {None}
    assert [row.value for row in await desk.values(STATUS)][:4] == [1.0, 1.0, 3.0, 1.0]
    assert [row.value for row in await desk.values()] == [
        energy_wh("load", NOW + step * QUARTER) for step in range(8)
    ]
    async with desk.pair.db.read() as conn:
        found = await details(conn, desk.ven_id, NOW, NOW + QUARTER)
    assert [(each.r_id, each.content) for each in found] == [
        ("load", {"accuracy": 2.0, "confidence": 95}),
        (
            "state",
            {"load_control": {"level_offset": {"minimum": -5, "maximum": 5, "current": 2, "normal": 0}}},
        ),
    ]
    assert set(desk.pair.session.saved.requests) == {"state"}


@pytest.mark.criterion("RPT-19", who="both")
async def test_g_16_on_change_every_rhythm_says_which_values_are_the_same(desk: Desk) -> None:
    await desk.ask(every_quarter(granularity=ONCE, back=HOUR), NOW)
    (changing,) = sent(await desk.at(NOW + HOUR))
    qualities = [payload.data_quality for each in changing.intervals for payload in each.payloads]
    assert qualities == [DataQuality.GOOD] * 4
    desk.site.constant = True
    (constant,) = sent(await desk.at(NOW + 2 * HOUR))
    assert len(constant.intervals) == 4
    qualities = [payload.data_quality for each in constant.intervals for payload in each.payloads]
    assert qualities == [DataQuality.PREVIOUS_VALUE] * 4
    assert {row.quality for row in (await desk.values())[4:]} == {DataQuality.PREVIOUS_VALUE}


@pytest.mark.criterion("RPT-15", "RPT-16", "RPT-18", "RPT-32", "RPT-33", who="both")
async def test_g_16_a_history_is_given_in_full_or_in_part(desk: Desk) -> None:
    part = ask(HISTORY, request_id="part", start=NOW - 2 * DAY, length=DAY, back=ONCE, granularity=ONCE)
    reports = sent(await desk.ask(part, NOW + 2 * MINUTE))
    assert [(report.dtstart, len(report.intervals)) for report in reports] == [(NOW - 2 * DAY, 96)]
    full = ask(HISTORY, request_id="full", start=NOW - 2 * DAY, length=ONCE, back=ONCE, granularity=ONCE)
    reports = sent(await desk.ask(full, NOW + 4 * MINUTE))
    assert [(report.dtstart, len(report.intervals)) for report in reports] == [
        (NOW - 2 * DAY, 96),
        (NOW - DAY, 96),
    ]
    assert len(await desk.values(HISTORY)) == 192
    assert desk.pair.session.saved.requests == {}


@pytest.mark.criterion("RPT-01", "RPT-04", "RPT-07", "RPT-11", "RPT-42", who="both")
async def test_g_16_metadata_are_given_once_or_regularly_until_cancelled(desk: Desk) -> None:
    await desk.ask(every_quarter(), NOW)
    once = ask("METADATA", request_id="m-once", r_ids=("0",), back=ONCE, granularity=ONCE, start=None)
    said = await desk.ask(once, NOW + 2 * MINUTE)
    assert only(said, RegisterReport).report_request_id == "m-once"
    regularly = ask("METADATA", request_id="m-hourly", r_ids=("0",), back=HOUR, granularity=ONCE)
    said = await desk.ask(regularly, NOW + 4 * MINUTE)
    assert only(said, RegisterReport).report_request_id == "m-hourly"
    assert only(said, CreateReport).report_requests == (regularly,)
    # the operator's own request came along each time; a periodic request for metadata outlives metadata
    assert set(desk.pair.session.saved.requests) == {"usage", "m-hourly"}
    desk.pair.restart()
    for hour in (2, 3):
        said = await desk.at(NOW + hour * HOUR)
        assert only(said, RegisterReport).report_request_id == "m-hourly"
    await desk.cancel("m-hourly", False, NOW + 3 * HOUR)
    said = await desk.at(NOW + 3 * HOUR + 2 * MINUTE)
    assert only(said, CanceledReport).pending_reports == ("usage",)
    said = await desk.at(NOW + 9 * HOUR)
    assert not any(isinstance(asked, RegisterReport) for asked, _ in said)


@pytest.mark.criterion("RPT-40", who="ven")
async def test_a_cancelled_request_for_metadata_is_followed_by_them_once(desk: Desk) -> None:
    regularly = ask("METADATA", request_id="m", r_ids=("0",), back=HOUR, granularity=ONCE)
    await desk.ask(regularly, NOW)
    await desk.cancel("m", True, NOW)
    said = await desk.at(NOW + 2 * MINUTE) + await desk.at(NOW + 4 * MINUTE)
    answered = [asked.report_request_id for asked, _ in said if isinstance(asked, RegisterReport)]
    assert answered == ["m", "m"]  # asked for, and the one to follow
    assert desk.pair.session.saved.requests == {}


@pytest.mark.criterion("RPT-09", "RPT-07", "RPT-22", who="both")
async def test_g_16_requests_come_along_with_the_answer_to_metadata(desk: Desk) -> None:
    await desk.ask(every_quarter("old"), NOW)
    await desk.at(NOW + 2 * MINUTE)
    desk.along.append(every_quarter("along"))
    desk.site.offered.pop()
    desk.pair.restart()  # with other capabilities
    said = await desk.at(NOW + 2 * MINUTE)
    assert [each.report_request_id for each in only(said, RegisteredReport).report_requests] == [
        "along",
        "old",
    ]
    assert only(said, CreatedReport).pending_reports == ("old", "along")
    kept = await desk.kept()
    assert {key: each.state for key, each in kept.items()} == {
        "along": RequestState.RUNNING,
        "old": RequestState.RUNNING,
    }


@pytest.mark.criterion("RPT-40", "RPT-41", who="both")
async def test_g_16_a_cancellation_in_the_answer_to_a_report_is_followed_by_one_more(desk: Desk) -> None:
    await desk.ask(every_quarter(), NOW)
    await desk.ask(every_quarter("other"), NOW + 2 * MINUTE)
    await desk.cancel("usage", True, NOW + QUARTER)
    desk.site.complete_until = NOW + QUARTER
    first, other = desk.pair.session.reports_due(NOW + QUARTER)  # before the next poll
    for message in (first, other):
        answer = await desk.pair.ask(message, NOW + QUARTER)
        assert isinstance(answer, UpdatedReport)
        desk.pair.session.reported(answer, message.reports[0].report_request_id)
    said = await desk.at(NOW + QUARTER + MINUTE)
    assert [report.report_request_id for report in sent(said)] == ["usage"]
    assert not any(isinstance(each, CancelReport) for pair in said for each in pair)
    assert (await desk.kept())["usage"].outcome == "cancelled"
    assert [report.report_request_id for report in sent(await desk.at(NOW + HOUR))] == ["other"] * 3


@pytest.mark.criterion("RPT-41", who="ven")
async def test_a_cancellation_along_ends_only_what_the_report_was_of(desk: Desk) -> None:
    await desk.ask(every_quarter(), NOW)
    await desk.ask(every_quarter("other"), NOW + 2 * MINUTE)
    desk.site.complete_until = NOW + QUARTER
    (message, _) = desk.pair.session.reports_due(NOW + QUARTER)
    answer = await desk.pair.ask(message, NOW + QUARTER)
    assert isinstance(answer, UpdatedReport)
    both = CancelReport(request_id="x", report_request_ids=("usage", "other"))
    desk.pair.session.reported(
        UpdatedReport(response=answer.response, cancel_report=both), message.reports[0].report_request_id
    )
    assert list(desk.pair.session.saved.requests) == ["other"]


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.criterion("RPT-39", "RPT-40", "RPT-22", who="both")
async def test_g_16_a_polled_cancellation_ends_a_report(desk: Desk, follow: bool) -> None:
    await desk.ask(every_quarter(back=HOUR), NOW)
    await desk.cancel("usage", follow, NOW)
    said = await desk.at(NOW + 50 * MINUTE)
    assert only(said, CancelReport).report_to_follow is follow
    assert only(said, CanceledReport).pending_reports == ()
    assert len(sent(said)) == follow
    assert sent(await desk.at(NOW + 3 * HOUR)) == []
    assert (await desk.kept())["usage"].outcome == "cancelled"


@pytest.mark.criterion("RPT-36", "RPT-18", "REG-26", who="both")
async def test_g_17_a_periodic_report_goes_on_when_either_side_starts_again(
    database_path: Path, tmp_path: Path
) -> None:
    site = RichSite()
    opened = await Database.open(database_path)
    pair = await Pair.join(opened, plain(1, tmp_path / "unused"), site, lambda *_: [every_quarter()], NOW)
    desk = Desk(pair, site)
    await desk.at(NOW)
    for step in range(1, 6):
        await desk.at(NOW + step * QUARTER)
        if step % 2:
            pair.restart()
        else:
            await pair.db.close()
            pair.db = await Database.open(database_path)
    rows = await desk.values()
    await pair.db.close()
    assert [row.start for row in rows] == [NOW + step * QUARTER for step in range(5)]


@pytest.mark.criterion("RPT-07", "RPT-34", who="both")
async def test_g_17_no_period_is_lost_when_the_metadata_are_sent_again_after_an_outage(desk: Desk) -> None:
    desk.along.append(every_quarter())
    desk.site.offered.pop()
    desk.pair.restart()
    await desk.at(NOW)
    desk.along[0] = every_quarter(start=NOW + 4 * HOUR)  # what the operator would ask for by then
    desk.site.offered.pop()
    desk.pair.restart()
    await desk.at(NOW + 4 * HOUR + MINUTE)
    assert [row.start for row in await desk.values()] == [NOW + step * QUARTER for step in range(16)]


@pytest.mark.criterion("RPT-01", who="ven")
async def test_metadata_are_sent_at_every_start_where_that_is_set(database: Database, tmp_path: Path) -> None:
    settings = plain(1, tmp_path / "unused", metadata_at_start=True)
    site = RichSite()
    pair = await Pair.join(database, settings, site, lambda *_: [every_quarter()], NOW)
    desk = Desk(pair, site)
    await desk.at(NOW)
    await desk.at(NOW + QUARTER)
    held = pair.session.saved.requests
    pair.restart()
    said = await desk.at(NOW + QUARTER + 2 * MINUTE)
    assert [type(asked).__name__ for asked, _ in said][:2] == ["RegisterReport", "CreatedReport"]
    assert pair.session.saved.requests == held
