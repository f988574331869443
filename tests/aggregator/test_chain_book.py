"""Agreements on the chain in a running aggregator: from the offer to the tokens, and what they refuse."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from aggregator import booking, store
from aggregator.api_agreements import OfferBody
from ledger import agreement_store
from ledger.agreement_contract import AgreementContract, call
from ledger.agreement_schema import call_table, settlement_table
from ledger.chain import EmbeddedChain
from ledger.contract_node import ContractNode
from ledger.node import ChainKey
from ledger.record import Record
from ledger.rpc import RpcServer
from ledger.setup import Deployed
from tests.aggregator import chain_scan
from tests.aggregator.conftest import (
    END,
    EVENING,
    START,
    Platform,
    Prepared,
    node_settings,
    running,
    write_settings,
)
from tests.aggregator.test_api import CALL
from tests.ledger.parties import copy_chain, make_programme
from vtn.store import Database

WINDOW_S, TERM_S = 600, 3600
PENNIES = 20
BY_HAND = {**CALL, "event_id": "by-hand-too"}


@dataclass
class Agreed:
    """A platform, its chain, and the accounts that act on it."""

    platform: Platform
    folder: Path
    url: str
    deployed: Deployed
    chain: EmbeddedChain

    def account(self, name: str) -> str:
        return f"0x{ChainKey.load(self.folder / f'{name}.key').address.hex()}"

    async def offer(self, status: int = 201, **changes: Any) -> Any:
        body = {
            "ven_name": "node-1",
            "account": self.account("node"),
            "arbiter": self.account("arbiter"),
            "starts_at": "2026-01-20T00:00:00Z",
            "expires_at": "2026-02-20T00:00:00Z",
            "payment_term_s": TERM_S,
            "dispute_window_s": WINDOW_S,
            **changes,
        }
        return await self.platform.post("/agreements", body, status=status)

    async def act(self, who: str, function: str, *arguments: object) -> None:
        key = ChainKey.load(self.folder / f"{who}.key")
        async with ContractNode.open(self.url, 30) as node:
            await node.transact(key, self.deployed.agreement, call(function, *arguments))

    async def agree(self, **changes: Any) -> str:
        """An agreement with the first node that is active on the chain and in the mirror."""
        offered = await self.offer(**changes)
        agreement_id: str = offered["id"]
        async with ContractNode.open(self.url, 30) as node:
            contract = AgreementContract(node, self.deployed.agreement)
            terms_hash = await contract.terms_hash(bytes.fromhex(agreement_id))
        await self.act("node", "accept", bytes.fromhex(agreement_id), terms_hash)
        (seen,) = (await self.platform.post("/agreements/look"))["agreements"]
        assert (offered["state"], seen["state"]) == ("proposed", "active")
        return agreement_id

    async def balance(self) -> int:
        async with ContractNode.open(self.url, 30) as node:
            contract = AgreementContract(node, self.deployed.agreement)
            return await contract.token_balance(bytes.fromhex(self.account("node")[2:]))


@pytest.fixture(scope="module")
def programme(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Deployed]:
    folder = tmp_path_factory.mktemp("programme")
    return folder, asyncio.run(make_programme(folder))


@pytest.fixture
async def agreed(
    prepared: Prepared, programme: tuple[Path, Deployed], tmp_path: Path
) -> AsyncIterator[Agreed]:
    copy_chain(programme[0], tmp_path, ["*.key"])
    boxes = prepared.copy(tmp_path)
    holder: list[Platform] = []
    chain = EmbeddedChain(tmp_path, lambda: holder[0].clock() if holder else START)
    server = RpcServer(chain)
    await server.start()
    anchors = ChainKey.create(tmp_path / "chain.key")
    async with ContractNode.open(server.url, 30) as node:
        contract = await node.deploy(anchors, anchors.address)
    where = {"rpc_url": server.url, "contract": f"0x{contract.hex()}", "key_file": tmp_path / "chain.key"}
    agreements = {
        "contract": f"0x{programme[1].agreement.hex()}",
        "key_file": tmp_path / "aggregator.key",
    }
    nodes = [node_settings(n) for n in (1, 2, 3)]
    settings = write_settings(tmp_path, nodes, chain=where, agreements=agreements)
    async with running(settings, boxes, START + timedelta(minutes=1)) as platform:
        holder.append(platform)
        yield Agreed(platform, tmp_path, server.url, programme[1], chain)
    await server.stop()
    chain.close()


async def test_from_the_offer_to_the_nodes_tokens_and_every_hash_is_a_leafs(agreed: Agreed) -> None:
    agreement_id = await agreed.agree()
    platform = agreed.platform
    await platform.ask(3)
    await platform.jump(END)
    statements = {s["ven_id"]: s for s in await platform.settled(2)}
    sealed = await platform.post("/seal", {"timeout_s": 60})
    booked = await platform.get(f"/agreements/{agreement_id}")
    (event,) = booked["events"]
    amount = statements[booked["ven_id"]]["amount_minor"]
    assert (event["settled"]["status"], event["text"]) == ("open", "")
    assert event["settled"]["amount_minor"] == amount > PENNIES
    leaves = {}
    for index in range(sealed["leaves"]):
        files = await platform.get(f"/receipts/{index}")
        record = Record.from_file(files["record"].encode())
        leaves[record.leaf().hex()] = record.kind
    kinds = [leaves[event[f"{name}_hash"]] for name in ("signal", "response", "measurement")]
    assert kinds == ["signal", "opt", "statement"]
    await platform.clock.move(END + timedelta(seconds=WINDOW_S + 300))
    await platform.post("/agreements/look")
    (event,) = (await platform.get(f"/agreements/{agreement_id}"))["events"]
    assert (event["state"], event["settled"]["status"]) == ("paid", "paid")
    await agreed.act("node", "withdraw", bytes.fromhex(agreement_id))
    assert await agreed.balance() == amount


async def test_a_suspended_node_is_not_called_and_the_operator_is_told_the_clause(agreed: Agreed) -> None:
    agreement_id = await agreed.agree()
    platform = agreed.platform
    refused = await agreed.offer(status=422)
    assert refused["error"] == f"node node-1 has an agreement that is not over: {agreement_id}"
    unknown = await agreed.offer(status=404, ven_name="node-9")
    assert unknown["error"] == "there is no node node-9"
    suspended = await platform.post(f"/agreements/{agreement_id}/suspend", {"reason": 3})
    assert (suspended["state"], suspended["why"]) == ("suspended", "suspended by the aggregator")
    await platform.jump(START + timedelta(hours=14))
    words = "is suspended (suspended by the aggregator), active is agreed"
    refused = await platform.post("/requests", {**EVENING, "nodes": {"node-1": 1}}, status=422)
    assert words in refused["error"]
    refused = await platform.post("/vtn/events", BY_HAND, status=422)
    assert words in str(refused)
    await platform.post(f"/agreements/{agreement_id}/lift")
    answer = await platform.post("/requests", {**EVENING, "nodes": {"node-1": 1}}, status=201)
    assert [node["ven_name"] for node in answer["nodes"]] == ["node-1"]


async def test_an_offer_that_the_contract_cannot_hold_is_refused_and_not_kept(
    agreed: Agreed, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = OfferBody.offer
    for name in ("starts_at", "expires_at"):
        for wrong in ("1026-01-20T00:00:00Z", "9999-12-31T23:59:59-14:00"):
            refused = await agreed.offer(status=400, **{name: wrong})
            assert refused["error"].startswith(f"{name}: Input should be ")
            assert f"(given '{wrong}')" in refused["error"]
    monkeypatch.setattr(OfferBody, "offer", lambda body: replace(offered(body), payment_term_s=2**32))
    refused = await agreed.offer(status=400)
    assert refused["error"] == "DRAgreement.propose: paymentTermS: 4294967296 is no uint32"
    assert (await agreed.platform.get("/agreements"))["agreements"] == []


async def test_a_statement_is_not_lost_while_the_chain_shows_an_older_state(agreed: Agreed) -> None:
    agreement_id = bytes.fromhex(await agreed.agree())
    platform = agreed.platform
    await platform.ask(3)
    await platform.jump(END)
    await platform.settled(2)
    await platform.post("/seal", {"timeout_s": 60})
    await platform.stop()
    db = await Database.open(platform.settings.database)
    async with db.write() as conn:  # as if the chain had been behind when the statements were handed over
        await agreement_store.see_agreement(conn, agreement_id, None, END)
        await conn.execute(delete(settlement_table))
        await store.move(conn, booking.BOOKED, 0)
    await booking.hand_over(db, END)
    async with db.read() as conn:
        (kept,) = await agreement_store.accounts(conn, agreement_id)
    assert (kept.state, kept.settled) == ("open", None)
    async with db.write() as conn:  # an offer that never was on the chain covers nothing
        await conn.execute(delete(settlement_table))
        await conn.execute(delete(call_table))
        await store.move(conn, booking.BOOKED, 0)
    await booking.hand_over(db, END)
    async with db.read() as conn:
        assert await agreement_store.accounts(conn, agreement_id) == []
    await db.close()


async def test_a_renewed_agreement_has_the_terms_of_the_settings(agreed: Agreed) -> None:
    await agreed.agree(expires_at="2026-01-20T02:00:00Z")
    platform = agreed.platform
    await platform.stop()
    nodes = [node_settings(n, capacity_kw=capacity) for n, capacity in ((1, 1), (2, 2))]
    changed = write_settings(agreed.folder, nodes).nodes
    platform.settings = platform.settings.model_copy(update={"nodes": changed})
    await platform.clock.move(END)
    await platform.start()
    agreement_id = bytes.fromhex((await agreed.offer())["id"])
    async with ContractNode.open(agreed.url, 30) as node:
        standing = await AgreementContract(node, agreed.deployed.agreement).standing(agreement_id)
    assert standing is not None
    assert standing.terms.capacity_w == 1000
    refused = await agreed.offer(status=404, ven_name="node-3")
    assert refused["error"] == "there is no node node-3"


@pytest.mark.goal(85)
async def test_a_stranger_who_reads_the_chain_finds_nobodys_name_and_no_record(agreed: Agreed) -> None:
    agreement_id = await agreed.agree()
    await agreed.platform.ask(3)
    await agreed.platform.jump(END)
    await agreed.platform.settled(2)
    await agreed.platform.post("/seal", {"timeout_s": 60})
    (event,) = (await agreed.platform.get(f"/agreements/{agreement_id}"))["events"]
    reason = "the meter stood still"
    body = {"event_id": event["event_id"], "reason": reason}
    told = await agreed.platform.post(f"/agreements/{agreement_id}/dispute", body)
    salt = bytes.fromhex(told["reason_salt"])
    database = agreed.platform.settings.database
    public = b"".join([*chain_scan.said(agreed.chain), *chain_scan.tree(database)])
    assert bytes.fromhex(event["measurement_hash"]) in public
    assert sha256(salt + reason.encode()).digest() in public
    assert sha256(reason.encode()).digest() not in public
    hidden = [(name, form) for name in chain_scan.names(database) for form in chain_scan.forms(name)]
    assert len(hidden) > 300
    assert [name for name, form in hidden if form in public] == []
    assert chain_scan.found_by_guessing(database, public) == 0


@pytest.mark.long
async def test_the_terms_on_the_chain_decide_not_the_settings_of_today(agreed: Agreed) -> None:
    await agreed.agree()
    platform = agreed.platform
    await platform.stop()
    nodes = [node_settings(n, capacity_kw=1) for n in (1, 2, 3)]
    changed = write_settings(agreed.folder, nodes).nodes
    platform.settings = platform.settings.model_copy(update={"nodes": changed})
    await platform.start()
    capacities = {
        node["ven_name"]: node["agreement"]["capacity_kw"] for node in (await platform.get("/nodes"))["nodes"]
    }
    assert capacities == {"node-1": "50", "node-2": "1", "node-3": "1"}


@pytest.mark.long
async def test_what_the_contract_refuses_is_told_with_the_clause(agreed: Agreed) -> None:
    agreement_id = await agreed.agree()
    refused = await agreed.platform.post(f"/agreements/{agreement_id}/lift")
    assert refused["state"] == "active"  # nothing to lift is nothing to do
    await agreed.act("arbiter", "suspend", bytes.fromhex(agreement_id), 1)
    refused = await agreed.platform.post(f"/agreements/{agreement_id}/lift", status=422)
    assert refused["error"].startswith("lift: CallerMayNot(")
    missing = await agreed.platform.get(f"/agreements/{'ab' * 32}", status=404)
    assert missing["error"] == f"there is no agreement '{'ab' * 32}'"


async def test_without_the_section_every_question_is_refused(platform: Platform) -> None:
    refused = await platform.get("/agreements", status=422)
    assert refused["error"] == "no agreements on a chain are configured: add [agreements]"
