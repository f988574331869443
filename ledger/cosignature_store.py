"""The table of cosignatures that witnesses gave for the log's checkpoints, and its SQL.

A row is one witness's line for one checkpoint; a witness is named by its public key in text form. Rows are
numbered as they come, so that they can be sealed. Functions take the caller's connection and never commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, Text, UniqueConstraint, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.checkpoint import MAX_SIGNATURES, Checkpoint, Cosignature
from ledger.record import time_text

metadata = MetaData()

cosignature_table = Table(
    "ledger_cosignature",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("size", Integer, nullable=False),
    Column("witness", Text, nullable=False),
    Column("line", Text, nullable=False),
    Column("received_at", Text, nullable=False),
    UniqueConstraint("size", "witness", name="ledger_cosignature_once"),
    sqlite_autoincrement=True,
)


async def add(conn: AsyncConnection, size: int, witness: str, made: Cosignature, now: datetime) -> None:
    """Keep a cosignature of the checkpoint of that size; the first of a witness stays."""
    row = {"size": size, "witness": witness, "line": made.line(), "received_at": time_text(now)}
    await conn.execute(_ADD, row)


_ADD = text(
    "INSERT INTO ledger_cosignature (size, witness, line, received_at)"
    " VALUES (:size, :witness, :line, :received_at) ON CONFLICT DO NOTHING"
)


async def rows(conn: AsyncConnection, after: int, limit: int) -> list[Mapping[str, Any]]:
    """Rows numbered above `after` as they are stored, oldest first."""
    c = cosignature_table.c
    found = await conn.execute(
        select(cosignature_table).where(c.number > after).order_by(c.number).limit(limit)
    )
    return [dict(row) for row in found.mappings()]


async def cosigned(conn: AsyncConnection, checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with the cosignatures that are there for it."""
    lines = (await conn.exec_driver_sql(LINES, (checkpoint.size, MAX_SIGNATURES - 1))).scalars()
    return replace(checkpoint, cosignatures=tuple(map(Cosignature.parse, lines)))


LINES = "SELECT line FROM ledger_cosignature WHERE size = ? ORDER BY received_at, witness LIMIT ?"
"""Lines of cosignatures of a checkpoint by its size, and how many at most."""


async def next_uncosigned(conn: AsyncConnection, at_least: int, witness: str) -> Checkpoint | None:
    """The smallest checkpoint of that many leaves or more without a line of this witness."""
    note = (await conn.execute(_UNCOSIGNED, {"size": at_least, "witness": witness})).scalar()
    return None if note is None else Checkpoint.parse(note)


_UNCOSIGNED = text("""
    SELECT note FROM ledger_checkpoint AS published WHERE size >= :size AND NOT EXISTS (
        SELECT 1 FROM ledger_cosignature AS line WHERE line.size = published.size AND witness = :witness
    ) ORDER BY size LIMIT 1
""")
