"""What VENs answer to events, and when they say they take part.

Rules: every answer is kept in order, a repeat of the last one is no new one; the event's state follows its
newest modification only (EVT-36, EVT-39), or what CreateOpts say of it (`qualification`). What is said after
an event's end is kept as history and changes nothing. Schedules are read by `availability`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import CreatedEvent, CreateOpt, EventResponse, encode, opt_rules
from openadr.errors import ComplianceError, InvalidData, InvalidId, OutOfSequence, ProtocolError
from vtn import availability, journal, outbox, qualification
from vtn.opt_policy import OptPolicies
from vtn.registration import Ven
from vtn.schema import event_table, opt_table

CREATED_EVENT = "created_event"
CREATE_OPT = "create_opt"
ERRORS = {"OPT-04": InvalidId, "OPT-10": InvalidData}


@dataclass(frozen=True, slots=True)
class OptEntry:
    """One answer of a VEN, as the operator sees it; `whole` is False if it speaks for some parts only.

    `resources` are the resource ids among those parts.
    """

    ven_id: str
    at: datetime
    source: str
    opt_type: str
    event_id: str | None
    modification_number: int | None
    opt_id: str | None
    response_code: str | None
    whole: bool = True
    reason: str | None = None
    resources: tuple[str, ...] = ()


async def opts(conn: AsyncConnection, event_id: str) -> list[OptEntry]:
    """Every answer to this event, in the order in which the answers came."""
    t = opt_table
    columns = (
        t.c.ven_id,
        t.c.at,
        t.c.source,
        t.c.opt_type,
        t.c.event_id,
        t.c.modification_number,
        t.c.opt_id,
        t.c.response_code,
        t.c.content,
    )
    rows = await conn.execute(select(*columns).where(t.c.event_id == event_id).order_by(t.c.seq))
    return [_with_parts(OptEntry(*entry), content) for *entry, content in rows]


def _with_parts(entry: OptEntry, content: bytes | None) -> OptEntry:
    if content is None:
        return entry
    message = availability.read(content)
    return replace(
        entry,
        whole=availability.is_whole_ven(message),
        reason=message.opt_reason,
        resources=message.target.resource_id,
    )


async def created_event(
    conn: AsyncConnection, message: CreatedEvent, ven: Ven, now: datetime
) -> ProtocolError | None:
    """Take a VEN's answers: the good ones count, a fault is given back for the reply (EVT-34, EVT-38).

    Of several answers to one event in one message the last one to its newest modification counts.
    """
    fault: ProtocolError | None = None
    if not message.response.is_success:
        return None  # EVT-35: then the answers are not examined
    answers = {r.event_id: r for r in sorted(message.event_responses, key=lambda r: r.modification_number)}
    t = event_table
    mine = (t.c.ven_id == ven.ven_id, t.c.event_id.in_(list(answers)))
    known = set((await conn.execute(select(t.c.event_id).where(*mine))).scalars())
    for event_id, response in answers.items():
        if event_id in known:  # a message full of others costs one query
            fault = await _answer(conn, response, ven, now) or fault
    return fault if len(known) == len(answers) else InvalidId("an eventID is not known", rule="EVT-38")


async def _answer(
    conn: AsyncConnection, response: EventResponse, ven: Ven, now: datetime
) -> ProtocolError | None:
    t = event_table
    mine = (t.c.ven_id == ven.ven_id, t.c.event_id == response.event_id)
    columns = (t.c.modification_number, t.c.delivered_at, t.c.ends_at)
    row = (await conn.execute(select(*columns).where(*mine))).one()
    if response.modification_number > row.modification_number:
        return OutOfSequence("a modificationNumber was never sent", rule="EVT-38")
    await _keep_answer(conn, response, ven, now)
    if response.modification_number < row.modification_number:
        return OutOfSequence("a newer modification of the event exists", rule="EVT-39")
    if row.ends_at is None or now < row.ends_at:
        changes = {
            "delivered_at": row.delivered_at or now,
            "response_code": response.code,
            "responded_at": now,
        }
        if not await qualification.is_settled(conn, ven.ven_id, response.event_id):
            changes["opt"] = str(response.opt_type)
        await conn.execute(update(t).where(*mine).values(**changes))
    await outbox.answered(conn, ven.ven_id, outbox.EVENT, [response.event_id])
    return None


async def _keep_answer(conn: AsyncConnection, response: EventResponse, ven: Ven, now: datetime) -> None:
    """Add the answer to the history and the journal, unless it repeats the VEN's last one to this event."""
    t = opt_table
    last = await conn.execute(
        select(t.c.modification_number, t.c.opt_type, t.c.response_code)
        .where(
            t.c.ven_id == ven.ven_id,
            t.c.event_id == response.event_id,
            t.c.source == CREATED_EVENT,
        )
        .order_by(t.c.seq.desc())
        .limit(1)
    )
    row = (response.modification_number, str(response.opt_type), response.code)
    if last.one_or_none() == row:
        return
    await conn.execute(
        insert(t).values(
            ven_id=ven.ven_id,
            at=now,
            source=CREATED_EVENT,
            opt_type=row[1],
            event_id=response.event_id,
            modification_number=row[0],
            response_code=response.code,
        )
    )
    await _record(conn, ven, response.event_id, row[0], opt_type=row[1], now=now, code=response.code)


async def create_opt(
    conn: AsyncConnection, message: CreateOpt, ven: Ven, now: datetime, policies: OptPolicies
) -> None:
    """Take a schedule, or the qualification of an event; the same message again is the same opt."""
    _check(message, ven)
    content = encode(message)
    key = hashlib.sha256(content).hexdigest()
    t = opt_table
    repeat = await conn.execute(select(t.c.seq).where(t.c.ven_id == ven.ven_id, t.c.key == key))
    if repeat.one_or_none() is not None:
        return
    if message.event_id is not None:
        await qualification.check(conn, message, ven.ven_id)
    else:
        await availability.supersede(conn, message, ven.ven_id, policies, now)
    await conn.execute(
        insert(t).values(
            ven_id=ven.ven_id,
            key=key,
            at=now,
            source=CREATE_OPT,
            opt_type=str(message.opt_type),
            event_id=message.event_id,
            modification_number=message.modification_number,
            opt_id=message.opt_id,
            content=content,
        )
    )
    if message.event_id is not None:
        await qualification.apply(conn, message.event_id, ven.ven_id, now)
    number = message.modification_number or 0
    await _record(
        conn,
        ven,
        message.event_id or "",
        number,
        opt_type=str(message.opt_type),
        now=now,
        opt_id=message.opt_id,
    )


def _check(message: CreateOpt, ven: Ven) -> None:
    for finding in opt_rules.create_opt(message):
        raise ERRORS.get(finding.rule, ComplianceError)(finding.text, rule=finding.rule)
    if any(ven_id != ven.ven_id for ven_id in message.target.ven_id):
        raise InvalidId("the target names another venID", rule="OPT-05")


async def _record(
    conn: AsyncConnection,
    ven: Ven,
    event_id: str,
    modification_number: int,
    *,
    opt_type: str,
    now: datetime,
    **more: str,
) -> None:
    """The fact of an opt; the number in its key tells an opt that comes back from a repeat of the first."""
    t = opt_table
    count = select(func.count()).select_from(t).where(t.c.ven_id == ven.ven_id)
    number = (await conn.execute(count)).scalar_one()
    body = {
        "ven_id": ven.ven_id,
        "event_id": event_id,
        "modification_number": modification_number,
        "opt_type": opt_type,
        **more,
    }
    key = f"{event_id}/{modification_number}/{number}"
    await journal.record(conn, "opt", ven.ven_id, key, body=body, now=now)
