"""Facts and statements become leaves of the Merkle log, in the transaction that marks them sealed.

Rules: every journal fact and every statement is sealed once, in the order in which it was written; a kill
between two steps loses and doubles nothing, because leaf and position are one transaction. Records hold
text and integers. The log's own checkpoints and anchors are sealed with what comes after them, never by
themselves: each would make another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import store
from ledger import book
from ledger import store as ledger_store
from ledger.log import Log
from ledger.record import Record
from vtn import journal
from vtn.store import Database

JOURNAL = "sealed-journal"
STATEMENTS = "sealed-statements"
CHECKPOINTS = "sealed-checkpoints"
ANCHORS = "sealed-anchors"
FACTS_A_STEP = 500


async def seal(db: Database, log: Log) -> int:
    """Seal everything that is not yet sealed and say how many leaves that made."""
    made = 0
    while True:
        async with db.write() as conn:
            sealed = await _seal_some(conn, log)
        made += sealed
        if sealed < FACTS_A_STEP:
            return made


async def _seal_some(conn: AsyncConnection, log: Log) -> int:
    facts = await journal.facts_after(conn, await store.position(conn, JOURNAL), FACTS_A_STEP)
    statements: Sequence[store.StoredStatement] = ()
    if len(facts) < FACTS_A_STEP:
        after = await store.position(conn, STATEMENTS)
        statements = await store.statements(conn, after=after, limit=FACTS_A_STEP - len(facts))
    records = [fact_record(fact) for fact in facts] + [statement_record(stored) for stored in statements]
    if records:
        records += await _own_records(conn)
        await log.append(records, conn)
    if facts:
        await store.move(conn, JOURNAL, facts[-1].seq)
    if statements:
        await store.move(conn, STATEMENTS, statements[-1].seq)
    return len(records)


async def _own_records(conn: AsyncConnection) -> list[Record]:
    """The records of checkpoints and anchors that came since, marked as sealed."""
    after = await store.position(conn, CHECKPOINTS)
    checkpoints = await ledger_store.checkpoint_rows(conn, after, FACTS_A_STEP)
    after = await store.position(conn, ANCHORS)
    anchors = await ledger_store.settled_anchor_rows(conn, after, FACTS_A_STEP)
    if checkpoints:
        await store.move(conn, CHECKPOINTS, checkpoints[-1]["size"])
    if anchors:
        await store.move(conn, ANCHORS, anchors[-1]["anchor_id"])
    return [book.checkpoint_record(row) for row in checkpoints] + [book.anchor_record(row) for row in anchors]


def fact_record(fact: journal.Fact) -> Record:
    """The record of a journal fact: with its number, so that nobody can write another between two, and the
    hash of the bytes that a peer sent where there were any.
    """
    body = {name: _plain(value) for name, value in fact.body.items()}
    body["seq"], body["ven_id"] = fact.seq, fact.ven_id
    if fact.raw_sha256 is not None:
        body["raw_sha256"] = fact.raw_sha256
    return Record(fact.kind, fact.key, fact.at, body)


def statement_record(stored: store.StoredStatement) -> Record:
    """The record of one revision of a statement, with its number and the hash of its details."""
    statement = stored.statement
    key = f"statement/{statement.ven_id}/{statement.event_id}/{statement.revision}"
    detail = hashlib.sha256(store.detail_text(stored.detail).encode()).hexdigest()
    body = {**statement.body(), "seq": stored.seq, "detail_sha256": detail}
    return Record("statement", key, stored.made_at, body)


def _plain(value: Any) -> Any:
    """JSON's true and false as the text of them; everything else is checked by the record itself."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
