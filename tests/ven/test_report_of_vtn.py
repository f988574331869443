"""The other way round: the VTN reports, the VEN's site asks (RPT-37)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from openadr import (
    CancelReport,
    CreatedReport,
    CreateReport,
    Duration,
    EiResponse,
    ItemBase,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportDescription,
    ReportInterval,
    ReportPayload,
    ReportRequest,
    SamplingRate,
    SpecifierPayload,
    Target,
    UpdatedReport,
    UpdateReport,
)
from tests.pair import Pair
from tests.ven.messages import ask
from tests.ven.site import NOW, QUARTER, USAGE
from tests.ven.test_report_pair import MINUTE, ONCE, Desk, RichSite, only
from tests.ven.wire import plain
from vtn import own_report, registration
from vtn.catalogue import catalogue
from vtn.errors import UnknownObject
from vtn.own_report import LIMIT
from vtn.store import Database

HOUR = timedelta(hours=1)


def metadata(r_ids: Sequence[str] = ("grid", "wind")) -> Report:
    rate = SamplingRate(min_period=Duration.of(QUARTER), max_period=Duration.of(HOUR))
    return Report(
        duration=Duration(86_400),
        report_descriptions=tuple(
            ReportDescription(
                r_id=r_id,
                report_type="usage",
                reading_type="Direct Read",
                item_base=ItemBase.energy_real(),
                sampling_rate=rate,
            )
            for r_id in r_ids
        ),
        report_specifier_id=f"spec-{USAGE}",
        report_name=f"METADATA_{USAGE}",
        created_date_time=NOW,
    )


def data(value: float, now: datetime = NOW) -> Report:
    payloads = tuple(ReportPayload(r_id=r_id, payload_float=value) for r_id in ("grid", "wind"))
    interval = ReportInterval(dtstart=now, duration=Duration.of(QUARTER), payloads=payloads)
    return Report(
        dtstart=now,
        intervals=(interval,),
        report_specifier_id=f"spec-{USAGE}",
        report_name=USAGE,
        created_date_time=now,
    )


def wanted(request_id: str = "mine", **more: object) -> ReportRequest:
    return ask(USAGE, request_id=request_id, r_ids=("grid",), **more)  # type: ignore[arg-type] - fields by name


@pytest.fixture
async def desk(database: Database, tmp_path: Path) -> Desk:
    site = RichSite()
    pair = await Pair.join(database, plain(1, tmp_path / "unused"), site, lambda *_: [], NOW)
    desk = Desk(pair, site)
    await desk.at(NOW)
    return desk


async def offer(desk: Desk, *reports: Report) -> None:
    async with desk.pair.db.write() as conn:
        await own_report.offer(conn, reports, NOW)


async def publish(desk: Desk, report: Report, now: datetime) -> int:
    async with desk.pair.db.write() as conn:
        return await own_report.publish(conn, report, now)


def values(reports: Sequence[Report]) -> list[dict[str, float | None]]:
    return [
        {payload.r_id: payload.payload_float for payload in interval.payloads}
        for report in reports
        for interval in report.intervals
    ]


@pytest.mark.criterion("RPT-03", "RPT-06", "RPT-23", who="vtn")
@pytest.mark.criterion("RPT-37", "RPT-09", who="both")
async def test_the_vtns_reports_are_registered_asked_for_along_and_delivered(desk: Desk) -> None:
    desk.site.asks = [wanted()]
    await offer(desk, metadata())
    said = await desk.at(NOW + 2 * MINUTE)
    assert only(said, RegisterReport).reports == (metadata(),)
    assert only(said, RegisteredReport).report_requests == (wanted(),)
    assert only(said, CreatedReport).pending_reports == ("mine",)
    for step in range(2):
        now = NOW + (step + 1) * QUARTER
        assert await publish(desk, data(step, now), now) == 1
        said = await desk.at(now)
        assert (only(said, UpdatedReport).response.code, only(said, UpdateReport).ven_id) == (
            "200",
            desk.ven_id,
        )
    assert values(desk.site.taken) == [{"grid": 0.0}, {"grid": 1.0}]
    assert {report.report_request_id for report in desk.site.taken} == {"mine"}


@pytest.mark.criterion("RPT-16", "RPT-22", who="vtn")
async def test_a_single_report_is_answered_at_once_with_the_newest_data_or_with_the_next(desk: Desk) -> None:
    await offer(desk, metadata())
    await desk.at(NOW + 2 * MINUTE)
    desk.site.asks = [wanted(f"once-{n}", back=ONCE) for n in range(2)]
    for number, pending in enumerate([("once-0",), ()]):
        message = CreateReport(request_id="c", report_requests=(desk.site.asks[number],), ven_id=desk.ven_id)
        for _ in range(2):  # once more after a lost answer
            created = await desk.pair.ask(message, NOW)
            assert isinstance(created, CreatedReport)
            assert (created.response.code, created.pending_reports) == ("200", pending)
        if not number:
            assert await publish(desk, data(5), NOW) == 1
    assert await publish(desk, data(6), NOW + HOUR) == 0
    await desk.at(NOW + HOUR)
    assert [report.report_request_id for report in desk.site.taken] == ["once-0", "once-1"]
    assert values(desk.site.taken) == [{"grid": 5.0}, {"grid": 5.0}]


@pytest.mark.criterion("RPT-18", "RPT-17", who="vtn")
async def test_data_are_sent_within_the_period_that_was_asked_for(desk: Desk) -> None:
    await offer(desk, metadata())
    desk.site.asks = [wanted(start=NOW + HOUR, length=HOUR)]
    await desk.at(NOW + 2 * MINUTE)
    for hours, sent in ((0.5, 0), (1, 1), (1.5, 1), (2, 0), (1.5, 0)):
        now = NOW + hours * HOUR
        assert await publish(desk, data(hours, now), now) == sent


CODES = {
    "RPT-13 unknown specifier": (replace(wanted(), report_request_id="x"), "other", "452"),
    "RPT-13 a report of the standard": (wanted(), "HISTORY_GREENBUTTON", "461"),
    "RPT-10 a report of somebody's own": (wanted(), "x-COMFORT", "461"),
    "RPT-13 unknown rID": (ask(USAGE, r_ids=("load",)), f"spec-{USAGE}", "452"),
    "RPT-15 too fine": (wanted(granularity=MINUTE), f"spec-{USAGE}", "454"),
    "RPT-15 too coarse": (wanted(granularity=2 * HOUR, back=2 * HOUR), f"spec-{USAGE}", "454"),
    "RPT-20 rarer than the data are kept": (wanted(back=48 * HOUR), f"spec-{USAGE}", "454"),
    "negative": (wanted(back=-QUARTER), f"spec-{USAGE}", "454"),
}


@pytest.mark.parametrize(("request_", "specifier", "code"), CODES.values(), ids=CODES.keys())
@pytest.mark.criterion("RPT-10", "RPT-13", "RPT-15", "RPT-20", "RPT-21", "RPT-44", who="vtn")
async def test_what_the_vtn_does_not_offer_is_refused_and_the_rest_taken(
    desk: Desk, request_: ReportRequest, specifier: str, code: str
) -> None:
    await offer(desk, metadata())
    changed = replace(request_.report_specifier, report_specifier_id=specifier)
    both = (replace(request_, report_specifier=changed, report_request_id="bad"), wanted("good"))
    reply = await desk.pair.ask(CreateReport(request_id="c", report_requests=both, ven_id=desk.ven_id), NOW)
    assert isinstance(reply, CreatedReport)
    assert (reply.response.code, reply.response.request_id) == (code, "c")
    assert reply.pending_reports == ("good",)


@pytest.mark.criterion("RPT-01", "RPT-02", "RPT-04", "RPT-11", "RPT-38", who="vtn")
@pytest.mark.parametrize("back", [ONCE, HOUR], ids=["once", "regularly"])
async def test_metadata_are_sent_once_to_who_asks_for_them(desk: Desk, back: timedelta) -> None:
    asked = ask("METADATA", request_id="m", r_ids=("0",), back=back, granularity=ONCE)
    reply = await desk.pair.ask(
        CreateReport(request_id="c", report_requests=(asked,), ven_id=desk.ven_id), NOW
    )
    assert isinstance(reply, CreatedReport)
    assert (reply.response.code, reply.pending_reports) == ("200", ())
    own = only(await desk.at(NOW + 2 * MINUTE), RegisterReport)
    assert (own.reports, own.report_request_id) == ((), "m")
    assert not any(isinstance(each, RegisterReport) for _, each in await desk.at(NOW + 3 * HOUR))


@pytest.mark.criterion("RPT-11", "RPT-37", who="both")
async def test_the_ven_asks_for_the_vtns_metadata(desk: Desk) -> None:
    asked = ask("METADATA", request_id="m", r_ids=("0",), back=ONCE, granularity=ONCE)
    message = CreateReport(request_id="c", report_requests=(asked,), ven_id=desk.ven_id)
    desk.pair.session.send(message)
    said = await desk.at(NOW + 2 * MINUTE)
    assert only(said, CreatedReport).response.code == "200"
    assert only(said, RegisterReport).report_request_id == "m"


@pytest.mark.criterion("RPT-39", "RPT-40", who="vtn")
@pytest.mark.parametrize("follow", [False, True])
async def test_the_ven_ends_reports_of_the_vtn(desk: Desk, follow: bool) -> None:
    await offer(desk, metadata())
    desk.site.asks = [wanted(), wanted("other")]
    await desk.at(NOW + 2 * MINUTE)
    await publish(desk, data(1), NOW)
    await desk.at(NOW + 4 * MINUTE)
    desk.site.taken.clear()
    desk.pair.session.send(
        CancelReport(
            request_id="x",
            report_request_ids=("mine", "unknown"),
            report_to_follow=follow,
            ven_id=desk.ven_id,
        )
    )
    desk.pair.restart()
    said = await desk.at(NOW + 6 * MINUTE)
    (reply,) = (each for asked, each in said if isinstance(asked, CancelReport))
    assert (reply.response.code, reply.pending_reports) == ("452", ("other",))  # type: ignore[attr-defined] - a CanceledReport
    assert await publish(desk, data(2, NOW + HOUR), NOW + HOUR) == 1
    await desk.at(NOW + HOUR)
    assert [report.report_request_id for report in desk.site.taken] == ["mine"] * follow + ["other"]


@pytest.mark.criterion("RPT-41", who="vtn")
async def test_the_ven_ends_a_report_of_the_vtn_in_the_answer_to_it(desk: Desk) -> None:
    await offer(desk, metadata())
    desk.site.asks = [wanted()]
    await desk.at(NOW + 2 * MINUTE)
    await publish(desk, data(1), NOW)
    told = await desk.pair.ask(desk.pair.session.due(NOW + 4 * MINUTE)[0], NOW + 4 * MINUTE)
    assert isinstance(told, UpdateReport)
    cancel = CancelReport(request_id="x", report_request_ids=("mine",))
    response = EiResponse.ok(told.request_id)
    await desk.pair.ask(UpdatedReport(response=response, cancel_report=cancel, ven_id=desk.ven_id), NOW)
    assert await publish(desk, data(2, NOW + HOUR), NOW + HOUR) == 0


@pytest.mark.criterion("RPT-43", "RPT-07", who="vtn")
async def test_requests_end_with_new_metadata_and_with_the_registration(desk: Desk) -> None:
    await offer(desk, metadata())
    for end in ("metadata", "registration"):
        desk.site.asks = [wanted()]
        await offer(desk, metadata())
        await desk.at(NOW + (2 if end == "metadata" else 6) * MINUTE)
        assert await publish(desk, data(1), NOW) == 1
        desk.site.asks = []
        if end == "metadata":
            await offer(desk, metadata(("grid",)))
        else:
            async with desk.pair.db.write() as conn:
                await registration.cancel(conn, desk.ven_id, NOW)
            await desk.at(NOW + 8 * MINUTE)
        async with desk.pair.db.write() as conn:
            assert await own_report.publish(conn, data(2), NOW) == 0


async def test_a_ven_that_leaves_all_unanswered_gets_no_more(desk: Desk) -> None:
    await offer(desk, metadata())
    message = CreateReport(request_id="c", report_requests=(wanted(),), ven_id=desk.ven_id)
    await desk.pair.ask(message, NOW)
    for step in range(LIMIT):
        assert await publish(desk, data(step, NOW + step * MINUTE), NOW) == 1
    assert await publish(desk, data(0, NOW + HOUR * 9), NOW) == 0
    assert await publish(desk, data(0, NOW + HOUR * 9), NOW) == 0


async def test_a_ven_asks_for_so_many_reports_and_no_more(desk: Desk) -> None:
    await offer(desk, metadata())
    for first in range(0, LIMIT + 1, 20):
        code = "200" if first < LIMIT else "451"
        many = tuple(wanted(f"r{number}") for number in range(first, first + 20))
        asked = CreateReport(request_id="c", report_requests=many, ven_id=desk.ven_id)
        reply = await desk.pair.ask(asked, NOW)
        assert isinstance(reply, CreatedReport)
        assert (reply.response.code, len(reply.pending_reports)) == (code, min(LIMIT, first + 20))


BROKEN = {
    "RPT-23": replace(data(1), report_name=f"METADATA_{USAGE}"),
    "RPT-24": replace(data(1), dtstart=NOW - HOUR),
    "RPT-26": replace(data(1), intervals=(replace(data(1).intervals[0], duration=None),)),
    "RPT-27": replace(data(1), duration=Duration.of(HOUR)),
}


@pytest.mark.parametrize(("rule", "report"), BROKEN.items(), ids=BROKEN.keys())
@pytest.mark.criterion("RPT-23", "RPT-24", "RPT-26", "RPT-27", who="vtn")
async def test_data_that_break_a_rule_are_not_published(desk: Desk, rule: str, report: Report) -> None:
    await offer(desk, metadata())
    with pytest.raises(ValueError, match=rule):
        await publish(desk, report, NOW)


async def test_only_what_is_offered_and_keeps_the_rules_is_published(desk: Desk) -> None:
    with pytest.raises(UnknownObject):
        await publish(desk, data(1), NOW)
    with pytest.raises(ValueError, match="RPT-03"):
        await offer(desk, replace(metadata(), duration=None))
    with pytest.raises(ValueError, match="RPT-06"):
        await offer(desk, replace(metadata(), duration=Duration(60)))


@pytest.mark.criterion("RPT-44", "RPT-37", who="ven")
async def test_reports_that_the_site_has_not_asked_for_are_refused(desk: Desk) -> None:
    await offer(desk, metadata())
    message = CreateReport(request_id="c", report_requests=(wanted(),), ven_id=desk.ven_id)
    await desk.pair.ask(message, NOW)
    await publish(desk, data(1), NOW)
    said = await desk.at(NOW + 2 * MINUTE)
    assert only(said, UpdatedReport).response.code == "452"


@pytest.mark.criterion("RPT-12", "RPT-14", "RPT-17", who="ven")
@pytest.mark.parametrize("fault", ["unit", "twice", "no interval"])
async def test_requests_that_break_a_rule_are_not_sent(desk: Desk, fault: str) -> None:
    point = SpecifierPayload(r_id="grid", item_base=ItemBase.energy_real())
    with_unit = replace(wanted().report_specifier, specifier_payloads=(point,))
    desk.site.asks = {
        "unit": [replace(wanted(), report_specifier=with_unit)],
        "twice": [wanted(), wanted(back=HOUR)],
        "no interval": [wanted(start=None)],
    }[fault]
    await offer(desk, metadata())
    said = await desk.at(NOW + 2 * MINUTE)
    assert only(said, RegisteredReport).report_requests == ()
    desk.site.asks = [wanted()]
    await offer(desk, metadata())
    said = await desk.at(NOW + 4 * MINUTE)
    assert only(said, CreatedReport).pending_reports == ("mine",)


@pytest.mark.criterion("RPT-35", who="both")
async def test_a_reports_own_id_means_nothing_to_the_ven(desk: Desk) -> None:
    desk.site.asks = [wanted()]
    await offer(desk, metadata())
    await desk.at(NOW + 2 * MINUTE)
    await publish(desk, replace(data(1), report_id="any"), NOW)
    assert only(await desk.at(NOW + 4 * MINUTE), UpdatedReport).response.code == "200"


@pytest.mark.criterion("RPT-08", who="both")
async def test_subject_source_and_programme_of_the_vtns_points_are_told_as_they_are(desk: Desk) -> None:
    (plain_point, _) = metadata().report_descriptions
    wrong = replace(plain_point, report_subject=Target(resource_id=("feeder-1",)))
    with pytest.raises(ValueError, match="RPT-08"):
        await offer(desk, replace(metadata(), report_descriptions=(wrong,)))
    right = replace(
        plain_point,
        report_subject=Target(end_device_asset=("Thermostat",)),
        report_data_source=Target(resource_id=("feeder-1", "feeder-2")),
        market_context="http://programme.test/a",
    )
    await offer(desk, replace(metadata(), report_descriptions=(right,)))
    (told,) = only(await desk.at(NOW + 2 * MINUTE), RegisterReport).reports
    assert told.report_descriptions == (right,)
    async with desk.pair.db.read() as conn:
        kept = {each.specifier_id: each.report for each in await catalogue(conn, desk.ven_id)}
    ours = kept[f"spec-{USAGE}"]
    assert ours is not None
    assert ours.report_descriptions[0].report_subject == Target(end_device_asset=("Thermostat",))


@pytest.mark.parametrize("broken", ["wanted", "take"])
async def test_a_site_that_fails_at_the_vtns_reports_stops_nothing(
    desk: Desk, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault of the site")

    desk.site.asks = [wanted()]
    monkeypatch.setattr(desk.site, broken, fail)
    await offer(desk, metadata())
    said = await desk.at(NOW + 2 * MINUTE)
    requests = only(said, RegisteredReport).report_requests
    assert len(requests) == (broken == "take")
    if requests:
        await publish(desk, data(1), NOW)
        assert only(await desk.at(NOW + 4 * MINUTE), UpdatedReport).response.code == "459"
