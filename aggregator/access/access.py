"""What all of access has in common: the database, the clock on the wall, and the maker of password hashes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aggregator.access import api_token, second_factor, session
from aggregator.access.errors import RefusedError
from aggregator.access.oidc_settings import LocalSignIn
from aggregator.access.password import Passwords
from aggregator.access.permission import Role
from aggregator.access.principal import NOBODY, Principal
from aggregator.access.provider import Provider
from aggregator.access.sealing import SealingKey
from aggregator.access.session import SEEN_EVERY
from vtn.errors import StartupError
from vtn.store import Database

BEGIN_ANEW = "sealing.begin-anew"


def wall_clock() -> datetime:
    """The real time: people and their telephones have no other, whatever day the aggregator plays."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may do what, over one database. `clock` is real time where the aggregator's may be simulated;
    `sealing` opens what the database holds sealed; `provider` is asked who somebody is, where there is one.
    """

    db: Database
    sealing: SealingKey
    clock: Callable[[], datetime] = wall_clock
    address: Callable[[], str] = str
    provider: Provider | None = None
    passwords: Passwords = field(default_factory=Passwords)

    @classmethod
    async def over(
        cls, db: Database, sealing: Path, clock: Callable[[], datetime], address: Callable[[], str]
    ) -> Access:
        """The same with the key in the file `sealing`, which is made where nothing is sealed yet; what
        versions before kept unsealed is sealed now. StartupError where the key is lost or cannot be used.
        """
        if not await asyncio.to_thread(sealing.exists):
            await _begin_anew(db, sealing)
        key = await asyncio.to_thread(SealingKey.at, sealing)
        async with db.write() as conn:
            await second_factor.seal_plain(conn, key)
        return cls(db=db, sealing=key, clock=clock, address=address)

    def takes_password_of(self, role: Role) -> bool:
        """Whether a password of this role opens anything; an admin's does whatever the settings say."""
        if self.provider is None or role is Role.ADMIN:
            return True
        return self.provider.settings.local_sign_in is LocalSignIn.ALL

    async def by_session(self, token: str, *, active: bool) -> Principal:
        """Who a cookie is of; NOBODY where its session has ended. `active`: its user does something now."""
        now = self.clock()
        async with self.db.read() as conn:
            found = await session.find(conn, token)
        if found is None or not found.stands(now):
            return NOBODY
        if active and now - found.seen_at >= SEEN_EVERY:
            async with self.db.write() as conn:
                await session.seen(conn, found.session_id, now)
        return found.principal(token)

    async def by_token(self, token: str) -> Principal:
        """Who a token of the API is of, with its scopes as far as its owner still has them; RefusedError
        (401) where it opens nothing.
        """
        now = self.clock()
        async with self.db.read() as conn:
            found = await api_token.find(conn, token)
        if found is None or not found.stands(now):
            raise RefusedError(401, "this token is not known, has expired or was revoked")
        if found.used_at is None or now - found.used_at >= SEEN_EVERY:
            async with self.db.write() as conn:
                await api_token.used(conn, found.token_id, now)
        return found.principal()

    async def stands(self, principal: Principal) -> bool:
        """Whether who asked once would be let in now with the same rights: for connections that stay open."""
        if principal.session_id is None:
            return False
        async with self.db.read() as conn:
            found = await session.find_by_id(conn, principal.session_id)
        return (
            found is not None
            and found.stands(self.clock())
            and not found.waits
            and principal.permissions <= found.user.permissions
        )


async def _begin_anew(db: Database, sealing: Path) -> None:
    """Make sure that another key takes nothing away: without its key a sealed factor never opens again."""
    wish = sealing.with_name(BEGIN_ANEW)
    async with db.write() as conn:
        users = await second_factor.with_sealed(conn)
        if users and not await asyncio.to_thread(wish.exists):
            raise StartupError(
                f"{sealing} is missing, and the second factors of {len(users)} users open with it alone: put"
                f" it back from your backup, or make an empty file {wish} to reset them and begin anew"
            )
        for user_id in users:
            await second_factor.forget(conn, user_id)
    await asyncio.to_thread(wish.unlink, missing_ok=True)
