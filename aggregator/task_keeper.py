"""Keeps the aggregator's tasks running: one that fails says so and starts over, and is known as failing when
it fails again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from aggregator.alarm_platform import Trouble
from vtn.store import Database

log = structlog.get_logger(__name__)

RETRY_S = 1.0  # real seconds before a failed task starts over
QUIET = timedelta(minutes=15)
"""After so long without another fault a task is at work again, even if it waits for something."""
SHOWN = 200
Task = Callable[[Database], Awaitable[None]]


@dataclass(slots=True)
class _Fault:
    """What went wrong with a task since it last got through."""

    first: datetime
    last: datetime
    text: str
    count: int = 1


class TaskKeeper:
    """The tasks of one process."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._faults: dict[str, _Fault] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def runs(self) -> bool:
        """Whether all of them run."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    def failing(self) -> list[Trouble]:
        """Tasks that fail again and again."""
        now = self._clock()
        return [
            Trouble(name, fault.first, fault.text)
            for name, fault in self._faults.items()
            if fault.count > 1 and now - fault.last < QUIET
        ]

    def start(self, db: Database, work: Mapping[str, Task]) -> None:
        """Run each of them again and again, for ever."""
        self._tasks += [
            asyncio.create_task(self._keep(db, name, task), name=f"aggregator {name}")
            for name, task in work.items()
        ]

    async def stop(self) -> None:
        """End them all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _keep(self, db: Database, name: str, task: Task) -> None:
        while True:
            try:
                await task(db)
            except Exception as error:
                log.exception("a task failed and starts over", task=name)
                self._note(name, f"{type(error).__name__}: {error}"[:SHOWN])
                await asyncio.sleep(RETRY_S)
            else:
                self._faults.pop(name, None)

    def _note(self, name: str, text: str) -> None:
        now, before = self._clock(), self._faults.get(name)
        if before is None or now - before.last >= QUIET:
            self._faults[name] = _Fault(now, now, text)
        else:
            before.last, before.text, before.count = now, text, before.count + 1
