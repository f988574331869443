"""One event for many VENs: what is kept is what would be kept one by one, all of it or nothing."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import Event, Target
from tests.vtn.desk import ALICE, BOB, NOW, Desk, anything_goes, make_event
from vtn import publication
from vtn.errors import DuplicateEvent, NotAdmitted
from vtn.event_content import for_ven, write
from vtn.publication import having, publish_all
from vtn.schema import event_table, outbox_table, ven_table

CAROL = "d4" * 32


async def three(desk: Desk) -> list[str]:
    return [await desk.enrol(who, name) for who, name in ((ALICE, "alice"), (BOB, "bob"), (CAROL, "c&rol"))]


async def published(desk: Desk, events: dict[str, Event], admit: publication.Admit = anything_goes) -> None:
    async with desk.db.write() as conn:
        await publish_all(conn, events, NOW, admit)


async def kept(desk: Desk) -> dict[str, bytes]:
    async with desk.db.read() as conn:
        rows = await conn.execute(select(event_table.c.ven_id, event_table.c.content))
        return {row.ven_id: row.content for row in rows}


async def test_each_ven_gets_what_it_would_get_alone(desk: Desk) -> None:
    alice, bob, carol = await three(desk)
    made = make_event()
    same = replace(made, target=Target(ven_id=(bob,)))  # as the aggregator words it
    other = make_event(target=Target(resource_id=("r1",)))
    await published(desk, {alice: made, bob: same, carol: other})
    alone = {
        ven_id: write(for_ven(own, ven_id, 0, NOW))
        for ven_id, own in ((alice, made), (bob, same), (carol, other))
    }
    assert await kept(desk) == alone
    facts = {fact.ven_id: fact for fact in await desk.facts("signal")}
    for ven_id, content in alone.items():
        digest = hashlib.sha256(content).hexdigest()
        fact = facts[ven_id]
        assert (fact.key, fact.raw_sha256) == (f"signal/{ven_id}/e1/0", digest)
        assert (fact.body["content_sha256"], fact.body["action"]) == (digest, "published")
    async with desk.db.read() as conn:
        waiting = set((await conn.execute(select(outbox_table.c.ven_id))).scalars())
        assert waiting == {alice, bob, carol}
        assert await having(conn, "e1", [alice, "nobody"]) == {alice}
        assert await having(conn, "e2", [alice]) == set()


async def test_the_same_again_is_no_second_one_and_another_is_refused(desk: Desk) -> None:
    alice, bob, carol = await three(desk)
    await published(desk, {alice: make_event()})
    await published(desk, {alice: make_event(), bob: make_event()})
    assert len(await desk.facts("signal")) == 2
    with pytest.raises(DuplicateEvent, match=f"'e1' exists already for VEN '{bob}'"):
        await published(desk, {carol: make_event(), bob: make_event(priority=1)})
    assert set(await kept(desk)) == {alice, bob}


async def test_a_refusal_names_the_ven_and_leaves_nothing(desk: Desk) -> None:
    alice, bob, carol = await three(desk)

    async def admit(_conn: AsyncConnection, event: Event, ven_id: str, _now: datetime) -> None:
        assert event.target.ven_id == (ven_id,)
        if ven_id == bob:
            raise NotAdmitted("calls", "no more today")

    with pytest.raises(NotAdmitted) as refused:
        await published(desk, dict.fromkeys((alice, bob, carol), make_event()), admit)
    assert (refused.value.ven_id, refused.value.clause) == (bob, "calls")
    async with desk.db.write() as conn:
        await conn.execute(update(ven_table).where(ven_table.c.ven_id == carol).values(report_only=True))
    with pytest.raises(NotAdmitted) as refused:
        await published(desk, {alice: make_event(), carol: make_event()})
    assert (refused.value.ven_id, refused.value.clause) == (carol, "REG-07")
    over = make_event(start=NOW - timedelta(hours=2))
    with pytest.raises(NotAdmitted) as refused:
        await published(desk, {alice: make_event(), bob: over})
    assert (refused.value.ven_id, refused.value.clause) == (bob, "EVT-04")
    assert await kept(desk) == {}
    assert await desk.facts("signal") == []


async def test_others_have_their_turn_between_the_vens(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication, "PER_TURN", 1)
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
        await publish_all(conn, dict.fromkeys(vens, make_event()), NOW, admit)
        task.cancel()
    assert seen == sorted(set(seen))
    assert len(seen) == 3
