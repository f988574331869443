"""A prosumer's "not this time": what it means, then one click; and taking part after all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

from aiohttp import hdrs, web

from aggregator import override
from aggregator.access.permission import Permission
from aggregator.dashboard.account import text
from aggregator.dashboard.home import common
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.page import Page, Visit
from aggregator.errors import Obstacle, OverrideError
from aggregator.home import home_of

REASONS: Mapping[Obstacle, str] = {
    Obstacle.CANCELLED: _("This event was called off."),
    Obstacle.OVER: _("This event is over."),
    Obstacle.BEGUN: _("It runs already: this cannot be taken back now."),
    Obstacle.STALE: _("The event has changed since you looked at it: look again."),
    Obstacle.UNABLE: _("Your box cannot leave your home out. Ask whoever runs the programme."),
    Obstacle.OFTEN: _(
        "You have come back to this event as often as is possible: your home stays out of it now."
    ),
    Obstacle.LAST: _(
        "It runs already, and your home is the last one behind your box that takes part: "
        "it cannot stay out now. Ask whoever runs the programme."
    ),
}


async def ask(visit: Visit) -> web.StreamResponse:
    """What staying out of the event would mean."""
    return await _asked(visit)


async def stay_out(visit: Visit) -> web.StreamResponse:
    """Stay out of it; with 409 where that is not possible, or no more."""
    form, path = await visit.request.post(), visit.request.match_info
    home, seen = home_of(visit.principal), text(form, "version")
    try:
        async with visit.write() as conn:
            await override.say(conn, home, path["event_id"], path["ven_id"], visit.now, seen=seen)
    except OverrideError as error:
        return await _asked(visit, error.obstacle)
    return _to_event(visit)


async def come_back(visit: Visit) -> web.StreamResponse:
    """Take part after all; with 409 where that is not possible any more."""
    form, path = await visit.request.post(), visit.request.match_info
    home, seen = home_of(visit.principal), text(form, "version")
    try:
        async with visit.write() as conn:
            await override.take_back(
                conn,
                home,
                path["event_id"],
                path["ven_id"],
                visit.now,
                portfolio=visit.desk.portfolio,
                seen=seen,
            )
    except OverrideError as error:
        return await _asked(visit, error.obstacle)
    return _to_event(visit)


async def _asked(visit: Visit, obstacle: Obstacle | None = None) -> web.StreamResponse:
    path = visit.request.match_info
    async with visit.desk.db.read() as conn:
        case = await override.case(
            conn, home_of(visit.principal), path["event_id"], path["ven_id"], visit.now
        )
    return visit.page(
        "home/override.html",
        409 if obstacle else 200,
        **common(visit),
        part=case.part,
        lowers_w=case.lowers_w,
        able=case.is_able,
        must_stay=case.must_stay(visit.now),
        running=case.part.is_running(visit.now),
        reason=REASONS[obstacle] if obstacle else "",
    )


def _to_event(visit: Visit) -> web.StreamResponse:
    path = visit.request.match_info
    event_id, ven_id = (quote(path[name], safe="") for name in ("event_id", "ven_id"))
    return visit.seen_next(f"/home/events/{event_id}/{ven_id}")


def _page(
    method: str, path: str, name: str, handle: Callable[[Visit], Awaitable[web.StreamResponse]]
) -> Page:
    place = "/home/events/{event_id}/{ven_id}"
    return Page(method=method, path=place + path, name=name, permission=Permission.HOME_OWN, handle=handle)


PAGES = (
    _page(hdrs.METH_GET, "/override", "staying out of my event", ask),
    _page(hdrs.METH_POST, "/override", "stay out of my event", stay_out),
    _page(hdrs.METH_POST, "/take-part", "take part in my event", come_back),
)
