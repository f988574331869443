"""Every change of a request after it was sent: what was asked then, by whom, and what was answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.schema import change_table


@dataclass(frozen=True, slots=True)
class Kept:
    """One change; `asked` is the request as canonical JSON, `changed_by` a user's id."""

    event_id: str
    asked: str
    answer: dict[str, Any]
    changed_at: datetime
    changed_by: str


async def add(conn: AsyncConnection, change: Kept, idempotency_key: str | None) -> None:
    """Write one, in the transaction that changes the event."""
    values = {
        "event_id": change.event_id,
        "idempotency_key": idempotency_key,
        "asked": change.asked,
        "answer": json.dumps(change.answer, sort_keys=True),
        "changed_at": change.changed_at,
        "changed_by": change.changed_by,
    }
    await conn.execute(insert(change_table).values(**values))


async def with_key(conn: AsyncConnection, idempotency_key: str) -> Kept | None:
    """The change that was sent with a key."""
    found = await _found(conn, change_table.c.idempotency_key == idempotency_key)
    return found[0] if found else None


async def of_event(conn: AsyncConnection, event_id: str) -> Sequence[Kept]:
    """All changes of an event in their order."""
    return await _found(conn, change_table.c.event_id == event_id)


async def _found(conn: AsyncConnection, clause: ColumnElement[bool]) -> list[Kept]:
    t = change_table.c
    query = select(t.event_id, t.asked, t.answer, t.changed_at, t.changed_by).where(clause)
    return [
        Kept(row.event_id, row.asked, json.loads(row.answer), row.changed_at, row.changed_by)
        for row in await conn.execute(query.order_by(t.number))
    ]
