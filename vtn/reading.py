"""Reported values: taken out of a report, judged, and kept so that any order of arrival gives the same table.

Rules: one value for each (start, VEN, data point, report name); the newest createdDateTime wins, then the
larger value, so that retries, duplicates and reordering do not matter. A value that cannot be right is not
kept with the others but quarantined with its reason, and the rest of its report is kept. A report of many
values is written by the driver in statements of many rows: what comes with each row costs more than the row.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import chain, repeat
from json.encoder import encode_basestring_ascii as quoted
from typing import NamedTuple

from sqlalchemy import select, text, tuple_
from sqlalchemy.dialects.sqlite import Insert, dialect, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import Duration, Report, ReportInterval, ReportPayload
from openadr.alike import Series
from openadr.enums import DataQuality
from openadr.interval import END_OF_TIME, MAX_SECONDS
from vtn.journal import iso
from vtn.schema import EPOCH, MICROSECOND, quarantine_table, reading_table

PAST = timedelta(days=35)
FUTURE = timedelta(minutes=5)
SECOND = timedelta(seconds=1)  # the step of the instants in messages
FORECAST_FUTURE = timedelta(days=3)
LONGEST = timedelta(days=35)
"""What one value may hold for: any billing month; all that read it go through its quarter hours."""
LONGEST_S = LONGEST.total_seconds()
LAST_FREE_START = END_OF_TIME - timedelta(seconds=MAX_SECONDS)  # no duration from it overflows the calendar
MAX_ABS_VALUE = 1e9  # Wh or W: more than any site here can have
ROWS_PER_STATEMENT = 500
TWO = tuple(f"{number:02}" for number in range(60))  # hours, minutes, seconds as ISO 8601 writes them
MAX_QUARANTINED = 500
"""Of a report with more faulty values the first ones are kept; its journal fact counts all of them."""
GOOD = str(DataQuality.GOOD)
KEY = ("ts", "ven_id", "r_id", "report_name")


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """A value for the period from `start`; its unit is the one of the data point's description."""

    ven_id: str
    r_id: str
    start: datetime
    duration_s: float
    value: float
    quality: str
    report_name: str
    created_at: datetime


class Sample(NamedTuple):
    """A value as it came; `start` is None where the report does not say when it holds."""

    r_id: str
    start: datetime | None
    duration_s: float
    value: float
    quality: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What was asked for: which data points, and which period of a history (None: no bound)."""

    report_name: str
    r_ids: frozenset[str]
    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A report's values, told apart, the hash of all, and the period of the good ones (end excluded)."""

    good: tuple[Sample, ...]
    bad: tuple[tuple[Sample, str], ...]
    unknown_r_id: bool
    sha256: str
    start: datetime | None
    end: datetime | None


def judge(report: Report, expected: Expected, now: datetime) -> Judged:
    """Tell the values that are kept from those that are quarantined. No I/O: fit for another thread."""
    window = _window(expected, now)
    series = report.intervals
    judged = _judge_series(series, expected, window) if isinstance(series, Series) else None
    return _judge_each(report, expected, window) if judged is None else judged


def _judge_series(series: Series, expected: Expected, window: tuple[datetime, datetime]) -> Judged | None:
    """What `_judge_each` says of a series without a fault, by columns; None where there may be one."""
    duration, span = series[0].duration, _span(series[0].duration)
    duration_s = 0.0 if span is None else max(0.0, span.total_seconds())
    start, end = min(series.starts), max(series.starts)
    numbers = list(chain.from_iterable(series.values))
    if (
        (duration is not None and span is None)
        or not (duration_s <= LONGEST_S and window[0] <= start and end <= window[1])
        or max(map(abs, numbers)) > MAX_ABS_VALUE
        or any(payload.r_id not in expected.r_ids for payload in series[0].payloads)
    ):
        return None
    good, lines = [], []
    for payload, values in zip(series[0].payloads, series.values, strict=True):
        r_id, quality = payload.r_id, payload.data_quality or GOOD
        name, word = quoted(r_id), quoted(quality)
        columns = repeat(r_id), series.starts, repeat(duration_s), values, repeat(quality)
        good.append(list(map(Sample._make, zip(*columns, strict=False))))
        lines.append(
            [
                f'[{name}, "{time}", {duration_s!r}, "{value!r}", {word}]\n'
                for time, value in zip(series.spelt, values, strict=True)
            ]
        )
    text = "".join(chain.from_iterable(zip(*lines, strict=True)))
    kept = tuple(chain.from_iterable(zip(*good, strict=True)))
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Judged(kept, (), False, sha256, start, end + timedelta(seconds=duration_s))


def _judge_each(report: Report, expected: Expected, window: tuple[datetime, datetime]) -> Judged:
    good: list[Sample] = []
    bad: list[tuple[Sample, str]] = []
    first, last = window
    lines: list[str] = []
    starts, ends = [], []
    for interval, start, duration_s in _times(report):
        timely = start is not None and duration_s <= LONGEST_S and first <= start <= last
        time, kept = _text_of_time(start, duration_s), len(good)
        for sample in _samples(interval, start, duration_s):
            r_id, _, _, value, quality = sample
            lines.append(f'[{quoted(r_id)}, {time}, "{value!r}", {quoted(quality)}]\n')
            if timely and r_id in expected.r_ids and -MAX_ABS_VALUE <= value <= MAX_ABS_VALUE:
                good.append(sample)
            else:
                bad.append((sample, _fault(sample, expected, window)))
        if start is not None and len(good) > kept:
            starts.append(start)
            ends.append(start + timedelta(seconds=duration_s))
    digest = hashlib.sha256("".join(lines).encode())
    for feed in (feed for interval in report.intervals for feed in interval.feeds):
        digest.update(repr(feed).encode())
    unknown = any(sample.r_id not in expected.r_ids for sample, _ in bad)
    period = min(starts, default=None), max(ends, default=None)
    return Judged(tuple(good), tuple(bad), unknown, digest.hexdigest(), *period)


def samples(report: Report) -> Iterator[Sample]:
    """Every value with its time."""
    for interval, start, duration_s in _times(report):
        yield from _samples(interval, start, duration_s)


def _samples(interval: ReportInterval, start: datetime | None, duration_s: float) -> list[Sample]:
    return [
        Sample(payload.r_id, start, duration_s, _value(payload), payload.data_quality or GOOD)
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


def _fault(sample: Sample, expected: Expected, window: tuple[datetime, datetime]) -> str:
    """What is wrong with a value that is not kept."""
    if sample.r_id not in expected.r_ids:
        return "the data point was not asked for"
    if not math.isfinite(sample.value):
        return "the value is not a finite number"
    if abs(sample.value) > MAX_ABS_VALUE:
        return "the value is out of range"
    if sample.start is None:
        return "the time of the value is missing"
    if sample.duration_s > LONGEST_S:
        return f"the duration is longer than {LONGEST.days} days"
    return f"the time is not in {iso(window[0])} to {iso(window[1])}"


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


async def keep(
    conn: AsyncConnection,
    ven_id: str,
    report: Report,
    *,
    report_name: str,
    judged: Judged,
    now: datetime,
) -> None:
    """Write a judged report: good values to the readings, the others to the quarantine."""
    said = (ven_id, report_name, _microseconds(report.created_date_time), report.report_request_id)
    rows: list[_Row] = [
        ((start - EPOCH) // MICROSECOND if start else None, r_id, duration_s, value, quality)
        for r_id, start, duration_s, value, quality in judged.good
    ]
    done = 0
    for size, statement in _KEEP_MANY.items():
        while len(rows) - done >= size:
            many = chain.from_iterable(rows[done : done + size])
            await conn.exec_driver_sql(statement, (*said, *many))
            await asyncio.sleep(0)  # other requests get their turn on the event loop
            done += size
    await _insert(conn, _KEEP, [(*said, *row) for row in rows[done:]])
    await _insert(conn, _QUARANTINE, _quarantine_rows(ven_id, report, judged, now))


def _quarantine_rows(ven_id: str, report: Report, judged: Judged, now: datetime) -> list[_Row]:
    rows: list[_Row] = []
    received = _microseconds(now)
    for sample, reason in judged.bad[:MAX_QUARANTINED]:
        start = iso(sample.start) if sample.start else ""
        said = (ven_id, report.report_request_id, sample.r_id[:128], start, repr(sample.value))
        key = hashlib.sha256(json.dumps(said).encode()).hexdigest()
        rows.append((key, *said, reason, received))
    return rows


async def _insert(conn: AsyncConnection, statement: str, rows: Sequence[_Row]) -> None:
    """Write rows in pieces, between which other requests get their turn on the event loop."""
    for first in range(0, len(rows), ROWS_PER_STATEMENT):
        await conn.exec_driver_sql(statement, rows[first : first + ROWS_PER_STATEMENT])
        await asyncio.sleep(0)


def _microseconds(instant: datetime) -> int:
    """The instant as the column type `Instant` keeps it."""
    return (instant - EPOCH) // MICROSECOND


_COLUMNS = ("ven_id", "report_name", "created_at", "report_request_id")  # the same for a whole report
_COLUMNS_OF_VALUE = ("ts", "r_id", "duration_s", "value", "quality")
_SOURCE = "SELECT report.*, value.* FROM (SELECT ?, ?, ?, ?) AS report, (VALUES rows) AS value WHERE true"


def _newest_wins(rows: int) -> Insert:
    """The insert of so many values of a report, each of which takes the place of an older one of its key.

    One statement of many rows costs half of what a statement for each row does.
    """
    t = reading_table
    source = text(_SOURCE.replace("rows", ", ".join(["(?, ?, ?, ?, ?)"] * rows)))
    statement = insert(t).from_select(_COLUMNS + _COLUMNS_OF_VALUE, source.columns())
    new = statement.excluded
    order = ("created_at", "value", "duration_s", "quality", "report_request_id")
    newer = tuple_(*(new[name] for name in order)) > tuple_(*(t.c[name] for name in order))
    changes = {name: new[name] for name in order}
    return statement.on_conflict_do_update(index_elements=KEY, set_=changes, where=newer)


def _text_of(statement: Insert) -> str:
    """The statement for the driver, whose row is a tuple."""
    return str(statement.compile(dialect=dialect()))


_Row = tuple[str | float | None, ...]
_KEEP = _text_of(_newest_wins(1))
_KEEP_MANY = {rows: _text_of(_newest_wins(rows)) for rows in (480, 60)}
_QUARANTINE = _text_of(insert(quarantine_table).on_conflict_do_nothing(index_elements=["key"]))


async def readings(
    conn: AsyncConnection,
    *,
    ven_ids: Sequence[str] | None = None,
    r_ids: Sequence[str] | None = None,
    report_names: Sequence[str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[ReadingRow]:
    """Values that start in [start, end), by time, VEN, data point; None means no bound."""
    t = reading_table
    columns = (
        t.c.ven_id,
        t.c.r_id,
        t.c.ts,
        t.c.duration_s,
        t.c.value,
        t.c.quality,
        t.c.report_name,
        t.c.created_at,
    )
    query = select(*columns).order_by(t.c.ts, t.c.ven_id, t.c.r_id, t.c.report_name)
    for column, wanted in ((t.c.ven_id, ven_ids), (t.c.r_id, r_ids), (t.c.report_name, report_names)):
        if wanted is not None:
            query = query.where(column.in_(list(wanted)))
    if start is not None:
        query = query.where(t.c.ts >= start)
    if end is not None:
        query = query.where(t.c.ts < end)
    return [ReadingRow(*row) for row in await conn.execute(query)]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A value that was not kept, and why."""

    ven_id: str
    report_request_id: str
    r_id: str
    start: str
    value: str
    reason: str
    received_at: datetime


async def quarantined(conn: AsyncConnection) -> list[Quarantined]:
    """Every value that was not kept, in the order of arrival."""
    t = quarantine_table
    columns = (t.c.ven_id, t.c.report_request_id, t.c.r_id, t.c.start, t.c.value, t.c.reason)
    rows = await conn.execute(select(*columns, t.c.received_at).order_by(t.c.received_at, t.c.key))
    return [Quarantined(*row) for row in rows]
