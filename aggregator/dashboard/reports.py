"""Reports: what nodes can report, what they were asked for, asking for more, and ending what runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from aiohttp import hdrs, web
from pydantic import ValidationError

from aggregator import report_asking, report_list
from aggregator.access.permission import Permission
from aggregator.access.secret import new_id
from aggregator.dashboard import ask_entry
from aggregator.dashboard.account import text
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.wording import words_of
from aggregator.report_asking import MOST_NODES, Plan
from aggregator.report_list import ListQuery, RequestQuery, RequestRow
from vtn import report_request
from vtn.errors import DuplicateRequest, NotOffered, UnknownObject
from vtn.problem import invalid

SCREEN, OFFERED, QUARANTINE = "reports/requests.html", "reports/offered.html", "reports/quarantine.html"
ASK, PREVIEW, END = "reports/ask.html", "reports/preview.html", "reports/end.html"
_KEY = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)
Q = TypeVar("Q", bound=ListQuery)
_QUARTER = {"granularity": "15", "every": "15"}


async def screen(visit: Visit) -> web.StreamResponse:
    """What was asked for, newest first."""
    query, shown = _filter(visit, RequestQuery, "/reports")
    async with visit.desk.db.read() as conn:
        listed = await report_list.requests(conn, query)
        names = await report_list.report_names(conn)
        states = await report_list.states(conn)
    return visit.page(
        SCREEN,
        422 if shown["errors"] else 200,
        listed=listed,
        states=states,
        reports=[("", words_of(visit).gettext("any")), *((name, name) for name in names)],
        **shown,
    )


async def offered(visit: Visit) -> web.StreamResponse:
    """What nodes can report."""
    query, shown = _filter(visit, ListQuery, "/reports/offered")
    async with visit.desk.db.read() as conn:
        listed = await report_list.offers(conn, query)
        names = await report_list.report_names(conn)
    reports = [("", words_of(visit).gettext("any")), *((name, name) for name in names)]
    return visit.page(
        OFFERED, 422 if shown["errors"] else 200, listed=listed, names=names, reports=reports, **shown
    )


async def quarantine(visit: Visit) -> web.StreamResponse:
    """Values that were not kept, and why."""
    query, shown = _filter(visit, ListQuery, "/reports/quarantine")
    async with visit.desk.db.read() as conn:
        listed = await report_list.quarantined(conn, query)
    return visit.page(QUARANTINE, 422 if shown["errors"] else 200, listed=listed, **shown)


def _filter(visit: Visit, model: type[Q], path: str) -> tuple[Q, dict[str, Any]]:
    """What is asked for, and what the template needs to show it and to ask again."""
    values, errors = dict(visit.request.query), {}
    try:
        query = model.model_validate({name: typed for name, typed in values.items() if typed != ""})
    except ValidationError as error:
        query = model()
        errors = {each.field: each.detail for each in invalid(error).body.errors}
    set_ = query.model_dump(mode="json", exclude_defaults=True)
    filters = {name: typed for name, typed in set_.items() if name != "page"}
    shown = {
        "query": query,
        "errors": errors,
        "values": {name: values.get(name, "") for name in model.model_fields},
        "is_filtered": bool(filters),
        "page_url": path + (f"?{urlencode(filters)}" if filters else ""),
        "own_url": path + (f"?{urlencode(set_)}" if set_ else ""),
    }
    return query, shown


async def new(visit: Visit) -> web.StreamResponse:
    """The form that asks nodes for a report; a link may bring some of it along."""
    given = {name: visit.request.query.get(name, "")[:4000] for name in ask_entry.FIELDS}
    fresh = not any(name in visit.request.query for name in ("granularity", "every"))
    return await _ask_screen(visit, {**given, **_QUARTER} if fresh else given)


async def preview(visit: Visit) -> web.StreamResponse:
    """What it would come to, as one types."""
    typed = {name: visit.request.query.get(name, "")[:20_000] for name in ask_entry.FIELDS}
    wish, errors = ask_entry.read(typed, words_of(visit))
    planned = None
    if wish is not None:
        async with visit.desk.db.read() as conn:
            planned = await report_asking.plan(conn, wish, new_id("preview"), visit.now)
    return visit.page(PREVIEW, plan=planned, errors=errors, most=MOST_NODES)


async def ask(visit: Visit) -> web.StreamResponse:
    """Ask for it: all nodes or none. The same form again changes nothing."""
    form = await visit.request.post()
    typed = {name: text(form, name) for name in ask_entry.FIELDS}
    key = text(form, "idempotency_key")
    wish, errors = ask_entry.read(typed, words_of(visit))
    if wish is None or not _KEY.fullmatch(key):
        return await _ask_screen(visit, typed, errors, status=422)
    request_id = f"operator-{key}"
    async with visit.desk.db.read() as conn:
        planned = await report_asking.plan(conn, wish, request_id, visit.now)
    if planned.refused or planned.too_many:
        problem = words_of(visit).gettext("Not all of these nodes can be asked: see the preview.")
        return await _ask_screen(visit, typed, {"nodes": problem}, plan=planned, status=422)
    try:
        async with visit.write(f"report_request={request_id}") as conn:
            current = await report_asking.plan(conn, wish, request_id, visit.now)
            if {one.ven_id for one in current.addressees} - {one.ven_id for one in planned.addressees}:
                raise NotOffered("409", "the nodes that offer it have changed")
            await report_asking.ask(conn, current, visit.now)
    except (NotOffered, DuplicateRequest, UnknownObject) as error:
        return await _ask_screen(visit, typed, {"": str(error)}, status=409)
    return visit.seen_next("/reports")


async def _ask_screen(
    visit: Visit,
    typed: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    plan: Plan | None = None,
    status: int = 200,
) -> web.StreamResponse:
    async with visit.desk.db.read() as conn:
        names = await report_list.report_names(conn)
        wish, _problems = ask_entry.read(typed, words_of(visit))
        if plan is None and wish is not None:
            plan = await report_asking.plan(conn, wish, new_id("preview"), visit.now)
    return visit.page(
        ASK,
        status,
        values=typed,
        errors=errors or {},
        plan=plan,
        most=MOST_NODES,
        reports=[("", words_of(visit).gettext("choose one")), *((name, name) for name in names)],
        has_offers=bool(names),
        key=new_id("r"),
    )


async def ending(visit: Visit) -> web.StreamResponse:
    """The dialog before a report ends: whose it is, and what is lost."""
    return visit.page(END, row=await _row(visit, visit.request.query))


async def end(visit: Visit) -> web.StreamResponse:
    """End a report; with 409 where it has ended, or is about to, meanwhile."""
    form = await visit.request.post()
    row = await _row(visit, {name: text(form, name) for name in ("ven", "request")})
    follow = text(form, "follow") == "yes"
    if row.state not in (report_request.RequestState.ASKED, report_request.RequestState.RUNNING):
        return visit.page(END, 409, row=row)
    try:
        async with visit.write(f"ven={row.ven_id}", f"report_request={row.report_request_id}") as conn:
            ids = [row.report_request_id]
            await report_request.cancel_report(conn, row.ven_id, ids, follow, visit.now)
    except UnknownObject:
        again = await _row(visit, {"ven": row.ven_id, "request": row.report_request_id})
        return visit.page(END, 409, row=again)
    return visit.seen_next(_same_list(visit))


def _same_list(visit: Visit) -> str:
    """The list as it was filtered when the dialog was opened."""
    shown = urlsplit(visit.request.headers.get("HX-Current-URL", ""))
    return f"/reports?{shown.query}" if shown.path == "/reports" and shown.query else "/reports"


async def _row(visit: Visit, named: Mapping[str, str]) -> RequestRow:
    ven_id, request_id = named.get("ven", "")[:128], named.get("request", "")[:128]
    async with visit.desk.db.read() as conn:
        row = await report_list.one_request(conn, ven_id, request_id)
    if row is None:
        raise UnknownObject(f"no such report was asked of {ven_id!r}: {request_id!r}")
    return row


_READ, _WRITE = Permission.FLEET_READ, Permission.REPORT_WRITE


def _page(method: str, path: str, name: str, handle: Any, permission: Permission = _READ) -> Page:
    return Page(method=method, path=path, name=name, permission=permission, handle=handle)


PAGES = (
    _page(hdrs.METH_GET, "/reports", "reports", screen),
    _page(hdrs.METH_GET, "/reports/offered", "reports offered", offered),
    _page(hdrs.METH_GET, "/reports/quarantine", "values set aside", quarantine),
    _page(hdrs.METH_GET, "/reports/ask", "ask for a report", new, _WRITE),
    _page(hdrs.METH_GET, "/reports/preview", "report preview", preview, _WRITE),
    _page(hdrs.METH_POST, "/reports", "request report", ask, _WRITE),
    _page(hdrs.METH_GET, "/reports/end", "ending a report", ending, _WRITE),
    _page(hdrs.METH_POST, "/reports/end", "end report", end, _WRITE),
)
