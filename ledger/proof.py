"""Proofs and receipts, read by one function on the driver's own connection: many small statements, one
hand-over to its thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import cosignature_store, offline, store
from ledger.checkpoint import MAX_SIGNATURES, Checkpoint, Cosignature
from ledger.errors import UnknownLeafError
from ledger.merkle import inclusion_ranges
from ledger.receipt import Anchor, Receipt
from ledger.record import Record

T = TypeVar("T")


async def visit(conn: AsyncConnection, read: Callable[[sqlite3.Connection], T]) -> T:
    """What a function finds in a connection's transaction, in one hand-over to its thread."""
    if not conn.in_transaction():
        await conn.begin()
    driver = (await conn.get_raw_connection()).driver_connection
    if driver is None:
        raise ValueError("the connection is closed")
    try:
        found: T = await driver.visit(read)
    except sqlite3.Error as error:
        raise DBAPIError("reading the ledger", None, error) from error
    return found


def anchored(view: sqlite3.Connection) -> tuple[Checkpoint, Anchor] | None:
    """The newest anchored checkpoint, with the cosignatures that are there for it, and its anchor."""
    row = view.execute(store.NEWEST_ANCHOR).fetchone()
    if row is None:
        return None
    checkpoint = Checkpoint.parse(row[0])
    lines = view.execute(cosignature_store.LINES, (checkpoint.size, MAX_SIGNATURES - 1))
    cosignatures = tuple(Cosignature.parse(line) for (line,) in lines)
    return replace(checkpoint, cosignatures=cosignatures), Anchor.parse(row[1])


def receipt(
    view: sqlite3.Connection, index: int, under: tuple[Checkpoint, Anchor] | None = None
) -> tuple[Record, Receipt]:
    """A leaf's record and its receipt, under the newest anchor or the one that is given; UnknownLeafError if
    there is no such leaf, if it is not anchored yet, or if the record was erased.
    """
    row = view.execute(_LEAF, (index,)).fetchone()
    if row is None:
        raise UnknownLeafError(f"the log has no leaf {index}")
    under = under or anchored(view)
    if under is None or under[0].size <= index:
        raise UnknownLeafError(
            f"leaf {index} is not anchored yet: {under[0].size if under else 0} leaves are"
        )
    salt, canonical = row
    if canonical is None or salt is None:
        raise UnknownLeafError(f"the record of leaf {index} was erased")
    checkpoint, anchor = under
    path = tuple(offline.hashes(view, inclusion_ranges(index, checkpoint.size)))
    return Record.from_canonical(canonical, salt), Receipt(index, path, checkpoint, anchor)


_LEAF = "SELECT salt, canonical FROM ledger_leaf WHERE leaf_index = ?"
