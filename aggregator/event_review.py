"""One node's part in an event, interval by interval: what was expected, metered, asked for and delivered, and
which readings were missing, late or not usable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import store
from aggregator.baseline import Baseline, Question, adjustment_window, baseline
from aggregator.dispatch import energy_wh
from aggregator.errors import BaselineError
from aggregator.performance import watt_hours
from aggregator.profile import QUARTER, Calendar, LoadProfile, Period
from aggregator.readings import LOAD, METERED, metered
from aggregator.settings import ProgrammeSettings
from aggregator.settlement import Statement
from aggregator.statement import LOOK_BACK
from aggregator.store import StoredCall
from vtn import report
from vtn.errors import UnknownObject
from vtn.schema import ven_table

LATE = timedelta(hours=1)
"""A reading that is reported so long after its quarter hour is late."""
AROUND = timedelta(hours=2)


class Reading(StrEnum):
    """What is known of the reading of a quarter hour."""

    THERE = "there"
    LATE = "late"
    UNUSABLE = "unusable"
    MISSING = "missing"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One quarter hour, in whole Wh; None where nothing is known. `delay` is from its end to its report."""

    start: datetime
    baseline_wh: int | None
    metered_wh: int | None
    requested_wh: int
    reading: Reading
    delay: timedelta | None

    @property
    def reduction_wh(self) -> int | None:
        """Baseline minus metered; negative where the node used more."""
        if self.baseline_wh is None or self.metered_wh is None:
            return None
        return self.baseline_wh - self.metered_wh

    @property
    def missing_wh(self) -> int | None:
        """What was asked for and not delivered: all of it where a reading is missing or not usable, as the
        statement counts it.
        """
        if self.baseline_wh is not None and self.reading in (Reading.MISSING, Reading.UNUSABLE):
            return self.requested_wh
        return None if self.reduction_wh is None else max(0, self.requested_wh - self.reduction_wh)


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What there is to say of one node's part in an event. `expected` is None where no baseline is carried,
    and `reason` says why; `statement` is the newest one, None before it is made.
    """

    call: StoredCall
    ven_name: str
    intervals: Sequence[Interval]
    expected: Baseline | None
    reason: str
    load: LoadProfile
    day_profiles: Mapping[date, LoadProfile]
    statement: Statement | None

    @property
    def requested_wh(self) -> int:
        """What the event asks for over its whole quarter hours."""
        return energy_wh(self.call.power_w, self.call.period)

    @property
    def delivered_wh(self) -> int:
        """The reductions of the quarter hours that are metered."""
        return sum(one.reduction_wh or 0 for one in self.intervals)

    def number(self, *states: Reading) -> int:
        """How many quarter hours have such a reading."""
        return sum(one.reading in states for one in self.intervals)


async def review(
    conn: AsyncConnection, programme: ProgrammeSettings, event_id: str, ven_id: str, now: datetime
) -> Review:
    """The review as the readings stand; UnknownObject where the node has no part in such an event."""
    calls = await store.calls(conn, ven_id=ven_id)
    call = next((one for one in calls if one.event_id == event_id), None)
    if call is None:
        raise UnknownObject(f"{ven_id!r} has no part in an event {event_id!r}")
    calendar = programme.calendar()
    period = Period(calendar.shifted(call.period.start, -LOOK_BACK.days), call.period.end + AROUND)
    found = await metered(conn, [ven_id], [LOAD], period)
    load = found.profile(ven_id, LOAD, period)
    others = [one.period for one in calls if one.event_id != event_id and one.cancelled_at is None]
    question = Question(load, call.period, call.notified_at, calendar, others)
    expected, reason = None, ""
    try:
        expected = baseline(programme.baseline, question, programme.adjustment_cap)
    except BaselineError as error:
        reason = str(error)
    reported = await _reported(conn, call)
    arrived = found.arrived.get((ven_id, LOAD), set())
    known = _Known(call, expected, load, reported, arrived, now)
    statements = [s.statement for s in await store.statements(conn, event_id=event_id)]
    mine = [one for one in statements if one.ven_id == ven_id]
    return Review(
        call=call,
        ven_name=await _name(conn, ven_id),
        intervals=[_interval(slot, known) for slot in call.period.slots()],
        expected=expected,
        reason=reason,
        load=load,
        day_profiles={
            day: _shifted(load, call, day, calendar) for day in (expected.days if expected else ())
        },
        statement=mine[-1] if mine else None,
    )


async def _reported(conn: AsyncConnection, call: StoredCall) -> dict[datetime, datetime]:
    """When the first reading of each quarter hour of the event was reported, by telemetry or history."""
    rows = await report.readings(
        conn,
        ven_ids=[call.ven_id],
        r_ids=[LOAD],
        report_names=METERED,
        start=call.period.start,
        end=call.period.end,
    )
    found: dict[datetime, datetime] = {}
    for row in rows:
        found[row.start] = min(row.created_at, found.get(row.start, row.created_at))
    return found


async def _name(conn: AsyncConnection, ven_id: str) -> str:
    query = select(ven_table.c.ven_name).where(ven_table.c.ven_id == ven_id)
    return str((await conn.execute(query)).scalar_one_or_none() or ven_id)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of an event's quarter hours."""

    call: StoredCall
    expected: Baseline | None
    load: LoadProfile
    reported: Mapping[datetime, datetime]
    arrived: set[datetime]
    now: datetime


def _interval(slot: datetime, known: _Known) -> Interval:
    call, expected, load = known.call, known.expected, known.load
    at = known.reported.get(slot)
    delay = None if at is None else max(timedelta(0), at - (slot + QUARTER))
    used = load.at(slot)
    if math.isnan(used):
        reading = Reading.UNUSABLE if slot in known.arrived else Reading.MISSING
        if reading is Reading.MISSING and slot + QUARTER > known.now:
            reading = Reading.AHEAD
    else:
        reading = Reading.LATE if delay is not None and delay > LATE else Reading.THERE
    return Interval(
        start=slot,
        baseline_wh=watt_hours(expected.profile.at(slot)) if expected else None,
        metered_wh=watt_hours(used),
        requested_wh=round(call.power_w / 4),
        reading=reading,
        delay=delay,
    )


def _shifted(load: LoadProfile, call: StoredCall, day: date, calendar: Calendar) -> LoadProfile:
    """What the node used on a baseline day, laid over the event."""
    back = (day - calendar.day_of(call.period.start)).days
    slots = list(call.period.slots())
    return LoadProfile(slots[0], QUARTER, tuple(load.at(calendar.shifted(slot, back)) for slot in slots))


def window_of(call: StoredCall, calendar: Calendar) -> Period | None:
    """The hours before the notification that correct the baseline."""
    return adjustment_window(call.period, call.notified_at, calendar)
