"""What the writer's connection does in a thread, and who waits for it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vtn import inline

INSERT = "INSERT INTO kept SELECT held(), ?"
MUCH = b"x" * inline.MUCH_BYTES


class Held:
    """A function in SQL that waits until the test lets it go; it says whether it was."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()

    def __call__(self) -> bool:
        self.entered.set()
        return self.released.wait(5)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
async def connection(tmp_path: Path, held: Held) -> AsyncIterator[inline.Connection]:
    made = await inline.connect(str(tmp_path / "one.db"), 1)
    await made.create_function("held", 0, held)
    await made.cursor().execute("CREATE TABLE kept (released INTEGER, content BLOB)")
    await made.cursor().execute("BEGIN IMMEDIATE")
    yield made
    await made.close()


async def rows(connection: inline.Connection) -> list[tuple[int, bytes]]:
    cursor = connection.cursor()
    await cursor.execute("SELECT * FROM kept")
    return await cursor.fetchall()


async def test_others_go_on_while_much_is_written(connection: inline.Connection, held: Held) -> None:
    writing = asyncio.create_task(connection.cursor().execute(INSERT, (MUCH,)))
    assert await asyncio.to_thread(held.entered.wait, 5)
    held.released.set()
    await writing
    assert await rows(connection) == [(True, MUCH)]


async def test_whoever_is_cancelled_in_a_long_statement_hears_of_it_afterwards(
    connection: inline.Connection, held: Held
) -> None:
    done = []

    async def write() -> None:
        await connection.cursor().execute(INSERT, (MUCH,))
        done.append(await rows(connection))
        await asyncio.sleep(0)
        done.append([])

    writing = asyncio.create_task(write())
    assert await asyncio.to_thread(held.entered.wait, 5)
    for _ in range(3):
        writing.cancel()
        await asyncio.sleep(0)
        assert not writing.done()
    held.released.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert done == [[(True, MUCH)]]
    await connection.rollback()
    assert await rows(connection) == []


async def test_a_fault_of_a_long_statement_is_its_callers(connection: inline.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await connection.cursor().execute("INSERT INTO lost VALUES (?)", (MUCH,))


async def test_a_begin_waits_for_another_process_while_others_go_on(tmp_path: Path) -> None:
    path = str(tmp_path / "two.db")
    other = inline.plain(path, 0)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("CREATE TABLE kept (released INTEGER)")
    connection = await inline.connect(path, 5)
    other.execute("BEGIN IMMEDIATE")
    beginning = asyncio.create_task(connection.cursor().execute("BEGIN IMMEDIATE"))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not beginning.done()
    other.execute("COMMIT")
    await beginning
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    await connection.commit()
    await connection.close()
    other.close()


async def test_a_begin_gives_up_after_its_time_and_works_again(tmp_path: Path) -> None:
    path = str(tmp_path / "two.db")
    other = inline.plain(path, 0)
    other.execute("PRAGMA journal_mode=WAL")
    connection = await inline.connect(path, 0.01)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        await connection.cursor().execute("BEGIN IMMEDIATE")
    other.execute("ROLLBACK")
    await connection.cursor().execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="within a transaction"):
        await connection.cursor().execute("BEGIN IMMEDIATE")
    await connection.close()
    other.close()
