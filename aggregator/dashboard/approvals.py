"""Events that wait for a second person, and what came of those before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import approval
from aggregator.access import user as users
from aggregator.access.permission import Permission
from aggregator.approval import Proposal
from aggregator.clearance import EXPIRED, REFUSED, SENT, VOID, WAITING
from aggregator.dashboard.event_form import NOTHING, previewed
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.page import Page, Visit
from aggregator.errors import RequestRefusedError
from vtn.errors import NotAdmitted

STATES = {
    WAITING: _("waiting"),
    SENT: _("sent"),
    REFUSED: _("refused"),
    VOID: _("void"),
    EXPIRED: _("expired"),
}
KINDS = {WAITING: "wait", SENT: "ok", REFUSED: "bad", VOID: "warn", EXPIRED: "idle"}


async def screen(visit: Visit) -> web.StreamResponse:
    """All of them; the rows alone where they fetch themselves again."""
    async with visit.desk.db.read() as conn:
        found = await approval.proposals(conn)
        names = await _names(conn)
    template = "events/approval_rows.html" if visit.by_script else "events/approvals.html"
    return visit.page(template, proposals=found, names=names, states=STATES, kinds=KINDS)


async def badge(visit: Visit) -> web.StreamResponse:
    """How many wait for this person, for the navigation: whoever has proposed one cannot decide about it."""
    async with visit.desk.db.read() as conn:
        found = await approval.waiting(conn, visit.now)
    mine = sum(proposal.proposed_by == visit.principal.user_id for proposal in found)
    return visit.page("events/approval_badge.html", count=len(found) - mine)


async def one(visit: Visit) -> web.StreamResponse:
    """One, with what it would do now."""
    return await _one(visit)


async def approve(visit: Visit) -> web.StreamResponse:
    """Send it, as the second person."""
    desk = visit.desk
    try:
        async with visit.write() as conn:
            answer = await approval.approve(
                conn,
                desk.portfolio,
                desk.settings.programme.market_context,
                visit.request.match_info["approval_id"],
                visit.now,
                who=visit.principal.user_id or "",
            )
            visit.about(f"event={answer['event_id']}")
    except RequestRefusedError as error:
        return await _one(visit, str(error))
    except NotAdmitted as error:
        return await _one(visit, error.text)
    return visit.seen_next(f"/events/{answer['event_id']}")


async def refuse(visit: Visit) -> web.StreamResponse:
    """Decide against it, or take one's own back."""
    approval_id = visit.request.match_info["approval_id"]
    try:
        async with visit.write() as conn:
            await approval.refuse(conn, approval_id, visit.principal.user_id or "", visit.now)
    except RequestRefusedError as error:
        return await _one(visit, str(error))
    return visit.seen_next("/events/approvals")


async def _one(visit: Visit, error: str = "") -> web.StreamResponse:
    async with visit.desk.db.read() as conn:
        proposal = await approval.find(conn, visit.request.match_info["approval_id"])
        names = await _names(conn)
    state = proposal.state_at(visit.now)
    shown, problem = await _now_it_would(visit, proposal) if state == WAITING else ({}, "")
    now_it = shown.get("preview")
    return visit.page(
        "events/approval.html",
        409 if error else 200,
        **{**NOTHING, **shown, "read_only": True},
        proposal=proposal,
        state=state,
        states=STATES,
        kinds=KINDS,
        names=names,
        problem=error or problem,
        own=proposal.proposed_by == visit.principal.user_id,
        same=now_it is not None and now_it.digest == proposal.digest,
    )


async def _now_it_would(visit: Visit, proposal: Proposal) -> tuple[dict[str, Any], str]:
    """The preview that the first person saw, as it is now, or why there is none."""
    try:
        return await previewed(visit, proposal.asked), ""
    except RequestRefusedError as error:
        return {}, str(error)


async def _names(conn: AsyncConnection) -> Mapping[str, str]:
    return {user.user_id: user.name for user in await users.users(conn)}


def _page(method: str, path: str, name: str, permission: Permission, handle: Any, **more: Any) -> Page:
    address = f"/events/approvals{path}"
    return Page(method=method, path=address, name=name, permission=permission, handle=handle, **more)


_GET, _POST, _READ, _APPROVE = (
    hdrs.METH_GET,
    hdrs.METH_POST,
    Permission.FLEET_READ,
    Permission.EVENT_APPROVE,
)
PAGES = (
    _page(_GET, "", "approvals", _READ, screen),
    _page(_GET, "/badge", "approval badge", _APPROVE, badge),
    _page(_GET, "/{approval_id}", "approval", _READ, one),
    _page(_POST, "/{approval_id}/approve", "approve event", _APPROVE, approve, fresh=True),
    _page(_POST, "/{approval_id}/refuse", "refuse event", _APPROVE, refuse),
)
