"""The machine's clock is put right while somebody sleeps: nobody oversleeps, what is due is seen (GOALS 77).

The clock of the day is moved, the monotonic one is not, as when a time server corrects a box.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine

from feid.agent import _HELD_SINCE, Agent, _cycles
from feid.store import Store
from flexpact import clock as clock_module
from flexpact.clock import Clock
from tests.feid.evening import START, evening, follow, held
from tests.feid.town import CYCLE, DAY, town

HOUR = timedelta(hours=1)
PATIENCE_S = 30
LATE_S = 2.0


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock_module.LOOK_S <= LATE_S / 2  # a step is seen in time
    monkeypatch.setattr(clock_module, "LOOK_S", 0.005)


@pytest.mark.goal(77)
@pytest.mark.parametrize("step", [-HOUR, HOUR, timedelta(seconds=-3), timedelta(days=20_000)], ids=str)
async def test_a_sleeper_looks_again_when_the_clock_is_put_right(step: timedelta) -> None:
    clock = Clock.real()
    with time_machine.travel(DAY, tick=True) as day:
        sleeper = asyncio.create_task(clock.sleep(3600))
        await asyncio.sleep(0)
        assert not sleeper.done()
        day.shift(step)
        async with asyncio.timeout(PATIENCE_S):
            await sleeper
        assert sleeper.done()


@pytest.mark.goal(77)
async def test_a_clock_that_is_set_back_keeps_nobody_asleep_longer() -> None:
    clock = Clock.real()
    with time_machine.travel(DAY, tick=True) as day:
        began = time.monotonic()
        sleeper = asyncio.create_task(clock.sleep(0.05))
        await asyncio.sleep(0)
        day.shift(timedelta(seconds=-1.5))  # too little to be noticed
        async with asyncio.timeout(PATIENCE_S):
            await sleeper
        assert time.monotonic() - began >= 0.05


@asynccontextmanager
async def at_work(agent: Agent, clock: Clock) -> AsyncIterator[None]:
    """The box's cycles on the real clock."""
    stop = asyncio.Event()
    cycles = asyncio.create_task(_cycles(agent, clock, clock.sleep, stop))
    try:
        yield
    finally:
        stop.set()
        agent.changed.set()
        await cycles


async def until_it_acts(store: Store) -> None:
    """Until the box has begun to hold its devices."""
    async with asyncio.timeout(PATIENCE_S):
        while store.mark(_HELD_SINCE) is None:  # noqa: ASYNC110  the store tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.goal(77)
@pytest.mark.parametrize("wrong", [START + timedelta(minutes=5) - HOUR, DAY.replace(year=1970)], ids=str)
async def test_a_box_whose_clock_was_behind_follows_its_event_when_that_is_put_right(
    wrong: object, tmp_path: Path
) -> None:
    """It sleeps till its next mark, minutes away, when its clock jumps into the event."""
    clock, now = Clock.real(), START + timedelta(minutes=5)
    async with town(tmp_path, start=START - HOUR) as place, place.box() as (agent, store):
        follow(agent, evening())
        await place.move_to(now)
        with time_machine.travel(wrong, tick=True) as day:  # type: ignore[arg-type] - an instant
            agent.changed.clear()
            async with at_work(agent, clock):
                await asyncio.sleep(0.05)
                assert store.mark(_HELD_SINCE) is None
                day.move_to(now)
                await until_it_acts(store)
        await place.move_to(now + CYCLE)
        assert await held(place)
