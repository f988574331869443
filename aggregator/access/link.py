"""One-time links: the first admin, new users and forgotten passwords come in by one, valid for 24 hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.schema import link_table
from aggregator.access.secret import digest, new_id, new_token

VALID = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link. `user_id` None: for the first admin, who is not there yet."""

    link_id: str
    user_id: str | None
    expires_at: datetime
    used_at: datetime | None

    def stands(self, now: datetime) -> bool:
        """Whether it opens anything."""
        return self.used_at is None and now < self.expires_at


async def make(conn: AsyncConnection, user_id: str | None, now: datetime) -> str:
    """A new link's token; those before for the same user open nothing from now on."""
    await void(conn, user_id, now)
    token = new_token()
    row = {
        "link_id": new_id("l"),
        "token_hash": digest(token),
        "user_id": user_id,
        "created_at": now,
        "expires_at": now + VALID,
    }
    await conn.execute(insert(link_table).values(row))
    return token


async def find(conn: AsyncConnection, token: str) -> Link | None:
    """The link of a token, whether it stands or not."""
    t = link_table
    query = select(t.c.link_id, t.c.user_id, t.c.expires_at, t.c.used_at)
    row = (await conn.execute(query.where(t.c.token_hash == digest(token)))).first()
    if row is None:
        return None
    return Link(link_id=row[0], user_id=row[1], expires_at=row[2], used_at=row[3])


async def use(conn: AsyncConnection, link_id: str, now: datetime) -> bool:
    """Use it up; False if somebody was faster."""
    t = link_table
    query = update(t).where(t.c.link_id == link_id, t.c.used_at.is_(None), t.c.expires_at > now)
    return (await conn.execute(query.values(used_at=now))).rowcount == 1


async def void(conn: AsyncConnection, user_id: str | None, now: datetime) -> None:
    """End every link of a user that was not used."""
    t = link_table
    whose = t.c.user_id.is_(None) if user_id is None else t.c.user_id == user_id
    await conn.execute(update(t).where(whose, t.c.used_at.is_(None)).values(used_at=now))
