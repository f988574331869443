"""Periods are half-open on every grid: each value is in one report, under its own time (RPT-18, RPT-33)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import pytest

from openadr import Report, UpdateReport
from openadr.enums import DataQuality
from openadr.rules import check
from tests.ven.messages import HOUR, VEN, ask
from tests.ven.site import HISTORY, NOW, OFFER, QUARTER, Site, all_capabilities, capability, energy_wh
from tests.ven.test_report import DAY, Desk, held, history, periods
from ven.errors import RefusedRequestError
from ven.facility import Reading
from ven.report import Limits, accept, due_at, offers

MINUTE = timedelta(minutes=1)
ONCE = timedelta(0)


class Greedy(Site):
    """A site that gives what begins at the end of a period too."""

    def read(
        self, report_name: str, r_ids: Sequence[str], start: datetime, end: datetime
    ) -> Sequence[Reading]:
        return super().read(report_name, r_ids, start, end + QUARTER)


def told(reports: Sequence[Report]) -> Iterator[tuple[datetime, timedelta, float | None, str | None]]:
    """Start, length, value and quality of each interval."""
    for report in reports:
        assert check(UpdateReport(request_id="u", reports=(report,), ven_id=VEN)) == []
        for interval in report.intervals:
            assert interval.dtstart is not None
            assert interval.duration is not None
            (value,) = interval.payloads
            yield (
                interval.dtstart,
                interval.duration.to_timedelta(),
                value.payload_float,
                value.data_quality,
            )


def counted(start: datetime, length: timedelta) -> tuple[datetime, timedelta, float, str]:
    """What stands in an interval, by the meter itself."""
    steps = [start + k * QUARTER for k in range(length // QUARTER)]
    return start, length, sum(energy_wh("load", at) for at in steps), DataQuality.GOOD


@pytest.mark.criterion("RPT-18", "RPT-33", who="ven")
@pytest.mark.parametrize("minutes", [0, 5, 15, 50])
def test_histories_that_meet_have_each_value_once(minutes: int) -> None:
    start, edge = NOW - 3 * HOUR, NOW - 2 * HOUR + minutes * MINUTE
    desk = Desk(history(start, edge - start), site=Greedy())
    first = list(told(desk.make(NOW)))
    desk = Desk(history(edge, NOW - edge), site=Greedy())
    second = list(told(desk.make(NOW)))
    assert first + second == [counted(start + k * QUARTER, QUARTER) for k in range(12)]
    assert all(at < edge for at, *_ in first)  # what begins at the very end belongs to the next
    assert all(at >= edge for at, *_ in second)


def test_a_history_in_long_steps_has_a_shorter_last_one_and_nothing_beyond_its_end() -> None:
    request = ask(HISTORY, start=NOW - 2 * HOUR, length=90 * MINUTE, back=ONCE, granularity=HOUR)
    desk = Desk(accept(request, offers(all_capabilities()), NOW), site=Greedy())
    (report,) = desk.make(NOW)
    assert list(told([report])) == [
        counted(NOW - 2 * HOUR, HOUR),
        counted(NOW - HOUR, 2 * QUARTER),
    ]
    assert report.duration is not None
    assert report.duration.to_timedelta() == 90 * MINUTE


def test_the_parts_of_a_history_are_cut_between_its_steps() -> None:
    request = ask(HISTORY, start=NOW - 2 * DAY, length=2 * DAY, back=ONCE, granularity=45 * MINUTE)
    desk = Desk(accept(request, offers(all_capabilities()), NOW), limits=Limits(part=HOUR))
    assert list(told(desk.make(NOW))) == [
        counted(NOW - 2 * DAY + k * 3 * QUARTER, 3 * QUARTER) for k in range(64)
    ]


def test_a_history_in_steps_that_the_meter_does_not_have_is_refused() -> None:
    request = ask(HISTORY, start=NOW - HOUR, length=HOUR, back=ONCE, granularity=20 * MINUTE)
    with pytest.raises(RefusedRequestError, match="multiple") as refusal:
        accept(request, offers(all_capabilities()), NOW)
    assert refusal.value.code == "454"


@pytest.mark.criterion("RPT-15", "RPT-18", "RPT-33", who="ven")
@pytest.mark.parametrize(("step", "back"), [(45, 60), (0, 20), (15, 40), (60, 90), (0, 5)])
def test_a_rhythm_that_is_no_multiple_of_the_step_carries_whole_steps_under_their_own_times(
    step: int, back: int
) -> None:
    desk = Desk(held(granularity=step * MINUTE, back=back * MINUTE), site=Greedy())
    request, offer = desk.requests["ask-TELEMETRY_USAGE"], offers(all_capabilities())["spec-TELEMETRY_USAGE"]
    first = max(back, step or 15)
    assert NOW + first * MINUTE <= due_at(request, offer) <= NOW + (first + back) * MINUTE
    found = []
    for minute in range(0, 6 * 60 + 1, 5):
        found += list(told(desk.make(NOW + minute * MINUTE)))
    length = step * MINUTE or QUARTER
    assert len(found) >= (6 * HOUR - back * MINUTE) // length
    assert [(at, span, value) for at, span, value, _ in found] == [
        counted(NOW + k * length, length)[:3] for k in range(len(found))
    ]
    assert DataQuality.BAD not in {quality for *_, quality in found}


def test_a_period_that_ends_between_two_marks_of_the_meter_waits_for_its_last_value() -> None:
    desk = Desk(held(start=NOW, length=40 * MINUTE, back=QUARTER))
    found = list(told(desk.make(NOW + 40 * MINUTE)))
    found += list(told(desk.make(NOW + HOUR)))
    assert found == [counted(NOW + k * QUARTER, QUARTER) for k in range(3)]
    assert not desk.requests


@pytest.mark.parametrize("minutes", [20, 25])
def test_a_forecast_due_between_two_marks_begins_at_the_next(minutes: int) -> None:
    desk = Desk(held(OFFER, back=minutes * MINUTE, r_ids=("offer",)))
    desk.make(NOW)
    (report,) = desk.make(NOW + minutes * MINUTE)
    assert periods([report]) == [(NOW + 2 * QUARTER, DAY)]
    assert report.intervals[0].payloads[0].payload_float == energy_wh("offer", NOW + 2 * QUARTER)


def test_a_last_report_of_long_steps_ends_with_what_is_known() -> None:
    desk = Desk(held(granularity=HOUR, back=2 * HOUR))
    (request,) = desk.requests.values()
    desk.requests = {request.request_id: type(request)(request.request, NOW, NOW, final=True)}
    assert list(told(desk.make(NOW + 90 * MINUTE))) == [
        counted(NOW, HOUR),
        counted(NOW + HOUR, 2 * QUARTER),
    ]


def test_periods_left_out_after_an_outage_begin_at_a_whole_step() -> None:
    desk = Desk(held(granularity=45 * MINUTE, back=HOUR), limits=Limits(catch_up=2 * HOUR), site=Greedy())
    (first, *_) = told(desk.make(NOW + 10 * HOUR))
    assert first == counted(NOW + 10 * 45 * MINUTE, 45 * MINUTE)


def test_an_odd_meter_has_odd_marks() -> None:
    odd = [capability(HISTORY, "load", min_period=QUARTER, max_period=30 * MINUTE)]
    request = ask(HISTORY, start=NOW - HOUR, length=HOUR, back=ONCE, granularity=30 * MINUTE)
    desk = Desk(accept(request, offers(odd), NOW), site=Site(offered=odd))
    assert list(told(desk.make(NOW))) == [counted(NOW - k * 2 * QUARTER, 2 * QUARTER) for k in (2, 1)]
