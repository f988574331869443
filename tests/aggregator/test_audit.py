"""What a fact and a statement look like as records, and that sealing is exactly once."""

import asyncio
from datetime import UTC, datetime

import pytest

from aggregator.audit import FACTS_A_STEP, fact_record, seal
from ledger import store as ledger_store
from ledger.checkpoint import SigningKey
from ledger.errors import RecordError
from ledger.log import Log
from vtn import journal
from vtn.journal import Fact
from vtn.store import Database

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
ORIGIN = "test.example/log"


def fact(body: dict[str, object], raw_sha256: str | None = None) -> Fact:
    """A fact with that body."""
    return Fact(1, NOW, "report", "ven-1", "report/ven-1/key", body, raw_sha256)


def test_a_record_names_the_node_and_the_bytes_that_came() -> None:
    record = fact_record(fact({"readings": 4}, "ab" * 32))
    assert (record.kind, record.key, record.at) == ("report", "report/ven-1/key", NOW)
    assert record.body == {"readings": 4, "seq": 1, "ven_id": "ven-1", "raw_sha256": "ab" * 32}
    assert "raw_sha256" not in fact_record(fact({})).body


def test_truth_values_become_text_at_every_depth() -> None:
    record = fact_record(fact({"a": True, "b": [False, {"c": True}], "d": 1}))
    assert record.body == {"a": "true", "b": ["false", {"c": "true"}], "d": 1, "seq": 1, "ven_id": "ven-1"}
    assert record.canonical()


def test_a_float_is_refused_because_a_hash_must_not_depend_on_its_print() -> None:
    with pytest.raises(RecordError, match="not a float"):
        fact_record(fact({"power_kw": 1.5})).canonical()


async def test_more_facts_than_one_step_takes_are_all_sealed_once_and_in_order(database: Database) -> None:
    log = Log(ORIGIN, SigningKey.generate(ORIGIN))
    count = FACTS_A_STEP + 7
    async with database.write() as conn:
        for number in range(count):
            await journal.record(conn, "opt", "ven-1", str(number), body={"number": number}, now=NOW)
    assert await seal(database, log) == count
    assert await seal(database, log) == 0
    async with database.read() as conn:
        assert await ledger_store.log_size(conn) == count
        for index in (0, FACTS_A_STEP - 1, FACTS_A_STEP, count - 1):
            leaf = await ledger_store.leaf(conn, index)
            assert leaf is not None
            assert leaf.key == f"opt/ven-1/{index}"


async def test_a_seal_that_fails_leaves_nothing_half_done(database: Database) -> None:
    log = Log(ORIGIN, SigningKey.generate(ORIGIN))
    async with database.write() as conn:
        await journal.record(conn, "opt", "ven-1", "good", body={"number": 1}, now=NOW)
        await journal.record(conn, "opt", "ven-1", "bad", body={"number": 1.5}, now=NOW)
    for _ in range(2):
        with pytest.raises(RecordError):
            await seal(database, log)
    async with database.read() as conn:
        assert await ledger_store.log_size(conn) == 0


async def keys(database: Database) -> list[str]:
    async with database.read() as conn:
        return list((await conn.exec_driver_sql("SELECT key FROM ledger_leaf ORDER BY leaf_index")).scalars())


async def test_several_who_seal_at_once_seal_each_fact_once_and_in_order(database: Database) -> None:
    log = Log(ORIGIN, SigningKey.generate(ORIGIN))
    facts = [
        journal.New("ven-1", str(number), {"number": number}, None) for number in range(2 * FACTS_A_STEP)
    ]
    async with database.write() as conn:
        await journal.record_all(conn, "opt", facts, NOW)
    assert sum(await asyncio.gather(*(seal(database, log) for _ in range(3)))) == len(facts)
    assert await keys(database) == [f"opt/ven-1/{number}" for number in range(len(facts))]


async def test_what_lies_before_a_step_that_fails_is_sealed(database: Database) -> None:
    log = Log(ORIGIN, SigningKey.generate(ORIGIN))
    facts = [journal.New("ven-1", str(number), {"number": number}, None) for number in range(FACTS_A_STEP)]
    async with database.write() as conn:
        await journal.record_all(conn, "opt", facts, NOW)
        await journal.record(conn, "opt", "ven-1", "bad", body={"number": 1.5}, now=NOW)
    for _ in range(2):
        with pytest.raises(RecordError):
            await seal(database, log)
    assert await keys(database) == [f"opt/ven-1/{number}" for number in range(len(facts))]


async def test_bodies_of_facts_come_back_as_they_were_written(database: Database) -> None:
    bodies: list[dict[str, object]] = [
        {},
        {"a": [], "b": {"c": '],[\\"\u2028'}},
        {"a": 2**53 - 1, "b": True, "c": None},
        {"d": ["{", "x\n"]},
    ]
    async with database.write() as conn:
        assert await journal.facts_after(conn, 0, 10) == []
        for number, body in enumerate(bodies):
            await journal.record(conn, "opt", "ven-1", str(number), body=body, now=NOW)
        found = await journal.facts_after(conn, 0, 10)
    assert found == [
        Fact(number + 1, NOW, "opt", "ven-1", f"opt/ven-1/{number}", body, None)
        for number, body in enumerate(bodies)
    ]
