"""The records of one node with their receipts, for the node itself: so it can audit what is said of it.

Given on the VTN's own listener, by the node's certificate: one JSON object a line, by leaf index, a page at a
time; an empty page is the end. What is not anchored yet, or was erased, is not among them. A second path has
proofs that the log only grew: who goes on from an earlier page knows by one that what he has read holds.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import store
from ledger.checkpoint import Checkpoint
from ledger.consistency import ConsistencyProof
from ledger.errors import UnknownLeafError
from ledger.log import Log
from ledger.receipt import Anchor, Receipt
from ledger.record import Record
from ledger.store import leaf_table
from vtn.store import Database

PATH = "/flexpact/records"
KIND = "application/jsonl"
GROWTH_PATH = "/flexpact/consistency"
GROWTH_KIND = "text/plain"
PER_PAGE = 50
"""A receipt is a few kB, and a VEN reads a megabyte at most."""
_SIZES = re.compile(r"old=([1-9][0-9]{0,14})&new=([1-9][0-9]{0,14})")
_QUERY = re.compile(r"(?:after=(-1|[0-9]{1,15}))?")
# keys are kind/VEN/...: with the VEN's part known, each kind is a range of the index on keys
KINDS = ("registration", "signal", "opt", "report", "statement")

_Under: TypeAlias = tuple[Checkpoint, Anchor] | None
_Leaf: TypeAlias = tuple[Record, Receipt]


@dataclass(frozen=True, slots=True)
class OwnRecords:
    """Gives pages of them."""

    db: Database
    log: Log

    async def page(self, ven_id: str, query: str) -> tuple[bytes, str]:
        """The page after the leaf that the query names, and its media type; ValueError for another query."""
        given = _QUERY.fullmatch(query)
        if given is None:
            raise ValueError(f"no page is asked for by {query!r}")
        async with self.db.read() as conn:
            own = await _own(conn, ven_id, int(given[1] or -1))
            under = await self.log.anchored(conn) if own else None
            leaves = [(index, await self._leaf(conn, ven_id, index, under)) for index in own]
        return await asyncio.to_thread(_written, leaves), KIND

    async def growth(self, _ven_id: str, query: str) -> tuple[bytes, str]:
        """The proof that the log only grew between two sizes, and its media type; ValueError for another
        query, and where so many leaves are not anchored.
        """
        given = _SIZES.fullmatch(query)
        if given is None:
            raise ValueError(f"no proof is asked for by {query!r}")
        old, new = int(given[1]), int(given[2])
        async with self.db.read() as conn:
            if not old <= new <= await store.anchored_size(conn):
                raise ValueError(f"there is no proof between {old} and {new} leaves")
            path = await self.log.consistency(conn, old, new)
        return ConsistencyProof(old, new, tuple(path)).text().encode(), GROWTH_KIND

    async def _leaf(self, conn: AsyncConnection, ven_id: str, index: int, under: _Under) -> _Leaf | None:
        """One leaf; None of an erased one, or one of another VEN."""
        try:
            record, receipt = await self.log.receipt(conn, index, under)
        except UnknownLeafError:
            return None
        # ids are any text: the keys of VEN a/b begin as a's do
        return (record, receipt) if record.body.get("ven_id") == ven_id else None


def _written(leaves: Sequence[tuple[int, _Leaf | None]]) -> bytes:
    """A line for each leaf, of one that is not given the index alone; takes a while."""
    return "".join(
        json.dumps({"index": index, **(_texts(*leaf) if leaf is not None else {})}) + "\n"
        for index, leaf in leaves
    ).encode()


def _texts(record: Record, receipt: Receipt) -> dict[str, str]:
    return {"record": record.to_file().decode(), "receipt": receipt.to_file().decode()}


async def _own(conn: AsyncConnection, ven_id: str, after: int) -> list[int]:
    """The next anchored leaves of this VEN."""
    anchored = await store.anchored_size(conn)
    t = leaf_table.c
    of_each = [
        select(t.leaf_index).where(
            t.key > f"{kind}/{ven_id}/",
            t.key < f"{kind}/{ven_id}0",
            t.leaf_index > after,
            t.leaf_index < anchored,
        )
        for kind in KINDS
    ]
    rows = await conn.execute(union_all(*of_each).order_by("leaf_index").limit(PER_PAGE))
    return list(rows.scalars())
