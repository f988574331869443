"""The log: records become leaves, leaves become signed checkpoints, and a leaf gets its receipt.

Every call works in the caller's transaction and keeps no state of its own, so a rollback or a kill leaves
the log as it was. Invariants:
- leaf indices are dense and never change; the same natural key is one leaf for ever;
- the tiles are those of exactly the leaves in the table;
- a checkpoint is signed only for a tree that extends every earlier one, because leaves are only added.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import store, tile
from ledger.checkpoint import Checkpoint, SigningKey
from ledger.errors import KeyConflictError, UnknownLeafError
from ledger.merkle import Range, consistency_ranges, inclusion_ranges, leaf_hash, range_hash
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.state import Header
from ledger.trust import ChainTrust, Trust

Item = TypeVar("Item")
Result = TypeVar("Result")

SLICE = 8192
"""Leaves that are written in one go: whole tiles."""
TURN = 256
"""Records that are made canonical, hashed or inserted in one go: one or two milliseconds' work."""


class Log:
    """An append-only log named `origin`, whose checkpoints are signed with `key` (which bears the same
    name).
    """

    def __init__(self, origin: str, key: SigningKey) -> None:
        if key.name != origin:
            raise ValueError(f"the key belongs to the log {key.name!r}, not to {origin!r}")
        self.origin = origin
        self._key = key

    async def append(self, records: Sequence[Record], conn: AsyncConnection) -> list[int]:
        """The leaf index of each record, new or old. The write becomes durable with the caller's commit.

        A record whose key is in the log already keeps its first leaf (and its first salt); KeyConflictError
        if the content differs, RecordError if a record has no canonical bytes. In both cases nothing is
        written.
        """
        indices: list[int] = []
        size = await store.log_size(conn)
        async with conn.begin_nested():
            for start in range(0, len(records), SLICE):
                found = await _append_some(conn, size, records[start : start + SLICE])
                indices += found
                size = max(size, max(found) + 1)
        return indices

    async def publish(self, conn: AsyncConnection, now: datetime) -> Checkpoint | None:
        """A new signed checkpoint over all leaves, or None if there is nothing new to sign."""
        size = await store.log_size(conn)
        newest = await store.newest_checkpoint(conn)
        if size == (newest.size if newest else 0):
            return None
        (root,) = await _hashes(conn, [(0, size)])
        checkpoint = Checkpoint.sign(size, root, self._key)
        await store.add_checkpoint(conn, checkpoint, now)
        return checkpoint

    async def receipt(self, conn: AsyncConnection, index: int) -> tuple[Record, Receipt]:
        """A leaf's record and its receipt under the newest anchored checkpoint.

        UnknownLeafError if there is no such leaf, if it is not anchored yet, or if the record was erased.
        """
        stored = await store.leaf(conn, index)
        if stored is None:
            raise UnknownLeafError(f"the log has no leaf {index}")
        anchored = await store.newest_anchor(conn)
        if anchored is None or anchored[0].size <= index:
            raise UnknownLeafError(
                f"leaf {index} is not anchored yet: {anchored[0].size if anchored else 0} leaves are"
            )
        if stored.canonical is None or stored.salt is None:
            raise UnknownLeafError(f"the record of leaf {index} was erased")
        checkpoint, anchor = anchored
        path = await _hashes(conn, inclusion_ranges(index, checkpoint.size))
        return Record.from_canonical(stored.canonical, stored.salt), Receipt(
            index, tuple(path), checkpoint, anchor
        )

    async def trust(self, conn: AsyncConnection, valid_from: datetime | None = None) -> Trust:
        """The trust file for receipts given now: our key, and contract and block of the newest anchor, if
        there is one.
        """
        anchored = await store.newest_anchor(conn)
        chain = None
        if anchored is not None:
            anchor = anchored[1]
            chain = ChainTrust(anchor.chain_id, anchor.contract, Header.decode(anchor.header).hash)
        return Trust(self._key.verifier, valid_from, chain)

    async def consistency(self, conn: AsyncConnection, old_size: int, new_size: int) -> list[bytes]:
        """The proof that the tree of `new_size` leaves only adds to that of `old_size`."""
        return await _hashes(conn, consistency_ranges(old_size, new_size))


async def _append_some(conn: AsyncConnection, size: int, records: Sequence[Record]) -> list[int]:
    """The leaf indices of some records, after they were added to a log of that size."""
    rows = await _in_turns(
        lambda numbered: (numbered[0], numbered[1].key, numbered[1].salt, numbered[1].canonical()),
        list(enumerate(records, size)),
    )
    # Nearly always all of them are new, which the insert itself finds out faster than any look-up.
    attempt = await conn.begin_nested()
    if await _add(conn, rows) == len(rows):
        await attempt.commit()
        indices = list(range(size, size + len(rows)))
    else:
        await attempt.rollback()
        indices, rows = await _sort_out(conn, size, rows)
        await _add(conn, rows)
    hashes = await _in_turns(lambda row: leaf_hash(row[2], row[3]), rows)
    edge = await store.tiles(conn, tile.edge(size))
    await store.put_tiles(conn, tile.extend(size, edge, hashes))
    return indices


async def _add(conn: AsyncConnection, rows: Sequence[store.LeafRow]) -> int:
    """How many of the rows were new, and are in the log now."""
    added = 0
    for start in range(0, len(rows), TURN):
        added += await store.add_leaves(conn, rows[start : start + TURN])
        await asyncio.sleep(0)
    return added


async def _in_turns(made: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Something made of each item; a large batch takes long, so others in this event loop get their turn."""
    results: list[Result] = []
    for start in range(0, len(items), TURN):
        results += [made(item) for item in items[start : start + TURN]]
        await asyncio.sleep(0)
    return results


async def _sort_out(
    conn: AsyncConnection, size: int, rows: Sequence[store.LeafRow]
) -> tuple[list[int], list[store.LeafRow]]:
    """The index of each row, and which rows are new; KeyConflictError if a key has another content."""
    stored = await store.leaves_by_key(conn, [key for _, key, _, _ in rows])
    known = {key: (leaf.index, leaf.canonical) for key, leaf in stored.items()}
    new: list[store.LeafRow] = []
    indices = []
    for _, key, salt, canonical in rows:
        index, content = known.setdefault(key, (size + len(new), canonical))
        if index == size + len(new):
            new.append((index, key, salt, canonical))
        elif content is not None and content != canonical:
            raise KeyConflictError(f"leaf {index} has the key {key!r} already, with another content")
        indices.append(index)
    return indices, new


async def _hashes(conn: AsyncConnection, spans: Sequence[Range]) -> list[bytes]:
    tiles = await store.tiles(conn, tile.places(spans))
    return [range_hash(span, lambda subtree: tile.subtree_hash(subtree, tiles)) for span in spans]
