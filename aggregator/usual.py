"""What homes behind a node used in an event, and what they usually use at that time of day."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.profile import QUARTER, Calendar, LoadProfile, Period
from aggregator.readings import metered


@dataclass(frozen=True, slots=True)
class Called:
    """A node's event, and the calendar whose days are compared."""

    ven_id: str
    period: Period
    calendar: Calendar


@dataclass(frozen=True, slots=True)
class HomeUse:
    """Load by home, over the same period: the mean of the baseline's days, and what was metered."""

    usual: dict[str, LoadProfile]
    used: dict[str, LoadProfile]


async def home_use(
    conn: AsyncConnection, called: Called, days: Sequence[date], names: Sequence[str]
) -> HomeUse:
    """The homes of these names behind the node; NaN where nothing is known."""
    now_used = await metered(conn, [called.ven_id], names, called.period)
    earlier = [await _on_day(conn, called, day, names) for day in days]
    return HomeUse(
        {name: _mean([profiles[name] for profiles in earlier], called.period) for name in names},
        {name: now_used.profile(called.ven_id, name, called.period) for name in names},
    )


async def _on_day(
    conn: AsyncConnection, called: Called, day: date, names: Sequence[str]
) -> dict[str, LoadProfile]:
    """What the homes used on ``day`` at the event's times of day."""
    calendar, period = called.calendar, called.period
    back = (day - calendar.day_of(period.start)).days
    then = Period(calendar.shifted(period.start, back), calendar.shifted(period.end, back))
    found = await metered(conn, [called.ven_id], names, then)
    return {name: found.profile(called.ven_id, name, then) for name in names}


def _mean(profiles: Sequence[LoadProfile], period: Period) -> LoadProfile:
    """Slot by slot over what is known, laid over ``period``; NaN where nothing is."""
    kw = []
    for index, _ in enumerate(period.slots()):
        known = [p.kw[index] for p in profiles if index < len(p.kw) and not math.isnan(p.kw[index])]
        kw.append(math.fsum(known) / len(known) if known else math.nan)
    return LoadProfile(next(period.slots(), period.start), QUARTER, tuple(kw))
