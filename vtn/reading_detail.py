"""What a report says beside numbers and quality: accuracy, confidence, load control, Green Button feeds.

Kept in tables of their own, because nearly all readings have none of it; the newest createdDateTime wins.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Table, Text, cast, select, tuple_
from sqlalchemy.dialects.postgresql import insert  # SQLite compiles it too
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import LoadControlState, Report, ReportPayload, UpdateReport, decode
from openadr.alike import Series
from openadr.parser import OWN
from vtn.judgement import Judged, samples
from vtn.schema import green_button_table, reading_detail_table

ORDER = ("created_at", "content")


@dataclass(frozen=True, slots=True)
class ReadingDetail:
    """What one value carried. `content`: accuracy (unit of the value), confidence (0 to 100), load_control.

    It belongs to the reading of the same key if `created_at` is the reading's too.
    """

    ven_id: str
    r_id: str
    start: datetime
    report_name: str
    created_at: datetime
    content: dict[str, Any]


def of(payload: ReportPayload) -> dict[str, Any] | None:
    """What the payload carries beside its value and quality; None where there is nothing."""
    if payload.accuracy is None and payload.confidence is None and payload.resource_status is None:
        return None  # nearly all
    status = payload.resource_status
    control = None if status is None else status.load_control_state
    if payload.accuracy is None and payload.confidence is None and control is None:
        return None
    accuracy = payload.accuracy
    content = {
        "accuracy": accuracy if accuracy is not None and math.isfinite(accuracy) else None,
        "confidence": payload.confidence,
        "load_control": None if control is None else _load_control(control),
    }
    return {name: value for name, value in content.items() if value is not None}


def _load_control(control: LoadControlState) -> dict[str, dict[str, float]]:
    return {
        name: {part: number for part, number in parts.items() if number is not None and math.isfinite(number)}
        for name, parts in asdict(control).items()
        if parts is not None
    }


async def keep(conn: AsyncConnection, ven_id: str, report: Report, report_name: str, judged: Judged) -> None:
    """Write what the good values of a report carry, and its feeds."""
    if isinstance(report.intervals, Series) and not any(map(of, report.intervals.first.payloads)):
        return  # the others carry the same: nothing
    contents = [of(payload) for interval in report.intervals for payload in interval.payloads]
    if any(contents):
        good = {(sample.r_id, sample.start) for sample in judged.good}
        rows = [
            {
                "ts": sample.start,
                "ven_id": ven_id,
                "r_id": sample.r_id,
                "report_name": report_name,
                "created_at": report.created_date_time,
                "content": content,
            }
            for sample, content in zip(samples(report), contents, strict=True)
            if content and (sample.r_id, sample.start) in good
        ]
        await _upsert(conn, reading_detail_table, rows)
    if judged.feeds is not None:
        await _keep_feeds(conn, ven_id, report, judged.feeds)


async def _keep_feeds(conn: AsyncConnection, ven_id: str, report: Report, content: bytes) -> None:
    row = {
        "ven_id": ven_id,
        "report_request_id": report.report_request_id,
        "start": report.dtstart or report.intervals[0].dtstart or report.created_date_time,
        "created_at": report.created_date_time,
        "content": content,
    }
    await _upsert(conn, green_button_table, [row])


async def _upsert(conn: AsyncConnection, table: Table, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    statement = insert(table)
    new = statement.excluded
    changes = {"created_at": new.created_at, "content": new.content}
    # of two of one instant the greater stays, so that any order of arrival gives the same
    newer = tuple_(*(_comparable(new[name]) for name in ORDER)) > tuple_(
        *(_comparable(table.c[name]) for name in ORDER)
    )
    keys = [column.name for column in table.primary_key]
    await conn.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes, where=newer), rows)


def _comparable(column: Any) -> Any:
    return cast(column, Text) if isinstance(column.type, JSON) else column


async def details(conn: AsyncConnection, ven_id: str, start: datetime, end: datetime) -> list[ReadingDetail]:
    """What the values of a VEN that start in [start, end) carry, by time and data point."""
    t = reading_detail_table
    columns = t.c.ven_id, t.c.r_id, t.c.ts, t.c.report_name, t.c.created_at, t.c.content
    rows = await conn.execute(
        select(*columns)
        .where(t.c.ven_id == ven_id, t.c.ts >= start, t.c.ts < end)
        .order_by(t.c.ts, t.c.r_id, t.c.report_name)
    )
    return [ReadingDetail(*row) for row in rows]


async def green_button(conn: AsyncConnection, ven_id: str) -> list[Report]:
    """The reports with Green Button feeds that a VEN has sent, by request and time (RPT-47)."""
    t = green_button_table
    rows = await conn.execute(
        select(t.c.content).where(t.c.ven_id == ven_id).order_by(t.c.report_request_id, t.c.start)
    )
    found = [decode(content, OWN) for content in rows.scalars()]
    return [report for message in found if isinstance(message, UpdateReport) for report in message.reports]
