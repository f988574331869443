"""The ledger's tables read from a database file, with or without a running process: one view, no writing.

Whoever checks a database trusts none of its values, so rows come as they are stored: a number may be a text,
bytes may be missing. All SQL of the offline commands that concerns the ledger is here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ledger import tile
from ledger.consistency import ConsistencyProof
from ledger.errors import LedgerError
from ledger.merkle import Range, consistency_ranges, range_hash

Row = tuple[Any, ...]


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """One consistent view of a database file, and nothing written beside it where no process has it open.

    LedgerError if it is none of ours, cannot be read, or was opened by a process meanwhile.
    """
    # A process that has it open keeps one of these; without any the file is all there is.
    beside = [path.with_name(path.name + end) for end in ("-wal", "-journal")]
    try:
        is_file, alone = path.is_file(), not any(file.exists() for file in beside)
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror}") from error
    if not is_file:
        raise LedgerError(f"{path} is no database file")
    try:
        conn = _open(path, "immutable=1" if alone else "mode=ro")
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"{path} cannot be read: {error}") from error
    try:
        yield conn
    finally:
        conn.close()
        if alone and any(file.exists() for file in beside):
            raise LedgerError(f"{path} was opened by a process while it was read; try again")


def _open(path: Path, how: str) -> sqlite3.Connection:
    conn = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{how}", uri=True, isolation_level=None)
    try:
        conn.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        conn.execute("BEGIN")
        conn.execute("SELECT leaf_index FROM ledger_leaf LIMIT 1").fetchone()
    except BaseException:
        conn.close()
        raise
    return conn


def log_size(conn: sqlite3.Connection) -> int:
    """The number of leaves, as their indices say."""
    (newest,) = conn.execute("SELECT max(leaf_index) FROM ledger_leaf").fetchone()
    return 0 if newest is None else int(newest) + 1


def leaves(conn: sqlite3.Connection) -> Iterator[Row]:
    """Index, key, salt and canonical bytes of each leaf, in the order of their indices."""
    return conn.execute("SELECT leaf_index, key, salt, canonical FROM ledger_leaf ORDER BY leaf_index")


def canonical_of_key(conn: sqlite3.Connection, key: object) -> Any:
    """The canonical bytes of the leaf with that key; None if there is none, or it is erased."""
    row = conn.execute("SELECT canonical FROM ledger_leaf WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0]


def leaves_like(conn: sqlite3.Connection, prefix: str) -> Iterator[Row]:
    """Index and canonical bytes of the leaves whose key begins so; `prefix` holds no wildcard."""
    return conn.execute("SELECT leaf_index, canonical FROM ledger_leaf WHERE key GLOB ?", (f"{prefix}*",))


def tile_content(conn: sqlite3.Connection, place: tile.Place) -> object:
    """What is stored as that tile; None if nothing is."""
    row = conn.execute("SELECT hashes FROM ledger_tile WHERE level = ? AND tile_index = ?", place).fetchone()
    return None if row is None else row[0]


def tile_bytes(conn: sqlite3.Connection, place: tile.Place) -> bytes:
    """A tile; LedgerError if it is not there."""
    content = tile_content(conn, place)
    if not isinstance(content, bytes):
        raise LedgerError(f"tile {place[0]}/{place[1]} of the log is missing; check the database")
    return content


def tile_places(conn: sqlite3.Connection) -> Iterator[Row]:
    """Level and index of each tile."""
    return conn.execute("SELECT level, tile_index FROM ledger_tile ORDER BY level, tile_index")


def checkpoints(conn: sqlite3.Connection) -> Iterator[Row]:
    """Size, commitment, note and time of each checkpoint, in the order of their sizes."""
    return conn.execute("SELECT size, commitment, note, published_at FROM ledger_checkpoint ORDER BY size")


def checkpoint_note(conn: sqlite3.Connection, size: object) -> str | None:
    """The note of the checkpoint of that size."""
    row = conn.execute("SELECT note FROM ledger_checkpoint WHERE size = ?", (size,)).fetchone()
    return None if row is None else str(row[0])


def cosignatures(conn: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """Each row of the cosignatures by column, in the order of their numbers."""
    cursor = conn.execute("SELECT * FROM ledger_cosignature ORDER BY number")
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def anchors(conn: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """Each row of the anchors by column, in the order of their numbers."""
    cursor = conn.execute("SELECT * FROM ledger_anchor ORDER BY anchor_id")
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def hashes(conn: sqlite3.Connection, spans: Sequence[Range]) -> list[bytes]:
    """The hashes of these ranges, from the tiles; LedgerError if the tiles do not hold them."""
    contents = {place: tile_bytes(conn, place) for place in tile.places(spans)}
    return [range_hash(span, lambda subtree: tile.subtree_hash(subtree, contents)) for span in spans]


def prove_consistency(conn: sqlite3.Connection, old: int, new: int) -> ConsistencyProof:
    """The proof that the tree of `new` leaves only adds to that of `old`; LedgerError if the log has not so
    many.
    """
    size = log_size(conn)
    if not 0 < old <= new <= size:
        raise LedgerError(f"there is no proof between {old} and {new} leaves: the log has {size}")
    return ConsistencyProof(old, new, tuple(hashes(conn, consistency_ranges(old, new))))
