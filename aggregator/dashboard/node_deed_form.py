"""The dialogs in which an operator does something about a node.

A form carries how the node was when it was shown; where that has changed since, nothing is done and the
operator is told what has (409). What is done already is not done again: a double click makes one thing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from aiohttp import hdrs, web
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.action import ACTION
from aggregator.access.permission import Permission
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.node import node_of, visible
from aggregator.dashboard.node_deed import DEEDS, Case, Deed, Need
from aggregator.dashboard.node_event_query import open_events
from aggregator.dashboard.node_facts import Facts, facts_of
from aggregator.dashboard.node_route import carry_out, fields_of
from aggregator.dashboard.nodes import href
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.wording import words_of
from vtn.errors import UnknownObject
from vtn.problem import Problem, invalid
from vtn.visible import seen

LONGEST_REASON = 250
CONFLICT = 409
Reason = Annotated[
    str,
    StringConstraints(max_length=LONGEST_REASON, strip_whitespace=True, min_length=1),
    AfterValidator(seen),
]


STATES = {"enrolled": _("not registered"), "registered": _("registered"), "suspended": _("suspended")}


class Seen(BaseModel):
    """How the node was when the form was shown."""

    model_config = ConfigDict(extra="forbid")

    state: str
    registration: str
    certificates: list[str]


class Reasoned(BaseModel):
    """Why it is done."""

    reason: Reason


async def form(visit: Visit) -> web.StreamResponse:
    """The dialog, with what will happen."""
    deed = _deed(visit)
    async with visit.desk.db.read() as conn:
        case = await _case(visit, conn, visit.request.query.get("fingerprint", ""))
    return _dialog(visit, deed, case)


async def do(visit: Visit) -> web.StreamResponse:
    """Do it, once."""
    deed, sent = _deed(visit), await visit.request.post()
    typed = {name: text if isinstance(text := sent.get(name), str) else "" for name in ("reason", "seen")}
    fingerprint = sent.get("fingerprint", "")
    try:
        reason = _reason(deed, typed["reason"])
        async with visit.write() as conn:
            case = await _case(visit, conn, fingerprint if isinstance(fingerprint, str) else "")
            if deed.is_done(case):
                return visit.seen_next(_back(case, deed))
            news = _news(case, typed["seen"])
            if news or deed.hindrance(case):
                return _dialog(visit, deed, case, CONFLICT, typed, news=news)
            visit.request[ACTION].reason = reason
            await carry_out(visit, conn, deed.operation, _path(case), body=deed.body(case))
    except Problem as problem:
        async with visit.desk.db.read() as conn:
            case = await _case(visit, conn, fingerprint if isinstance(fingerprint, str) else "")
        return _dialog(visit, deed, case, problem.body.status, typed, errors=fields_of(problem))
    return visit.seen_next(_back(case, deed))


def _deed(visit: Visit) -> Deed:
    name = visit.request.match_info["deed"]
    if name not in DEEDS:
        raise UnknownObject(f"nothing is called {name[:40]!r}")
    return DEEDS[name]


def _path(case: Case) -> Mapping[str, str]:
    return {"ven": case.facts.ven.ven_id, "fingerprint": case.fingerprint}


def _back(case: Case, deed: Deed) -> str:
    here = href(case.facts.ven.ven_id)
    return f"{here}/messages" if deed.operation == "turnTrace" else here


async def _case(visit: Visit, conn: AsyncConnection, fingerprint: str) -> Case:
    ven = await node_of(visit, conn)
    facts = await facts_of(conn, visit.desk, ven, visit.now)
    return Case(facts, await open_events(conn, ven.ven_id, visit.now), fingerprint, words_of(visit))


def _reason(deed: Deed, typed: str) -> str:
    if deed.need is Need.NONE or (deed.need is Need.OPTIONAL and not typed.strip()):
        return ""
    try:
        return Reasoned(reason=typed).reason
    except ValidationError as error:
        raise invalid(error) from error


def _seen_of(facts: Facts) -> Seen:
    registered = "registered" if facts.ven.registration_id is not None else "enrolled"
    return Seen(
        state="suspended" if facts.ven.suspended_at is not None else registered,
        registration=facts.ven.registration_id or "",
        certificates=sorted(one.enrolled.short for one in facts.certificates if one.taken),
    )


def _news(case: Case, typed: str) -> list[str]:
    """What has changed since the form was shown; nothing where all is as it was."""
    now = _seen_of(case.facts)
    try:
        before = Seen.model_validate_json(typed)
    except ValidationError:
        return [case.said(_("The form does not say how the node was when it was shown."))]
    said = []
    if before.state != now.state:
        words = {"state": case.said(STATES[now.state]), "before": case.said(STATES.get(before.state, "?"))}
        said.append(case.said(_("It was %(before)s and is %(state)s now."), **words))
    if before.registration != now.registration and now.registration:
        said.append(case.said(_("It has registered anew.")))
    if before.certificates != now.certificates:
        said.append(
            case.said(_("Its certificates are now: %(shorts)s."), shorts=", ".join(now.certificates) or "-")
        )
    return said


def _dialog(
    visit: Visit,
    deed: Deed,
    case: Case,
    status: int = 200,
    typed: Mapping[str, str] | None = None,
    *,
    errors: Mapping[str, str] | None = None,
    news: list[str] | None = None,
) -> web.Response:
    values: dict[str, Any] = {
        "deed": deed,
        "action": f"{href(case.facts.ven.ven_id)}/do/{visit.request.match_info['deed']}",
        "name": visible(case.facts.ven.ven_name),
        "effects": deed.effects(case),
        "hindrance": deed.hindrance(case),
        "fingerprint": case.fingerprint,
        "seen": json.dumps(_seen_of(case.facts).model_dump()),
        "reason": (typed or {}).get("reason", ""),
        "longest": LONGEST_REASON,
        "errors": errors or {},
        "news": news or [],
    }
    return visit.page("nodes/deed.html", status, **values)


PAGES = (
    Page(
        method=hdrs.METH_GET,
        path="/nodes/{ven_id}/do/{deed}",
        name="node deed form",
        permission=Permission.NODE_WRITE,
        handle=form,
    ),
    Page(
        method=hdrs.METH_POST,
        path="/nodes/{ven_id}/do/{deed}",
        name="node deed",
        permission=Permission.NODE_WRITE,
        handle=do,
    ),
)
