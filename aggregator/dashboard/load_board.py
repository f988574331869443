"""The portfolio's curves of the day, as often as can be afforded.

A baseline needs weeks of a node's readings, so the first curves of a large fleet take minutes of work. They
are made in small steps with equal pauses, because nodes are answered by the same process; meanwhile pages get
those of before. Later a node's curves are made again when it has reported or was called, of no other.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from aggregator.curve import CurveMaker, Curves
from aggregator.dashboard.page import Desk
from aggregator.profile import LoadProfile, Period, known_part

NODES_A_STEP = 4
PATIENCE_S = 2.0  # a page waits so long for new curves
SHARE = 4  # they are made again at the earliest after so many times what they cost
FRESH_S = 1.0
FORECAST_S = (
    15.0  # the day's forecast is no fact of the journal: while it is not there it is looked for so often
)


@dataclass(slots=True)
class LoadBoard:
    """The newest curves, and the work on the next ones; one for each running aggregator."""

    period: Period | None = None
    curves: Curves | None = None
    """The sums are of what is known: of so many nodes in each quarter hour, as `metered_of` says."""
    metered_of: tuple[int, ...] = ()
    baseline_of: tuple[int, ...] = ()
    made_at: float = 0.0  # monotonic, as the cost
    cost_s: float = 0.0
    changed: int = -1  # how many facts the curves know of that change some
    _changes: dict[str, int] = field(default_factory=dict)  # the same by node
    work: asyncio.Task[None] | None = field(default=None)

    async def newest(self, desk: Desk, day: Period) -> tuple[Curves | None, bool]:
        """The curves of a day, and whether they are up to date; None while its first ones are being made for
        longer than a page waits.
        """
        if not self._is_current(desk, day) and self._may_be_made(day):
            if self.work is None or self.work.done():
                self.work = asyncio.create_task(self._make(desk, day), name="aggregator load board")
            # who has curves of before does not wait for what is known to take long
            hopeless = self.period == day and self.cost_s > PATIENCE_S / 2
            with suppress(TimeoutError):
                async with asyncio.timeout(0 if hopeless else PATIENCE_S):
                    await asyncio.shield(self.work)
        return self.curves if self.period == day else None, self._is_current(desk, day)

    def known(self, day: Period) -> Curves | None:
        """The curves of a day as they are, without waiting for newer ones."""
        return self.curves if self.period == day else None

    async def close(self) -> None:
        """Leave the work; the database closes next."""
        if self.work is not None:
            self.work.cancel()
            await asyncio.gather(self.work, return_exceptions=True)

    def _is_current(self, desk: Desk, day: Period) -> bool:
        if self.curves is None or self.period != day or self.changed != desk.overview.tally.changed:
            return False
        forecast = not all(math.isnan(kw) for kw in self.curves.forecast_total.kw)
        return forecast or time.monotonic() - self.made_at < FORECAST_S

    def _may_be_made(self, day: Period) -> bool:
        return self.period != day or time.monotonic() - self.made_at > max(FRESH_S, SHARE * self.cost_s)

    async def _make(self, desk: Desk, day: Period) -> None:
        tally, spent = desk.overview.tally, 0.0
        changed, changes = tally.changed, {one: tally.changes[one] for one in sorted(tally.reporting)}
        of_before = self.curves if self.period == day else None
        loads: dict[str, LoadProfile] = dict(of_before.metered) if of_before else {}
        usual: dict[str, LoadProfile] = dict(of_before.baseline) if of_before else {}
        ids = [one for one in changes if of_before is None or self._changes.get(one) != changes[one]]
        forecast: LoadProfile | None = None
        for first in range(0, len(ids), NODES_A_STEP) or (0,):
            began = time.monotonic()
            some = ids[first : first + NODES_A_STEP]
            history: Mapping[str, int] = {one: tally.history_days(one) for one in some}
            async with desk.db.read() as conn:
                part = await desk.maker.curves(conn, some, day, history)
            loads |= part.metered
            usual |= part.baseline
            forecast = part.forecast_total
            step_s = time.monotonic() - began
            spent += step_s
            await asyncio.sleep(step_s if len(ids) > NODES_A_STEP else 0)
        if forecast is None:
            return
        metered, self.metered_of = known_part(list(loads.values()), day)
        baseline, self.baseline_of = known_part(list(usual.values()), day)
        self.curves = Curves(day, loads, usual, metered, baseline, forecast)
        self.period, self.made_at, self.cost_s = day, time.monotonic(), spent
        self.changed, self._changes = changed, changes


_BOARDS: WeakKeyDictionary[CurveMaker, LoadBoard] = WeakKeyDictionary()


def board_of(desk: Desk) -> LoadBoard:
    """The board of the aggregator that the desk is of."""
    return _BOARDS.setdefault(desk.maker, LoadBoard())
