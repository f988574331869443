"""Events that no request has made, as people look at them: published by hand, over the API or the command.

Such an event has no calls, so nothing is settled; what it says is in the messages of its VENs, of which the
first one stands for all here. Cost: one look into an index for each event that there ever was.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, Subquery, Text, and_, case, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.commitment import asked_w, capacities_w
from openadr import Event
from openadr.enums import OptType
from vtn import event_content
from vtn.schema import Instant, event_table, ven_table

_HAND = """
WITH RECURSIVE ids(event_id) AS (
    SELECT min(event_id) FROM vtn_event
    UNION ALL
    SELECT (SELECT min(e.event_id) FROM vtn_event AS e WHERE e.event_id > ids.event_id) FROM ids
    WHERE ids.event_id IS NOT NULL
)
SELECT ids.event_id,
    (SELECT e.published_at FROM vtn_event AS e WHERE e.event_id = ids.event_id LIMIT 1) AS sent_at,
    (SELECT e.ends_at FROM vtn_event AS e WHERE e.event_id = ids.event_id LIMIT 1) AS ends_at,
    CASE WHEN EXISTS (
        SELECT 1 FROM vtn_event AS e WHERE e.event_id = ids.event_id AND e.cancelled_at IS NULL
    ) THEN 1 ELSE 0 END AS stands
FROM ids
WHERE ids.event_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM agg_request AS r WHERE r.event_id = ids.event_id)
"""
E = event_table.c
ENDLESS = timedelta(days=36_500)
"""So long is an event that lasts until it is taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandEvent:
    """One of them; counts are of VENs, the power in W is what it may move at the most."""

    event: Event
    power_w: int
    vens: int
    opted_in: int
    opted_out: int
    silent: int
    sent_at: datetime
    version: int
    cancelled_at: datetime | None

    @property
    def end(self) -> datetime:
        """When it is over, in a hundred years where it has no end."""
        return self.event.end or self.event.dtstart + ENDLESS


@dataclass(frozen=True, slots=True, kw_only=True)
class VenPart:
    """How one VEN stands to it."""

    ven_id: str
    ven_name: str
    opt: str | None
    delivered_at: datetime | None
    responded_at: datetime | None
    cancelled_at: datetime | None


def listed() -> Subquery:
    """All of them with `event_id`, `sent_at`, `ends_at`, and `stands`: whether any VEN still has it."""
    found = text(_HAND).columns(event_id=Text, sent_at=Instant, ends_at=Instant, stands=Integer)
    return found.subquery("hand")


async def begun(conn: AsyncConnection, now: datetime) -> Mapping[str, bool]:
    """Those that are neither over nor cancelled by their id, and whether they have begun."""
    hand = listed()
    open_now = and_(hand.c.stands == 1, or_(hand.c.ends_at.is_(None), hand.c.ends_at > now))
    ids = list((await conn.execute(select(hand.c.event_id).where(open_now))).scalars())
    return {event_id: event.dtstart <= now for event_id, event in (await _contents(conn, ids)).items()}


async def events(conn: AsyncConnection, event_ids: Sequence[str]) -> dict[str, HandEvent]:
    """These events by their ids, as far as there are any."""
    contents = await _contents(conn, event_ids)
    if not contents:
        return {}
    capacities, powers = await capacities_w(conn), dict.fromkeys(contents, 0)
    named = select(E.event_id, E.ven_id).where(E.event_id.in_(contents))
    for event_id, ven_id in await conn.execute(named):
        powers[event_id] += asked_w(contents[event_id], capacities.get(ven_id, 0))
    return {
        row.event_id: HandEvent(
            event=contents[row.event_id],
            power_w=powers[row.event_id],
            vens=row.vens,
            opted_in=row.opted_in,
            opted_out=row.opted_out,
            silent=row.silent,
            sent_at=row.sent_at,
            version=row.version,
            cancelled_at=row.cancelled_at if row.cancelled == row.vens else None,
        )
        for row in await conn.execute(_counted(contents.keys()))
    }


async def parts(conn: AsyncConnection, event_id: str, limit: int, offset: int = 0) -> Sequence[VenPart]:
    """How each VEN stands to an event, those first that have said nothing."""
    v = ven_table.c
    query = (
        select(E.ven_id, v.ven_name, E.opt, E.delivered_at, E.responded_at, E.cancelled_at)
        .select_from(event_table.join(ven_table, v.ven_id == E.ven_id))
        .where(E.event_id == event_id)
        .order_by(E.opt.is_not(None), E.delivered_at.is_not(None), v.ven_name)
    )
    return [VenPart(**row) for row in (await conn.execute(query.limit(limit).offset(offset))).mappings()]


async def _contents(conn: AsyncConnection, event_ids: Sequence[str]) -> dict[str, Event]:
    """What the first VEN of each was sent."""
    first = select(E.event_id, func.min(E.ven_id).label("ven_id")).where(E.event_id.in_(event_ids))
    of = first.group_by(E.event_id).subquery()
    query = select(E.event_id, E.content).join(of, and_(of.c.event_id == E.event_id, of.c.ven_id == E.ven_id))
    return {row.event_id: event_content.read(row.content) for row in await conn.execute(query)}


def _counted(event_ids: Collection[str]) -> Select[Any]:
    def number(clause: ColumnElement[bool]) -> ColumnElement[int]:
        return func.sum(case((clause, 1), else_=0))

    return (
        select(
            E.event_id,
            func.count().label("vens"),
            number(E.opt == str(OptType.OPT_IN)).label("opted_in"),
            number(E.opt == str(OptType.OPT_OUT)).label("opted_out"),
            number(and_(E.opt.is_(None), E.delivered_at.is_(None))).label("silent"),
            func.count(E.cancelled_at).label("cancelled"),
            func.max(E.cancelled_at).label("cancelled_at"),
            func.min(E.published_at).label("sent_at"),
            func.sum(E.modification_number + 1).label("version"),
        )
        .where(E.event_id.in_(event_ids))
        .group_by(E.event_id)
    )
