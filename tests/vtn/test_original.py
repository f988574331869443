"""How long signed messages are kept as they came."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from tests.vtn.desk import NOW, request_all
from vtn import original, server
from vtn.schema import original_table
from vtn.server import Server
from vtn.settings import VtnSettings
from vtn.store import Database

SETTINGS = VtnSettings(port=0, insecure_dev=True, originals_days=30)


async def originals(db: Database) -> set[str]:
    """The hashes of those that are kept."""
    async with db.read() as conn:
        return set((await conn.execute(select(original_table.c.sha256))).scalars())


async def keep(db: Database, *seconds: int) -> None:
    """Messages that are so many seconds older than 30 days."""
    async with db.write() as conn:
        for age in seconds:
            at = NOW - timedelta(days=30, seconds=age)
            await original.keep(conn, str(age), "v", b"raw", at)


@pytest.mark.criterion("SIG-12")
async def test_originals_are_forgotten_in_small_parts_after_so_many_days_and_no_sooner(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(original, "PRUNED_AT_ONCE", 2)
    parts = []
    write = database.write

    def counted() -> object:
        parts.append(1)
        return write()

    await keep(database, -1, 0, 1, 2, 3, 4, 5)
    monkeypatch.setattr(database, "write", counted)
    await original.prune(database, NOW - timedelta(days=30))
    assert await originals(database) == {"-1", "0"}
    assert len(parts) == 3
    await original.prune(database, NOW - timedelta(days=30))
    assert len(parts) == 3  # nothing to do, nothing written


async def test_a_running_server_forgets_originals_and_outlives_a_locked_database(
    database_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONTACTS_EVERY_S", 0.001)
    database = await Database.open(database_path, busy_timeout_s=0.01)
    running = Server(SETTINGS, database, lambda: NOW, request_all)
    await keep(database, -1, 1)
    with capture_logs() as logs, closing(sqlite3.connect(database_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await running.start()
        async with asyncio.timeout(30):
            while not any(line["log_level"] == "warning" for line in logs):
                await originals(database)
        other.execute("ROLLBACK")
    async with asyncio.timeout(30):
        while await originals(database) != {"-1"}:
            pass
    assert {line["log_level"] for line in logs} == {"info", "warning"}
    await running.stop()
    await database.close()
