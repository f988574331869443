"""Enrolment: which certificates may register, typed by an operator or asked for by a node.

Both ways say first what they will do: a new node, or one more certificate of a node that is there, whose
others end after an overlap. Enrolling the same again changes nothing, so a double click makes one thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.permission import Permission
from aggregator.dashboard.node import visible
from aggregator.dashboard.node_certificate import is_taken
from aggregator.dashboard.node_route import carry_out, fields_of
from aggregator.dashboard.nodes import href
from aggregator.dashboard.page import Page, Visit
from openadr.security import read_fingerprint, short_form
from vtn import certificate, registration, ven_list
from vtn.api_ven_model import EnrolBody
from vtn.certificate import IN_FORCE_LIMIT, OVERLAP
from vtn.errors import CertificateRefused, UnknownObject
from vtn.problem import CONFLICT, INVALID, Problem, invalid
from vtn.schema import certificate_table

NEW, PENDING, APPROVE = "nodes/new.html", "nodes/pending.html", "nodes/approve.html"
_EMPTY = {
    "ven_name": "",
    "fingerprint": "",
    "ven_id": "",
    "profile": "2.0b",
    "overlap_days": str(OVERLAP.days),
}


async def form(visit: Visit) -> web.StreamResponse:
    """The fields, filled with what the address says."""
    asked = visit.request.query
    values = {name: asked.get(name, text)[:256] for name, text in _EMPTY.items()}
    return await _form(visit, values)


async def preview(visit: Visit) -> web.StreamResponse:
    """What enrolling this would do; nothing is written."""
    values = {name: visit.request.query.get(name, "").strip() for name in _EMPTY}
    try:
        body = _body(values)
        async with visit.desk.db.read() as conn:
            effect = await _effect(conn, visit, body)
    except Problem as problem:
        return await _form(visit, values, fields_of(problem), problem.body.status)
    return visit.page("nodes/enrol.html", values=values, body=body, **effect)


async def enrol(visit: Visit) -> web.StreamResponse:
    """Enrol it."""
    sent = await visit.request.post()
    values = {name: text if isinstance(text := sent.get(name, ""), str) else "" for name in _EMPTY}
    try:
        body = _body(values)
        async with visit.write() as conn:
            made = await carry_out(visit, conn, "enrolVen", {}, body=body.model_dump())
            visit.about(f"ven_id={made.ven_id}")
    except Problem as problem:
        return await _form(visit, values, fields_of(problem), problem.body.status)
    except CertificateRefused as error:
        return await _form(visit, values, {"fingerprint": str(error)}, CONFLICT.status)
    return visit.seen_next(href(made.ven_id))


async def pending(visit: Visit) -> web.StreamResponse:
    """Who waits for approval."""
    async with visit.desk.db.read() as conn:
        answer = await carry_out(visit, conn, "listPending", {})
    rows = [(one, visible(one.ven_name)) for one in answer.pending]
    part = "nodes/pending_part.html" if visit.by_script else PENDING
    return visit.page(part, rows=rows, waiting=len(rows))


async def approval(visit: Visit) -> web.StreamResponse:
    """The dialog in which one is approved."""
    async with visit.desk.db.read() as conn:
        return await _approval(visit, conn, None)


async def approve(visit: Visit) -> web.StreamResponse:
    """Enrol the one that waits; again, when it does not wait any more, it is its node that is shown."""
    sent, fingerprint = await visit.request.post(), visit.request.match_info["fingerprint"]
    name = text.strip() if isinstance(text := sent.get("ven_name", ""), str) else ""
    try:
        async with visit.write() as conn:
            known = await _enrolled_as(conn, fingerprint)
            if known is not None:
                return visit.seen_next(href(known))
            made = await carry_out(
                visit, conn, "approvePending", {"fingerprint": fingerprint}, body={"ven_name": name}
            )
            visit.about(f"ven_id={made.ven_id}")
    except Problem as problem:
        async with visit.desk.db.read() as conn:
            return await _approval(visit, conn, name, fields_of(problem), problem.body.status)
    except CertificateRefused as error:
        async with visit.desk.db.read() as conn:
            return await _approval(visit, conn, name, {"ven_name": str(error)}, CONFLICT.status)
    return visit.seen_next(href(made.ven_id))


def _body(values: Mapping[str, str]) -> EnrolBody:
    """What was typed as the API's own body; Problem names the fields."""
    typed: dict[str, Any] = {name: text.strip() for name, text in values.items()}
    days = typed["overlap_days"]
    typed["overlap_days"] = int(days) if days.isascii() and days.isdigit() and len(days) < 7 else -1
    typed["ven_id"] = typed["ven_id"] or None
    try:
        body = EnrolBody.model_validate(typed)
    except ValidationError as error:
        raise invalid(error) from error
    try:
        read_fingerprint(body.fingerprint)
    except ValueError as error:
        raise Problem.field("fingerprint", body.fingerprint, str(error)) from None
    return body


async def _effect(conn: AsyncConnection, visit: Visit, body: EnrolBody) -> dict[str, Any]:
    """The node that it would be, if there is one of that name, and its certificates."""
    ven = await ven_list.named(conn, body.ven_name)
    if ven is None or ven.ven_name != body.ven_name:
        return {"ven": None, "taken": []}
    if body.ven_id not in (None, ven.ven_id):
        text = f"{ven.ven_name!r} is enrolled already, with the id {ven.ven_id!r}"
        raise Problem.field("ven_id", body.ven_id, text, CONFLICT)
    entry = read_fingerprint(body.fingerprint)
    taken = [one for one in await certificate.enrolled(conn, ven.ven_id) if is_taken(one, visit.now)]
    others = [one for one in taken if entry.whole != one.fingerprint and short_form(entry.tail) != one.short]
    if len(others) == len(taken) >= IN_FORCE_LIMIT:
        text = f"{ven.ven_name!r} has {IN_FORCE_LIMIT} certificates already: withdraw one first"
        raise Problem.field("fingerprint", body.fingerprint, text, CONFLICT)
    return {"ven": ven, "taken": others}


async def _form(
    visit: Visit, values: Mapping[str, str], errors: Mapping[str, str] | None = None, status: int = 200
) -> web.Response:
    return visit.page(NEW, status, values=values, errors=errors or {})


async def _approval(
    visit: Visit,
    conn: AsyncConnection,
    name: str | None,
    errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> web.Response:
    fingerprint = visit.request.match_info["fingerprint"]
    waiting = {one[0]: one for one in await registration.strangers(conn)}
    if fingerprint not in waiting:
        raise UnknownObject(f"nobody with the fingerprint {fingerprint[:64]!r} waits for approval")
    own_name, last_seen = waiting[fingerprint][1], waiting[fingerprint][2]
    return visit.page(
        APPROVE,
        status,
        fingerprint=fingerprint,
        short=short_form(fingerprint),
        own_name=visible(own_name),
        ven_name=visible(own_name) if name is None else name,
        last_seen=last_seen,
        errors=errors or {},
    )


async def _enrolled_as(conn: AsyncConnection, fingerprint: str) -> str | None:
    """The node of a certificate that was enrolled already."""
    try:
        entry = read_fingerprint(fingerprint)
    except ValueError as error:
        raise Problem(INVALID, str(error)) from None
    t = certificate_table.c
    rows = await conn.execute(select(t.ven_id).where(t.fingerprint == entry.whole))
    found: str | None = rows.scalar_one_or_none()
    return found


def _page(method: str, path: str, name: str, handle: Any) -> Page:
    return Page(method=method, path=path, name=name, permission=Permission.NODE_WRITE, handle=handle)


PAGES = (
    _page(hdrs.METH_GET, "/nodes/new", "enrolment form", form),
    _page(hdrs.METH_GET, "/nodes/new/preview", "enrolment preview", preview),
    _page(hdrs.METH_POST, "/nodes/new", "enrol node", enrol),
    Page(
        method=hdrs.METH_GET,
        path="/nodes/pending",
        name="nodes that wait",
        permission=Permission.FLEET_READ,
        handle=pending,
    ),
    _page(hdrs.METH_GET, "/nodes/pending/{fingerprint}/approve", "approval form", approval),
    _page(hdrs.METH_POST, "/nodes/pending/{fingerprint}/approve", "approve node", approve),
)
