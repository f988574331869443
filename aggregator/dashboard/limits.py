"""The budget: what it is, how much of the day is used, the breaker, and stricter limits than the file's."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from aiohttp import hdrs, web
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import budget, limit_rules, operator_choice
from aggregator.access import user as users
from aggregator.access.permission import Permission
from aggregator.commitment import commitments
from aggregator.dashboard.account import text
from aggregator.dashboard.page import Desk, Page, Visit
from aggregator.dashboard.wording import UNKNOWN, words_of
from aggregator.operator_choice import LimitChoice, StaleVersionError
from vtn.problem import invalid
from vtn.store import after_commit

SCREEN = "events/limits.html"


async def screen(visit: Visit) -> web.StreamResponse:
    """Limits, use, breaker."""
    return await _screen(visit)


async def close(visit: Visit) -> web.StreamResponse:
    """Close the breaker."""
    async with visit.write() as conn:
        await budget.close_breaker(conn, visit.principal.user_id or "", visit.now)
    return visit.seen_next("/events/limits")


async def save(visit: Visit) -> web.StreamResponse:
    """Set stricter limits, or some that are less strict again; with 409 where somebody else did meanwhile."""
    form = await visit.request.post()
    typed = {name: text(form, name)[:64].strip() for name in limit_rules.NAMES}
    version = text(form, "version")
    seen = int(version) if version.isascii() and version.isdigit() and len(version) < 9 else -1
    _ = words_of(visit).gettext
    try:
        values = {name: value.replace(",", ".") for name, value in typed.items() if value}
        new = LimitChoice.model_validate(values)
    except ValidationError as error:
        return await _screen(visit, typed, {one.field: one.detail for one in invalid(error).body.errors})
    allowed = limit_rules.beyond(visit.desk.portfolio.file_limits, new)
    if allowed:
        told = _("The settings file allows at most %(value)s.")
        return await _screen(
            visit, typed, {name: told % {"value": _plain(most)} for name, most in allowed.items()}
        )
    try:
        async with visit.write() as conn:
            await change(visit, conn, new, seen)
    except StaleVersionError:
        return await _screen(visit, typed, await _others(visit, typed), status=409)
    return visit.seen_next("/events/limits")


async def change(visit: Visit, conn: AsyncConnection, new: LimitChoice, seen: int) -> None:
    """Set limits of which this version was seen; they bind whatever is sent once this unit of work is
    durable, and never if it is undone.
    """
    portfolio = visit.desk.portfolio
    old, _version = await operator_choice.read(conn, LimitChoice)
    before = await portfolio.rules_of(conn)
    await operator_choice.write(conn, new, seen, visit.principal.user_id or "", visit.now)
    after = await portfolio.rules_of(conn)
    after_commit(conn, after)
    visit.about(*(f"setting=limits.{name}" for name in operator_choice.changed_fields(old, new)))
    visit.about(*(f"loosened={name}" for name in limit_rules.loosened(before.limits, after.limits)))


async def _others(visit: Visit, typed: Mapping[str, str]) -> dict[str, str]:
    """What somebody else has set meanwhile, beside each field that differs from what was typed."""
    _ = words_of(visit).gettext
    async with visit.desk.db.read() as conn:
        current, _version = await operator_choice.read(conn, LimitChoice)
    found = {"": _("Somebody else has saved meanwhile. Save again to replace what stands there now.")}
    for name, value in _typed(current).items():
        if value != typed[name]:
            found[name] = _("Somebody else has changed this to: %(value)s") % {"value": value or UNKNOWN}
    return found


def _typed(choice: LimitChoice) -> dict[str, str]:
    return {name: "" if value is None else _plain(value) for name, value in choice.model_dump().items()}


def _plain(value: Decimal | int) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


async def _screen(
    visit: Visit,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    *,
    status: int = 422,
) -> web.StreamResponse:
    desk: Desk = visit.desk
    rules = desk.portfolio.rules
    day = rules.calendar.day(rules.calendar.day_of(visit.now))
    async with desk.db.read() as conn:
        found = await commitments(conn, day.start)
        opened = await budget.breaker(conn)
        names = {user.user_id: user.name for user in await users.users(conn)}
        choice, version = await operator_choice.read(conn, LimitChoice)
        changed = await operator_choice.last_change(conn, LimitChoice)
    today = [one for one in found if day.contains(one.period.start)]
    return visit.page(
        SCREEN,
        status if errors else 200,
        limits=rules.limits,
        file=desk.portfolio.file_limits,
        opened=opened,
        names=names,
        now_w=sum(one.power_w for one in found if one.period.contains(visit.now)),
        peak_w=budget.peak_w(found, [day]),
        events=len({one.event_id for one in today}),
        values=typed or _typed(choice),
        errors=errors or {},
        version=version,
        changed=changed,
    )


PAGES = (
    Page(
        method=hdrs.METH_GET,
        path="/events/limits",
        name="limits",
        permission=Permission.FLEET_READ,
        handle=screen,
    ),
    Page(
        method=hdrs.METH_POST,
        path="/events/limits",
        name="change limits",
        permission=Permission.SETTINGS_WRITE,
        handle=save,
        fresh=True,
    ),
    Page(
        method=hdrs.METH_POST,
        path="/events/limits/close",
        name="close the breaker",
        permission=Permission.SETTINGS_WRITE,
        handle=close,
        fresh=True,
    ),
)
