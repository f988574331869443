"""Asking anew: what a VEN is asked for in answer to its metadata, with which all its reports end (RPT-07).

A request may name a thousand data points: the encoder writes it once, for the table and for the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import CancelReport, EiResponse, ProtocolError, RegisteredReport, Report, ReportRequest, encode
from openadr.report_request import METADATA, check_request, is_periodic
from vtn import outbox
from vtn.report_request import (
    REPLACED,
    change,
    keep_requests,
    read_request,
    rows_of,
    unanswered,
    write_request,
)

_REQUEST, _REQUEST_END = b"<oadr:oadrReportRequest>", b"</oadr:oadrReportRequest>"
_VEN_ID = b"<ei:venID>"  # it follows the requests


async def renew(
    conn: AsyncConnection,
    ven_id: str,
    wanted: Sequence[ReportRequest],
    offered: Sequence[Report],
    now: datetime,
) -> list[bytes]:
    """What to ask of a VEN whose metadata have come, each request as `write_request` writes it.

    `wanted`, and what the operator asked for periodically as far as it is still offered. A request that
    differs from the one before in its start alone goes on as it was, so that no period falls between.
    """
    rows = [row for row in await rows_of(conn, ven_id) if row.ended_at is None]
    lasting = {row.report_request_id for row in rows if row.specifier_id == METADATA}  # RPT-42
    rows = [row for row in rows if row.report_request_id not in lasting]
    for key, message in (await outbox.messages(conn, ven_id, outbox.CANCEL_REPORT)).items():
        if isinstance(message, CancelReport) and lasting.isdisjoint(message.report_request_ids):
            await outbox.answered(conn, ven_id, outbox.CANCEL_REPORT, [key])
    before = {row.report_request_id: row for row in rows if row.cancelled_at is None}
    asked = [_continued(before.get(request.report_request_id), request) for request in wanted]
    taken = {request.report_request_id for request in wanted}
    over, again = [], []
    for row in rows:
        old = read_request(row.content) if row.by_operator and row.cancelled_at is None else None
        if row.report_request_id in taken or (row.accepted_at is None and old and _is_offered(old, offered)):
            continue  # asked anew, or its CreateReport still waits
        if old is not None and _goes_on(old, offered, now):
            again.append((old, row.content))
        else:
            over.append(row.report_request_id)
    await change(conn, ven_id, over, ended_at=now, outcome=REPLACED)
    await _withdraw(conn, ven_id, set(over))
    await keep_requests(conn, ven_id, asked, now)
    await keep_requests(conn, ven_id, again, now, by_operator=True)
    return [content for _, content in (*asked, *again)]


async def _withdraw(conn: AsyncConnection, ven_id: str, over: set[str]) -> None:
    """Offer no request that has ended, such as one for what is offered no more (RPT-13)."""
    for key, ids in (await unanswered(conn, ven_id)).items() if over else ():
        if ids <= over:
            await outbox.answered(conn, ven_id, outbox.CREATE_REPORT, [key])


def answer(request_id: str, ven_id: str, asked: Sequence[bytes]) -> bytes:
    """The RegisteredReport with these requests, in bytes."""
    whole = encode(RegisteredReport(response=EiResponse.ok(request_id), ven_id=ven_id))
    head, following, tail = whole.rpartition(_VEN_ID)
    return b"".join((head, *map(_element, asked), following, tail))


def _element(content: bytes) -> bytes:
    """The request in a CreateReport, whose prefixes a RegisteredReport declares too."""
    return content[content.index(_REQUEST) : content.rindex(_REQUEST_END) + len(_REQUEST_END)]


def _continued(before: Row[Any] | None, request: ReportRequest) -> tuple[ReportRequest, bytes]:
    specifier = request.report_specifier
    period = specifier.report_interval
    if (
        before is not None
        and period is not None
        and is_periodic(request)
        and not period.duration
        and before.start is not None
        and before.start <= period.dtstart
        and before.r_ids == [payload.r_id for payload in specifier.specifier_payloads]
    ):
        moved = replace(specifier, report_interval=replace(period, dtstart=before.start))
        same = replace(request, report_specifier=moved)
        content = write_request(same)
        if content == before.content:
            return same, content
    return request, write_request(request)


def _goes_on(request: ReportRequest, offered: Sequence[Report], now: datetime) -> bool:
    period = request.report_specifier.report_interval
    if not is_periodic(request) or (period is not None and period.end is not None and period.end <= now):
        return False
    return _is_offered(request, offered)


def _is_offered(request: ReportRequest, offered: Sequence[Report]) -> bool:
    try:
        check_request(request, offered)
    except ProtocolError:
        return False
    return True
