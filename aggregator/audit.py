"""Facts and statements become leaves of the Merkle log, in the transaction that marks them sealed.

Rules: every journal fact and every statement is sealed once, in the order in which it was written; a kill
between two steps loses and doubles nothing, because leaf and position are one transaction. Records hold
text and integers. The log's own checkpoints and anchors are sealed with what comes after them, never by
themselves: each would make another.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import share, store
from ledger import book, cosignature_store
from ledger import store as ledger_store
from ledger.log import Log
from ledger.record import Record, new_salt, new_salts
from vtn import journal
from vtn.store import Database

JOURNAL = "sealed-journal"
STATEMENTS = "sealed-statements"
CHECKPOINTS = "sealed-checkpoints"
ANCHORS = "sealed-anchors"
COSIGNATURES = "sealed-cosignatures"
FACTS_A_STEP = 2500
"""Facts and statements that one transaction seals, while the next are read."""
TURN = 250
"""Facts that become records in one go: a millisecond or two of work."""
Position = tuple[int, int]
"""The newest fact and the newest statement that are sealed."""


@dataclass(frozen=True, slots=True)
class _Step:
    """The records that one transaction seals, and the positions before and after them."""

    before: Position = (0, 0)
    after: Position = (0, 0)
    records: Sequence[Record] = ()


async def seal(db: Database, log: Log) -> int:
    """Seal everything that is not yet sealed and say how many leaves that made."""
    return sum([made async for made in seal_steps(db, log)])


async def seal_steps(db: Database, log: Log) -> AsyncIterator[int]:
    """Seal everything that is not yet sealed, and say after each transaction how many leaves it made."""
    step = await _read(db)
    while step.records:
        following = asyncio.create_task(_read(db, step))
        try:
            if made := await _write(db, log, step):
                yield made
                step = await following
            else:  # somebody else sealed these
                step = await _read(db)
        finally:
            following.cancel()


async def _read(db: Database, last: _Step | None = None) -> _Step:
    """What is to be sealed, or what is after the `last` step. Facts and statements never change, so nobody
    has to wait for it.
    """
    if last is not None and len(last.records) < FACTS_A_STEP:
        return _Step()
    async with db.read() as conn:
        before = last.after if last else await _position(conn)
        facts = await journal.facts_after(conn, before[0], FACTS_A_STEP)
        statements: Sequence[store.StoredStatement] = ()
        if len(facts) < FACTS_A_STEP:
            limit = FACTS_A_STEP - len(facts)
            statements = await store.statements(conn, after=before[1], limit=limit)
    after = facts[-1].seq if facts else before[0], statements[-1].seq if statements else before[1]
    records = await _fact_records(facts) + [statement_record(stored) for stored in statements]
    return _Step(before, after, records)


async def _fact_records(facts: Sequence[journal.Fact]) -> list[Record]:
    """Many take long, so others in this event loop get their turn."""
    made: list[Record] = []
    salts = new_salts(len(facts))
    for start in range(0, len(facts), TURN):
        made += map(fact_record, facts[start : start + TURN], salts[start : start + TURN])
        await asyncio.sleep(0)
    return made


async def _write(db: Database, log: Log, step: _Step) -> int:
    """Seal a step; how many leaves that made, none if the log is not where it begins."""
    async with db.write() as conn:
        if await _position(conn) != step.before:
            return 0
        records = [*step.records, *await _own_records(conn)]
        await log.append(records, conn)
        for name, before, after in zip((JOURNAL, STATEMENTS), step.before, step.after, strict=True):
            if after != before:
                await store.move(conn, name, after)
    return len(records)


async def _position(conn: AsyncConnection) -> Position:
    return await store.position(conn, JOURNAL), await store.position(conn, STATEMENTS)


async def _own_records(conn: AsyncConnection) -> list[Record]:
    """The records of checkpoints, anchors and cosignatures that came since, marked as sealed."""
    after = await store.position(conn, CHECKPOINTS)
    checkpoints = await ledger_store.checkpoint_rows(conn, after, FACTS_A_STEP)
    after = await store.position(conn, ANCHORS)
    anchors = await ledger_store.settled_anchor_rows(conn, after, FACTS_A_STEP)
    if checkpoints:
        await store.move(conn, CHECKPOINTS, checkpoints[-1]["size"])
    if anchors:
        await store.move(conn, ANCHORS, anchors[-1]["anchor_id"])
    after = await store.position(conn, COSIGNATURES)
    lines = await cosignature_store.rows(conn, after, FACTS_A_STEP)
    if lines:
        await store.move(conn, COSIGNATURES, lines[-1]["number"])
    return [
        *map(book.checkpoint_record, checkpoints),
        *map(book.anchor_record, anchors),
        *map(book.cosignature_record, lines),
    ]


def fact_record(fact: journal.Fact, salt: bytes | None = None) -> Record:
    """The record of a journal fact: with its number, so that nobody can write another between two, and the
    hash of the bytes that a peer sent where there were any.
    """
    body = {**fact.body, "seq": fact.seq, "ven_id": fact.ven_id}
    if not _PLAIN.issuperset(map(type, body.values())):
        body = {name: _plain(value) for name, value in body.items()}
    if fact.raw_sha256 is not None:
        body["raw_sha256"] = fact.raw_sha256
    return Record(fact.kind, fact.key, fact.at, body, salt or new_salt())


def statement_record(stored: store.StoredStatement) -> Record:
    """The record of one revision of a statement, with its number, the hash of its details, and a commitment
    for each home's share.
    """
    statement = stored.statement
    key = f"statement/{statement.ven_id}/{statement.event_id}/{statement.revision}"
    whole, shares = share.sealed(stored.detail)
    detail = hashlib.sha256(store.detail_text(whole).encode()).hexdigest()
    body: dict[str, Any] = {**statement.body(), "seq": stored.seq, "detail_sha256": detail}
    if shares is not None:
        body["shares"] = shares
    return Record("statement", key, stored.made_at, body)


_PLAIN = frozenset({str, int})
"""What comes most, and stays as it is."""


def _plain(value: Any) -> Any:
    """JSON's true and false as the text of them; everything else is checked by the record itself."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
