"""Nonces of signed messages, each good for once (SIG-05).

A nonce is spent in the transaction of the message's handling: what was not kept may be sent again, and what
was kept is known to every worker and after every restart. Nonces belong to their signer. A message older
than the window is refused for its age, so older nonces can be forgotten.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr.errors import BadSignature
from vtn.schema import EPOCH, MICROSECOND, nonce_table
from vtn.store import Database

_SPEND = "INSERT INTO vtn_nonce (fingerprint, nonce, signed_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
KEPT = timedelta(minutes=15)  # three times the widest window, so that a change of the setting opens no gap


async def spend(conn: AsyncConnection, fingerprint: str, nonce: str, signed_at: datetime) -> None:
    """Take note of a nonce; BadSignature where its signer has used it before."""
    row = (fingerprint, nonce, (signed_at - EPOCH) // MICROSECOND)
    _refuse_replay((await conn.exec_driver_sql(_SPEND, row)).rowcount)


async def spend_alone(db: Database, fingerprint: str, nonce: str, signed_at: datetime) -> None:
    """The same where nothing else is written; durable when it returns."""
    _refuse_replay(await db.note(_SPEND, (fingerprint, nonce, (signed_at - EPOCH) // MICROSECOND)))


def _refuse_replay(rows: int) -> None:
    if rows != 1:
        raise BadSignature("the nonce was used before: a replay", rule="SIG-05")


async def prune(conn: AsyncConnection, now: datetime) -> None:
    """Forget the nonces of messages that are too old to be accepted."""
    await conn.execute(delete(nonce_table).where(nonce_table.c.signed_at < now - KEPT))
