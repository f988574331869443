"""Reports that arrive: what a VEN can report (metadata), and the data that it was asked for.

Rules: metadata replace what the VEN said before and end its reports, which are asked for anew in the answer
(RPT-07, RPT-09). The same RegisterReport again gets the same answer. Data of a request are taken after its
end too (RPT-34, RPT-36). One journal fact for each report, keyed by what it says.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import (
    EiResponse,
    RegisterReport,
    Report,
    ReportRequest,
    UpdatedReport,
    UpdateReport,
)
from openadr.alike import Series
from openadr.errors import ComplianceError, InvalidData
from openadr.report_rules import register_report
from vtn import (
    catalogue,
    journal,
    judgement,
    original,
    reading,
    reading_detail,
    report_renewal,
    report_request,
)
from vtn.reading import ReadingRow, readings
from vtn.reading_range import ReadingRange, ranges_of
from vtn.registration import Ven
from vtn.report_request import cancel_report, request_report, requests
from vtn.schema import report_request_table as request_table
from vtn.schema import ven_table
from vtn.written import Written

__all__ = ["ReadingRow", "cancel_report", "readings", "request_report", "requests"]

RequestReports = Callable[[Ven, Sequence[Report], datetime], Sequence[ReportRequest]]

SAMPLES_PER_THREAD = 2000  # a larger report, or one with feeds, is judged off the event loop
REFUSED = {"RPT-03": InvalidData, "RPT-05": ComplianceError}  # metadata that nothing can be asked from
NONE = (None, "", "0")


async def register(
    conn: AsyncConnection,
    message: RegisterReport,
    ven: Ven,
    now: datetime,
    request_reports: RequestReports,
    *,
    body: bytes,
) -> Written:
    """Take a VEN's metadata and answer with what it is asked for, in a RegisteredReport; `body` is kept."""
    key = hashlib.sha256(repr(message).encode()).hexdigest()  # of what it says: a signature is always new
    v = ven_table
    rows = await conn.execute(select(v.c.metadata_key, v.c.metadata_answer).where(v.c.ven_id == ven.ven_id))
    before = rows.one()
    if before.metadata_key == key:
        return Written(before.metadata_answer)
    _check(message, lenient=ven.lenient)
    if message.report_request_id not in NONE:
        await report_request.answers_metadata_request(conn, ven.ven_id, str(message.report_request_id), now)
    await catalogue.keep_catalogue(conn, ven.ven_id, message.reports, body, now)
    wanted = request_reports(ven, message.reports, now) if message.reports else ()
    asked = await report_renewal.renew(conn, ven.ven_id, wanted, message.reports, now)
    answer = report_renewal.answer(message.request_id, ven.ven_id, asked)
    await conn.execute(
        update(v).where(v.c.ven_id == ven.ven_id).values(metadata_key=key, metadata_answer=answer)
    )
    return Written(answer)


def _check(message: RegisterReport, *, lenient: bool) -> None:
    """A lenient VEN may leave out what metadata need, but its ids must tell its reports apart."""
    for finding in register_report(message):
        refusal = REFUSED.get(finding.rule)
        if refusal is not None and not (lenient and finding.rule == "RPT-03"):
            raise refusal(finding.text, rule=finding.rule)


@dataclass(frozen=True, slots=True)
class Received:
    """The hash of the bytes that came, what is kept of their signature, and themselves if there is one."""

    sha256: str
    source: Mapping[str, str] | None = None
    signed: bytes = b""


async def updated(
    conn: AsyncConnection,
    message: UpdateReport,
    ven: Ven,
    now: datetime,
    received: Received,
    *,
    ranges: Sequence[ReadingRange] = (),
) -> UpdatedReport:
    """Keep the data of every report that was asked for; 452 names the others (RPT-36).

    What was signed is kept as it came if a fact was made of it: a peer cannot fill the disk with the rest.
    """
    is_new = False
    code = EiResponse.ok(message.request_id)
    stopped: list[tuple[Row[Any], datetime]] = []
    for report in message.reports:
        asked_for = await _asked_for(conn, ven.ven_id, report)
        if asked_for is None:
            code = replace(code, code="452", description="a reportRequestID is not known")
            continue
        expected = judgement.Expected(
            asked_for.report_name,
            frozenset(asked_for.r_ids),
            asked_for.start,
            asked_for.end,
            ranges_of(ranges, ven, asked_for.r_ids),
        )
        judged = await _judge(report, expected, now)
        if judged.unknown_r_id:
            code = replace(code, code="452", description="an rID was not asked for")
        await reading.keep(conn, ven.ven_id, report, report_name=expected.report_name, judged=judged, now=now)
        await reading_detail.keep(conn, ven.ven_id, report, expected.report_name, judged)
        is_new |= await _record(
            conn, ven, report, expected.report_name, judged=judged, now=now, received=received
        )
        if asked_for.cancelled_at is not None or asked_for.ended_at is not None:
            stopped.append((asked_for, report.created_date_time))
    if is_new and received.signed:
        await original.keep(conn, received.sha256, ven.ven_id, received.signed, now)
    cancel = await report_request.still_coming(conn, ven.ven_id, stopped, now) if stopped else None
    return UpdatedReport(response=code, cancel_report=cancel, ven_id=ven.ven_id)


async def _asked_for(conn: AsyncConnection, ven_id: str, report: Report) -> Row[Any] | None:
    ids = {
        "ven": ven_id,
        "request": report.report_request_id,
        "specifier": report.report_specifier_id,
    }
    found: Row[Any] | None = (await conn.execute(_ASKED_FOR, ids)).one_or_none()
    return found


_ASKED_FOR: Select[Any] = select(
    request_table.c.report_request_id,
    request_table.c.report_name,
    request_table.c.r_ids,
    request_table.c.start,
    request_table.c.end,
    request_table.c.cancelled_at,
    request_table.c.report_to_follow,
    request_table.c.final_at,
    request_table.c.ended_at,
    request_table.c.outcome,
).where(
    request_table.c.ven_id == bindparam("ven"),
    request_table.c.report_request_id == bindparam("request"),
    request_table.c.specifier_id == bindparam("specifier"),
)


async def _judge(report: Report, expected: judgement.Expected, now: datetime) -> judgement.Judged:
    if _is_small(report):
        return judgement.judge(report, expected, now)
    return await asyncio.to_thread(judgement.judge, report, expected, now)


def _is_small(report: Report) -> bool:
    """Whether judging it delays nobody."""
    series = report.intervals
    if isinstance(series, Series):
        return len(series) * len(series.values) <= SAMPLES_PER_THREAD
    feeds = any(interval.feeds for interval in series)
    return not feeds and sum(len(interval.payloads) for interval in series) <= SAMPLES_PER_THREAD


async def _record(
    conn: AsyncConnection,
    ven: Ven,
    report: Report,
    report_name: str,
    *,
    judged: judgement.Judged,
    now: datetime,
    received: Received,
) -> bool:
    """Write the fact; False if it is there already."""
    created = journal.iso(report.created_date_time)
    body = {
        "report_request_id": report.report_request_id,
        "report_specifier_id": report.report_specifier_id,
        "report_name": report_name,
        "created_at": created,
        "start": journal.iso(judged.start) if judged.start else "",
        "end": journal.iso(judged.end) if judged.end else "",
        "readings": len(judged.kept.starts),
        "quarantined": len(judged.bad),
        "values_sha256": judged.sha256,
        **({} if received.source is None else {"source": dict(received.source)}),
    }
    key = f"{report.report_request_id}/{created}/{judged.sha256}"
    return await journal.record(
        conn, "report", ven.ven_id, key, body=body, now=now, raw_sha256=received.sha256
    )
