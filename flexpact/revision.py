"""Whether a database file has the schema that this version reads: the offline commands change none."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ledger.errors import LedgerError

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_NUMBER = 4  # characters of a revision, with which its file begins


def newest() -> str:
    """The revision that this version reads."""
    return max(path.name[:_NUMBER] for path in _VERSIONS.glob("[0-9]*_*.py"))


def check(conn: sqlite3.Connection, database: Path) -> None:
    """LedgerError says what to do where the file has another schema."""
    try:
        row = conn.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        raise LedgerError(f"{database} is no database of an aggregator: {error}") from error
    found, ours = str(row[0]) if row else "none", newest()
    if found < ours or row is None:
        raise LedgerError(
            f"{database} has the schema {found}, and this version reads {ours}: bring it up to date first, by"
            " starting the aggregator once (`flexpact aggregator serve`), or use the version that wrote it"
        )
    if found > ours:
        raise LedgerError(
            f"{database} has the schema {found} of a newer version, and this one reads {ours}: use that one"
        )
