"""Alarms: what is wrong now, who has it in hand, what to do, and what was wrong before."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

from aiohttp import hdrs, web
from pydantic import Field

from aggregator import alarm
from aggregator.access.permission import Permission
from aggregator.alarm import Alarm, AlarmKind, Severity
from aggregator.dashboard.alarm_words import BADGES, REMEDIES, SEVERITIES, TITLES, anchor, sentence
from aggregator.dashboard.operation import DeskCall, Operation
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.typed_number import number_of
from aggregator.dashboard.wording import FALLBACK, Wording, words_of
from aggregator.errors import BadInputError
from vtn.api_route import Answer, At, Query, Route

PAGE_ROWS = 50
OPEN_ROWS = 200
MOST_PAGES = 100_000
SCREEN, PART = "alarms/screen.html", "alarms/open.html"
HISTORY, BADGE = "alarms/history.html", "alarms/badge.html"
_P = Permission


async def screen(visit: Visit) -> web.StreamResponse:
    """What is wrong now."""
    return visit.page(SCREEN, **await _open(visit))


async def part(visit: Visit) -> web.StreamResponse:
    """The same without the page around it."""
    return visit.page(PART, **await _open(visit))


async def badge(visit: Visit) -> web.StreamResponse:
    """How many alarms nobody has acknowledged, for the navigation."""
    async with visit.desk.db.read() as conn:
        count, worst = await alarm.unseen(conn)
    if refusal(visit) is not None:
        count, worst = count + 1, Severity.CRITICAL
    return visit.page(BADGE, count=count, kind=BADGES[worst] if worst else "")


async def past(visit: Visit) -> web.StreamResponse:
    """What was wrong before, the newest first."""
    page, kind = _page_of(visit), _kind_of(visit)
    async with visit.desk.db.read() as conn:
        total = await alarm.ended(conn, kind)
        pages = max(1, -(-total // PAGE_ROWS))
        page = min(page, pages)
        found = await alarm.history(conn, PAGE_ROWS, (page - 1) * PAGE_ROWS, kind)
    return visit.page(
        HISTORY,
        alarms=found,
        total=total,
        page=page,
        pages=pages,
        kind=kind or "",
        kinds=[(str(one), words_of(visit).gettext(title)) for one, title in TITLES.items()],
        **_speech(visit),
    )


async def acknowledge(visit: Visit) -> web.StreamResponse:
    """Somebody has it in hand."""
    alarm_id = visit.request.match_info["alarm_id"]
    async with visit.write() as conn:
        await alarm.acknowledge(conn, alarm_id, visit.principal.user_id or "", visit.now)
    return await part(visit) if visit.by_script else visit.seen_next("/alarms")


def refusal(visit: Visit) -> Alarm | None:
    """The alarm that the database cannot keep."""
    return visit.desk.watch.refusal if visit.desk.watch else None


async def _open(visit: Visit) -> dict[str, Any]:
    async with visit.desk.db.read() as conn:
        found = await alarm.open_alarms(conn, OPEN_ROWS)
    gone = refusal(visit)
    counts = {one: sum(a.severity is one for a in found) for one in reversed(Severity)}
    if gone is not None:
        counts[Severity.CRITICAL] += 1
    return {
        "alarms": found,
        "refusal": gone,
        "counts": counts,
        "unseen": sum(one.acknowledged_at is None for one in found),
        **_speech(visit),
    }


def _speech(visit: Visit) -> dict[str, Any]:
    words = words_of(visit)
    return {
        "titles": TITLES,
        "remedies": REMEDIES,
        "severities": SEVERITIES,
        "badges": BADGES,
        "anchor": anchor,
        "sentence": lambda one: sentence(one, words),
        "link_of": _link,
    }


def _link(one: Alarm) -> str:
    """Where what it is about has a page."""
    if one.kind is AlarmKind.SHORTFALL:
        return f"/events/{quote(one.subject, safe='')}"
    if one.kind is AlarmKind.BREAKER_OPEN:
        return "/events/limits"
    nodes = {AlarmKind.NODE_SILENT, AlarmKind.REPORT_LATE, AlarmKind.CERTIFICATE_ENDING}
    nodes |= {AlarmKind.CLOCK_SKEW, AlarmKind.OUTBOX_BACKLOG}
    if one.kind in nodes:
        return f"/nodes/{quote(one.subject, safe='')}" if one.subject else "/nodes"
    return ""


def _page_of(visit: Visit) -> int:
    text = visit.request.query.get("page", "1")
    page = number_of(text, MOST_PAGES)
    if not page:
        raise BadInputError(f"page: {text[:20]!r} is no number of a page")
    return page


def _kind_of(visit: Visit) -> AlarmKind | None:
    text = visit.request.query.get("kind", "")
    try:
        return AlarmKind(text) if text else None
    except ValueError:
        raise BadInputError(f"kind: there are no alarms of the kind {text[:40]!r}") from None


class AlarmView(Answer):
    """One alarm."""

    alarm_id: str
    kind: AlarmKind
    subject: str = Field(description="What it is about, such as a venID; empty for the platform.")
    severity: Literal["info", "warning", "critical"]
    text: str = Field(description="What is wrong, in English.")
    since: At
    cleared_at: At | None = None
    acknowledged_at: At | None = None
    acknowledged_by: str | None = Field(default=None, description="The id of a user.")


class AlarmList(Answer):
    """Open alarms, the worst first; or those that have ended, the newest first."""

    alarms: list[AlarmView]
    next: int | None = Field(default=None, description="`after` of the next page, where there is one.")


class AlarmQuery(Query):
    """Which alarms."""

    state: Literal["open", "ended"] = Field(default="open", description="Those that stand, or the history.")
    limit: int = Field(default=100, ge=1, le=1000, description="At most so many.")
    after: int = Field(default=0, ge=0, le=10_000_000, description="Leave out so many of the history.")


def _view(one: Alarm, now: datetime) -> AlarmView:
    return AlarmView(
        alarm_id=one.alarm_id,
        kind=one.kind,
        subject=one.subject,
        severity=one.severity.word,  # type: ignore[arg-type]  # the names of the enum
        text=sentence(one, _english(now)),
        since=one.since,
        cleared_at=one.cleared_at,
        acknowledged_at=one.acknowledged_at,
        acknowledged_by=one.acknowledged_by,
    )


def _english(now: datetime) -> Wording:
    return Wording(FALLBACK, ZoneInfo("UTC"), now)


async def _list(call: DeskCall) -> Answer:
    query: AlarmQuery = call.query
    if query.state == "open":
        found = await alarm.open_alarms(call.conn, query.limit)
        gone = refusal(call.visit)
        return AlarmList(alarms=[_view(one, call.now) for one in ([gone] if gone else []) + found])
    found = await alarm.history(call.conn, query.limit + 1, query.after)
    shown = found[: query.limit]
    after = query.after + query.limit if len(found) > query.limit else None
    return AlarmList(alarms=[_view(one, call.now) for one in shown], next=after)


async def _acknowledge(call: DeskCall) -> Answer:
    seen = await alarm.acknowledge(call.conn, call.path["alarm_id"], call.principal.user_id or "", call.now)
    return _view(seen, call.now)


def _page(method: str, path: str, name: str, permission: Permission, handle: Any) -> Page:
    return Page(method=method, path=path, name=name, permission=permission, handle=handle)


_GET, _POST = hdrs.METH_GET, hdrs.METH_POST
PAGES = (
    _page(_GET, "/alarms", "alarms", _P.FLEET_READ, screen),
    _page(_GET, "/alarms/open", "open alarms", _P.FLEET_READ, part),
    _page(_GET, "/alarms/badge", "alarm badge", _P.FLEET_READ, badge),
    _page(_GET, "/alarms/history", "past alarms", _P.FLEET_READ, past),
    _page(_POST, "/alarms/{alarm_id}/acknowledge", "acknowledge alarm", _P.ALARM_WRITE, acknowledge),
)
OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/alarms",
            name="listAlarms",
            summary="Alarms that stand, or those that have ended.",
            handle=_list,
            answer=AlarmList,
            query=AlarmQuery,
        ),
        permission=_P.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="POST",
            path="/alarms/{alarm_id}/acknowledge",
            name="acknowledgeAlarm",
            summary="Say that somebody has an alarm in hand.",
            handle=_acknowledge,
            answer=AlarmView,
            parameters={"alarm_id": "The alarm's id."},
        ),
        permission=_P.ALARM_WRITE,
    ),
)
