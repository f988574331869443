"""The portfolio's curves of one local day: metered, baseline, forecast; and each node's part in them.

Baselines cost a look at weeks of readings, so they are made once for each node and day, again when more
history has come, and once for each call when the readings before its notification are there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import store
from aggregator.baseline import Question, adjustment_window, baseline, typical_day
from aggregator.errors import BaselineError
from aggregator.profile import QUARTER, Calendar, LoadProfile, Period, total
from aggregator.readings import LOAD, LOAD_FORECAST, metered
from aggregator.settings import ProgrammeSettings
from aggregator.statement import LOOK_BACK

PORTFOLIO = ""
"""The name under which the portfolio's own forecasts are kept beside the nodes'."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Profiles over one period: of each node by its id, and of all that have any."""

    period: Period
    metered: Mapping[str, LoadProfile]
    baseline: Mapping[str, LoadProfile]
    metered_total: LoadProfile
    baseline_total: LoadProfile
    forecast_total: LoadProfile


class CurveMaker:
    """Makes curves and remembers the costly parts."""

    def __init__(self, programme: ProgrammeSettings) -> None:
        self._programme = programme
        self._calendar: Calendar = programme.calendar()
        self._days: dict[tuple[str, date], tuple[int, LoadProfile]] = {}
        self._called: dict[tuple[str, str, Period], LoadProfile] = {}

    async def curves(
        self, conn: AsyncConnection, ven_ids: Sequence[str], period: Period, history: Mapping[str, int]
    ) -> Curves:
        """The curves over a period; ``history`` (whole days by node) says when a baseline is to be made
        again.
        """
        found = await metered(conn, ven_ids, [LOAD], period)
        loads = {
            ven_id: found.profile(ven_id, LOAD, period)
            for ven_id in ven_ids
            if (ven_id, LOAD) in found.profiles
        }
        expected = {}
        for ven_id in ven_ids:
            made = await self._baseline(conn, ven_id, period, history.get(ven_id, 0))
            if made is not None:
                expected[ven_id] = made
        return Curves(
            period,
            loads,
            expected,
            total(list(loads.values()), period),
            total(list(expected.values()), period),
            await self._forecast(conn, period),
        )

    async def _baseline(
        self, conn: AsyncConnection, ven_id: str, period: Period, history: int
    ) -> LoadProfile | None:
        """Typical days, with the settling baseline where the node was called."""
        days = {self._calendar.day_of(slot) for slot in period.slots()}
        parts = [await self._day(conn, ven_id, day, history) for day in sorted(days)]
        known = [part for part in parts if part is not None]
        if not known:
            return None
        for call in await store.calls(conn, ven_id=ven_id):
            if call.cancelled_at is None and call.period.overlaps(period):
                made = await self._call(conn, call)
                if made is not None:
                    known.insert(0, made)
        return LoadProfile(
            next(period.slots()), QUARTER, tuple(_first(known, slot) for slot in period.slots())
        )

    async def _day(self, conn: AsyncConnection, ven_id: str, day: date, history: int) -> LoadProfile | None:
        kept = self._days.get((ven_id, day))
        if kept is not None and kept[0] == history:
            return kept[1]
        whole = self._calendar.day(day)
        load = await _load(conn, ven_id, Period(whole.start - LOOK_BACK, whole.start))
        others = [call.period for call in await store.calls(conn, ven_id=ven_id) if call.cancelled_at is None]
        try:
            made = typical_day(self._programme.baseline, load, day, self._calendar, others)
        except BaselineError:
            return None
        self._days[ven_id, day] = (history, made)
        return made

    async def _call(self, conn: AsyncConnection, call: store.StoredCall) -> LoadProfile | None:
        key = (call.event_id, call.ven_id, call.period)
        if key in self._called:
            return self._called[key]
        load = await _load(conn, call.ven_id, Period(call.period.start - LOOK_BACK, call.period.end))
        others = [
            other.period
            for other in await store.calls(conn, ven_id=call.ven_id)
            if other.event_id != call.event_id and other.cancelled_at is None
        ]
        question = Question(load, call.period, call.notified_at, self._calendar, others)
        try:
            made = baseline(self._programme.baseline, question, self._programme.adjustment_cap).profile
        except BaselineError:
            return None
        window = adjustment_window(call.period, call.notified_at, self._calendar)
        if window is None or load.window(window).known():
            self._called[key] = made
        return made

    async def _forecast(self, conn: AsyncConnection, period: Period) -> LoadProfile:
        days = sorted({self._calendar.day_of(slot) for slot in period.slots()})
        parts = []
        for day in days:
            begin = self._calendar.day(day).start
            issued = (await store.newest_series(conn, LOAD_FORECAST, begin)).get(PORTFOLIO)
            if issued is not None and issued[0] == begin:
                parts.append(issued[1])
        kw = tuple(_first(parts, slot) for slot in period.slots())
        return LoadProfile(next(period.slots()), QUARTER, kw)


async def portfolio_load(conn: AsyncConnection, ven_ids: Sequence[str], period: Period) -> LoadProfile:
    """What all nodes that metered anything used together; NaN where one of them has no reading."""
    found = await metered(conn, ven_ids, [LOAD], period)
    return total(
        [found.profile(ven_id, LOAD, period) for ven_id, r_id in found.profiles if r_id == LOAD], period
    )


async def history_is_in(conn: AsyncConnection, ven_ids: Sequence[str], midnight: datetime) -> bool:
    """Whether every one of these nodes has reported the last quarter hour before ``midnight``."""
    last = Period(midnight - QUARTER, midnight)
    found = await metered(conn, ven_ids, [LOAD], last)
    return bool(ven_ids) and all(found.arrived.get((ven_id, LOAD)) for ven_id in ven_ids)


def numbers(profile: LoadProfile) -> list[float | None]:
    """A profile as JSON: kW to the watt, null where nothing is known."""
    return [None if math.isnan(kw) else round(kw, 3) for kw in profile.kw]


def times(period: Period, step: timedelta = QUARTER) -> list[str]:
    """The starts of the period's slots."""
    return [slot.isoformat() for slot in period.slots(step)]


async def _load(conn: AsyncConnection, ven_id: str, period: Period) -> LoadProfile:
    return (await metered(conn, [ven_id], [LOAD], period)).profile(ven_id, LOAD, period)


def _first(profiles: Sequence[LoadProfile], slot: datetime) -> float:
    for profile in profiles:
        kw = profile.at(slot)
        if not math.isnan(kw):
            return kw
    return math.nan
