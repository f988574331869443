"""The second factor: codes of a telephone that change every 30 seconds (RFC 6238), and recovery codes.

Rules: a code opens once, also within its 30 seconds; a recovery code opens once ever; a secret counts from
the moment on at which its first code was right, in the session that began it and within ten minutes, and sets
ten new recovery codes. Secrets are sealed
(`aggregator.access.sealing`): who has the database alone has no code.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime

import pyotp
import structlog
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access import user as users
from aggregator.access.errors import FieldError, SealError
from aggregator.access.schema import recovery_table, user_table
from aggregator.access.sealing import MARK, SealingKey
from aggregator.access.secret import digest
from aggregator.access.user import User

log = structlog.get_logger(__name__)

ISSUER = "flexpact"
STEP_S = 30
PENDING_S = 600
RECOVERY_CODES = 10
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # without letters that look like others
_SECRETS = ("totp_secret", "totp_pending")
WRONG = "this code is not right, or was used already"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a telephone is shown to set it up."""

    secret: str
    uri: str


async def enrol(
    conn: AsyncConnection, user: User, key: SealingKey, now: datetime, session_id: str
) -> Enrolment:
    """A new secret, which waits for its first code, in the session and for ten minutes."""
    secret = pyotp.random_base32()
    waiting = f"{secret} {session_id} {int(now.timestamp())}"
    await users.change(conn, user.user_id, totp_pending=sealed(key, user.user_id, waiting))
    return _enrolment(user, secret)


def pending(user: User, key: SealingKey, now: datetime, session_id: str) -> Enrolment | None:
    """The secret that waits for its first code in the session; None where none does."""
    secret = _waiting(user, key, now, session_id)
    return None if secret is None else _enrolment(user, secret)


def sealed(key: SealingKey, user_id: str, secret: str) -> str:
    """What the database keeps of a user's secret."""
    return key.seal(_of(user_id), secret)


async def seal_plain(conn: AsyncConnection, key: SealingKey) -> None:
    """Seal the secrets that were kept as they are by versions before; say of which the key is lost."""
    if conn.dialect.name == "sqlite":
        await conn.exec_driver_sql("PRAGMA secure_delete=ON")  # nothing of them stays in the file
    t, lost = user_table, 0
    query = select(t.c.user_id, t.c.totp_secret, t.c.totp_pending)
    rows = await conn.execute(query.where(or_(t.c.totp_secret.is_not(None), t.c.totp_pending.is_not(None))))
    for user_id, *kept in rows.all():
        there = {name: text for name, text in zip(_SECRETS, kept, strict=True) if text}
        plain = {name: text for name, text in there.items() if not text.startswith(MARK)}
        if plain:
            values = {name: sealed(key, user_id, text) for name, text in plain.items()}
            await users.change(conn, user_id, **values)
        lost += any(text.startswith(MARK) and not key.sealed(text) for text in there.values())
    if lost:
        text = "second factors are sealed with another key: put sealing.key back, or reset them"
        log.error(text, users=lost)


async def with_sealed(conn: AsyncConnection) -> list[str]:
    """The users whose secrets are sealed, with whatever key."""
    t = user_table
    is_sealed = or_(t.c.totp_secret.startswith(MARK), t.c.totp_pending.startswith(MARK))
    return list((await conn.execute(select(t.c.user_id).where(is_sealed))).scalars())


def _enrolment(user: User, secret: str) -> Enrolment:
    return Enrolment(secret, pyotp.TOTP(secret).provisioning_uri(name=user.name, issuer_name=ISSUER))


async def prove(
    conn: AsyncConnection, user: User, code: str, now: datetime, key: SealingKey, *, session_id: str
) -> list[str]:
    """The first code of a new secret was given: it counts from now on. The new recovery codes, shown once."""
    secret = _waiting(user, key, now, session_id)
    step = _step(secret, code, now)
    if secret is None or step is None:
        raise FieldError("code", WRONG)
    kept = sealed(key, user.user_id, secret)
    await users.change(conn, user.user_id, totp_secret=kept, totp_pending=None, totp_step=step)
    return await renew_recovery(conn, user.user_id)


async def renew_recovery(conn: AsyncConnection, user_id: str) -> list[str]:
    """Ten new recovery codes; those before open nothing any more."""
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    await conn.execute(delete(recovery_table).where(recovery_table.c.user_id == user_id))
    rows = [{"user_id": user_id, "code_hash": _kept(code)} for code in codes]
    await conn.execute(insert(recovery_table), rows)
    return codes


async def give(conn: AsyncConnection, user: User, code: str, now: datetime, key: SealingKey) -> None:
    """Take a code or a recovery code, and use it up; FieldError where it opens nothing."""
    step = _step(_opened(user, user.totp_secret, key), code, now)
    if step is not None:
        newer = update(user_table).where(user_table.c.user_id == user.user_id, user_table.c.totp_step < step)
        if (await conn.execute(newer.values(totp_step=step))).rowcount == 1:
            return
        raise FieldError("code", WRONG)
    t = recovery_table
    unused = update(t).where(t.c.user_id == user.user_id, t.c.code_hash == _kept(code), t.c.used_at.is_(None))
    if user.totp_secret is None or (await conn.execute(unused.values(used_at=now))).rowcount != 1:
        raise FieldError("code", WRONG)


async def forget(conn: AsyncConnection, user_id: str) -> None:
    """The user has no second factor any more."""
    await users.change(conn, user_id, totp_secret=None, totp_pending=None, totp_step=0)
    await conn.execute(delete(recovery_table).where(recovery_table.c.user_id == user_id))


def _waiting(user: User, key: SealingKey, now: datetime, session_id: str) -> str | None:
    """The secret that was begun in the session and not too long ago."""
    secret, _, begun = (_opened(user, user.totp_pending, key) or "").partition(" ")
    where, _, at = begun.partition(" ")
    if where != session_id or not at.isdigit() or not 0 <= now.timestamp() - int(at) < PENDING_S:
        return None
    return secret


def _of(user_id: str) -> str:
    return f"second factor of {user_id}"


def _opened(user: User, kept: str | None, key: SealingKey) -> str | None:
    """The secret; None where there is none, or where our key does not open it."""
    if kept is None:
        return None
    try:
        return key.open(_of(user.user_id), kept)
    except SealError as error:
        log.error("a second factor cannot be read", user=user.user_id, error=str(error))
        return None


def _step(secret: str | None, code: str, now: datetime) -> int | None:
    """The 30 seconds that a code is of, the ones before and after now included; None where it is of none."""
    given = "".join(code.split())
    if secret is None or len(given) != 6 or not (given.isascii() and given.isdigit()):
        return None
    one = pyotp.TOTP(secret, interval=STEP_S)
    present = int(now.timestamp()) // STEP_S
    right = [
        step
        for step in (present - 1, present, present + 1)
        if hmac.compare_digest(one.generate_otp(step), given)
    ]
    return max(right, default=None)


def _recovery_code() -> str:
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(16))
    return "-".join(letters[at : at + 4] for at in range(0, 16, 4))


def _kept(code: str) -> str:
    return digest("".join(letter for letter in code.lower() if letter in _ALPHABET))
