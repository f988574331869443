"""Reported values taken out of a report and judged: when each holds, and what cannot be right.

Rules: a value that cannot be right does not hinder the rest of its report. What was judged is hashed whole,
as lines of JSON (data point, start, seconds, number as text, quality) and feeds as XML. No I/O here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import chain
from json.encoder import encode_basestring_ascii as quoted
from typing import NamedTuple

from openadr import Duration, Report, ReportInterval, ReportPayload, UpdateReport, encode
from openadr.alike import Series
from openadr.enums import DataQuality
from openadr.interval import END_OF_TIME, MAX_SECONDS
from vtn.journal import iso

PAST = timedelta(days=35)
FUTURE = timedelta(minutes=5)
SECOND = timedelta(seconds=1)  # the step of the instants in messages
FORECAST_FUTURE = timedelta(days=3)
LONGEST = timedelta(days=35)
"""What one value may hold for: any billing month; all that read it go through its quarter hours."""
LONGEST_S = LONGEST.total_seconds()
LAST_FREE_START = END_OF_TIME - timedelta(seconds=MAX_SECONDS)  # no duration from it overflows the calendar
MAX_ABS_VALUE = 1e9  # Wh or W: more than any site here can have
EVERY = (-MAX_ABS_VALUE, MAX_ABS_VALUE)
TWO = tuple(f"{number:02}" for number in range(60))  # hours, minutes, seconds as ISO 8601 writes them
GOOD = str(DataQuality.GOOD)


class Sample(NamedTuple):
    """A value as it came; `start` is None where the report does not say when it holds."""

    start: datetime | None
    r_id: str
    duration_s: float
    value: float
    quality: str


class Columns(NamedTuple):
    """Samples that have a start, by columns."""

    starts: Sequence[datetime]
    r_ids: Sequence[str]
    durations_s: Sequence[float]
    values: Sequence[float]
    qualities: Sequence[str]


@dataclass(frozen=True, slots=True)
class Expected:
    """What was asked for: which data points, and which period of a history (None: no bound)."""

    report_name: str
    r_ids: frozenset[str]
    start: datetime | None
    end: datetime | None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """The least and the greatest value of the data points that have a range of their own."""

    def allows(self, r_id: str, values: Sequence[float]) -> bool:
        """Whether the data point was asked for and can have these values."""
        least, most = self.ranges.get(r_id, EVERY)
        return r_id in self.r_ids and least <= min(values) and max(values) <= most


@dataclass(frozen=True, slots=True)
class Judged:
    """A report's values, told apart, the hash of all, and the period of the good ones (end excluded)."""

    kept: Columns
    bad: tuple[tuple[Sample, str], ...]
    unknown_r_id: bool
    sha256: str
    start: datetime | None
    end: datetime | None
    feeds: bytes | None = None
    """The whole report as an UpdateReport of its own, where it has Green Button feeds."""

    @property
    def good(self) -> tuple[Sample, ...]:
        """The values that are kept."""
        return tuple(map(Sample._make, zip(*self.kept, strict=True)))


def judge(report: Report, expected: Expected, now: datetime) -> Judged:
    """Tell the values that are kept from those that are quarantined. No I/O: fit for another thread."""
    window = _window(expected, now)
    series = report.intervals
    judged = _judge_series(series, expected, window) if isinstance(series, Series) else None
    return _judge_each(report, expected, window) if judged is None else judged


def _judge_series(series: Series, expected: Expected, window: tuple[datetime, datetime]) -> Judged | None:
    """What `_judge_each` says of a series without a fault, by columns; None where there may be one."""
    first = series.first
    span = _span(first.duration)
    duration_s = 0.0 if span is None else max(0.0, span.total_seconds())
    start, end = min(series.starts), max(series.starts)
    numbers = list(chain.from_iterable(series.values))
    if (
        (first.duration is not None and span is None)
        or not (duration_s <= LONGEST_S and window[0] <= start and end <= window[1])
        or not all(map(expected.allows, (payload.r_id for payload in first.payloads), series.values))
    ):
        return None
    r_ids, qualities, lines = [], [], []
    for payload, values in zip(first.payloads, series.values, strict=True):
        r_id, quality = payload.r_id, payload.data_quality or GOOD
        r_ids += [r_id] * len(values)
        qualities += [quality] * len(values)
        before, between, after = f'[{quoted(r_id)}, "', f'", {duration_s!r}, "', f'", {quoted(quality)}]\n'
        lines.append(
            [
                f"{before}{time}{between}{value!r}{after}"
                for time, value in zip(series.spelt, values, strict=True)
            ]
        )
    kept = Columns(series.starts * len(lines), r_ids, [duration_s] * len(numbers), numbers, qualities)
    text = "".join(chain.from_iterable(zip(*lines, strict=True)))
    return Judged(kept, (), False, _sha256(text), start, end + timedelta(seconds=duration_s))


def _judge_each(report: Report, expected: Expected, window: tuple[datetime, datetime]) -> Judged:
    good: list[Sample] = []
    bad: list[tuple[Sample, str]] = []
    first, last = window
    ranges = expected.ranges
    untimely = f"the time is not in {iso(first)} to {iso(last)}"
    lines: list[str] = []
    starts, ends = [], []
    for interval, start, duration_s in _times(report):
        timely = start is not None and duration_s <= LONGEST_S and first <= start <= last
        time, before = _text_of_time(start, duration_s), len(good)
        for sample in _samples(interval, start, duration_s):
            _, r_id, _, value, quality = sample
            lines.append(f'[{quoted(r_id)}, {time}, "{value!r}", {quoted(quality)}]\n')
            least, most = ranges.get(r_id, EVERY)
            if timely and r_id in expected.r_ids and least <= value <= most:
                good.append(sample)
            else:
                bad.append((sample, _fault(sample, expected) or untimely))
        if start is not None and len(good) > before:
            starts += [start] * (len(good) - before)
            ends.append(start + timedelta(seconds=duration_s))
    feeds = None
    if any(interval.feeds for interval in report.intervals):
        feeds = encode(UpdateReport(request_id="0", reports=(report,)))
        lines.append(feeds.decode())
    unknown = any(sample.r_id not in expected.r_ids for sample, _ in bad)
    _, *others = zip(*good, strict=True) if good else ((),) * len(Columns._fields)
    period = min(starts, default=None), max(ends, default=None)
    return Judged(Columns(starts, *others), tuple(bad), unknown, _sha256("".join(lines)), *period, feeds)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def samples(report: Report) -> Iterator[Sample]:
    """Every value with its time."""
    for interval, start, duration_s in _times(report):
        yield from _samples(interval, start, duration_s)


def _samples(interval: ReportInterval, start: datetime | None, duration_s: float) -> list[Sample]:
    return [
        Sample(start, payload.r_id, duration_s, _value(payload), payload.data_quality or GOOD)
        for payload in interval.payloads
    ]


def _times(report: Report) -> Iterator[tuple[ReportInterval, datetime | None, float]]:
    """Every interval with its own start, or that counted on from the report's (RPT-24), and its seconds."""
    clock = report.dtstart
    only = report.duration if len(report.intervals) == 1 else None
    known, span = None, None
    for interval in report.intervals:
        start = interval.dtstart or clock
        duration = only if interval.duration is None else interval.duration
        if duration is not known:  # nearly all are as long as the one before
            known, span = duration, _span(duration)
        end = _end(start, duration, span)
        if start is None or end is None:
            yield interval, start, 0.0
        else:
            clock = end
            yield interval, start, (end - start).total_seconds()


def _span(duration: Duration | None) -> timedelta | None:
    """A duration that is as long whenever it starts, None for any other."""
    return None if duration is None or duration.months else duration.to_timedelta()


def _end(start: datetime | None, duration: Duration | None, span: timedelta | None) -> datetime | None:
    if start is None or duration is None or duration.is_negative:
        return None
    if span is not None and start < LAST_FREE_START:
        return start + span
    return duration.after(start)


def _value(payload: ReportPayload) -> float:
    """The number; of a resource status 0 offline, 1 online, and 2 more under manual override."""
    if payload.payload_float is not None:
        return payload.payload_float
    if payload.resource_status is not None:
        return payload.resource_status.online + 2.0 * payload.resource_status.manual_override
    return math.nan


def _window(expected: Expected, now: datetime) -> tuple[datetime, datetime]:
    """When a value may start, first and last: in the last 35 days, or in what a history was asked for."""
    start, end = now - PAST, now + FUTURE
    if expected.report_name.startswith("x-"):
        return start, now + FORECAST_FUTURE
    if expected.report_name.startswith("HISTORY"):
        last = end if expected.end is None else expected.end - SECOND  # its end is not in a period
        return expected.start or start, min(last, end)
    return start, end


def _fault(sample: Sample, expected: Expected) -> str | None:
    """What is wrong with a value, its window left out; None where that is nothing."""
    least, most = expected.ranges.get(sample.r_id, EVERY)
    if sample.r_id not in expected.r_ids:
        return "the data point was not asked for"
    if not math.isfinite(sample.value):
        return "the value is not a finite number"
    if not least <= sample.value <= most:
        return f"the value is out of range, from {least:g} to {most:g}"
    if sample.start is None:
        return "the time of the value is missing"
    if sample.duration_s > LONGEST_S:
        return f"the duration is longer than {LONGEST.days} days"
    return None


def _text_of_time(start: datetime | None, duration_s: float) -> str:
    """Start and seconds as in the line of JSON that is hashed: point, start, seconds, number, quality."""
    if start is None:
        return f'"", {duration_s!r}'
    if start.microsecond or start.tzinfo is not UTC:
        return f'"{iso(start)}", {duration_s!r}'
    clock = f"{TWO[start.hour]}:{TWO[start.minute]}:{TWO[start.second]}"
    return f'"{_day(start.toordinal())}T{clock}Z", {duration_s!r}'


@lru_cache(maxsize=64)
def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()
