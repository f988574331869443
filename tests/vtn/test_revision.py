"""An event that changes or ends for many VENs: for all of them or none, and what is kept is as one by one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.event import listen, remove
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import CreateOpt, DistributeEvent, Event, Target
from openadr.enums import EventStatus, OptType
from tests.vtn.desk import ALICE, BOB, NOW, Desk, anything_goes, make_event
from tests.vtn.office import FAULT, POWER, Clerk, peak
from vtn import event, revision
from vtn.errors import NotAdmitted, UnknownObject
from vtn.event_content import for_ven, write
from vtn.publication import publish_all
from vtn.revision import cancel_all, modify_all
from vtn.schema import event_table, outbox_table

CAROL = "d4" * 32
LATER = NOW + timedelta(minutes=5)


async def three(desk: Desk) -> list[str]:
    """Alice, Bob and Carol, who all have the event; Carol's is for one of her resources."""
    vens = [await desk.enrol(who, name) for who, name in ((ALICE, "alice"), (BOB, "bob"), (CAROL, "c&rol"))]
    made = make_event()
    async with desk.db.write() as conn:
        given = {**dict.fromkeys(vens, made), vens[2]: own(made)}
        await publish_all(conn, given, NOW, anything_goes)
    return vens


def own(made: Event) -> Event:
    return replace(made, target=Target(resource_id=("r1",)))


async def kept(desk: Desk) -> list[tuple[Any, ...]]:
    """All that is kept of events, of what waits and of facts."""
    async with desk.db.read() as conn:
        rows = [tuple(row) for row in await conn.execute(select(event_table).order_by("ven_id"))]
        rows += [tuple(row) for row in await conn.execute(select(outbox_table).order_by("seq"))]
    return [*rows, *((fact.key, fact.raw_sha256) for fact in await desk.facts("signal"))]


async def modified(desk: Desk, events: dict[str, Event], admit: Any = anything_goes) -> None:
    async with desk.db.write() as conn:
        await modify_all(conn, events, LATER, admit)


async def cancelled(desk: Desk, vens: list[str], now: datetime = LATER) -> None:
    async with desk.db.write() as conn:
        await cancel_all(conn, "e1", vens, now, "wind")


async def test_each_ven_has_what_it_would_have_alone(desk: Desk) -> None:
    alice, bob, carol = await three(desk)
    new = make_event(priority=2)
    await modified(desk, {alice: new, bob: new, carol: own(new)})
    alone = {
        ven_id: write(for_ven(each, ven_id, 1, LATER))
        for ven_id, each in ((alice, new), (bob, new), (carol, own(new)))
    }
    async with desk.db.read() as conn:
        rows = {row.ven_id: row for row in await conn.execute(select(event_table))}
        assert {ven_id: row.content for ven_id, row in rows.items()} == alone
        assert {row.modification_number for row in rows.values()} == {1}
        assert {row.ends_at for row in rows.values()} == {NOW + timedelta(hours=2)}
        waiting = set((await conn.execute(select(outbox_table.c.ven_id))).scalars())
        assert waiting == {alice, bob, carol}
    facts = {fact.ven_id: fact for fact in await desk.facts("signal") if fact.key.endswith("/1")}
    for ven_id, content in alone.items():
        digest = hashlib.sha256(content).hexdigest()
        fact = facts[ven_id]
        assert (fact.key, fact.raw_sha256) == (f"signal/{ven_id}/e1/1", digest)
        assert (fact.body["content_sha256"], fact.body["action"]) == (digest, "modified")


async def test_what_comes_twice_is_done_once(desk: Desk) -> None:
    vens = await three(desk)
    for act in (
        lambda: modified(desk, {vens[0]: make_event(priority=2), vens[1]: make_event(priority=2)}),
        lambda: cancelled(desk, vens),
    ):
        await act()
        once = await kept(desk)
        await act()
        assert await kept(desk) == once
    await cancelled(desk, vens, NOW + timedelta(days=1))  # it is over, but it was taken back before
    assert await kept(desk) == once


async def test_a_change_that_is_there_already_is_none_even_when_the_event_is_over(desk: Desk) -> None:
    alice, *_ = await three(desk)
    once = await kept(desk)
    async with desk.db.write() as conn:
        await modify_all(conn, {alice: make_event()}, NOW + timedelta(days=1), anything_goes)
    assert await kept(desk) == once


async def test_evt_11_a_cancellation_ends_nothing_before_its_time_and_counts_on(desk: Desk) -> None:
    alice, bob, _ = await three(desk)
    await modified(desk, {bob: make_event(priority=2)})
    await cancelled(desk, [alice, bob])
    async with desk.db.read() as conn:
        rows = {row.ven_id: row for row in await conn.execute(select(event_table))}
    assert [rows[ven_id].modification_number for ven_id in (alice, bob)] == [1, 2]
    assert [rows[ven_id].cancelled_at for ven_id in (alice, bob)] == [LATER, LATER]
    assert rows[alice].ends_at == NOW + timedelta(hours=2)
    told = [fact.body["action"] for fact in await desk.facts("signal") if fact.ven_id == bob]
    assert told == ["published", "modified", "cancelled"]


def refusing(whom: str) -> Callable[..., Awaitable[None]]:
    async def admit(_conn: AsyncConnection, told: Event, ven_id: str, _now: datetime) -> None:
        assert told.target.ven_id == (ven_id,)
        if ven_id == whom:
            raise NotAdmitted("calls", "no more today")

    return admit


async def test_a_refusal_in_the_middle_names_the_ven_and_nothing_was_written(desk: Desk) -> None:
    alice, bob, carol = await three(desk)
    new = make_event(priority=2)
    before = await kept(desk)
    late = make_event(start=NOW - timedelta(hours=5))
    for events, whom, clause in (
        (dict.fromkeys((alice, bob, carol), new), bob, "calls"),
        ({alice: new, carol: late}, carol, "EVT-04"),
    ):
        async with desk.db.write() as conn:
            with pytest.raises(NotAdmitted) as refused:  # the caller's transaction goes on: it is empty
                await modify_all(conn, events, LATER, refusing(bob))
        assert (refused.value.ven_id, refused.value.clause) == (whom, clause)
        assert await kept(desk) == before
    async with desk.db.write() as conn:
        with pytest.raises(UnknownObject, match="VEN 'nobody' has no event 'e1'"):
            await cancel_all(conn, "e1", [alice, "nobody"], LATER)
    assert await kept(desk) == before


async def test_what_is_over_for_one_is_taken_back_from_none(desk: Desk) -> None:
    alice, bob, carol = await three(desk)
    await modified(desk, {bob: make_event(length=timedelta(minutes=10))})
    before = await kept(desk)
    now = NOW + timedelta(hours=1, minutes=30)
    async with desk.db.write() as conn:
        with pytest.raises(NotAdmitted, match="EVT-04: event 'e1' is over") as refused:
            await cancel_all(conn, "e1", [alice, bob, carol], now)
    assert refused.value.ven_id == bob
    async with desk.db.write() as conn:
        with pytest.raises(NotAdmitted, match="EVT-04: event 'e1' is over") as refused:
            await modify_all(conn, dict.fromkeys((alice, bob), make_event(priority=3)), now, anything_goes)
    assert refused.value.ven_id == bob
    assert await kept(desk) == before


async def test_opt_13_what_create_opts_said_holds_for_the_new_version_of_those_who_said_it(
    desk: Desk,
) -> None:
    alice, bob, _ = await three(desk)
    await desk.register(BOB, "bob")
    said = CreateOpt(
        opt_id="o1",
        opt_type=OptType.OPT_OUT,
        opt_reason="notParticipating",
        created_date_time=NOW,
        request_id="c1",
        event_id="e1",
        modification_number=0,
        target=Target(ven_id=(bob,)),
        ven_id=bob,
    )
    await desk.say(said, BOB)
    await modified(desk, dict.fromkeys((alice, bob), make_event(priority=2)))
    async with desk.db.read() as conn:
        assert {state.ven_id: state.opt for state in await event.event_states(conn, "e1")}[bob] == "optOut"
        assert {state.ven_id: state.opt for state in await event.event_states(conn, "e1")}[alice] is None


async def test_others_have_their_turn_between_the_vens(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "PER_TURN", 1)
    vens = await three(desk)
    turns, seen = 0, []

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def admit(_conn: AsyncConnection, _event: Event, _ven_id: str, _now: datetime) -> None:
        seen.append(turns)

    async with desk.db.write() as conn:
        task = asyncio.create_task(other())
        await modify_all(conn, dict.fromkeys(vens, make_event(priority=2)), LATER, admit)
        task.cancel()
    assert seen == sorted(set(seen))
    assert len(seen) == 3


async def test_many_vens_take_as_many_statements_as_one(desk: Desk) -> None:
    vens = [await desk.enrol(f"{number:064x}", f"ven {number}") for number in range(12)]
    async with desk.db.write() as conn:
        await publish_all(conn, dict.fromkeys(vens, make_event()), NOW, anything_goes)
    said: list[str] = []

    def hear(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        said.append(statement)

    counts = []
    for some in (vens[:1], vens[1:]):
        async with desk.db.write() as conn:
            listen(conn.sync_connection, "before_cursor_execute", hear)
            await modify_all(conn, dict.fromkeys(some, make_event(priority=2)), LATER, anything_goes)
            await cancel_all(conn, "e1", some, LATER)
            remove(conn.sync_connection, "before_cursor_execute", hear)
        counts.append(len(said))
        said.clear()
    assert counts[0] == counts[1] > 0


BOTH = ["alice", "bob"]


async def test_the_operator_changes_all_or_none_and_is_told_whose_it_was(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak(vens=BOTH))
    alice, bob = clerk.desk.ids[ALICE], clerk.desk.ids[BOB]
    before = await kept(clerk.desk)
    last, name = max((alice, "alice"), (bob, "bob"))
    clerk.forbidden[last] = "is away"
    problem = await clerk.refused(422, "PATCH", "/vtn/events/peak", {"priority": 1})
    assert problem["detail"] == f"{name}: daily_calls: is away"
    assert problem["errors"][0] == {"field": "vens", "value": f'"{name}"', "detail": "is away"}
    problem = await clerk.refused(422, "PATCH", "/vtn/events/peak", {"priority": 1, "vens": ["alice", "bob"]})
    assert problem["errors"][0]["field"] == f"vens[{BOTH.index(name)}]"
    clerk.forbidden[last] = FAULT
    assert (await clerk.refused(500, "PATCH", "/vtn/events/peak", {"priority": 1}))["type"].endswith("fault")
    clerk.forbidden.clear()
    problem = await clerk.refused(422, "PATCH", "/vtn/events/peak", {"signals": [POWER], "duration": "PT2H"})
    assert problem["detail"].startswith(("alice: EVT-21: ", "bob: EVT-21: "))
    assert await kept(clerk.desk) == before
    await clerk.post("/vtn/events", peak(event_id="next", vens=["bob"], start="2026-03-02T15:00:00Z"))
    before = await kept(clerk.desk)
    problem = await clerk.refused(409, "PATCH", "/vtn/events/peak", {"duration": "PT2H"})
    assert problem["detail"].startswith("it overlaps: 'bob' has event 'next'")
    assert await kept(clerk.desk) == before


async def test_the_operator_takes_back_from_all_or_from_none(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak(vens=BOTH))
    await clerk.patch("/vtn/events/peak", {"vens": ["bob"], "duration": "PT10M"})
    clerk.desk.now = NOW + timedelta(hours=2, minutes=30)
    before = await kept(clerk.desk)
    problem = await clerk.refused(409, "POST", "/vtn/events/peak/cancel", {})
    assert problem["detail"] == "bob: EVT-04: event 'peak' is over"
    assert problem["errors"][0]["value"] == '"bob"'
    problem = await clerk.refused(409, "PATCH", "/vtn/events/peak", {"priority": 1})
    assert problem["detail"] == "bob: EVT-04: event 'peak' is over"
    assert await kept(clerk.desk) == before
    shown = await clerk.post("/vtn/events/peak/cancel", {"vens": ["alice"]})
    assert {ven["ven_name"]: ven["status"] for ven in shown["vens"]}["alice"] == "cancelled"


async def test_a_change_that_comes_twice_is_answered_as_the_first_time(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak(vens=BOTH))
    for method, path, body in (
        ("PATCH", "/vtn/events/peak", {"priority": 1, "reason": "cold"}),
        ("POST", "/vtn/events/peak/cancel", {"reason": "wind"}),
    ):
        first = await clerk.ask(method, path, body)
        once = await kept(clerk.desk)
        assert await clerk.ask(method, path, body) == first
        assert await kept(clerk.desk) == once


async def test_a_suspended_ven_gets_the_new_version_with_the_others_and_is_told_when_it_is_back(
    clerk: Clerk,
) -> None:
    await clerk.desk.settle_in()
    await clerk.desk.settle_in(BOB, "bob")
    await clerk.post("/vtn/events", peak(vens=BOTH))
    await clerk.post("/vtn/vens/bob/suspend")
    shown = await clerk.patch("/vtn/events/peak", {"priority": 1})
    assert [ven["modification_number"] for ven in shown["vens"]] == [1, 1]
    await clerk.post("/vtn/vens/bob/resume")
    for who in (ALICE, BOB):
        told = await clerk.desk.poll(who)
        assert isinstance(told, DistributeEvent)
        assert [each.descriptor.priority for each in told.events] == [1]
        assert told.events[0].descriptor.event_status is not EventStatus.CANCELLED
