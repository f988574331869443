"""The records of one node with their receipts, for the node itself: so it can audit what is said of it.

Given on the VTN's own listener, by the node's certificate: one JSON object a line, by leaf index, a page at a
time; an empty page is the end. What is not anchored yet, or was erased, is not among them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import store
from ledger.errors import UnknownLeafError
from ledger.log import Log
from vtn.store import Database

PATH = "/flexpact/records"
KIND = "application/jsonl"
PER_PAGE = 50
"""A receipt is a few kB, and a VEN reads a megabyte at most."""
_QUERY = re.compile(r"(?:after=(-1|[0-9]{1,15}))?")
# keys are kind/VEN/...: with the VEN's part known, each kind is a range of the index on keys
_OWN = """
SELECT leaf.leaf_index
FROM json_each('["registration", "signal", "opt", "report", "statement"]') AS kind
CROSS JOIN ledger_leaf AS leaf
ON leaf.key > kind.value || '/' || ? || '/' AND leaf.key < kind.value || '/' || ? || '0'
WHERE leaf_index > ? AND leaf_index < ? ORDER BY leaf_index LIMIT ?
"""


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
            lines = [await self._line(conn, ven_id, index) for index in own]
        return "".join(lines).encode(), KIND

    async def _line(self, conn: AsyncConnection, ven_id: str, index: int) -> str:
        """One leaf; of an erased one, or one of another VEN, the index alone."""
        try:
            record, receipt = await self.log.receipt(conn, index)
        except UnknownLeafError:
            return json.dumps({"index": index}) + "\n"
        if record.body.get("ven_id") != ven_id:  # ids are any text: the keys of VEN a/b begin as a's do
            return json.dumps({"index": index}) + "\n"
        texts = {"record": record.to_file().decode(), "receipt": receipt.to_file().decode()}
        return json.dumps({"index": index, **texts}) + "\n"


async def _own(conn: AsyncConnection, ven_id: str, after: int) -> list[int]:
    """The next anchored leaves of this VEN."""
    anchored = await store.anchored_size(conn)
    rows = await conn.exec_driver_sql(_OWN, (ven_id, ven_id, after, anchored, PER_PAGE))
    return [int(index) for (index,) in rows]
