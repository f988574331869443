"""What the VENs can report: their metadata, replaced as a whole by each RegisterReport (RPT-07)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import RegisterReport, Report, lenient
from openadr.parser import OWN
from openadr.report_request import data_name
from vtn.schema import report_spec_table as spec_table


@dataclass(frozen=True, slots=True)
class Offered:
    """A report that a VEN can make; `report` is its metadata as they came."""

    specifier_id: str
    report_name: str
    registered_at: datetime
    report: Report | None


async def catalogue(conn: AsyncConnection, ven_id: str) -> list[Offered]:
    """Everything that a VEN said it can report, by specifier."""
    t = spec_table
    rows = (await conn.execute(select(t).where(t.c.ven_id == ven_id).order_by(t.c.specifier_id))).all()
    known = {report.report_specifier_id: report for row in rows for report in _metadata(row.content)}
    return [Offered(r.specifier_id, r.report_name, r.registered_at, known.get(r.specifier_id)) for r in rows]


async def keep_catalogue(
    conn: AsyncConnection, ven_id: str, reports: Sequence[Report], body: bytes, now: datetime
) -> None:
    """These metadata, which came in `body`, take the place of all earlier ones (RPT-07)."""
    await conn.execute(delete(spec_table).where(spec_table.c.ven_id == ven_id))
    rows = [
        {
            "ven_id": ven_id,
            "specifier_id": report.report_specifier_id,
            "report_name": data_name(report),
            "r_ids": [description.r_id for description in report.report_descriptions],
            "registered_at": now,
            "content": None if number else body,
        }
        for number, report in enumerate(reports)
    ]
    if rows:
        await conn.execute(insert(spec_table), rows)


def _metadata(content: bytes | None) -> Sequence[Report]:
    """The reports of a body as it came, maybe from a VEN to whom deviations are forgiven."""
    message, _ = (None, ()) if content is None else lenient.decode(content, OWN)
    return message.reports if isinstance(message, RegisterReport) else ()
