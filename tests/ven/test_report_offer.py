"""What the VEN offers, what it accepts, and the values that it sends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from openadr import (
    ActivePeriod,
    CreatedReport,
    Duration,
    ItemBase,
    LoadControlState,
    LoadControlValue,
    Poll,
    RegisterReport,
    Report,
    ReportRequest,
    ResourceStatus,
    Target,
    UpdateReport,
)
from openadr.enums import DataQuality, OptType
from openadr.interval import END_OF_TIME
from openadr.rules import check
from openadr.timeline import Timeline
from tests.ven.conversation import SETTINGS, make_session, ready, talk
from tests.ven.messages import HOUR, VEN, ask, create_report, make_event, metadata_taken, ok
from tests.ven.site import HISTORY, NOW, OFFER, QUARTER, USAGE, Site, all_capabilities, capability
from tests.ven.test_report import Desk, held
from ven.facility import Capability, Reading, Unit
from ven.numbered import NumberedPoints
from ven.offer import metadata, offers
from ven.report import accept

STATUS = "TELEMETRY_STATUS"
ONCE = timedelta(0)


def described(*capabilities: Capability) -> Report:
    (report,) = metadata(capabilities, "m1", VEN, NOW, None).reports
    return report


@pytest.mark.criterion("RPT-03", "RPT-06", "RPT-08", "RPT-10", "RPT-19", "RPT-45", who="ven")
def test_metadata_keep_the_rules_and_say_what_a_point_is_of() -> None:
    state = capability(STATUS, "state", unit=Unit.STATUS, resource_id="home-01")
    assert check(metadata([*all_capabilities(), state], "m1", VEN, NOW, None)) == []
    report = described(state)
    (point,) = report.report_descriptions
    assert (report.report_name, point.item_base) == ("METADATA_TELEMETRY_STATUS", None)
    assert (point.report_type, point.reading_type) == ("x-resourceStatus", "x-notApplicable")
    assert (point.report_data_source, point.report_subject) == (Target(resource_id=("home-01",)), None)
    assert point.sampling_rate is not None
    assert point.sampling_rate.on_change
    narrow = capability(HISTORY, "load", device_class="Thermostat", market_context="http://p.test/a")
    (point,) = described(narrow).report_descriptions
    assert point.report_subject == Target(end_device_asset=("Thermostat",))
    assert (point.market_context, point.item_base) == ("http://p.test/a", ItemBase.energy_real())
    assert point.sampling_rate is not None
    assert not point.sampling_rate.on_change


def test_rpt_05_a_site_that_offers_an_r_id_twice_in_a_report_is_refused() -> None:
    with pytest.raises(ValueError, match="'load' is twice"):
        make_session(site=Site(offered=[capability(USAGE, "load")] * 2))


def specified(request: ReportRequest, specifier: str) -> ReportRequest:
    changed = replace(request.report_specifier, report_specifier_id=specifier)
    return replace(request, report_specifier=changed)


def sampled(request: ReportRequest, granularity: Duration) -> ReportRequest:
    return replace(request, report_specifier=replace(request.report_specifier, granularity=granularity))


CODES = {
    "an unknown specifier": (specified(ask(), "other"), "452"),
    "RPT-47 a report of the standard that is not offered": (specified(ask(), "HISTORY_GREENBUTTON"), "461"),
    "RPT-10 a report of somebody else's own": (specified(ask(), "x-COMFORT"), "461"),
    "an unknown rID": (ask(r_ids=("other",)), "452"),
    "an rID of another report": (ask(r_ids=("offer",)), "461"),
    "RPT-20 rarer than the data are kept": (ask(back=timedelta(days=29)), "454"),
    "telemetry from the end of time": (ask(start=END_OF_TIME), "454"),
    "telemetry of a negative length": (ask(length=-HOUR), "454"),
    "a history in negative steps": (ask(HISTORY, back=ONCE, granularity=-QUARTER), "454"),
    "a history in steps of 200 years": (
        sampled(ask(HISTORY, back=ONCE), Duration(36_600 * 86_400, months=1200)),
        "454",
    ),
    "a history from the end of time": (ask(HISTORY, back=ONCE, start=END_OF_TIME), "454"),
}


@pytest.mark.parametrize(("request_", "code"), CODES.values(), ids=CODES.keys())
@pytest.mark.criterion("RPT-13", "RPT-10", "RPT-20", "RPT-21", "RPT-44", "RPT-47", who="ven")
def test_what_is_not_offered_is_refused_and_the_rest_taken(request_: ReportRequest, code: str) -> None:
    session = ready()
    good = ask(OFFER, r_ids=("offer",), back=HOUR)
    _, created = talk(session, create_report(request_, good), ok())
    assert isinstance(created, CreatedReport)
    assert (created.response.code, created.pending_reports) == (code, (f"ask-{OFFER}",))


def test_no_request_that_is_taken_makes_the_calendar_overflow() -> None:
    longest = Duration(36_600 * 86_400, months=1200)
    for start in (datetime(1, 1, 1, 0, 0, 1, tzinfo=UTC), END_OF_TIME - timedelta(days=211 * 366)):
        odd = replace(capability(HISTORY, "load"), min_period=timedelta(minutes=7))
        site = Site(offered=[*all_capabilities()[:2], odd])
        offered = offers(site.capabilities())
        short = ask(HISTORY, back=ONCE, granularity=ONCE, start=start, length=timedelta(seconds=1))
        assert Desk(accept(short, offered, NOW), site=site).make(NOW) == []
        forever = ask(start=start)
        interval = ActivePeriod(dtstart=start, duration=longest)
        forever = replace(
            forever, report_specifier=replace(forever.report_specifier, report_interval=interval)
        )
        assert Desk(accept(forever, offered, NOW)).make(NOW) == []


def test_metadata_asked_for_backwards_in_time_are_sent_once() -> None:
    session = ready()
    _, _, sent = talk(session, create_report(ask("METADATA", back=-HOUR)), ok(), metadata_taken())
    assert isinstance(sent, RegisterReport)
    assert session.due(NOW) == [Poll(VEN)]


@pytest.mark.criterion("RPT-16", "RPT-17", who="ven")
def test_a_single_report_of_telemetry_ignores_granularity_and_interval() -> None:
    for granularity in (ONCE, timedelta(seconds=7), timedelta(days=3)):
        request = ask(back=ONCE, granularity=granularity, start=NOW + 9 * HOUR, length=HOUR)
        taken = accept(request, offers(all_capabilities()), NOW)
        (report,) = Desk(taken).make(NOW + QUARTER)
        assert (report.dtstart, len(report.intervals)) == (NOW, 1)


@pytest.mark.criterion("RPT-33", "RPT-18", who="ven")
@pytest.mark.parametrize("minutes", [0, 4, 14])
def test_as_many_reports_and_intervals_as_the_arithmetic_says_within_one(minutes: int) -> None:
    start = NOW + timedelta(minutes=minutes)
    desk = Desk(held(start=start, length=3 * HOUR, back=HOUR))
    reports = desk.make(NOW + 9 * HOUR)
    assert abs(len(reports) - 3) <= 1
    assert abs(sum(len(report.intervals) for report in reports) - 12) <= 1
    assert reports[0].dtstart is not None
    assert ONCE <= reports[0].dtstart - start < QUARTER


def control(**parts: float) -> LoadControlState:
    return LoadControlState(**{name: LoadControlValue(current=value) for name, value in parts.items()})


class States(Site):
    """A resource whose states are given; the rest is missing."""

    def __init__(self, *states: ResourceStatus | None) -> None:
        super().__init__(offered=[capability(STATUS, "state", unit=Unit.STATUS, resource_id="home-01")])
        self.states = states

    def read(
        self, report_name: str, r_ids: Sequence[str], start: datetime, end: datetime
    ) -> Sequence[Reading]:
        steps = enumerate(self.states)
        times = [(NOW + step * QUARTER, state) for step, state in steps if state]
        return [Reading("state", at, QUARTER, 0.0, status=state) for at, state in times if start <= at < end]


def report_of(site: Site, **how: object) -> Report:
    request = ask(STATUS, r_ids=("state",), back=HOUR, **how)  # type: ignore[arg-type] - fields by name
    (report,) = Desk(accept(request, offers(site.capabilities()), NOW), site=site).make(NOW + HOUR)
    assert check(UpdateReport(request_id="u", reports=(report,))) == []
    return report


@pytest.mark.criterion("RPT-26", "RPT-28", "RPT-29", "RPT-30", who="ven")
def test_states_are_given_for_instants_with_the_same_parts_and_a_placeholder_where_one_is_missing() -> None:
    both = ResourceStatus(
        online=True, manual_override=False, load_control_state=control(capacity=1, set_point=20)
    )
    one = ResourceStatus(online=True, manual_override=True, load_control_state=control(set_point=21))
    report = report_of(States(both, one, both, one))
    found = [payload for interval in report.intervals for payload in interval.payloads]
    parts = [payload.resource_status.load_control_state for payload in found if payload.resource_status]
    assert parts == [control(set_point=20), control(set_point=21)] * 2
    assert {(payload.accuracy, payload.confidence) for payload in found} == {(None, None)}
    assert [interval.dtstart for interval in report.intervals] == [NOW + step * QUARTER for step in range(4)]
    report = report_of(States(both, None, both, both))
    missing = report.intervals[1].payloads[0]
    assert missing.resource_status == ResourceStatus(online=False, manual_override=False)
    assert missing.data_quality == DataQuality.BAD


@pytest.mark.criterion("RPT-19", who="ven")
def test_on_change_a_state_that_stays_says_so() -> None:
    on = ResourceStatus(online=True, manual_override=False)
    off = ResourceStatus(online=False, manual_override=False)
    report = report_of(States(on, on, off, off), granularity=ONCE)
    same = DataQuality.PREVIOUS_VALUE
    qualities = [interval.payloads[0].data_quality for interval in report.intervals]
    assert qualities == [DataQuality.GOOD, same, DataQuality.GOOD, same]


@pytest.mark.criterion("RPT-29", who="ven")
@pytest.mark.parametrize(("unit", "accuracy"), [(Unit.ENERGY_WH, 10.0), (Unit.POWER_W, 2.5)])
def test_accuracy_of_a_sum_is_that_of_its_parts_and_confidence_the_least(unit: Unit, accuracy: float) -> None:
    site = Site(offered=[capability(USAGE, "load", unit=unit)])
    parts = [
        Reading("load", NOW + step * QUARTER, QUARTER, 5.0, accuracy=float(step + 1), confidence=90 + step)
        for step in range(4)
    ]
    site.read = lambda *_: parts  # type: ignore[method-assign] - a meter that knows its faults
    request = ask(granularity=HOUR, back=HOUR)
    desk = Desk(accept(request, offers(site.capabilities()), NOW), site=site)
    (report,) = desk.make(NOW + HOUR)
    payload = report.intervals[0].payloads[0]
    assert (payload.accuracy, payload.confidence) == (accuracy, 90)
    parts[2] = Reading("load", parts[2].start, QUARTER, 5.0)
    desk = Desk(accept(request, offers(site.capabilities()), NOW), site=site)
    (report,) = desk.make(NOW + HOUR)
    payload = report.intervals[0].payloads[0]
    assert (payload.accuracy, payload.confidence) == (None, None)


@pytest.mark.criterion("RPT-48", who="ven")
def test_points_have_three_digits_where_that_is_set() -> None:
    site = Site()
    session = make_session(site=site, settings=replace(SETTINGS, numbered_points=True))
    assert [point.r_id for point in NumberedPoints(site).capabilities()] == [
        "001",
        "000",
        "001",
        "000",
        "002",
    ]
    numbered = NumberedPoints(site)
    (plain,) = site.read(USAGE, ["home-01"], NOW, NOW + QUARTER)
    assert numbered.read(USAGE, ["000", "999"], NOW, NOW + QUARTER) == [replace(plain, r_id="000")]
    assert numbered.watermark(USAGE) == site.watermark(USAGE)
    assert numbered.decide(make_event(), NOW) is OptType.OPT_IN
    numbered.follow(Timeline.from_events(()))
    assert len(site.timelines) == 1
    assert session.state == "unregistered"
    site.offered = [capability(USAGE, "new"), *all_capabilities()]
    assert len(numbered.capabilities()) == len(all_capabilities())


def test_more_points_than_three_digits_have_are_refused() -> None:
    with pytest.raises(ValueError, match="1001 data points"):
        NumberedPoints(Site(offered=[capability(USAGE, f"p{number}") for number in range(1001)]))
