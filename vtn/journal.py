"""The journal: every fact that evidence is made of, written in the transaction of the change itself.

Kinds: registration, signal, opt, report. A fact's natural key makes a repeated message one fact. Power and
energy in bodies are integers (`_w`, `_wh`) and times are ISO text, because hashes are made of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.schema import journal_table, micros
from vtn.store import after_commit

FACT = "fact"  # the notice that listeners of the database get for each new fact


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact; `raw_sha256` is the hash of the bytes received, where a peer's message made it."""

    seq: int
    at: datetime
    kind: str
    ven_id: str
    key: str
    body: Mapping[str, Any]
    raw_sha256: str | None


async def record(
    conn: AsyncConnection,
    kind: str,
    ven_id: str,
    key: str,
    *,
    body: Mapping[str, Any],
    now: datetime,
    raw_sha256: str | None = None,
) -> bool:
    """Write a fact; False if a fact of this key is there already, which then stays as it was."""
    row = (micros(now), kind, ven_id, f"{kind}/{ven_id}/{key}", json.dumps(body), raw_sha256)
    new = (await conn.exec_driver_sql(_RECORD_ONE, row)).rowcount == 1
    if new:
        after_commit(conn, FACT)
    return new


@dataclass(frozen=True, slots=True)
class New:
    """A fact that is to be written, its key and body as `record` takes them."""

    ven_id: str
    key: str
    body: Mapping[str, Any]
    raw_sha256: str | None


async def record_all(conn: AsyncConnection, kind: str, facts: Sequence[New], now: datetime) -> None:
    """Write facts of one kind; those whose key is there already stay as they were."""
    rows = [
        {
            "at": now,
            "kind": kind,
            "ven_id": fact.ven_id,
            "key": f"{kind}/{fact.ven_id}/{fact.key}",
            "body": dict(fact.body),
            "raw_sha256": fact.raw_sha256,
        }
        for fact in facts
    ]
    if (await conn.execute(_RECORD, rows)).rowcount:
        after_commit(conn, FACT)


# as it stands, because each report has one: to put a statement together costs more than to run it
_RECORD_ONE = """
INSERT INTO vtn_journal (at, kind, ven_id, key, body, raw_sha256) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO NOTHING
"""
_RECORD = insert(journal_table).on_conflict_do_nothing(index_elements=["key"])


async def facts_after(conn: AsyncConnection, seq: int, limit: int) -> list[Fact]:
    """At most `limit` facts with a number above `seq`, oldest first. Numbers are never used twice."""
    t = journal_table
    columns = (t.c.seq, t.c.at, t.c.kind, t.c.ven_id, t.c.key, t.c.body, t.c.raw_sha256)
    rows = await conn.execute(select(*columns).where(t.c.seq > seq).order_by(t.c.seq).limit(limit))
    return [Fact(*row) for row in rows]


def iso(instant: datetime) -> str:
    """The instant as text with Z, to the microsecond only where it has one."""
    in_utc = instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    return in_utc.replace(tzinfo=None).isoformat() + "Z"
