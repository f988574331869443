"""All events: what runs, what comes, what was."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from aiohttp import hdrs, web

from aggregator import event_book
from aggregator.access.permission import Permission
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.wording import words_of
from aggregator.event_book import Phase, Wanted
from aggregator.profile import Period

PER_PAGE = 25
LONGEST_TEXT = 128
MOST_PAGES = 100_000
FIRST, LAST = date(2000, 1, 1), date(2100, 12, 1)


PHASES = {
    Phase.COMING: _("coming"),
    Phase.ACTIVE: _("active"),
    Phase.OVER: _("over"),
    Phase.CANCELLED: _("cancelled"),
}
KINDS = {Phase.COMING: "wait", Phase.ACTIVE: "info", Phase.OVER: "idle", Phase.CANCELLED: "idle"}


async def screen(visit: Visit) -> web.StreamResponse:
    """The list with its filter; the part that changes where a script asks for it."""
    template = "events/list.html"
    if visit.by_script:  # the filter changes what the rows ask for when they fetch themselves again
        again = visit.request.headers.get("HX-Target") == "events-rows"
        template = "events/rows.html" if again else "events/part.html"
    return visit.page(template, **await _listed(visit))


async def _listed(visit: Visit) -> dict[str, Any]:
    query = visit.request.query
    text = query.get("text", "")[:LONGEST_TEXT].strip()
    phase = Phase(query["phase"]) if query.get("phase") in set(Phase) else None
    month = _month(query.get("month", ""))
    wanted = Wanted(phase, text, None if month is None else _period(month, words_of(visit).zone))
    async with visit.desk.db.read() as conn:
        total = await event_book.count(conn, visit.now, wanted)
        pages = max(1, -(-total // PER_PAGE))
        page = min(_page_number(query.get("page", "1")), pages)
        found = await event_book.entries(
            conn, visit.now, wanted, limit=PER_PAGE, offset=(page - 1) * PER_PAGE
        )
    shown = "" if month is None else f"{month:%Y-%m}"
    named = (("text", text), ("phase", phase), ("month", shown))
    chosen = {name: value for name, value in named if value}
    return {
        "entries": found,
        "total": total,
        "pages": pages,
        "page": page,
        "text": text,
        "phase": phase or "",
        "month": shown,
        "phases": PHASES,
        "kinds": KINDS,
        "url": f"/events?{urlencode(chosen)}" if chosen else "/events",
        "here": f"/events?{urlencode({**chosen, 'page': page})}",
    }


def _month(typed: str) -> date | None:
    """The first day of a month as the browser's field writes it; None where it is none."""
    try:
        found = date.fromisoformat(f"{typed}-01")
    except ValueError:
        return None
    return found if FIRST <= found <= LAST else None


def _period(month: date, zone: ZoneInfo) -> Period:
    """The month in the user's zone."""
    following = (month + timedelta(days=32)).replace(day=1)
    start, end = (datetime.combine(day, time.min, zone).astimezone(UTC) for day in (month, following))
    return Period(start, end)


def _page_number(typed: str) -> int:
    return (
        max(1, min(int(typed), MOST_PAGES)) if typed.isascii() and typed.isdigit() and len(typed) < 9 else 1
    )


PAGES = (
    Page(
        method=hdrs.METH_GET,
        path="/events",
        name="events",
        permission=Permission.FLEET_READ,
        handle=screen,
    ),
)
