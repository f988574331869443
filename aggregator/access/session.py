"""Sessions: who sits behind a browser's cookie, for how long, and since when he gave his second factor.

Rules: of the cookie's text the database has a hash; a session ends after 15 minutes without its user doing
anything, after 12 hours whatever he does, and at once when it is revoked or its user is suspended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.principal import Principal
from aggregator.access.schema import session_table, user_table
from aggregator.access.secret import csrf_of, digest, new_id, new_token
from aggregator.access.user import User, user_of

IDLE = timedelta(minutes=15)
ABSOLUTE = timedelta(hours=12)
FACTOR_WAIT = timedelta(minutes=10)  # between the password and the second factor
SEEN_EVERY = timedelta(seconds=30)  # a request is noted only so often
KEPT = timedelta(days=30)  # ended sessions, for their user to see
LONGEST_AGENT = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One session and its user."""

    session_id: str
    user: User
    agent: str
    created_at: datetime
    seen_at: datetime
    factor_at: datetime | None
    ended_at: datetime | None

    def stands(self, now: datetime) -> bool:
        """Whether it opens anything at this time."""
        if self.ended_at is not None or self.user.is_shut_out:
            return False
        if self.waits and now - self.created_at >= FACTOR_WAIT:
            return False
        return now - self.seen_at < IDLE and now - self.created_at < ABSOLUTE

    @property
    def waits(self) -> bool:
        """Whether the password was given and the second factor is still to come."""
        return self.user.has_factor and self.factor_at is None

    def principal(self, token: str) -> Principal:
        """Who asks in the session; nobody yet while the second factor is awaited."""
        user = self.user
        if self.waits:
            return Principal(session_id=self.session_id, csrf=csrf_of(token), language=user.language)
        return Principal(
            user_id=user.user_id,
            name=user.name,
            role=user.role,
            permissions=user.permissions,
            scope=user.scope,
            home=user.home,
            session_id=self.session_id,
            csrf=csrf_of(token),
            factor_at=self.factor_at,
            language=user.language,
            time_zone=user.time_zone,
        )


async def begin(
    conn: AsyncConnection, user_id: str, agent: str, now: datetime, factor_at: datetime | None = None
) -> str:
    """A new session; its token, which stands in the cookie and nowhere else."""
    token = new_token()
    shown = "".join(letter for letter in agent if letter.isprintable())[:LONGEST_AGENT]
    row = {
        "session_id": new_id("s"),
        "token_hash": digest(token),
        "user_id": user_id,
        "agent": shown,
        "created_at": now,
        "seen_at": now,
        "factor_at": factor_at,
    }
    await conn.execute(delete(session_table).where(session_table.c.seen_at < now - KEPT))
    await conn.execute(insert(session_table).values(row))
    return token


async def find(conn: AsyncConnection, token: str) -> Session | None:
    """The session that a cookie is of, whether it stands or not."""
    return await _one(conn, session_table.c.token_hash == digest(token))


async def find_by_id(conn: AsyncConnection, session_id: str) -> Session | None:
    """The session with this id, whether it stands or not."""
    return await _one(conn, session_table.c.session_id == session_id)


async def standing(conn: AsyncConnection, user_id: str, now: datetime) -> list[Session]:
    """The user's sessions that open something, newest first."""
    query = (
        select(session_table, user_table)
        .join(user_table, user_table.c.user_id == session_table.c.user_id)
        .where(session_table.c.user_id == user_id, session_table.c.ended_at.is_(None))
        .order_by(session_table.c.created_at.desc())
    )
    found = [_session(row) for row in await conn.execute(query)]
    return [session for session in found if session.stands(now)]


async def rotate(conn: AsyncConnection, session_id: str, now: datetime, factor_at: datetime | None) -> str:
    """Another token for a session whose rights change; the one before opens nothing from now on."""
    token = new_token()
    values = {"token_hash": digest(token), "factor_at": factor_at, "seen_at": now}
    await conn.execute(update(session_table).where(session_table.c.session_id == session_id).values(**values))
    return token


async def end(
    conn: AsyncConnection,
    user_id: str,
    now: datetime,
    *,
    only: str | None = None,
    but: str | None = None,
) -> int:
    """End one session of a user, or all, or all `but` one; how many ended."""
    t = session_table
    query = update(t).where(t.c.user_id == user_id, t.c.ended_at.is_(None)).values(ended_at=now)
    if only is not None:
        query = query.where(t.c.session_id == only)
    if but is not None:
        query = query.where(t.c.session_id != but)
    return (await conn.execute(query)).rowcount


async def confirmed(conn: AsyncConnection, session_id: str, factor_at: datetime) -> None:
    """Its user has given the second factor once more."""
    values = {"factor_at": factor_at, "seen_at": factor_at}
    await conn.execute(update(session_table).where(session_table.c.session_id == session_id).values(**values))


async def seen(conn: AsyncConnection, session_id: str, now: datetime) -> None:
    """Its user has done something."""
    await conn.execute(
        update(session_table).where(session_table.c.session_id == session_id).values(seen_at=now)
    )


async def _one(conn: AsyncConnection, condition: Any) -> Session | None:
    query = (
        select(session_table, user_table)
        .join(user_table, user_table.c.user_id == session_table.c.user_id)
        .where(condition)
    )
    row = (await conn.execute(query)).first()
    return None if row is None else _session(row)


def _session(row: Any) -> Session:
    values = row._mapping
    user = user_of({column.name: values[column] for column in user_table.c})
    return Session(
        session_id=values[session_table.c.session_id],
        user=user,
        agent=values[session_table.c.agent],
        created_at=values[session_table.c.created_at],
        seen_at=values[session_table.c.seen_at],
        factor_at=values[session_table.c.factor_at],
        ended_at=values[session_table.c.ended_at],
    )
