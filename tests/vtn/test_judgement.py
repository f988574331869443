"""A series of values is judged by columns as each of its values would be."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openadr import Duration, Report, ReportInterval, ReportPayload, UpdateReport, decode, encode
from openadr.alike import Series
from openadr.enums import DataQuality
from tests.vtn.desk import NOW, USAGE
from vtn import judgement
from vtn.judgement import Expected, Judged, judge

COUNT = 50
MINUTE = timedelta(minutes=1)
EXPECTED = Expected(USAGE, frozenset({"load", 'ho"me'}), None, None)


def arrived(
    *r_ids: str,
    start: datetime = NOW - 2 * COUNT * MINUTE,
    duration: Duration | None = Duration(60),  # noqa: B008 - it is frozen
    odd: float = 1.0,
    at: int = 7,
    quality: DataQuality | None = None,
) -> Report:
    """A report as it is decoded; one value is odd."""
    made = Report(
        intervals=tuple(
            ReportInterval(
                dtstart=start + number * MINUTE,
                duration=duration,
                payloads=tuple(
                    ReportPayload(
                        r_id=r_id,
                        payload_float=odd if number == at else 0.1 * number + len(r_id),
                        data_quality=quality,
                    )
                    for r_id in r_ids
                ),
            )
            for number in range(COUNT)
        ),
        report_request_id="ask",
        report_specifier_id="spec",
        created_date_time=NOW,
    )
    message = decode(encode(UpdateReport(request_id="u", reports=(made,))))
    assert isinstance(message, UpdateReport)
    return message.reports[0]


def one_by_one(report: Report, expected: Expected = EXPECTED) -> Judged:
    return judge(replace(report, intervals=tuple(report.intervals)), expected, NOW)


def same(one: Judged, other: Judged) -> bool:
    """In all but the order of the good values, which are of different points then."""
    alike = [replace(judged, kept=judgement.Columns((), (), (), (), ())) for judged in (one, other)]
    return alike[0] == alike[1] and sorted(one.good) == sorted(other.good)


DURATIONS = [None, Duration(0), Duration(60), Duration(-60), Duration(0, months=1)]


@pytest.mark.parametrize("duration", DURATIONS, ids=str)
def test_series_of_any_duration_is_judged_as_its_values_are(duration: Duration | None) -> None:
    report = arrived("load", duration=duration)
    judged = judge(report, EXPECTED, NOW)
    assert len(judged.good) == COUNT
    assert same(judged, one_by_one(report))


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(["load", 'ho"me']), min_size=1, max_size=3),
    st.sampled_from(DURATIONS),
    st.floats(-1.2e9, 1.2e9) | st.integers(-(10**14), 10**14).map(float),
    st.sampled_from([None, *DataQuality]),
)
def test_series_is_judged_as_its_values_are(
    r_ids: list[str], duration: Duration | None, odd: float, quality: DataQuality | None
) -> None:
    report = arrived(*r_ids, duration=duration, odd=odd, quality=quality)
    assert same(judge(report, EXPECTED, NOW), one_by_one(report))


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (arrived("load", start=NOW - judgement.PAST - MINUTE), "the time is not in"),
        (arrived("load", start=NOW + judgement.FUTURE - (COUNT - 2) * MINUTE), "the time is not in"),
        (arrived("load", odd=1.1e9), "the value is out of range"),
        (arrived("load", odd=-1.1e9), "the value is out of range"),
        (arrived("load", "lead"), "the data point was not asked for"),
        (arrived("load", duration=Duration(36 * 86_400)), "the duration is longer"),
    ],
    ids=["too old", "in the future", "too much", "too little", "unknown point", "too long"],
)
def test_faults_in_a_series_are_found(report: Report, reason: str) -> None:
    assert isinstance(report.intervals, Series)
    judged = judge(report, EXPECTED, NOW)
    assert {text[: len(reason)] for _, text in judged.bad} == {reason}
    assert same(judged, one_by_one(report))


def test_series_is_not_taken_apart() -> None:
    """The point of it: nobody has looked at the intervals."""
    report = arrived("load", 'ho"me')
    assert isinstance(report.intervals, Series)
    assert len(judge(report, EXPECTED, NOW).good) == 2 * COUNT
    assert report.intervals._made is None


def test_what_is_not_a_number_is_no_series() -> None:
    report = arrived("load", odd=math.nan)
    assert not isinstance(report.intervals, Series)
    assert [text for _, text in judge(report, EXPECTED, NOW).bad] == ["the value is not a finite number"]
