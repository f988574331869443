"""Opts for people: what VENs answered and announced, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import CreateOpt, decode
from openadr.parser import OWN
from vtn.schema import opt_table


@dataclass(frozen=True, slots=True)
class Kept:
    """One answer to an event, or (`message`) a CreateOpt as it came."""

    seq: int
    ven_id: str
    at: datetime
    source: str
    opt_type: str
    event_id: str | None
    modification_number: int | None
    response_code: str | None
    opt_id: str | None
    cancelled_at: datetime | None
    message: CreateOpt | None


async def newest(
    conn: AsyncConnection,
    *,
    limit: int,
    before: int | None = None,
    ven_id: str | None = None,
    event_id: str | None = None,
) -> list[Kept]:
    """At most `limit` opts, newest first; of a VEN, of an event, before a number, where these are given."""
    t = opt_table
    wanted = [
        column == value
        for column, value in ((t.c.ven_id, ven_id), (t.c.event_id, event_id))
        if value is not None
    ]
    if before is not None:
        wanted.append(t.c.seq < before)
    rows = await conn.execute(select(t).where(*wanted).order_by(t.c.seq.desc()).limit(limit))
    return [
        Kept(
            row.seq,
            row.ven_id,
            row.at,
            row.source,
            row.opt_type,
            row.event_id,
            row.modification_number,
            row.response_code,
            row.opt_id,
            row.cancelled_at,
            _message(row.content),
        )
        for row in rows
    ]


def _message(content: bytes | None) -> CreateOpt | None:
    message = None if content is None else decode(content, OWN)
    return message if isinstance(message, CreateOpt) else None
