"""Settings: whom to tell of alarms, how the dashboard looks, how long things are kept; and what stands in the
settings file, to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar

from aiohttp import hdrs, web
from pydantic import Field, ValidationError

from aggregator import notice, operator_choice
from aggregator.access import user as users
from aggregator.access.errors import FieldError
from aggregator.access.permission import Permission
from aggregator.dashboard.account import text
from aggregator.dashboard.alarm_words import SEVERITIES
from aggregator.dashboard.operation import DeskCall, Operation
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.typed_number import number_of
from aggregator.dashboard.wording import UNKNOWN, words_of
from aggregator.operator_choice import (
    DisplayChoice,
    Document,
    NoticeChoice,
    RetentionChoice,
    StaleVersionError,
)
from vtn.api_route import Answer, At, Body, Route
from vtn.problem import CONFLICT, Problem, invalid

SCREEN, NOTICES = "settings/screen.html", "settings/sent.html"
SENT_ROWS = 20
LATEST_VERSION = 10**9
KINDS: Mapping[str, type[Document]] = {
    name: kind for kind, name in operator_choice.NAMES.items() if kind is not operator_choice.LimitChoice
}
"""All but the limits, which have a page of their own."""
LISTS = frozenset({"webhooks", "mail_to", "escalate_to"})
D = TypeVar("D", bound=Document)


async def screen(visit: Visit) -> web.StreamResponse:
    """All of it."""
    return await _screen(visit)


async def save(visit: Visit) -> web.StreamResponse:
    """Replace one document."""
    form, name = await visit.request.post(), visit.request.match_info["name"]
    kind = KINDS.get(name)
    if kind is None:
        raise web.HTTPNotFound
    typed = {field: text(form, field) for field in kind.model_fields}
    version = text(form, "version")
    try:
        new = _document(kind, typed)
        barred(visit, new)
        seen = number_of(version, LATEST_VERSION)
        await _replace(visit, new, -1 if seen is None else seen)
    except ValidationError as error:
        errors = {_field(each.field): each.detail for each in invalid(error).body.errors}
        return await _screen(visit, name, typed, errors, version)
    except FieldError as error:
        return await _screen(visit, name, typed, {error.field: error.text}, version)
    except StaleVersionError:
        return await _screen(visit, name, typed, await _others(visit, kind, typed), status=409)
    return visit.seen_next("/settings?saved=" + name)


async def test(visit: Visit) -> web.StreamResponse:
    """Send a message that says it is a test, to everybody who would be told."""
    watch = visit.desk.watch
    async with visit.write() as conn:
        count = await watch.notifier.test(conn, visit.principal.name, visit.now) if watch else 0
    return visit.seen_next("/settings?sent=" + str(count))


async def sent(visit: Visit) -> web.StreamResponse:
    """What came of the newest notices."""
    return visit.page(NOTICES, notices=await _newest(visit))


def barred(visit: Visit, new: Document) -> None:
    """FieldError where a webhook goes where the settings file does not let it."""
    if isinstance(new, NoticeChoice) and visit.desk.watch is not None:
        for url in new.webhooks:
            if why := visit.desk.watch.notifier.barred(url):
                raise FieldError("webhooks", why)
        to_mail = new.mail_to or new.escalate_to
        settings = visit.desk.settings.notices
        if to_mail and (settings is None or settings.mail is None):
            raise FieldError("mail_to", "the settings file has no [notices.mail]: no mail can be sent")


def _document(kind: type[D], typed: Mapping[str, str]) -> D:
    """The document as it was typed; ValidationError names the fields that cannot be taken."""
    values: dict[str, Any] = dict(typed)
    for name in LISTS & values.keys():
        values[name] = tuple(dict.fromkeys(values[name].split()))
    if "events" in values:
        values["events"] = values["events"] == "yes"
    return kind.model_validate(values)


def _field(name: str) -> str:
    """The field of the form: `webhooks` for `webhooks[0]`."""
    return name.partition("[")[0]


async def _replace(visit: Visit, new: Document, version: int) -> None:
    async with visit.write() as conn:
        before, _ = await operator_choice.read(conn, type(new))
        changed = operator_choice.changed_fields(before, new)
        visit.about(*(f"setting={operator_choice.NAMES[type(new)]}.{name}" for name in changed))
        await operator_choice.write(conn, new, version, visit.principal.user_id or "", visit.now)
    if isinstance(new, DisplayChoice) and visit.desk.display is not None:
        visit.desk.display.now = new


async def _others(visit: Visit, kind: type[Document], typed: Mapping[str, str]) -> dict[str, str]:
    """What somebody else has changed meanwhile, beside each field that differs from what was typed."""
    _ = words_of(visit).gettext
    async with visit.desk.db.read() as conn:
        current, _version = await operator_choice.read(conn, kind)
    values = _typed(current)
    found = {
        name: _("Somebody else has changed this to: %(value)s") % {"value": value or UNKNOWN}
        for name, value in values.items()
        if value != typed[name]
    }
    return {"": _("Somebody else has saved meanwhile. Save again to replace what stands there now."), **found}


def _typed(document: Document) -> dict[str, str]:
    """The document as fields of a form hold it."""
    found = {}
    for name, value in document.model_dump().items():
        if isinstance(value, bool):
            found[name] = "yes" if value else ""
        elif isinstance(value, tuple):
            found[name] = "\n".join(value)
        else:
            found[name] = str(value)
    return found


async def _newest(visit: Visit) -> list[notice.Notice]:
    async with visit.desk.db.read() as conn:
        return await notice.newest(conn, SENT_ROWS)


async def _screen(
    visit: Visit,
    wrong: str = "",
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    version: str | None = None,
    *,
    status: int = 422,
) -> web.StreamResponse:
    documents: dict[str, dict[str, Any]] = {}
    async with visit.desk.db.read() as conn:
        for name, kind in KINDS.items():
            found, current = await operator_choice.read(conn, kind)
            values = typed if name == wrong and typed is not None else _typed(found)
            seen = version if name == wrong and version is not None else str(current)
            changed = await operator_choice.last_change(conn, kind)
            who = await users.find(conn, changed[1]) if changed else None
            documents[name] = {
                "values": values,
                "errors": errors or {} if name == wrong else {},
                "version": seen,
                "changed_at": changed[0] if changed else None,
                "changed_by": who.name if who else "",
            }
        notices = await notice.newest(conn, SENT_ROWS)
    _ = words_of(visit).gettext
    return visit.page(
        SCREEN,
        status if errors else 200,
        documents=documents,
        notices=notices,
        saved=visit.request.query.get("saved", "") in KINDS,
        sent_to=visit.request.query.get("sent", "")[:4],
        severities=[(int(one), _(label)) for one, label in SEVERITIES.items()],
        zones=[("", _("The programme's"))] + [(zone, zone) for zone in operator_choice.ZONES],
        file=_from_file(visit),
        can_hook=bool(visit.desk.settings.notices and visit.desk.settings.notices.hosts),
        can_mail=bool(visit.desk.settings.notices and visit.desk.settings.notices.mail),
        hosts=visit.desk.settings.notices.hosts if visit.desk.settings.notices else (),
    )


def _from_file(visit: Visit) -> list[tuple[str, str]]:
    """What an admin may want to know of the settings file: never a secret, a key or the path of one."""
    settings = visit.desk.settings
    programme, limits, chain = settings.programme, settings.limits, settings.chain
    mail = settings.notices.mail if settings.notices else None
    values: list[tuple[str, object]] = [
        ("limits.approval_above_kw", limits.approval_above_kw),
        ("limits.approval_above_share", limits.approval_above_share),
        ("limits.max_concurrent_kw", limits.max_concurrent_kw),
        ("limits.max_ramp_kw_per_min", limits.max_ramp_kw_per_min),
        ("limits.max_events_per_day", limits.max_events_per_day),
        ("programme.market_context", programme.market_context),
        ("programme.zone", programme.zone),
        ("programme.baseline", programme.baseline),
        ("programme.settlement_deadline_s", programme.settlement_deadline_s),
        ("programme.checkpoint_period_s", programme.checkpoint_period_s),
        ("vtn.port", settings.vtn.port),
        ("vtn.poll_period_s", settings.vtn.poll_period_s),
        ("vtn.originals_days", settings.vtn.originals_days),
        ("log.origin", settings.log.origin),
        ("log.witnesses", len(settings.log.witnesses)),
        ("chain.contract", chain.contract if chain else None),
        ("notices.hosts", " ".join(settings.notices.hosts) if settings.notices else None),
        ("notices.mail.host", mail.host if mail else None),
    ]
    return [(name, _plain(value)) for name, value in values]


def _plain(value: object) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    return f"{value:g}" if isinstance(value, float) else str(value)


class NoticeBody(Body):
    """Who is told of what."""

    version: int = Field(description="The version that this replaces; 0 where nothing was set yet.")
    webhooks: list[str] = Field(default=[], description="Addresses, of hosts that the settings file names.")
    mail_to: list[str] = Field(default=[], description="Mail addresses.")
    least: int = Field(default=2, description="Severity from which on alarms are told: 1 to 3.")
    events: bool = Field(default=False, description="Whether events are told too.")
    escalate_after_min: int = Field(default=15, description="Minutes until a second notice; 0: never.")
    escalate_to: list[str] = Field(default=[], description="Mail addresses for the second notice.")


class DisplayBody(Body):
    """How the dashboard looks to whoever has not chosen otherwise."""

    version: int = Field(description="The version that this replaces.")
    brand: str = Field(description="The name beside the sign.")
    time_zone: str = Field(default="", description="IANA name; empty: the programme's.")


class RetentionBody(Body):
    """How long what nobody needs any more is kept."""

    version: int = Field(description="The version that this replaces.")
    alarm_days: int = Field(description="Alarms that have ended, days.")
    notice_days: int = Field(description="Notices that were taken or given up, days.")


class SettingView(Answer):
    """One document of the settings."""

    name: str
    version: int
    values: dict[str, Any]
    changed_at: At | None = None
    changed_by: str | None = Field(default=None, description="The id of a user.")


class SettingList(Answer):
    """All documents, and what the settings file says."""

    settings: list[SettingView]
    from_file: dict[str, str] = Field(description="Values of the settings file; none is secret.")


async def _view(call: DeskCall, kind: type[Document]) -> SettingView:
    document, version = await operator_choice.read(call.conn, kind)
    changed = await operator_choice.last_change(call.conn, kind)
    return SettingView(
        name=operator_choice.NAMES[kind],
        version=version,
        values=document.model_dump(mode="json"),
        changed_at=changed[0] if changed else None,
        changed_by=changed[1] if changed else None,
    )


async def _list(call: DeskCall) -> Answer:
    views = [await _view(call, kind) for kind in KINDS.values()]
    return SettingList(settings=views, from_file=dict(_from_file(call.visit)))


def _put(kind: type[Document], body: type[Body], example: Mapping[str, Any]) -> Operation:
    name = operator_choice.NAMES[kind]

    async def handle(call: DeskCall) -> Answer:
        values = call.body.model_dump()
        version = values.pop("version")
        try:
            new = kind.model_validate(values)
        except ValidationError as error:
            raise invalid(error) from error
        barred(call.visit, new)
        before, _ = await operator_choice.read(call.conn, kind)
        try:
            await operator_choice.write(call.conn, new, version, call.principal.user_id or "", call.now)
        except StaleVersionError as error:
            raise Problem(CONFLICT, str(error)) from error
        call.visit.about(*(f"setting={name}.{one}" for one in operator_choice.changed_fields(before, new)))
        if isinstance(new, DisplayChoice) and call.desk.display is not None:
            call.desk.display.now = new
        return await _view(call, kind)

    return Operation(
        route=Route(
            method="PUT",
            path=f"/settings/{name}",
            name=f"put{name.capitalize()}",
            summary=f"Replace the settings of {name}.",
            handle=handle,
            answer=SettingView,
            body=body,
            example=example,
            refusals=(409,),
        ),
        permission=Permission.SETTINGS_WRITE,
        fresh=True,
    )


def _page(method: str, path: str, name: str, handle: Any, *, fresh: bool = False) -> Page:
    permission = Permission.SETTINGS_WRITE
    return Page(method=method, path=path, name=name, permission=permission, handle=handle, fresh=fresh)


PAGES = (
    _page(hdrs.METH_GET, "/settings", "settings", screen),
    _page(hdrs.METH_GET, "/settings/sent", "sent notices", sent),
    _page(hdrs.METH_POST, "/settings/test", "test notices", test),
    _page(hdrs.METH_POST, "/settings/{name}", "change settings", save, fresh=True),
)
OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/settings",
            name="listSettings",
            summary="What admins have set, and what the settings file says.",
            handle=_list,
            answer=SettingList,
        ),
        permission=Permission.SETTINGS_WRITE,
    ),
    _put(NoticeChoice, NoticeBody, {"version": 0, "least": 3}),
    _put(DisplayChoice, DisplayBody, {"version": 0, "brand": "flexpact"}),
    _put(RetentionChoice, RetentionBody, {"version": 0, "alarm_days": 365, "notice_days": 30}),
)
