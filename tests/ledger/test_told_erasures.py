"""What a forged record of an erasure says is no reason for a check to break down."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger import offline, tile
from ledger.check import check_log
from ledger.checkpoint import SigningKey
from ledger.erasure import KIND, erase_leaves
from ledger.errors import TamperedError
from ledger.merkle import leaf_hash
from tests.ledger.conftest import ORIGIN, Site

SALT = bytes(32)
NOW = datetime(2026, 1, 21, tzinfo=UTC)


def forge(conn: sqlite3.Connection, leaves: str) -> str:
    """A record with that list, which nobody signed, as somebody who can write the file adds it; its row."""
    size = offline.log_size(conn)
    key = f"{KIND}/{size}"
    fields = {"at": "2026-01-21T00:00:00Z", "body": {"leaves": 0}, "key": key, "kind": KIND}
    canonical = json.dumps(fields).replace('"leaves": 0', f'"leaves": {leaves}').encode()
    row = (size, key, SALT, canonical)
    conn.execute("INSERT INTO ledger_leaf (leaf_index, key, salt, canonical) VALUES (?, ?, ?, ?)", row)
    edge = {place: offline.tile_bytes(conn, place) for place in tile.edge(size)}
    for place, hashes in tile.extend(size, edge, [leaf_hash(SALT, canonical)]).items():
        conn.execute("REPLACE INTO ledger_tile VALUES (?, ?, ?)", (*place, hashes))
    return f"ledger_leaf {size}"


@pytest.mark.parametrize("leaves", ["[[5, 1000000000000000000000000000000]]", "[[0, 1e999]]", "[[2, 1]]"])
async def test_a_record_of_leaves_that_cannot_be_is_named(
    leaves: str, site: Site, database_path: Path
) -> None:
    await site.append("a", "b", "c")
    await site.publish()
    with closing(sqlite3.connect(database_path)) as conn:
        row = forge(conn, leaves)
        with pytest.raises(TamperedError, match="leaves that are none before it") as failed:
            list(check_log(conn, None, lambda *_: None))
    assert failed.value.record == row


@pytest.mark.parametrize("leaves", ["[]", "7", '[["x", "y"]]', "[[1]]"])
async def test_a_record_that_names_nothing_erases_nothing(
    leaves: str, site: Site, database_path: Path
) -> None:
    await site.append("a", "b", "c")
    await site.publish()
    with closing(sqlite3.connect(database_path)) as conn:
        forge(conn, leaves)
        assert [step.name for step in check_log(conn, None, lambda *_: None)] == ["leaves", "checkpoint"]


async def test_a_record_of_leaves_before_it_is_taken(site: Site, database_path: Path) -> None:
    await site.append("a", "b", "c")
    await site.publish()
    with closing(sqlite3.connect(database_path)) as conn:
        erase_leaves(conn, [0, 2], NOW, SigningKey.generate(ORIGIN))
        leaves, _ = check_log(conn, None, lambda *_: None)
    assert "2 leaves erased by a record that nobody has signed yet" in leaves.text
