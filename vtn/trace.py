"""The message trace: what a VEN said and was answered, kept for the operator while he asks for it.

Rules: off until the operator turns it on for a VEN, and on again after a restart; bodies only, never headers
(they may carry credentials); the newest `count` exchanges of each VEN, none older than `age`. A trace that
cannot be written disturbs no exchange.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Row, delete, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert  # SQLite compiles it too
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.errors import StoreError
from vtn.schema import trace_table, traced_table
from vtn.store import Database, Notice, after_commit

log = structlog.get_logger(__name__)

IN, OUT = "in", "out"
COUNT = 1000
AGE = timedelta(days=7)
SHOWN_BYTES = 16 * 1024 * 1024  # of one answer to the operator
SEARCHED_BYTES = 65_536  # a message's name and code stand at its beginning
AGED_AT_ONCE = 64  # more than come in: what is too old goes sooner or later, no exchange waits for it
_NAME = re.compile(rb"<(?:[\w.-]+:)?(oadr(?!Payload\b|SignedObject\b)[A-Z]\w*)")
_CODE = re.compile(rb"responseCode\s*>\s*(\d{3})\s*<")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer. Direction `in`: the VEN asked; `out`: this server did."""

    ven_id: str
    at: datetime
    direction: str = IN
    service: str
    http_status: int
    request: bytes
    response: bytes

    @property
    def request_name(self) -> str | None:
        """Name of the request's message (`oadrPoll`), None where it has none."""
        return _found(_NAME, self.request)

    @property
    def response_name(self) -> str | None:
        """Name of the answer's message, None where it has none."""
        return _found(_NAME, self.response)

    @property
    def response_code(self) -> str | None:
        """The first response code in the answer, None where it has none."""
        return _found(_CODE, self.response)


@dataclass(frozen=True, slots=True)
class TraceChanged:
    """The notice that a VEN is traced from now on, or no longer."""

    ven_id: str
    on: bool


class Tracer:
    """Writes down the exchanges of those VENs that are traced; `traced` holds their ids."""

    def __init__(self, db: Database, count: int = COUNT, age: timedelta = AGE) -> None:
        self._db = db
        self._count = count
        self._age = age
        self.traced: set[str] = set()

    async def open(self) -> None:
        """Read who is traced and begin to listen for changes."""
        self._db.listen(self._hear)
        async with self._db.read() as conn:
            self.traced = set((await conn.execute(select(traced_table.c.ven_id))).scalars())

    async def keep(self, exchange: Exchange) -> None:
        """Write an exchange down, durably; a fault of the database is told to the log alone."""
        try:
            async with self._db.write() as conn:
                await _keep(conn, exchange, self._count, self._age)
        except (StoreError, DBAPIError) as error:
            log.warning("an exchange was not traced", ven_id=exchange.ven_id, error=str(error))

    def _hear(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            if isinstance(notice, TraceChanged):
                (self.traced.add if notice.on else self.traced.discard)(notice.ven_id)


async def turn(conn: AsyncConnection, ven_id: str, on: bool, now: datetime) -> None:
    """Trace a VEN from now on, or no longer; what is kept stays until it is too old."""
    if on:
        statement = upsert(traced_table).values(ven_id=ven_id, since=now)
        await conn.execute(statement.on_conflict_do_nothing(index_elements=["ven_id"]))
    else:
        await conn.execute(delete(traced_table).where(traced_table.c.ven_id == ven_id))
    after_commit(conn, TraceChanged(ven_id, on))


async def traced_since(conn: AsyncConnection, ven_id: str) -> datetime | None:
    """Since when a VEN is traced, None if it is not."""
    t = traced_table
    rows: Any = await conn.execute(select(t.c.since).where(t.c.ven_id == ven_id))
    since: datetime | None = rows.scalar_one_or_none()
    return since


async def newest(
    conn: AsyncConnection, ven_id: str, limit: int, now: datetime, age: timedelta = AGE
) -> list[tuple[int, Exchange]]:
    """The last `limit` exchanges of a VEN with their numbers, oldest first; fewer where they are large."""
    t = trace_table
    rows = await conn.execute(
        select(t).where(t.c.ven_id == ven_id, t.c.at > now - age).order_by(t.c.seq.desc()).limit(limit)
    )
    found: list[tuple[int, Exchange]] = []
    size = 0
    for row in rows:
        exchange = _exchange(row)
        size += len(exchange.request) + len(exchange.response)
        if size > SHOWN_BYTES and found:
            break
        found.append((row.seq, exchange))
    return found[::-1]


async def find(
    conn: AsyncConnection, ven_id: str, number: int, now: datetime, age: timedelta = AGE
) -> Exchange | None:
    """The exchange of a VEN with that number, None where it is not kept (any more)."""
    t = trace_table
    rows = await conn.execute(select(t).where(t.c.ven_id == ven_id, t.c.seq == number, t.c.at > now - age))
    row = rows.one_or_none()
    return None if row is None else _exchange(row)


async def kept(conn: AsyncConnection, ven_id: str) -> int:
    """How many exchanges of a VEN are kept."""
    count = select(func.count()).select_from(trace_table).where(trace_table.c.ven_id == ven_id)
    return int((await conn.execute(count)).scalar_one())


async def _keep(conn: AsyncConnection, exchange: Exchange, count: int, age: timedelta) -> None:
    t = trace_table
    await conn.execute(
        insert(t).values(
            ven_id=exchange.ven_id,
            at=exchange.at,
            direction=exchange.direction,
            service=exchange.service,
            request_name=exchange.request_name,
            response_name=exchange.response_name,
            http_status=exchange.http_status,
            response_code=exchange.response_code,
            request=zlib.compress(exchange.request, 1),
            response=zlib.compress(exchange.response, 1),
        )
    )
    mine = t.c.ven_id == exchange.ven_id
    last_out = select(t.c.seq).where(mine).order_by(t.c.seq.desc()).limit(1).offset(count).scalar_subquery()
    await conn.execute(delete(t).where(mine, t.c.seq <= last_out))
    oldest = select(t.c.seq).where(mine).order_by(t.c.seq).limit(AGED_AT_ONCE).scalar_subquery()
    await conn.execute(delete(t).where(mine, t.c.seq.in_(oldest), t.c.at <= exchange.at - age))


def _exchange(row: Row[Any]) -> Exchange:
    return Exchange(
        ven_id=row.ven_id,
        at=row.at,
        direction=row.direction,
        service=row.service,
        http_status=row.http_status,
        request=zlib.decompress(row.request),
        response=zlib.decompress(row.response),
    )


def _found(pattern: re.Pattern[bytes], body: bytes) -> str | None:
    match = pattern.search(body, 0, SEARCHED_BYTES)
    return match[1].decode() if match else None
