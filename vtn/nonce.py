"""Nonces of signed messages, each good for once (SIG-05).

A nonce is spent in the transaction of the message's handling: what was not kept may be sent again, and what
was kept is known to every worker and after every restart. Nonces belong to their signer. A message older
than the window is refused for its age, so older nonces can be forgotten.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr.errors import BadSignature
from vtn.schema import nonce_table

_SPEND = insert(nonce_table).on_conflict_do_nothing()  # built once: every signed poll runs it
KEPT = timedelta(minutes=15)  # three times the widest window, so that a change of the setting opens no gap


async def spend(conn: AsyncConnection, fingerprint: str, nonce: str, signed_at: datetime) -> None:
    """Take note of a nonce; BadSignature where its signer has used it before."""
    row = {"fingerprint": fingerprint, "nonce": nonce, "signed_at": signed_at}
    done = await conn.execute(_SPEND, row)
    if done.rowcount != 1:
        raise BadSignature("the nonce was used before: a replay", rule="SIG-05")


async def prune(conn: AsyncConnection, now: datetime) -> None:
    """Forget the nonces of messages that are too old to be accepted."""
    await conn.execute(delete(nonce_table).where(nonce_table.c.signed_at < now - KEPT))
