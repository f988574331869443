"""The budget of what is asked of the grid: power at any instant, power that begins or ends within a minute,
events of a day; and the breaker that opens when somebody asks for more.

Rules: the check sees all that is asked in the transaction that asks for more, so the sum of what is active is
never over the budget, in whatever order things come. An open breaker stays open until somebody closes it:
meanwhile nothing is sent, but everything can be taken back, or be made less. It is open too for as long as
limits that were set cannot be read: nobody knows what they allow.

Limits that were made stricter may leave an event above them. A change of it is judged by what it adds, so
that the way down is never barred.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import operator_choice
from aggregator.commitment import Commitment, by_node, commitments
from aggregator.errors import BreakerOpenError, BudgetExceededError
from aggregator.limit_schema import breaker_table
from aggregator.limit_settings import LimitSettings
from aggregator.operator_choice import LimitChoice
from aggregator.profile import Calendar, Period
from aggregator.told import Values, in_english
from aggregator.topic import Changed, Topic
from vtn.store import after_commit, if_undone

MINUTE = timedelta(minutes=1)
A_DAY = timedelta(days=1)


class Limit(StrEnum):
    """The parts of the budget."""

    POWER = "power"
    RAMP = "ramp"
    EVENTS = "events"


@dataclass(frozen=True, slots=True)
class Excess:
    """A part of the budget that an event would exceed: the sum with it, and what is allowed; W, or events."""

    limit: Limit
    wanted: int
    allowed: int

    @property
    def message(self) -> str:
        """The sentence that its values stand in."""
        return _TEXTS[self.limit]

    @property
    def values(self) -> Values:
        """The values of the sentence."""
        if self.limit is Limit.EVENTS:
            return {"wanted": self.wanted, "allowed": self.allowed}
        return {"wanted_kw": self.wanted / 1000, "allowed_kw": self.allowed / 1000}

    def __str__(self) -> str:
        return in_english(self.message, self.values)


_TEXTS = {
    Limit.POWER: "%(wanted_kw)s at once, the budget is %(allowed_kw)s",
    Limit.RAMP: "%(wanted_kw)s within a minute, the budget is %(allowed_kw)s",
    Limit.EVENTS: "%(wanted)s events on that day, the budget is %(allowed)s",
}


@dataclass(frozen=True, slots=True)
class Opened:
    """The breaker since it opened."""

    opened_at: datetime
    opened_by: str
    reason: str


async def excesses(
    conn: AsyncConnection,
    limits: LimitSettings,
    calendar: Calendar,
    wanted: Sequence[Commitment],
    changed: str | None = None,
) -> list[Excess]:
    """What of the budget one event would exceed, beside all that is asked already; `wanted` are its parts,
    `changed` is the id of an event that they are all of from then on: what that exceeds already is left out.
    """
    if not wanted or not _limits_anything(limits):
        return []
    since = min(calendar.day(calendar.day_of(one.period.start)).start for one in wanted) - MINUTE
    found = await commitments(conn, since)
    return judged(limits, calendar, wanted, apart_from(wanted, found, changed), _of(found, changed))


def apart_from(
    wanted: Sequence[Commitment], found: Sequence[Commitment], changed: str | None = None
) -> list[Commitment]:
    """Those of `found` that stay beside `wanted`: a node's part gives way to its own new version only, and
    all parts of the event `changed`.
    """
    replaced = {(one.event_id, one.ven_id) for one in wanted}
    return [one for one in found if (one.event_id, one.ven_id) not in replaced and one.event_id != changed]


def judged(
    limits: LimitSettings,
    calendar: Calendar,
    wanted: Sequence[Commitment],
    others: Sequence[Commitment],
    before: Sequence[Commitment] = (),
) -> list[Excess]:
    """The same as a plain function of values; the wanted parts take the place of those `before`."""
    everything, former = [*wanted, *others], [*before, *others]
    more = _growth(wanted, before) if before else [one.period for one in wanted]
    events = _most_of_a_day(calendar, wanted, before, everything)
    found = []
    for limit, kw, wanted_w, former_w in (
        (Limit.POWER, limits.max_concurrent_kw, peak_w(everything, more), 0),
        (
            Limit.RAMP,
            limits.max_ramp_kw_per_min,
            ramp_w(everything, _edges(wanted)),
            ramp_w(former, _edges(before)),
        ),
    ):
        if kw is not None and wanted_w > max(int(kw * 1000), former_w):
            found.append(Excess(limit, wanted_w, int(kw * 1000)))
    if limits.max_events_per_day is not None and events > limits.max_events_per_day:
        found.append(Excess(Limit.EVENTS, events, limits.max_events_per_day))
    return found


def _of(found: Sequence[Commitment], event_id: str | None) -> list[Commitment]:
    return [one for one in found if one.event_id == event_id]


def _edges(parts: Sequence[Commitment]) -> set[datetime]:
    return {edge for one in parts for edge in (one.period.start, one.period.end)}


def _growth(wanted: Sequence[Commitment], before: Sequence[Commitment]) -> list[Period]:
    """When more is asked than before."""
    steps: dict[datetime, int] = defaultdict(int)
    for sign, parts in ((1, wanted), (-1, before)):
        for one in parts:
            steps[one.period.start] += sign * one.power_w
            steps[one.period.end] -= sign * one.power_w
    found, more_w = [], 0
    for start, end in pairwise(sorted(steps)):
        more_w += steps[start]
        if more_w > 0:
            found.append(Period(start, end))
    return found


def _most_of_a_day(
    calendar: Calendar,
    wanted: Sequence[Commitment],
    before: Sequence[Commitment],
    everything: Sequence[Commitment],
) -> int:
    """The most events on any of the local days on which parts of the wanted one start, and none did yet."""
    days = {calendar.day_of(one.period.start) for one in wanted}
    days -= {calendar.day_of(one.period.start) for one in before}
    of_day: dict[date, set[str]] = {day: set() for day in days}
    for one in everything:
        day = calendar.day_of(one.period.start)
        if day in of_day:
            of_day[day].add(one.event_id)
    return max(map(len, of_day.values()), default=0)


def peak_w(everything: Sequence[Commitment], during: Sequence[Period]) -> int:
    """The largest sum at any instant of some periods: at their starts, and it can grow at a start only."""
    steps = sorted(
        [
            *((one.period.start, 1, one.power_w) for one in everything),
            *((one.period.end, 0, -one.power_w) for one in everything),
            *((period.start, 1, 0) for period in during),
        ]
    )
    highest = now_w = 0
    for index, (at, _, power_w) in enumerate(steps):
        now_w += power_w
        last = index + 1 == len(steps) or steps[index + 1][:2] != steps[index][:2]
        if last and any(period.start <= at < period.end for period in during):
            highest = max(highest, now_w)
    return highest


def ramp_w(everything: Sequence[Commitment], edges: set[datetime]) -> int:
    """The most that begins, or ends, within a minute that holds one of these instants."""
    starts = sorted((one.period.start, one.power_w) for one in everything)
    ends = sorted((one.period.end, one.power_w) for one in everything)
    return max(_in_a_minute(starts, edges), _in_a_minute(ends, edges))


def _in_a_minute(steps: Sequence[tuple[datetime, int]], edges: set[datetime]) -> int:
    near = [(at, power_w) for at, power_w in steps if any(abs(at - edge) < MINUTE for edge in edges)]
    return max(
        (
            sum(power_w for at, power_w in near if first <= at < first + MINUTE)
            for first in {at for at, _ in near}
            if any(first <= edge < first + MINUTE for edge in edges)
        ),
        default=0,
    )


async def check(
    conn: AsyncConnection,
    limits: LimitSettings,
    calendar: Calendar,
    wanted: Sequence[Commitment],
    *,
    who: str,
    now: datetime,
    changed: str | None = None,
) -> None:
    """Nothing where an event is within the budget, as `excesses` says. BreakerOpenError, or
    BudgetExceededError: that opens the breaker, although the unit of work is undone.
    """
    opened = await in_the_way(conn, wanted, changed)
    if opened is not None:
        raise BreakerOpenError(f"the breaker is open since {opened.opened_at.isoformat()}: {opened.reason}")
    found = await excesses(conn, limits, calendar, wanted, changed)
    if not found:
        return
    reason = "; ".join(map(str, found))

    async def remember(later: AsyncConnection) -> None:
        await open_breaker(later, reason, who, now)

    if_undone(conn, remember)
    raise BudgetExceededError(f"{reason}. The breaker is open now: an admin closes it.")


async def breaker(conn: AsyncConnection) -> Opened | None:
    """The breaker where it is open, None where it is closed."""
    return await _opened(conn) or await _unreadable(conn)


async def _unreadable(conn: AsyncConnection) -> Opened | None:
    names = await operator_choice.unreadable(conn, LimitChoice)
    changed = await operator_choice.last_change(conn, LimitChoice) if names else None
    if changed is None:
        return None
    said = f"limits that were set cannot be read ({', '.join(names)}): an admin saves them anew"
    return Opened(*changed, said)


async def _opened(conn: AsyncConnection) -> Opened | None:
    t = breaker_table.c
    row = (
        await conn.execute(select(t.opened_at, t.opened_by, t.reason).where(t.closed_at.is_(None)))
    ).first()
    return None if row is None else Opened(*row)


async def in_the_way(
    conn: AsyncConnection, wanted: Sequence[Commitment], changed: str | None = None
) -> Opened | None:
    """The breaker where it is open, unless the event `changed` would ask less than before of every node, at
    every instant, or the same.
    """
    opened = await breaker(conn)
    if opened is None or changed is None or not wanted:
        return opened
    since = min(one.period.start for one in wanted)
    before = by_node(_of(await commitments(conn, since), changed))
    more = (_growth(parts, before.get(ven_id, ())) for ven_id, parts in by_node(wanted).items())
    return opened if any(more) else None


async def open_breaker(conn: AsyncConnection, reason: str, who: str, now: datetime) -> None:
    """Open it; one that is open stays as it is."""
    if await _opened(conn) is None:
        await conn.execute(insert(breaker_table).values(opened_at=now, opened_by=who, reason=reason))
        after_commit(conn, Changed(Topic.EVENTS))
        after_commit(conn, Changed(Topic.ALARMS))


async def close_breaker(conn: AsyncConnection, who: str, now: datetime) -> bool:
    """Close it; False where it was not open."""
    t = breaker_table
    done = await conn.execute(update(t).where(t.c.closed_at.is_(None)).values(closed_at=now, closed_by=who))
    after_commit(conn, Changed(Topic.EVENTS))
    after_commit(conn, Changed(Topic.ALARMS))
    return bool(done.rowcount)


def _limits_anything(limits: LimitSettings) -> bool:
    return any((limits.max_concurrent_kw, limits.max_ramp_kw_per_min, limits.max_events_per_day))
