"""A home stays out of one event: its node is told which homes take part, and settled without it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from aggregator import override, override_book, request, store
from aggregator.check import check_rows
from aggregator.clearance import MACHINE_OWNER
from aggregator.dispatch import ReductionRequest
from aggregator.erase_home import erase_home
from aggregator.errors import Obstacle, OverrideError, UnknownObjectError
from aggregator.home import Home, Part, part
from aggregator.profile import Period
from aggregator.request import Asked, Change
from aggregator.store import StoredCall
from ledger import offline
from ledger.checkpoint import SigningKey
from openadr import Event, Target
from tests.aggregator.box import Box
from tests.aggregator.conftest import END, START, Platform
from vtn import journal
from vtn.event import event_states
from vtn.store import Database

HOMES = ("home-01", "home-02", "home-03")
DAY = timedelta(days=1)
WHEN = {"start": "2026-01-21T17:00:00Z", "end": "2026-01-21T19:00:00Z"}


def db_of(platform: Platform) -> Database:
    """The running aggregator's own database."""
    assert platform.aggregator is not None and platform.aggregator._db is not None
    return platform.aggregator._db


class Prosumer:
    """Somebody who lives behind the first node."""

    def __init__(self, platform: Platform, event_id: str, home: str | None = HOMES[0]) -> None:
        self.platform, self.event_id = platform, event_id
        self.ven_id = platform.boxes["node-1"].ven_id
        self.home = Home((self.ven_id,), home)

    async def stays_out(self, now: datetime | None = None, seen: str | None = None) -> None:
        """Say: not this time."""
        async with db_of(self.platform).write() as conn:
            now = now or self.platform.clock.now
            await override.say(conn, self.home, self.event_id, self.ven_id, now, seen=seen)

    async def comes_back(self) -> None:
        """Take that back."""
        async with db_of(self.platform).write() as conn:
            now = self.platform.clock.now
            assert self.platform.aggregator is not None
            portfolio = self.platform.aggregator._portfolio
            await override.take_back(conn, self.home, self.event_id, self.ven_id, now, portfolio=portfolio)

    async def part(self) -> Part:
        """How his home stands to the event."""
        async with db_of(self.platform).read() as conn:
            return await part(conn, self.home, self.event_id, self.ven_id)

    async def call(self) -> StoredCall:
        """What his node is asked for."""
        async with db_of(self.platform).read() as conn:
            calls = await store.calls(conn, event_id=self.event_id)
        return next(one for one in calls if one.ven_id == self.ven_id)

    async def statement(self) -> store.StoredStatement:
        """The newest of his node for the event."""
        async with db_of(self.platform).read() as conn:
            found = await store.statements(conn, event_id=self.event_id)
        return next(one for one in store.newest(found) if one.statement.ven_id == self.ven_id)

    async def words(self) -> list[journal.Fact]:
        """The facts of homes that stay out or come back."""
        async with db_of(self.platform).read() as conn:
            return await journal.of_kind(conn, override_book.KIND, 0, 10**9, 100)


async def called(platform: Platform) -> Prosumer:
    """The first home of a node that was asked for something this evening, and has said that it takes part."""
    answer = await platform.ask(5)
    return Prosumer(platform, answer["event_id"])


async def told(box: Box, event_id: str) -> Event:
    """The event as the node has it after its next contact."""
    await box.poll_for_event()
    return box.events[event_id]


async def second_day(platform: Platform) -> Prosumer:
    """The same a day later: by then an event tells what homes give."""
    await platform.ask(5)
    await platform.jump(END)
    await platform.settled(2)
    await platform.jump(START + DAY + timedelta(hours=14))
    answer = await platform.post("/requests", {**WHEN, "power_kw": 5}, status=201)
    for node in answer["nodes"]:
        await platform.boxes[node["ven_name"]].poll_for_event()
    return Prosumer(platform, answer["event_id"])


async def test_a_home_that_stays_out_is_left_out_on_the_wire_and_has_no_share(platform: Platform) -> None:
    me = await called(platform)
    asked_w = (await me.call()).power_w
    for _ in range(3):
        await me.stays_out()
    event = await told(platform.boxes["node-1"], me.event_id)
    await platform.boxes["node-1"].poll()
    assert event.target == Target(resource_id=("home-02", "home-03"))
    assert event.modification_number == 1, "saying it again is nothing new"
    assert event.signals[1].intervals[0].payload_float == -asked_w, "no event has told what the home gives"
    await platform.jump(END)
    await platform.settled(2)
    stored = await me.statement()
    assert set(stored.detail["shares_minor"]) == {"home-02", "home-03"}
    assert sum(stored.detail["shares_minor"].values()) == stored.statement.amount_minor > 0
    (fact,) = await me.words()
    assert stored.detail["overrides"] == [fact.body["home"]]
    assert fact.body["stand"] == "out"
    assert HOMES[0] not in json.dumps(fact.body) + fact.key
    mine = await me.part()
    assert (mine.amount_minor, mine.out_since is not None) == (None, True)


async def test_the_node_owes_less_by_what_the_home_usually_gives_until_the_event_runs(
    platform: Platform,
) -> None:
    me = await second_day(platform)
    asked_w = (await me.call()).power_w
    await me.stays_out()
    first_w = (await me.call()).power_w
    assert first_w == pytest.approx(asked_w / 2, rel=0.02), "home-01 gave half of what was given"
    other = Prosumer(platform, me.event_id, HOMES[1])
    await other.stays_out()
    assert (await me.call()).power_w == pytest.approx(asked_w * 0.2, rel=0.05)
    await other.comes_back()
    assert (await me.call()).power_w == first_w
    event = await told(platform.boxes["node-1"], me.event_id)
    assert event.target == Target(resource_id=("home-02", "home-03"))
    assert event.signals[1].intervals[0].payload_float == -first_w
    await platform.jump(START + DAY + timedelta(hours=17, minutes=30))
    await other.stays_out()
    event = await told(platform.boxes["node-1"], me.event_id)
    assert event.target == Target(resource_id=("home-03",))
    assert (await me.call()).power_w == first_w, "what a signal has said stays"
    with pytest.raises(OverrideError) as refused:
        await other.comes_back()
    assert refused.value.obstacle is Obstacle.BEGUN
    await platform.jump(END + DAY)
    await platform.settled(4)
    stored = await me.statement()
    assert stored.statement.requested_wh == 2 * first_w
    assert set(stored.detail["shares_minor"]) == {"home-03"}


@pytest.mark.long
async def test_who_comes_back_takes_part_as_if_nothing_had_been(platform: Platform) -> None:
    me = await second_day(platform)
    asked_w = (await me.call()).power_w
    await me.stays_out()
    await me.comes_back()
    await me.comes_back()
    event = await told(platform.boxes["node-1"], me.event_id)
    assert event.target == Target(ven_id=(me.ven_id,))
    assert (event.modification_number, (await me.call()).power_w) == (2, asked_w)
    await me.stays_out()
    await me.comes_back()
    await platform.jump(END + DAY)
    await platform.settled(4)
    assert set((await me.statement()).detail["shares_minor"]) == set(HOMES)
    assert [fact.body["stand"] for fact in await me.words()] == ["out", "in", "out", "in"]
    assert (await me.part()).out_since is None


async def test_a_box_that_never_hears_of_it_changes_nothing_for_the_homes(platform: Platform) -> None:
    me, box = await called(platform), platform.boxes["node-1"]
    await me.stays_out()
    before = platform.clock.now
    await platform.clock.move(END)
    for one in platform.boxes.values():
        await one.report("telemetry", before, END, END)
    await platform.settled(2)
    stored = await me.statement()
    assert stored.statement.outcome == "measured", "what it answered before still counts"
    assert set(stored.detail["shares_minor"]) == {"home-02", "home-03"}
    async with db_of(platform).read() as conn:
        call = await me.call()
        versions = await override_book.versions(conn, me.ven_id, me.event_id, call.modification_number)
        answer = await store.answer_key(conn, call, versions)
    assert (call.modification_number, versions) == (1, {0, 1})
    assert answer is not None and answer.startswith(f"opt/{me.ven_id}/{me.event_id}/0/"), "it is booked too"
    await box.poll()  # too late
    await platform.jump(END + timedelta(minutes=15))
    assert (await me.statement()).statement == stored.statement


async def test_the_last_home_to_stay_out_takes_its_node_out_for_good(platform: Platform) -> None:
    me = await called(platform)
    for home in HOMES:
        await Prosumer(platform, me.event_id, home).stays_out()
    event = await told(platform.boxes["node-1"], me.event_id)
    assert event.is_cancelled
    with pytest.raises(OverrideError) as refused:
        await me.comes_back()
    assert refused.value.obstacle is Obstacle.CANCELLED
    async with db_of(platform).read() as conn:
        states = {state.ven_id: state for state in await event_states(conn, me.event_id)}
    assert [state.cancelled_at is None for ven_id, state in states.items() if ven_id != me.ven_id] == [True]
    await platform.jump(END)
    (only,) = await platform.settled(1)
    assert only["ven_name"] == "node-2"


async def test_nobody_ends_an_event_that_runs_and_what_it_owes_or_earns(platform: Platform) -> None:
    me = await called(platform)
    await platform.jump(START + timedelta(hours=17, minutes=30))
    for home in HOMES[:2]:
        await Prosumer(platform, me.event_id, home).stays_out()
    for name in (HOMES[2], None):
        with pytest.raises(OverrideError) as refused:
            await Prosumer(platform, me.event_id, name).stays_out()
        assert refused.value.obstacle is Obstacle.LAST
    event = await told(platform.boxes["node-1"], me.event_id)
    assert event.target == Target(resource_id=(HOMES[2],)) and not event.is_cancelled
    await platform.jump(END)
    await platform.settled(2)
    assert (await me.call()).cancelled_at is None
    assert set((await me.statement()).detail["shares_minor"]) == {HOMES[2]}


@pytest.mark.long
async def test_an_account_for_a_whole_node_takes_it_out(platform: Platform) -> None:
    me = await called(platform)
    await Prosumer(platform, me.event_id, None).stays_out()
    assert (await me.call()).cancelled_at is not None


async def test_what_cannot_be_is_refused_and_changes_nothing(platform: Platform) -> None:
    me = await called(platform)
    stranger = Prosumer(platform, me.event_id, "home-77")
    with pytest.raises(OverrideError) as refused:
        await stranger.stays_out()
    assert refused.value.obstacle is Obstacle.UNABLE
    with pytest.raises(OverrideError) as refused:
        await me.stays_out(seen="an older version")
    assert refused.value.obstacle is Obstacle.STALE
    with pytest.raises(OverrideError) as refused:
        await me.stays_out(END)
    assert refused.value.obstacle is Obstacle.OVER
    with pytest.raises(OverrideError) as refused:
        async with db_of(platform).write() as conn:  # the call is not what the home's word was judged by
            older = replace(await me.call(), modification_number=7)
            await override._follow(conn, older, power_w=1)
    assert refused.value.obstacle is Obstacle.STALE
    me.home = Home(("another-node",), HOMES[0])
    with pytest.raises(UnknownObjectError):
        await me.stays_out()
    assert (await me.call()).modification_number == 0
    assert (await me.call()).power_w > 1
    assert await me.words() == []


async def test_an_event_that_the_operator_takes_back_meanwhile_is_not_changed_any_more(
    platform: Platform,
) -> None:
    me = await called(platform)
    seen = (await me.part()).version
    await platform.post(f"/requests/{me.event_id}/cancel", {})
    with pytest.raises(OverrideError) as refused:
        await me.stays_out(seen=seen)
    assert refused.value.obstacle is Obstacle.CANCELLED
    assert await me.words() == []


async def test_an_event_that_the_operator_changes_still_leaves_the_home_out(platform: Platform) -> None:
    me = await called(platform)
    await me.stays_out()
    await told(platform.boxes["node-1"], me.event_id)
    assert platform.aggregator is not None
    portfolio, now = platform.aggregator._portfolio, platform.clock.now
    period = Period(START + timedelta(hours=18), START + timedelta(hours=20))
    async with db_of(platform).write() as conn:
        version = (await request.sent_event.find(conn, me.event_id)).version
        wanted = Asked(ReductionRequest(period, 5000), change=Change(me.event_id, version))
        await request.send(conn, portfolio, "http://test/programme", wanted, now, sender=MACHINE_OWNER)
    event = await told(platform.boxes["node-1"], me.event_id)
    assert (event.dtstart, event.modification_number) == (period.start, 2)
    assert event.target == Target(resource_id=("home-02", "home-03"))


async def test_a_home_that_shares_its_resource_with_another_cannot_take_that_one_out(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = await called(platform)
    monkeypatch.setattr(override_book, "_resource", lambda point: "one-flat")
    with pytest.raises(OverrideError) as refused:
        await me.stays_out()
    assert refused.value.obstacle is Obstacle.UNABLE
    assert await me.words() == []
    monkeypatch.undo()
    async with db_of(platform).write() as conn:
        call, now = await me.call(), platform.clock.now
        await override._note(conn, call, (1, "one", "out"), now)
        with pytest.raises(OverrideError):
            await override._note(conn, call, (1, "another", "out"), now)


@pytest.mark.parametrize(
    "home",
    [
        pytest.param(HOMES[0], id="that stayed out"),
        pytest.param(HOMES[1], id="that took part", marks=pytest.mark.long),
    ],
)
async def test_an_erased_home_is_not_named_where_homes_stayed_out(platform: Platform, home: str) -> None:
    me = await called(platform)
    await me.stays_out()
    await platform.jump(END)
    await platform.settled(2)
    await platform.post("/seal", {"timeout_s": 60})
    (fact,) = await me.words()
    await platform.stop()
    database, key = (
        platform.settings.database,
        SigningKey.load(platform.settings.database.with_name("log.key")),
    )
    erase_home(database, "node-1", home, END + DAY, key)
    with closing(sqlite3.connect(database)) as conn:
        rows: list[Any] = conn.execute("SELECT r_id, salt FROM agg_override").fetchall()
        assert (rows == [(fact.body["home"], "")]) is (home == HOMES[0])
        assert list(check_rows(conn, lambda *_: None))
        of_event = f"signal/{me.ven_id}/{me.event_id}/%"
        kept = conn.execute("SELECT key FROM vtn_journal WHERE key LIKE ?", (of_event,)).fetchall()
        assert kept == [(of_event.replace("%", "0"),)], "a later version hashes the names of the homes"
    with offline.reading(database) as conn:
        leaves = {key: canonical is not None for _, key, _, canonical in offline.leaves(conn)}
    assert leaves.get(fact.key), "the others' proof that somebody stayed out"
    assert not leaves.get(of_event.replace("%", "1"))
