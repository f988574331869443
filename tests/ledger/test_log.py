"""The log in a real database: dense, append-only, one leaf for each key, receipts for all."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from ledger import store
from ledger.checkpoint import SigningKey
from ledger.errors import KeyConflictError, RecordError, UnknownLeafError, VerificationError
from ledger.log import SLICE, Log
from ledger.merkle import check_consistency
from ledger.record import SALT_BYTES
from ledger.verify import verify_receipt
from tests.ledger.conftest import ORIGIN, START, Site, record
from vtn.store import Database


@pytest.fixture
def log() -> Log:
    return Log(ORIGIN, SigningKey.generate(ORIGIN))


async def test_leaves_are_numbered_from_zero_without_gaps(log: Log, database: Database) -> None:
    async with database.write() as conn:
        assert await log.append([record("a"), record("b")], conn) == [0, 1]
    async with database.write() as conn:
        assert await log.append([record("c")], conn) == [2]
        assert await log.append([], conn) == []


async def test_the_same_record_twice_is_one_leaf(log: Log, database: Database) -> None:
    async with database.write() as conn:
        assert await log.append([record("a"), record("b"), record("a")], conn) == [0, 1, 0]
    async with database.write() as conn:
        assert await log.append([record("c"), record("a")], conn) == [2, 0]
        assert await store.log_size(conn) == 3


async def test_the_first_salt_of_a_record_stays(log: Log, database: Database) -> None:
    first = record("a")
    async with database.write() as conn:
        await log.append([first], conn)
        await log.append([record("a")], conn)
        stored = await store.leaf(conn, 0)
    assert stored is not None
    assert stored.salt == first.salt


@pytest.mark.parametrize(
    "change", [{"body": {"energy_wh": 251}}, {"kind": "opt"}, {"at": START.replace(year=2027)}]
)
async def test_another_content_under_the_same_key_is_refused(
    change: dict[str, object], log: Log, database: Database
) -> None:
    async with database.write() as conn:
        await log.append([record("a")], conn)
    async with database.write() as conn:
        with pytest.raises(KeyConflictError, match="leaf 0 has the key 'a' already"):
            await log.append([record("b"), record("a", **change)], conn)
        with pytest.raises(KeyConflictError):
            await log.append([record("c"), record("c", **change)], conn)
        assert await store.log_size(conn) == 1


async def test_a_batch_with_a_bad_record_writes_nothing(log: Log, database: Database) -> None:
    async with database.write() as conn:
        with pytest.raises(RecordError, match="a float"):
            await log.append([record("a"), record("b", body={"energy_wh": 0.5})], conn)
        assert await store.log_size(conn) == 0


async def test_a_rolled_back_transaction_leaves_no_trace(log: Log, database: Database) -> None:
    with pytest.raises(RuntimeError):
        async with database.write() as conn:
            await log.append([record(str(number)) for number in range(300)], conn)
            await log.publish(conn, START)
            raise RuntimeError
    async with database.write() as conn:
        assert await log.append([record("a")], conn) == [0]
        checkpoint = await log.publish(conn, START)
    assert checkpoint is not None
    assert checkpoint.size == 1


async def test_nothing_new_gives_no_checkpoint(log: Log, database: Database) -> None:
    async with database.write() as conn:
        assert await log.publish(conn, START) is None
        await log.append([record("a")], conn)
        assert await log.publish(conn, START) is not None
        assert await log.publish(conn, START) is None
        await log.append([record("a")], conn)
        assert await log.publish(conn, START) is None
        assert await store.checkpoint_count(conn) == 1


async def test_checkpoints_do_not_depend_on_how_records_were_batched(log: Log, database: Database) -> None:
    records = [record(str(number)) for number in range(1500)]
    async with database.write() as conn:
        await log.append(records, conn)
        at_once = await log.publish(conn, START)
        for table in (store.leaf_table, store.tile_table, store.checkpoint_table):
            await conn.execute(table.delete())
    chance, done = random.Random(1), 0
    while done < len(records):
        count = chance.choice([1, 7, 256, 300])
        async with database.write() as conn:
            await log.append(records[done : done + count], conn)
        done += count
    async with database.write() as conn:
        assert await log.publish(conn, START) == at_once


async def test_every_checkpoint_extends_the_one_before(log: Log, database: Database) -> None:
    checkpoints = []
    for round_number in range(12):
        async with database.write() as conn:
            await log.append(
                [record(f"{round_number}/{number}") for number in range(37 * round_number + 1)], conn
            )
            checkpoints.append(await log.publish(conn, START))
    async with database.read() as conn:
        for old in checkpoints:
            for new in checkpoints:
                if old and new and old.size <= new.size:
                    path = await log.consistency(conn, old.size, new.size)
                    check_consistency(old.size, old.root, new.size, new.root, path)
                    with pytest.raises(VerificationError):
                        check_consistency(old.size, old.root, new.size, bytes(32), path)


def test_a_key_of_another_log_is_refused() -> None:
    with pytest.raises(ValueError, match="belongs to the log"):
        Log("example.org/other", SigningKey.generate(ORIGIN))


async def test_every_leaf_gets_a_receipt_that_verifies(site: Site) -> None:
    for batch in range(3):
        await site.append(*(f"{batch}/{number}" for number in range(123)))
        await site.publish()
        await site.step()
    async with site.database.read() as conn:
        trust = await site.log.trust(conn)
        for index in range(3 * 123):
            made, receipt = await site.log.receipt(conn, index)
            assert verify_receipt(made, receipt, trust).complete
            assert len(receipt.to_file()) <= 4096


async def test_an_anchored_leaf_keeps_its_receipt_while_the_log_grows(site: Site) -> None:
    await site.append("a")
    await site.publish()
    await site.step()
    await site.append("b")
    async with site.database.read() as conn:
        made, receipt = await site.log.receipt(conn, 0)
        assert verify_receipt(made, receipt, await site.log.trust(conn)).complete
        with pytest.raises(UnknownLeafError, match="leaf 1 is not anchored yet: 1 leaves are"):
            await site.log.receipt(conn, 1)
        with pytest.raises(UnknownLeafError, match="no leaf 2"):
            await site.log.receipt(conn, 2)


async def test_without_any_anchor_there_is_no_receipt_and_no_trusted_chain(site: Site) -> None:
    await site.append("a")
    await site.publish()
    async with site.database.read() as conn:
        with pytest.raises(UnknownLeafError, match="not anchored yet: 0"):
            await site.log.receipt(conn, 0)
        assert (await site.log.trust(conn)).chain is None


async def test_an_erased_record_has_no_receipt_and_the_others_keep_theirs(site: Site) -> None:
    await site.append("a", "b", "c")
    async with site.database.write() as conn:
        row = store.leaf_table.c.leaf_index == 1
        await conn.execute(update(store.leaf_table).where(row).values(salt=None, canonical=None))
    assert await site.append("b") == [1]
    await site.publish()
    await site.step()
    async with site.database.read() as conn:
        with pytest.raises(UnknownLeafError, match="leaf 1 was erased"):
            await site.log.receipt(conn, 1)
        made, receipt = await site.log.receipt(conn, 2)
        assert verify_receipt(made, receipt, await site.log.trust(conn)).complete


async def test_a_conflict_late_in_a_large_batch_undoes_all_of_it(log: Log, database: Database) -> None:
    async with database.write() as conn:
        await log.append([record("kept")], conn)
        before = await log.publish(conn, START)
    batch = [record(str(number)) for number in range(2 * SLICE)]
    async with database.write() as conn:
        with pytest.raises(KeyConflictError):
            await log.append([*batch, record("kept", kind="opt")], conn)
        assert await store.log_size(conn) == 1
        assert await log.publish(conn, START) is None
        assert await log.append(batch, conn) == list(range(1, 2 * SLICE + 1))
        after = await log.publish(conn, START)
        assert before
        assert after
        path = await log.consistency(conn, before.size, after.size)
        check_consistency(before.size, before.root, after.size, after.root, path)


async def test_repeats_anywhere_in_a_large_batch_are_found(log: Log, database: Database) -> None:
    batch = [record(str(number)) for number in range(SLICE + 10)]
    repeated = [*batch[:5], *batch, *batch[-5:], *batch[:5]]
    expected = [*range(5), *range(SLICE + 10), *range(SLICE + 5, SLICE + 10), *range(5)]
    async with database.write() as conn:
        assert await log.append(repeated, conn) == expected
        assert await log.append(repeated, conn) == expected
        assert await store.log_size(conn) == SLICE + 10


async def test_the_database_keeps_keys_and_indices_apart(database: Database) -> None:
    async with database.write() as conn:
        assert await store.add_leaves(conn, 0, [leaf("a")]) == 1
        assert await store.add_leaves(conn, 1, [leaf("a"), leaf("b")]) == 1
        with pytest.raises(IntegrityError):
            await store.add_leaves(conn, 0, [leaf("c")])


def leaf(key: str) -> store.LeafRow:
    return key, bytes(SALT_BYTES), b"c", b""
