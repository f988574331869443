"""Erasure: payload and salt of leaves destroyed, the log unbroken, and a leaf of its own that says so.

The hash of an erased leaf stays in its tile: without the salt it tells nothing, not even to somebody who
tries all likely values. A leaf without payload counts as erased only because an erasure record names it, and
whoever can write the file can add such a record: it is the log's word only once a checkpoint covers it.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger import offline, tile
from ledger.record import Record

KIND = "erasure"


@dataclass(frozen=True, slots=True)
class Erased:
    """The leaves that erasure records name, as ranges in order, both ends included."""

    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, index: int) -> bool:
        place = bisect_right(self.ranges, (index, index)) - 1
        near = self.ranges[max(place, 0) : place + 2]
        return any(first <= index <= last for first, last in near)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> Erased:
        """These ranges, put together where they meet."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = merged[-1][0], max(last, merged[-1][1])
            else:
                merged.append((first, last))
        return cls(tuple(merged))


def erased_key(index: int) -> str:
    """The key of an erased leaf: its own may name a person."""
    return f"erased/{index}"


def read_erased(conn: sqlite3.Connection, size: int | None = None) -> Erased:
    """What the erasure records of a log name, or those among its first `size` leaves; one that cannot be
    read names nothing.
    """
    found: list[tuple[int, int]] = []
    for index, canonical in offline.leaves_like(conn, f"{KIND}/"):
        if size is not None and index >= size:
            continue
        try:
            fields = json.loads(canonical)
            if fields["kind"] == KIND:
                found += [(int(first), int(last)) for first, last in fields["body"]["leaves"]]
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return Erased.of(found)


def erase_leaves(conn: sqlite3.Connection, indices: Sequence[int], now: datetime) -> int:
    """Destroy payload, salt and key of these leaves and append the record of it, in the caller's
    transaction; the record's index.
    """
    size = offline.log_size(conn)
    ranges = [list(part) for part in Erased.of((index, index) for index in indices).ranges]
    record = Record(KIND, f"{KIND}/{size}", now, {"leaves": ranges})
    rows = ((erased_key(index), index) for index in indices)
    conn.executemany(
        "UPDATE ledger_leaf SET key = ?, salt = NULL, canonical = NULL WHERE leaf_index = ?", rows
    )
    conn.execute(
        "INSERT INTO ledger_leaf (leaf_index, key, salt, canonical) VALUES (?, ?, ?, ?)",
        (size, record.key, record.salt, record.canonical()),
    )
    edge = {place: offline.tile_bytes(conn, place) for place in tile.edge(size)}
    for (level, index), hashes in tile.extend(size, edge, [record.leaf()]).items():
        conn.execute(
            "REPLACE INTO ledger_tile (level, tile_index, hashes) VALUES (?, ?, ?)", (level, index, hashes)
        )
    return size
