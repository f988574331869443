"""Tokens of the API: shown once, kept as a hash, for some permissions of their owner, until a day.

They begin with `fxp_`, which programs that look for leaked secrets can search for. What their owner may no
longer do they may not either, from the next request on.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access import name as names
from aggregator.access.errors import FieldError
from aggregator.access.permission import Permission
from aggregator.access.principal import Principal
from aggregator.access.schema import token_table, user_table
from aggregator.access.secret import digest, new_id, new_token
from aggregator.access.user import User, user_of

PREFIX = "fxp_"
LONGEST = timedelta(days=366)
MOST = 50  # standing tokens of one user
# a token never acts on its owner's account: whoever found one could make himself another
NEVER = frozenset({Permission.ANYBODY, Permission.OWN_ACCOUNT, Permission.EVENT_APPROVE})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """One token and its owner."""

    token_id: str
    user: User
    name: str
    scopes: frozenset[Permission]
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None

    def stands(self, now: datetime) -> bool:
        """Whether it opens anything at this time."""
        return self.revoked_at is None and now < self.expires_at and not self.user.is_shut_out

    def principal(self) -> Principal:
        """Who asks with it."""
        user = self.user
        return Principal(
            user_id=user.user_id,
            name=user.name,
            role=user.role,
            permissions=(self.scopes & user.permissions) | {Permission.ANYBODY},
            scope=user.scope,
            home=user.home,
            token_id=self.token_id,
            language=user.language,
            time_zone=user.time_zone,
        )


def grantable(user: User) -> frozenset[Permission]:
    """The scopes that a token of this user can have."""
    return user.permissions - NEVER


async def make(
    conn: AsyncConnection,
    user: User,
    name: str,
    *,
    scopes: Collection[str],
    expires_at: datetime,
    now: datetime,
) -> str:
    """A new token, which is seen here and never again; FieldError names what cannot be taken."""
    name = names.checked("name", name)
    unknown = sorted(set(scopes) - grantable(user))
    if unknown or not scopes:
        raise FieldError("scopes", f"you cannot give {unknown[0]!r}" if unknown else "choose one at least")
    if not now < expires_at <= now + LONGEST:
        raise FieldError("expires", f"it lies between now and {(now + LONGEST).date()}")
    if len([token for token in await tokens(conn, user.user_id) if token.stands(now)]) >= MOST:
        raise FieldError("name", f"you have {MOST} tokens: revoke one first")
    token = new_token(PREFIX)
    row = {
        "token_id": new_id("t"),
        "token_hash": digest(token),
        "user_id": user.user_id,
        "name": name,
        "scopes": json.dumps(sorted(scopes)),
        "created_at": now,
        "expires_at": expires_at,
    }
    await conn.execute(insert(token_table).values(row))
    return token


async def find(conn: AsyncConnection, token: str) -> ApiToken | None:
    """The token that was sent, whether it stands or not."""
    rows = await conn.execute(_query().where(token_table.c.token_hash == digest(token)))
    row = rows.first()
    return None if row is None else _token(row)


async def tokens(conn: AsyncConnection, user_id: str) -> list[ApiToken]:
    """All tokens of a user, newest first."""
    newest = token_table.c.created_at.desc()
    rows = await conn.execute(_query().where(token_table.c.user_id == user_id).order_by(newest))
    return [_token(row) for row in rows]


async def used(conn: AsyncConnection, token_id: str, now: datetime) -> None:
    """Somebody asked with it."""
    await conn.execute(update(token_table).where(token_table.c.token_id == token_id).values(used_at=now))


async def revoke(conn: AsyncConnection, user_id: str, now: datetime, token_id: str | None = None) -> int:
    """End a token of a user, or all of them; how many ended."""
    t = token_table
    query = update(t).where(t.c.user_id == user_id, t.c.revoked_at.is_(None)).values(revoked_at=now)
    if token_id is not None:
        query = query.where(t.c.token_id == token_id)
    return (await conn.execute(query)).rowcount


def _query() -> Any:
    return select(token_table, user_table).join(user_table, user_table.c.user_id == token_table.c.user_id)


def _token(row: Any) -> ApiToken:
    values, t = row._mapping, token_table.c
    return ApiToken(
        token_id=values[t.token_id],
        user=user_of({column.name: values[column] for column in user_table.c}),
        name=values[t.name],
        scopes=frozenset(map(Permission, json.loads(values[t.scopes]))),
        created_at=values[t.created_at],
        expires_at=values[t.expires_at],
        used_at=values[t.used_at],
        revoked_at=values[t.revoked_at],
    )
