"""Erase a node: every row that belongs to it, and payload and salt of what was sealed of it.

Works on the database of a stopped aggregator, in one transaction, and then writes the file anew, so that no
byte of it is left in free pages either. What others keep is not reached: receipts that were given away,
backups, the chain (which holds nothing of a person).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aggregator.errors import RequestRefusedError, UnknownObjectError
from ledger import offline
from ledger.erasure import erase_leaves

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
    row = conn.execute(
        "SELECT ven_id, ven_name FROM vtn_ven WHERE ven_id = ? OR ven_name = ? ORDER BY ven_id != ?",
        (subject,) * 3,
    ).fetchone()
    if row is None:
        raise UnknownObjectError(f"no VEN has the venID or the name {subject!r}")
    ven_id, ven_name = row
    for what, query in _OPEN.items():
        (count,) = conn.execute(query, (ven_id,)).fetchone()
        if count:
            raise RequestRefusedError(f"{ven_name} still has {count} {what}; settle or cancel them first")
    rows = {}
    for table, clause, value in _parts(conn, ven_id, ven_name):
        query = f"SELECT count(*) FROM {table} WHERE {clause}"  # noqa: S608 - names of the schema
        if count := conn.execute(query, value).fetchone()[0]:
            rows[table] = count
    return Plan(ven_id, ven_name, tuple(_leaves(conn, ven_id)), rows)


_OPEN = {
    "calls without a statement": "SELECT count(*) FROM agg_call WHERE ven_id = ? AND settled_revision = 0"
    " AND cancelled_at IS NULL",
    "settlements that are not paid on the chain": "SELECT count(*) FROM ledger_settlement WHERE subject = ?"
    " AND state = 'open'",
}


def erase(path: Path, subject: str, now: datetime) -> Plan:
    """Erase a node from a database that nobody has open; what was destroyed."""
    with _alone(path) as conn:
        conn.execute("BEGIN IMMEDIATE")
        found = plan(conn, subject)
        erase_leaves(conn, found.leaves, now)
        for table, clause, value in reversed(_parts(conn, found.ven_id, found.ven_name)):
            conn.execute(f"DELETE FROM {table} WHERE {clause}", value)  # noqa: S608 - names of the schema
        _forget_in_requests(conn, found)
        conn.execute("COMMIT")
        conn.execute("VACUUM")
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return found


@contextmanager
def _alone(path: Path) -> Iterator[sqlite3.Connection]:
    """The database for one who may not share it; what is deleted is overwritten."""
    conn = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        conn.execute("PRAGMA locking_mode=EXCLUSIVE")
        conn.execute("PRAGMA secure_delete=ON")
        conn.execute("BEGIN EXCLUSIVE")
        conn.execute("COMMIT")
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield conn
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
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
    return [parts[0], *others, *parts[1:]]


def _leaves(conn: sqlite3.Connection, ven_id: str) -> Iterator[int]:
    for index, _, _, canonical in offline.leaves(conn):
        if canonical is not None and json.loads(canonical)["body"].get("ven_id") == ven_id:
            yield index


def _forget_in_requests(conn: sqlite3.Connection, found: Plan) -> None:
    """Leave the node out of the answers to requests, which name all that were asked."""
    names = {found.ven_id, found.ven_name}
    rows = conn.execute("SELECT request_id, asked, answer FROM agg_request").fetchall()
    for request_id, *texts in rows:
        kept = [json.dumps(_without(json.loads(text), names), sort_keys=True) for text in texts]
        if kept != texts:
            conn.execute(
                "UPDATE agg_request SET asked = ?, answer = ? WHERE request_id = ?", (*kept, request_id)
            )


def _without(value: Any, names: set[str]) -> Any:
    """A JSON value without the items of lists that are or describe the node."""
    if isinstance(value, dict):
        return {name: _without(item, names) for name, item in value.items()}
    if isinstance(value, list):
        return [_without(item, names) for item in value if not _describes(item, names)]
    return value


def _describes(item: Any, names: set[str]) -> bool:
    if isinstance(item, dict):
        return item.get("ven_id") in names or item.get("ven_name") in names
    return isinstance(item, str) and item in names
