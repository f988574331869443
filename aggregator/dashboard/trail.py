"""The audit trail: who did what and when, each action with its record in the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from aiohttp import hdrs, web

from aggregator import trail_list
from aggregator.access.permission import Permission
from aggregator.dashboard.filter import chosen
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.page import Page, Visit
from aggregator.record_list import LARGEST
from aggregator.trail_list import TrailChoice

OUTCOMES: Mapping[str, tuple[str, str]] = {
    "done": ("ok", _("done")),
    "refused": ("bad", _("refused")),
    "failed": ("warn", _("failed")),
}
"""The kind of badge and the word of what came of an action."""


async def screen(visit: Visit) -> web.StreamResponse:
    """The newest actions first; the rows alone where a filter asks for them."""
    choice, typed, errors = chosen(visit, TrailChoice)
    async with visit.desk.db.read() as conn:
        lines, following = await trail_list.lines(conn, choice, visit.desk.portfolio.calendar)
    return visit.page(
        "audit/rows.html" if visit.by_script else "audit/screen.html",
        422 if errors else 200,
        choice=choice,
        values={**choice.model_dump(), **typed},
        errors=errors,
        lines=[] if errors else lines,
        older=address(choice, before=following) if following is not None else "",
        here=address(choice, before=choice.before),
        newest=address(choice),
        outcomes=OUTCOMES,
    )


def address(choice: TrailChoice, **changes: Any) -> str:
    """The address of the trail with this choice."""
    values = {**choice.model_dump(), "before": LARGEST, **changes}
    usual = TrailChoice().model_dump()
    query = urlencode({name: value for name, value in values.items() if value != usual[name]})
    return f"/audit?{query}" if query else "/audit"


PAGES = (
    Page(
        method=hdrs.METH_GET,
        path="/audit",
        name="audit trail",
        permission=Permission.AUDIT_READ,
        handle=screen,
    ),
)
