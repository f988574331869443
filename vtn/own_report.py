"""Reports of the server's own: what it offers to its VENs, who has asked for it, and its data (RPT-37).

Rules: the operator publishes data of a specifier when there are some; every VEN that has asked gets them at
its next polls. A single report is answered at once from the data published last, else by the next. A periodic
METADATA request is answered once (RPT-38).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert  # SQLite compiles it too
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import (
    CanceledReport,
    CancelReport,
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
from openadr.errors import NotAllowed, ProtocolError
from openadr.finding import Finding
from openadr.parser import OWN
from openadr.report_request import asks_metadata, check_request, is_periodic
from openadr.report_rules import data_of, register_report, update_report
from vtn import outbox
from vtn.errors import UnknownObject
from vtn.schema import own_report_table as report_table
from vtn.schema import own_request_table as request_table
from vtn.schema import ven_table

LIMIT = 100  # requests of one VEN, and reports that wait for it


async def offered(conn: AsyncConnection) -> list[Report]:
    """The metadata of every report of our own."""
    t = report_table
    found = [
        decode(row.content, OWN) for row in await conn.execute(select(t.c.content).order_by(t.c.specifier_id))
    ]
    return [report for message in found if isinstance(message, RegisterReport) for report in message.reports]


async def offer(conn: AsyncConnection, reports: Sequence[Report], now: datetime) -> None:
    """Offer these reports alone; every registered VEN is told at its next poll and asks anew (RPT-07).

    ValueError names the rule that the metadata break.
    """
    _check(register_report(RegisterReport(request_id="0", reports=tuple(reports))))
    await conn.execute(delete(report_table))
    await conn.execute(delete(request_table))
    for report in reports:
        content = encode(RegisterReport(request_id="0", reports=(report,)))
        await conn.execute(
            insert(report_table).values(specifier_id=report.report_specifier_id, content=content)
        )
    registered = select(ven_table.c.ven_id).where(ven_table.c.registration_id.is_not(None))
    for ven_id in (await conn.execute(registered)).scalars().all():
        await tell(conn, ven_id, now)


async def tell(conn: AsyncConnection, ven_id: str, now: datetime, answering: str | None = None) -> None:
    """Let our metadata wait for a VEN; `answering` is the METADATA request that wants them (RPT-04)."""
    own = RegisterReport(
        request_id=secrets.token_hex(8),
        reports=tuple(await offered(conn)),
        ven_id=ven_id,
        report_request_id=answering,
    )
    key = "own" if answering is None else "asked"
    await outbox.queue(conn, ven_id, outbox.REGISTER_REPORT, key, message=own, now=now)


async def registered(
    conn: AsyncConnection, message: RegisteredReport, ven_id: str, now: datetime
) -> Response | CreatedReport:
    """The VEN has our metadata (REG-13) and may ask for reports along with that (RPT-09)."""
    await outbox.withdraw(conn, ven_id, outbox.REGISTER_REPORT)
    request_id = message.response.request_id
    if not message.report_requests:
        return Response(response=EiResponse.ok(request_id), ven_id=ven_id)
    return await _take(conn, message.report_requests, request_id, ven_id, now)


async def asked(conn: AsyncConnection, message: CreateReport, ven_id: str, now: datetime) -> CreatedReport:
    """A VEN asks for reports of ours."""
    return await _take(conn, message.report_requests, message.request_id, ven_id, now)


async def _take(
    conn: AsyncConnection, requests: Sequence[ReportRequest], request_id: str, ven_id: str, now: datetime
) -> CreatedReport:
    """Take every request that can be served; the code is that of the first that cannot (RPT-13, RPT-21)."""
    code = EiResponse.ok(request_id)
    own = await offered(conn)
    for request in requests:
        if asks_metadata(request):
            await tell(conn, ven_id, now, request.report_request_id)
            continue
        try:
            check_request(request, own)
            if len(await _pending(conn, ven_id)) >= LIMIT:
                raise NotAllowed(f"more than {LIMIT} reports are asked for")
        except ProtocolError as error:
            if code.is_success:
                code = replace(code, code=error.code, description=error.description)
            continue
        await _keep(conn, ven_id, request, now)
        await _answer_from_last(conn, ven_id, request, now)
    return CreatedReport(response=code, pending_reports=await _pending(conn, ven_id), ven_id=ven_id)


async def _keep(conn: AsyncConnection, ven_id: str, request: ReportRequest, now: datetime) -> None:
    row = {
        "specifier_id": request.report_specifier.report_specifier_id,
        "requested_at": now,
        "content": encode(CreateReport(request_id="0", report_requests=(request,))),
    }
    statement = upsert(request_table).values(
        ven_id=ven_id, report_request_id=request.report_request_id, **row
    )
    keys = ["ven_id", "report_request_id"]
    await conn.execute(statement.on_conflict_do_update(index_elements=keys, set_=row))


async def _pending(conn: AsyncConnection, ven_id: str) -> tuple[str, ...]:
    t = request_table
    rows = await conn.execute(
        select(t.c.report_request_id)
        .where(t.c.ven_id == ven_id)
        .order_by(t.c.requested_at, t.c.report_request_id)
    )
    return tuple(rows.scalars())


async def _answer_from_last(
    conn: AsyncConnection, ven_id: str, request: ReportRequest, now: datetime
) -> None:
    """One report of the data published last: a single report at once (RPT-16), or the one to follow."""
    if is_periodic(request):
        return
    last = await _last(conn, request.report_specifier.report_specifier_id)
    if last is not None:
        await _send(conn, ven_id, request, last, now)


async def _last(conn: AsyncConnection, specifier_id: str) -> Report | None:
    t = report_table
    found = await conn.execute(select(t.c.latest).where(t.c.specifier_id == specifier_id))
    content = found.scalar_one_or_none()
    message = None if content is None else decode(content, OWN)
    return message.reports[0] if isinstance(message, UpdateReport) else None


async def publish(conn: AsyncConnection, report: Report, now: datetime) -> int:
    """Send data (its request id is of no meaning) to every VEN that asked for them; gives how many.

    UnknownObject where the specifier is not offered, ValueError where the data break a rule.
    """
    t = report_table
    own = {each.report_specifier_id: each for each in await offered(conn)}.get(report.report_specifier_id)
    if own is None:
        raise UnknownObject(f"no report {report.report_specifier_id!r} is offered")
    message = UpdateReport(request_id="0", reports=(report,))
    _check((*update_report(message), *data_of(report, own)))
    await conn.execute(
        update(t).where(t.c.specifier_id == report.report_specifier_id).values(latest=encode(message))
    )
    asking = select(request_table.c.ven_id, request_table.c.content).where(
        request_table.c.specifier_id == report.report_specifier_id
    )
    sent = 0
    for row in (await conn.execute(asking)).all():
        asked_for = decode(row.content, OWN)
        if isinstance(asked_for, CreateReport):
            sent += await _send(conn, row.ven_id, asked_for.report_requests[0], report, now)
    return sent


def _check(findings: Iterable[Finding]) -> None:
    for finding in findings:
        if not finding.warning:
            raise ValueError(f"{finding.rule}: {finding.text}")


async def _send(
    conn: AsyncConnection, ven_id: str, request: ReportRequest, report: Report, now: datetime
) -> bool:
    """Queue what was asked for, within its period; a request that is over, or unheeded, is dropped."""
    period = request.report_specifier.report_interval
    periodic = is_periodic(request)
    if periodic and period is not None and now < period.dtstart:
        return False
    over = periodic and period is not None and period.end is not None and now >= period.end
    unheeded = len(await outbox.waiting(conn, ven_id, outbox.UPDATE_REPORT)) >= LIMIT
    if not periodic or over or unheeded:
        await _drop(conn, ven_id, [request.report_request_id])
    if over or unheeded:
        return False
    made = replace(_reduced(report, request), report_request_id=request.report_request_id)
    # from what it says: asked for again after a lost answer, it is the same message
    text = f"{ven_id} {made.report_request_id} {made.created_date_time.isoformat()}"
    message_id = hashlib.sha256(text.encode()).hexdigest()[:16]
    message = UpdateReport(request_id=message_id, reports=(made,), ven_id=ven_id)
    await outbox.queue(conn, ven_id, outbox.UPDATE_REPORT, message.request_id, message=message, now=now)
    return True


def _reduced(report: Report, request: ReportRequest) -> Report:
    """The data points that were asked for."""
    wanted = {point.r_id for point in request.report_specifier.specifier_payloads}
    intervals = tuple(
        replace(interval, payloads=tuple(each for each in interval.payloads if each.r_id in wanted))
        for interval in report.intervals
        if interval.feeds or any(each.r_id in wanted for each in interval.payloads)
    )
    return replace(report, intervals=intervals)


async def canceled(
    conn: AsyncConnection, message: CancelReport, ven_id: str, now: datetime
) -> CanceledReport:
    """A VEN ends reports of ours: those that can be, and 452 for the others (RPT-39)."""
    known = set(await _pending(conn, ven_id))
    code = EiResponse.ok(message.request_id)
    unknown = [each for each in message.report_request_ids if each not in known]
    if unknown:
        code = replace(code, code="452", description=f"reportRequestID {unknown[0]} is not known")
    await _cancel(conn, message, ven_id, now)
    return CanceledReport(response=code, pending_reports=await _pending(conn, ven_id), ven_id=ven_id)


async def _cancel(conn: AsyncConnection, message: CancelReport, ven_id: str, now: datetime) -> None:
    t = request_table
    mine = t.c.ven_id == ven_id, t.c.report_request_id.in_(message.report_request_ids)
    if message.report_to_follow:
        for content in (await conn.execute(select(t.c.content).where(*mine))).scalars().all():
            asked_for = decode(content, OWN)
            if isinstance(asked_for, CreateReport):
                request = asked_for.report_requests[0]
                last = await _last(conn, request.report_specifier.report_specifier_id)
                if last is not None:
                    await _send(conn, ven_id, request, last, now)  # RPT-40
    await _drop(conn, ven_id, message.report_request_ids)


async def _drop(conn: AsyncConnection, ven_id: str, request_ids: Sequence[str]) -> None:
    t = request_table
    await conn.execute(delete(t).where(t.c.ven_id == ven_id, t.c.report_request_id.in_(request_ids)))


async def delivered(conn: AsyncConnection, message: UpdatedReport, ven_id: str, now: datetime) -> None:
    """The VEN has a report of ours, and may end some along with that (RPT-41)."""
    await outbox.answered(conn, ven_id, outbox.UPDATE_REPORT, [message.response.request_id])
    if message.cancel_report is not None:
        await _cancel(conn, message.cancel_report, ven_id, now)


async def forget(conn: AsyncConnection, ven_id: str) -> None:
    """The VEN's registration has ended: nothing of ours is asked for by it any more (RPT-43)."""
    await conn.execute(delete(request_table).where(request_table.c.ven_id == ven_id))
    await outbox.withdraw(conn, ven_id, outbox.UPDATE_REPORT)
