"""The journal: every fact that evidence is made of, written in the transaction of the change itself.

Kinds: registration, signal, opt, report, override, action. A fact's natural key makes a repeated message
one fact.
Power and energy in bodies are integers (`_w`, `_wh`) and times are ISO text, because hashes are made of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert  # SQLite compiles it too
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.schema import EPOCH, MICROSECOND, journal_table, micros
from vtn.store import after_commit

FACT = "fact"  # the notice that listeners of the database get for each new fact


class Fact(NamedTuple):
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


async def newest(conn: AsyncConnection) -> int:
    """The number of the newest fact, 0 if there is none."""
    return int((await conn.exec_driver_sql("SELECT max(seq) FROM vtn_journal")).scalar() or 0)


async def facts_after(conn: AsyncConnection, seq: int, limit: int) -> list[Fact]:
    """At most `limit` facts with a number above `seq`, oldest first. Numbers are never used twice."""
    rows = (await conn.exec_driver_sql(_FACTS_AFTER, (seq, limit))).all()
    # All bodies as one text: their keys are made once, not once for each row.
    bodies = json.loads(f"[{','.join([row.body for row in rows])}]")
    return [
        Fact(row.seq, EPOCH + row.at * MICROSECOND, row.kind, row.ven_id, row.key, body, row.raw_sha256)
        for row, body in zip(rows, bodies, strict=True)
    ]


async def of_kind(conn: AsyncConnection, kind: str, after: int, upto: int, limit: int) -> list[Fact]:
    """At most `limit` facts of one kind, numbered above `after` and up to `upto`, oldest first."""
    t = journal_table.c
    wanted = (t.seq > after) & (t.seq <= upto) & (t.kind == kind)
    rows = await conn.execute(select(journal_table).where(wanted).order_by(t.seq).limit(limit))
    return [Fact(*row) for row in rows]


# as it stands, because every fact is read at least twice: to find each value's type costs more than the row
_FACTS_AFTER = """
SELECT seq, at, kind, ven_id, key, body, raw_sha256 FROM vtn_journal WHERE seq > ? ORDER BY seq LIMIT ?
"""


def iso(instant: datetime) -> str:
    """The instant as text with Z, to the microsecond only where it has one."""
    in_utc = instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    return in_utc.replace(tzinfo=None).isoformat() + "Z"
