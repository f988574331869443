"""Anchoring exactly once, against the real chain, through everything that can happen between the two."""

from __future__ import annotations

import pytest

from ledger import store
from ledger.anchor import ALARM_AFTER, AnchorStatus
from ledger.chain_key import ChainKey
from ledger.merkle import EMPTY_ROOT
from ledger.node import Node, publish_call, publish_transaction
from ledger.rpc import RpcServer
from ledger.settings import LOOK_AGAIN
from ledger.verify import verify_receipt
from tests.ledger.conftest import START, Site, nothing_is_signed
from tests.ledger.line import Line
from tests.ledger.test_rpc import call


async def test_a_checkpoint_is_anchored_and_its_proof_kept(site: Site) -> None:
    await site.append("a", "b")
    await site.publish()
    state = await site.step()
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 2)
    assert site.blocks() == 1
    async with site.database.read() as conn:
        made, receipt = await site.log.receipt(conn, 1)
        assert verify_receipt(made, receipt, await site.log.trust(conn)).complete


async def test_another_step_does_nothing_more(site: Site) -> None:
    await site.append("a")
    await site.publish()
    anchorer = site.anchorer()
    for _ in range(3):
        assert (await site.step(anchorer)).status is AnchorStatus.IDLE
    assert site.blocks() == 1


async def test_without_checkpoint_the_chain_is_not_asked(site: Site) -> None:
    await site.server.stop()
    await site.append("a")
    state = await site.step()
    assert (state.status, state.text) == (AnchorStatus.IDLE, "there is no checkpoint yet")


async def test_a_backlog_needs_one_transaction(site: Site) -> None:
    for number in range(5):
        await site.append(f"a{number}", f"b{number}")
        await site.publish()
    state = await site.step()
    assert state.anchored == 10
    assert site.blocks() == 1


async def test_a_chain_that_is_down_harms_nothing_and_is_caught_up(site: Site) -> None:
    port = int(site.server.url.rpartition(":")[2])
    anchorer = site.anchorer()
    await site.server.stop()
    for number in range(3):
        await site.append(str(number))
        await site.publish()
        state = await site.step(anchorer)
        assert state.status is AnchorStatus.CHAIN_DOWN
        site.clock.advance(60)
    assert anchorer.state is not None
    assert anchorer.state.since == START  # since the first failure, not since the last
    again = RpcServer(site.chain, port)
    await again.start()
    try:
        state = await site.step(anchorer)
    finally:
        await again.stop()
    assert (state.status, state.anchored, site.blocks()) == (AnchorStatus.IDLE, 3, 1)


async def test_after_a_quarter_of_an_hour_behind_there_is_an_alarm_until_all_is_anchored(
    site: Site, line: Line
) -> None:
    await site.append("a")
    await site.publish()
    anchorer = site.anchorer(rpc_url=line.url)
    line.lost_requests = {"eth_chainId"}
    assert not (await site.step(anchorer)).alarm
    site.clock.advance(ALARM_AFTER.total_seconds())
    line.lost_requests = {"eth_sendRawTransaction"}  # another trouble is no new beginning
    assert not (await site.step(anchorer)).alarm
    site.clock.advance(1)
    state = await site.step(anchorer)
    assert (state.alarm, state.behind_since) == (True, START)
    line.lost_requests = set()
    state = await site.step(anchorer)
    assert (state.status, state.alarm, state.behind_since) == (AnchorStatus.IDLE, False, None)


async def test_a_crash_between_keeping_and_sending_is_made_good_with_the_same_bytes(
    site: Site, line: Line
) -> None:
    await site.append("a")
    await site.publish()
    line.lost_requests = {"eth_sendRawTransaction"}
    assert (await site.step(site.anchorer(rpc_url=line.url))).status is AnchorStatus.CHAIN_DOWN
    async with site.database.read() as conn:
        kept = await store.signed_transition(conn)
    assert kept is not None
    assert site.blocks() == 0
    line.lost_requests = set()
    state = await site.step(site.anchorer(rpc_url=line.url))
    assert (state.status, state.anchored, site.blocks()) == (AnchorStatus.IDLE, 1, 1)
    assert line.sent == ["0x" + kept.raw_transaction.hex()]


async def test_a_crash_between_sending_and_noting_does_not_send_twice(site: Site, line: Line) -> None:
    await site.append("a")
    await site.publish()
    line.lost_answers = {"eth_sendRawTransaction"}
    assert (await site.step(site.anchorer(rpc_url=line.url))).status is AnchorStatus.CHAIN_DOWN
    assert (site.blocks(), await site.anchored()) == (1, 0)
    line.lost_answers = set()
    state = await site.step(site.anchorer(rpc_url=line.url))
    assert (state.status, state.anchored, site.blocks()) == (AnchorStatus.IDLE, 1, 1)
    assert len(line.sent) == 1
    assert await nothing_is_signed(site)


@pytest.mark.parametrize(
    "method",
    [
        "eth_chainId",
        "eth_getBlockByNumber",
        "eth_getTransactionCount",
        "eth_call",
        "eth_sendRawTransaction",
        "eth_getProof",
    ],
)
@pytest.mark.parametrize("lost", ["lost_requests", "lost_answers"])
async def test_a_line_cut_at_any_call_ends_in_one_anchor(
    method: str, lost: str, site: Site, line: Line
) -> None:
    await site.append("a")
    await site.publish()
    setattr(line, lost, {method})
    assert (await site.step(site.anchorer(rpc_url=line.url))).status is AnchorStatus.CHAIN_DOWN
    await site.append("b")
    await site.publish()
    setattr(line, lost, set())
    state = await site.step(site.anchorer(rpc_url=line.url))
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 2)
    assert site.blocks() == len(set(line.sent)) <= 2
    assert await nothing_is_signed(site)


async def test_a_sent_transaction_that_is_not_mined_yet_is_waited_for(site: Site, line: Line) -> None:
    await site.append("a")
    await site.publish()
    # What the chain says stays as it was before the transaction.
    line.changed_answers = {
        "eth_getBlockByNumber": (await call(site.server.url, "eth_getBlockByNumber", "latest", False))[
            "result"
        ]
    }
    anchorer = site.anchorer(rpc_url=line.url)
    assert (await site.step(anchorer)).status is AnchorStatus.WAITING
    assert (await site.step(anchorer)).status is AnchorStatus.WAITING
    assert len(set(line.sent)) == 1
    line.changed_answers = {}
    assert (await site.step(anchorer)).status is AnchorStatus.IDLE
    assert site.blocks() == 1


async def test_a_chain_that_answers_nonsense_counts_as_one_that_does_not_answer(
    site: Site, line: Line
) -> None:
    await site.append("a")
    await site.publish()
    line.changed_answers = {"eth_getTransactionCount": None}
    state = await site.step(site.anchorer(rpc_url=line.url))
    assert (state.status, "cannot be read" in state.text) == (AnchorStatus.CHAIN_DOWN, True)


async def test_a_nonce_that_another_transaction_took_is_replaced(site: Site, line: Line) -> None:
    await site.append("a")
    await site.publish()
    line.lost_requests = {"eth_sendRawTransaction"}
    await site.step(site.anchorer(rpc_url=line.url))
    key = ChainKey.load(site.directory / "chain.key")
    async with Node.open(site.server.url, 5) as node:
        await node.deploy(key, key.address)
    state = await site.step()
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 1)
    assert site.blocks() == 2  # the other transaction and ours


async def test_a_kept_transaction_that_expects_another_head_is_not_sent(site: Site, line: Line) -> None:
    await site.append("a")
    await site.publish()
    await site.step()
    await site.append("b")
    await site.publish()
    key = ChainKey.load(site.directory / "chain.key")
    async with Node.open(site.server.url, 5) as node:
        head = await node.head(site.settings().chain_id, site.contract)
        nonce = await node.nonce(key.address, head)
    data = publish_call(0, EMPTY_ROOT, 2, bytes(32))  # as if the first anchor had never been
    stale = publish_transaction(
        site.settings().chain_id, site.contract, nonce=nonce, gas=100_000, fees=head.fees, data=data
    )
    async with site.database.write() as conn:
        await store.add_transition(conn, store.Transition(2, 0, nonce, key.sign(stale)), START)
    state = await site.step(site.anchorer(rpc_url=line.url))
    assert (state.status, state.anchored, site.blocks()) == (AnchorStatus.IDLE, 2, 2)
    assert len(line.sent) == 1


async def test_with_nothing_new_the_chain_is_asked_again_after_a_while(site: Site) -> None:
    await site.append("a")
    await site.publish()
    anchorer = site.anchorer()
    await site.step(anchorer)
    await site.server.stop()
    site.clock.advance(LOOK_AGAIN.total_seconds() - 1)
    assert (await site.step(anchorer)).status is AnchorStatus.IDLE
    site.clock.advance(1)
    for _ in range(2):
        assert (await site.step(anchorer)).status is AnchorStatus.CHAIN_DOWN
