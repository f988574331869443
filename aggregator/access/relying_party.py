"""Signing in at an identity provider (OpenID Connect, authorization code with PKCE), and what we make of it.

Rules: what a browser is away with lies sealed in its own cookie, so that an answer counts in the browser that
asked, once and within ten minutes; who somebody is comes from the provider, what he may do from our database
unless the settings map a claim to roles; our own second factor is asked for as after a password.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access import administration, identity, link, session, sign_in
from aggregator.access.access import Access
from aggregator.access.cookie import FLOW_S
from aggregator.access.errors import FieldError, RefusedError, SealError
from aggregator.access.identity import Identity
from aggregator.access.oidc_settings import OidcSettings
from aggregator.access.permission import SECOND_FACTOR, Role
from aggregator.access.sealing import SealingKey
from aggregator.access.secret import new_token, same
from aggregator.access.user import User

BEGIN_AGAIN = "this sign-in took too long, or was begun in another browser: begin again"
NOT_OPEN = "this account may not sign in: ask an admin"
FIRST_ADMIN = "the first admin sets a password: the provider may be out of reach one day"
_OF = "a sign-in at the provider"
_LONGEST_WAY = 1024


class StrangerError(RefusedError):
    """An account that the provider knows and that no user here has."""

    def __init__(self, subject: str) -> None:
        super().__init__(403, "your account at the provider belongs to no user here: give an admin this name")
        self.subject = subject


class KnownError(RefusedError):
    """A user of ours whom the provider confirmed, and who is not let in."""

    def __init__(self, text: str, user: User, *, has_no_role: bool = False) -> None:
        super().__init__(403, text)
        self.user = user
        self.has_no_role = has_no_role
        """Whether the provider gives him no role any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One sign-in while the browser is at the provider. `link` is the one-time link that it began with."""

    state: str
    nonce: str
    verifier: str
    then: str
    link: str
    began: int

    @classmethod
    def begin(cls, now: datetime, *, then: str, link: str) -> Flow:
        """A new one, with three random texts that nobody else knows."""
        return cls(
            state=new_token(),
            nonce=new_token(),
            verifier=new_token(),
            then=then if len(then) <= _LONGEST_WAY else "",
            link=link,
            began=int(now.timestamp()),
        )

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier (RFC 7636, S256)."""
        digest = hashlib.sha256(self.verifier.encode("ascii")).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def sealed(self, key: SealingKey) -> str:
        """The text of the cookie."""
        return key.seal(_OF, json.dumps(asdict(self)))


def returned(kept: str, state: str, key: SealingKey, now: datetime) -> Flow:
    """The sign-in that an answer is of; RefusedError where it is of none of this browser, or too late."""
    try:
        flow = Flow(**json.loads(key.open(_OF, kept)))
    except (SealError, ValueError, TypeError):
        raise RefusedError(422, BEGIN_AGAIN) from None
    if not same(state, flow.state) or not 0 <= now.timestamp() - flow.began < FLOW_S:
        raise RefusedError(422, BEGIN_AGAIN)
    return flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A browser that is back: what it was away with, who the provider says it is of, and its name."""

    flow: Flow
    who: Identity
    claims: Mapping[str, Any]
    agent: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who came in, and his session's token; `role_before` where the provider gave him another role."""

    user: User
    token: str
    role_before: Role | None = None
    role_not_given: Role | None = None
    """What the provider would make of him, were there a second factor."""


async def come_in(
    access: Access, conn: AsyncConnection, settings: OidcSettings, arrival: Arrival
) -> SignedIn:
    """The user whom the account is linked to, or is linked to now by a one-time link, in a new session.

    RefusedError says why nobody came in.
    """
    now = access.clock()
    if arrival.flow.link:
        user = await _linked_now(access, conn, arrival.flow.link, arrival.who)
    else:
        user = await _known(conn, arrival.who)
    if user.suspended_at is not None:
        raise KnownError(NOT_OPEN, user)
    role = role_of(settings, user, arrival.claims)
    if role is None:  # a link alone does not say that the account there is his
        raise KnownError(sign_in.NO_ROLE, user, has_no_role=not arrival.flow.link)
    if user.withdrawn_at is not None:
        await administration.give_back_role(conn, user)
    before, kept_back = None, None
    if role in SECOND_FACTOR and role is not user.role and not _may_be_raised(user, role):
        role, kept_back = user.role, role
    if role is not user.role:
        try:
            await administration.set_role(conn, user, role, now)
        except FieldError as error:
            raise KnownError(error.text, user) from error
        user, before = replace(user, role=role), user.role
    return SignedIn(user, await session.begin(conn, user.user_id, arrival.agent, now), before, kept_back)


def role_of(settings: OidcSettings, user: User, claims: Mapping[str, Any]) -> Role | None:
    """The role that counts: ours, or where roles are mapped that of the first line that fits the claim.

    A prosumer keeps his, for his account is bound to VENs. None where no line fits.
    """
    if settings.role_claim is None or user.role is Role.PROSUMER:
        return user.role
    said = claims.get(settings.role_claim)
    values = said if isinstance(said, list) else [said]
    for value, role in settings.roles.items():
        if value in values:
            return role
    return None


def _may_be_raised(user: User, role: Role) -> bool:
    """Whether a claim alone gives him the role: else whoever has the account there would set up a telephone
    of his own here. An admin without a second factor may become less.
    """
    return user.has_factor or (user.role is Role.ADMIN and role is Role.OPERATOR)


async def _known(conn: AsyncConnection, who: Identity) -> User:
    user = await identity.user_of(conn, who)
    if user is None:
        raise StrangerError(who.subject)
    return user


async def _linked_now(access: Access, conn: AsyncConnection, token: str, who: Identity) -> User:
    """The user of a one-time link, which is used up for this account at the provider."""
    now = access.clock()
    found, user = await sign_in.linked(access, conn, token)
    if user is None:
        raise RefusedError(403, FIRST_ADMIN)
    if not await link.use(conn, found.link_id, now):
        raise RefusedError(410, sign_in.LINK_OVER)
    try:
        await identity.link(conn, user, who, now)
    except FieldError as error:
        raise RefusedError(403, error.text) from error
    await session.end(conn, user.user_id, now)
    return user
