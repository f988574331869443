"""The first screen: load against forecast and baseline, events, nodes by health, the anchors of the log.

The page itself is quick and empty of curves; chart and map ask for their data, and every part asks again when
its topic comes by the live connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aiohttp import hdrs, web
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import alarm
from aggregator.access.permission import Permission
from aggregator.curve import numbers
from aggregator.dashboard import node_map
from aggregator.dashboard.alarm_words import BADGES, sentence
from aggregator.dashboard.alarms import refusal
from aggregator.dashboard.chart import Chart, Series, Shade
from aggregator.dashboard.load_board import board_of
from aggregator.dashboard.nodes import list_of
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.wording import words_of
from aggregator.profile import Period
from aggregator.schema import call_table
from vtn import event_list

SHOWN_EVENTS = 20
SOON = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """An event that runs or will run; counts are of nodes, `silent` have not answered."""

    event_id: str
    start: datetime
    end: datetime | None
    power_kw: float
    nodes: int
    opted_in: int
    opted_out: int
    active: bool

    @property
    def silent(self) -> int:
        """Nodes that have said nothing yet."""
        return self.nodes - self.opted_in - self.opted_out


async def screen(visit: Visit) -> web.StreamResponse:
    """The whole page."""
    return visit.page("overview/screen.html", **await _numbers(visit))


async def tiles(visit: Visit) -> web.StreamResponse:
    """The numbers at the top."""
    return visit.page("overview/tiles.html", **await _numbers(visit))


async def events(visit: Visit) -> web.StreamResponse:
    """What runs and what comes."""
    return visit.page("overview/events.html", **await _events(visit))


async def evidence(visit: Visit) -> web.StreamResponse:
    """Where the log and its anchors stand."""
    return visit.page("overview/evidence.html", **await _state(visit))


async def load(visit: Visit) -> web.StreamResponse:
    """The local day's curves; those of the programme's calendar, because baselines and forecasts are."""
    desk, _ = visit.desk, words_of(visit).gettext
    calendar = desk.portfolio.calendar
    day = calendar.day(calendar.day_of(visit.now))
    board = board_of(desk)
    curves, current = await board.newest(desk, day)
    if curves is None:  # being made for the first time today: the chart asks again
        return Chart(start=day.start, end=day.end, times=(), series=(), unfinished=True).answer(visit)
    async with desk.db.read() as conn:
        shades = [
            Shade(start=part.start, end=part.end, label=event_id)
            for event_id, part in await _called(conn, day)
        ]
    return Chart(
        start=day.start,
        end=day.end,
        times=list(day.slots()),
        series=[
            Series(
                name=_("Metered"),
                values=numbers(curves.metered_total),
                counts=board.metered_of,
                among=len(curves.metered),
            ),
            Series(name=_("Forecast"), values=numbers(curves.forecast_total), colour=2, dashed=True),
            Series(
                name=_("Baseline"),
                values=numbers(curves.baseline_total),
                colour=3,
                dashed=True,
                counts=board.baseline_of,
                among=len(curves.baseline),
            ),
        ],
        shades=shades,
        unfinished=not current,
    ).answer(visit)


async def _numbers(visit: Visit) -> dict[str, Any]:
    return {**await _events(visit), **await _state(visit), **await _alarms(visit)}


async def _alarms(visit: Visit) -> dict[str, Any]:
    """How many are open, and the worst one's words."""
    async with visit.desk.db.read() as conn:
        count = await alarm.open_count(conn)
        found = await alarm.open_alarms(conn, 1)
    gone = refusal(visit)  # the worst of all, which the database cannot keep
    worst = gone or (found[0] if found else None)
    return {
        "open_alarms": count + (gone is not None),
        "worst_alarm": sentence(worst, words_of(visit)) if worst else "",
        "alarm_kind": BADGES[worst.severity] if worst else "ok",
    }


async def _events(visit: Visit) -> dict[str, Any]:
    now = visit.now
    async with visit.desk.db.read() as conn:
        listed = await event_list.events(conn, limit=1000, current_at=now)
        power = await _power_w(conn, now)
    found = [
        Coming(
            event_id=one.event.event_id,
            start=one.event.dtstart,
            end=one.event.end,
            power_kw=power.get(one.event.event_id, 0) / 1000,
            nodes=one.vens,
            opted_in=one.opted_in,
            opted_out=one.opted_out,
            active=one.event.dtstart <= now,
        )
        for one in listed
        if one.event.dtstart < now + SOON
    ]
    found.sort(key=lambda one: (one.start, one.event_id))
    return {"events": found[:SHOWN_EVENTS], "more_events": max(0, len(found) - SHOWN_EVENTS)}


async def _state(visit: Visit) -> dict[str, Any]:
    desk = visit.desk
    async with desk.db.read() as conn:
        healths = await list_of(visit).states(conn)
        counts = await desk.overview.counts(conn)
    waiting = counts["leaves"] - counts["anchored"]
    return {"healths": healths, "counts": counts, "waiting": waiting, "chain": desk.chain_state()}


async def _power_w(conn: AsyncConnection, now: datetime) -> dict[str, int]:
    """What the events that are not over ask for, by event."""
    t = call_table
    query = (
        select(t.c.event_id, func.sum(t.c.power_w))
        .where(t.c.end > now, t.c.cancelled_at.is_(None))
        .group_by(t.c.event_id)
    )
    return {event_id: int(power_w) for event_id, power_w in await conn.execute(query)}


async def _called(conn: AsyncConnection, day: Period) -> list[tuple[str, Period]]:
    """The events of a day, each once, from its first begin to its last end."""
    t = call_table
    query = (
        select(t.c.event_id, func.min(t.c.start), func.max(t.c.end))
        .where(t.c.start < day.end, t.c.end > day.start, t.c.cancelled_at.is_(None))
        .group_by(t.c.event_id)
        .order_by(func.min(t.c.start))
    )
    return [(event_id, Period(start, end)) for event_id, start, end in await conn.execute(query)]


def _get(path: str, name: str, handle: Callable[[Visit], Awaitable[web.StreamResponse]]) -> Page:
    return Page(method=hdrs.METH_GET, path=path, name=name, permission=Permission.FLEET_READ, handle=handle)


PAGES = (
    _get("/", "overview", screen),
    _get("/overview/tiles", "overview tiles", tiles),
    _get("/overview/events", "overview events", events),
    _get("/overview/evidence", "overview evidence", evidence),
    _get("/overview/load.json", "overview load", load),
    *node_map.PAGES,
)
