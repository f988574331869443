"""Which report is due when, and what is in it (group RPT)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from openadr import Report, UpdateReport
from openadr.codec import decode, encode
from openadr.enums import DataQuality
from openadr.parser import DEFAULT_LIMITS
from tests.ven.messages import HOUR, VEN, ask
from tests.ven.site import HISTORY, NOW, OFFER, QUARTER, USAGE, Site, all_capabilities, capability, energy_wh
from ven.errors import RefusedRequestError
from ven.facility import Reading, Unit
from ven.report import HeldRequest, Limits, accept, digest, due_at, metadata, offers
from ven.request import Reporting, accept_all, cancel, make_reports

OFFERS = offers(all_capabilities())
DAY = timedelta(days=1)


class Desk:
    """The reports of a VEN over time."""

    def __init__(
        self, *requests: HeldRequest, site: Site | None = None, limits: Limits | None = None
    ) -> None:
        self.requests = {each.request_id: each for each in requests}
        self.site = site or Site()
        self.limits = limits or Limits()

    def make(self, now: datetime, complete_until: datetime | None = None) -> list[Report]:
        """Everything that can be made at `now`; the meter is complete until then unless said otherwise."""
        self.site.complete_until = now if complete_until is None else complete_until
        reports: list[Report] = []
        while True:
            desk = Reporting(self.site, offers(self.site.capabilities()), self.limits, VEN, lambda: "u1", now)
            before = self.requests
            self.requests, made = make_reports(self.requests, desk)
            reports += [message.reports[0] for message in made]
            if before == self.requests:
                return reports


def held(name: str = USAGE, now: datetime = NOW, **how: object) -> HeldRequest:
    return accept(ask(name, **how), OFFERS, now)  # type: ignore[arg-type] - fields by name


def periods(reports: Sequence[Report]) -> list[tuple[datetime, timedelta]]:
    return [
        (report.dtstart, report.duration.to_timedelta())
        for report in reports
        if report.dtstart and report.duration
    ]


def values(report: Report, r_id: str = "load") -> list[tuple[float | None, str | None]]:
    return [
        (payload.payload_float, payload.data_quality)
        for interval in report.intervals
        for payload in interval.payloads
        if payload.r_id == r_id
    ]


def test_rpt_03_metadata_list_every_capability_by_specifier_and_survive_the_wire() -> None:
    message = metadata(all_capabilities(), "m1", VEN, NOW, None)
    assert decode(encode(message)) == message
    assert [report.report_name for report in message.reports] == [
        "METADATA_TELEMETRY_USAGE",
        "METADATA_HISTORY_USAGE",
        OFFER,
    ]
    first = message.reports[0]
    assert first.report_request_id == "0"
    assert [point.r_id for point in first.report_descriptions] == ["load", "home-01"]
    assert first.report_descriptions[0].report_data_source is None
    sampling = first.report_descriptions[1].sampling_rate
    assert sampling is not None
    assert sampling.min_period.to_timedelta() == QUARTER
    assert first.duration is not None
    assert sampling.max_period.to_timedelta() <= first.duration.to_timedelta()


def test_rpt_02_a_site_without_data_registers_an_empty_list() -> None:
    assert metadata([], "m1", VEN, NOW, None).reports == ()


def test_rpt_04_metadata_name_the_request_that_they_answer() -> None:
    assert metadata([], "m1", VEN, NOW, "ask-7").report_request_id == "ask-7"


def test_the_digest_changes_with_the_capabilities_only() -> None:
    assert digest(all_capabilities()) == digest(all_capabilities())
    assert digest(all_capabilities()) != digest(all_capabilities()[1:])


REFUSED = {
    "RPT-13 an unknown specifier": (ask("TELEMETRY_STATUS"), "452"),
    "RPT-13 an unknown rID": (ask(r_ids=("load", "home-99")), "452"),
    "RPT-15 finer than offered": (ask(granularity=timedelta(minutes=5)), "454"),
    "RPT-15 coarser than offered": (ask(granularity=2 * HOUR, back=2 * HOUR), "454"),
    "RPT-15 not a multiple of the site's own": (ask(granularity=timedelta(minutes=20), back=HOUR), "454"),
    "RPT-15 longer than the rhythm": (ask(granularity=HOUR), "454"),
    "RPT-16 a periodic history": (ask(HISTORY), "454"),
    "RPT-17 a history without an interval": (ask(HISTORY, start=None, back=timedelta(0)), "459"),
    "RPT-20 a longer history than offered": (
        ask(HISTORY, back=timedelta(0), start=NOW - 60 * DAY, length=60 * DAY),
        "454",
    ),
}


@pytest.mark.criterion("RPT-13", "RPT-15", "RPT-16", "RPT-17", "RPT-20")
@pytest.mark.parametrize(("request_", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_a_request_for_what_is_not_offered_is_refused(request_: object, code: str) -> None:
    with pytest.raises(RefusedRequestError) as refusal:
        accept(request_, OFFERS, NOW)  # type: ignore[arg-type] - a table of requests
    assert refusal.value.code == code


def test_rpt_21_good_requests_beside_a_bad_one_are_accepted_and_the_code_is_the_bad_ones() -> None:
    changed = accept_all({}, [ask("TELEMETRY_STATUS"), ask()], OFFERS, "c1", NOW)
    assert list(changed.requests) == ["ask-TELEMETRY_USAGE"]
    assert (changed.response.code, changed.response.request_id) == ("452", "c1")


def test_a_request_that_is_repeated_keeps_its_progress() -> None:
    desk = Desk(held())
    desk.make(NOW + HOUR)
    before = desk.requests
    assert accept_all(before, [ask()], OFFERS, "c2", NOW + HOUR).requests == before


def test_rpt_18_periodic_reports_lie_on_the_grid_of_their_start_without_gap_or_overlap() -> None:
    desk = Desk(held(start=NOW, back=timedelta(minutes=30)))
    assert desk.make(NOW + timedelta(minutes=29)) == []
    assert due_at(desk.requests["ask-TELEMETRY_USAGE"], OFFERS["spec-TELEMETRY_USAGE"]) == NOW + HOUR / 2
    first = desk.make(NOW + timedelta(minutes=30))
    rest = desk.make(NOW + 2 * HOUR)
    half = timedelta(minutes=30)
    assert periods(first + rest) == [(NOW + index * half, half) for index in range(4)]


def test_rpt_33_a_start_off_the_sites_own_grid_moves_up_to_it() -> None:
    desk = Desk(held(start=NOW + timedelta(minutes=7, seconds=30)))
    assert periods(desk.make(NOW + timedelta(minutes=31))) == [(NOW + QUARTER, QUARTER)]


def test_a_periodic_request_without_an_interval_begins_when_it_came() -> None:
    desk = Desk(held(start=None, now=NOW + timedelta(minutes=5)))
    reports = desk.make(NOW + timedelta(minutes=50))
    assert periods(reports) == [(NOW + QUARTER, QUARTER), (NOW + 2 * QUARTER, QUARTER)]


def test_rpt_18_periodic_reports_end_with_their_interval() -> None:
    desk = Desk(held(start=NOW, length=timedelta(minutes=40), back=QUARTER))
    reports = desk.make(NOW + 5 * HOUR)
    assert [start for start, _ in periods(reports)] == [NOW, NOW + QUARTER, NOW + 2 * QUARTER]
    assert not desk.requests


@pytest.mark.criterion("RPT-24", "RPT-25", "RPT-27")
def test_rpt_23_a_report_names_its_request_and_gives_start_duration_and_uid_of_each_interval() -> None:
    desk = Desk(held(back=HOUR, r_ids=("load", "home-01")))
    (report,) = desk.make(NOW + HOUR)
    assert (report.report_name, report.report_request_id) == (USAGE, "ask-TELEMETRY_USAGE")
    assert (report.report_specifier_id, report.created_date_time) == ("spec-TELEMETRY_USAGE", NOW + HOUR)
    assert report.report_descriptions == ()
    assert [interval.uid for interval in report.intervals] == ["0", "1", "2", "3"]
    assert [interval.dtstart for interval in report.intervals] == [NOW + k * QUARTER for k in range(4)]
    assert {interval.duration.to_timedelta() for interval in report.intervals if interval.duration} == {
        QUARTER
    }
    good = DataQuality.GOOD
    assert values(report) == [(energy_wh("load", NOW + k * QUARTER), good) for k in range(4)]
    assert values(report, "home-01") == [(energy_wh("home-01", NOW + k * QUARTER), good) for k in range(4)]
    message = UpdateReport(request_id="u1", reports=(report,), ven_id=VEN)
    assert decode(encode(message)) == message


def test_a_report_waits_until_its_readings_are_complete() -> None:
    desk = Desk(held())
    assert desk.make(NOW + QUARTER, complete_until=NOW + timedelta(minutes=14)) == []
    assert len(desk.make(NOW + QUARTER, complete_until=NOW + QUARTER)) == 1
    desk.site.complete_until = None
    assert due_at(desk.requests["ask-TELEMETRY_USAGE"], OFFERS["spec-TELEMETRY_USAGE"]) == NOW + 2 * QUARTER


def test_a_meter_without_any_reading_reports_nothing() -> None:
    site = Site(complete_until=None)
    desk = Reporting(site, OFFERS, Limits(), VEN, lambda: "u1", NOW + HOUR)
    requests, made = make_reports({"a": held()}, desk)
    assert made == []
    assert requests == {"a": held()}


def test_goals_75_periods_missed_while_away_follow_oldest_first() -> None:
    desk = Desk(held())
    reports = desk.make(NOW + 8 * HOUR)
    assert periods(reports) == [(NOW + k * QUARTER, QUARTER) for k in range(32)]


def test_periods_older_than_the_catch_up_are_left_out_on_the_same_grid() -> None:
    desk = Desk(held(back=HOUR), limits=Limits(catch_up=2 * HOUR))
    assert periods(desk.make(NOW + 10 * HOUR + QUARTER)) == [(NOW + k * HOUR, HOUR) for k in (8, 9)]


def test_rpt_28_a_missing_reading_is_a_placeholder_of_bad_quality() -> None:
    site = Site(missing={("load", NOW)})
    (report,) = Desk(held(back=2 * QUARTER), site=site).make(NOW + 2 * QUARTER)
    assert values(report)[0] == (0.0, DataQuality.BAD)
    assert values(report)[1][1] == DataQuality.GOOD


@pytest.mark.goal(22)
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_goals_22_a_value_that_is_not_finite_never_leaves_the_box(number: float) -> None:
    site = Site(values={("load", NOW): number})
    (report,) = Desk(held(), site=site).make(NOW + QUARTER)
    assert values(report) == [(0.0, DataQuality.BAD)]


def test_a_quality_that_the_schema_does_not_know_is_reported_as_bad() -> None:
    site = Site()
    site.read = lambda *_: [Reading("load", NOW, QUARTER, 5.0, "rather good")]  # type: ignore[method-assign] - a bad driver
    (report,) = Desk(held(), site=site).make(NOW + QUARTER)
    assert values(report) == [(5.0, DataQuality.BAD)]
    site.read = lambda *_: [Reading("load", NOW, QUARTER, 5.0, "x-estimated")]  # type: ignore[method-assign] - a good driver
    (report,) = Desk(held(), site=site).make(NOW + QUARTER)
    assert values(report) == [(5.0, "x-estimated")]


def test_a_coarser_granularity_sums_energy_and_averages_power() -> None:
    expected = [energy_wh("load", NOW + k * QUARTER) for k in range(4)]
    (report,) = Desk(held(granularity=HOUR, back=HOUR)).make(NOW + HOUR)
    assert values(report) == [(sum(expected), DataQuality.GOOD)]
    site = Site(offered=[capability(USAGE, "load", unit=Unit.POWER_W)])
    (report,) = Desk(held(granularity=HOUR, back=HOUR), site=site).make(NOW + HOUR)
    assert values(report) == [(sum(expected) / 4, DataQuality.GOOD)]


def test_a_sum_over_a_gap_is_marked_bad() -> None:
    site = Site(missing={("load", NOW + QUARTER)})
    (report,) = Desk(held(granularity=HOUR, back=HOUR), site=site).make(NOW + HOUR)
    assert values(report)[0][1] == DataQuality.BAD


def history(start: datetime, length: timedelta, **more: object) -> HeldRequest:
    return held(HISTORY, start=start, length=length, back=timedelta(0), granularity=timedelta(0), **more)


def test_a_history_comes_in_parts_of_at_most_a_day_without_gap_or_overlap() -> None:
    desk = Desk(history(NOW - 3 * DAY - HOUR, 3 * DAY + HOUR))
    reports = desk.make(NOW)
    assert periods(reports) == [
        (NOW - 3 * DAY - HOUR, DAY),
        (NOW - 2 * DAY - HOUR, DAY),
        (NOW - DAY - HOUR, DAY),
        (NOW - HOUR, HOUR),
    ]
    assert sum(len(report.intervals) for report in reports) == 3 * 96 + 4
    assert not desk.requests


def test_a_history_of_many_meters_is_cut_smaller() -> None:
    desk = Desk(history(NOW - DAY, DAY, r_ids=("load", "home-01")), limits=Limits(readings=96))
    reports = desk.make(NOW)
    assert [len(report.intervals) for report in reports] == [48, 48]


@pytest.mark.parametrize(("count", "parts"), [(1, 1), (11, 1), (13, 1), (18, 2), (100, 7)])
def test_parts_of_a_history_keep_within_the_limits_of_our_vtn_in_any_form(count: int, parts: int) -> None:
    names = tuple(f"home-{number:03}" for number in range(count))
    site = Site(offered=[capability(HISTORY, name) for name in names])
    request = accept(
        ask(HISTORY, start=NOW - DAY, length=DAY, back=timedelta(0), r_ids=names),
        offers(site.capabilities()),
        NOW,
    )
    reports = Desk(request, site=site).make(NOW)
    assert len(reports) == parts
    nodes = (7 + 7 * count) * max(len(report.intervals) for report in reports)
    assert nodes < DEFAULT_LIMITS.max_nodes  # each value with quality, accuracy and confidence


def test_the_largest_part_of_eleven_meters_stays_below_one_megabyte() -> None:
    names = [f"home-{number:02}" for number in range(10)] + ["load"]
    site = Site(offered=[capability(HISTORY, name) for name in names])
    request = accept(
        ask(HISTORY, start=NOW - DAY, length=DAY, back=timedelta(0), r_ids=names),
        offers(site.capabilities()),
        NOW,
    )
    (report,) = Desk(request, site=site).make(NOW)
    assert len(encode(UpdateReport(request_id="u1", reports=(report,), ven_id=VEN))) < 1_000_000


def test_rpt_18_a_history_of_duration_zero_reaches_to_the_present() -> None:
    desk = Desk(history(NOW - HOUR, timedelta(0)))
    assert periods(desk.make(NOW)) == [(NOW - HOUR, HOUR)]


def test_a_history_ends_where_the_request_came_and_waits_for_the_meter() -> None:
    desk = Desk(history(NOW - HOUR, 5 * HOUR))
    assert desk.make(NOW, complete_until=NOW - QUARTER) == []
    assert periods(desk.make(NOW + HOUR)) == [(NOW - HOUR, HOUR)]


def test_a_history_of_the_future_is_finished_without_a_report() -> None:
    desk = Desk(history(NOW + HOUR, HOUR))
    assert desk.make(NOW) == []
    assert not desk.requests


def test_rpt_16_a_single_telemetry_report_is_the_newest_complete_interval() -> None:
    desk = Desk(held(start=None, back=timedelta(0), now=NOW + timedelta(minutes=20)))
    (report,) = desk.make(NOW + timedelta(minutes=20))
    assert periods([report]) == [(NOW, QUARTER)]
    assert len(report.intervals) == 1
    assert not desk.requests


def offer_request(**more: object) -> HeldRequest:
    return held(OFFER, back=HOUR, r_ids=("offer",), **more)


def test_an_offer_is_due_on_its_rhythm_and_looks_ahead() -> None:
    desk = Desk(offer_request())
    assert periods(desk.make(NOW)) == [(NOW, DAY)]
    assert desk.make(NOW + timedelta(minutes=59)) == []
    assert periods(desk.make(NOW + HOUR)) == [(NOW + HOUR, DAY)]


def test_of_offers_missed_only_the_newest_is_made() -> None:
    desk = Desk(offer_request())
    assert periods(desk.make(NOW + 8 * HOUR + QUARTER)) == [(NOW + 8 * HOUR, DAY)]


def test_an_offer_that_starts_later_waits_and_one_that_ends_stops() -> None:
    desk = Desk(offer_request(start=NOW + HOUR, length=2 * HOUR))
    assert desk.make(NOW) == []
    assert periods(desk.make(NOW + HOUR)) == [(NOW + HOUR, DAY)]
    assert periods(desk.make(NOW + 9 * HOUR)) == [(NOW + 2 * HOUR, DAY)]
    assert not desk.requests


def test_rpt_39_cancelling_drops_what_can_be_and_names_what_cannot() -> None:
    changed = cancel({"a": held(), "b": held()}, ["a", "c"], follow=False, request_id="x1")
    assert list(changed.requests) == ["b"]
    assert (changed.response.code, changed.response.request_id) == ("452", "x1")


@pytest.mark.parametrize("minutes", [0, 5, 20, 40])
def test_rpt_40_a_cancelled_report_to_follow_is_exactly_one_more(minutes: int) -> None:
    now = NOW + timedelta(minutes=minutes)
    desk = Desk(held(back=HOUR))
    desk.requests = cancel(desk.requests, ["ask-TELEMETRY_USAGE"], follow=True, request_id="x1").requests
    reports = desk.make(now)
    assert len(reports) == 1
    assert not desk.requests
    start, length = periods(reports)[0]
    assert start + length == NOW + timedelta(minutes=minutes // 15 * 15)


def test_rpt_40_an_offer_and_a_history_follow_once_too() -> None:
    desk = Desk(offer_request(), history(NOW - 3 * DAY, 3 * DAY))
    desk.make(NOW)
    desk = Desk(offer_request(), history(NOW - 3 * DAY, 3 * DAY))
    desk.requests = cancel(desk.requests, list(desk.requests), follow=True, request_id="x1").requests
    assert len(desk.make(NOW)) == 2
    assert not desk.requests


def test_a_request_whose_capability_is_gone_makes_nothing_until_it_is_back() -> None:
    desk = Desk(held(), site=Site(offered=[capability(OFFER, "offer")]))
    assert desk.make(NOW + HOUR) == []
    desk.site.offered = all_capabilities()
    assert len(desk.make(NOW + HOUR)) == 4


def test_a_busy_request_makes_no_more_reports() -> None:
    desk = Reporting(Site(complete_until=NOW + HOUR), OFFERS, Limits(), VEN, lambda: "u1", NOW + HOUR)
    requests, made = make_reports({"ask-TELEMETRY_USAGE": held()}, desk, busy={"ask-TELEMETRY_USAGE"})
    assert made == []
    assert requests["ask-TELEMETRY_USAGE"] == held()
