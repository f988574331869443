"""The change of an event that was sent: the form of a new one, filled with what stands, and sent as one."""

from __future__ import annotations

from typing import Any

from aiohttp import hdrs, web

from aggregator import event_book, sent_event
from aggregator import request as operator_request
from aggregator.access.permission import Permission
from aggregator.dashboard.account import text
from aggregator.dashboard.event_entry import MOST_NODES, kilowatts
from aggregator.dashboard.event_form import (
    PREVIEW,
    Order,
    Work,
    carry_out,
    content_of,
    proposing,
    sending,
    show,
)
from aggregator.dashboard.event_note import reason_of
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.wording import words_of


async def screen(visit: Visit) -> web.StreamResponse:
    """The form with what the event says now."""
    order = await _order(visit)
    typed = {name: visit.request.query.get(name, "")[:4000] for name in order.fields}
    if not typed["day"]:
        typed |= await _as_sent(visit, order)
    return await show(visit, typed, order)


async def fragment(visit: Visit) -> web.StreamResponse:
    """The preview alone, as one types."""
    query = visit.request.query
    reason, problem = reason_of(query.get("reason", ""))
    order = await _order(visit, reason=reason)
    content = await content_of(visit, {name: query.get(name, "") for name in order.fields}, order)
    if problem:
        content |= {"preview": None, "errors": {**content["errors"], "reason": problem}}
    return visit.page(PREVIEW, **content)


async def send(visit: Visit) -> web.StreamResponse:
    """Change it as previewed; with 409 and what changed where it is not what was seen any more."""
    return await _carry_out(visit, sending(visit))


async def propose(visit: Visit) -> web.StreamResponse:
    """Put the change before a second person."""
    return await _carry_out(visit, proposing(visit))


async def _carry_out(visit: Visit, work: Work) -> web.StreamResponse:
    form = await visit.request.post()
    version = text(form, "version")
    seen = int(version) if version.isascii() and version.isdigit() and len(version) < 9 else 0
    reason, problem = reason_of(text(form, "reason"))
    order = await _order(visit, version=seen, reason=reason)
    if problem:
        typed = {name: text(form, name)[:4000] for name in order.fields}
        return await show(visit, typed, order, errors={"reason": problem}, status=422)
    return await carry_out(visit, order, work)


async def _order(visit: Visit, version: int = 0, reason: str | None = None) -> Order:
    async with visit.desk.db.read() as conn:
        sent = await sent_event.find(conn, visit.request.match_info["event_id"])
    return Order(sent, version or sent.version, reason)


async def _as_sent(visit: Visit, order: Order) -> dict[str, str]:
    """The fields as they would have to be typed for the event as it stands."""
    words, sent = words_of(visit), order.sent
    if sent is None:
        return {}
    async with visit.desk.db.read() as conn:
        asked = await operator_request.newest_asked(conn, sent.event_id)
        parts = await event_book.parts(conn, sent.event_id, MOST_NODES + 1)
    start, end = words.local(sent.period.start), words.local(sent.period.end)
    by_name = asked.nodes is not None and len(parts) <= MOST_NODES
    lines = [
        f"{part.ven_name} = {kilowatts(part.power_w)}" for part in sorted(parts, key=lambda one: one.ven_name)
    ]
    return {
        "day": f"{start:%Y-%m-%d}",
        "start": f"{start:%H:%M}",
        "end": f"{end:%H:%M}",
        "power_kw": "" if by_name else kilowatts(asked.reduction.power_w),
        "nodes": "\n".join(lines) if by_name else "",
        "test_event": "yes" if sent.test_event else "",
    }


def _page(method: str, path: str, name: str, handle: Any) -> Page:
    address = f"/events/{{event_id}}/change{path}"
    return Page(method=method, path=address, name=name, permission=Permission.EVENT_WRITE, handle=handle)


_GET, _POST = hdrs.METH_GET, hdrs.METH_POST
PAGES = (
    _page(_GET, "", "change of an event", screen),
    _page(_GET, "/preview", "preview of a change", fragment),
    _page(_POST, "", "change event", send),
    _page(_POST, "/propose", "propose change", propose),
)
