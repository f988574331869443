"""Reports: what a VEN can report (metadata), what it is asked for, what it sends.

Rules: metadata replace what the VEN said before (RPT-07); a report request is kept until the registration
ends, so that data which come late or again are still known (RPT-34, RPT-36). The same RegisterReport again
gets the same requests. One journal fact for each report, keyed by what it says.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import (
    CreatedReport,
    CreateReport,
    EiResponse,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportRequest,
    Response,
    UpdatedReport,
    UpdateReport,
    decode,
    encode,
)
from openadr.errors import ComplianceError, InvalidId, ReportNotSupported
from vtn import journal, outbox, reading
from vtn.reading import ReadingRow, readings
from vtn.registration import Ven
from vtn.schema import report_request_table as request_table
from vtn.schema import report_spec_table as spec_table
from vtn.schema import ven_table

__all__ = ["ReadingRow", "readings"]

RequestReports = Callable[[Ven, Sequence[Report], datetime], Sequence[ReportRequest]]

METADATA = "METADATA"
SAMPLES_PER_THREAD = 500  # a larger report is judged off the event loop


async def register(
    conn: AsyncConnection,
    message: RegisterReport,
    ven: Ven,
    now: datetime,
    request_reports: RequestReports,
) -> RegisteredReport:
    """Take a VEN's metadata and answer with what it is asked for."""
    _check_ids(message)
    key = hashlib.sha256(encode(message)).hexdigest()
    v = ven_table
    rows = await conn.execute(select(v.c.metadata_key, v.c.metadata_answer).where(v.c.ven_id == ven.ven_id))
    before = rows.one()
    if before.metadata_key == key:
        answer = decode(before.metadata_answer)
        assert isinstance(answer, RegisteredReport)  # noqa: S101 - written below
        return answer
    await conn.execute(delete(spec_table).where(spec_table.c.ven_id == ven.ven_id))
    for report in message.reports:
        r_ids = [description.r_id for description in report.report_descriptions]
        await conn.execute(
            insert(spec_table).values(
                ven_id=ven.ven_id,
                specifier_id=report.report_specifier_id,
                report_name=_data_name(report),
                r_ids=r_ids,
                registered_at=now,
            )
        )
    requests = tuple(request_reports(ven, message.reports, now)) if message.reports else ()
    await _keep_requests(conn, ven.ven_id, requests, now)
    answer = RegisteredReport(
        response=EiResponse.ok(message.request_id), report_requests=requests, ven_id=ven.ven_id
    )
    await conn.execute(
        update(v).where(v.c.ven_id == ven.ven_id).values(metadata_key=key, metadata_answer=encode(answer))
    )
    return answer


def _check_ids(message: RegisterReport) -> None:
    specifiers = [report.report_specifier_id for report in message.reports]
    if len(set(specifiers)) < len(specifiers):
        raise ComplianceError("a reportSpecifierID is used twice", rule="RPT-05")
    for report in message.reports:
        r_ids = [description.r_id for description in report.report_descriptions]
        if len(set(r_ids)) < len(r_ids):
            raise ComplianceError("an rID is used twice in one report", rule="RPT-05")


def _data_name(report: Report) -> str:
    return (report.report_name or "").removeprefix("METADATA_")


async def _keep_requests(
    conn: AsyncConnection, ven_id: str, requests: Sequence[ReportRequest], now: datetime
) -> None:
    specs = {
        row.specifier_id: row
        for row in await conn.execute(select(spec_table).where(spec_table.c.ven_id == ven_id))
    }
    for request in requests:
        specifier = request.report_specifier
        spec = specs.get(specifier.report_specifier_id)
        if spec is None:
            raise ValueError(f"VEN {ven_id!r} offers no report {specifier.report_specifier_id!r}")
        period = specifier.report_interval
        row = {
            "specifier_id": specifier.report_specifier_id,
            "report_name": spec.report_name,
            "r_ids": [payload.r_id for payload in specifier.specifier_payloads],
            "start": period.dtstart if period else None,
            "end": period.end if period else None,
            "requested_at": now,
            "accepted_at": None,
        }
        statement = upsert(request_table).values(
            ven_id=ven_id, report_request_id=request.report_request_id, **row
        )
        await conn.execute(
            statement.on_conflict_do_update(index_elements=["ven_id", "report_request_id"], set_=row)
        )


async def request(
    conn: AsyncConnection, ven_id: str, requests: Sequence[ReportRequest], now: datetime
) -> None:
    """Ask a VEN for reports at its next poll; ValueError for a report that its metadata do not offer."""
    await _keep_requests(conn, ven_id, requests, now)
    message = CreateReport(request_id=secrets.token_hex(8), report_requests=tuple(requests), ven_id=ven_id)
    await outbox.queue(conn, ven_id, outbox.CREATE_REPORT, message.request_id, message=message, now=now)


async def requests_of(conn: AsyncConnection, ven_id: str) -> list[tuple[str, str, str]]:
    """Report request id, specifier id and report name of everything that a VEN was asked for."""
    t = request_table
    rows = await conn.execute(
        select(t.c.report_request_id, t.c.specifier_id, t.c.report_name)
        .where(t.c.ven_id == ven_id)
        .order_by(t.c.requested_at, t.c.report_request_id)
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def created(conn: AsyncConnection, message: CreatedReport, ven: Ven, now: datetime) -> None:
    """The VEN says which of the requests it will serve."""
    t = request_table
    if message.response.is_success:
        asked = {row[0] for row in await requests_of(conn, ven.ven_id)}
        if not asked.issuperset(message.pending_reports):
            raise InvalidId("a reportRequestID is not known", rule="RPT-44")
        await conn.execute(
            update(t)
            .where(
                t.c.ven_id == ven.ven_id,
                t.c.report_request_id.in_(message.pending_reports),
                t.c.accepted_at.is_(None),
            )
            .values(accepted_at=now)
        )
    await outbox.answered(conn, ven.ven_id, outbox.CREATE_REPORT, [message.response.request_id])


async def registered(conn: AsyncConnection, message: RegisteredReport, ven: Ven) -> Response | CreatedReport:
    """The VEN answers our own metadata (REG-13); we offer nothing, so a request of its own has no object."""
    await outbox.withdraw(conn, ven.ven_id, outbox.REGISTER_REPORT)
    code = EiResponse.ok(message.response.request_id)
    if not message.report_requests:
        return Response(response=code, ven_id=ven.ven_id)
    code = replace(code, code=ReportNotSupported.code, description="no reports are offered here")
    return CreatedReport(response=code, ven_id=ven.ven_id)


async def asked(conn: AsyncConnection, message: CreateReport, ven: Ven, now: datetime) -> CreatedReport:
    """A VEN asks us for reports: metadata it gets at its next poll (RPT-11), others we have none."""
    for request in message.report_requests:
        if request.report_specifier.report_specifier_id != METADATA:
            raise InvalidId("the reportSpecifierID is not known", rule="RPT-13")
    for request in message.report_requests:
        own = RegisterReport(
            request_id=secrets.token_hex(8),
            ven_id=ven.ven_id,
            report_request_id=request.report_request_id,
        )
        await outbox.queue(conn, ven.ven_id, outbox.REGISTER_REPORT, "asked", message=own, now=now)
    return CreatedReport(response=EiResponse.ok(message.request_id), ven_id=ven.ven_id)


async def updated(
    conn: AsyncConnection, message: UpdateReport, ven: Ven, now: datetime, raw_sha256: str
) -> UpdatedReport:
    """Keep the data of every report that was asked for; 452 names the others (RPT-36)."""
    code = EiResponse.ok(message.request_id)
    for report in message.reports:
        asked_for = await _asked_for(conn, ven.ven_id, report)
        if asked_for is None:
            code = replace(code, code="452", description="a reportRequestID is not known")
            continue
        expected = reading.Expected(
            asked_for.report_name, frozenset(asked_for.r_ids), asked_for.start, asked_for.end
        )
        judged = await _judge(report, expected, now)
        if judged.unknown_r_id:
            code = replace(code, code="452", description="an rID was not asked for")
        await reading.keep(conn, ven.ven_id, report, report_name=expected.report_name, judged=judged, now=now)
        await _record(conn, ven, report, expected.report_name, judged=judged, now=now, raw_sha256=raw_sha256)
    return UpdatedReport(response=code, ven_id=ven.ven_id)


async def _asked_for(conn: AsyncConnection, ven_id: str, report: Report) -> Row[Any] | None:
    t = request_table
    rows = await conn.execute(
        select(t).where(
            t.c.ven_id == ven_id,
            t.c.report_request_id == report.report_request_id,
            t.c.specifier_id == report.report_specifier_id,
        )
    )
    return rows.one_or_none()


async def _judge(report: Report, expected: reading.Expected, now: datetime) -> reading.Judged:
    if sum(len(interval.payloads) for interval in report.intervals) <= SAMPLES_PER_THREAD:
        return reading.judge(report, expected, now)
    return await asyncio.to_thread(reading.judge, report, expected, now)


async def _record(
    conn: AsyncConnection,
    ven: Ven,
    report: Report,
    report_name: str,
    *,
    judged: reading.Judged,
    now: datetime,
    raw_sha256: str,
) -> None:
    created = journal.iso(report.created_date_time)
    body = {
        "report_request_id": report.report_request_id,
        "report_specifier_id": report.report_specifier_id,
        "report_name": report_name,
        "created_at": created,
        "start": journal.iso(judged.start) if judged.start else "",
        "end": journal.iso(judged.end) if judged.end else "",
        "readings": len(judged.good),
        "quarantined": len(judged.bad),
        "values_sha256": judged.sha256,
    }
    key = f"{report.report_request_id}/{created}/{judged.sha256}"
    await journal.record(conn, "report", ven.ven_id, key, body=body, now=now, raw_sha256=raw_sha256)
