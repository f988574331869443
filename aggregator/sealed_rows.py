"""The rows of a database file as the records that they were sealed as, built again from what is stored now.

A row that is not in the one form in which it is written has no record: `problem` says why. Only the order of
the fields in a journal body is free: it was never sealed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from aggregator import audit, store
from ledger import book, offline
from ledger.errors import LedgerError, TamperedError
from ledger.record import Record
from vtn.journal import Fact
from vtn.schema import EPOCH, MICROSECOND

Stored = TypeVar("Stored")

MADE_WRONG = (LedgerError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What building a record from stored values can end in, whatever they are."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number, and the record that it makes now, or the problem that it makes none."""

    number: Any
    key: str | None
    canonical: bytes = b""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A table whose rows are sealed in the order of their numbers."""

    table: str
    position: str
    """The name of the position up to which they are sealed."""
    rows: Callable[[sqlite3.Connection], Iterator[Row]]


def table_of(kind: str) -> Sealed:
    """The table that records of this kind are made from."""
    return TABLES.get(kind, JOURNAL)


def position(conn: sqlite3.Connection, sealed: Sealed) -> int:
    """The number of the last row that is said to be sealed."""
    row = conn.execute("SELECT seq FROM agg_position WHERE name = ?", (sealed.position,)).fetchone()
    if row is not None and not isinstance(row[0], int):
        raise TamperedError(f"agg_position {sealed.position}", f"it is no number: {row[0]!r}")
    return 0 if row is None else row[0]


def _journal(conn: sqlite3.Connection) -> Iterator[Row]:
    columns = "seq, at, kind, ven_id, key, body, raw_sha256"
    for row in conn.execute(f"SELECT {columns} FROM vtn_journal ORDER BY seq"):  # noqa: S608 - fixed text
        yield _row(row[0], _fact_record, row, row[4])


def _fact_record(row: offline.Row) -> Record:
    seq, at, kind, ven_id, key, text, raw_sha256 = row
    body = json.loads(text)
    if json.dumps(body) != text:
        raise ValueError("its body is not in the form in which it was written")
    for name, value in (("seq", seq), ("ven_id", ven_id), ("raw_sha256", raw_sha256)):
        if body.get(name, value) != value:
            raise ValueError(f"its body names another {name}")
    if raw_sha256 is not None and not isinstance(raw_sha256, str):
        raise ValueError("raw_sha256 is no text")
    return audit.fact_record(Fact(seq, EPOCH + at * MICROSECOND, kind, ven_id, key, body, raw_sha256))


def _statements(conn: sqlite3.Connection) -> Iterator[Row]:
    columns = "seq, event_id, ven_id, revision, body, detail, made_at"
    for row in conn.execute(f"SELECT {columns} FROM agg_statement ORDER BY seq"):  # noqa: S608 - fixed text
        yield _row(row[0], _statement_record, row)


def _statement_record(row: offline.Row) -> Record:
    seq, event_id, ven_id, revision, body, detail, made_at = row
    statement = store.statement_of(body)
    if store.body_text(statement) != body:
        raise ValueError("its body is not in the form in which it was written")
    if (statement.event_id, statement.ven_id, statement.revision) != (event_id, ven_id, revision):
        raise ValueError("its body is of another event, node or revision")
    kept = json.loads(detail)
    if store.detail_text(kept) != detail:
        raise ValueError("its detail is not in the form in which it was written")
    return audit.statement_record(store.StoredStatement(seq, statement, kept, EPOCH + made_at * MICROSECOND))


def _checkpoints(conn: sqlite3.Connection) -> Iterator[Row]:
    for row in offline.checkpoints(conn):
        fields = dict(zip(("size", "commitment", "note", "published_at"), row, strict=True))
        yield _row(row[0], book.checkpoint_record, fields)


def _anchors(conn: sqlite3.Connection) -> Iterator[Row]:
    for fields in offline.anchors(conn):
        yield _row(fields["anchor_id"], book.anchor_record, fields)


def _cosignatures(conn: sqlite3.Connection) -> Iterator[Row]:
    for fields in offline.cosignatures(conn):
        yield _row(fields["number"], book.cosignature_record, fields)


def _row(number: object, make: Callable[[Stored], Record], stored: Stored, key: object = None) -> Row:
    try:
        record = make(stored)
        return Row(number, record.key, record.canonical())
    except MADE_WRONG as error:
        return Row(number, key if isinstance(key, str) else None, problem=str(error) or repr(error))


JOURNAL = Sealed("vtn_journal", audit.JOURNAL, _journal)
TABLES = {
    "statement": Sealed("agg_statement", audit.STATEMENTS, _statements),
    book.CHECKPOINT: Sealed("ledger_checkpoint", audit.CHECKPOINTS, _checkpoints),
    book.ANCHOR: Sealed("ledger_anchor", audit.ANCHORS, _anchors),
    book.COSIGNATURE: Sealed("ledger_cosignature", audit.COSIGNATURES, _cosignatures),
}
"""By the kind of record; every other kind is the journal's."""
