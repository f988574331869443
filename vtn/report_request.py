"""The life of what a VEN is asked to report.

    asked --CreatedReport--> running --our CancelReport--> cancelling --CanceledReport--> ended
      |  refused                |  new metadata (RPT-07), asked for anew or ended
      +----------> ended <------+

Rules: a request is kept after its end, so that data which come late or again are still known (RPT-34,
RPT-36); all of it goes with the registration (RPT-43). A cancellation waits for a poll; a report that comes
before takes it along (RPT-41). Reports that keep coming are cancelled again.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.dialects.postgresql import Insert, insert  # SQLite compiles it too
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    ReportRequest,
    decode,
    encode,
)
from openadr.errors import InvalidId, ProtocolError
from openadr.parser import OWN
from openadr.report_request import METADATA, asks_metadata, check_request, is_periodic
from openadr.report_rules import report_requests
from vtn import outbox
from vtn.catalogue import Offered, catalogue
from vtn.errors import DuplicateRequest, NotOffered, UnknownObject
from vtn.schema import journal_table, ven_table
from vtn.schema import report_request_table as request_table
from vtn.schema import report_spec_table as spec_table

__all__ = ["Offered", "Requested", "cancel_report", "catalogue", "request_report", "requests"]

CANCELLED, REPLACED, FINISHED = "cancelled", "replaced", "finished"


class RequestState(StrEnum):
    """Where a request stands."""

    ASKED = "asked"
    RUNNING = "running"
    CANCELLING = "cancelling"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Requested:
    """A report that a VEN was asked for. `outcome`: cancelled, replaced, finished, or a response code."""

    report_request_id: str
    specifier_id: str
    report_name: str
    request: ReportRequest | None
    by_operator: bool
    requested_at: datetime
    accepted_at: datetime | None
    cancelled_at: datetime | None
    ended_at: datetime | None
    outcome: str | None
    last_report_at: datetime | None

    @property
    def state(self) -> RequestState:
        """Where it stands."""
        if self.ended_at is not None:
            return RequestState.ENDED
        if self.cancelled_at is not None:
            return RequestState.CANCELLING
        return RequestState.ASKED if self.accepted_at is None else RequestState.RUNNING


def write_request(request: ReportRequest) -> bytes:
    """A request as it is kept: in a CreateReport of its own."""
    return encode(CreateReport(request_id="0", report_requests=(request,)))


def read_request(content: bytes | None) -> ReportRequest | None:
    """The request in what `write_request` wrote."""
    message = None if content is None else decode(content, OWN)
    return message.report_requests[0] if isinstance(message, CreateReport) else None


async def requests(conn: AsyncConnection, ven_id: str) -> list[Requested]:
    """Everything that a VEN was asked for since it registered, oldest first."""
    t = request_table
    rows = await conn.execute(
        select(t).where(t.c.ven_id == ven_id).order_by(t.c.requested_at, t.c.report_request_id)
    )
    return [
        Requested(
            row.report_request_id,
            row.specifier_id,
            row.report_name,
            read_request(row.content),
            row.by_operator,
            row.requested_at,
            row.accepted_at,
            row.cancelled_at,
            row.ended_at,
            row.outcome,
            await _last_report(conn, ven_id, row.report_request_id),
        )
        for row in rows.all()
    ]


async def _last_report(conn: AsyncConnection, ven_id: str, request_id: str) -> datetime | None:
    t = journal_table
    prefix = f"report/{ven_id}/{request_id}/"
    newest = select(t.c.at).where(t.c.key > prefix, t.c.key < prefix[:-1] + "0").order_by(t.c.key.desc())
    return (await conn.execute(newest.limit(1))).scalar_one_or_none()


async def request_report(conn: AsyncConnection, ven_id: str, request: ReportRequest, now: datetime) -> None:
    """Ask a VEN for a report (or, by specifier METADATA, for its metadata) at its next poll.

    The same request again changes nothing. UnknownObject: no such registered VEN. NotOffered: the VEN's
    metadata do not cover it, or it breaks a rule of requests. DuplicateRequest: the id is in use (RPT-12).
    """
    await _check_registered(conn, ven_id)
    for finding in report_requests((request,)):
        raise NotOffered("454", f"{finding.rule}: {finding.text}")
    known = await rows_of(conn, ven_id, [request.report_request_id])
    if known and read_request(known[0].content) != request:
        raise DuplicateRequest(f"the report request id {request.report_request_id!r} is in use")
    if known and known[0].ended_at is None:
        return
    if not asks_metadata(request):
        offered = [each.report for each in await catalogue(conn, ven_id) if each.report is not None]
        try:
            check_request(request, offered)
        except ProtocolError as error:
            raise NotOffered(error.code, error.description) from error
    await keep_requests(conn, ven_id, ((request, write_request(request)),), now, by_operator=True)
    await _forget_answer(conn, ven_id)
    message = CreateReport(request_id=secrets.token_hex(8), report_requests=(request,), ven_id=ven_id)
    await outbox.queue(conn, ven_id, outbox.CREATE_REPORT, message.request_id, message=message, now=now)


async def _check_registered(conn: AsyncConnection, ven_id: str) -> None:
    query = select(ven_table.c.registration_id).where(ven_table.c.ven_id == ven_id)
    if (await conn.execute(query)).scalar_one_or_none() is None:
        raise UnknownObject(f"no registered VEN has the id {ven_id!r}")


async def cancel_report(
    conn: AsyncConnection, ven_id: str, request_ids: Iterable[str], report_to_follow: bool, now: datetime
) -> None:
    """End reports of a VEN at its next poll or with its next report, after one more if `report_to_follow`.

    UnknownObject, and nothing changes, where one of the ids is unknown or at its end.
    """
    ids = list(dict.fromkeys(request_ids))
    running = {row.report_request_id for row in await rows_of(conn, ven_id, ids) if row.ended_at is None}
    unknown = [each for each in ids if each not in running]
    if unknown or not ids:
        raise UnknownObject(f"no such report is asked of {ven_id!r}: {', '.join(unknown) or 'none named'}")
    await change(conn, ven_id, ids, cancelled_at=now, report_to_follow=report_to_follow)
    await _forget_answer(conn, ven_id)
    await _queue_cancel(conn, ven_id, ids, report_to_follow, now)


async def _forget_answer(conn: AsyncConnection, ven_id: str) -> None:
    """What is asked for has changed: the same metadata again must not bring the old answer back."""
    await conn.execute(update(ven_table).where(ven_table.c.ven_id == ven_id).values(metadata_key=None))


async def _queue_cancel(
    conn: AsyncConnection, ven_id: str, ids: Sequence[str], follow: bool, now: datetime
) -> None:
    message = _cancellation(ven_id, ids, follow)
    await outbox.queue(conn, ven_id, outbox.CANCEL_REPORT, message.request_id, message=message, now=now)


def _cancellation(ven_id: str, ids: Sequence[str], follow: bool) -> CancelReport:
    key = secrets.token_hex(8)
    return CancelReport(request_id=key, report_request_ids=tuple(ids), report_to_follow=follow, ven_id=ven_id)


async def _cancel_again(conn: AsyncConnection, ven_id: str, request_id: str, now: datetime) -> None:
    """What waits says it already: one message is enough, however many reports still come."""
    for key, message in (await outbox.messages(conn, ven_id, outbox.CANCEL_REPORT)).items():
        if isinstance(message, CancelReport) and request_id in message.report_request_ids:
            return await outbox.resume(conn, ven_id, outbox.CANCEL_REPORT, key)
    return await _queue_cancel(conn, ven_id, [request_id], follow=False, now=now)


async def rows_of(conn: AsyncConnection, ven_id: str, ids: Collection[str] | None = None) -> list[Row[Any]]:
    """What a VEN was asked for, all of it or these."""
    query = select(request_table).where(request_table.c.ven_id == ven_id)
    if ids is not None:
        query = query.where(request_table.c.report_request_id.in_(list(ids)))
    return list(await conn.execute(query))


async def change(conn: AsyncConnection, ven_id: str, ids: Collection[str], **values: object) -> None:
    """Set columns of these requests."""
    t = request_table
    await conn.execute(
        update(t).where(t.c.ven_id == ven_id, t.c.report_request_id.in_(list(ids))).values(values)
    )


async def keep_requests(
    conn: AsyncConnection,
    ven_id: str,
    wanted: Sequence[tuple[ReportRequest, bytes]],
    now: datetime,
    *,
    by_operator: bool = False,
) -> None:
    """Write down what a VEN is asked for, each with what `write_request` makes of it.

    ValueError where its metadata have no such specifier.
    """
    t = spec_table
    specs = await conn.execute(select(t.c.specifier_id, t.c.report_name).where(t.c.ven_id == ven_id))
    names = {METADATA: METADATA} | {row.specifier_id: row.report_name for row in specs}
    rows = []
    for request, content in wanted:
        specifier = request.report_specifier
        name = names.get(specifier.report_specifier_id)
        if name is None:
            raise ValueError(f"VEN {ven_id!r} offers no report {specifier.report_specifier_id!r}")
        period = specifier.report_interval
        row = {
            "ven_id": ven_id,
            "report_request_id": request.report_request_id,
            "specifier_id": specifier.report_specifier_id,
            "report_name": name,
            "r_ids": [payload.r_id for payload in specifier.specifier_payloads],
            "start": period.dtstart if period else None,
            "end": period.end if period else None,
            "requested_at": now,
            "content": content,
            "by_operator": by_operator,
        }
        rows.append(row)
    if rows:
        await conn.execute(_KEEP, rows)


def _keep() -> Insert:
    """A request takes the place of the one of its id, of which nothing stays."""
    statement = insert(request_table)
    changes = {column.name: column for column in statement.excluded if column.name not in _KEY}
    return statement.on_conflict_do_update(index_elements=_KEY, set_=changes)


_KEY = ("ven_id", "report_request_id")
_KEEP = _keep()


async def answers_metadata_request(
    conn: AsyncConnection, ven_id: str, request_id: str, now: datetime
) -> None:
    """These metadata name the request that they answer (RPT-04); InvalidId where it is none of ours."""
    known = [row for row in await rows_of(conn, ven_id, [request_id]) if row.specifier_id == METADATA]
    if not known:
        raise InvalidId(f"reportRequestID {request_id} asked for no metadata", rule="RPT-44")
    request = read_request(known[0].content)
    if request is not None and not is_periodic(request):
        await change(conn, ven_id, [request_id], ended_at=now, outcome=FINISHED)


async def created(conn: AsyncConnection, message: CreatedReport, ven_id: str, now: datetime) -> None:
    """The VEN says which of the requests it will serve (RPT-21, RPT-22)."""
    rows = {row.report_request_id: row for row in await rows_of(conn, ven_id)}
    response, pending = message.response, set(message.pending_reports)
    if response.is_success and not pending <= rows.keys():
        raise InvalidId("a reportRequestID is not known", rule="RPT-44")
    in_messages = await unanswered(conn, ven_id)
    asked = _asked_in(in_messages, response.request_id, rows.values())
    taken = (pending | asked) if response.is_success else pending
    fresh = [each for each in taken & rows.keys() if rows[each].accepted_at is None]
    await change(conn, ven_id, fresh, accepted_at=now)
    if not response.is_success:
        await change(conn, ven_id, asked - pending, ended_at=now, outcome=response.code)
    # what is listed as pending was heard, also where the requestID is not echoed (GEN-14)
    heard = {key for key, ids in in_messages.items() if response.is_success and ids <= pending}
    await outbox.answered(conn, ven_id, outbox.CREATE_REPORT, heard | {response.request_id})


async def unanswered(conn: AsyncConnection, ven_id: str) -> dict[str, set[str]]:
    """The ids that each CreateReport asks for that the VEN has not answered."""
    messages = await outbox.messages(conn, ven_id, outbox.CREATE_REPORT)
    return {
        key: {request.report_request_id for request in message.report_requests}
        for key, message in messages.items()
        if isinstance(message, CreateReport)
    }


def _asked_in(in_messages: Mapping[str, set[str]], request_id: str, rows: Iterable[Row[Any]]) -> set[str]:
    """The ids that the answered message asked for: a CreateReport, else those that rode along (RPT-09)."""
    if request_id in in_messages:
        return in_messages[request_id]
    others = {each for ids in in_messages.values() for each in ids}
    open_ = {row.report_request_id for row in rows if row.accepted_at is None and row.ended_at is None}
    return open_ - others


async def canceled(conn: AsyncConnection, message: CanceledReport, ven_id: str, now: datetime) -> None:
    """The VEN has ended reports; one that it refused to end and still lists goes on (RPT-39)."""
    waiting = await outbox.messages(conn, ven_id, outbox.CANCEL_REPORT)
    asked = waiting.get(message.response.request_id)
    if not isinstance(asked, CancelReport):
        return  # a repeat: it is done
    ids = set(asked.report_request_ids)
    kept = set() if message.response.is_success else ids & set(message.pending_reports)
    await change(conn, ven_id, kept, cancelled_at=None, report_to_follow=None)
    await _end_cancelled(conn, ven_id, ids - kept, now)
    await outbox.answered(conn, ven_id, outbox.CANCEL_REPORT, [asked.request_id])


async def _end_cancelled(conn: AsyncConnection, ven_id: str, ids: Collection[str], now: datetime) -> None:
    t = request_table
    await conn.execute(
        update(t)
        .where(t.c.ven_id == ven_id, t.c.report_request_id.in_(list(ids)), t.c.ended_at.is_(None))
        .values(ended_at=now, outcome=CANCELLED)
    )


async def still_coming(
    conn: AsyncConnection, ven_id: str, stopped: Sequence[tuple[Row[Any], datetime]], now: datetime
) -> CancelReport | None:
    """What to say to reports of requests that we have cancelled or that have ended.

    `stopped`: the rows, each with the createdDateTime of its report. A cancellation that waits rides along in
    the answer (RPT-41); after it, or after new metadata, a report made later than the end is cancelled by a
    message of its own, but for the one that was to follow (RPT-40).
    """
    waiting = [row for row, _ in stopped if row.ended_at is None]
    for row, created_at in stopped:
        if row.ended_at is None or row.outcome not in (CANCELLED, REPLACED) or created_at <= row.ended_at:
            continue
        if row.report_to_follow and row.final_at in (None, created_at):
            await change(conn, ven_id, [row.report_request_id], final_at=created_at)
            continue
        await _cancel_again(conn, ven_id, row.report_request_id, now)
    if not waiting:
        return None
    follow = bool(waiting[0].report_to_follow)
    ids = [row.report_request_id for row in waiting if bool(row.report_to_follow) is follow]
    await _end_cancelled(conn, ven_id, ids, now)
    for key, message in (await outbox.messages(conn, ven_id, outbox.CANCEL_REPORT)).items():
        if isinstance(message, CancelReport) and set(ids).issuperset(message.report_request_ids):
            await outbox.answered(conn, ven_id, outbox.CANCEL_REPORT, [key])
    return _cancellation(ven_id, ids, follow)
