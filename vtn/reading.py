"""Reported values, judged before, are kept so that any order of arrival gives the same table.

Rules: one value for each (start, VEN, data point, report name); the newest createdDateTime wins, then the
larger value, so that retries, duplicates and reordering do not matter. A value that cannot be right is not
kept with the others but quarantined with its reason, and the rest of its report is kept. A report of many
values is written by the driver in statements of many rows: what comes with each row costs more than the row.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from json.encoder import encode_basestring_ascii as quoted

from sqlalchemy import select, text, tuple_
from sqlalchemy.dialects.postgresql import Insert, insert  # SQLite compiles it too
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import Report
from vtn.journal import iso
from vtn.judgement import Judged
from vtn.schema import EPOCH, MICROSECOND, quarantine_table, reading_table

MAX_QUARANTINED = 500
"""Of a report with more faulty values the first ones are kept; its journal fact counts all of them."""
KEY = ("ts", "ven_id", "r_id", "report_name")
DAY = 86_400_000_000  # microseconds
_Cell = str | float | None


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
    ages = [start - EPOCH for start in judged.kept.starts]
    ts = [DAY * age.days + 1_000_000 * age.seconds + age.microseconds for age in ages]
    own: tuple[Sequence[_Cell], ...] = (ts, judged.kept.values)
    of_point = (judged.kept.r_ids, judged.kept.durations_s, judged.kept.qualities)
    if ts and all(len(set(column)) == 1 for column in of_point):  # one meter: said once
        await _keep(conn, (*said, *(column[0] for column in of_point)), own, _OF_ONE_POINT)
    elif ts:
        await _keep(conn, said, (*own, *of_point), _OF_ANY)
    if judged.bad:
        await conn.exec_driver_sql(_QUARANTINE, _quarantine_rows(ven_id, report, judged, now))


async def _keep(
    conn: AsyncConnection,
    said: tuple[_Cell, ...],
    columns: Sequence[Sequence[_Cell]],
    statements: Mapping[int, str],
) -> None:
    """Write values that stand in columns, with what is said of all of them."""
    done, count = 0, len(columns[0])
    for size, statement in statements.items():
        while size > 1 and count - done >= size:
            await conn.exec_driver_sql(statement, (*said, *_rows(columns, done, done + size)))
            await asyncio.sleep(0)  # other requests get their turn on the event loop
            done += size
    if done < count:
        rest = zip(*(column[done:] for column in columns), strict=True)
        await conn.exec_driver_sql(statements[1], [(*said, *row) for row in rest])


def _rows(columns: Sequence[Sequence[_Cell]], first: int, last: int) -> list[_Cell]:
    """Row after row of what stands in columns."""
    cells: list[_Cell] = [None] * ((last - first) * len(columns))
    for number, column in enumerate(columns):
        cells[number :: len(columns)] = column[first:last]
    return cells


def _quarantine_rows(ven_id: str, report: Report, judged: Judged, now: datetime) -> list[tuple[_Cell, ...]]:
    rows: list[tuple[_Cell, ...]] = []
    received = _microseconds(now)
    before = f"[{quoted(ven_id)}, {quoted(report.report_request_id)}, "
    for sample, reason in judged.bad[:MAX_QUARANTINED]:
        r_id, start, value = sample.r_id[:128], iso(sample.start) if sample.start else "", repr(sample.value)
        said = f"{before}{quoted(r_id)}, {quoted(start)}, {quoted(value)}]"  # as JSON
        key = hashlib.sha256(said.encode()).hexdigest()
        rows.append((key, ven_id, report.report_request_id, r_id, start, value, reason, received))
    return rows


def _microseconds(instant: datetime) -> int:
    """The instant as the column type `Instant` keeps it."""
    return (instant - EPOCH) // MICROSECOND


_OF_REPORT = ("ven_id", "report_name", "created_at", "report_request_id")
_OF_VALUE = ("ts", "value")
_OF_POINT = ("r_id", "duration_s", "quality")


def _newest_wins(said: Sequence[str], columns: Sequence[str], rows: int) -> str:
    """The insert of so many values, each of which takes the place of an older one of its key.

    `said` of all of them, each with its own `columns`. One statement of many rows costs half of what a
    statement for each row does; what is not said again and again saves a quarter of the rest.
    """
    t = reading_table
    row = f"({', '.join('?' * len(columns))})"
    values = ", ".join([f"({_marks(columns)})", *[row] * (rows - 1)])  # the first tells PostgreSQL the types
    source = text(
        f"SELECT report.*, value.* FROM (SELECT {_marks(said)}) AS report, "  # noqa: S608 - marks only
        f"(VALUES {values}) AS value WHERE true"
    )
    statement = insert(t).from_select((*said, *columns), source.columns())
    new = statement.excluded
    order = ("created_at", "value", "duration_s", "quality", "report_request_id")
    newer = tuple_(*(new[name] for name in order)) > tuple_(*(t.c[name] for name in order))
    changes = {name: new[name] for name in order}
    return _text_of(statement.on_conflict_do_update(index_elements=KEY, set_=changes, where=newer))


def _marks(columns: Sequence[str]) -> str:
    """Where values for these columns belong, each of its column's type."""
    types = (reading_table.c[name].type.compile(dialect()) for name in columns)
    return ", ".join(f"CAST(? AS {type_})" for type_ in types)


def _text_of(statement: Insert) -> str:
    """The statement for the driver, whose row is a tuple."""
    return str(statement.compile(dialect=dialect()))


_SIZES = (480, 60, 1)
_OF_ANY = {rows: _newest_wins(_OF_REPORT, (*_OF_VALUE, *_OF_POINT), rows) for rows in _SIZES}
_OF_ONE_POINT = {rows: _newest_wins((*_OF_REPORT, *_OF_POINT), _OF_VALUE, rows) for rows in _SIZES}
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
