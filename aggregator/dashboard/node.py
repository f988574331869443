"""One node: how it is doing, what it can do and was asked for, what it said, and the homes behind it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from aiohttp import hdrs, web
from lxml import etree
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.permission import Permission
from aggregator.curve import numbers
from aggregator.dashboard.chart import Chart, Series, Shade
from aggregator.dashboard.health import KINDS, LABELS
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.node_certificate import KINDS as CERTIFICATE_KINDS
from aggregator.dashboard.node_event_query import SIZE, events_of, open_events
from aggregator.dashboard.node_facts import Facts, facts_of, found
from aggregator.dashboard.node_route import carry_out
from aggregator.dashboard.nodes import href
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.wording import words_of
from aggregator.profile import LoadProfile, Period
from aggregator.readings import LOAD_FORECAST, OFFER, issued
from ledger.agreement import State
from openadr.errors import ProtocolError
from openadr.parser import Limits, with_tree
from vtn import trace
from vtn.errors import UnknownObject
from vtn.registration import Ven
from vtn.visible import is_hidden

LAST_MESSAGES = 100
MOST_PAGES = 100_000
PRETTY = Limits(max_bytes=200_000, max_report_bytes=200_000)
SHOWN_LETTERS = 100_000
_UNPLAIN = re.compile(r"[^ -~\r\n\t]")


WAITING = {
    "event": _("events"),
    "register_report": _("our own reports"),
    "create_report": _("requests for reports"),
    "cancel_report": _("ends of reports"),
    "update_report": _("reports of ours"),
    "cancel_party_registration": _("the end of its registration"),
    "request_reregistration": _("the request to register again"),
}
"""What waits for a node's polls, in words."""
AGREEMENT_STATES = {
    State.NONE: _("none"),
    State.PROPOSED: _("proposed"),
    State.ACTIVE: _("in force"),
    State.SUSPENDED: _("suspended"),
    State.EXPIRED: _("expired"),
    State.CLOSED: _("closed"),
}


def visible(name: str) -> str:
    """The name with a mark in the place of letters that nobody sees: a node may have chosen it."""
    return "".join("\ufffd" if is_hidden(letter) else letter for letter in name)


async def node_of(visit: Visit, conn: AsyncConnection) -> Ven:
    """The node that the address names; UnknownObject."""
    return await found(conn, visit.request.match_info["ven_id"], visit.principal.scope)


async def screen(visit: Visit) -> web.StreamResponse:
    """The node's first page."""
    return visit.page("nodes/one.html", **await _facts(visit))


async def facts(visit: Visit) -> web.StreamResponse:
    """What of it changes by itself."""
    return visit.page("nodes/facts.html", **await _facts(visit))


async def load(visit: Visit) -> web.StreamResponse:
    """What it used today, beside what was expected of it and what it offers."""
    desk, _ = visit.desk, words_of(visit).gettext
    calendar = desk.portfolio.calendar
    day = calendar.day(calendar.day_of(visit.now))
    async with desk.db.read() as conn:
        ven = await node_of(visit, conn)
        history = {ven.ven_id: desk.overview.tally.history_days(ven.ven_id)}
        curves = await desk.maker.curves(conn, [ven.ven_id], day, history)
        offer = await issued(conn, ven.ven_id, OFFER, day)
        forecast = await issued(conn, ven.ven_id, LOAD_FORECAST, day)
        events, _count = await events_of(conn, ven.ven_id)
    usual = curves.baseline.get(ven.ven_id)
    shades = [
        Shade(start=one.start, end=one.end, label=one.event_id)
        for one in events
        if one.cancelled_at is None and one.end is not None and one.start < day.end and one.end > day.start
    ]
    return Chart(
        start=day.start,
        end=day.end,
        times=list(day.slots()),
        series=[
            Series(name=_("Metered"), values=numbers(curves.metered_total), colour=1),
            Series(name=_("Own forecast"), values=_part(forecast, day), colour=2, dashed=True),
            Series(
                name=_("Baseline"),
                values=_part(None if usual is None else (visit.now, usual), day),
                colour=3,
                dashed=True,
            ),
            Series(name=_("Offer"), values=_part(offer, day), colour=4),
        ],
        shades=shades,
    ).answer(visit)


async def events(visit: Visit) -> web.StreamResponse:
    """Its events, and what it answered."""
    page = _page_number(visit)
    async with visit.desk.db.read() as conn:
        ven = await node_of(visit, conn)
        listed, total = await events_of(conn, ven.ven_id, page=page)
    part = "nodes/events_part.html" if visit.by_script else "nodes/events.html"
    pages = max(1, -(-total // SIZE))
    return visit.page(part, events=listed, total=total, page=page, pages=pages, **_head(ven))


async def reports(visit: Visit) -> web.StreamResponse:
    """What it can report, and what it was asked for."""
    async with visit.desk.db.read() as conn:
        ven = await node_of(visit, conn)
        path = {"ven": ven.ven_id}
        offered = await carry_out(visit, conn, "showCatalogue", path)
        asked = await carry_out(visit, conn, "listReportRequests", path)
    part = "nodes/reports_part.html" if visit.by_script else "nodes/reports.html"
    return visit.page(part, offered=offered.reports, asked=asked.requests[::-1], **_head(ven))


async def messages(visit: Visit) -> web.StreamResponse:
    """The kept messages, and which rules were broken in them."""
    async with visit.desk.db.read() as conn:
        ven = await node_of(visit, conn)
        path, query = {"ven": ven.ven_id}, {"last": LAST_MESSAGES}
        traced = await carry_out(visit, conn, "showTrace", path, query=query)
        findings = await carry_out(visit, conn, "showFindings", path, query=query)
    part = "nodes/messages_part.html" if visit.by_script else "nodes/messages.html"
    return visit.page(part, traced=traced, findings=findings, **_head(ven))


async def message(visit: Visit) -> web.StreamResponse:
    """One exchange as it went over the wire."""
    text = visit.request.match_info["number"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
    async with visit.desk.db.read() as conn:
        ven = await node_of(visit, conn)
        exchange = await trace.find(conn, ven.ven_id, number, visit.now)
    if exchange is None:
        raise UnknownObject(f"no message {text[:20]!r} of this node is kept")
    return visit.page(
        "nodes/message.html",
        exchange=exchange,
        request=_pretty(exchange.request),
        response=_pretty(exchange.response),
        **_head(ven),
    )


def _pretty(body: bytes) -> str:
    """A message for reading; as it came where it is no XML, or too large for that. What nobody sees in it, or
    turns the line, is written out.
    """
    text = body.decode(errors="replace")
    if b"<!" not in body:  # a comment is to be seen
        with suppress(ProtocolError):
            text = with_tree(body, PRETTY, _indented, validates=False)
    return _UNPLAIN.sub(_written, text[:SHOWN_LETTERS])


def _written(found: re.Match[str]) -> str:
    letter = found[0]
    return letter.encode("unicode_escape").decode() if is_hidden(letter) else letter


def _indented(root: etree._Element) -> str:
    etree.indent(root)
    return etree.tostring(root, encoding="unicode", pretty_print=True)


def _part(series: tuple[datetime, LoadProfile] | None, day: Period) -> list[float | None]:
    if series is None:
        return [None for _slot in day.slots()]
    return numbers(series[1].window(day))


def _page_number(visit: Visit) -> int:
    text = visit.request.query.get("page", "1")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1
    return min(max(1, number), MOST_PAGES)


def _head(ven: Ven) -> dict[str, Any]:
    return {"ven": ven, "name": visible(ven.ven_name), "here": href(ven.ven_id)}


async def _facts(visit: Visit) -> dict[str, Any]:
    async with visit.desk.db.read() as conn:
        ven = await node_of(visit, conn)
        known: Facts = await facts_of(conn, visit.desk, ven, visit.now)
        still_open = await open_events(conn, ven.ven_id, visit.now)
    held = known.held
    standing = None if held is None or held.standing is None else held.standing
    at = int(visit.now.timestamp())
    return {
        "facts": known,
        "open_events": still_open,
        "labels": LABELS,
        "kinds": KINDS,
        "certificate_kinds": CERTIFICATE_KINDS,
        "waiting_words": WAITING,
        "chain_state": "" if standing is None else AGREEMENT_STATES[standing.state_at(at)],
        "chain_reason": "" if standing is None else standing.why_suspended(at),
        **_head(ven),
    }


def _get(path: str, name: str, handle: Callable[[Visit], Awaitable[web.StreamResponse]]) -> Page:
    return Page(
        method=hdrs.METH_GET,
        path="/nodes/{ven_id}" + path,
        name=name,
        permission=Permission.FLEET_READ,
        handle=handle,
    )


PAGES = (
    _get("", "node", screen),
    _get("/facts", "node facts", facts),
    _get("/load.json", "node load", load),
    _get("/events", "node events", events),
    _get("/reports", "node reports", reports),
    _get("/messages", "node messages", messages),
    _get("/messages/{number}", "node message", message),
)
