"""The end-to-end scenarios of events: our VEN on our VTN, in memory, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete

from openadr import CreatedEvent, DistributeEvent, Duration, Event, Message, Poll, RequestEvent, Response
from openadr.enums import OptType, SignalType
from openadr.timeline import Timeline
from tests.pair import Pair
from tests.ven.site import NOW, Site
from tests.ven.wire import plain
from tests.vtn.desk import anything_goes, created_event, make_event, with_period
from ven import opt as ven_opt
from ven.event import followed
from ven.session import Session
from ven.states import TRANSITIONS
from ven.store import Store
from vtn import event, opt
from vtn.schema import event_table, outbox_table
from vtn.store import Database

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
CONTEXT = "http://market.test"
RANDOM = Duration(1200)


class Stage:
    """A registered VEN and its VTN, and the operator's hand."""

    def __init__(self, pair: Pair, site: Site) -> None:
        self.pair, self.site, self.now = pair, site, NOW

    @property
    def ven_id(self) -> str:
        known = self.pair.session.saved.registration
        assert known is not None
        return known.ven_id

    async def to(self, minute: float) -> list[tuple[Message, Message]]:
        """Both talk at so many minutes after the start."""
        self.now = NOW + minute * MINUTE
        return await self.pair.run(self.now)

    async def publish(self, *made: Event) -> None:
        async with self.pair.db.write() as conn:
            for each in made:
                await event.publish(conn, each, self.ven_id, self.now, anything_goes)

    async def modify(self, made: Event) -> None:
        async with self.pair.db.write() as conn:
            await event.modify(conn, made, self.ven_id, self.now, anything_goes)

    async def cancel(self, event_id: str = "e1") -> None:
        async with self.pair.db.write() as conn:
            await event.cancel(conn, event_id, self.ven_id, self.now)

    async def state(self, event_id: str = "e1") -> event.EventState:
        async with self.pair.db.read() as conn:
            (found,) = await event.event_states(conn, event_id)
        return found

    async def listed(self, reply_limit: int | None = None) -> Sequence[Event]:
        asked = RequestEvent(request_id="q", ven_id=self.ven_id, reply_limit=reply_limit)
        reply = await self.pair.ask(asked, self.now)
        assert isinstance(reply, DistributeEvent)
        return reply.events

    def level(self, minute: float) -> float | None:
        """What the site follows at so many minutes after the start."""
        timeline = Timeline.from_events(followed(self.pair.session.saved.events.values()))
        setpoint = timeline.at(NOW + minute * MINUTE)
        return None if setpoint is None else setpoint.value("SIMPLE")


def told(said: Sequence[tuple[Message, Message]]) -> list[tuple[str, str]]:
    """Event and status of everything that the VTN distributed."""
    return [
        (each.event_id, str(each.descriptor.event_status))
        for _, answer in said
        if isinstance(answer, DistributeEvent)
        for each in answer.events
    ]


def answered(said: Sequence[tuple[Message, Message]]) -> list[tuple[str, int, str, str]]:
    return [
        (each.event_id, each.modification_number, each.code, str(each.opt_type))
        for asked, _ in said
        if isinstance(asked, CreatedEvent)
        for each in asked.event_responses
    ]


@pytest.fixture
async def stage(database: Database, tmp_path: Path) -> Stage:
    site = Site(offered=[])
    settings = plain(1, tmp_path / "unused", market_contexts=frozenset({CONTEXT}))
    pair = await Pair.join(database, settings, site, lambda _ven, _reports, _now: [], NOW)
    stage = Stage(pair, site)
    await stage.to(0)
    return stage


def test_vex_29_a_ven_answers_no_request_for_events() -> None:
    taken = [answer for state in TRANSITIONS.values() for asked in state.values() for answer in asked]
    assert RequestEvent not in taken


async def test_vex_29_events_are_requested_once_for_each_registration(stage: Stage) -> None:
    await stage.publish(make_event(start=NOW + HOUR))
    for minute in (2, 4, 90, 600):
        await stage.to(minute)
    assert sum(isinstance(asked, RequestEvent) for asked, _ in stage.pair.said) == 1


@pytest.mark.criterion("EVT-09", "VEX-22", "VEX-01")
async def test_g_07_an_event_from_creation_to_completion(stage: Stage) -> None:
    await stage.publish(with_period(make_event(start=NOW + HOUR), ramp_up=Duration(600)))
    said = await stage.to(2)
    assert answered(said) == [("e1", 0, "200", "optIn")]
    assert told(await stage.to(30)) == []  # answered: not offered at each poll again
    seen = []
    for minute in (30, 50, 60, 119, 120):
        stage.now = NOW + minute * MINUTE
        seen.append([str(each.descriptor.event_status) for each in await stage.listed()])
    assert seen == [["far"], ["near"], ["active"], ["active"], []]
    assert [stage.level(minute) for minute in (59, 60, 119, 120)] == [None, 1.0, 1.0, None]


@pytest.mark.criterion("EVT-11", "VEX-07", "VEX-30", "VEX-08")
@pytest.mark.parametrize("minute", [10, 90], ids=["pending", "active"])
async def test_g_08_a_cancellation_is_repeated_until_it_is_confirmed(stage: Stage, minute: int) -> None:
    await stage.publish(make_event(start=NOW + HOUR))
    await stage.to(2)
    await stage.to(minute)
    await stage.cancel()
    for _ in range(2):  # the answers of the VTN are lost on the way
        reply = await stage.pair.ask(Poll(stage.ven_id), stage.now)
        assert told([(reply, reply)]) == [("e1", "cancelled")]
    assert answered(await stage.to(minute + 2)) == [("e1", 1, "200", "optIn")]
    assert (await stage.state()).opt == "optIn"
    assert [stage.level(at) for at in (59, minute + 3)] == [None, None]
    assert answered(await stage.to(minute + 4)) == []
    assert list(await stage.listed()) == []


@pytest.mark.criterion("EVT-15", "EVT-16")
async def test_g_09_the_ven_is_given_the_first_events_in_order(stage: Stage) -> None:
    rows = [("A", 0, 20, 1), ("B", 20, 30, 0), ("C", -10, 20, 1), ("D", 20, 20, 0)]
    for name, start, length, priority in rows:
        made = make_event(name, NOW + start * MINUTE, length * MINUTE, priority=priority)
        await stage.publish(made)
    assert [name for name, _ in told(await stage.to(2))] == ["C", "A", "B", "D"]
    for limit in (0, 1, 3, 9):
        names = [each.event_id for each in await stage.listed(limit)]
        assert names == ["C", "A", "B", "D"][:limit]


@pytest.mark.criterion("VEX-18", "VEX-19", "EVT-12")
async def test_g_10_a_random_start_and_a_random_end(stage: Stage) -> None:
    await stage.publish(with_period(make_event(start=NOW + HOUR), start_after=RANDOM))
    await stage.to(2)
    assert [stage.level(minute) for minute in (69.9, 70, 129.9, 130)] == [None, 1.0, 1.0, None]
    await stage.modify(with_period(make_event(start=NOW + HOUR, length=2 * HOUR), start_after=RANDOM))
    await stage.to(4)
    assert [stage.level(minute) for minute in (69.9, 70, 189.9, 190)] == [None, 1.0, 1.0, None]
    await stage.to(100)
    await stage.cancel()
    await stage.to(102)
    assert [stage.level(minute) for minute in (111, 112.1)] == [1.0, None]  # half of 20 minutes later


@pytest.mark.criterion("VEX-20", "EVT-12")
async def test_g_10_a_completed_event_is_sent_until_the_last_random_end(stage: Stage) -> None:
    await stage.publish(with_period(make_event(start=NOW + HOUR), start_after=RANDOM))
    await stage.to(2)
    await stage.to(121)
    assert [str(each.descriptor.event_status) for each in await stage.listed()] == ["completed"]
    await stage.publish(make_event("e2", start=NOW + 5 * HOUR))
    assert told(await stage.to(123)) == [("e2", "far"), ("e1", "completed")]
    assert stage.level(124) == 1.0
    stage.now = NOW + 140 * MINUTE
    assert [each.event_id for each in await stage.listed()] == ["e2"]


@pytest.mark.criterion("EVT-22", "VEX-24")
async def test_g_11_an_open_ended_event_runs_until_it_is_cancelled(stage: Stage) -> None:
    await stage.publish(make_event(start=NOW + HOUR, length=timedelta(0)))
    await stage.to(2)
    assert [stage.level(minute) for minute in (59, 60, 60 * 24 * 300)] == [None, 1.0, 1.0]
    await stage.to(60 * 24)
    await stage.cancel()
    await stage.to(60 * 24 + 2)
    assert stage.level(60 * 24 + 3) is None
    assert list(await stage.listed()) == []


@pytest.mark.criterion("VEX-09", "EVT-13")
async def test_g_12_an_event_that_is_left_out_is_cancelled(stage: Stage) -> None:
    await stage.publish(make_event("e1", NOW + HOUR), make_event("e2", NOW + 3 * HOUR))
    await stage.to(2)
    await stage.to(4)
    assert set(stage.pair.session.saved.events) == {"e1", "e2"}  # nothing waits is no empty list
    async with stage.pair.db.write() as conn:
        for table, column in ((event_table, event_table.c.event_id), (outbox_table, outbox_table.c.key)):
            await conn.execute(delete(table).where(column == "e1"))
    await stage.publish(make_event("e3", NOW + 5 * HOUR))
    said = await stage.to(6)
    assert [name for name, *_ in answered(said)] == ["e2", "e3"]
    assert [stage.level(minute) for minute in (61, 181, 301)] == [None, 1.0, 1.0]


@pytest.mark.criterion("VEX-11", "VEX-12", "VEX-13", "VEX-15", "EVT-35", "EVT-38")
async def test_g_13_each_of_mixed_events_is_answered_for_itself(stage: Stage) -> None:
    good = make_event("good", NOW + HOUR)
    bid = replace(
        make_event("bid", NOW + HOUR),
        signals=(replace(good.signals[1], signal_name="BID_LOAD", signal_type=SignalType.SETPOINT),),
    )
    other = make_event("other", NOW + HOUR)
    other = replace(other, descriptor=replace(other.descriptor, market_context="http://else.test"))
    await stage.publish(bid, good, other)
    said = await stage.to(2)
    expected = [("bid", 0, "460", "optOut"), ("good", 0, "200", "optIn"), ("other", 0, "462", "optOut")]
    assert sorted(answered(said)) == expected
    states = [await stage.state(name) for name in ("bid", "good", "other")]
    assert [(each.response_code, each.opt) for each in states] == [
        ("460", "optOut"),
        ("200", "optIn"),
        ("462", "optOut"),
    ]
    assert stage.level(61) == 1.0
    unknown = created_event(stage.ven_id, make_event("unknown"))
    newer = replace(good, descriptor=replace(good.descriptor, modification_number=7))
    for message, code in ((unknown, "452"), (created_event(stage.ven_id, newer), "450")):
        reply = await stage.pair.ask(message, stage.now)
        assert isinstance(reply, Response)
        assert reply.response.code == code


@pytest.mark.criterion("VEX-06", "VEX-17")
async def test_g_13_a_late_list_and_a_strangers_list_change_nothing(stage: Stage) -> None:
    await stage.publish(make_event(start=NOW + HOUR))
    late = await stage.pair.ask(Poll(stage.ven_id), stage.now)
    assert isinstance(late, DistributeEvent)
    await stage.modify(make_event(start=NOW + HOUR, length=2 * HOUR))
    await stage.to(2)
    before = stage.pair.session.saved.events
    for message, code in ((late, "450"), (replace(late, vtn_id="VTN-1"), "452")):
        stage.now += 2 * MINUTE
        assert isinstance(stage.pair.session.due(stage.now)[0], Poll)
        (answer,) = stage.pair.session.receive(message, stage.now)
        assert isinstance(answer, CreatedEvent)
        codes = [each.code for each in answer.event_responses] or [answer.response.code]
        assert codes == [code]
        assert stage.pair.session.saved.events == before
        await stage.pair.run(stage.now)


@pytest.mark.criterion("EVT-36", "EVT-37", "VEX-26", "VEX-02")
async def test_g_14_a_change_of_mind_and_a_qualified_event(stage: Stage) -> None:
    await stage.publish(make_event(start=NOW + HOUR))
    first = await stage.to(2)
    delivered = next(answer for _, answer in first if isinstance(answer, DistributeEvent) and answer.events)
    stage.pair.session.change_opt("e1", OptType.OPT_OUT)
    said = await stage.to(4)
    assert answered(said) == [("e1", 0, "200", "optOut")]
    (changed,) = [asked for asked, _ in said if isinstance(asked, CreatedEvent)]
    assert changed.event_responses[0].request_id == delivered.request_id
    assert (await stage.state()).opt == "optOut"
    held = stage.pair.session.saved.events["e1"]
    qualified = ven_opt.qualify(held, stage.ven_id, ("o1", "r1"), stage.now, opt_type=OptType.OPT_IN)
    stage.pair.session.send(qualified)
    await stage.to(6)
    assert (await stage.state()).opt == "optIn"
    reply = await stage.pair.ask(created_event(stage.ven_id, make_event(), OptType.OPT_OUT), stage.now)
    assert isinstance(reply, Response)
    assert reply.response.code == "200"
    assert (await stage.state()).opt == "optIn"
    async with stage.pair.db.read() as conn:
        sources = [entry.source for entry in await opt.opts(conn, "e1")]
    assert sources == ["created_event", "created_event", "create_opt"]


def restarted(stage: Stage, path: Path, draw: float) -> Session:
    """The VEN after a power cut: all that it knows comes from its file, and chance says something else."""
    store = Store.open(path)
    store.save(stage.pair.session.saved)
    store.close()
    again = Store.open(path)
    saved = again.load()
    again.close()
    return Session(stage.pair.settings, stage.site, saved, new_id=lambda: "again", draw=lambda: draw)


@pytest.mark.criterion("VEX-28", "VEX-18")
@pytest.mark.parametrize("draw", [0.0, 0.99])
async def test_g_18_a_restart_in_a_randomised_event_keeps_its_delay_and_opt(
    stage: Stage, tmp_path: Path, draw: float
) -> None:
    await stage.publish(with_period(make_event(start=NOW + HOUR), start_after=RANDOM))
    stage.site.opt = OptType.OPT_IN
    await stage.to(2)
    await stage.to(90)
    before = stage.pair.session.saved.events["e1"]
    assert before.offset == timedelta(minutes=10)
    stage.site.opt = OptType.OPT_OUT  # nobody asks the site again
    stage.pair.session = restarted(stage, tmp_path / "ven.db", draw)
    said = await stage.to(92)
    assert [type(asked).__name__ for asked, _ in said] == ["Poll"]
    assert stage.pair.session.saved.events["e1"] == before
    assert [stage.level(minute) for minute in (69.9, 70, 129.9, 130)] == [None, 1.0, 1.0, None]
    await stage.publish(make_event("e2", start=NOW + 5 * HOUR))
    assert answered(await stage.to(94)) == [("e1", 0, "200", "optIn"), ("e2", 0, "200", "optOut")]
    assert stage.pair.session.saved.events["e1"].offset == before.offset


@pytest.mark.criterion("VEX-28", "VEX-19")
async def test_g_18_a_restart_keeps_the_random_end_of_a_cancelled_event(stage: Stage, tmp_path: Path) -> None:
    await stage.publish(with_period(make_event(start=NOW + HOUR), start_after=RANDOM))
    await stage.to(2)
    await stage.to(90)
    await stage.cancel()
    await stage.to(92)
    ends = stage.pair.session.saved.events["e1"].end
    assert ends == datetime(2026, 3, 2, 13, 42, tzinfo=NOW.tzinfo)
    stage.pair.session = restarted(stage, tmp_path / "ven.db", 0.0)
    await stage.to(95)
    assert stage.pair.session.saved.events["e1"].end == ends
    assert [stage.level(minute) for minute in (101.9, 102)] == [1.0, None]
