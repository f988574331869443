"""Anchors on a chain whose newest blocks may still go: what a fork takes away is noticed and made good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger import store
from ledger.anchor import Anchorer, AnchorState, AnchorStatus
from ledger.chain_key import ChainKey
from ledger.checkpoint import SigningKey
from ledger.log import Log
from ledger.node import GWEI, Node
from ledger.settings import LOOK_AGAIN
from ledger.state import Header
from tests.ledger.conftest import ORIGIN, ChainSite, SteppedClock, nothing_is_signed
from tests.ledger.ground import ANVIL_CHAIN_ID, AnvilGround
from vtn.store import Database


@pytest.fixture
async def ground(anvil_url: str) -> AsyncIterator[AnvilGround]:
    opened = AnvilGround(anvil_url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def site(
    tmp_path: Path, database: Database, ground: AnvilGround, clock: SteppedClock
) -> AsyncIterator[ChainSite]:
    key = ChainKey.create(tmp_path / "chain.key")
    await ground.fund(key.address)
    async with Node.open(ground.url, 30) as node:
        contract = await node.deploy(key, key.address)
    for _ in range(2):  # money that came from nowhere is in no proof of the blocks before
        await ground.do("mine")
    log = Log(ORIGIN, SigningKey.generate(ORIGIN))
    made = ChainSite(tmp_path, database, ground.url, ANVIL_CHAIN_ID, contract, clock, log)
    yield made
    await made.close()


async def grow(site: ChainSite, key: str) -> None:
    await site.append(key)
    await site.publish()


async def settled(site: ChainSite, anchorer: Anchorer | None = None) -> AnchorState:
    """How anchoring stands when the node, which answers before it mines, has mined."""
    anchorer = anchorer or site.anchorer()
    while (state := await site.step(anchorer)).text == "a transaction is sent and not mined yet":
        pass
    return state


async def proof_is_on_the_chain(site: ChainSite) -> bool:
    async with site.database.read() as conn:
        newest = await store.newest_anchor(conn)
    assert newest is not None
    header = Header.decode(newest[1].header)
    async with Node.open(site.url, 30) as node:
        return await node.block_hash(header.number) == header.hash


async def anchored_sizes(site: ChainSite) -> list[int]:
    async with site.database.read() as conn:
        return [size for size, _ in await store.anchors(conn, 2**62, 100)]


@pytest.mark.goal(79)
async def test_an_anchor_that_a_fork_took_away_is_made_again(site: ChainSite, ground: AnvilGround) -> None:
    anchorer = site.anchorer()
    for key in "abc":
        await grow(site, key)
        await settled(site, anchorer)
    await ground.do("reorg", 2)
    site.clock.advance(LOOK_AGAIN.total_seconds())
    state = await settled(site, anchorer)
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 3), state.text
    # The second is gone with its block, and the third came upon the first.
    assert await anchored_sizes(site) == [3, 1]
    assert await proof_is_on_the_chain(site)
    assert await nothing_is_signed(site)


async def test_a_proof_in_a_block_that_is_gone_is_made_anew(site: ChainSite, ground: AnvilGround) -> None:
    anchorer = site.anchorer()
    await grow(site, "a")
    await settled(site, anchorer)
    await ground.mine_again(1)
    assert not await proof_is_on_the_chain(site)
    site.clock.advance(LOOK_AGAIN.total_seconds())
    state = await settled(site, anchorer)
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 1), state.text
    assert await proof_is_on_the_chain(site)
    assert await anchored_sizes(site) == [1]


async def test_what_another_fork_holds_between_is_noted_too(site: ChainSite, ground: AnvilGround) -> None:
    for key in "ab":
        await grow(site, key)
        await settled(site)
    await ground.mine_again(2)
    state = await settled(site)  # after a restart
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 2), state.text
    assert await anchored_sizes(site) == [2, 1]
    async with site.database.read() as conn:
        rows = await store.anchors(conn, 2**62, 100)
    async with Node.open(site.url, 30) as node:
        for _, anchor in rows:
            header = Header.decode(anchor.header)
            assert await node.block_hash(header.number) == header.hash


async def test_an_anchor_counts_when_enough_blocks_follow(site: ChainSite, ground: AnvilGround) -> None:
    anchorer = site.anchorer(confirmations=2)
    await grow(site, "a")
    for _ in range(2):
        state = await settled(site, anchorer)
        assert (state.status, state.anchored) == (AnchorStatus.WAITING, 0), state.text
    assert "2 blocks must follow" in state.text
    await ground.do("reorg", 1)  # the block goes before it counted, and the same bytes are sent again
    assert (await settled(site, anchorer)).anchored == 0
    await ground.do("mine")
    assert (await settled(site, anchorer)).status is AnchorStatus.WAITING
    await ground.do("mine")
    state = await settled(site, anchorer)
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 1), state.text
    assert await proof_is_on_the_chain(site)
    async with site.database.read() as conn:
        ((_, anchor),) = await store.anchors(conn, 2**62, 100)
        assert await store.signed_transition(conn) is None
    async with Node.open(site.url, 30) as node:
        newest = await node.head(ANVIL_CHAIN_ID, site.contract)
    assert Header.decode(anchor.header).number == newest.number - 2


@pytest.mark.goal(79)
async def test_a_transaction_that_pays_too_little_is_replaced(site: ChainSite, ground: AnvilGround) -> None:
    anchorer = site.anchorer()
    await grow(site, "a")
    await ground.do("hold")
    assert (await site.step(anchorer)).status is AnchorStatus.WAITING
    await ground.set_price(100 * GWEI)
    await ground.do("empty")
    await grow(site, "b")
    async with site.database.read() as conn:
        first = await store.signed_transition(conn)
    assert (await site.step(anchorer)).status is AnchorStatus.WAITING
    async with site.database.read() as conn:
        second = await store.signed_transition(conn)
    assert first is not None
    assert second is not None
    assert (first.nonce, first.size, second.size) == (second.nonce, 1, 2)
    await ground.do("mine")
    state = await settled(site, anchorer)
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 2), state.text
    assert await anchored_sizes(site) == [2]
