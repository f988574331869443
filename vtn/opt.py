"""What VENs answer to events, and when they say they take part.

Rules: every answer is kept in order, a repeat of the last one is no new one; the event's state follows its
newest modification only (EVT-36, EVT-39), or what CreateOpts say of it (`qualification`). What is said after
an event's end is kept as history and changes nothing. Schedules are read by `availability`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import RowMapping, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import CreatedEvent, CreateOpt, EventResponse, encode, opt_rules
from openadr.errors import ComplianceError, InvalidData, InvalidId, OutOfSequence, ProtocolError
from vtn import availability, given, journal, outbox, qualification
from vtn.opt_policy import OptPolicies
from vtn.registration import Ven
from vtn.schema import micros, opt_table

CREATED_EVENT = "created_event"
CREATE_OPT = "create_opt"
# CROSS JOIN here and elsewhere keeps the order of the tables: one look for each id that is given
_STANDING = """
SELECT e.event_id, e.modification_number, e.ends_at,
    last.modification_number AS last_number, last.opt_type AS last_opt, last.response_code AS last_code,
    EXISTS (
        SELECT 1 FROM vtn_opt AS o
        WHERE o.ven_id = e.ven_id AND o.event_id = e.event_id AND o.content IS NOT NULL
    ) AS is_qualified
FROM json_each(?) AS given
CROSS JOIN vtn_event AS e
LEFT JOIN vtn_opt AS last ON last.seq = (
    SELECT max(o.seq) FROM vtn_opt AS o
    WHERE o.ven_id = e.ven_id AND o.event_id = e.event_id AND o.source = 'created_event'
)
WHERE e.ven_id = ? AND e.event_id = given.key
"""
_KEEP = """
INSERT INTO vtn_opt (ven_id, at, source, opt_type, event_id, modification_number, response_code)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_APPLY = """
UPDATE vtn_event
SET delivered_at = coalesce(delivered_at, ?), response_code = ?, responded_at = ?, opt = coalesce(?, opt)
WHERE ven_id = ? AND event_id = ?
"""
_COUNT = "SELECT count(*) FROM vtn_opt WHERE ven_id = ?"
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
    if not message.response.is_success:
        return None  # EVT-35: then the answers are not examined
    answers = {r.event_id: r for r in sorted(message.event_responses, key=lambda r: r.modification_number)}
    known = await _standing(conn, ven.ven_id, list(answers))
    fault: ProtocolError | None = None
    said, current = [], []
    for event_id, response in answers.items():
        row = known.get(event_id)
        if row is None:
            continue
        if response.modification_number > row["modification_number"]:
            fault = OutOfSequence("a modificationNumber was never sent", rule="EVT-38")
            continue
        last = (row["last_number"], row["last_opt"], row["last_code"])
        if last != (response.modification_number, str(response.opt_type), response.code):
            said.append(response)
        if response.modification_number < row["modification_number"]:
            fault = OutOfSequence("a newer modification of the event exists", rule="EVT-39")
            continue
        current.append((response, row))
    await _keep_answers(conn, said, ven, now)
    await _apply(conn, current, ven.ven_id, now)
    return fault if len(known) == len(answers) else InvalidId("an eventID is not known", rule="EVT-38")


async def _standing(conn: AsyncConnection, ven_id: str, event_ids: Sequence[str]) -> dict[str, RowMapping]:
    """Those of the events that the VEN has, with its last answer to each; others cost next to nothing."""
    rows = await conn.exec_driver_sql(_STANDING, (given.ids(event_ids), ven_id))
    return {row["event_id"]: row for row in rows.mappings()}


async def _keep_answers(
    conn: AsyncConnection, said: Sequence[EventResponse], ven: Ven, now: datetime
) -> None:
    """Add answers to the history and the journal."""
    if not said:
        return
    before = await _count(conn, ven.ven_id)
    rows = [
        (
            ven.ven_id,
            micros(now),
            CREATED_EVENT,
            str(response.opt_type),
            response.event_id,
            response.modification_number,
            response.code,
        )
        for response in said
    ]
    await conn.exec_driver_sql(_KEEP, rows)
    facts = [
        _fact(
            ven,
            response.event_id,
            response.modification_number,
            number,
            opt_type=str(response.opt_type),
            code=response.code,
        )
        for number, response in enumerate(said, before + 1)
    ]
    await journal.record_all(conn, "opt", facts, now)


async def _apply(
    conn: AsyncConnection, current: Sequence[tuple[EventResponse, RowMapping]], ven_id: str, now: datetime
) -> None:
    """Let events say what was answered to their newest modification, and offer them no more."""
    if not current:
        return
    changes = []
    for response, row in current:
        if row["ends_at"] is not None and row["ends_at"] <= micros(now):
            continue
        settled = row["is_qualified"] and await qualification.is_settled(conn, ven_id, response.event_id)
        opt = None if settled else str(response.opt_type)
        changes.append((micros(now), response.code, micros(now), opt, ven_id, response.event_id))
    if changes:
        await conn.exec_driver_sql(_APPLY, changes)
    await outbox.answered(conn, ven_id, outbox.EVENT, [response.event_id for response, _ in current])


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
    fact = _fact(
        ven,
        message.event_id or "",
        message.modification_number or 0,
        await _count(conn, ven.ven_id),
        opt_type=str(message.opt_type),
        opt_id=message.opt_id,
    )
    await journal.record_all(conn, "opt", [fact], now)


def _check(message: CreateOpt, ven: Ven) -> None:
    for finding in opt_rules.create_opt(message):
        raise ERRORS.get(finding.rule, ComplianceError)(finding.text, rule=finding.rule)
    if any(ven_id != ven.ven_id for ven_id in message.target.ven_id):
        raise InvalidId("the target names another venID", rule="OPT-05")


async def _count(conn: AsyncConnection, ven_id: str) -> int:
    rows = await conn.exec_driver_sql(_COUNT, (ven_id,))
    return int(rows.scalar_one())


def _fact(
    ven: Ven, event_id: str, modification_number: int, number: int, *, opt_type: str, **more: str
) -> journal.New:
    """The fact of an opt; the number in its key tells an opt that comes back from a repeat of the first."""
    body = {
        "ven_id": ven.ven_id,
        "event_id": event_id,
        "modification_number": modification_number,
        "opt_type": opt_type,
        **more,
    }
    return journal.New(ven.ven_id, f"{event_id}/{modification_number}/{number}", body, None)
