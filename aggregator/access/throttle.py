"""Tries that failed: after ten of an account or an address, each further one has to wait, longer each time.

Rules: a try counts before it is looked at, so that many at once are not one; what was right takes its own
count back. The counts are in the database: a restart forgives nothing. Unknown names count as known ones do.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address

from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.errors import RefusedError
from aggregator.access.name import compared
from aggregator.access.schema import throttle_table
from aggregator.access.secret import digest
from vtn.schema import micros

FREE = 10
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(minutes=15)
FORGOTTEN = timedelta(hours=24)

_COUNT = text(
    "INSERT INTO agg_throttle (key, failures, last_at) VALUES (:key, 1, :now)"
    " ON CONFLICT (key) DO UPDATE SET failures = agg_throttle.failures + 1, last_at = :now"
)


def of_account(name: str) -> str:
    """The key of an account, whether there is one or not."""
    return f"account/{digest(compared(name))}"


def of_factor(user_id: str) -> str:
    """The key of a user's second factor."""
    return f"factor/{user_id}"


def of_address(address: str) -> str:
    """The key of an address; a whole /64 of IPv6 is one, for one customer has so many."""
    try:
        found = ip_address(address)
    except ValueError:
        return f"address/{address}"
    if isinstance(found, IPv6Address):
        network = int(found) >> 64
        return f"address/{network:x}/64"
    return f"address/{found}"


def of_provider(address: str) -> str:
    """The key of an address that comes back from the identity provider: not that of its passwords, so that
    trouble there keeps nobody from his password here.
    """
    return f"provider/{of_address(address)}"


async def count(conn: AsyncConnection, keys: Sequence[str], now: datetime) -> None:
    """Count a try; RefusedError (429) where one of the keys has to wait, which then is not counted."""
    t = throttle_table
    await conn.execute(delete(t).where(t.c.last_at < now - FORGOTTEN))
    rows = await conn.execute(select(t.c.failures, t.c.last_at).where(t.c.key.in_(keys)))
    until = max((last_at + wait(failures) for failures, last_at in rows), default=now)
    if until > now:
        left_s = int((until - now).total_seconds()) + 1
        raise RefusedError(429, _told(left_s), retry_after_s=left_s)
    for key in keys:
        await conn.execute(_COUNT, {"key": key, "now": micros(now)})


async def forgive(conn: AsyncConnection, account: str, address: str | None = None) -> None:
    """A try was right: the account begins anew, the address takes this one back."""
    t = throttle_table
    await conn.execute(delete(t).where(t.c.key == account))
    if address is not None:
        await take_back(conn, address)


async def take_back(conn: AsyncConnection, key: str) -> None:
    """The try that was counted last was right; those before it stay."""
    t = throttle_table
    await conn.execute(update(t).where(t.c.key == key, t.c.failures > 0).values(failures=t.c.failures - 1))


def wait(failures: int) -> timedelta:
    """How long after the newest of so many failures the next try is looked at."""
    if failures < FREE:
        return timedelta()
    return min(FIRST_WAIT * (1 << min(failures - FREE, 20)), LONGEST_WAIT)


def _told(seconds: int) -> str:
    left = f"{seconds} seconds" if seconds < 120 else f"{seconds // 60 + 1} minutes"
    return f"too many tries failed: wait {left} and try again"
