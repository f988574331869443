"""The log's store on PostgreSQL: where its statements for SQLite are SQLite's alone, it has others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from ledger import store
from ledger.record import SALT_BYTES
from tests.postgresql import migrate, server

SALT = b"s" * SALT_BYTES


@pytest.fixture
async def conn(tmp_path: Path) -> AsyncIterator[AsyncConnection]:
    """A connection to a migrated database."""
    with server(tmp_path / "postgresql") as url:
        await migrate(url)
        engine = create_async_engine(url)
        async with engine.connect() as opened:
            yield opened
        await engine.dispose()


async def test_leaves_and_tiles_are_kept_and_found_on_postgresql(conn: AsyncConnection) -> None:
    leaves = [(key, SALT, key.encode(), b"") for key in ("a", "b", "ü")]
    assert await store.add_leaves(conn, 0, leaves[:2]) == 2
    assert await store.add_leaves(conn, 2, [leaves[0], leaves[2]]) == 1  # the first is there already
    assert await store.log_size(conn) == 4
    found = await store.leaves_by_key(conn, ["ü", "a", *(f"nobody's {number}" for number in range(40_000))])
    assert {(leaf.index, leaf.key, leaf.canonical) for leaf in found.values()} == {
        (0, "a", b"a"),
        (3, "ü", "ü".encode()),
    }
    await store.put_tiles(conn, {(0, 0): b"old", (0, 1): b"1", (1, 0): b"2"})
    await store.put_tiles(conn, {(0, 0): b"new"})
    assert await store.tiles(conn, [(0, 0), (1, 0), (7, 7)]) == {(0, 0): b"new", (1, 0): b"2"}
