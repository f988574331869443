"""All SQL of agreements: the local mirror of what the contract holds, what is to be booked, and the signed
calls; the tables are in `agreement_schema`. Functions take the caller's connection and never commit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update
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
from ledger.agreement_schema import agreement_table, call_table, order_table, settlement_table
from ledger.record import parse_time, time_text


@dataclass(frozen=True, slots=True)
class Held:
    """An agreement and what the chain showed of it last; `standing` None: it is not there."""

    agreement_id: bytes
    subject: str
    terms: Terms
    standing: Standing | None
    text: str
    seen_at: datetime

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


@dataclass(frozen=True, slots=True)
class Order:
    """Something that the aggregator's operator wants done."""

    order_id: int
    kind: str
    agreement_id: bytes
    event_key: bytes | None
    argument: str
    state: str = "open"
    text: str = ""


@dataclass(frozen=True, slots=True)
class SignedCall:
    """A signed transaction whose outcome is not yet known."""

    call_id: int
    goal: str
    nonce: int
    raw_transaction: bytes


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


async def see_agreement(
    conn: AsyncConnection, agreement_id: bytes, standing: Standing | None, now: datetime
) -> None:
    """Note what the chain shows of an agreement."""
    values = {"standing": to_json(standing) if standing else None, "seen_at": time_text(now)}
    t = agreement_table
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
    """
    subject, event_id = names
    if await account(conn, subject, event_id) is not None:
        return False
    salt = new_salt()
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


async def due_accounts(conn: AsyncConnection, now: datetime, limit: int) -> list[Account]:
    """Events at which the chain is to be looked at by now, those that wait longest first."""
    t = settlement_table
    query = select(t).where(t.c.state == "open", t.c.look_at <= _seconds(now))
    return [_account(row) for row in await conn.execute(query.order_by(t.c.look_at).limit(limit))]


async def see_account(
    conn: AsyncConnection,
    seen: Account,
    settled: Settled | None,
    *,
    look_at: datetime | None,
    said: str = "",
    block: tuple[int, bytes] | None = None,
) -> None:
    """Note what the chain shows of an event, and when to look again. None: it is paid and nothing is left, in
    `block`. Nothing happens if a revision came meanwhile.
    """
    values = {
        "settled": to_json(settled) if settled else None,
        "text": said,
        "state": "open" if look_at else "paid",
        "seen_block": block[0] if block else None,
        "seen_hash": block[1] if block else None,
        **({"look_at": _seconds(look_at)} if look_at else {}),
    }
    known = settlement_table.c.revisions == _revisions_text(seen.revisions)
    await conn.execute(
        update(settlement_table).where(_is(seen.subject, seen.event_id), known).values(**values)
    )


async def newest_paid_in(conn: AsyncConnection) -> tuple[int, bytes] | None:
    """Number and hash of the newest block that showed a settlement as done."""
    t = settlement_table
    query = select(t.c.seen_block, t.c.seen_hash).where(t.c.seen_block.is_not(None))
    row = (await conn.execute(query.order_by(t.c.seen_block.desc()).limit(1))).one_or_none()
    return None if row is None else (row.seen_block, row.seen_hash)


async def reopen(conn: AsyncConnection, block: int, now: datetime) -> None:
    """What was done by that block is to be looked at again: the chain no longer has the block."""
    t = settlement_table
    values = {"state": "open", "look_at": _seconds(now), "seen_block": None, "seen_hash": None}
    await conn.execute(update(t).where(t.c.seen_block == block).values(**values))


async def add_order(conn: AsyncConnection, order: Order, now: datetime) -> int:
    """Keep an order; its number."""
    row = {
        "kind": order.kind,
        "agreement_id": order.agreement_id,
        "event_key": order.event_key,
        "argument": order.argument,
        "state": order.state,
        "text": order.text,
        "made_at": time_text(now),
    }
    (number,) = (await conn.execute(insert(order_table).values(row))).inserted_primary_key or (0,)
    return int(number)


async def orders(conn: AsyncConnection, *, open_only: bool = True) -> list[Order]:
    """Orders in the order in which they came."""
    t = order_table
    columns = (t.c.order_id, t.c.kind, t.c.agreement_id, t.c.event_key, t.c.argument, t.c.state, t.c.text)
    query = select(*columns).order_by(t.c.order_id)
    if open_only:
        query = query.where(t.c.state == "open")
    return [Order(*row) for row in await conn.execute(query)]


async def end_order(conn: AsyncConnection, order_id: int, state: str, said: str) -> None:
    """Note that an order is `done` or `refused`, and why."""
    t = order_table
    await conn.execute(update(t).where(t.c.order_id == order_id).values(state=state, text=said))


async def signed_call(conn: AsyncConnection) -> SignedCall | None:
    """The transaction whose outcome is not yet known, if there is one."""
    t = call_table
    query = select(t.c.call_id, t.c.goal, t.c.nonce, t.c.raw_transaction).where(t.c.state == "signed")
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else SignedCall(*row)


async def add_call(conn: AsyncConnection, goal: str, nonce: int, raw: bytes, now: datetime) -> bool:
    """Keep a signed transaction before it is sent; False if another one's outcome is not yet known."""
    if await signed_call(conn) is not None:
        return False
    row = {
        "goal": goal,
        "state": "signed",
        "nonce": nonce,
        "raw_transaction": raw,
        "changed_at": time_text(now),
    }
    await conn.execute(insert(call_table).values(row))
    return True


async def end_call(conn: AsyncConnection, call_id: int, state: str, now: datetime) -> None:
    """Note that a signed transaction is `mined`, or `dropped` because it can no more come to pass."""
    values = {"state": state, "changed_at": time_text(now)}
    await conn.execute(update(call_table).where(call_table.c.call_id == call_id).values(**values))


async def was_proposed(conn: AsyncConnection, agreement_id: bytes) -> bool:
    """Whether an agreement's proposal was mined once, whatever the chain shows now."""
    t = call_table
    mined = (t.c.goal == f"propose {agreement_id.hex()}") & (t.c.state == "mined")
    return (await conn.execute(select(t.c.call_id).where(mined).limit(1))).first() is not None


async def count_calls(conn: AsyncConnection) -> dict[str, int]:
    """How many transactions there were, by state."""
    t = call_table
    rows = await conn.execute(select(t.c.state, func.count()).group_by(t.c.state))
    return {row[0]: row[1] for row in rows}


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
    return Held(row.agreement_id, row.subject, terms, standing, row.text, parse_time(row.seen_at))


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
