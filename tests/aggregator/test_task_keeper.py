"""Tasks that fail start over, and are known as failing while they do it again and again."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from aggregator import task_keeper
from aggregator.task_keeper import TaskKeeper
from tests.aggregator.conftest import START, HandClock
from vtn.store import Database


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between two tries."""
    monkeypatch.setattr(task_keeper, "RETRY_S", 0)


@pytest.mark.usefixtures("at_once")
async def test_a_task_that_fails_says_so_starts_over_and_is_forgiven_when_it_gets_through(
    database: Database,
) -> None:
    clock = HandClock(START)
    keeper, turns, through = TaskKeeper(clock), 0, asyncio.Event()
    known: list[list[str]] = []

    async def fails_twice(_db: Database) -> None:
        nonlocal turns
        turns += 1
        known.append([one.name for one in keeper.failing()])
        if turns <= 2:
            raise OSError("the disk is away")
        if turns == 4:
            through.set()
            await asyncio.Event().wait()

    with capture_logs() as told:
        keeper.start(database, {"example": fails_twice})
        await through.wait()
        await keeper.stop()
    assert [entry["task"] for entry in told if entry["log_level"] == "error"] == ["example", "example"]
    assert known == [[], [], ["example"], []]


@pytest.mark.usefixtures("at_once")
async def test_a_task_without_another_fault_for_a_quarter_of_an_hour_is_at_work(database: Database) -> None:
    clock = HandClock(START)
    keeper, turns, waits = TaskKeeper(clock), 0, asyncio.Event()

    async def fails_then_waits(_db: Database) -> None:
        nonlocal turns
        turns += 1
        if turns <= 2:
            raise OSError("the disk is away")
        waits.set()
        await asyncio.Event().wait()

    keeper.start(database, {"example": fails_then_waits})
    await waits.wait()
    (trouble,) = keeper.failing()
    assert (trouble.name, trouble.text) == ("example", "OSError: the disk is away")
    await clock.move(START + timedelta(minutes=15))
    assert keeper.failing() == []
    await keeper.stop()
