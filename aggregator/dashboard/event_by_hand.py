"""The page of an event that no request has made: what it says, and how its VENs stand to it."""

from __future__ import annotations

from aiohttp import web

from aggregator import event_book, hand_book
from aggregator.dashboard.events import KINDS, PHASES
from aggregator.dashboard.page import Visit
from aggregator.errors import UnknownObjectError
from vtn.api_event_body import content_of

SCREEN = "events/by_hand.html"
PER_PAGE = 100
SHOWN_INTERVALS = 24


async def screen(visit: Visit) -> web.StreamResponse:
    """The page; UnknownObjectError where there is no such event at all."""
    event_id = visit.request.match_info["event_id"]
    async with visit.desk.db.read() as conn:
        found = (await hand_book.events(conn, [event_id])).get(event_id)
        if found is None:
            raise UnknownObjectError(f"there is no event {event_id[:128]!r}")
        typed = visit.request.query.get("page", "1")
        pages = max(1, -(-found.vens // PER_PAGE))
        page = min(int(typed), pages) if typed.isascii() and typed.isdigit() and 0 < len(typed) < 6 else 1
        parts = await hand_book.parts(conn, event_id, PER_PAGE, (max(1, page) - 1) * PER_PAGE)
    entry = event_book.of_hand(found)
    return visit.page(
        SCREEN,
        entry=entry,
        phase=entry.phase(visit.now),
        phases=PHASES,
        kinds=KINDS,
        content=content_of(found.event),
        parts=parts,
        page=max(1, page),
        pages=pages,
        shown_intervals=SHOWN_INTERVALS,
    )
