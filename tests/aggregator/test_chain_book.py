"""Agreements on the chain in a running aggregator: from the offer to the tokens, and what they refuse."""

import shutil
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from aggregator import booking, store
from aggregator.api_agreements import OfferBody
from aggregator.errors import SettingsError
from aggregator.server import Aggregator
from ledger import agreement_store
from ledger.agreement_contract import AgreementContract
from ledger.agreement_schema import agreement_table, settlement_table
from ledger.chain_key import ChainKey
from ledger.contract_node import ContractNode
from ledger.record import Record
from tests.aggregator import chain_scan
from tests.aggregator.agreed import WINDOW_S, Agreed
from tests.aggregator.conftest import (
    END,
    EVENING,
    START,
    HandClock,
    Platform,
    node_settings,
    write_settings,
)
from tests.aggregator.test_api import CALL
from vtn.store import Database

PENNIES = 20
BY_HAND = {**CALL, "event_id": "by-hand-too"}


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


async def test_a_call_that_was_notified_before_a_suspension_is_booked(agreed: Agreed) -> None:
    agreement_id = await agreed.agree()
    platform = agreed.platform
    await platform.ask(3)
    await platform.clock.move(START + timedelta(hours=14, minutes=8))  # after the notification
    await agreed.act("arbiter", "suspend", bytes.fromhex(agreement_id), 1)
    await platform.jump(END)
    await platform.settled(2)
    await platform.post("/seal", {"timeout_s": 60})
    shown = await platform.get(f"/agreements/{agreement_id}")
    (event,) = shown["events"]
    assert (shown["state"], shown["why"]) == ("suspended", "suspended by the arbiter")
    assert (event["settled"]["status"], event["text"]) == ("open", "")
    assert event["settled"]["penalty_waived"]
    assert event["settled"]["amount_minor"] > PENNIES


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
    async with db.read() as conn:
        (held,) = await agreement_store.agreements(conn)
        (first,) = await agreement_store.accounts(conn)
    assert held.standing is not None
    # As if the chain had been behind when the statements were handed over: before the offer, before the
    # acceptance. The same event has the same key each time.
    for shown in (None, replace(held.standing, accepted_at=0)):
        await forget_bookings(db)
        async with db.write() as conn:
            await agreement_store.see_agreements(conn, {agreement_id: shown}, END)
        await booking.hand_over(db, END)
        async with db.read() as conn:
            (kept,) = await agreement_store.accounts(conn, agreement_id)
        assert (kept.state, kept.settled, kept.event_key) == ("open", None, first.event_key)
    await forget_bookings(db)
    async with db.write() as conn:  # an offer that was never accepted covers nothing
        await conn.execute(update(agreement_table).values(accepted_at=None))
    await booking.hand_over(db, END)
    async with db.read() as conn:
        assert await agreement_store.accounts(conn, agreement_id) == []
    await db.close()


async def forget_bookings(db: Database) -> None:
    """As in a database that was restored from before they were handed over."""
    async with db.write() as conn:
        await conn.execute(delete(settlement_table))
        await store.move(conn, booking.BOOKED, 0)


async def test_the_salt_of_a_dispute_is_kept_before_the_chain_is_asked(agreed: Agreed) -> None:
    agreement_id = await agreed.agree()
    platform = agreed.platform
    await platform.ask(3)
    await platform.jump(END)
    await platform.settled(2)
    await platform.post("/seal", {"timeout_s": 60})
    (event,) = (await platform.get(f"/agreements/{agreement_id}"))["events"]
    await agreed.server.stop()
    body = {"event_id": event["event_id"], "reason": "the meter stood still"}
    await platform.post(f"/agreements/{agreement_id}/dispute", body)
    await platform.stop()
    await platform.start()
    (kept,) = (await platform.get(f"/agreements/{agreement_id}"))["disputes"]
    digest = sha256(bytes.fromhex(kept["reason_salt"]) + kept["reason"].encode()).hexdigest()
    assert (kept["event_id"], kept["reason"], kept["state"]) == (*body.values(), "open")
    assert kept["reason_hash"] == digest


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
    (dispute,) = told["disputes"]
    assert (dispute["event_id"], dispute["reason"]) == (event["event_id"], reason)
    salt = bytes.fromhex(dispute["reason_salt"])
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


def test_a_copy_of_the_key_that_anchors_is_no_key_of_its_own(tmp_path: Path) -> None:
    account = ChainKey.create(tmp_path / "chain.key").address
    shutil.copy(tmp_path / "chain.key", tmp_path / "aggregator.key")
    ChainKey.create(tmp_path / "own.key")
    where = {"rpc_url": "http://127.0.0.1:9", "contract": f"0x{bytes(20).hex()}"}

    def opened(name: str) -> Aggregator:
        chain, agreements = ({**where, "key_file": tmp_path / each} for each in ("chain.key", name))
        del agreements["rpc_url"]
        settings = write_settings(tmp_path, [node_settings(1)], chain=chain, agreements=agreements)
        clock = HandClock(START)
        return Aggregator(settings, clock, clock.sleep)

    with pytest.raises(SettingsError, match=f"agreements and chain have one account, 0x{account.hex()}:"):
        opened("aggregator.key")
    assert opened("own.key")


async def test_without_the_section_every_question_is_refused(platform: Platform) -> None:
    refused = await platform.get("/agreements", status=422)
    assert refused["error"] == "no agreements on a chain are configured: add [agreements]"
