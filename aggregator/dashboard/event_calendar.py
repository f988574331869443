"""The events of a month or a week by local day. Days are the user's own: one of 23 or 25 hours is one too."""

from __future__ import annotations

from calendar import Calendar as Weeks
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import hdrs, web
from babel.dates import get_day_names

from aggregator import event_book
from aggregator.access.permission import Permission
from aggregator.dashboard.events import KINDS, PHASES
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.wording import EN_DASH, words_of
from aggregator.event_book import Entry

FIRST, LAST = date(2000, 1, 1), date(2100, 12, 1)
SHOWN = 4  # events of a day
A_DAY, A_WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Day:
    """One local day with the events that touch it; `inside` the month that is shown."""

    day: date
    inside: bool
    entries: Sequence[Entry]


async def screen(visit: Visit) -> web.StreamResponse:
    """The week of the address, else its month, else the present month."""
    words = words_of(visit)
    today = words.local(visit.now).date()
    week = visit.request.query.get("week")
    if week is not None:
        return await _week(visit, _monday(week, today), today)
    month = _month(visit.request.query.get("month", ""), today)
    days = await _days(visit, list(Weeks().itermonthdates(month.year, month.month)), month.month)
    return _page(
        visit,
        "events/month.html",
        today,
        weeks=[days[index : index + 7] for index in range(0, len(days), 7)],
        title=words.month(month),
        weekday_names=[str(get_day_names("abbreviated", locale=words.locale)[number]) for number in range(7)],
        earlier=f"month={month - A_DAY:%Y-%m}",
        later=f"month={month + 31 * A_DAY:%Y-%m}",
        here=f"/events/calendar?month={month:%Y-%m}",
        other=f"week={_shown_in(month, today).isoformat()}",
        shown=SHOWN,
    )


async def _week(visit: Visit, monday: date, today: date) -> web.StreamResponse:
    words = words_of(visit)
    days = await _days(visit, [monday + number * A_DAY for number in range(7)], None)
    return _page(
        visit,
        "events/week.html",
        today,
        days=days,
        title=f"{words.day(monday)} {EN_DASH} {words.day(days[-1].day)}",
        earlier=f"week={(monday - A_WEEK).isoformat()}",
        later=f"week={(monday + A_WEEK).isoformat()}",
        here=f"/events/calendar?week={monday.isoformat()}",
        other=f"month={monday + 3 * A_DAY:%Y-%m}",
    )


def _page(visit: Visit, part: str, today: date, **values: Any) -> web.Response:
    """The whole page, or the part alone where that is asked for."""
    name = part if visit.by_script else "events/calendar.html"
    return visit.page(name, part=part, today=today, phases=PHASES, kinds=KINDS, **values)


async def _days(visit: Visit, dates: Sequence[date], month: int | None) -> list[Day]:
    """These days with their events; inside is what is of the month, or all of them."""
    zone = words_of(visit).zone
    start, end = _midnight(dates[0], zone), _midnight(dates[-1] + A_DAY, zone)
    async with visit.desk.db.read() as conn:
        found = await event_book.between(conn, start, end)
    return [Day(one, month in (None, one.month), _touching(found, one, zone)) for one in dates]


def _monday(typed: str, today: date) -> date:
    """The Monday of the week that holds the day of the address, else today."""
    try:
        found = date.fromisoformat(typed)
    except ValueError:
        found = today
    found = min(LAST, max(FIRST, found))
    return found - found.weekday() * A_DAY


def _shown_in(month: date, today: date) -> date:
    """The day whose week is shown beside a month: today where it lies in it."""
    return today if (today.year, today.month) == (month.year, month.month) else month


def _month(typed: str, today: date) -> date:
    try:
        found = date.fromisoformat(f"{typed}-01")
    except ValueError:
        found = today.replace(day=1)
    return min(LAST, max(FIRST, found))


def _touching(found: Sequence[Entry], day: date, zone: ZoneInfo) -> list[Entry]:
    start, end = _midnight(day, zone), _midnight(day + A_DAY, zone)
    return [entry for entry in found if entry.start < end and entry.end > start]


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone).astimezone(UTC)


PAGES = (
    Page(
        method=hdrs.METH_GET,
        path="/events/calendar",
        name="event calendar",
        permission=Permission.FLEET_READ,
        handle=screen,
    ),
)
