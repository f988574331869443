"""Settling exactly once, against the real contracts, through everything that can happen in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import astuple
from pathlib import Path

import pytest
from aiohttp import web

from ledger import agreement_store as store
from ledger import call_store
from ledger.agreement import Outcome, State, Status
from ledger.settler import SettlerStatus
from tests.ledger.line import Line
from tests.ledger.parties import DAY_S, HOUR_S, NODE, TERM_S, WINDOW_S, Programme, Template, made_template
from tests.ledger.test_rpc import call

INCENTIVE = 2100  # 30 minor units for each of 70.001 kWh, half-even
SEND = "eth_sendRawTransaction"
CUTS = {
    ("book", "lost_requests", SEND),
    ("book", "lost_answers", SEND),
    ("pay", "lost_requests", SEND),
    ("pay", "lost_answers", SEND),
}
"""The cuts that the gate makes; the others are for the long run."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, database_template: Path) -> Template:
    return asyncio.run(made_template(tmp_path_factory.mktemp("programme"), database_template))


@pytest.fixture
async def programme(template: Template, tmp_path: Path) -> AsyncIterator[Programme]:
    async with template.opened(tmp_path) as made:
        made.clock.advance(DAY_S)
        made.agreement_id = template.agreement_id
        yield made


@pytest.fixture
async def line(programme: Programme) -> AsyncIterator[Line]:
    made = Line(programme.server.url)
    app = web.Application()
    app.router.add_post("/", made.forward)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def settled_event(programme: Programme) -> bytes:
    """An agreement and an event under it that is over and has its statement, not booked yet."""
    assert await programme.statement(programme.agreement_id)
    return programme.agreement_id


async def standing_state(programme: Programme) -> State:
    async with programme.database.read() as conn:
        held = await store.in_force(conn, NODE)
    assert held is not None
    assert held.standing is not None
    return held.standing.state_at(int(programme.clock().timestamp()))


async def test_from_the_statement_to_the_token_balance(programme: Programme) -> None:
    agreement_id = await settled_event(programme)
    settler = programme.settler()
    assert (await programme.step(settler)).status is SettlerStatus.IDLE
    booked = await programme.settled()
    assert booked is not None
    assert (booked.status, booked.incentive_minor, booked.penalty_minor) == (Status.OPEN, INCENTIVE, 0)
    programme.clock.advance(WINDOW_S + 1)
    assert (await programme.step(settler)).status is SettlerStatus.IDLE
    kept = await programme.account()
    assert kept.settled is not None
    assert (kept.state, kept.settled.status) == ("paid", Status.PAID)
    await programme.act("node", "withdraw", agreement_id)
    assert await programme.balance("node") == INCENTIVE
    assert await programme.calls() == {"mined": 3}  # proposal, booking, payment


async def test_what_the_contract_cannot_hold_stops_nothing_else(programme: Programme) -> None:
    await settled_event(programme)
    await programme.statement(programme.agreement_id, "event-0", delivered_wh=2**47)
    refused = await programme.propose(starts_at=-1)
    settler = programme.settler()
    state = await programme.step(settler)
    said = "DRAgreement.propose: startsAt: -1 is no uint48"
    assert (state.status, state.text) == (SettlerStatus.FAILED, f"{said} (and 1 more)")
    async with programme.database.read() as conn:
        told = {held.agreement_id: held.text for held in await store.agreements(conn)}
    assert told == {programme.agreement_id: "", refused: said}
    assert (await programme.account("event-0")).text == (
        f"event event-0: DRAgreement.book: deliveredWh: {2**47} is no int48"
    )
    assert await programme.settled() is not None


@pytest.mark.long
async def test_an_offer_becomes_active_when_the_node_accepts(programme: Programme) -> None:
    agreement_id = await programme.propose()
    await programme.step()
    assert await standing_state(programme) is State.PROPOSED
    await programme.accept(agreement_id)
    await programme.step()
    assert await standing_state(programme) is State.ACTIVE


@pytest.mark.long
async def test_another_step_does_nothing_more(programme: Programme) -> None:
    await settled_event(programme)
    for _ in range(3):
        await programme.step()
    before = programme.blocks()
    await programme.step(programme.settler())
    assert programme.blocks() == before


async def test_a_statement_that_is_delivered_twice_is_booked_once(programme: Programme) -> None:
    agreement_id = await settled_event(programme)
    assert not await programme.statement(agreement_id, delivered_wh=1)
    await programme.step()
    assert not await programme.statement(agreement_id, delivered_wh=1)
    await programme.step()
    found = await programme.settled()
    assert found is not None
    assert (found.delivered_wh, found.revision) == (70_001, 1)
    assert await programme.calls() == {"mined": 2}  # the proposal and one booking


@pytest.mark.parametrize(
    ("what", "lost", "method"),
    [
        pytest.param(what, lost, method, marks=() if (what, lost, method) in CUTS else pytest.mark.long)
        for method in ("eth_chainId", "eth_getBlockByNumber", "eth_getTransactionCount", "eth_call", SEND)
        for lost in ("lost_requests", "lost_answers")
        for what in ("book", "pay")
    ],
)
async def test_a_line_cut_at_any_call_ends_in_one_booking_and_one_payment(
    method: str, lost: str, what: str, programme: Programme, line: Line
) -> None:
    await settled_event(programme)
    if what == "pay":
        await programme.step()
        programme.clock.advance(WINDOW_S + 1)
    setattr(line, lost, {method})
    assert (await programme.step(programme.settler(rpc_url=line.url))).status is SettlerStatus.CHAIN_DOWN
    setattr(line, lost, set())
    line_before = len(set(line.sent))
    for _ in range(2):
        assert (await programme.step(programme.settler(rpc_url=line.url))).status is SettlerStatus.IDLE
        programme.clock.advance(WINDOW_S + 1)
    found = await programme.settled()
    assert found is not None
    assert (found.status, found.revision) == (Status.PAID, 1)
    assert await programme.calls() == {"mined": 3}
    assert line_before <= 1


async def test_a_crash_between_keeping_and_sending_is_made_good_with_the_same_bytes(
    programme: Programme, line: Line
) -> None:
    await settled_event(programme)
    line.lost_requests = {"eth_sendRawTransaction"}
    await programme.step(programme.settler(rpc_url=line.url))
    async with programme.database.read() as conn:
        (kept,) = await call_store.signed_calls(conn)
    line.lost_requests = set()
    await programme.step(programme.settler(rpc_url=line.url))
    assert line.sent == ["0x" + kept.raw_transaction.hex()]


@pytest.mark.long
async def test_a_sent_call_that_is_not_mined_yet_is_waited_for(programme: Programme, line: Line) -> None:
    await settled_event(programme)
    # What the chain says stays as it was before the call.
    before = await call(programme.server.url, "eth_getBlockByNumber", "latest", False)
    line.changed_answers = {"eth_getBlockByNumber": before["result"]}
    settler = programme.settler(rpc_url=line.url)
    for _ in range(2):
        assert (await programme.step(settler)).status is SettlerStatus.WAITING
    line.changed_answers = {}
    assert (await programme.step(settler)).status is SettlerStatus.IDLE
    assert len(set(line.sent)) == 1


async def test_a_nonce_that_another_transaction_took_is_replaced(programme: Programme, line: Line) -> None:
    agreement_id = await settled_event(programme)
    line.lost_requests = {"eth_sendRawTransaction"}
    await programme.step(programme.settler(rpc_url=line.url))
    await programme.act("aggregator", "suspend", agreement_id, 7)
    assert (await programme.step()).status is SettlerStatus.IDLE
    found = await programme.settled()
    assert found is not None
    assert found.status is Status.OPEN  # the suspension came after the event


async def test_a_revision_inside_the_window_is_what_is_paid(programme: Programme) -> None:
    await settled_event(programme)
    await programme.step()
    assert await programme.revision(2, 80_000)
    assert not await programme.revision(2, 80_000)
    await programme.step()
    programme.clock.advance(WINDOW_S + 1)
    assert (await programme.step()).status is SettlerStatus.IDLE
    found = await programme.settled()
    assert found is not None
    assert (found.revision, found.incentive_minor, found.status) == (2, 2400, Status.PAID)


async def test_a_revision_after_the_window_is_told_and_changes_no_money(programme: Programme) -> None:
    await settled_event(programme)
    await programme.step()
    programme.clock.advance(WINDOW_S + 1)
    await programme.step()
    assert await programme.revision(2, 80_000)
    await programme.step()
    kept, found = await programme.account(), await programme.settled()
    assert found is not None
    assert (found.revision, found.incentive_minor) == (1, INCENTIVE)
    assert "revision 2 of the statement (80000 Wh) is not in the contract, which keeps 70001 Wh" in kept.text
    assert kept.state == "paid"


async def test_the_clause_that_stands_against_a_booking_is_named(programme: Programme) -> None:
    agreement_id = programme.agreement_id
    at = int(programme.clock().timestamp())
    await programme.statement(agreement_id, notified_at=at - 2 * HOUR_S - 60)
    before = programme.blocks()
    state = await programme.step()
    assert state.status is SettlerStatus.FAILED
    assert state.text == "book of event event-1: NoticeTooShort(noticeS 60, agreedS 3600)"
    assert programme.blocks() == before


@pytest.mark.long
async def test_one_refused_booking_keeps_no_other_back(programme: Programme) -> None:
    agreement_id = programme.agreement_id
    await programme.statement(agreement_id, "event-0", requested_wh=10**9)
    await programme.statement(agreement_id, "event-1")
    state = await programme.step()
    assert state.text == "book of event event-0: CapacityExceeded(requestedWh 1000000000, capacityWh 120000)"
    found = await programme.settled("event-1")
    assert found is not None
    assert found.status is Status.OPEN


async def test_a_chain_that_was_set_back_gets_again_what_it_lost(
    programme: Programme, tmp_path: Path
) -> None:
    await settled_event(programme)
    await programme.keep_chain(tmp_path / "older")
    await programme.step()
    programme.clock.advance(WINDOW_S + 1)
    await programme.step()
    assert (await programme.account()).state == "paid"
    await programme.go_back_to(tmp_path / "older")
    assert await programme.settled() is None
    await programme.step()
    programme.clock.advance(WINDOW_S + 1)
    assert (await programme.step()).status is SettlerStatus.IDLE
    found = await programme.settled()
    assert found is not None
    assert (found.status, found.incentive_minor) == (Status.PAID, INCENTIVE)


async def test_a_disputed_settlement_is_paid_as_the_arbiter_decides(programme: Programme) -> None:
    agreement_id = await settled_event(programme)
    await programme.step()
    key = (await programme.account()).event_key
    programme.clock.advance(WINDOW_S // 2)
    await programme.act("node", "dispute", agreement_id, key, b"\5" * 32)
    programme.clock.advance(WINDOW_S - 60)  # the window of the booking is over, that of the dispute is not
    assert (await programme.step()).status is SettlerStatus.IDLE
    kept = await programme.account()
    assert kept.settled is not None
    assert kept.settled.status is Status.DISPUTED
    await programme.act("arbiter", "resolve", agreement_id, key, Outcome.MEASURED, 10_000, b"\6" * 32)
    programme.clock.advance(HOUR_S)
    await programme.step()
    found = await programme.settled()
    assert found is not None
    assert (found.status, found.incentive_minor, found.penalty_minor) == (Status.PAID, 300, 1080)


@pytest.mark.parametrize("who", ["node", "aggregator"])
async def test_a_dispute_that_nobody_decides_is_paid_as_it_was_booked(programme: Programme, who: str) -> None:
    agreement_id = await settled_event(programme)
    settler = programme.settler()
    await programme.step(settler)
    key = (await programme.account()).event_key
    await programme.act(who, "dispute", agreement_id, key, b"\5" * 32)
    programme.clock.advance(WINDOW_S + 1)
    assert (await programme.step(settler)).status is SettlerStatus.IDLE
    found = await programme.settled()
    assert found is not None
    assert (found.status, found.incentive_minor) == (Status.PAID, INCENTIVE)


async def test_a_call_that_was_notified_before_a_suspension_is_booked_and_paid_and_owes_nothing(
    programme: Programme,
) -> None:
    agreement_id = programme.agreement_id
    notified_at = int(programme.clock().timestamp())
    await programme.act("arbiter", "suspend", agreement_id, 7)
    programme.clock.advance(5 * HOUR_S)
    await programme.statement(agreement_id, notified_at=notified_at)
    await programme.statement(agreement_id, "event-2", notified_at=notified_at, delivered_wh=0)
    await programme.statement(agreement_id, "event-3", notified_at=notified_at + 1)
    said = (await programme.step()).text
    assert said == f"book of event event-3: InSuspension(notifiedAt {notified_at + 1}, suspender 2)"
    programme.clock.advance(WINDOW_S + 1)
    await programme.step()
    money = {}
    for name in ("event-1", "event-2"):
        kept = (await programme.account(name)).settled
        assert kept is not None
        money[name] = (kept.status, kept.incentive_minor, kept.penalty_minor, kept.penalty_waived)
    assert money == {
        "event-1": (Status.PAID, INCENTIVE, 0, True),
        "event-2": (Status.PAID, 0, 0, True),  # elsewhere 1280
    }


@pytest.mark.long
async def test_a_payment_that_is_missing_suspends_by_time_alone_until_it_is_paid(
    programme: Programme,
) -> None:
    await settled_event(programme)
    await programme.step()
    programme.clock.advance(TERM_S)
    assert await standing_state(programme) is State.SUSPENDED  # by the mirror, nobody asked the chain
    await programme.step()
    assert await standing_state(programme) is State.ACTIVE


async def test_what_the_operator_orders_is_done_once_or_refused_with_the_clause(programme: Programme) -> None:
    agreement_id = programme.agreement_id
    kinds = {"suspend": "7", "lift": "", "close": ""}
    async with programme.database.write() as conn:
        for kind, argument in kinds.items():
            order = call_store.Order(0, kind, agreement_id, None, argument)
            await call_store.add_order(conn, order, programme.clock())
        late = call_store.Order(0, "dispute", agreement_id, b"\1" * 32, "05" * 32)
        await call_store.add_order(conn, late, programme.clock())
    await programme.step()
    async with programme.database.read() as conn:
        done = [
            (order.kind, order.state, order.text) for order in await call_store.orders(conn, open_only=False)
        ]
    assert done[:3] == [("suspend", "done", ""), ("lift", "done", ""), ("close", "done", "")]
    assert done[3][1] == "refused"
    assert done[3][2].startswith("NotBooked(")
    assert await programme.calls() == {"mined": 4}


async def test_a_booking_that_this_database_never_made_is_for_a_person(programme: Programme) -> None:
    agreement_id = await settled_event(programme)
    key = (await programme.account()).event_key
    other = programme.booking(delivered_wh=5)
    await programme.act("aggregator", "book", agreement_id, key, astuple(other))
    state = await programme.step()
    assert state.status is SettlerStatus.FAILED
    assert "the contract holds the booking" in state.text
