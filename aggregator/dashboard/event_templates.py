"""Templates of events: the list, the form of one, its end. The page of new events makes events of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web

from aggregator import event_template
from aggregator.access import name as names
from aggregator.access import user as users
from aggregator.access.errors import FieldError
from aggregator.access.permission import Permission
from aggregator.access.secret import new_id
from aggregator.dashboard.account import text
from aggregator.dashboard.event_entry import content_of, typed_of
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.wording import words_of
from aggregator.errors import RequestRefusedError
from aggregator.event_template import LONGEST_NAME, Template, TemplateNameError
from aggregator.operator_choice import StaleVersionError

LIST, ONE = "events/templates.html", "events/template.html"
SHAPE = ("start", "end", "power_kw", "nodes", "test_event")
FIELDS = ("name", *SHAPE)
_KEY = re.compile("t_[0-9a-f]{16}")


async def screen(visit: Visit) -> web.StreamResponse:
    """All templates."""
    async with visit.desk.db.read() as conn:
        found = await event_template.templates(conn)
        people = {user.user_id: user.name for user in await users.users(conn)}
    return visit.page(LIST, templates=found, people=people)


async def new(visit: Visit) -> web.StreamResponse:
    """The form, with what was typed for an event."""
    return _show(visit, {name: visit.request.query.get(name, "")[:4000] for name in FIELDS})


async def add(visit: Visit) -> web.StreamResponse:
    """Keep a new one; a second click is the same."""
    form = await visit.request.post()
    key = text(form, "idempotency_key")
    return await _keep(visit, key if _KEY.fullmatch(key) else new_id("t"), 0)


async def one(visit: Visit) -> web.StreamResponse:
    """The form of one."""
    found = await _find(visit)
    return _show(visit, _typed(visit, found), template=found)


async def change(visit: Visit) -> web.StreamResponse:
    """Replace one; with 409 and what changed where somebody else did so meanwhile."""
    return await _keep(visit, visit.request.match_info["template_id"], await _version(visit))


async def remove(visit: Visit) -> web.StreamResponse:
    """Delete one."""
    found, seen = await _find(visit), await _version(visit)
    try:
        async with visit.write() as conn:
            await event_template.remove(conn, found.template_id, seen)
    except StaleVersionError:
        return await _stale(visit, _typed(visit, found))
    return visit.seen_next("/events/templates")


async def _keep(visit: Visit, template_id: str, seen: int) -> web.StreamResponse:
    """Write what was typed, as a new template where no version of one was `seen`."""
    form = await visit.request.post()
    typed = {name: text(form, name)[:16_000] for name in FIELDS}
    template = await _find(visit) if seen else None
    content, errors = content_of({name: typed[name] for name in SHAPE}, words_of(visit).zone)
    try:
        name = names.checked("name", typed["name"], LONGEST_NAME)
    except FieldError as error:
        errors = {**errors, error.field: error.text}
    if content is None or errors:
        return _show(visit, typed, errors, template, status=422)
    made = Template(template_id, name, content, 1, visit.now, visit.principal.user_id or "")
    try:
        async with visit.write(f"template={template_id}") as conn:
            await (event_template.change(conn, made, seen) if seen else event_template.add(conn, made))
    except StaleVersionError:
        return await _stale(visit, typed)
    except TemplateNameError:
        taken = {"name": words_of(visit).gettext("Another template has this name.")}
        return _show(visit, typed, taken, template, status=409)
    except RequestRefusedError as error:
        return _show(visit, typed, {"": str(error)}, template, status=error.http_status)
    return visit.seen_next("/events/templates")


async def _stale(visit: Visit, typed: Mapping[str, str]) -> web.StreamResponse:
    """What was typed, with what stands there now beside each field that differs."""
    _ = words_of(visit).gettext
    current = await _find(visit)
    errors = {"": _("Somebody else has saved meanwhile. Save again to replace what stands there now.")}
    for name, value in _typed(visit, current).items():
        if value.split() != typed[name].split():
            errors[name] = _("Somebody else has changed this to: %(value)s") % {"value": value or "-"}
    return _show(visit, typed, errors, current, status=409)


async def _find(visit: Visit) -> Template:
    async with visit.desk.db.read() as conn:
        return await event_template.find(conn, visit.request.match_info["template_id"])


async def _version(visit: Visit) -> int:
    typed = text(await visit.request.post(), "version")
    return int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 9 and int(typed) else 1


def _typed(visit: Visit, template: Template) -> dict[str, str]:
    words = words_of(visit)
    filled = typed_of(template.content, words.zone, words.local(visit.now).date())
    return {"name": template.name, **{name: filled[name] for name in SHAPE}}


def _show(
    visit: Visit,
    typed: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    template: Template | None = None,
    status: int = 200,
) -> web.StreamResponse:
    return visit.page(ONE, status, values=typed, errors=errors or {}, one=template, key=new_id("t"))


def _page(method: str, path: str, name: str, permission: Permission, handle: Any) -> Page:
    address = f"/events/templates{path}"
    return Page(method=method, path=address, name=name, permission=permission, handle=handle)


_GET, _POST = hdrs.METH_GET, hdrs.METH_POST
_READ, _WRITE = Permission.FLEET_READ, Permission.EVENT_WRITE
PAGES = (
    _page(_GET, "", "event templates", _READ, screen),
    _page(_GET, "/new", "new event template", _WRITE, new),
    _page(_POST, "", "add event template", _WRITE, add),
    _page(_GET, "/{template_id}", "event template", _WRITE, one),
    _page(_POST, "/{template_id}", "change event template", _WRITE, change),
    _page(_POST, "/{template_id}/delete", "delete event template", _WRITE, remove),
)
