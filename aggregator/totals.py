"""What all requests came to, counted and summed by the database."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.json_text import JsonText
from aggregator.schema import call_table, statement_table
from vtn.schema import event_table


@dataclass(frozen=True, slots=True)
class Totals:
    """What all events came to; ``delivered`` and ``opted_in`` count nodes, statements their newest
    revisions.
    """

    events: int
    delivered: int
    opted_in: int
    statements: int
    requested_wh: int
    delivered_wh: int
    incentive_minor: int


async def totals(conn: AsyncConnection) -> Totals:
    """Counts and sums over all requests but those taken back before they began: what has a statement, or
    will have one, counts as an event.
    """
    e, c, s = event_table, call_table, statement_table
    sent = select(c.c.event_id).where(c.c.cancelled_at.is_(None)).distinct()
    events = (await conn.execute(select(func.count()).select_from(sent.subquery()))).scalar_one()
    opted_in = func.sum(case((e.c.opt == "optIn", 1), else_=0))
    nodes = select(func.count(e.c.delivered_at), opted_in).where(e.c.event_id.in_(sent))
    delivered, opted = (await conn.execute(nodes)).one()
    fields = ("requested_wh", "delivered_wh", "incentive_minor")
    sums = [func.sum(JsonText(s.c.body)[name].as_integer()) for name in fields]
    is_newest = (
        (c.c.event_id == s.c.event_id) & (c.c.ven_id == s.c.ven_id) & (c.c.settled_revision == s.c.revision)
    )
    found = (await conn.execute(select(func.count(), *sums).select_from(s.join(c, is_newest)))).one()
    return Totals(events, delivered, opted or 0, *(number or 0 for number in found))
