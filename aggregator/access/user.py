"""Users: whom there is, and what each may do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access import name as names
from aggregator.access.errors import FieldError
from aggregator.access.permission import GRANTED, SECOND_FACTOR, Permission, Role
from aggregator.access.schema import user_table
from aggregator.access.secret import new_id

_ONLY_SET_UP = frozenset({Permission.ANYBODY, Permission.OWN_ACCOUNT})


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One user. `password` is a hash; None until the one-time link was used."""

    user_id: str
    name: str
    role: Role
    created_at: datetime
    password: str | None = None
    language: str | None = None
    time_zone: str | None = None
    scope: frozenset[str] | None = None
    home: str | None = None
    totp_secret: str | None = None
    totp_pending: str | None = None
    totp_step: int = 0
    suspended_at: datetime | None = None
    withdrawn_at: datetime | None = None

    @property
    def is_shut_out(self) -> bool:
        """Whether nothing of his opens: an admin suspended him, or the provider gives him no role."""
        return self.suspended_at is not None or self.withdrawn_at is not None

    @property
    def has_factor(self) -> bool:
        """Whether a second factor is set up."""
        return self.totp_secret is not None

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the role grants; without a second factor where one is needed, only to set it up."""
        if self.role in SECOND_FACTOR and not self.has_factor:
            return _ONLY_SET_UP
        return GRANTED[self.role]


async def find(conn: AsyncConnection, user_id: str) -> User | None:
    """The user with this id."""
    return await _one(conn, user_table.c.user_id == user_id)


async def named(conn: AsyncConnection, name: str) -> User | None:
    """The user with this name, however it is capitalised."""
    return await _one(conn, user_table.c.name_key == names.compared(name))


async def users(conn: AsyncConnection) -> list[User]:
    """All users by name."""
    rows = await conn.execute(select(user_table).order_by(user_table.c.name_key))
    return [user_of(row) for row in rows.mappings()]


async def page(conn: AsyncConnection, limit: int, after: str = "") -> list[User]:
    """So many users by name, those behind the one of this name."""
    t = user_table
    query = select(t).where(t.c.name_key > names.compared(after)).order_by(t.c.name_key).limit(limit)
    return [user_of(row) for row in (await conn.execute(query)).mappings()]


async def count(conn: AsyncConnection) -> int:
    """How many users there are."""
    return int((await conn.execute(select(func.count()).select_from(user_table))).scalar_one())


async def other_admins(conn: AsyncConnection, user_id: str) -> int:
    """How many admins can sign in beside this user: the last one must stay."""
    t = user_table
    query = select(func.count()).where(
        t.c.role == Role.ADMIN,
        t.c.suspended_at.is_(None),
        t.c.withdrawn_at.is_(None),
        t.c.password.is_not(None),
        t.c.user_id != user_id,
    )
    return int((await conn.execute(query)).scalar_one())


async def add(
    conn: AsyncConnection,
    name: str,
    role: Role,
    now: datetime,
    *,
    scope: frozenset[str] | None = None,
    home: str | None = None,
) -> User:
    """A new user without a password; FieldError where the name cannot be taken."""
    name = names.checked("name", name)
    if await named(conn, name) is not None:
        raise FieldError("name", f"{name!r} is a user already")
    if role is Role.PROSUMER and not scope:
        raise FieldError("scope", "a prosumer's account is for one VEN at least")
    if role is not Role.PROSUMER and (scope or home):
        raise FieldError("scope", f"the role {role} sees the whole fleet, not single VENs")
    user = User(user_id=new_id("u"), name=name, role=role, created_at=now, scope=scope, home=home)
    row = {
        "user_id": user.user_id,
        "name": name,
        "name_key": names.compared(name),
        "role": role,
        "scope": json.dumps(sorted(scope)) if scope else None,
        "home": home,
        "totp_step": 0,
        "created_at": now,
    }
    await conn.execute(insert(user_table).values(row))
    return user


async def change(conn: AsyncConnection, user_id: str, **values: Any) -> None:
    """Set columns of a user."""
    await conn.execute(update(user_table).where(user_table.c.user_id == user_id).values(**values))


async def _one(conn: AsyncConnection, condition: Any) -> User | None:
    row = (await conn.execute(select(user_table).where(condition))).mappings().first()
    return None if row is None else user_of(row)


def user_of(row: Mapping[Any, Any]) -> User:
    """The user in a row of the table."""
    return User(
        user_id=row["user_id"],
        name=row["name"],
        role=Role(row["role"]),
        created_at=row["created_at"],
        password=row["password"],
        language=row["language"],
        time_zone=row["time_zone"],
        scope=frozenset(json.loads(row["scope"])) if row["scope"] else None,
        home=row["home"],
        totp_secret=row["totp_secret"],
        totp_pending=row["totp_pending"],
        totp_step=row["totp_step"],
        suspended_at=row["suspended_at"],
        withdrawn_at=row["withdrawn_at"],
    )
