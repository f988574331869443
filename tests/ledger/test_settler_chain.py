"""Settling on a chain whose transactions hang, whose blocks are taken back, and with many calls at a time."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import astuple
from pathlib import Path

import pytest

from ledger import agreement_store as store
from ledger import call_store
from ledger.agreement import Suspender
from ledger.agreement_contract import AgreementContract
from ledger.call_store import Order, SignedCall
from ledger.contract_node import ContractNode
from ledger.node import GWEI
from ledger.settler import SettlerStatus
from ledger.setup import Deployed
from tests.ledger.anvil_programme import AnvilProgramme
from tests.ledger.conftest import laid_line

MANY = 12


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, anvil_url: str) -> tuple[Path, Deployed]:
    return asyncio.run(AnvilProgramme.make(tmp_path_factory.mktemp("programme"), anvil_url))


@pytest.fixture
async def programme(
    deployed: tuple[Path, Deployed], database_path: Path, anvil_url: str
) -> AsyncIterator[AnvilProgramme]:
    async with AnvilProgramme.opened(deployed, database_path, anvil_url) as made:
        yield made


async def agreed(programme: AnvilProgramme, count: int = 1) -> list[bytes]:
    """Active agreements."""
    offered = [await programme.propose() for _ in range(count)]
    await programme.mined_step()
    for agreement_id in offered:
        await programme.accept(agreement_id)
    await programme.step()
    return offered


async def order(programme: AnvilProgramme, kind: str, agreement_id: bytes, argument: str = "") -> None:
    async with programme.database.write() as conn:
        await call_store.add_order(conn, Order(0, kind, agreement_id, None, argument), programme.clock())


async def order_states(programme: AnvilProgramme) -> list[str]:
    async with programme.database.read() as conn:
        return [each.state for each in await call_store.orders(conn, open_only=False)]


async def suspender(programme: AnvilProgramme, agreement_id: bytes) -> Suspender:
    async with ContractNode.open(programme.url, 30) as node:
        standing = await AgreementContract(node, programme.deployed.agreement).standing(agreement_id)
    assert standing is not None
    return standing.suspender


async def mirrored(programme: AnvilProgramme, agreement_id: bytes) -> Suspender:
    """The same by what was kept, nobody asked."""
    async with programme.database.read() as conn:
        held = await store.find(conn, agreement_id)
    assert held is not None
    assert held.standing is not None
    return held.standing.suspender


async def on_their_way(programme: AnvilProgramme) -> list[SignedCall]:
    async with programme.database.read() as conn:
        return await call_store.signed_calls(conn)


@pytest.mark.goal(48)
async def test_a_call_that_pays_too_little_is_replaced_by_one_with_its_nonce(
    programme: AnvilProgramme,
) -> None:
    (agreement_id,) = await agreed(programme)
    before = await programme.sent()
    await programme.price(GWEI)
    await programme.ground.do("hold")
    await order(programme, "suspend", agreement_id, "7")
    assert (await programme.step()).status is SettlerStatus.WAITING
    (cheap,) = await on_their_way(programme)
    await programme.price(1000 * GWEI)
    await programme.ground.do("empty")
    (still,) = await on_their_way(programme)
    assert still == cheap
    assert (await programme.step()).status is SettlerStatus.WAITING
    (dear,) = await on_their_way(programme)
    assert (dear.goal, dear.nonce) == (cheap.goal, cheap.nonce)
    assert dear.raw_transaction != cheap.raw_transaction
    await programme.ground.do("mine")
    assert (await programme.step()).status is SettlerStatus.IDLE
    assert await suspender(programme, agreement_id) is Suspender.AGGREGATOR
    assert (await order_states(programme), await programme.sent()) == (["done"], before + 1)


@pytest.mark.goal(48)
async def test_orders_in_blocks_that_are_gone_are_sent_again_once(programme: AnvilProgramme) -> None:
    (agreement_id,) = await agreed(programme)
    before = await programme.sent()
    await order(programme, "suspend", agreement_id, "7")
    await order(programme, "lift", agreement_id)
    settler = programme.settler()
    for _ in range(2):
        await programme.mined_step(settler)
    assert (await order_states(programme), await programme.sent()) == (["done", "done"], before + 2)
    async with ContractNode.open(programme.url, 30) as node:
        newest = (await node.newest()).number
        first = await mined_in(programme, agreement_id, newest, 2)
    await programme.ground.do("reorg", newest - first + 1)
    assert await programme.sent() == before
    for _ in range(2):
        state = await programme.mined_step(settler)
    assert state.status is SettlerStatus.IDLE
    assert (await order_states(programme), await programme.sent()) == (["done", "done"], before + 2)
    assert await suspender(programme, agreement_id) is Suspender.NOBODY


@pytest.mark.goal(48)
async def test_an_order_whose_place_another_transaction_took_is_sent_again_behind_it(
    programme: AnvilProgramme,
) -> None:
    (agreement_id,) = await agreed(programme)
    before = await programme.sent()
    await order(programme, "suspend", agreement_id, "7")
    settler = programme.settler()
    await programme.mined_step(settler)
    async with ContractNode.open(programme.url, 30) as node:
        newest = (await node.newest()).number
        since = await mined_in(programme, agreement_id, newest)
    await programme.ground.do("reorg", newest - since + 1)
    await programme.act("aggregator", "propose", secrets.token_bytes(32), astuple(programme.terms()))
    assert await suspender(programme, agreement_id) is Suspender.NOBODY
    assert (await programme.mined_step(settler)).status is SettlerStatus.IDLE
    assert (await order_states(programme), await programme.sent()) == (["done"], before + 2)
    assert await suspender(programme, agreement_id) is Suspender.AGGREGATOR


async def test_an_offer_in_a_block_that_is_gone_is_made_again_with_the_same_bytes(
    programme: AnvilProgramme,
) -> None:
    offered = await programme.propose()
    settler = programme.settler()
    await programme.mined_step(settler)
    before = await programme.sent()
    async with ContractNode.open(programme.url, 30) as node:
        contract, newest = AgreementContract(node, programme.deployed.agreement), (await node.newest()).number
        await programme.ground.do("reorg", newest - (await mined_in(programme, offered, newest)) + 1)
        assert await contract.standing(offered) is None
        await programme.mined_step(settler)
        assert await contract.standing(offered) is not None
    assert (await programme.sent(), await programme.calls()) == (before, {"mined": 1})


async def mined_in(programme: AnvilProgramme, agreement_id: bytes, newest: int, count: int = 1) -> int:
    """The block of the last event, or the last but some, that names the agreement."""
    async with ContractNode.open(programme.url, 30) as node:
        for number in range(newest, 0, -1):
            count -= agreement_id in await node.named([programme.deployed.agreement], number, number)
            if not count:
                return number
    raise AssertionError("no event names it")


async def test_many_calls_share_a_block_each_agreements_own_stay_in_turn(programme: AnvilProgramme) -> None:
    offered = await agreed(programme, MANY)
    await programme.ground.do("hold")
    for agreement_id in offered:
        await order(programme, "suspend", agreement_id, "1")
        await order(programme, "lift", agreement_id)
    settler = programme.settler(in_flight=MANY - 2)
    assert (await programme.step(settler)).status is SettlerStatus.WAITING
    sent = await on_their_way(programme)
    assert [call.goal.split()[0] for call in sent] == ["suspend"] * (MANY - 2)
    for _ in range(4):
        await programme.ground.do("empty")
        await programme.step(settler)
    await programme.ground.do("mine")
    assert (await programme.step(settler)).status is SettlerStatus.IDLE
    assert await order_states(programme) == ["done"] * 2 * MANY


async def test_what_did_not_change_is_not_asked_again(
    programme: AnvilProgramme, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = await agreed(programme, 5)
    settler = programme.settler()
    await settler.refresh(programme.database, programme.clock())
    asked: list[bytes] = []
    standing = AgreementContract.standing

    async def counted(contract: AgreementContract, agreement_id: bytes, block: int | None = None) -> object:
        asked.append(agreement_id)
        return await standing(contract, agreement_id, block)

    monkeypatch.setattr(AgreementContract, "standing", counted)
    await programme.act("aggregator", "suspend", offered[2], 7)
    await settler.refresh(programme.database, programme.clock())
    assert asked == [offered[2]]
    await programme.ground.do("reorg", 1)
    await settler.refresh(programme.database, programme.clock())
    assert asked == [offered[2]] * 2
    async with programme.database.read() as conn:
        shown = [held.standing.suspender for held in await store.agreements(conn) if held.standing]
    assert shown == [Suspender.NOBODY] * 5


@pytest.mark.parametrize("lost", ["eth_getLogs", "eth_call"])
async def test_what_was_undone_is_asked_again_though_the_chain_failed_when_it_was_noticed(
    lost: str, programme: AnvilProgramme
) -> None:
    (agreement_id,) = await agreed(programme)
    async with laid_line(programme.url) as line:
        settler = programme.settler(rpc_url=line.url)
        assert await settler.refresh(programme.database, programme.clock())
        await programme.act("aggregator", "suspend", agreement_id, 7)
        assert await settler.refresh(programme.database, programme.clock())
        assert await mirrored(programme, agreement_id) is Suspender.AGGREGATOR
        await programme.ground.do("reorg", 1)
        line.lost_answers = {lost}
        assert not await settler.refresh(programme.database, programme.clock())
        line.lost_answers = set()
        assert await settler.refresh(programme.database, programme.clock())
        assert await mirrored(programme, agreement_id) is Suspender.NOBODY
        await settler.close()
