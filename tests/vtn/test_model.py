"""Random lives of events against a small model (GOALS 74): what a VEN is offered, and what it said.

Steps: publish, modify, cancel, poll, answer (now, late, twice), time goes by, the server starts again. Each
poll must offer what the model says: events until they are answered, all of them, in order, and else nothing.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openadr import DistributeEvent, Event, RequestEvent, Response
from openadr.enums import OptType
from tests.vtn.desk import ALICE, NOW, Desk, make_event
from vtn import event
from vtn.errors import DuplicateEvent, NotAdmitted, UnknownObject
from vtn.store import Database

IDS = ("e1", "e2", "e3")
QUARTER = timedelta(minutes=15)
STEPS = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(IDS), st.integers(-2, 8)),
    st.tuples(st.just("modify"), st.sampled_from(IDS), st.integers(1, 4)),
    st.tuples(st.just("cancel"), st.sampled_from(IDS), st.just(0)),
    st.tuples(st.just("poll"), st.just(""), st.integers(1, 2)),
    st.tuples(st.just("answer"), st.just("optIn"), st.integers(0, 2)),
    st.tuples(st.just("answer"), st.just("optOut"), st.integers(0, 2)),
    st.tuples(st.just("wait"), st.just(""), st.integers(1, 4)),
    st.tuples(st.just("restart"), st.just(""), st.just(0)),
)
Step = tuple[str, str, int]


@dataclass
class Life:
    """What the model knows of one event."""

    start: datetime
    length: timedelta
    number: int = 0
    cancelled_at: datetime | None = None
    answered: bool = False
    opt: str | None = None

    @property
    def cancelled(self) -> bool:
        return self.cancelled_at is not None

    def over(self, now: datetime) -> bool:
        return now >= self.start + self.length

    def listed(self, now: datetime) -> bool:
        return not self.over(now) and not (self.cancelled and self.answered)

    def place(self, event_id: str, now: datetime) -> tuple[bool, datetime, str]:
        return (self.start > (self.cancelled_at or now), self.start, event_id)


@dataclass
class Model:
    """The model, and the server that must agree with it."""

    desk: Desk
    lives: dict[str, Life] = field(default_factory=dict)
    told: list[Event] = field(default_factory=list)

    async def do(self, step: Step) -> None:
        name, argument, number = step
        await getattr(self, name)(argument, number)

    async def publish(self, event_id: str, quarters: int) -> None:
        start, length = self.desk.now + quarters * QUARTER, 4 * QUARTER
        if event_id in self.lives:
            with pytest.raises(DuplicateEvent):
                await self.desk.publish(make_event(event_id, start + timedelta(days=1), length))
            return
        await self.desk.publish(make_event(event_id, start, length))
        self.lives[event_id] = Life(start, length)

    async def modify(self, event_id: str, quarters: int) -> None:
        life = self.lives.get(event_id)
        length = quarters * 2 * QUARTER
        if life is None or life.cancelled or life.over(self.desk.now):
            with pytest.raises((UnknownObject, NotAdmitted)):
                await self.desk.modify(make_event(event_id))
            return
        if length != life.length and life.start + length <= self.desk.now:
            with pytest.raises(NotAdmitted, match="past: cancel the event"):
                await self.desk.modify(make_event(event_id, life.start, length))
            return
        await self.desk.modify(make_event(event_id, life.start, length))
        if length != life.length:
            life.length, life.number = length, life.number + 1
            life.answered, life.opt = False, None

    async def cancel(self, event_id: str, _number: int) -> None:
        life = self.lives.get(event_id)
        if life is None or (life.over(self.desk.now) and not life.cancelled):
            with pytest.raises((UnknownObject, NotAdmitted)):
                await self.desk.cancel(event_id)
            return
        await self.desk.cancel(event_id)
        if not life.cancelled:
            life.cancelled_at, life.number = self.desk.now, life.number + 1
            life.answered, life.opt = False, None

    async def poll(self, _argument: str, times: int) -> None:
        """Several polls in a row stand for lost responses: each is offered the same."""
        for _ in range(times):
            reply = await self.desk.poll()
            now = self.desk.now
            waits = any(not life.answered and not life.over(now) for life in self.lives.values())
            if not waits:
                assert isinstance(reply, Response)
                continue
            assert isinstance(reply, DistributeEvent)
            self.check_list(reply)
            self.told += reply.events

    async def answer(self, opt: str, back: int) -> None:
        """Answer what was told last, or some time ago, whatever became of it."""
        if len(self.told) <= back:
            return
        told = self.told[-1 - back]
        life = self.lives[told.event_id]
        reply = await self.desk.answer(told, OptType(opt))
        assert isinstance(reply, Response)
        if told.modification_number == life.number:
            if not life.over(self.desk.now):  # what is said later is history
                life.answered, life.opt = True, opt
            assert reply.response.code == "200"
        else:
            assert reply.response.code == "450"

    async def wait(self, _argument: str, quarters: int) -> None:
        self.desk.now += quarters * QUARTER

    async def restart(self, _argument: str, _number: int) -> None:
        await self.desk.restart()

    def check_list(self, message: DistributeEvent) -> None:
        now = self.desk.now
        expected = {key: life for key, life in self.lives.items() if life.listed(now)}
        order = sorted(expected, key=lambda key: expected[key].place(key, now))
        shown = [(item.event_id, item.modification_number, item.is_cancelled) for item in message.events]
        assert shown == [(key, expected[key].number, expected[key].cancelled) for key in order]

    async def end(self) -> tuple[dict[str, object], dict[str, object]]:
        """What the operator sees of each event, and what the model says; the full list is checked."""
        message = await self.desk.say(RequestEvent(request_id="q", ven_id=self.desk.ids[ALICE]))
        assert isinstance(message, DistributeEvent)
        self.check_list(message)
        facts = [fact.body["event_id"] for fact in await self.desk.facts("signal")]
        seen: dict[str, object] = {}
        async with self.desk.db.read() as conn:
            for event_id in self.lives:
                (state,) = await event.event_states(conn, event_id)
                seen[event_id] = (state.modification_number, state.opt, facts.count(event_id))
        return seen, {key: (life.number, life.opt, life.number + 1) for key, life in self.lives.items()}


async def play(steps: list[Step], path: Path) -> tuple[dict[str, object], dict[str, object]]:
    database = await Database.open(path)
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http)
        try:
            await desk.settle_in()
            model = Model(desk)
            for step in steps:
                await model.do(step)
            return await model.end()
        finally:
            await desk.server.stop()
            await database.close()


def fresh(template: Path, directory: Path) -> Path:
    for leftover in directory.glob("case.db*"):
        leftover.unlink()
    return Path(shutil.copy(template, directory / "case.db"))


@pytest.mark.goal(74)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=5, max_size=30))
def test_any_life_of_events_is_as_the_model_says(
    steps: list[Step], database_template: Path, tmp_path: Path
) -> None:
    seen, said = asyncio.run(play(steps, fresh(database_template, tmp_path)))
    assert seen == said


@pytest.mark.goal(74)
@pytest.mark.long
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=40, max_size=50))
def test_any_long_life_of_events_is_as_the_model_says(
    steps: list[Step], database_template: Path, tmp_path: Path
) -> None:
    seen, said = asyncio.run(play(steps, fresh(database_template, tmp_path)))
    assert seen == said


def test_model_starts_now() -> None:
    assert Life(NOW, QUARTER).listed(NOW)
    assert not Life(NOW, QUARTER).listed(NOW + QUARTER)
