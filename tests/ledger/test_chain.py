"""The embedded chain: durable, dated by our clock, free of charge, and honest in its proofs."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from ledger import store
from ledger.anchor import AnchorStatus
from ledger.chain import CHAIN_ID, MAX_TRANSACTION_GAS, EmbeddedChain, RefusedError, RevertedError
from ledger.chain_key import ChainKey
from ledger.errors import ChainError, ChainUnavailableError
from ledger.keyvalue import SqliteStore
from ledger.node import Node
from ledger.state import prove, rlp_encode
from ledger.verify import verify_receipt
from tests.ledger.conftest import START, Site, SteppedClock


@pytest.fixture
def key(tmp_path: Path) -> ChainKey:
    return ChainKey.create(tmp_path / "account.key")


def signed(key: ChainKey, **changes: object) -> bytes:
    """A transaction that sends nothing to nobody."""
    fields: dict[str, object] = {
        "type": 2,
        "chainId": CHAIN_ID,
        "to": "0x" + "11" * 20,
        "value": 0,
        "nonce": 0,
    }
    fields |= {"gas": 21_000, "data": b"", "maxFeePerGas": 0, "maxPriorityFeePerGas": 0}
    return key.sign({**fields, **changes})  # type: ignore[typeddict-item] # fields by name


def test_each_transaction_is_a_block_at_the_time_of_the_clock(
    chain: EmbeddedChain, key: ChainKey, clock: SteppedClock
) -> None:
    clock.advance(900)
    chain.send(signed(key))
    assert chain.head().block_number == 1
    assert chain.head().timestamp == int(START.timestamp()) + 900


def test_block_times_grow_even_if_the_clock_stands_or_goes_back(
    chain: EmbeddedChain, key: ChainKey, clock: SteppedClock
) -> None:
    for nonce in range(3):
        chain.send(signed(key, nonce=nonce))
        clock.advance(-3600)
    assert chain.head().timestamp == int(START.timestamp()) + 3


def test_an_account_without_money_may_send_for_ever(chain: EmbeddedChain, key: ChainKey) -> None:
    for nonce in range(20):
        chain.send(signed(key, nonce=nonce))
    assert chain.head().base_fee_per_gas == 0


def test_the_chain_is_the_same_after_closing_and_opening(
    chain: EmbeddedChain, key: ChainKey, clock: SteppedClock, tmp_path: Path
) -> None:
    for nonce in range(3):
        chain.send(signed(key, nonce=nonce))
    head = chain.head().hash
    chain.close()
    again = EmbeddedChain(tmp_path, clock)
    assert again.head().hash == head
    again.send(signed(key, nonce=3))
    assert again.head().parent_hash == head
    again.close()


def test_a_second_process_cannot_use_the_same_chain(
    chain: EmbeddedChain, clock: SteppedClock, tmp_path: Path
) -> None:
    with pytest.raises(ChainError, match="cannot be used for a chain"):
        EmbeddedChain(tmp_path, clock)


def test_a_file_that_is_no_chain_is_refused(clock: SteppedClock, tmp_path: Path) -> None:
    (tmp_path / "chain.db").write_bytes(b"not a database, but some text" * 50)
    with pytest.raises(ChainError, match="cannot be used for a chain"):
        EmbeddedChain(tmp_path, clock)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"nonce": 1}, "nonce too high: expected 0, got 1", id="a nonce from the future"),
        pytest.param({"chainId": 1}, "signed for chain 1", id="another chain"),
        pytest.param({"gas": MAX_TRANSACTION_GAS + 1}, "exceeds block gas limit", id="too much gas"),
        pytest.param({"gas": 20_000}, "cannot be executed", id="too little gas to begin"),
        pytest.param({"value": 1}, "cannot be executed", id="money that is not there"),
    ],
)
def test_a_transaction_that_cannot_be_mined_is_refused_and_leaves_no_trace(
    changes: dict[str, object], reason: str, chain: EmbeddedChain, key: ChainKey
) -> None:
    head = chain.head().hash
    with pytest.raises(RefusedError, match=reason):
        chain.send(signed(key, **changes))
    assert chain.head().hash == head
    chain.send(signed(key))


def test_a_transaction_is_mined_once(chain: EmbeddedChain, key: ChainKey) -> None:
    raw = signed(key)
    chain.send(raw)
    with pytest.raises(RefusedError, match="already known"):
        chain.send(raw)
    with pytest.raises(RefusedError, match="nonce too low"):
        chain.send(signed(key, gas=22_000))
    assert chain.head().block_number == 1


@pytest.mark.parametrize("raw", [b"", b"\x02", b"\xc0", b"\x02\xc0", rlp_encode([b""] * 9), b"\x7fabc"])
def test_bytes_that_are_no_transaction_are_refused(raw: bytes, chain: EmbeddedChain) -> None:
    with pytest.raises(RefusedError, match="not a signed transaction"):
        chain.send(raw)


def test_a_call_that_the_machine_refuses_is_an_error(chain: EmbeddedChain) -> None:
    call = chain.unsigned(bytes(20), bytes(20), 1, data=b"", gas=50_000, header=chain.head())
    with pytest.raises(RefusedError, match="cannot be executed"):
        chain.call(call, chain.head())


def test_unknown_blocks_are_named(chain: EmbeddedChain) -> None:
    with pytest.raises(RefusedError, match="no block 5"):
        chain.header(5)
    with pytest.raises(RefusedError, match="no block 0x00"):
        chain.block_by_hash(bytes(32))


def test_accounts_are_proven_under_the_state_root_of_each_block(chain: EmbeddedChain, key: ChainKey) -> None:
    for nonce in range(3):
        chain.send(signed(key, nonce=nonce))
    for number in range(4):
        header = chain.header(number)
        account = prove("account", header.state_root, key.address, chain.account_proof(header, key.address))
        assert (account is None) == (number == 0)


async def test_a_reverted_call_says_why(site: Site) -> None:
    call = site.chain.unsigned(
        bytes(20), site.contract, 0, data=bytes.fromhex("00000000"), gas=100_000, header=site.chain.head()
    )
    with pytest.raises(RevertedError, match="execution reverted: 0x"):
        site.chain.call(call, site.chain.head())


def test_a_block_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    entries = SqliteStore(tmp_path / "x.db")
    with pytest.raises(RuntimeError), entries.transaction():
        entries[b"a"] = b"1"
        with entries.atomic_batch() as batch:
            batch[b"b"] = b"2"
        assert entries[b"b"] == b"2"
        raise RuntimeError
    assert b"a" not in entries
    assert b"b" not in entries
    with entries.transaction():
        entries[b"a"] = b"1"
        entries[b"a"] = b"2"
    assert entries[b"a"] == b"2"
    del entries[b"a"]
    with pytest.raises(KeyError):
        del entries[b"a"]
    with pytest.raises(KeyError):
        entries[b"a"]
    entries.close()
    with pytest.raises(sqlite3.ProgrammingError):
        entries[b"a"] = b"1"


@asynccontextmanager
async def process(directory: Path, port: int = 0) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The chain in a process of its own, and its address."""
    command = [
        sys.executable,
        "-m",
        "flexpact",
        "ledger",
        "chain",
        "serve",
        "--dir",
        str(directory),
        "--port",
        str(port),
    ]
    started = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert started.stdout is not None
    url = (await started.stdout.readline()).decode().strip()
    assert (directory / "rpc-url").read_text().strip() == url
    try:
        yield started, url
    finally:
        if started.returncode is None:
            started.send_signal(signal.SIGTERM)
        await started.wait()


async def test_killed_between_send_and_receipt_the_chain_comes_back_with_the_same_head(
    site: Site, tmp_path: Path
) -> None:
    directory = tmp_path / "process"
    anchoring = site.directory / "chain.key"
    async with process(directory) as (first, url):
        async with Node.open(url, 30) as node:
            site.contract = await node.deploy(ChainKey.load(anchoring), ChainKey.load(anchoring).address)
        await site.append("a")
        await site.publish()
        # Sign and keep the transaction, send it, and let the chain die before anybody asks what became of it.
        os.kill(first.pid, signal.SIGSTOP)
        down = await site.step(site.anchorer(rpc_url=url, timeout_s=0.3))
        assert down.status is AnchorStatus.CHAIN_DOWN
        os.kill(first.pid, signal.SIGCONT)
        async with Node.open(url, 30) as node:
            anchorer = site.anchorer(rpc_url=url, timeout_s=30)
            plan_head = await node.head(CHAIN_ID, site.contract)
            async with site.database.read() as conn:
                checkpoint = await store.newest_checkpoint(conn)
            assert checkpoint is not None
            transition = await anchorer._sign(
                node, plan_head, await anchorer._held(site.database, plan_head, checkpoint), checkpoint
            )
            async with site.database.write() as conn:
                await store.add_transition(conn, transition, START)
            await node.send(transition.raw_transaction)
            before = await node.head(CHAIN_ID, site.contract)
        os.kill(first.pid, signal.SIGKILL)
        await first.wait()
    async with process(directory, int(url.rpartition(":")[2])) as (_, again):
        assert again == url
        async with Node.open(url, 30) as node:
            assert await node.head(CHAIN_ID, site.contract) == before
        state = await site.step(site.anchorer(rpc_url=url, timeout_s=30))
        assert (state.status, state.anchored) == (AnchorStatus.IDLE, 1)
        async with Node.open(url, 30) as node:
            assert (await node.head(CHAIN_ID, site.contract)).number == before.number
    async with site.database.read() as conn:
        rows = (await conn.execute(select(store.anchor_table.c.state))).scalars().all()
        assert rows == ["anchored"]
        made, receipt = await site.log.receipt(conn, 0)
        assert verify_receipt(made, receipt, await site.log.trust(conn)).complete


async def test_a_node_that_is_not_there_is_told_from_one_that_refuses(site: Site) -> None:
    async with Node.open("http://127.0.0.1:9", 1) as node:
        with pytest.raises(ChainUnavailableError, match=r"http://127\.0\.0\.1:9 does not answer"):
            await node.chain_id()
    stranger = ChainKey.create(site.directory / "stranger.key")
    async with Node.open(site.server.url, 5) as node:
        with pytest.raises(ChainError, match="would not be taken"):
            await node.rehearse(site.contract, stranger.address, b"", 100_000)
