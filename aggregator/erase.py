"""Erase a node: every row that belongs to it, and payload and salt of what was sealed of it.

Works on the database of a stopped aggregator, in one transaction, and then writes the file anew, so that no
byte of it is left in free pages either. First a tombstone is laid beside the database: backups that are
older hold the node still, and whoever puts one back erases it again. What others keep is not reached:
receipts that were given away, the chain (which holds nothing of a person).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aggregator import erase_account, erase_named
from aggregator.erase_named import Names
from aggregator.errors import RequestRefusedError, UnknownObjectError
from ledger import erasure, offline, tombstone
from ledger.checkpoint import NoteSigner, VerifierKey
from ledger.tombstone import Tombstone, Tombstones

_BY = ("ven_id", "subject")
"""Columns that say whose a row is: there is one in every table of nodes' data."""
_NOT_HERE = frozenset({"ledger_leaf", "ledger_tile", "ledger_checkpoint", "ledger_anchor"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What belongs to a node: its leaves, and how many rows of which table."""

    ven_id: str
    ven_name: str
    leaves: tuple[int, ...]
    rows: dict[str, int]


def plan(conn: sqlite3.Connection, subject: str) -> Plan:
    """What erasing the node with that venID or name would destroy.

    UnknownObjectError if nothing here is such a node's, RequestRefusedError while it has an open account.
    """
    ven_id, ven_name = node(conn, subject)
    for what, query in _OPEN.items():
        (count,) = conn.execute(query, (ven_id,)).fetchone()
        if count:
            raise RequestRefusedError(f"{ven_name} still has {count} {what}; settle or cancel them first")
    return _plan(conn, ven_id, ven_name)


def node(conn: sqlite3.Connection, subject: str) -> tuple[str, str]:
    """The venID and the name of the node that has one of them; UnknownObjectError if none has."""
    row = conn.execute(
        "SELECT ven_id, ven_name FROM vtn_ven WHERE ven_id = ? OR ven_name = ? ORDER BY ven_id != ?",
        (subject,) * 3,
    ).fetchone()
    if row is None:
        raise UnknownObjectError(f"no VEN has the venID or the name {subject!r}")
    return str(row[0]), str(row[1])


def _plan(conn: sqlite3.Connection, ven_id: str, ven_name: str) -> Plan:
    rows: dict[str, int] = {}
    for table, clause, value in _parts(conn, ven_id, ven_name):
        query = f"SELECT count(*) FROM {table} WHERE {clause}"  # noqa: S608 - names of the schema
        if count := conn.execute(query, value).fetchone()[0]:
            rows[table] = rows.get(table, 0) + count
    if accounts := erase_account.accounts_of(conn, ven_id):
        rows["agg_user"] = len(accounts)
    return Plan(ven_id, ven_name, tuple(_leaves(conn, Names(ven_id, ven_name))), rows)


_OPEN = {
    "calls without a statement": "SELECT count(*) FROM agg_call WHERE ven_id = ? AND settled_revision = 0"
    " AND cancelled_at IS NULL",
    "settlements that are not paid on the chain": "SELECT count(*) FROM ledger_settlement WHERE subject = ?"
    " AND state = 'open'",
}


def erase(
    path: Path, subject: str, now: datetime, key: NoteSigner, *, known: Sequence[VerifierKey] = ()
) -> Plan:
    """Erase a node from a database that nobody has open; what was destroyed. `key` is the log's: it signs
    the list of erasures; `known` are keys before it, one of which may have signed the list so far.
    """
    with alone(path) as conn, changed(conn):
        found = plan(conn, subject)
        stone = lay_tombstone(path, (found.ven_id,), now, key, known)
        _destroy(conn, found, now, stone, key)
    return found


def erase_listed(conn: sqlite3.Connection, listed: Tombstones, now: datetime, key: NoteSigner) -> int:
    """Erase, in the caller's transaction, what the list names and this log does not know as erased; how many
    subjects that were. Open accounts hold up nothing here: they were closed before the list was written.
    """
    known = frozenset(erasure.read_said(conn).subjects)
    news = [stone for stone in listed.stones if stone.digest.hex() not in known]
    erased = 0
    for ven_id, ven_name in conn.execute("SELECT ven_id, ven_name FROM vtn_ven").fetchall():
        for stone in news:
            if stone.names((ven_id,)):
                _destroy(conn, _plan(conn, ven_id, ven_name), now, stone, key)
                erased += 1
                break
    return erased


def lay_tombstone(
    database: Path,
    subject: tuple[str, ...],
    now: datetime,
    key: NoteSigner,
    known: Sequence[VerifierKey],
) -> Tombstone:
    """A new tombstone in the list beside a database. It comes before the erasure: one too many harms nobody,
    one that is missing would let a backup bring the subject back.
    """
    place, stone = tombstone.path_beside(database), Tombstone.of(subject, now)
    listed = tombstone.read(place, key.name, [key.verifier, *known])
    tombstone.write(place, listed.with_more([stone]), key)
    return stone


def _destroy(conn: sqlite3.Connection, found: Plan, now: datetime, stone: Tombstone, key: NoteSigner) -> None:
    erasure.erase_leaves(conn, found.leaves, now, key, erasure.Said((stone.digest.hex(),)))
    for table, clause, value in reversed(_parts(conn, found.ven_id, found.ven_name)):
        conn.execute(f"DELETE FROM {table} WHERE {clause}", value)  # noqa: S608 - names of the schema
    erase_named.forget(conn, Names(found.ven_id, found.ven_name))
    erase_account.close(conn, erase_account.accounts_of(conn, found.ven_id), now)


@contextmanager
def changed(conn: sqlite3.Connection) -> Iterator[None]:
    """One transaction, and then the file written anew, so that nothing is left of what was deleted."""
    conn.execute("BEGIN IMMEDIATE")
    yield
    conn.execute("COMMIT")
    conn.execute("VACUUM")
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def alone(path: Path) -> Iterator[sqlite3.Connection]:
    """The database for one who may not share it; what is deleted is overwritten."""
    conn = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        conn.execute("PRAGMA locking_mode=EXCLUSIVE")
        conn.execute("PRAGMA secure_delete=ON")
        conn.execute("BEGIN EXCLUSIVE")
        conn.execute("COMMIT")
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield conn
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            text = f"{path} is no SQLite database: move it away first, if nothing in it is needed"
            raise RequestRefusedError(text) from error
        if not isinstance(error, sqlite3.OperationalError) or "locked" not in str(error):
            raise
        raise RequestRefusedError(f"{path} is in use; stop the aggregator first") from error
    finally:
        conn.close()


def _parts(conn: sqlite3.Connection, ven_id: str, ven_name: str) -> list[tuple[str, str, tuple[Any, ...]]]:
    """Which rows are the node's: table, clause and values; the node's own row comes first."""
    parts: list[tuple[str, str, tuple[Any, ...]]] = [
        ("vtn_ven", "ven_id = ?", (ven_id,)),
        ("vtn_pending", "ven_name = ?", (ven_name,)),
        ("vtn_nonce", "fingerprint IN (SELECT fingerprint FROM vtn_certificate WHERE ven_id = ?)", (ven_id,)),
        (
            "ledger_agreement_order",
            "agreement_id IN (SELECT agreement_id FROM ledger_agreement WHERE subject = ?)",
            (ven_id,),
        ),
    ]
    tables = [
        row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    ]
    named = {part[0] for part in parts} | _NOT_HERE
    others = []
    for table in tables:
        columns = {row[1] for row in conn.execute(f"PRAGMA table_info({table})")}
        others += [
            (table, f"{name} = ?", (ven_id,)) for name in _BY if name in columns and table not in named
        ]
    return [parts[0], *others, *parts[1:], *erase_named.rows(conn, Names(ven_id, ven_name))]


def _leaves(conn: sqlite3.Connection, names: Names) -> Iterator[int]:
    for index, _, _, canonical in offline.leaves(conn):
        if canonical is None:
            continue
        record = json.loads(canonical)
        body = record["body"]
        if body.get("ven_id") == names.ven_id or names.acted_on(record["kind"], body):
            yield index
