"""All SQL of agreements and of what is to be booked under them: the local mirror of what the contract holds.
The tables are in `agreement_schema`; calls and orders are in `call_store`. Functions take the caller's
connection and never commit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.agreement import (
    Booking,
    Revision,
    Settled,
    Standing,
    State,
    Terms,
    booking_from,
    new_salt,
    revision_from,
    salted_id,
    settled_from,
    standing_from,
    terms_from,
    to_json,
)
from ledger.agreement_schema import agreement_table, settlement_table
from ledger.record import parse_time, time_text


@dataclass(frozen=True, slots=True)
class Held:
    """An agreement and what the chain showed of it last; `standing` None: it is not there.

    `accepted_at`: when the node accepted it, as the chain showed once, in seconds since 1970; 0 if never.
    """

    agreement_id: bytes
    subject: str
    terms: Terms
    standing: Standing | None
    text: str
    seen_at: datetime
    accepted_at: int = 0

    def is_over(self, now: datetime) -> bool:
        """Whether it is over for ever, by what the chain showed."""
        if self.standing is None:
            return False
        return self.standing.state_at(_seconds(now)) in (State.EXPIRED, State.CLOSED)


@dataclass(frozen=True, slots=True)
class Account:
    """One event of one node: what the chain must hold of it, and held when it was looked at last."""

    subject: str
    event_id: str
    event_key: bytes
    agreement_id: bytes
    booking: Booking
    revisions: tuple[Revision, ...]
    settled: Settled | None
    state: str
    text: str


async def add_agreement(conn: AsyncConnection, subject: str, terms: Terms, now: datetime) -> bytes:
    """Keep a new agreement, to be proposed; its id."""
    salt = new_salt()
    agreement_id = salted_id(salt, "agreement", subject)
    row = {
        "agreement_id": agreement_id,
        "subject": subject,
        "salt": salt,
        "terms": to_json(terms),
        "text": "",
        "seen_at": time_text(now),
    }
    await conn.execute(insert(agreement_table).values(row))
    return agreement_id


async def agreements(conn: AsyncConnection, subject: str | None = None) -> list[Held]:
    """All agreements, or those with one node, in the order in which they were made."""
    t = agreement_table
    query = select(t).order_by(t.c.number)
    if subject is not None:
        query = query.where(t.c.subject == subject)
    return [_held(row) for row in await conn.execute(query)]


async def newest(conn: AsyncConnection, limit: int, offset: int = 0) -> tuple[list[Held], int]:
    """A page of agreements, those made last first, and how many there are in all."""
    t = agreement_table
    count = int((await conn.execute(select(func.count()).select_from(t))).scalar_one())
    query = select(t).order_by(t.c.number.desc()).limit(limit).offset(offset)
    return [_held(row) for row in await conn.execute(query)], count


async def find(conn: AsyncConnection, agreement_id: bytes) -> Held | None:
    """The agreement of that id."""
    t = agreement_table
    row = (await conn.execute(select(t).where(t.c.agreement_id == agreement_id))).one_or_none()
    return None if row is None else _held(row)


async def drop_refused(conn: AsyncConnection, subject: str) -> None:
    """Forget offers to a node that the contract refused and under which nothing was booked."""
    t, booked = agreement_table, select(settlement_table.c.agreement_id)
    never = t.c.standing.is_(None) & (t.c.text != "") & t.c.agreement_id.not_in(booked)
    await conn.execute(delete(t).where(t.c.subject == subject, never))


async def in_force(conn: AsyncConnection, subject: str) -> Held | None:
    """The newest agreement with a node that the chain has; None if it has none."""
    t = agreement_table
    query = select(t).where(t.c.subject == subject, t.c.standing.is_not(None)).order_by(t.c.number.desc())
    row = (await conn.execute(query.limit(1))).one_or_none()
    return None if row is None else _held(row)


async def all_in_force(conn: AsyncConnection) -> dict[str, Held]:
    """The same of every node that has one."""
    t = agreement_table
    numbers = select(func.max(t.c.number)).where(t.c.standing.is_not(None)).group_by(t.c.subject)
    return {row.subject: _held(row) for row in await conn.execute(select(t).where(t.c.number.in_(numbers)))}


async def see_agreements(conn: AsyncConnection, seen: Mapping[bytes, Standing | None], now: datetime) -> None:
    """Note what the chain shows of agreements, by id; an acceptance that it showed is never forgotten."""
    t = agreement_table
    for agreement_id, standing in seen.items():
        values: dict[str, Any] = {
            "standing": to_json(standing) if standing else None,
            "seen_at": time_text(now),
        }
        if standing is not None:
            values["text"] = ""  # nothing stands against a proposal any more that was made
        if standing is not None and standing.accepted_at:
            values["accepted_at"] = standing.accepted_at
        await conn.execute(update(t).where(t.c.agreement_id == agreement_id).values(**values))


async def tell_agreement(conn: AsyncConnection, agreement_id: bytes, said: str) -> None:
    """Note what stands against an agreement's proposal, for a person."""
    t = agreement_table
    await conn.execute(update(t).where(t.c.agreement_id == agreement_id).values(text=said))


async def add_account(
    conn: AsyncConnection, names: tuple[str, str], agreement_id: bytes, booking: Booking, now: datetime
) -> bool:
    """Keep what is to be booked of an event, by the names of node and event; False if it is kept already,
    which then stays as it was.

    The event's key follows from the agreement's salt: a database that was restored from before the booking
    makes the same key again, and the contract shows what is booked under it.
    """
    subject, event_id = names
    if await account(conn, subject, event_id) is not None:
        return False
    t = agreement_table
    query = select(t.c.salt).where(t.c.agreement_id == agreement_id)
    salt = salted_id((await conn.execute(query)).scalar_one(), "salt of event", subject, event_id)
    first = Revision(1, booking.outcome, booking.delivered_wh, booking.measurement_hash)
    row = {
        "subject": subject,
        "event_id": event_id,
        "event_key": salted_id(salt, "event", subject, event_id),
        "agreement_id": agreement_id,
        "salt": salt,
        "booking": to_json(booking),
        "revisions": _revisions_text([first]),
        "state": "open",
        "text": "",
        "look_at": _seconds(now),
    }
    await conn.execute(insert(settlement_table).values(row))
    return True


async def add_revision(
    conn: AsyncConnection, subject: str, event_id: str, revision: Revision, now: datetime
) -> bool:
    """Keep a later revision of an event's statement; False if it is kept already, or follows no other."""
    kept = await account(conn, subject, event_id)
    if kept is None or revision.number != len(kept.revisions) + 1:
        return False
    values = {
        "revisions": _revisions_text([*kept.revisions, revision]),
        "state": "open",
        "look_at": _seconds(now),
    }
    await conn.execute(update(settlement_table).where(_is(subject, event_id)).values(**values))
    return True


async def account(conn: AsyncConnection, subject: str, event_id: str) -> Account | None:
    """What is kept of one event of one node."""
    row = (await conn.execute(select(settlement_table).where(_is(subject, event_id)))).one_or_none()
    return None if row is None else _account(row)


async def accounts(conn: AsyncConnection, agreement_id: bytes | None = None) -> list[Account]:
    """What is kept of all events, or of those under one agreement."""
    t = settlement_table
    query = select(t).order_by(t.c.event_id, t.c.subject)
    if agreement_id is not None:
        query = query.where(t.c.agreement_id == agreement_id)
    return [_account(row) for row in await conn.execute(query)]


async def due_accounts(conn: AsyncConnection, now: datetime, limit: int, skip: int = 0) -> list[Account]:
    """Events at which the chain is to be looked at by now, those that wait longest first, without the first
    `skip` of them.
    """
    t = settlement_table
    query = select(t).where(t.c.state == "open", t.c.look_at <= _seconds(now))
    query = query.order_by(t.c.look_at, t.c.subject, t.c.event_id)
    return [_account(row) for row in await conn.execute(query.limit(limit).offset(skip))]


async def see_account(
    conn: AsyncConnection,
    seen: Account,
    settled: Settled | None,
    *,
    block: tuple[int, bytes],
    look_at: datetime | None,
    said: str = "",
) -> None:
    """Note what the chain shows of an event after a block, and when to look again; None: it is paid and
    nothing is left. Nothing happens if a revision came meanwhile.

    What it says of the penalty for the first time, or otherwise than before, is `unread`.
    """
    before = seen.settled
    is_news = settled is not None and (before is None or before.penalty_waived is not settled.penalty_waived)
    values = {
        "settled": to_json(settled) if settled else None,
        "text": said,
        "state": "open" if look_at else "paid",
        "seen_block": block[0],
        "seen_hash": block[1],
        **({"look_at": _seconds(look_at)} if look_at else {}),
        **({"unread": 1} if is_news else {}),
    }
    known = settlement_table.c.revisions == _revisions_text(seen.revisions)
    await conn.execute(
        update(settlement_table).where(_is(seen.subject, seen.event_id), known).values(**values)
    )


async def unread(conn: AsyncConnection) -> list[Account]:
    """Events of which nobody has read yet what the chain says of the penalty."""
    t = settlement_table
    query = select(t).where(text("unread = 1")).order_by(t.c.event_id, t.c.subject)
    return [_account(row) for row in await conn.execute(query)]


async def mark_read(conn: AsyncConnection, seen: Sequence[Account]) -> None:
    """Note that this was read; what the chain has shown since stays unread."""
    for one in seen:
        same = settlement_table.c.settled == (to_json(one.settled) if one.settled else None)
        query = update(settlement_table).where(_is(one.subject, one.event_id), same)
        await conn.execute(query.values(unread=0))


async def newest_seen_in(conn: AsyncConnection) -> tuple[int, bytes] | None:
    """Number and hash of the newest block in which an event was looked at."""
    t = settlement_table
    query = select(t.c.seen_block, t.c.seen_hash).where(t.c.seen_block.is_not(None))
    row = (await conn.execute(query.order_by(t.c.seen_block.desc()).limit(1))).one_or_none()
    return None if row is None else (row.seen_block, row.seen_hash)


async def reopen(conn: AsyncConnection, block: int, now: datetime) -> None:
    """What was seen in that block is to be looked at again: the chain no longer has the block."""
    t = settlement_table
    values = {"state": "open", "look_at": _seconds(now), "seen_block": None, "seen_hash": None}
    await conn.execute(update(t).where(t.c.seen_block == block).values(**values))


async def complaints(conn: AsyncConnection) -> list[str]:
    """What a person must look at: why something that is wanted is not done."""
    a, s = agreement_table, settlement_table
    queries = (
        select(a.c.text).where(a.c.text != "").order_by(a.c.number),
        select(s.c.text).where(s.c.text != "", s.c.state == "open").order_by(s.c.event_id, s.c.subject),
    )
    return [str(said) for query in queries for said in (await conn.execute(query)).scalars()]


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _is(subject: str, event_id: str) -> ColumnElement[bool]:
    return (settlement_table.c.subject == subject) & (settlement_table.c.event_id == event_id)


def _revisions_text(revisions: Sequence[Revision]) -> str:
    return "[" + ",".join(map(to_json, revisions)) + "]"


def _held(row: Row[Any]) -> Held:
    standing = standing_from(json.loads(row.standing)) if row.standing else None
    terms = terms_from(json.loads(row.terms))
    seen_at, accepted_at = parse_time(row.seen_at), row.accepted_at or 0
    return Held(row.agreement_id, row.subject, terms, standing, row.text, seen_at, accepted_at)


def _account(row: Row[Any]) -> Account:
    return Account(
        row.subject,
        row.event_id,
        row.event_key,
        row.agreement_id,
        booking_from(json.loads(row.booking)),
        tuple(map(revision_from, json.loads(row.revisions))),
        settled_from(json.loads(row.settled)) if row.settled else None,
        row.state,
        row.text,
    )
