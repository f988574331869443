"""What waits for a VEN: offered at its polls, one payload a poll, until the VEN answers it.

Rules: everything is offered in the order in which it was queued, then again from the start, so that a lost
response loses nothing and a VEN that drains before it answers meets each payload (POLL-03, POLL-05, POLL-09).
All events of a VEN are one payload, because a DistributeEvent always lists them all (EVT-13).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import Insert, insert  # SQLite compiles it too
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import Message, decode, encode
from openadr.parser import OWN
from vtn.schema import micros, outbox_table
from vtn.store import after_commit

OFFERS = 100  # without an answer: then it rests until it is queued anew (R52); events have caps of their own

EVENT = "event"
REGISTER_REPORT = "register_report"
CREATE_REPORT = "create_report"
CANCEL_REPORT = "cancel_report"
UPDATE_REPORT = "update_report"
CANCEL_PARTY_REGISTRATION = "cancel_party_registration"
REQUEST_REREGISTRATION = "request_reregistration"


# what each poll or answer says is SQL as it stands: to put a statement together costs more than to run it
_NEXT = """
SELECT kind, key, content FROM vtn_outbox WHERE ven_id = ? AND (kind = ? OR offers < ?)
ORDER BY offers, seq LIMIT 1
"""
_OFFERED = """
UPDATE vtn_outbox SET offers = offers + 1, offered_at = ? WHERE ven_id = ? AND kind = ? AND key = ?
"""
_ANSWERED = "DELETE FROM vtn_outbox WHERE ven_id = ? AND kind = ? AND key = ?"


@dataclass(frozen=True, slots=True)
class Due:
    """The notice that something waits for a VEN."""

    ven_id: str


@dataclass(frozen=True, slots=True)
class Item:
    """One row of the outbox; `message` is None for an event, whose content is composed when it is offered."""

    kind: str
    key: str
    message: Message | None


async def queue(
    conn: AsyncConnection, ven_id: str, kind: str, key: str, *, message: Message | None, now: datetime
) -> None:
    """Let `message` wait for the VEN; the same kind and key replaces what waits already and starts over."""
    content = None if message is None else encode(message)
    row = {"ven_id": ven_id, "kind": kind, "key": key, "content": content, "queued_at": now, "offers": 0}
    await conn.execute(_QUEUE, row)
    after_commit(conn, Due(ven_id))


async def queue_events(conn: AsyncConnection, keys: Sequence[tuple[str, str]], now: datetime) -> None:
    """Let events wait, each named by VEN and event id; as `queue` does."""
    same = {"kind": EVENT, "content": None, "queued_at": now, "offers": 0}
    await conn.execute(_QUEUE, [{"ven_id": ven_id, "key": event_id, **same} for ven_id, event_id in keys])
    for ven_id, _ in keys:
        after_commit(conn, Due(ven_id))


def _queue() -> Insert:
    statement = insert(outbox_table)
    fresh = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["ven_id", "kind", "key"],
        set_={
            "content": fresh.content,
            "queued_at": fresh.queued_at,
            "offers": fresh.offers,
            "offered_at": None,
        },
    )


_QUEUE = _queue()


async def due(conn: AsyncConnection) -> set[str]:
    """The ids of all VENs for which something waits."""
    return set((await conn.execute(select(outbox_table.c.ven_id).distinct())).scalars())


async def next_item(conn: AsyncConnection, ven_id: str) -> Item | None:
    """What is to be offered now: the least offered, then the oldest; not what was offered OFFERS times."""
    row = (await conn.exec_driver_sql(_NEXT, (ven_id, EVENT, OFFERS))).mappings().one_or_none()
    if row is None:
        return None
    content = row["content"]
    return Item(row["kind"], row["key"], None if content is None else decode(content, OWN))


def is_empty(view: sqlite3.Connection, ven_id: str) -> bool:
    """Whether nothing is to be offered."""
    return view.execute(_NEXT, (ven_id, EVENT, OFFERS)).fetchone() is None


async def resume(conn: AsyncConnection, ven_id: str, kind: str, key: str) -> None:
    """Offer what waits under this key from the start if it rests, because nobody answered its OFFERS."""
    t = outbox_table
    rests = (t.c.ven_id == ven_id, t.c.kind == kind, t.c.key == key, t.c.offers >= OFFERS)
    await conn.execute(update(t).where(*rests).values(offers=0))
    after_commit(conn, Due(ven_id))


async def offered(conn: AsyncConnection, ven_id: str, kind: str, keys: Iterable[str], now: datetime) -> None:
    """Note that these rows are in the answer that is about to be sent."""
    if rows := [(micros(now), ven_id, kind, key) for key in keys]:
        await conn.exec_driver_sql(_OFFERED, rows)


async def answered(conn: AsyncConnection, ven_id: str, kind: str, keys: Iterable[str]) -> None:
    """The VEN answered (or the matter is over): these rows are not offered again."""
    if rows := [(ven_id, kind, key) for key in keys]:
        await conn.exec_driver_sql(_ANSWERED, rows)


async def withdraw(conn: AsyncConnection, ven_id: str, *kinds: str) -> None:
    """Drop everything of these kinds that waits for the VEN."""
    t = outbox_table
    await conn.execute(delete(t).where(t.c.ven_id == ven_id, t.c.kind.in_(kinds)))


async def keep_only(conn: AsyncConnection, ven_id: str, *kinds: str) -> None:
    """Drop everything that waits for the VEN but these kinds."""
    t = outbox_table
    await conn.execute(delete(t).where(t.c.ven_id == ven_id, t.c.kind.not_in(kinds)))


async def waiting(conn: AsyncConnection, ven_id: str, kind: str) -> dict[str, int]:
    """Key and number of offers of everything of this kind that waits for the VEN."""
    t = outbox_table
    rows = await conn.execute(select(t.c.key, t.c.offers).where(t.c.ven_id == ven_id, t.c.kind == kind))
    return {row.key: row.offers for row in rows}


async def messages(conn: AsyncConnection, ven_id: str, kind: str) -> dict[str, Message]:
    """Every message of this kind that waits for the VEN, by key."""
    t = outbox_table
    rows = await conn.execute(
        select(t.c.key, t.c.content).where(t.c.ven_id == ven_id, t.c.kind == kind).order_by(t.c.seq)
    )
    return {row.key: decode(row.content, OWN) for row in rows if row.content is not None}


async def length(conn: AsyncConnection) -> int:
    """How many payloads wait, of all VENs."""
    return (await conn.execute(select(func.count()).select_from(outbox_table))).scalar_one()


async def counts(conn: AsyncConnection, ven_id: str) -> dict[str, int]:
    """How many rows of each kind wait for the VEN."""
    t = outbox_table
    rows = await conn.execute(
        select(t.c.kind, func.count()).where(t.c.ven_id == ven_id).group_by(t.c.kind).order_by(t.c.kind)
    )
    return {row[0]: row[1] for row in rows}
