"""What a chain must do to carry anchors. `pytest tests/ledger --rpc-url URL` asks it of the chain there: it
must have Cancun's rules, an archive of the last minutes, and free gas or an unlocked account with some.
"""

from __future__ import annotations

import asyncio

import pytest

from ledger import store
from ledger.anchor import Anchorer, AnchorState, AnchorStatus
from ledger.chain_key import ChainKey
from ledger.checkpoint import SigningKey
from ledger.merkle import EMPTY_ROOT
from ledger.node import Node, publish_call, publish_transaction
from ledger.receipt import commitment
from ledger.verify import verify_receipt
from tests.ledger.conftest import ORIGIN, ChainSite, laid_line, nothing_is_signed
from tests.ledger.test_independent import HEADER, LEAF, run

MAX_GAS = 36_000
PATIENCE_S = 60


async def settled(site: ChainSite, anchorer: Anchorer | None = None) -> AnchorState:
    """How anchoring stands once the chain has mined what was sent, at once or with its next block."""
    anchorer = anchorer or site.anchorer()
    for _ in range(PATIENCE_S):
        state = await site.step(anchorer)
        if state.status is not AnchorStatus.WAITING:
            break
        await asyncio.sleep(1)
    return state


async def transactions(site: ChainSite) -> int:
    """How many transactions of the publisher are mined, without that which made the contract."""
    key = ChainKey.load(site.directory / "chain.key")
    async with Node.open(site.url, 30) as node:
        return await node.nonce(key.address, await node.head(site.chain_id, site.contract)) - 1


async def publish(
    site: ChainSite, node: Node, before: tuple[int, bytes], after: tuple[int, bytes]
) -> dict[str, str]:
    """The receipt of a transaction that publishes by hand."""
    key = ChainKey.load(site.directory / "chain.key")
    head = await node.head(site.chain_id, site.contract)
    nonce = await node.nonce(key.address, head)
    made = publish_transaction(
        site.chain_id,
        site.contract,
        nonce=nonce,
        gas=100_000,
        fees=head.fees,
        data=publish_call(*before, *after),
    )
    digest = await node._web3.eth.send_raw_transaction(key.sign(made))
    receipt = await node._web3.eth.wait_for_transaction_receipt(digest, timeout=PATIENCE_S)
    return {name: str(receipt[name]) for name in ("status", "gasUsed", "blockNumber")}  # type: ignore[literal-required] # names of a TypedDict


async def test_a_fresh_contract_holds_the_empty_tree(any_site: ChainSite) -> None:
    async with Node.open(any_site.url, 30) as node:
        head = await node.head(any_site.chain_id, any_site.contract)
        assert head.word == commitment(0, EMPTY_ROOT)
        assert await node.published(any_site.contract, 0, head.number) == []
        assert await node.block_hash(head.number + 100_000) is None


async def test_a_checkpoint_is_anchored_and_a_receipt_verifies_offline_by_the_scripts_too(
    any_site: ChainSite,
) -> None:
    await any_site.append("a", "b", "c")
    await any_site.publish()
    state = await settled(any_site)
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 3), state.text
    async with any_site.database.read() as conn:
        made, receipt = await any_site.log.receipt(conn, 1)
        trust = await any_site.log.trust(conn)
    assert verify_receipt(made, receipt, trust).complete
    files = {"record.json": made.to_file(), "receipt": receipt.to_file(), "trust.toml": trust.to_file()}
    for name, content in files.items():
        (any_site.directory / name).write_bytes(content)
    record_file, receipt_file, trust_file = (str(any_site.directory / name) for name in files)
    key, other = (str(key.verifier) for key in (any_site.log, SigningKey.generate(ORIGIN)))
    found = run(LEAF, [[record_file, receipt_file, known] for known in (key, other)])
    assert [code for code, _ in found] == [0, 1]
    block = f"0x{receipt.anchor.block().hash.hex()}"
    where = ["--chain", str(any_site.chain_id), "--contract", f"0x{any_site.contract.hex()}", "--block"]
    known = [[*where, block], ["--trust", trust_file], [*where, f"0x{'00' * 32}"]]
    found = run(HEADER, [[receipt_file, *words] for words in known])
    assert [code for code, _ in found] == [0, 0, 1]


async def test_a_backlog_is_one_transaction(any_site: ChainSite) -> None:
    for number in range(5):
        await any_site.append(f"a{number}", f"b{number}")
        await any_site.publish()
    assert (await settled(any_site)).anchored == 10
    assert await transactions(any_site) == 1


async def test_a_step_costs_less_than_the_budget_whatever_its_size(any_site: ChainSite) -> None:
    small, large = (1, bytes([1] * 32)), (2**63, bytes([255] * 32))
    async with Node.open(any_site.url, 30) as node:
        first = await publish(any_site, node, (0, EMPTY_ROOT), small)
        later = await publish(any_site, node, small, large)
        found = await node.published(any_site.contract, 0, int(later["blockNumber"]))
    for receipt in (first, later):
        assert receipt["status"] == "1"
        assert int(receipt["gasUsed"]) <= MAX_GAS
    assert [(step.size, step.root) for step in found] == [small, large]


async def test_a_step_from_another_checkpoint_changes_nothing(any_site: ChainSite) -> None:
    async with Node.open(any_site.url, 30) as node:
        receipt = await publish(any_site, node, (7, EMPTY_ROOT), (9, bytes(32)))
        head = await node.head(any_site.chain_id, any_site.contract)
        found = await node.published(any_site.contract, 0, head.number)
    assert (receipt["status"], head.word, found) == ("0", commitment(0, EMPTY_ROOT), [])


@pytest.mark.parametrize("lost", ["lost_requests", "lost_answers"])
async def test_a_line_cut_while_sending_ends_in_one_transaction(lost: str, any_site: ChainSite) -> None:
    await any_site.append("a")
    await any_site.publish()
    async with laid_line(any_site.url) as line:
        setattr(line, lost, {"eth_sendRawTransaction"})
        assert (await any_site.step(any_site.anchorer(rpc_url=line.url))).status is AnchorStatus.CHAIN_DOWN
        setattr(line, lost, set())
        state = await settled(any_site, any_site.anchorer(rpc_url=line.url))
        assert len(set(line.sent)) == 1
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 1)
    assert await transactions(any_site) == 1
    assert await nothing_is_signed(any_site)


async def test_a_nonce_that_another_transaction_took_is_replaced(any_site: ChainSite) -> None:
    await any_site.append("a")
    await any_site.publish()
    async with laid_line(any_site.url) as line:
        line.lost_requests = {"eth_sendRawTransaction"}
        await any_site.step(any_site.anchorer(rpc_url=line.url))
    async with Node.open(any_site.url, 30) as node:
        assert (await publish(any_site, node, (7, EMPTY_ROOT), (9, bytes(32))))["status"] == "0"
    state = await settled(any_site)
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 1), state.text
    assert await transactions(any_site) == 2


async def test_a_key_that_may_not_publish_sends_nothing(any_site: ChainSite) -> None:
    ChainKey.create(any_site.directory / "other.key")
    await any_site.append("a")
    await any_site.publish()
    async with laid_line(any_site.url) as line:
        anchorer = any_site.anchorer(key_file=any_site.directory / "other.key", rpc_url=line.url)
        assert (await any_site.step(anchorer)).status is AnchorStatus.FAILED
        assert line.sent == []


async def test_a_kept_transaction_is_sent_with_the_same_bytes(any_site: ChainSite) -> None:
    await any_site.append("a")
    await any_site.publish()
    async with laid_line(any_site.url) as line:
        line.lost_requests = {"eth_sendRawTransaction"}
        await any_site.step(any_site.anchorer(rpc_url=line.url))
        async with any_site.database.read() as conn:
            kept = await store.signed_transition(conn)
        assert kept is not None
        await any_site.append("b")  # news do not change what is on its way
        await any_site.publish()
        line.lost_requests = set()
        state = await settled(any_site, any_site.anchorer(rpc_url=line.url))
        assert line.sent[0] == "0x" + kept.raw_transaction.hex()
    assert (state.anchored, await transactions(any_site)) == (2, 2)
