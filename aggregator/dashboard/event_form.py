"""A new event, or the change of one: the form, what it would do, the sending of exactly what was shown.

The preview carries the digest of what it shows and a key of its own: what has changed meanwhile is answered
with what changed and a new preview, and a second click sends nothing.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

from aiohttp import hdrs, web
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import approval, event_template, preview, sent_event, store
from aggregator import request as operator_request
from aggregator.access.permission import Permission
from aggregator.access.secret import new_id
from aggregator.agreement import Clause
from aggregator.clearance import Sender
from aggregator.dashboard.account import text
from aggregator.dashboard.event_entry import EventEntry, errors_of, typed_of
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.wording import words_of
from aggregator.errors import PreviewChangedError, RequestRefusedError, StaleEventError
from aggregator.preview import Preview
from aggregator.profile import QUARTER, floor_to
from aggregator.reach import Reach
from aggregator.request import Asked, Change, key_of
from aggregator.sent_event import SentEvent
from vtn.errors import NotAdmitted

SCREEN = "events/new.html"
PREVIEW = "events/preview.html"
FIELDS = ("day", "start", "end", "power_kw", "nodes", "test_event")
SHOWN_NODES = 50
COMPARED_NODES = 200  # with more of them a changed preview says totals only
LENGTH = timedelta(hours=2)
Work = Callable[[AsyncConnection, Asked, str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Order:
    """What a form is for: a new event, or the change of one that was `sent`, at the version that was seen."""

    sent: SentEvent | None = None
    version: int = 0
    reason: str | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """What is typed."""
        return (*FIELDS, "reason") if self.sent else FIELDS

    @property
    def path(self) -> str:
        """Where the form stands."""
        return f"/events/{quote(self.sent.event_id, safe='')}/change" if self.sent else "/events/new"

    @property
    def preview_path(self) -> str:
        """Where its preview is made."""
        return f"{self.path}/preview" if self.sent else "/events/preview"

    @property
    def send_path(self) -> str:
        """Where it is sent to."""
        return self.path if self.sent else "/events"

    @property
    def propose_path(self) -> str:
        """Where it is put before a second person."""
        return f"{self.path}/propose" if self.sent else "/events/approvals"

    def asked(self, entry: EventEntry, key: str | None) -> Asked:
        """What the form asks for."""
        asked = entry.asked(key)
        if self.sent is None:
            return asked
        change = Change(self.sent.event_id, self.version, self.reason)
        return replace(asked, change=change, test_event=self.sent.test_event)


NEW = Order()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a preview showed, as its form carries it; `event` is what would change: start, end and W."""

    power_w: int
    nodes: Mapping[str, int] | None
    event: tuple[datetime, datetime, int] | None = None

    @classmethod
    def read(cls, typed: str) -> Seen | None:
        """What the form says; None where it is none of ours."""
        try:
            content = json.loads(typed)
            nodes = content["nodes"]
            known = None if nodes is None else {str(name): int(watts) for name, watts in nodes.items()}
            event = content.get("event")
            if event is not None:
                start, end = (datetime.fromisoformat(str(event[index])) for index in (0, 1))
                event = (start.astimezone(UTC), end.astimezone(UTC), int(event[2]))
            return cls(int(content["power_w"]), known, event)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
            return None


async def screen(visit: Visit) -> web.StreamResponse:
    """The empty form, or what a template says, with a period that every agreement allows."""
    typed = {name: visit.request.query.get(name, "")[:4000] for name in FIELDS}
    template_id = visit.request.query.get("template")
    if template_id or not typed["day"]:
        typed |= await _proposed(visit)
    if template_id:
        typed |= await _of_template(visit, template_id, typed)
    return await show(visit, typed)


async def fragment(visit: Visit) -> web.StreamResponse:
    """The preview alone, as one types."""
    typed = {name: visit.request.query.get(name, "") for name in FIELDS}
    return visit.page(PREVIEW, **await content_of(visit, typed))


async def send(visit: Visit) -> web.StreamResponse:
    """Send what was previewed; with 409 and a new preview where that is not what would be sent now."""
    return await carry_out(visit, NEW, sending(visit))


async def propose(visit: Visit) -> web.StreamResponse:
    """Put what was previewed before a second person."""
    return await carry_out(visit, NEW, proposing(visit))


def sending(visit: Visit) -> Work:
    """Sends what is asked, and says where it can be seen."""

    async def work(conn: AsyncConnection, asked: Asked, previewed: str) -> str:
        desk, sender = visit.desk, Sender(visit.principal.user_id or "")
        context = desk.settings.programme.market_context
        answer = await operator_request.send(
            conn, desk.portfolio, context, asked, visit.now, sender=sender, previewed=previewed
        )
        visit.about(f"event={answer['event_id']}")
        return f"/events/{answer['event_id']}"

    return work


def proposing(visit: Visit) -> Work:
    """Puts what is asked before a second person, and says where it can be seen."""

    async def work(conn: AsyncConnection, asked: Asked, previewed: str) -> str:
        sender = Sender(visit.principal.user_id or "")
        made = await approval.propose(
            conn, visit.desk.portfolio, asked, visit.now, sender=sender, previewed=previewed
        )
        visit.about(f"proposal={made.approval_id}")
        return f"/events/approvals/{made.approval_id}"

    return work


async def carry_out(visit: Visit, order: Order, work: Work) -> web.StreamResponse:
    """Do something with what the form asks for, and go where that leads; else the form as it was typed."""
    form = await visit.request.post()
    typed = {name: text(form, name) for name in order.fields}
    entry, errors = entry_of(visit, typed, order)
    if entry is None:
        return await show(visit, typed, order, errors=errors, status=422)
    try:
        asked = order.asked(entry, key_of(text(form, "idempotency_key")[:128] or None))
        async with visit.write() as conn:
            path = await work(conn, asked, text(form, "previewed"))
    except (PreviewChangedError, StaleEventError):
        return await show(visit, typed, order, seen=Seen.read(text(form, "seen")[:65_536]), status=409)
    except RequestRefusedError as error:
        return await show(visit, typed, order, errors={"": str(error)}, status=error.http_status)
    except NotAdmitted as error:
        return await show(visit, typed, order, errors={"": error.text}, status=409)
    return visit.seen_next(path)


async def show(
    visit: Visit,
    typed: Mapping[str, str],
    order: Order = NEW,
    *,
    errors: Mapping[str, str] | None = None,
    seen: Seen | None = None,
    status: int = 200,
) -> web.StreamResponse:
    """The form with the preview of what was typed, and with what has changed since it was `seen`."""
    wanted = typed["power_kw"] or typed["nodes"]
    content = await content_of(visit, typed, order) if wanted else {**NOTHING, "order": order}
    shown = {**content, "errors": {**content["errors"], **(errors or {})}}
    if order.sent is None:
        async with visit.desk.db.read() as conn:
            shown["templates"] = await event_template.templates(conn)
    if status == 409 and content["preview"] is not None and not errors:
        shown["changed"] = _changed(visit, seen, content["preview"])
    return visit.page(SCREEN, status, values=typed, **shown)


CLAUSES = {
    Clause.CAPACITY: _("More than agreed"),
    Clause.NOTICE: _("Notice too short"),
    Clause.DAILY_CALLS: _("Calls of the day used up"),
    Clause.OVERLAP: _("Called already"),
    Clause.OFFER: _("Offers nothing"),
    Clause.OPT_OUT: _("Has opted out"),
    Clause.STATE: _("Agreement not active"),
    Clause.START: _("Agreement not begun"),
    Clause.EXPIRY: _("Agreement has ended"),
    Clause.TAKEN_OUT: _("Taken out of this event"),
}
NOTHING: Mapping[str, Any] = {
    "clauses": CLAUSES,
    "preview": None,
    "errors": {},
    "changed": None,
    "key": "",
    "seen": "",
    "shown_nodes": SHOWN_NODES,
    "nodes_shown": (),
    "typed": {},
    "currency": "",
    "order": NEW,
    "read_only": False,
}


async def content_of(visit: Visit, typed: Mapping[str, str], order: Order = NEW) -> dict[str, Any]:
    """What the preview's template needs; an event that would change is looked at as it stands now."""
    entry, errors = entry_of(visit, typed, order)
    if order.sent is not None:
        async with visit.desk.db.read() as conn:
            sent = await sent_event.find(conn, order.sent.event_id)
        order = replace(order, sent=sent, version=sent.version)
    content = {**NOTHING, "typed": typed, "errors": errors, "order": order}
    if entry is None:
        return content
    try:
        shown = await previewed(visit, order.asked(entry, None))
    except RequestRefusedError as error:
        return {**content, "errors": {entry.at_fault: str(error)}}
    return {**content, **shown, "key": new_id("k"), "seen": _seen(shown["preview"])}


async def previewed(visit: Visit, asked: Asked) -> dict[str, Any]:
    """What the preview's template shows of what `asked` would do now; RequestRefusedError."""
    async with visit.desk.db.read() as conn:
        found = await _preview(visit, conn, asked)
        currency = await store.currency(conn)
    return {
        "preview": found,
        "currency": currency,
        "nodes_shown": sorted(found.nodes, key=lambda one: list(Reach).index(one.reach))[:SHOWN_NODES],
    }


def entry_of(
    visit: Visit, typed: Mapping[str, str], order: Order
) -> tuple[EventEntry | None, dict[str, str]]:
    """The entry in the user's own zone, or a sentence for each field that cannot be taken."""
    fields = {name: typed[name] for name in FIELDS}
    sent = order.sent.period if order.sent else None
    return errors_of(fields, words_of(visit).zone, visit.now, sent)


async def _preview(visit: Visit, conn: AsyncConnection, asked: Asked) -> Preview:
    desk = visit.desk
    return await preview.preview(
        conn,
        desk.portfolio,
        asked,
        visit.now,
        heard=desk.office.contacts(),
        poll_period_s=desk.settings.vtn.poll_period_s,
    )


def _seen(found: Preview) -> str:
    nodes = {one.ven_name: one.power_w for one in found.nodes}
    shown = nodes if len(nodes) <= COMPARED_NODES else None
    content: dict[str, Any] = {"power_w": found.dispatch.power_w, "nodes": shown}
    if found.sent is not None:
        period = found.sent.period
        content["event"] = [period.start.isoformat(), period.end.isoformat(), found.sent.power_w]
    return json.dumps(content)


def _changed(visit: Visit, seen: Seen | None, found: Preview) -> list[str]:
    """What is not as it was shown, in sentences."""
    words = words_of(visit)
    _ = words.gettext
    if seen is None:
        return []
    lines = []
    sent = found.sent
    if sent is not None and seen.event not in (None, (sent.period.start, sent.period.end, sent.power_w)):
        start, end, power_w = seen.event or (sent.period.start, sent.period.end, 0)
        values = {
            "before": f"{words.span(start, end)}, {words.power(power_w / 1000)}",
            "after": f"{words.span(sent.period.start, sent.period.end)}, {words.power(sent.power_w / 1000)}",
        }
        lines.append(_("The event: %(before)s before, %(after)s now.") % values)
    if seen.power_w != found.dispatch.power_w:
        before, after = words.power(seen.power_w / 1000), words.power(found.dispatch.power_w / 1000)
        lines.append(_("Power: %(before)s before, %(after)s now.") % {"before": before, "after": after})
    if seen.nodes is not None:
        now = {one.ven_name: one.power_w for one in found.nodes}
        for name in sorted(seen.nodes.keys() | now.keys()):
            before_w, after_w = seen.nodes.get(name, 0), now.get(name, 0)
            if before_w != after_w:
                values = {
                    "node": name[:128],
                    "before": words.power(before_w / 1000),
                    "after": words.power(after_w / 1000),
                }
                lines.append(_("%(node)s: %(before)s before, %(after)s now.") % values)
    if not lines and sent is not None:
        return [_("The event was changed, or what it costs.")]
    return lines[:SHOWN_NODES] or [_("What it costs has changed.")]


async def _of_template(visit: Visit, template_id: str, proposed: Mapping[str, str]) -> dict[str, str]:
    """What a template says, on the first day on which its start is not before the proposed one."""
    async with visit.desk.db.read() as conn:
        content = (await event_template.find(conn, template_id)).content
    zone, day = words_of(visit).zone, date.fromisoformat(proposed["day"])
    typed = typed_of(content, zone, day)
    late = (typed["day"], typed["start"]) < (proposed["day"], proposed["start"])
    return typed_of(content, zone, day + timedelta(days=1)) if late else typed


async def _proposed(visit: Visit) -> dict[str, str]:
    """The next period that every agreement's notice allows."""
    async with visit.desk.db.read() as conn:
        agreed = await store.agreements(conn)
    notice = max((terms.notice for _, terms in agreed.values()), default=timedelta())
    start = floor_to(visit.now + notice, QUARTER) + 2 * QUARTER
    words = words_of(visit)

    def clock(instant: datetime) -> str:
        return f"{words.local(instant):%H:%M}"

    return {"day": f"{words.local(start):%Y-%m-%d}", "start": clock(start), "end": clock(start + LENGTH)}


PAGES = (
    Page(
        method=hdrs.METH_GET,
        path="/events/new",
        name="new event",
        permission=Permission.EVENT_WRITE,
        handle=screen,
    ),
    Page(
        method=hdrs.METH_GET,
        path="/events/preview",
        name="event preview",
        permission=Permission.EVENT_WRITE,
        handle=fragment,
    ),
    Page(
        method=hdrs.METH_POST,
        path="/events",
        name="send event",
        permission=Permission.EVENT_WRITE,
        handle=send,
    ),
    Page(
        method=hdrs.METH_POST,
        path="/events/approvals",
        name="propose event",
        permission=Permission.EVENT_WRITE,
        handle=propose,
    ),
)
