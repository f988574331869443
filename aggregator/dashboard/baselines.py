"""Baselines and performance: which method meets a node's own past, and one event interval by interval."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import hdrs, web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import event_review, store
from aggregator.access.permission import Permission
from aggregator.accuracy import REACH, VARIANTS, Comparison, History, Variant, compare
from aggregator.baseline import Method
from aggregator.curve import numbers
from aggregator.dashboard.ask_entry import shown
from aggregator.dashboard.chart import Chart, Series, Shade
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.wording import words_of
from aggregator.event_review import AROUND, LATE, Reading, Review, window_of
from aggregator.profile import QUARTER, LoadProfile, Period
from aggregator.readings import LOAD, metered
from aggregator.statement import LOOK_BACK
from vtn.schema import ven_table

SCREEN, PERFORMANCE, PART = "baselines/screen.html", "baselines/performance.html", "baselines/part.html"
FIELDS = ("node", "day", "start", "end")
NOTICE = timedelta(hours=3)
USUAL = ("17:00", "19:00")  # where nobody has chosen any clock times
LONGEST = timedelta(hours=24)
RECENT_EVENTS = 10


METHODS = {
    Method.TEN_OF_TEN: _("mean of the last 10 like days"),
    Method.HIGH_4_OF_5: _("mean of the 4 of the last 5 like days that used most"),
}
READINGS = {
    Reading.THERE: ("ok", _("in time")),
    Reading.LATE: ("warn", _("late")),
    Reading.UNUSABLE: ("bad", _("not usable")),
    Reading.MISSING: ("bad", _("missing")),
    Reading.AHEAD: ("idle", _("not yet")),
}


async def screen(visit: Visit) -> web.StreamResponse:
    """All methods on a node's own history."""
    typed, errors = await _typed(visit)
    compared, calls = None, []
    if not errors:
        compared = await _compared(visit, typed)
        async with visit.desk.db.read() as conn:
            calls = await store.calls(conn, ven_id=await _ven_id(conn, typed["node"]) or "")
    programme = visit.desk.settings.programme
    return visit.page(
        SCREEN,
        422 if errors else 200,
        values=typed,
        errors=errors,
        compared=compared,
        methods=METHODS,
        rule=Variant(programme.baseline, adjusted=True),
        cap=programme.adjustment_cap,
        query=urlencode(typed),
        calls=sorted(calls, key=lambda one: one.period.start, reverse=True)[:RECENT_EVENTS],
        notice=NOTICE,
        reach=REACH,
        href=href,
    )


def href(event_id: str, ven_id: str) -> str:
    """Where a node's part in an event is reviewed."""
    return f"/performance/{quote(event_id, safe='')}/{quote(ven_id, safe='')}"


async def day_chart(visit: Visit) -> web.StreamResponse:
    """One day with all methods."""
    typed, errors = await _typed(visit)
    words = words_of(visit)
    if errors:
        return Chart(start=visit.now - QUARTER, end=visit.now, times=(), series=()).answer(visit)
    compared = await _compared(visit, typed)
    day = visit.desk.portfolio.calendar.day(compared.day)
    slots = list(day.slots())
    series = [Series(name=words.gettext("Metered"), values=numbers(compared.metered), colour=1)]
    for number, variant in enumerate(VARIANTS, start=2):
        profile = _profile(compared, variant)
        if profile is not None:
            values = numbers(profile.window(day))
            name = _label(visit, variant)
            series.append(Series(name=name, values=values, colour=number, dashed=not variant.adjusted))
    shade = Shade(start=compared.event.start, end=compared.event.end, label=words.gettext("Event times"))
    chart = Chart(start=day.start, end=day.end, times=slots, series=series, shades=[shade])
    return chart.answer(visit)


def _profile(compared: Comparison, variant: Variant) -> LoadProfile | None:
    """What a variant expects: unadjusted of the whole day, adjusted of the event's times alone."""
    if not variant.adjusted:
        return compared.typical.get(variant.method)
    known = compared.chosen.get(variant)
    return None if known is None else known.profile


def _label(visit: Visit, variant: Variant) -> str:
    _ = words_of(visit).gettext
    kind = _("adjusted") if variant.adjusted else _("not adjusted")
    return f"{variant.method}, {kind}"


async def _typed(visit: Visit) -> tuple[dict[str, str], dict[str, str]]:
    """The form, filled in where nothing was typed, and what of it cannot be taken."""
    typed = {name: visit.request.query.get(name, "").strip()[:200] for name in FIELDS}
    errors: dict[str, str] = {}
    calendar = visit.desk.portfolio.calendar
    yesterday = calendar.day_of(visit.now) - timedelta(days=1)
    async with visit.desk.db.read() as conn:
        if "node" not in visit.request.query:
            first = select(ven_table.c.ven_name).order_by(ven_table.c.ven_name).limit(1)
            typed["node"] = (await conn.execute(first)).scalar_one_or_none() or ""
        known = bool(typed["node"]) and await _ven_id(conn, typed["node"])
    typed["day"] = typed["day"] or yesterday.isoformat()
    typed["start"], typed["end"] = typed["start"] or USUAL[0], typed["end"] or USUAL[1]
    if not known:
        errors["node"] = _("There is no such node.") if typed["node"] else _("Which node?")
    try:
        if abs(date.fromisoformat(typed["day"]) - yesterday) > timedelta(days=400):
            errors["day"] = _("That day is too far away.")
        event = _event(visit, typed)
        if not any(True for _slot in event.slots()):
            errors["end"] = _("These times hold no whole quarter hour.")
    except ValueError as error:
        errors.setdefault("day" if "day" in str(error) else "start", str(error))
    except OverflowError:
        errors["day"] = _("That day is too far away.")
    return typed, errors


def _event(visit: Visit, typed: Mapping[str, str]) -> Period:
    """The event's times on the day, by the programme's clock; an end before the start is on the next day."""
    words = words_of(visit)
    start = _local(visit, typed["day"], typed["start"])
    end = _local(visit, typed["day"], typed["end"])
    if end <= start:
        raise ValueError(words.gettext("The end must be after the beginning."))
    return Period(start, end)


def _local(visit: Visit, day: str, clock: str) -> datetime:
    """The user's own clock, as on all other forms."""
    return words_of(visit).instant(day, clock)


async def _ven_id(conn: AsyncConnection, name: str) -> str | None:
    if not shown(name):
        return None
    query = select(ven_table.c.ven_id).where(ven_table.c.ven_name == name)
    found: str | None = (await conn.execute(query)).scalar_one_or_none()
    return found


async def _compared(visit: Visit, typed: Mapping[str, str]) -> Comparison:
    """The comparison, made in another thread: nodes are answered meanwhile."""
    event = _event(visit, typed)
    async with visit.desk.db.read() as conn:
        return await compared_for(visit, conn, await _ven_id(conn, typed["node"]) or "", event)


async def compared_for(visit: Visit, conn: AsyncConnection, ven_id: str, event: Period) -> Comparison:
    """The same for an API that knows the node's id."""
    programme = visit.desk.settings.programme
    calendar = programme.calendar()
    day = calendar.day(calendar.day_of(event.start))
    period = Period(day.start - LOOK_BACK - REACH, max(day.end, event.end))
    found = await metered(conn, [ven_id], [LOAD], period)
    calls = [one.period for one in await store.calls(conn, ven_id=ven_id) if one.cancelled_at is None]
    load = found.profile(ven_id, LOAD, period)
    history = History(load, calls, calendar, programme.adjustment_cap)
    return await asyncio.to_thread(compare, history, event, NOTICE)


async def performance(visit: Visit) -> web.StreamResponse:
    """One node's part in an event."""
    return visit.page(PERFORMANCE, **await _review(visit))


async def part(visit: Visit) -> web.StreamResponse:
    """The part of it that changes while readings come."""
    return visit.page(PART, **await _review(visit))


async def _review(visit: Visit) -> dict[str, Any]:
    review = await _reviewed(visit)
    programme = visit.desk.settings.programme
    return {
        "review": review,
        "window": window_of(review.call, programme.calendar()),
        "method": METHODS[programme.baseline],
        "rule": programme.baseline,
        "cap": programme.adjustment_cap,
        "readings": READINGS,
        "late": LATE,
        "href": href(review.call.event_id, review.call.ven_id),
        "Reading": Reading,
    }


async def _reviewed(visit: Visit) -> Review:
    event_id, ven_id = (visit.request.match_info[name][:128] for name in ("event", "node"))
    async with visit.desk.db.read() as conn:
        return await event_review.review(conn, visit.desk.settings.programme, event_id, ven_id, visit.now)


async def performance_chart(visit: Visit) -> web.StreamResponse:
    """The event with two hours around it: metered, baseline, and the baseline less the request."""
    words, review = words_of(visit), await _reviewed(visit)
    period = review.call.period
    shown_ = Period(period.start - AROUND, period.end + AROUND)
    slots = list(shown_.slots())
    expected = {one.start: one.baseline_wh for one in review.intervals}
    asked_kw = review.call.power_w / 1000

    def curve(wh: int | None, less_kw: float = 0.0) -> float | None:
        return None if wh is None else round(wh / 250 - less_kw, 3)

    series = [
        Series(name=words.gettext("Metered"), values=numbers(review.load.window(shown_)), colour=1),
        Series(name=words.gettext("Baseline"), values=[curve(expected.get(s)) for s in slots], colour=3),
        Series(
            name=words.gettext("Baseline less the request"),
            values=[curve(expected.get(s), asked_kw) for s in slots],
            colour=2,
            dashed=True,
        ),
    ]
    shade = Shade(start=period.start, end=period.end, label=review.call.event_id)
    chart = Chart(start=shown_.start, end=shown_.end, times=slots, series=series, shades=[shade])
    return chart.answer(visit)


def _get(path: str, name: str, handle: Any) -> Page:
    return Page(method=hdrs.METH_GET, path=path, name=name, permission=Permission.FLEET_READ, handle=handle)


PAGES = (
    _get("/baselines", "baselines", screen),
    _get("/baselines/day.json", "baselines of a day", day_chart),
    _get("/performance/{event}/{node}", "performance", performance),
    _get("/performance/{event}/{node}/part", "performance so far", part),
    _get("/performance/{event}/{node}/curve.json", "performance curve", performance_chart),
)
