"""Rules of reports that need more than the tables of test_rules: states, and data against their metadata."""

from __future__ import annotations

from dataclasses import replace

import pytest

from openadr import (
    Duration,
    ItemBase,
    LoadControlState,
    LoadControlValue,
    Report,
    ReportDescription,
    ReportInterval,
    ReportPayload,
    ResourceStatus,
    UpdateReport,
)
from openadr.report_request import longer
from openadr.report_rules import data_of
from openadr.rules import check
from tests.openadr.samples.parts import at, minutes

LEVEL = LoadControlState(level_offset=LoadControlValue(current=2.0))


def state(minute: int, control: LoadControlState | None = None, length: int | None = None) -> ReportInterval:
    status = ResourceStatus(online=True, manual_override=False, load_control_state=control)
    return ReportInterval(
        dtstart=at(minute),
        duration=None if length is None else minutes(length),
        payloads=(ReportPayload(r_id="state", resource_status=status),),
    )


def report(*intervals: ReportInterval, name: str = "TELEMETRY_STATUS") -> Report:
    return Report(
        dtstart=intervals[0].dtstart,
        intervals=intervals,
        report_request_id="r",
        report_specifier_id="s",
        report_name=name,
        created_date_time=at(0),
    )


def rules_of(made: Report) -> list[str]:
    return [finding.rule for finding in check(UpdateReport(request_id="r", reports=(made,)))]


def test_states_at_instants_with_the_same_parts_keep_the_rules() -> None:
    assert rules_of(report(state(0, LEVEL), state(5, LEVEL))) == []
    assert rules_of(report(state(0), state(5))) == []


def test_rpt_26_a_state_has_no_duration() -> None:
    assert rules_of(report(state(0, length=5))) == ["RPT-26"]


def test_rpt_30_parts_of_the_loads_control_do_not_come_and_go() -> None:
    assert rules_of(report(state(0, LEVEL), state(5))) == ["RPT-30"]


def value(length: int | None) -> Report:
    payloads = (ReportPayload(r_id="load", payload_float=1.0),)
    duration = None if length is None else minutes(length)
    intervals = tuple(ReportInterval(dtstart=at(n), duration=duration, payloads=payloads) for n in (0, 15))
    return report(*intervals, name="TELEMETRY_USAGE")


def offered(unit: ItemBase | None) -> Report:
    point = ReportDescription(r_id="load", report_type="usage", item_base=unit, reading_type="Direct Read")
    return replace(value(15), intervals=(), report_descriptions=(point,))


@pytest.mark.parametrize("unit", [ItemBase.energy_real(), ItemBase.pulse_count(0.1)])
def test_rpt_26_a_quantity_without_a_duration_is_blamed(unit: ItemBase) -> None:
    assert [finding.rule for finding in data_of(value(None), offered(unit))] == ["RPT-26"]
    assert list(data_of(value(15), offered(unit))) == []


@pytest.mark.parametrize("unit", [ItemBase.power(), None])
def test_rpt_26_other_units_may_be_points(unit: ItemBase | None) -> None:
    assert list(data_of(value(None), offered(unit))) == []


def test_a_single_interval_may_have_the_reports_duration() -> None:
    one = replace(value(None), intervals=value(None).intervals[:1], duration=minutes(15))
    assert list(data_of(one, offered(ItemBase.energy_real()))) == []


def test_a_month_is_longer_than_what_is_shorter_for_certain() -> None:
    month, day = Duration(0, 1), 86_400
    assert longer(month, Duration(27 * day))
    assert not longer(month, Duration(30 * day))
    assert longer(Duration(32 * day), month)
    assert not longer(Duration(30 * day), month)
