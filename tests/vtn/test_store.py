"""The database: group commit, isolation of units, and the schema that the migrations make."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, func, insert, select, text

from vtn import note
from vtn.errors import StartupError, StoreBusy, StoreError
from vtn.schema import journal_table, metadata, ven_table
from vtn.store import Database, after_commit, savepoint

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ven_row(name: str) -> dict[str, object]:
    return {"ven_id": name, "ven_name": name, "enrolled_at": NOW, "report_only": False}


async def add_ven(database: Database, name: str) -> None:
    async with database.write() as conn:
        await conn.execute(insert(ven_table).values(ven_row(name)))


async def names(database: Database) -> list[str]:
    async with database.read() as conn:
        return list((await conn.execute(select(ven_table.c.ven_id).order_by(ven_table.c.ven_id))).scalars())


async def test_units_that_wait_together_share_a_commit_and_are_told_after_it(database: Database) -> None:
    commits: list[int] = []
    database.listen(lambda notices: commits.append(len(notices)))

    async def work(number: int) -> None:
        async with database.write() as conn:
            await conn.execute(insert(ven_table).values(ven_row(f"v{number:02}")))
            after_commit(conn, number)
        assert f"v{number:02}" in await names(database)

    await asyncio.gather(*(work(number) for number in range(20)))
    assert sum(commits) == 20
    assert len(commits) < 20


async def test_failed_unit_is_undone_alone_and_its_notices_are_dropped(database: Database) -> None:
    heard: list[object] = []
    database.listen(heard.extend)

    async def work(name: str, fail: bool) -> None:
        async with database.write() as conn:
            await conn.execute(insert(ven_table).values(ven_row(name)))
            after_commit(conn, name)
            if fail:
                raise ZeroDivisionError

    works = [work("a", False), work("b", True), work("c", False)]
    results = await asyncio.gather(*works, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), ZeroDivisionError, type(None)]
    assert await names(database) == ["a", "c"]
    assert heard == ["a", "c"]


@pytest.mark.parametrize("failing", [{"a"}, {"a", "b"}, {"c"}, {"a", "b", "c"}])
async def test_failed_units_are_undone_wherever_they_stand(database: Database, failing: set[str]) -> None:
    async def work(name: str) -> None:
        async with database.write() as conn:
            await conn.execute(insert(ven_table).values(ven_row(name)))
            if name in failing:
                raise ZeroDivisionError

    results = await asyncio.gather(*map(work, "abc"), return_exceptions=True)
    assert [isinstance(result, ZeroDivisionError) for result in results] == [n in failing for n in "abc"]
    assert await names(database) == [name for name in "abc" if name not in failing]
    await work("d")
    assert "d" in await names(database)


async def test_cancelled_caller_leaves_the_writer_at_work(database: Database) -> None:
    inside = asyncio.Event()

    async def stuck() -> None:
        async with database.write() as conn:
            await conn.execute(insert(ven_table).values(ven_row("stuck")))
            inside.set()
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(stuck())]
    await inside.wait()
    waiting = asyncio.create_task(add_ven(database, "waiting"))
    gone = asyncio.create_task(add_ven(database, "gone"))
    await asyncio.sleep(0)
    gone.cancel()
    tasks[0].cancel()
    await asyncio.gather(*tasks, gone, return_exceptions=True)
    await waiting
    assert await names(database) == ["waiting"]


async def test_locked_database_is_reported_as_busy_and_works_again_afterwards(database_path: Path) -> None:
    database = await Database.open(database_path, busy_timeout_s=0.05)
    with closing(sqlite3.connect(database_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy):
            await add_ven(database, "a")
        other.execute("ROLLBACK")
    await add_ven(database, "b")
    assert await names(database) == ["b"]
    await database.close()


async def test_reader_cannot_write(database: Database) -> None:
    with pytest.raises(Exception, match="readonly"):
        async with database.read() as conn:
            await conn.execute(insert(ven_table).values(ven_row("a")))


async def test_naive_datetime_is_refused(database: Database) -> None:
    with pytest.raises(Exception, match="naive"):
        async with database.write() as conn:
            await conn.execute(insert(ven_table).values(ven_row("a") | {"enrolled_at": datetime(2026, 1, 1)}))  # noqa: DTZ001 - the fault under test


async def test_shipped_pragmas_are_durable_ones(database: Database) -> None:
    async with database.write() as conn:
        assert (await conn.exec_driver_sql("PRAGMA synchronous")).scalar() == 2
        assert (await conn.exec_driver_sql("PRAGMA journal_mode")).scalar() == "wal"
        assert (await conn.exec_driver_sql("PRAGMA foreign_keys")).scalar() == 1


async def test_closed_database_takes_and_gives_nothing(database_path: Path) -> None:
    database = await Database.open(database_path)
    await database.close()
    with pytest.raises(StoreError):
        await add_ven(database, "a")
    with pytest.raises(StoreError, match="the database is closed"):
        async with database.read():
            pass
    await database.close()


async def test_file_without_tables_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"empty\.db"):
        await Database.open(tmp_path / "empty.db")


async def test_other_kinds_of_database_are_refused() -> None:
    with pytest.raises(StartupError, match="mysql"):
        await Database.open("mysql://nowhere/x")


async def test_queued_units_are_finished_before_closing(database_path: Path) -> None:
    database = await Database.open(database_path)
    work = [asyncio.create_task(add_ven(database, f"v{number}")) for number in range(5)]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*work)
    with closing(sqlite3.connect(database_path)) as conn:
        assert conn.execute("SELECT count(*) FROM vtn_ven").fetchone() == (5,)


async def test_journal_numbers_are_never_used_twice(database: Database) -> None:
    async with database.write() as conn:
        fact = {"at": NOW, "kind": "opt", "ven_id": "v", "key": "k", "body": {}}
        await conn.execute(insert(journal_table).values(fact))
        await conn.execute(journal_table.delete())
        await conn.execute(insert(journal_table).values(fact))
        assert (await conn.execute(select(func.max(journal_table.c.seq)))).scalar() == 2


def test_migrations_make_the_tables_that_the_code_expects(database_template: Path) -> None:
    engine = create_engine(f"sqlite:///{database_template}")
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_name": lambda name, kind, _p: kind != "table" or name.startswith("vtn_")},
        )
        assert compare_metadata(context, metadata) == []
    engine.dispose()


async def test_a_part_of_a_unit_is_undone_alone_with_its_notices(database: Database) -> None:
    heard: list[object] = []
    database.listen(heard.extend)
    async with database.write() as conn:
        await conn.execute(insert(ven_table).values(ven_row("kept")))
        after_commit(conn, "kept")
        with pytest.raises(ValueError, match="no"):
            async with savepoint(conn):
                await conn.execute(insert(ven_table).values(ven_row("undone")))
                after_commit(conn, "undone")
                raise ValueError("no")
        async with savepoint(conn):
            await conn.execute(insert(ven_table).values(ven_row("kept too")))
            after_commit(conn, "kept too")
    assert heard == ["kept", "kept too"]
    assert await names(database) == ["kept", "kept too"]


_SPEND = "INSERT INTO vtn_nonce (fingerprint, nonce, signed_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


async def nonces(database: Database) -> set[str]:
    """Those that are kept."""
    async with database.read() as conn:
        return set((await conn.execute(text("SELECT nonce FROM vtn_nonce"))).scalars())


async def test_notes_are_kept_in_line_with_units_and_say_what_they_changed(database: Database) -> None:
    async def unit(name: str) -> int:
        async with database.write() as conn:
            await conn.execute(text("INSERT INTO vtn_nonce VALUES ('f', :name, 1)"), {"name": name})
        return 7

    works = [database.note(_SPEND, ("f", name, 1)) for name in ("a", "b", "a")]
    works += [unit("c"), database.note(_SPEND, ("f", "c", 1)), database.note(_SPEND, ("f", "d", 1))]
    assert await asyncio.gather(*works) == [1, 1, 0, 7, 0, 1]
    assert await nonces(database) == {"a", "b", "c", "d"}


async def test_note_of_a_closed_or_locked_database_is_refused_and_not_kept(database_path: Path) -> None:
    database = await Database.open(database_path, busy_timeout_s=0.05)
    with closing(sqlite3.connect(database_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy):
            await database.note(_SPEND, ("f", "a", 1))
        other.execute("ROLLBACK")
    with pytest.raises(StoreError, match="syntax"):
        await database.note("nonsense", ())
    assert await database.note(_SPEND, ("f", "b", 1)) == 1
    assert await nonces(database) == {"b"}
    await database.close()
    with pytest.raises(StoreError, match="closed"):
        await database.note(_SPEND, ("f", "c", 1))


async def test_notes_that_are_queued_are_kept_before_closing(database_path: Path) -> None:
    database = await Database.open(database_path)
    notes = [asyncio.create_task(database.note(_SPEND, ("f", str(number), 1))) for number in range(100)]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*notes) == [1] * 100


async def test_unit_and_notes_do_not_disturb_each_other(database_path: Path) -> None:
    """The clerk writes alone, or the writer does: neither ever finds the other's lock, or it would fail."""
    database = await Database.open(database_path, busy_timeout_s=0)

    async def unit(number: int) -> None:
        async with database.write() as conn:
            await asyncio.sleep(0)
            await conn.execute(text("INSERT INTO vtn_nonce VALUES ('g', :name, 1)"), {"name": str(number)})

    async def caller(number: int) -> None:
        for step in range(8):
            if (number + step) % 3:
                assert await database.note(_SPEND, ("f", f"{number} {step}", 1)) == 1
            else:
                await unit(10 * number + step)

    await asyncio.gather(*(caller(number) for number in range(8)))
    assert len(await nonces(database)) == 64
    await database.close()


async def test_a_caller_who_goes_leaves_his_note_and_the_clerk_at_work(database: Database) -> None:
    task = asyncio.create_task(database.note(_SPEND, ("f", "a", 1)))
    await asyncio.sleep(0)
    task.cancel()
    assert await database.note(_SPEND, ("f", "b", 1)) == 1
    assert task.cancelled()
    assert await nonces(database) == {"a", "b"}


async def test_notes_are_as_durable_as_units(database_path: Path) -> None:
    clerk = note.Clerk(str(database_path), 5.0)
    with closing(clerk._open()) as conn:
        assert conn.execute("PRAGMA synchronous").fetchone() == (2,)
        assert conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
