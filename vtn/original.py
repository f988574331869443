"""Signed messages as they came, byte for byte: what a sender has signed it cannot deny (SIG-12).

They are packed where that is shorter, a report to a tenth; bytes that begin as zlib's do are no XML.
"""

from __future__ import annotations

import asyncio
import zlib
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert  # SQLite compiles it too
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.schema import original_table
from vtn.store import Database

OFF_LOOP_BYTES = 65_536
_ZLIB = b"\x78\x01"  # of level 1
PRUNED_AT_ONCE = 50  # a message may have a megabyte, and others wait for the writer


LOOSE_KEPT = 20
"""Messages without a fact that are kept of a VEN, the newest: it can send as many of them as it likes."""


async def keep_loose(conn: AsyncConnection, sha256: str, ven_id: str, raw: bytes, now: datetime) -> None:
    """Keep a message that was carried out and made no fact, in place of the VEN's oldest such message."""
    await keep(conn, sha256, ven_id, raw, now, loose=True)
    t = original_table
    loose = select(t.c.sha256).where(t.c.ven_id == ven_id, t.c.loose == 1)
    old = loose.order_by(t.c.received_at.desc(), t.c.sha256).offset(LOOSE_KEPT).limit(PRUNED_AT_ONCE)
    found = list((await conn.execute(old)).scalars())
    if found:
        await conn.execute(delete(t).where(t.c.sha256.in_(found)))


async def keep(
    conn: AsyncConnection, sha256: str, ven_id: str, raw: bytes, now: datetime, *, loose: bool = False
) -> None:
    """Keep a message that was carried out, in the transaction of its handling."""
    if len(raw) > OFF_LOOP_BYTES:
        packed = await asyncio.to_thread(zlib.compress, raw, 1)
    else:
        packed = zlib.compress(raw, 1)
    shorter = packed if len(packed) < len(raw) or raw.startswith(_ZLIB) else raw
    row = {"sha256": sha256, "ven_id": ven_id, "received_at": now, "raw": shorter, "loose": int(loose)}
    await conn.execute(insert(original_table).values(row).on_conflict_do_nothing())


async def find(conn: AsyncConnection, sha256: str) -> bytes | None:
    """The message of this hash, which is the journal's `raw_sha256`."""
    found = await conn.execute(select(original_table.c.raw).where(original_table.c.sha256 == sha256))
    kept: bytes | None = found.scalar_one_or_none()
    return None if kept is None else unpacked(kept)


def unpacked(kept: bytes) -> bytes:
    """The message behind what is kept of it; zlib.error if that was damaged."""
    return zlib.decompress(kept) if kept.startswith(_ZLIB) else kept


async def prune(db: Database, before: datetime) -> None:
    """Forget the messages that came before that time, a few in each unit of work."""
    old = select(original_table.c.sha256).where(original_table.c.received_at < before)
    while True:
        async with db.read() as conn:
            oldest = list((await conn.execute(old.limit(PRUNED_AT_ONCE))).scalars())
        if not oldest:
            return
        async with db.write() as conn:
            await conn.execute(delete(original_table).where(original_table.c.sha256.in_(oldest)))
