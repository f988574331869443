"""Signing in: a name with its password, then the second factor; and the one-time links that begin it all.

Rules: what was wrong is never said, and an unknown name takes as long as a wrong password; every try counts
before it is looked at; each step gives the session another token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access import link, password, second_factor, session, throttle
from aggregator.access import user as users
from aggregator.access.access import Access
from aggregator.access.errors import FieldError, RefusedError
from aggregator.access.permission import Role
from aggregator.access.principal import Principal
from aggregator.access.user import User

log = structlog.get_logger(__name__)

WRONG = "name or password is not right"
NO_ROLE = "the identity provider gives you no role here: ask for one there"
LINK_OVER = "this link was used already, or is too old: ask for another one"


@dataclass(frozen=True, slots=True)
class Browser:
    """Where a request came from."""

    address: str
    agent: str


async def right_user(access: Access, name: str, given: str, browser: Browser) -> User:
    """The user with this password; FieldError where it is not right, RefusedError after too many tries."""
    keys = (throttle.of_account(name), throttle.of_address(browser.address))
    async with access.db.write() as conn:
        await throttle.count(conn, keys, access.clock())
    async with access.db.read() as conn:
        user = await users.named(conn, name)
    kept = user.password if user else None
    matched = await access.passwords.matches(kept, given[: password.LONGEST])
    shut = user is None or user.is_shut_out or not access.takes_password_of(user.role)
    if user is None or kept is None or not matched or shut:
        log.warning("a sign-in failed", user=user.user_id if user else "unknown", address=browser.address)
        raise FieldError("password", WRONG)
    better = await access.passwords.hash(given) if access.passwords.outdated(kept) else None
    async with access.db.write() as conn:
        await throttle.forgive(conn, *keys)
        if better is not None:
            await users.change(conn, user.user_id, password=better)
    return user


async def confirm(access: Access, conn: AsyncConnection, user: User, code: str) -> datetime:
    """A code of the second factor, taken and used up; when that was. FieldError where it is not right.

    The try itself must have been counted before, by `count_factor`.
    """
    now = access.clock()
    await second_factor.give(conn, user, code, now, access.sealing)
    await forgive_factor(conn, user.user_id)
    return now


async def confirm_again(access: Access, principal: Principal, code: str) -> Principal | None:
    """Who has signed in, with a second factor of this moment; None where the code is not right."""
    if principal.session_id is None or principal.user_id is None or not code:
        return None
    await count_factor(access, principal.user_id)
    try:
        async with access.db.write() as conn:
            user = await users.find(conn, principal.user_id)
            if user is None:
                return None
            at = await confirm(access, conn, user, code)
            await session.confirmed(conn, principal.session_id, at)
    except FieldError:
        return None
    return replace(principal, factor_at=at)


async def count_factor(access: Access, user_id: str) -> None:
    """Count a try of the second factor; RefusedError after too many."""
    async with access.db.write() as conn:
        await throttle.count(conn, (throttle.of_factor(user_id),), access.clock())


async def forgive_factor(conn: AsyncConnection, user_id: str) -> None:
    """A code was right: the tries before it are forgotten."""
    await throttle.forgive(conn, throttle.of_factor(user_id))


async def linked(access: Access, conn: AsyncConnection, token: str) -> tuple[link.Link, User | None]:
    """What a one-time link is for; RefusedError where it opens nothing."""
    found = await link.find(conn, token)
    if found is None or not found.stands(access.clock()):
        raise RefusedError(410, LINK_OVER)
    user = await users.find(conn, found.user_id) if found.user_id else None
    if found.user_id is not None and (user is None or user.suspended_at is not None):
        raise RefusedError(410, LINK_OVER)
    return found, user


async def follow(
    access: Access, conn: AsyncConnection, token: str, *, name: str, hashed: str, agent: str
) -> tuple[User, str]:
    """Use a one-time link up for a password: the user, and the token of his session.

    The first link of all makes the admin, and opens nothing once any admin came in. Where a second factor is
    set up, it is asked for next.
    """
    now = access.clock()
    found, user = await linked(access, conn, token)
    if not await link.use(conn, found.link_id, now):
        raise RefusedError(410, LINK_OVER)
    if user is not None and user.withdrawn_at is not None:
        raise RefusedError(403, NO_ROLE)
    if user is None:
        user = await users.add(conn, name, Role.ADMIN, now)
    await users.change(conn, user.user_id, password=hashed)
    await session.end(conn, user.user_id, now)
    if user.role is Role.ADMIN:
        await link.void(conn, None, now)
    await throttle.forgive(conn, throttle.of_account(user.name))
    return user, await session.begin(conn, user.user_id, agent, now)
