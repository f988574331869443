"""Appending many records: the next are made while some are inserted, and nothing of that shows."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from ledger import store
from ledger.checkpoint import SigningKey
from ledger.errors import KeyConflictError, RecordError
from ledger.log import SLICE, TURN, Log
from ledger.record import SALT_BYTES, Record
from tests.ledger.conftest import ORIGIN, START, record
from vtn.store import Database

ODD_KEYS = [
    "",
    "nul\0inside",
    "\0",
    "quotes \" and ' and ` and \\",
    "line\nfeed\ttab\r",
    "\x7f\x1b\u2028\ufeff\uffff",
    "emoji \U0001f600 \U0010ffff",
    "combining e\u0301 and \u00e9",
    "[1,2]",
    "null",
    "0",
    "1e3",
    "k" * 5000,
]


@pytest.fixture
def log() -> Log:
    return Log(ORIGIN, SigningKey.generate(ORIGIN))


async def test_any_text_is_a_key_and_stays_as_it_is(log: Log, database: Database) -> None:
    records = [record(key) for key in ODD_KEYS]
    async with database.write() as conn:
        assert await log.append(records, conn) == list(range(len(ODD_KEYS)))
        assert await log.append(records[::-1], conn) == list(range(len(ODD_KEYS)))[::-1]
        for index, made in enumerate(records):
            assert await store.leaf(conn, index) == store.StoredLeaf(
                index, made.key, made.salt, made.canonical()
            )
        found = await conn.exec_driver_sql(
            "/* SQLite */ SELECT leaf_index, typeof(key), typeof(salt), typeof(canonical)"
            " FROM ledger_leaf WHERE key = ?",
            (ODD_KEYS[1],),
        )
        assert tuple(found.one()) == (1, "text", "blob", "blob")


async def test_a_lone_surrogate_in_a_key_is_refused(log: Log, database: Database) -> None:
    async with database.write() as conn:
        with pytest.raises(RecordError, match="lone surrogate"):
            await log.append([record("a"), record("\ud800")], conn)
        assert await store.log_size(conn) == 0


def long(key: str, length: int) -> Record:
    return record(key, body={"text": "\u00e9" * length})


@pytest.mark.parametrize("length", [1_000_000, 1_050_000, 3_000_000])
async def test_records_of_any_length_are_kept(length: int, log: Log, database: Database) -> None:
    records = [record("first"), long("long", length), record("k" * length), record("last")]
    async with database.write() as conn:
        assert await log.append(records, conn) == [0, 1, 2, 3]
        assert await log.append(records, conn) == [0, 1, 2, 3]
        stored = [await store.leaf(conn, index) for index in range(4)]
    assert stored == [
        store.StoredLeaf(index, made.key, made.salt, made.canonical()) for index, made in enumerate(records)
    ]


async def test_repeats_among_long_records_are_found(log: Log, database: Database) -> None:
    kept = long("long", 2_000_000)
    async with database.write() as conn:
        assert await log.append([kept, record("a"), kept], conn) == [0, 1, 0]
        with pytest.raises(KeyConflictError):
            await log.append([record("b"), long("long", 2_000_001)], conn)
        assert await store.log_size(conn) == 2


async def test_a_salt_of_another_length_is_no_leafs(database: Database) -> None:
    async with database.write() as conn:
        with pytest.raises(ValueError, match="32 bytes"):
            await store.add_leaves(conn, 0, [("a", b"s" * (SALT_BYTES - 1), b"c", b"")])


@pytest.mark.parametrize("at", [0, SLICE - 1, SLICE, 2 * SLICE, 3 * SLICE - 1])
async def test_a_bad_record_anywhere_in_a_large_batch_leaves_nothing(
    at: int, log: Log, database: Database
) -> None:
    batch = [record(str(number)) for number in range(3 * SLICE)]
    batch[at] = record("bad", body={"energy_wh": 0.5})
    async with database.write() as conn:
        await log.append([record("kept")], conn)
        with pytest.raises(RecordError, match="a float"):
            await log.append(batch, conn)
        assert await store.log_size(conn) == 1
        assert await log.append([record("next")], conn) == [1]


async def test_two_faults_at_once_are_one_error(log: Log, database: Database) -> None:
    batch = [record(str(number)) for number in range(2 * SLICE)]
    batch[7] = record("kept", kind="opt")
    batch[SLICE] = record("bad", body={"energy_wh": 0.5})
    async with database.write() as conn:
        await log.append([record("kept")], conn)
        with pytest.raises((RecordError, KeyConflictError)):
            await log.append(batch, conn)
        assert await store.log_size(conn) == 1


async def test_an_append_that_is_cancelled_at_any_turn_leaves_nothing(log: Log, database: Database) -> None:
    batch = [record(str(number)) for number in range(2 * SLICE + 5)]
    cancelled = 0
    for turns in range(0, 45, 3):
        async with database.write() as conn:
            before = await store.log_size(conn)
            appending = asyncio.create_task(log.append(batch, conn))
            for _ in range(turns):
                await asyncio.sleep(0)
            if not appending.cancel():
                break
            with pytest.raises(asyncio.CancelledError):
                await appending
            assert await store.log_size(conn) == before
            assert await log.append([record(f"after {turns}")], conn) == [before]
            cancelled += 1
    assert cancelled >= 5
    async with database.write() as conn:
        indices = await log.append(batch, conn)
        assert indices == list(range(indices[0], indices[0] + len(batch)))
        checkpoint = await log.publish(conn, START)
    assert checkpoint is not None
    assert checkpoint.size == len(batch) + cancelled


async def test_others_have_their_turn_after_every_few_records(log: Log, database: Database) -> None:
    turn = 0
    made_in: Counter[int] = Counter()

    class Watched(dict[str, object]):
        def __getitem__(self, key: str) -> object:
            made_in[turn] += 1
            return super().__getitem__(key)

    async def take_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(take_turns())
    batch = [record(str(number), body=Watched(energy_wh=1)) for number in range(2 * SLICE)]
    async with database.write() as conn:
        await log.append(batch, conn)
    others.cancel()
    assert made_in.total() == len(batch)
    assert max(made_in.values()) <= TURN
