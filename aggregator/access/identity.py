"""Accounts at the identity provider that sign in as our users: one of a user, and never one of two.

Rule: nothing that a provider says makes such a link by itself, not an equal name and not an equal address of
mail. An admin makes it, or the user by the one-time link that he was given.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access import user as users
from aggregator.access.errors import FieldError
from aggregator.access.id_token import LONGEST_SUBJECT
from aggregator.access.schema import identity_table
from aggregator.access.user import User

TAKEN = "this account at the provider signs in as another user already"


@dataclass(frozen=True, slots=True)
class Identity:
    """An account there: by the provider's name and the value of the claim that tells its people apart."""

    issuer: str
    claim: str
    subject: str


async def user_of(conn: AsyncConnection, identity: Identity) -> User | None:
    """The user that the account signs in as."""
    t = identity_table
    query = select(t.c.user_id).where(
        t.c.issuer == identity.issuer, t.c.claim == identity.claim, t.c.subject == identity.subject
    )
    user_id = (await conn.execute(query)).scalar_one_or_none()
    return None if user_id is None else await users.find(conn, user_id)


async def of_user(conn: AsyncConnection, user_id: str) -> Identity | None:
    """The account that signs in as the user."""
    t = identity_table
    query = select(t.c.issuer, t.c.claim, t.c.subject).where(t.c.user_id == user_id)
    row = (await conn.execute(query)).first()
    return None if row is None else Identity(*row)


async def linked(conn: AsyncConnection) -> frozenset[str]:
    """The users who can sign in at a provider."""
    return frozenset((await conn.execute(select(identity_table.c.user_id))).scalars())


async def link(conn: AsyncConnection, user: User, identity: Identity, now: datetime) -> None:
    """The account signs in as this user from now on, in place of one before; FieldError where it cannot."""
    subject = identity.subject
    if not subject or len(subject) > LONGEST_SUBJECT or not subject.isprintable():
        raise FieldError("subject", "it is empty, too long, or holds what cannot be seen")
    other = await user_of(conn, identity)
    if other is not None and other.user_id != user.user_id:
        raise FieldError("subject", TAKEN)
    await unlink(conn, user.user_id)
    row = {
        "issuer": identity.issuer,
        "claim": identity.claim,
        "subject": subject,
        "user_id": user.user_id,
        "linked_at": now,
    }
    await conn.execute(insert(identity_table).values(row))


async def unlink(conn: AsyncConnection, user_id: str) -> bool:
    """No account there signs in as the user any more; False where none did."""
    t = identity_table
    return (await conn.execute(delete(t).where(t.c.user_id == user_id))).rowcount > 0
