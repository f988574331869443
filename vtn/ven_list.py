"""VENs as a person asks for them: by id or name, and page by page."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.registration import COLUMNS, Ven
from vtn.schema import ven_table


async def named(conn: AsyncConnection, text: str) -> Ven | None:
    """The VEN of this id, or else of this name."""
    t = ven_table
    rows = await conn.execute(select(*COLUMNS).where(or_(t.c.ven_id == text, t.c.ven_name == text)))
    found = [Ven(*row) for row in rows]
    return min(found, key=lambda ven: ven.ven_id != text, default=None)


async def page(conn: AsyncConnection, after: str | None, limit: int | None) -> list[Ven]:
    """VENs by name, from the one behind `after` on; all where no limit is given."""
    query = select(*COLUMNS).order_by(ven_table.c.ven_name)
    if after is not None:
        query = query.where(ven_table.c.ven_name > after)
    if limit is not None:
        query = query.limit(limit)
    return [Ven(*row) for row in await conn.execute(query)]
