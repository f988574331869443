"""Nonces of signed messages, each good for once (SIG-05).

A nonce is spent in the transaction of the message's handling: what was not kept may be sent again, and what
was kept is known to every worker and after every restart. Nonces belong to their signer. A message older
than the window is refused for its age, so older nonces can be forgotten.

A database that was put back from a backup does not know the nonces that came after it. So it refuses what was
signed before that moment: a row without signer says up to when.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr.errors import BadSignature
from vtn.schema import micros, nonce_table
from vtn.store import Database

_SPEND = (
    "INSERT INTO vtn_nonce (fingerprint, nonce, signed_at) SELECT ?, ?, CAST(? AS BIGINT) WHERE NOT EXISTS"
    " (SELECT 1 FROM vtn_nonce WHERE fingerprint = '' AND signed_at >= CAST(? AS BIGINT))"
    " ON CONFLICT DO NOTHING"
)
REFUSE_UP_TO = (
    "INSERT INTO vtn_nonce (fingerprint, nonce, signed_at) VALUES ('', 'restored', ?)"
    " ON CONFLICT (fingerprint, nonce) DO UPDATE SET signed_at = excluded.signed_at"
)
"""Refuses every message that was signed up to an instant (microseconds since 1970): a backup is put back."""
KEPT = timedelta(minutes=15)  # three times the widest window, so that a change of the setting opens no gap


async def spend(conn: AsyncConnection, fingerprint: str, nonce: str, signed_at: datetime) -> None:
    """Take note of a nonce; BadSignature where its signer has used it before."""
    row = _row(fingerprint, nonce, signed_at)
    _refuse_replay((await conn.exec_driver_sql(_SPEND, row)).rowcount)


async def spend_alone(db: Database, fingerprint: str, nonce: str, signed_at: datetime) -> None:
    """The same where nothing else is written; durable when it returns."""
    _refuse_replay(await db.note(_SPEND, _row(fingerprint, nonce, signed_at)))


def _row(fingerprint: str, nonce: str, signed_at: datetime) -> tuple[str, str, int, int]:
    at = micros(signed_at)
    return fingerprint, nonce, at, at


def _refuse_replay(rows: int) -> None:
    if rows != 1:
        raise BadSignature(
            "the nonce was used before, or could have been: a replay, or signed before a backup was put back",
            rule="SIG-05",
        )


async def prune(conn: AsyncConnection, now: datetime) -> None:
    """Forget the nonces of messages that are too old to be accepted."""
    await conn.execute(delete(nonce_table).where(nonce_table.c.signed_at < now - KEPT))
