"""The table of cosignatures that witnesses gave for the log's checkpoints, and its SQL.

A row is one witness's line for one checkpoint; a witness is named by its public key in text form. Functions
take the caller's connection and never commit.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Column, Integer, MetaData, Table, Text, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.checkpoint import MAX_SIGNATURES, Checkpoint, Cosignature
from ledger.record import time_text

metadata = MetaData()

cosignature_table = Table(
    "ledger_cosignature",
    metadata,
    Column("size", Integer, primary_key=True, autoincrement=False),
    Column("witness", Text, primary_key=True),
    Column("line", Text, nullable=False),
    Column("received_at", Text, nullable=False),
)


async def add(conn: AsyncConnection, size: int, witness: str, made: Cosignature, now: datetime) -> None:
    """Keep a cosignature of the checkpoint of that size; the first of a witness stays."""
    row = {"size": size, "witness": witness, "line": made.line(), "received_at": time_text(now)}
    await conn.execute(_ADD, row)


_ADD = text(
    "INSERT INTO ledger_cosignature (size, witness, line, received_at)"
    " VALUES (:size, :witness, :line, :received_at) ON CONFLICT DO NOTHING"
)


async def cosigned(conn: AsyncConnection, checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with the cosignatures that are there for it."""
    c = cosignature_table.c
    query = select(c.line).where(c.size == checkpoint.size).order_by(c.received_at, c.witness)
    lines = (await conn.execute(query.limit(MAX_SIGNATURES - 1))).scalars()
    return replace(checkpoint, cosignatures=tuple(map(Cosignature.parse, lines)))


async def next_uncosigned(conn: AsyncConnection, at_least: int, witness: str) -> Checkpoint | None:
    """The smallest checkpoint of that many leaves or more without a line of this witness."""
    note = (await conn.execute(_UNCOSIGNED, {"size": at_least, "witness": witness})).scalar()
    return None if note is None else Checkpoint.parse(note)


_UNCOSIGNED = text("""
    SELECT note FROM ledger_checkpoint AS published WHERE size >= :size AND NOT EXISTS (
        SELECT 1 FROM ledger_cosignature AS line WHERE line.size = published.size AND witness = :witness
    ) ORDER BY size LIMIT 1
""")
