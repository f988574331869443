"""Erasure: payload and salt of leaves destroyed, the log unbroken, and a leaf of its own that says so.

The hash of an erased leaf stays in its tile: without the salt it tells nothing, not even to somebody who
tries all likely values. A leaf without payload counts as erased only because an erasure record names it, and
whoever can write the file can add such a record. So the log's key signs each record when it is made: no
checkpoint is signed over one that it did not sign.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature

from ledger import offline, tile
from ledger.checkpoint import NoteSigner, VerifierKey, from_base64, to_base64
from ledger.errors import MalformedError
from ledger.record import Record, time_text

KIND = "erasure"
_FORMAT = "flexpact-erasure/v1"
_SIGNATURE, _SIGNATURE_BYTES = "signature", 64


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


@dataclass(frozen=True, slots=True)
class Said:
    """What an erasure record says beside its leaves, as hexadecimal text: of whom it is (the hash of a
    tombstone), and the hashes of values that were erased inside records which stay.
    """

    subjects: tuple[str, ...] = ()
    values: tuple[str, ...] = ()

    def body(self) -> dict[str, list[str]]:
        """Its part of the record's body."""
        named = {"subjects": list(self.subjects), "values": list(self.values)}
        return {name: hashes for name, hashes in named.items() if hashes}


def erased_key(index: int) -> str:
    """The key of an erased leaf: its own may name a person."""
    return f"erased/{index}"


def read_erased(
    conn: sqlite3.Connection, size: int | None = None, keys: Sequence[VerifierKey] | None = None
) -> Erased:
    """What the erasure records of a log name, or those among its first `size` leaves; one that cannot be
    read names nothing, and with the log's `keys` one that none of them signed neither.
    """
    bodies = _bodies(conn, size, keys)
    return Erased.of(part for body in bodies for part in erased_ranges(body))


def erased_ranges(body: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The leaves that the body of an erasure record names, first and last of each range; nothing if it cannot
    be read.
    """
    with suppress(ValueError, TypeError, KeyError):
        return [(int(first), int(last)) for first, last in body["leaves"]]
    return []


def read_said(conn: sqlite3.Connection, size: int | None = None) -> Said:
    """What all of them say beside that."""
    bodies = list(_bodies(conn, size))

    def all_of(name: str) -> tuple[str, ...]:
        return tuple(str(text) for body in bodies for text in _list(body.get(name)))

    return Said(all_of("subjects"), all_of("values"))


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def is_authorised(index: int, canonical: bytes, keys: Sequence[VerifierKey]) -> bool:
    """Whether the record of an erasure at that leaf was signed by one of the keys when it was made."""
    try:
        fields = json.loads(canonical)
        signature = from_base64(KIND, fields["body"].pop(_SIGNATURE), _SIGNATURE_BYTES)
        signed = _signed_text(index, fields["at"], fields["body"])
    except (MalformedError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False
    for key in keys:
        with suppress(InvalidSignature):
            key.verify(signed, signature)
            return True
    return False


def _signed_text(index: int, at: str, body: dict[str, Any]) -> bytes:
    told = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return f"{_FORMAT}\n{index}\n{at}\n{told}\n".encode()


def _bodies(
    conn: sqlite3.Connection, size: int | None, keys: Sequence[VerifierKey] | None = None
) -> Iterator[dict[str, Any]]:
    for index, canonical in offline.leaves_like(conn, f"{KIND}/"):
        if size is not None and index >= size:
            continue
        if keys is not None and not is_authorised(index, canonical, keys):
            continue
        try:
            fields = json.loads(canonical)
            if fields["kind"] == KIND and isinstance(fields["body"], dict):
                yield fields["body"]
        except (ValueError, TypeError, KeyError, RecursionError):
            continue


def erase_leaves(
    conn: sqlite3.Connection,
    indices: Sequence[int],
    now: datetime,
    key: NoteSigner,
    said: Said | None = None,
) -> int:
    """Destroy payload, salt and key of these leaves and append the record of it, in the caller's
    transaction; the record's index. The log's key signs the record: what others add is not signed over.
    """
    size = offline.log_size(conn)
    ranges = [list(part) for part in Erased.of((index, index) for index in indices).ranges]
    body: dict[str, Any] = {"leaves": ranges, **(said.body() if said else {})}
    body[_SIGNATURE] = to_base64(key.sign(_signed_text(size, time_text(now), body)))
    record = Record(KIND, f"{KIND}/{size}", now, body)
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
