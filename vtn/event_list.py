"""Events for people: which there are, and how many VENs stand how to each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import Event
from openadr.enums import OptType
from vtn import event_content
from vtn.schema import event_table

PER_TURN = 32  # events read before others have their turn


@dataclass(frozen=True, slots=True)
class Listed:
    """One event as its first VEN has it, and the counts over all of its VENs."""

    event: Event
    vens: int
    opted_in: int
    opted_out: int
    cancelled: int


async def events(
    conn: AsyncConnection,
    *,
    limit: int,
    after: str | None = None,
    ven_id: str | None = None,
    current_at: datetime | None = None,
) -> list[Listed]:
    """At most `limit` events by id, those whose id comes after `after`.

    `ven_id`: of this VEN only. `current_at`: only what is neither over nor cancelled then.
    """
    t = event_table
    wanted = [t.c.event_id > (after or "")]
    if ven_id is not None:
        wanted.append(t.c.ven_id == ven_id)
    if current_at is not None:
        wanted += [t.c.cancelled_at.is_(None), or_(t.c.ends_at.is_(None), t.c.ends_at > current_at)]
    counted = (
        select(
            t.c.event_id,
            func.min(t.c.ven_id).label("ven_id"),
            func.count().label("vens"),
            func.sum(case((t.c.opt == str(OptType.OPT_IN), 1), else_=0)).label("opted_in"),
            func.sum(case((t.c.opt == str(OptType.OPT_OUT), 1), else_=0)).label("opted_out"),
            func.count(t.c.cancelled_at).label("cancelled"),
        )
        .where(*wanted)
        .group_by(t.c.event_id)
        .order_by(t.c.event_id)
        .limit(limit)
        .subquery()
    )
    rows = await conn.execute(
        select(counted, t.c.content)
        .join(t, and_(t.c.event_id == counted.c.event_id, t.c.ven_id == counted.c.ven_id))
        .order_by(counted.c.event_id)
    )
    return [
        Listed(event_content.read(row.content), row.vens, row.opted_in, row.opted_out, row.cancelled)
        for row in rows
    ]


async def versions(conn: AsyncConnection, event_id: str) -> dict[str, Event]:
    """The event as each VEN has it, by the VEN's id."""
    t = event_table
    rows = await conn.execute(
        select(t.c.ven_id, t.c.content).where(t.c.event_id == event_id).order_by(t.c.ven_id)
    )
    found = {}
    for number, row in enumerate(rows):
        found[row.ven_id] = event_content.read(row.content)
        if number % PER_TURN == PER_TURN - 1:
            await asyncio.sleep(0)  # others have their turn
    return found
