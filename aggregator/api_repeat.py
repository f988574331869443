"""Requests that come twice: with the header `Idempotency-Key` the second is answered as the first was.

A key is of one user and one request; what was answered is kept with the change itself, in one transaction,
for a day. What was refused is not kept: it may be sent again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.schema import api_answer_table
from vtn.problem import CONFLICT, Problem

HEADER = "Idempotency-Key"
REPEATED = "Idempotent-Replayed"
LONGEST = 128
KEPT = timedelta(days=1)
UNDER_WAY, ORDERED = 0, 1  # in place of a status


@dataclass(frozen=True, slots=True)
class Once:
    """A key of somebody's, and the hash of what he asked with it."""

    owner: str
    key: str
    asked: str
    now: datetime

    async def answered(self, conn: AsyncConnection) -> web.Response | None:
        """What was answered the first time; Problem (409) where the key is of something else."""
        t = api_answer_table
        query = select(t.c.asked, t.c.status, t.c.answer).where(t.c.owner == self.owner, t.c.key == self.key)
        row = (await conn.execute(query.where(t.c.made_at > self.now - KEPT))).first()
        if row is None:
            return None
        if row.asked != self.asked:
            text = "this key was used for a different request before: use a new one"
            raise Problem.field(HEADER, self.key, text, CONFLICT)
        if row.status == UNDER_WAY:
            raise Problem.field(HEADER, self.key, "the first request with this key is not done yet", CONFLICT)
        if row.status == ORDERED:
            text = "what the first request with this key ordered is kept: look at it before you order again"
            raise Problem.field(HEADER, self.key, text, CONFLICT)
        return web.json_response(text=row.answer, status=row.status, headers={REPEATED: "true"})

    async def keep(self, conn: AsyncConnection, status: int, answer: str) -> None:
        """Keep what is answered, and forget what was answered long ago."""
        t = api_answer_table
        values = {"asked": self.asked, "status": status, "answer": answer, "made_at": self.now}
        await conn.execute(delete(t).where(t.c.made_at <= self.now - KEPT))
        mine = (t.c.owner == self.owner, t.c.key == self.key)
        if not (await conn.execute(update(t).where(*mine).values(**values))).rowcount:
            await conn.execute(insert(t).values(owner=self.owner, key=self.key, **values))

    async def keep_order(self, conn: AsyncConnection) -> None:
        """Keep that it is ordered; the answer follows, or is lost."""
        await self.keep(conn, ORDERED, "")

    async def forget(self, conn: AsyncConnection, *, ordered: bool = False) -> None:
        """It was not carried out. What was ordered meanwhile stays, unless `ordered`: that was refused."""
        t = api_answer_table
        gone = delete(t).where(t.c.owner == self.owner, t.c.key == self.key)
        await conn.execute(gone if ordered else gone.where(t.c.status == UNDER_WAY))


async def forget_unfinished(conn: AsyncConnection) -> None:
    """What an earlier process left under way was not carried out: its keys may be sent again."""
    await conn.execute(delete(api_answer_table).where(api_answer_table.c.status == UNDER_WAY))


def once(request: web.Request, owner: str, raw: bytes, now: datetime) -> Once | None:
    """What the request's header says, None without one; Problem where it is no key."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not (0 < len(key) <= LONGEST and all("!" <= letter <= "~" for letter in key)):
        raise Problem.field(HEADER, key, f"a key has 1 to {LONGEST} ASCII characters without spaces")
    asked = hashlib.sha256(f"{request.method} {request.raw_path}\n".encode() + raw).hexdigest()
    return Once(owner, key, asked, now)
