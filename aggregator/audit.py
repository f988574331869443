"""Facts and statements become leaves of the Merkle log, in the transaction that marks them sealed.

Rules: every journal fact and every statement is sealed once, in the order in which it was written; a kill
between two steps loses and doubles nothing, because leaf and position are one transaction. Records hold
text and integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import store
from ledger.log import Log
from ledger.record import Record
from vtn import journal
from vtn.store import Database

JOURNAL = "sealed-journal"
STATEMENTS = "sealed-statements"
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
        await log.append(records, conn)
    if facts:
        await store.move(conn, JOURNAL, facts[-1].seq)
    if statements:
        await store.move(conn, STATEMENTS, statements[-1].seq)
    return len(records)


def fact_record(fact: journal.Fact) -> Record:
    """The record of a journal fact, with the hash of the bytes that a peer sent where there were any."""
    body = {name: _plain(value) for name, value in fact.body.items()}
    body["ven_id"] = fact.ven_id
    if fact.raw_sha256 is not None:
        body["raw_sha256"] = fact.raw_sha256
    return Record(fact.kind, fact.key, fact.at, body)


def statement_record(stored: store.StoredStatement) -> Record:
    """The record of one revision of a statement."""
    statement = stored.statement
    key = f"statement/{statement.ven_id}/{statement.event_id}/{statement.revision}"
    return Record("statement", key, stored.made_at, statement.body())


def _plain(value: Any) -> Any:
    """JSON's true and false as the text of them; everything else is checked by the record itself."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
