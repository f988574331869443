"""What admins do to users: for the page of users and for the control socket alike.

Rules: whoever's rights change has to sign in anew; the last admin who can sign in stays one; nobody is ever
taken out of the table, for the trail names people by their id.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access import api_token, identity, link, second_factor, session
from aggregator.access import user as users
from aggregator.access.errors import FieldError
from aggregator.access.identity import Identity
from aggregator.access.permission import Role
from aggregator.access.user import User
from vtn.errors import UnknownObject

LAST = "this is the last admin who can sign in: make another one first"


def role_of(text: str) -> Role:
    """The role of this name; FieldError where there is none."""
    try:
        return Role(text)
    except ValueError:
        raise FieldError("role", f"{text[:40]!r} is none of {', '.join(Role)}") from None


async def known(conn: AsyncConnection, user_id: str) -> User:
    """The user with this id; UnknownObject where there is none."""
    user = await users.find(conn, user_id)
    if user is None:
        raise UnknownObject(f"there is no user {user_id[:40]!r}")
    return user


async def known_by_name(conn: AsyncConnection, name: str) -> User:
    """The user with this name; UnknownObject where there is none."""
    user = await users.named(conn, name)
    if user is None:
        raise UnknownObject(f"there is no user {name[:80]!r}")
    return user


async def invite(
    conn: AsyncConnection,
    name: str,
    role: Role,
    now: datetime,
    *,
    ven_ids: Collection[str] = (),
    home: str | None = None,
) -> tuple[User, str]:
    """A new user, and the token of the link by which he sets his password."""
    user = await users.add(conn, name, role, now, scope=frozenset(ven_ids) or None, home=home or None)
    return user, await link.make(conn, user.user_id, now)


async def new_link(conn: AsyncConnection, user: User, now: datetime, *, reset_factor: bool = False) -> str:
    """The token of a link by which the user sets another password, and with it another telephone."""
    if user.suspended_at is not None:
        raise FieldError("user", f"{user.name} is suspended: let him in again first")
    if reset_factor:
        await second_factor.forget(conn, user.user_id)
        await session.end(conn, user.user_id, now)
    return await link.make(conn, user.user_id, now)


async def set_role(
    conn: AsyncConnection,
    user: User,
    role: Role,
    now: datetime,
    *,
    ven_ids: Collection[str] = (),
    home: str | None = None,
) -> None:
    """Another role, for a prosumer with the VENs and the home that it is for; the user's sessions end, his
    tokens keep what the role still grants.
    """
    if role is Role.PROSUMER and not ven_ids:
        raise FieldError("scope", "a prosumer's account is for one VEN at least")
    if role is not Role.PROSUMER and (ven_ids or home):
        raise FieldError("scope", f"the role {role} sees the whole fleet, not single VENs")
    if user.role is Role.ADMIN and role is not Role.ADMIN:
        await _not_the_last(conn, user)
    scope = json.dumps(sorted(ven_ids)) if ven_ids else None
    await users.change(conn, user.user_id, role=role, scope=scope, home=home or None, withdrawn_at=None)
    await session.end(conn, user.user_id, now)


async def link_identity(conn: AsyncConnection, user: User, who: Identity, now: datetime) -> None:
    """This account at the identity provider signs in as the user, in place of one before; what was open
    before ends.
    """
    await identity.link(conn, user, who, now)
    await revoke(conn, user, now)


async def unlink_identity(conn: AsyncConnection, user: User, now: datetime) -> None:
    """No account at an identity provider signs in as the user any more; what is open ends."""
    await identity.unlink(conn, user.user_id)
    await revoke(conn, user, now)


async def suspend(conn: AsyncConnection, user: User, now: datetime) -> None:
    """The user is let in no more, and what he had open is closed."""
    await _not_the_last(conn, user)
    await users.change(conn, user.user_id, suspended_at=now)
    await revoke(conn, user, now)


async def let_in(conn: AsyncConnection, user: User) -> None:
    """A user who was suspended may sign in again."""
    await users.change(conn, user.user_id, suspended_at=None)


async def revoke(conn: AsyncConnection, user: User, now: datetime) -> None:
    """End the user's sessions, links and tokens; he may sign in again."""
    await session.end(conn, user.user_id, now)
    await api_token.revoke(conn, user.user_id, now)
    await link.void(conn, user.user_id, now)


async def withdraw_role(conn: AsyncConnection, user: User, now: datetime) -> None:
    """The identity provider gives the user no role any more: what he has open ends, and his password opens
    nothing until the provider or an admin gives him one. The last admin's password goes on.
    """
    await revoke(conn, user, now)
    if not await _is_the_last(conn, user):
        await users.change(conn, user.user_id, withdrawn_at=now)


async def give_back_role(conn: AsyncConnection, user: User) -> None:
    """The identity provider gives him a role again."""
    await users.change(conn, user.user_id, withdrawn_at=None)


async def _not_the_last(conn: AsyncConnection, user: User) -> None:
    if await _is_the_last(conn, user):
        raise FieldError("user", LAST)


async def _is_the_last(conn: AsyncConnection, user: User) -> bool:
    acts = user.role is Role.ADMIN and not user.is_shut_out and user.password is not None
    return acts and not await users.other_admins(conn, user.user_id)
