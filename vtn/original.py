"""Signed messages as they came, byte for byte: what a sender has signed it cannot deny (SIG-12)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.schema import original_table


async def keep(conn: AsyncConnection, sha256: str, ven_id: str, raw: bytes, now: datetime) -> None:
    """Keep a message that was carried out, in the transaction of its handling."""
    row = {"sha256": sha256, "ven_id": ven_id, "received_at": now, "raw": raw}
    await conn.execute(insert(original_table).values(row).on_conflict_do_nothing())


async def find(conn: AsyncConnection, sha256: str) -> bytes | None:
    """The message of this hash, which is the journal's `raw_sha256`."""
    found = await conn.execute(select(original_table.c.raw).where(original_table.c.sha256 == sha256))
    raw: bytes | None = found.scalar_one_or_none()
    return raw
