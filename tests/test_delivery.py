"""Delivery is a promise: our VEN and our VTN over a bad line, against a model of what both must know.

Steps: the operator creates, modifies and cancels events; time goes by, so events begin and end; a message is
exchanged, its request or its reply lost, or it arrives twice, or once more much later; either side dies and
starts again. At the end the line gets better, both talk until nothing is left to say, and must agree: the VEN
follows exactly the events that are not over, the VTN holds an answer to the newest version of each, and the
journal has each version's signal once.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from openadr import Message
from tests.pair import FINGERPRINT, Pair
from tests.ven.site import NOW, Site
from tests.ven.wire import plain
from tests.vtn.desk import anything_goes, make_event, request_all
from ven.event import followed
from vtn import event, journal, registration
from vtn.errors import DuplicateEvent, NotAdmitted, UnknownObject
from vtn.store import Database

IDS = ("e1", "e2", "e3")
QUARTER = timedelta(minutes=15)
REFUSED = (DuplicateEvent, NotAdmitted, UnknownObject)
STEPS = st.one_of(
    st.tuples(st.just("create"), st.sampled_from(IDS), st.integers(1, 12)),
    st.tuples(st.just("modify"), st.sampled_from(IDS), st.integers(1, 12)),
    st.tuples(st.just("cancel"), st.sampled_from(IDS), st.just(0)),
    st.tuples(st.just("exchange"), st.sampled_from(["", "request lost", "reply lost", "twice"]), st.just(0)),
    st.tuples(st.just("exchange"), st.just(""), st.just(0)),
    st.tuples(st.just("late"), st.just(""), st.integers(0, 20)),
    st.tuples(st.just("time"), st.just(""), st.integers(1, 6)),
    st.tuples(st.just("restart"), st.sampled_from(["ven", "vtn"]), st.just(0)),
)
Step = tuple[str, str, int]


@dataclass
class Wanted:
    """What the operator asked for last."""

    start: datetime
    end: datetime
    version: int = 0
    cancelled: bool = False


class Line:
    """Both sides, the line between them, and the model."""

    def __init__(self, pair: Pair, path: Path) -> None:
        self.pair = pair
        self.path = path
        self.now = NOW
        self.wanted: dict[str, Wanted] = {}
        self.sent: list[Message] = []

    async def create(self, name: str, quarters: int) -> None:
        start = self.now + quarters * QUARTER
        if await self.write(
            lambda conn, ven_id: event.publish(conn, make_event(name, start), ven_id, self.now, anything_goes)
        ):
            # the same event once more is no other event
            self.wanted.setdefault(name, Wanted(start, start + timedelta(hours=1)))

    async def modify(self, name: str, quarters: int) -> None:
        start = self.now + quarters * QUARTER
        wanted = self.wanted.get(name)
        if await self.write(
            lambda conn, ven_id: event.modify(conn, make_event(name, start), ven_id, self.now, anything_goes)
        ):
            assert wanted is not None and not wanted.cancelled
            if wanted.start != start:
                wanted.start, wanted.end = start, start + timedelta(hours=1)
                wanted.version += 1

    async def cancel(self, name: str, _number: int) -> None:
        wanted = self.wanted.get(name)
        if await self.write(lambda conn, ven_id: event.cancel(conn, name, ven_id, self.now)):
            assert wanted is not None
            if not wanted.cancelled:
                wanted.cancelled = True
                wanted.version += 1

    async def write(self, act: Any) -> bool:
        """Whether the operator's act was taken."""
        try:
            async with self.pair.db.write() as conn:
                ven = await registration.ven_of(conn, FINGERPRINT, self.now)
                assert ven is not None
                await act(conn, ven.ven_id)
        except REFUSED:
            return False
        return True

    async def exchange(self, fate: str, _number: int) -> None:
        """The next thing that the VEN has to say, and what becomes of it."""
        session = self.pair.session
        due = session.due(self.now)
        if not due:
            self.now += timedelta(minutes=1)
            due = session.due(self.now)
        if not due:
            return
        if fate == "request lost":
            return
        self.sent.append(due[0])
        reply = await self.pair.ask(due[0], self.now)
        if fate == "twice":
            reply = await self.pair.ask(due[0], self.now)
        if fate != "reply lost":
            session.receive(reply, self.now)

    async def late(self, _argument: str, back: int) -> None:
        """A request comes once more, long after; nobody waits for its reply."""
        if back < len(self.sent):
            await self.pair.ask(self.sent[-1 - back], self.now)

    async def time(self, _argument: str, quarters: int) -> None:
        self.now += quarters * QUARTER

    async def restart(self, who: str, _number: int) -> None:
        if who == "ven":
            self.pair.restart()
        else:
            await self.pair.db.close()
            self.pair.db = await Database.open(self.path)

    async def outcome(self) -> tuple[dict[str, object], dict[str, object]]:
        """What both know once the line is good, and what they should."""
        for _ in range(3):
            await self.pair.run(self.now)
            self.now += timedelta(minutes=1)
        now = self.now
        held = followed(self.pair.session.saved.events.values())
        live = {each.event_id: each.modification_number for each in held if each.end and each.end > now}
        versions, unanswered = {}, []
        async with self.pair.db.read() as conn:
            facts = [fact for fact in await journal.facts_after(conn, 0, 10_000) if fact.kind == "signal"]
            for name, wanted in self.wanted.items():
                (state,) = await event.event_states(conn, name)
                versions[name] = state.modification_number
                if wanted.end > now and state.opt is None:
                    unanswered.append(name)
        signals = Counter(str(fact.body["event_id"]) for fact in facts)
        still = {name: each for name, each in self.wanted.items() if not each.cancelled and each.end > now}
        return (
            {"live": live, "versions": versions, "unanswered": unanswered, "signals": dict(signals)},
            {
                "live": {name: each.version for name, each in still.items()},
                "versions": {name: each.version for name, each in self.wanted.items()},
                "unanswered": [],
                "signals": {name: each.version + 1 for name, each in self.wanted.items()},
            },
        )


async def play(steps: list[Step], path: Path) -> tuple[dict[str, object], dict[str, object]]:
    db = await Database.open(path)
    pair = await Pair.join(db, plain(1, path.parent / "unused"), Site(), request_all, NOW)
    line = Line(pair, path)
    try:
        await pair.run(NOW)
        for name, argument, number in steps:
            act: Coroutine[Any, Any, None] = getattr(line, name)(argument, number)
            await act
        return await line.outcome()
    finally:
        await line.pair.db.close()


def fresh(template: Path, directory: Path) -> Path:
    for leftover in directory.glob("case.db*"):
        leftover.unlink()
    return Path(shutil.copy(template, directory / "case.db"))


# A life that fails is shown as it was found: making it smaller takes minutes, replaying it a second.
QUIETLY = {"phases": [Phase.generate], "deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.goal(74)
@settings(max_examples=6, **QUIETLY)  # type: ignore[arg-type]  # by name
@given(steps=st.lists(STEPS, min_size=20, max_size=50))
def test_both_sides_agree_after_any_life_of_events_over_a_bad_line(
    steps: list[Step], database_template: Path, tmp_path: Path
) -> None:
    known, wanted = asyncio.run(play(steps, fresh(database_template, tmp_path)))
    assert known == wanted


@pytest.mark.goal(74)
@pytest.mark.long
@settings(max_examples=500, **QUIETLY)  # type: ignore[arg-type]  # by name
@given(steps=st.lists(STEPS, min_size=50, max_size=50))
def test_both_sides_agree_after_many_long_lives_of_events_over_a_bad_line(
    steps: list[Step], database_template: Path, tmp_path: Path
) -> None:
    known, wanted = asyncio.run(play(steps, fresh(database_template, tmp_path)))
    assert known == wanted
