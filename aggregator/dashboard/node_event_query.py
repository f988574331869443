"""A node's events and what it answered to each, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.schema import call_table
from vtn import event_content
from vtn.schema import event_table

SIZE = 25


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """One event of a node. `power_w` is None where it was made by hand."""

    event_id: str
    start: datetime
    end: datetime | None
    power_w: int | None
    published_at: datetime
    delivered_at: datetime | None
    opt: str | None
    response_code: str | None
    responded_at: datetime | None
    cancelled_at: datetime | None

    def is_over(self, now: datetime) -> bool:
        """Whether it has ended, or was taken back."""
        return self.cancelled_at is not None or (self.end is not None and self.end <= now)


async def events_of(
    conn: AsyncConnection, ven_id: str, *, page: int = 1, size: int = SIZE
) -> tuple[Sequence[NodeEvent], int]:
    """One page of the node's events, and how many there are."""
    e, c = event_table.c, call_table.c
    count = select(func.count()).select_from(event_table).where(e.ven_id == ven_id)
    total = int((await conn.execute(count)).scalar_one())
    joined = event_table.outerjoin(call_table, and_(c.event_id == e.event_id, c.ven_id == e.ven_id))
    columns = (
        e.event_id,
        e.content,
        e.ends_at,
        e.published_at,
        e.delivered_at,
        e.opt,
        e.response_code,
        e.responded_at,
        e.cancelled_at,
        c.power_w,
    )
    query = select(*columns).select_from(joined).where(e.ven_id == ven_id)
    newest = query.order_by(e.published_at.desc(), e.event_id).limit(size).offset((page - 1) * size)
    return [
        NodeEvent(
            event_id=row.event_id,
            start=event_content.read(row.content).dtstart,
            end=row.ends_at,
            power_w=row.power_w,
            published_at=row.published_at,
            delivered_at=row.delivered_at,
            opt=row.opt,
            response_code=row.response_code,
            responded_at=row.responded_at,
            cancelled_at=row.cancelled_at,
        )
        for row in await conn.execute(newest)
    ], total


async def open_events(conn: AsyncConnection, ven_id: str, now: datetime) -> Sequence[str]:
    """The ids of its events that are neither over nor cancelled."""
    e = event_table.c
    still = (e.ends_at.is_(None)) | (e.ends_at > now)
    query = select(e.event_id).where(e.ven_id == ven_id, e.cancelled_at.is_(None), still)
    return list((await conn.execute(query.order_by(e.ends_at, e.event_id))).scalars())
