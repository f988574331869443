"""What a reader's connection does in a thread, and what becomes of it when its caller goes."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from vtn import aside
from vtn.store import READERS, Database

UP_TO = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {}) SELECT x FROM c"
FOR_EVER = UP_TO.format(10**12).replace("SELECT x FROM c", "SELECT max(x) FROM c")
MANY = 3 * aside.FIRST_ROWS + 7


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[aside.Connection]:
    threads = ThreadPoolExecutor(1)
    made = await aside.connect(str(tmp_path / "one.db"), 1, threads)
    yield made
    await made.close()
    threads.shutdown()


class Gate:
    """A function in SQL that says when it was reached, and waits until the test lets it go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()

    def __call__(self) -> int:
        self.entered.set()
        self.released.wait(5)
        return 1


async def test_others_go_on_while_a_statement_runs(connection: aside.Connection) -> None:
    gate = Gate()
    await connection.create_function("gate", 0, gate)
    reading = asyncio.create_task(connection.cursor().execute("SELECT gate()"))
    assert await asyncio.to_thread(gate.entered.wait, 5)
    assert not reading.done()
    gate.released.set()
    await reading


async def test_many_rows_come_whole_at_once_and_in_parts(database: Database) -> None:
    async with database.read() as conn:
        for count in (0, 1, aside.FIRST_ROWS - 1, aside.FIRST_ROWS, aside.FIRST_ROWS + 1, MANY):
            query = text(f"{UP_TO.format(max(count, 1))} LIMIT {count}")
            wanted = list(range(1, count + 1))
            assert list((await conn.execute(query)).scalars()) == wanted
            streamed = await conn.stream(query)
            assert [x async for (x,) in streamed] == wanted
        streamed = await conn.stream(text(UP_TO.format(MANY)))
        assert [x for (x,) in await streamed.fetchmany(3)] == [1, 2, 3]
        assert await streamed.fetchone() == (4,)
        assert len(await streamed.fetchall()) == MANY - 4


async def test_whoever_is_cancelled_stops_his_statement_and_the_file_is_let_go(database_path: Path) -> None:
    database = await Database.open(database_path)
    begun = asyncio.Event()

    async def read() -> None:
        async with database.read() as conn:
            await conn.execute(text("SELECT 1"))
            begun.set()
            await conn.execute(text(FOR_EVER))

    reading = asyncio.create_task(read())
    await begun.wait()
    async with database.write() as conn:
        await conn.execute(text("CREATE TABLE written (x)"))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await database.close()
    assert [file.name for file in database_path.parent.glob(f"{database_path.name}-*")] == []
    with sqlite3.connect(f"file:{database_path}?immutable=1", uri=True) as view:
        assert view.execute("SELECT count(*) FROM written").fetchone() == (0,)


async def test_whoever_is_cancelled_while_he_waits_for_a_thread_never_begins(
    connection: aside.Connection, tmp_path: Path
) -> None:
    gate, seen = Gate(), list[sqlite3.Connection]()
    await connection.create_function("gate", 0, gate)
    holding = asyncio.create_task(connection.cursor().execute("SELECT gate()"))
    assert await asyncio.to_thread(gate.entered.wait, 5)
    waiting = asyncio.create_task(connection.visit(seen.append))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.released.set()
    await holding
    assert seen == []


async def test_a_visit_is_one_view_of_what_the_transaction_sees(database: Database) -> None:
    async with database.read() as conn:
        (before,) = (await conn.execute(text("SELECT count(*) FROM vtn_journal"))).one()
        driver = (await conn.get_raw_connection()).driver_connection
        assert driver is not None
        async with database.write() as other:
            await other.execute(text("CREATE TABLE newer (x)"))

        def read(view: sqlite3.Connection) -> tuple[int, list[object]]:
            (count,) = view.execute("SELECT count(*) FROM vtn_journal").fetchone()
            return count, view.execute("SELECT name FROM sqlite_master WHERE name = 'newer'").fetchall()

        assert await driver.visit(read) == (before, [])


async def test_more_readers_than_threads_all_get_their_answer(database: Database) -> None:
    async def read(number: int) -> int:
        async with database.read() as conn:
            found: int = (await conn.execute(text(f"SELECT {number}"))).scalar_one()
            return found

    numbers = range(5 * READERS)
    assert await asyncio.gather(*map(read, numbers)) == list(numbers)
