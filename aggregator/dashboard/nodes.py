"""The list of nodes: who is there, how they are doing, whose certificates end; and the map of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import hdrs, web
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.permission import Permission
from aggregator.dashboard.health import KINDS, LABELS, Health
from aggregator.dashboard.node_certificate import KINDS as CERTIFICATE_KINDS
from aggregator.dashboard.node_certificate import urgency
from aggregator.dashboard.node_query import Expiry, Listed, NodeList, NodeQuery, Programme, Size
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.wording import UNKNOWN, Wording, words_of
from vtn.problem import invalid
from vtn.schema import pending_table

SCREEN, PART, MAP = "nodes/list.html", "nodes/part.html", "nodes/map.html"
_PACE = {Size.SHORT: "live", Size.LONG: "live-slow", Size.LONGEST: "live-rare"}
"""How often a page of that length is fetched again at most (`live.js`)."""


def href(ven_id: str) -> str:
    """Where a node's page is."""
    return f"/nodes/{quote(ven_id, safe='')}"


async def screen(visit: Visit) -> web.StreamResponse:
    """The list, or its rows alone where the page asks for these."""
    values, errors = dict(visit.request.query), {}
    try:
        query = NodeQuery.model_validate({name: text for name, text in values.items() if text != ""})
    except ValidationError as error:
        query = NodeQuery()
        errors = {each.field: each.detail for each in invalid(error).body.errors}
    async with visit.desk.db.read() as conn:
        listed = await list_of(visit).page(conn, query)
        waiting = await strangers_waiting(conn)
    template = PART if visit.by_script and not errors else SCREEN
    return visit.page(
        template,
        422 if errors else 200,
        query=query,
        values=_typed(values),
        errors=errors,
        waiting=waiting,
        choices=_choices(words_of(visit), visit.desk.settings.programme.market_context),
        day_text=_days(words_of(visit)),
        **_shown(query, listed),
    )


async def overview_map(visit: Visit) -> web.StreamResponse:
    """One cell for each node."""
    async with visit.desk.db.read() as conn:
        return visit.page(MAP, waiting=await strangers_waiting(conn))


def list_of(visit: Visit) -> NodeList:
    """The list as this user may see it now."""
    desk = visit.desk
    return NodeList(
        now=visit.now,
        heard=desk.office.contacts(),
        poll_period_s=desk.settings.vtn.poll_period_s,
        scope=visit.principal.scope,
    )


async def strangers_waiting(conn: AsyncConnection) -> int:
    """How many clients wait for approval."""
    return int((await conn.execute(select(func.count()).select_from(pending_table))).scalar_one())


def _days(words: Wording) -> Callable[[datetime | None], str]:
    """Local days in words, each made once: a thousand rows have few."""
    made: dict[date, str] = {}

    def text(instant: datetime | None) -> str:
        if instant is None:
            return UNKNOWN
        local = words.local(instant).date()
        if local not in made:
            made[local] = words.day(local)
        return made[local]

    return text


def _typed(values: dict[str, str]) -> dict[str, str]:
    """What stands in the filter's fields."""
    named = {name: values.get(name, "") for name in ("text", "state", "expiry", "programme", "size")}
    return named | {"size": named["size"] or Size.SHORT}


def _shown(query: NodeQuery, listed: Listed) -> dict[str, Any]:
    set_ = query.model_dump(mode="json", exclude_defaults=True)
    filters = {name: text for name, text in set_.items() if name not in ("sort", "order", "page")}
    order = {name: set_[name] for name in ("sort", "order") if name in set_}
    pages = listed.pages(int(query.size))
    return {
        "listed": listed,
        "pages": pages,
        "is_filtered": bool(filters.keys() - {"size"}),
        "sort_url": _url(filters),
        "page_url": _url(filters | order),
        "own_url": _url(filters | order | ({"page": query.page} if query.page > 1 else {})),
        "pace": _PACE[query.size],
        "Health": Health,
        "labels": LABELS,
        "kinds": KINDS,
        "certificate_kinds": CERTIFICATE_KINDS,
        "urgency": urgency,
        "href": href,
    }


def _url(parts: dict[str, Any]) -> str:
    return "/nodes" + (f"?{urlencode(parts)}" if parts else "")


def _choices(words: Wording, market_context: str) -> dict[str, list[tuple[str, str]]]:
    """What the lists of the filter offer."""
    _ = words.gettext
    return {
        "state": [("", _("any")), *((str(state), _(LABELS[state])) for state in Health)],
        "expiry": [
            ("", _("any")),
            (str(Expiry.MONTH), _("within 30 days")),
            (str(Expiry.WEEK), _("within 7 days")),
            (str(Expiry.DAY), _("within a day")),
            (str(Expiry.OVER), _("over, or none")),
        ],
        "programme": [
            ("", _("any")),
            (str(Programme.IN), market_context),
            (str(Programme.OUT), _("none")),
        ],
        "size": [(str(size), str(size)) for size in Size],
    }


PAGES = (
    Page(method=hdrs.METH_GET, path="/nodes", name="nodes", permission=Permission.FLEET_READ, handle=screen),
    Page(
        method=hdrs.METH_GET,
        path="/nodes/map",
        name="node map",
        permission=Permission.FLEET_READ,
        handle=overview_map,
    ),
)
