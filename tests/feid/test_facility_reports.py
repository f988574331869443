"""What the standard wants every VEN to report, from the box's own store."""

from datetime import timedelta
from pathlib import Path

import pytest

from feid.facility import STATUS_REPORT, NodeFacility
from feid.guard import Limits
from feid.metering import COMPLETE_UNTIL
from feid.store import QUARTER_HOUR, Register, Store
from openadr import ResourceStatus
from tests.feid.test_facility import BAD, DEVICES, GOOD, NOW
from ven.offer import metadata

POINTS = 120


@pytest.fixture
def facility(tmp_path: Path) -> NodeFacility:
    store = Store(tmp_path / "feid.sqlite")
    registers = [
        Register("home-01", NOW + QUARTER_HOUR * step, step, 0, BAD if step == 1 else GOOD)
        for step in range(POINTS)
    ]
    store.keep_registers(registers, (COMPLETE_UNTIL, NOW + QUARTER_HOUR * POINTS))
    return NodeFacility(store, Limits(max_event_hours=4.0), DEVICES, ("home-01",), lambda _: None)


@pytest.mark.criterion("RPT-45", who="ven")
def test_status_of_a_resource_and_usage_are_offered(facility: NodeFacility) -> None:
    offered = {
        report.report_name: report
        for report in metadata(facility.capabilities(), "m", "v", NOW, None).reports
    }
    assert {"METADATA_TELEMETRY_STATUS", "METADATA_TELEMETRY_USAGE"} <= set(offered)
    (point,) = offered["METADATA_TELEMETRY_STATUS"].report_descriptions
    assert point.report_data_source is not None
    assert point.report_data_source.resource_id == ("home-01",)


@pytest.mark.criterion("RPT-30", "RPT-45", who="ven")
def test_a_home_whose_meter_is_silent_is_not_online(facility: NodeFacility) -> None:
    readings = facility.read(STATUS_REPORT, ["home-01", "home-02"], NOW, NOW + 3 * QUARTER_HOUR)
    assert [reading.status for reading in readings] == [
        ResourceStatus(online=online, manual_override=False) for online in (True, False, True)
    ]
    assert facility.watermark(STATUS_REPORT) == NOW + QUARTER_HOUR * POINTS


@pytest.mark.criterion("RPT-32", who="ven")
def test_more_than_a_hundred_points_are_kept(facility: NodeFacility) -> None:
    readings = facility.read("HISTORY_USAGE", ["home-01"], NOW, NOW + timedelta(days=9))
    assert [reading.value for reading in readings] == [float(step) for step in range(POINTS)]
