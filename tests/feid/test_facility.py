"""The box as its VEN sees it: readings as they were metered, offers as they were issued, events within the
limits.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feid.devices import Device, DeviceKind
from feid.facility import OFFER_REPORT, NodeFacility
from feid.flexibility import AHEAD, FORECAST
from feid.guard import Limits
from feid.metering import COMPLETE_UNTIL
from feid.store import QUARTER_HOUR, OfferedQuarter, Register, Store
from openadr import Duration, Event, Target
from openadr.enums import OptType, SignalType
from openadr.timeline import Timeline
from tests.feid.town import event
from ven.facility import Facility, Unit

NOW = datetime(2026, 1, 20, 14, tzinfo=UTC)
START = NOW + timedelta(hours=3)
GOOD, BAD = "Quality Good - Non Specific", "Quality Bad - Sensor Failure"
DEVICES = (Device("home-01/battery", "home-01", DeviceKind.BATTERY, 5.0, -5.0, 10.0),)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "feid.sqlite")


@pytest.fixture
def followed() -> list[Timeline]:
    return []


@pytest.fixture
def facility(store: Store, followed: list[Timeline]) -> NodeFacility:
    return NodeFacility(store, Limits(max_event_hours=4.0), DEVICES, ("home-01", "home-02"), followed.append)


def meter(store: Store, qualities: Sequence[str] = (GOOD, GOOD)) -> None:
    registers = [
        Register(home, NOW + QUARTER_HOUR * n, 100 + n, 50, quality)
        for n in range(2)
        for home, quality in zip(("home-01", "home-02"), qualities, strict=True)
    ]
    store.keep_registers(registers, (COMPLETE_UNTIL, NOW + QUARTER_HOUR * 2))


def offer(store: Store, issued: datetime = NOW, offer_wh: int = 500) -> None:
    count = FORECAST // QUARTER_HOUR
    store.keep_offer(
        issued, [OfferedQuarter(issued + QUARTER_HOUR * n, 1000 + n, offer_wh) for n in range(count)]
    )


def test_it_is_what_a_ven_needs(facility: NodeFacility) -> None:
    ven_side: Facility = facility
    points = {(c.report_name, c.r_id): c for c in ven_side.capabilities()}
    homes = ("load", "home-01", "home-02")
    assert list(points) == [
        *(("TELEMETRY_USAGE", r_id) for r_id in homes),
        *(("HISTORY_USAGE", r_id) for r_id in homes),
        (OFFER_REPORT, "load_forecast"),
        (OFFER_REPORT, "offer"),
        *(("TELEMETRY_STATUS", r_id) for r_id in homes[1:]),
    ]
    assert {c.unit for c in points.values()} == {Unit.ENERGY_WH, Unit.STATUS}
    assert points["TELEMETRY_USAGE", "load"].resource_id is None
    assert points["TELEMETRY_USAGE", "home-02"].resource_id == "home-02"
    assert points[OFFER_REPORT, "offer"].ahead == AHEAD


@pytest.mark.parametrize("name", ["TELEMETRY_USAGE", "HISTORY_USAGE"])
def test_the_node_s_load_is_the_sum_of_its_homes(facility: NodeFacility, store: Store, name: str) -> None:
    meter(store)
    readings = facility.read(name, ["load", "home-02"], NOW, NOW + QUARTER_HOUR * 2)
    assert [(r.r_id, r.start, r.value, r.quality) for r in readings] == [
        ("load", NOW, 200.0, GOOD),
        ("load", NOW + QUARTER_HOUR, 202.0, GOOD),
        ("home-02", NOW, 100.0, GOOD),
        ("home-02", NOW + QUARTER_HOUR, 101.0, GOOD),
    ]
    assert facility.watermark(name) == NOW + QUARTER_HOUR * 2


def test_one_bad_home_shows_in_the_node_s_quality(facility: NodeFacility, store: Store) -> None:
    meter(store, (GOOD, BAD))
    readings = facility.read("TELEMETRY_USAGE", ["load", "home-01"], NOW, NOW + QUARTER_HOUR)
    assert [r.quality for r in readings] == [BAD, GOOD]


def test_what_is_not_reported_is_empty(facility: NodeFacility, store: Store) -> None:
    meter(store)
    assert facility.read("x-OTHER", ["load"], NOW, NOW + QUARTER_HOUR) == []
    assert facility.read("TELEMETRY_USAGE", ["home-77"], NOW, NOW + QUARTER_HOUR) == []
    assert facility.read(OFFER_REPORT, ["offer"], NOW, NOW + AHEAD) == []
    assert facility.watermark("x-OTHER") is None
    assert facility.watermark(OFFER_REPORT) is None


def test_an_offer_is_read_as_it_was_issued_also_when_a_newer_one_is_there(
    facility: NodeFacility, store: Store
) -> None:
    offer(store, NOW, 500)
    offer(store, NOW + timedelta(hours=1), 700)
    readings = facility.read(
        OFFER_REPORT, ["load_forecast", "offer"], NOW + QUARTER_HOUR, NOW + QUARTER_HOUR + AHEAD
    )
    assert {r.value for r in readings if r.r_id == "offer"} == {500.0}
    assert [r.value for r in readings if r.r_id == "load_forecast"][:2] == [1001.0, 1002.0]
    assert len(readings) == 2 * (AHEAD // QUARTER_HOUR)


def test_a_report_waits_for_the_offer_of_its_own_hour(facility: NodeFacility, store: Store) -> None:
    hour = timedelta(hours=1)
    offer(store, NOW, 500)
    until = facility.watermark(OFFER_REPORT)
    assert until is not None
    assert NOW + hour - QUARTER_HOUR + AHEAD <= until < NOW + hour + AHEAD
    offer(store, NOW + hour, 700)
    until = facility.watermark(OFFER_REPORT)
    assert until is not None
    assert until >= NOW + hour + AHEAD


def open_ended(of: Event) -> Event:
    return replace(of, active_period=replace(of.active_period, duration=Duration(0)))


def of_homes(*homes: str) -> Event:
    return replace(event(START, -1000.0), target=Target(resource_id=homes))


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        pytest.param(event(START, -1900.0), OptType.OPT_IN, id="what is offered"),
        pytest.param(event(START, -2900.0), OptType.OPT_IN, id="a little more than is offered"),
        pytest.param(event(START, -3100.0), OptType.OPT_OUT, id="much more than is offered"),
        pytest.param(event(START, -9e9, test="true"), OptType.OPT_IN, id="a test, whatever it asks"),
        pytest.param(event(NOW - timedelta(hours=1), -1000.0), OptType.OPT_IN, id="an event that runs"),
        pytest.param(event(NOW - timedelta(hours=2), -1000.0), OptType.OPT_OUT, id="an event that is over"),
        pytest.param(event(START, -1000.0, hours=4.1), OptType.OPT_OUT, id="longer than the limits"),
        pytest.param(open_ended(event(START, -1.0)), OptType.OPT_OUT, id="without an end"),
        pytest.param(of_homes("home-02", "home-09"), OptType.OPT_IN, id="for one of the homes"),
        pytest.param(of_homes("home-09"), OptType.OPT_OUT, id="for none of the homes"),
        pytest.param(
            event(START, 3.0, name="SIMPLE", kind=SignalType.LEVEL), OptType.OPT_IN, id="all that is offered"
        ),
    ],
)
def test_an_event_is_decided_by_limits_and_offer(
    facility: NodeFacility, store: Store, asked: Event, answer: OptType
) -> None:
    offer(store, NOW - timedelta(hours=2))
    assert facility.decide(asked, NOW) is answer


def test_without_an_offer_the_plates_decide(facility: NodeFacility) -> None:
    assert facility.decide(event(START, -5000.0), NOW) is OptType.OPT_IN
    assert facility.decide(event(START, -8000.0), NOW) is OptType.OPT_OUT


def test_an_opt_out_says_why_in_the_log(facility: NodeFacility, caplog: pytest.LogCaptureFixture) -> None:
    facility.decide(event(START, -1000.0, hours=5.0), NOW)
    assert "e-1 is not followed: it lasts 5 h, at most 4 h are followed" in caplog.text


def test_what_is_to_be_followed_is_handed_on(facility: NodeFacility, followed: list[Timeline]) -> None:
    timeline = Timeline.from_events([event(START, -1.0)])
    facility.follow(timeline)
    assert followed == [timeline]
