"""Anchoring on a chain that refuses, is another one, lies, or was set back."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.anchor import Anchorer, AnchorStatus
from ledger.chain import EmbeddedChain
from ledger.chain_key import ChainKey
from ledger.errors import KeyFileError
from ledger.merkle import EMPTY_ROOT
from ledger.node import Node, publish_call, publish_transaction
from ledger.rpc import RpcServer
from tests.ledger.conftest import Site, nothing_is_signed
from tests.ledger.line import Line


async def test_a_head_that_this_log_never_made_stops_anchoring_until_a_person_looks(site: Site) -> None:
    key = ChainKey.load(site.directory / "chain.key")
    async with Node.open(site.server.url, 5) as node:
        head = await node.head(site.settings().chain_id, site.contract)
        data = publish_call(0, EMPTY_ROOT, 9, bytes(32))
        made = publish_transaction(
            site.settings().chain_id,
            site.contract,
            nonce=await node.nonce(key.address, head),
            gas=100_000,
            fees=head.fees,
            data=data,
        )
        await node.send(key.sign(made))
    await site.append("a")
    await site.publish()
    state = await site.step()
    assert state.status is AnchorStatus.FAILED
    assert "no checkpoint of this log" in state.text
    assert site.blocks() == 1
    assert await nothing_is_signed(site)


async def test_a_key_that_may_not_publish_sends_nothing(site: Site) -> None:
    ChainKey.create(site.directory / "other.key")
    await site.append("a")
    await site.publish()
    state = await site.step(site.anchorer(key_file=site.directory / "other.key"))
    assert state.status is AnchorStatus.FAILED
    assert "caller is not the publisher" in state.text
    assert site.blocks() == 0


def with_little_gas(site: Site, url: str) -> Anchorer:
    anchorer = Anchorer(site.settings(rpc_url=url).model_copy(update={"gas": 25_000}))
    site.anchorers.append(anchorer)
    return anchorer


async def test_a_transaction_without_enough_gas_is_not_sent(site: Site) -> None:
    await site.append("a")
    await site.publish()
    state = await site.step(with_little_gas(site, site.server.url))
    assert state.status is AnchorStatus.FAILED
    assert "would not be taken" in state.text
    assert site.blocks() == 0


async def test_a_transaction_that_is_mined_in_vain_is_not_repeated_at_once(site: Site, line: Line) -> None:
    await site.append("a")
    await site.publish()
    line.changed_answers = {"eth_call": "0x"}  # the rehearsal promises what the chain does not keep
    state = await site.step(with_little_gas(site, line.url))
    assert state.status is AnchorStatus.FAILED
    assert "did not change the contract" in state.text
    assert (site.blocks(), await site.anchored()) == (1, 0)
    assert (await site.step()).status is AnchorStatus.IDLE
    assert site.blocks() == 2


async def test_a_node_of_another_chain_is_refused(site: Site) -> None:
    await site.append("a")
    await site.publish()
    state = await site.step(site.anchorer(chain_id=1))
    assert state.status is AnchorStatus.FAILED
    assert "not 1" in state.text


async def test_a_node_that_proves_something_else_is_not_believed(site: Site, line: Line) -> None:
    await site.append("a")
    await site.publish()
    line.changed_answers = {"eth_getProof": {"accountProof": [], "storageProof": [{"proof": []}]}}
    state = await site.step(site.anchorer(rpc_url=line.url))
    assert state.status is AnchorStatus.FAILED
    assert "account" in state.text
    assert await site.anchored() == 0
    line.changed_answers = {}
    assert (await site.step(site.anchorer(rpc_url=line.url))).status is AnchorStatus.IDLE
    assert site.blocks() == 1


async def test_a_chain_that_was_set_back_gets_the_newest_checkpoint_again(site: Site, tmp_path: Path) -> None:
    await site.append("a")
    await site.publish()
    await site.step()
    older = (site.directory / "chain.db").read_bytes(), (site.directory / "chain.db-wal").read_bytes()
    await site.append("b")
    await site.publish()
    await site.step()
    copy = tmp_path / "older"
    copy.mkdir()
    (copy / "chain.db").write_bytes(older[0])
    (copy / "chain.db-wal").write_bytes(older[1])
    chain = EmbeddedChain(copy, site.clock)
    server = RpcServer(chain)
    await server.start()
    try:
        assert chain.head().block_number == 2
        await site.append("c")
        await site.publish()
        state = await site.step(site.anchorer(rpc_url=server.url))
        assert (state.status, state.anchored) == (AnchorStatus.IDLE, 3)
        assert chain.head().block_number == 3
    finally:
        await server.stop()
        chain.close()


async def test_a_chain_that_was_emptied_is_found_out_at_the_first_step(site: Site, tmp_path: Path) -> None:
    await site.append("a")
    await site.publish()
    await site.step()
    empty = tmp_path / "empty"
    empty.mkdir()
    chain = EmbeddedChain(empty, site.clock)
    server = RpcServer(chain)
    await server.start()
    try:
        anchorer = site.anchorer(rpc_url=server.url)
        for _ in range(2):
            state = await site.step(anchorer)
            assert state.status is AnchorStatus.FAILED
            assert f"there is no CheckpointLog at 0x{site.contract.hex()}: the chain was" in state.text
    finally:
        await server.stop()
        chain.close()


async def test_another_contract_at_the_address_is_no_log_of_ours(site: Site) -> None:
    await site.append("a")
    await site.publish()
    state = await site.step(site.anchorer(contract="0x" + "00" * 19 + "02"))
    assert state.status is AnchorStatus.FAILED
    assert "there is no CheckpointLog" in state.text


async def test_a_chain_that_was_set_back_gets_the_newest_again_without_any_news(
    site: Site, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    older.mkdir()
    for name in ("chain.db", "chain.db-wal"):
        (older / name).write_bytes((site.directory / name).read_bytes())
    await site.append("a")
    await site.publish()
    await site.step()
    chain = EmbeddedChain(older, site.clock)
    server = RpcServer(chain)
    await server.start()
    try:
        state = await site.step(site.anchorer(rpc_url=server.url))
        assert (state.status, state.anchored) == (AnchorStatus.IDLE, 1)
        assert chain.head().block_number == 2
    finally:
        await server.stop()
        chain.close()


async def test_a_key_file_without_key_is_refused(site: Site) -> None:
    path = site.directory / "bad.key"
    path.touch(mode=0o600)
    path.write_text("zz\n")
    with pytest.raises(KeyFileError, match="no chain key"):
        site.anchorer(key_file=path)


async def test_a_contract_younger_than_the_confirmations_is_waited_for(site: Site) -> None:
    anchorer = site.anchorer(confirmations=2)
    await site.append("a")
    await site.publish()
    for _ in range(2):
        state = await site.step(anchorer)
        assert (state.status, state.anchored, site.blocks()) == (AnchorStatus.WAITING, 0, 1), state.text
    key = ChainKey.load(site.directory / "chain.key")
    async with Node.open(site.server.url, 5) as node:
        for _ in range(2):
            await node.deploy(key, key.address)
    state = await site.step(anchorer)
    assert (state.status, state.anchored, site.blocks()) == (AnchorStatus.IDLE, 1, 3), state.text
