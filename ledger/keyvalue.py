"""The embedded chain's memory: a key-value table in one SQLite file, for py-evm.

A block is written in one transaction with `synchronous=FULL`: after a kill or a power cut the file holds
the chain up to some block, never a part of one. The file belongs to one process at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eth.abc import AtomicWriteBatchAPI
from eth.db.atomic import AtomicDBWriteBatch
from eth.db.backends.base import BaseAtomicDB

from ledger.errors import ChainError


class SqliteStore(BaseAtomicDB):
    """Bytes by bytes, kept in a file."""

    def __init__(self, path: Path) -> None:
        # One process, one thread; the isolation level leaves BEGIN and COMMIT to us.
        self._db = sqlite3.connect(path, isolation_level=None, timeout=0.5)
        try:
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS entry (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
            )
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._db.close()
            raise ChainError(f"{path} cannot be used for a chain: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside become durable together, or none of them."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def atomic_batch(self) -> Iterator[AtomicWriteBatchAPI]:
        """py-evm's batch; it becomes durable with the transaction around it."""
        with AtomicDBWriteBatch._commit_unless_raises(self) as batch:
            yield batch

    def __getitem__(self, key: bytes) -> bytes:
        row = self._db.execute("SELECT value FROM entry WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return bytes(row[0])

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._db.execute(
            "INSERT INTO entry VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def __delitem__(self, key: bytes) -> None:
        if not self._db.execute("DELETE FROM entry WHERE key = ?", (key,)).rowcount:
            raise KeyError(key)

    def _exists(self, key: bytes) -> bool:
        return self._db.execute("SELECT 1 FROM entry WHERE key = ?", (key,)).fetchone() is not None
