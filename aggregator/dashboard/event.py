"""One event as it runs: who has said nothing, who is in and out, target against delivered, the end of it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from aiohttp import hdrs, web
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import approval, event_book, override_book, store
from aggregator import request as operator_request
from aggregator.access import guard, sign_in
from aggregator.access import user as users
from aggregator.access.permission import Permission
from aggregator.curve import numbers
from aggregator.dashboard import event_by_hand
from aggregator.dashboard.account import text
from aggregator.dashboard.chart import Chart, Series, Shade
from aggregator.dashboard.event_delivery import Delivery, delivery
from aggregator.dashboard.event_note import reason_of
from aggregator.dashboard.events import KINDS, PHASES
from aggregator.dashboard.load_board import board_of
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.wording import words_of
from aggregator.errors import RequestRefusedError, UnknownObjectError
from aggregator.event_book import Entry, Phase
from aggregator.profile import QUARTER, LoadProfile, Period, floor_to, known_part
from vtn.errors import NotAdmitted

SCREEN = "events/one.html"
CANCEL = "events/cancel.html"
PER_PAGE = 50
AROUND = timedelta(hours=1)
SHOWN_NAMES = 50
SHOWN_LEAST = 5


async def screen(visit: Visit) -> web.StreamResponse:
    """The page; of what no request has made a plainer one."""
    try:
        content = await _content(visit)
    except UnknownObjectError:
        return await event_by_hand.screen(visit)
    return visit.page(SCREEN, **content)


async def tiles(visit: Visit) -> web.StreamResponse:
    """The numbers at the top, and what can be done."""
    return visit.page("events/tiles.html", **await _content(visit))


async def nodes(visit: Visit) -> web.StreamResponse:
    """How each node stands to it."""
    return visit.page("events/nodes.html", **await _content(visit))


async def load(visit: Visit) -> web.StreamResponse:
    """The chart of the event's curves."""
    return (await drawn(visit)).answer(visit)


async def drawn(visit: Visit) -> Chart:
    """Target against delivered: metered load of the event's nodes, their baseline, and what is left of it."""
    entry, desk = await _entry(visit), visit.desk
    around = Period(floor_to(entry.start, QUARTER) - AROUND, floor_to(entry.end, QUARTER) + AROUND)
    async with desk.db.read() as conn:
        calls = await _calls(conn, entry)
    calendar = desk.portfolio.calendar
    day = calendar.day(calendar.day_of(entry.start))
    curves, current = await board_of(desk).newest(desk, day)
    sums = _Sums(len(calls))
    if curves is not None:
        called = set(Period(entry.start, entry.end).slots())
        usual = {ven_id: one.window(around) for ven_id, one in curves.baseline.items() if ven_id in calls}
        target = [_target(one, calls[ven_id], called) for ven_id, one in usual.items()]
        metered = {ven_id: one.window(around) for ven_id, one in curves.metered.items() if ven_id in calls}
        known, counts = known_part([*metered.values()], around)
        filled = (_rest_as_usual(known, metered, usual), counts)
        sums = _Sums(len(calls), filled, known_part(target, around), known_part([*usual.values()], around))
    return _chart(visit, entry, around, sums, unfinished=curves is None or not current)


async def ask_cancel(visit: Visit) -> web.StreamResponse:
    """What taking it back would mean, and for whom."""
    return await _ask_cancel(visit)


async def cancel(visit: Visit) -> web.StreamResponse:
    """Take it back; with 409 where it is not what was shown any more."""
    form = await visit.request.post()
    reason, problem = reason_of(text(form, "reason"))
    values = {"reason": text(form, "reason")[:1000]}
    if problem:
        return await _ask_cancel(visit, values, {"reason": problem}, status=422)
    entry = await _entry(visit)
    if text(form, "version") != str(entry.version):
        stale = words_of(visit).gettext("The event has changed since you looked at it: look again.")
        return await _ask_cancel(visit, values, {"": stale}, status=409)
    if await _needs_code(visit, entry):
        found = await sign_in.confirm_again(visit.desk.access, visit.principal, text(form, "code"))
        if found is None:
            return await _ask_cancel(visit, values, {"code": _of_code(visit, text(form, "code"))}, status=422)
        visit = replace(visit, principal=found)
    try:
        async with visit.write() as conn:
            await operator_request.cancel(conn, entry.event_id, visit.now, reason)
    except RequestRefusedError as error:
        return await _ask_cancel(visit, values, {"": str(error)}, status=409)
    except NotAdmitted as error:
        return await _ask_cancel(visit, values, {"": error.text}, status=409)
    return visit.seen_next(f"/events/{entry.event_id}")


async def _ask_cancel(
    visit: Visit,
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> web.StreamResponse:
    entry = await _entry(visit)
    async with visit.desk.db.read() as conn:
        named = await event_book.parts(conn, entry.event_id, SHOWN_NAMES)
        agreed = await approval.of_event(conn, entry.event_id)
        people = await users.users(conn) if agreed else ()
    return visit.page(
        CANCEL,
        status,
        entry=entry,
        named=named,
        agreed=agreed,
        names={user.user_id: user.name for user in people},
        needs_code=agreed is not None and not _is_fresh(visit),
        running=entry.phase(visit.now) is Phase.ACTIVE,
        over=entry.phase(visit.now) in (Phase.OVER, Phase.CANCELLED),
        values=values or {"reason": ""},
        errors=errors or {},
    )


async def _needs_code(visit: Visit, entry: Entry) -> bool:
    """Whether two people have sent it, and this one has not given a code just now."""
    if _is_fresh(visit):
        return False
    async with visit.desk.db.read() as conn:
        return await approval.of_event(conn, entry.event_id) is not None


def _is_fresh(visit: Visit) -> bool:
    return guard.is_fresh(visit.principal, visit.desk.access.clock())


def _of_code(visit: Visit, typed: str) -> str:
    _ = words_of(visit).gettext
    if typed:
        return _("This code is not right, or was used already.")
    return _("Two people have sent this event: taking it back needs a code of your second factor.")


async def _entry(visit: Visit) -> Entry:
    event_id = visit.request.match_info["event_id"]
    async with visit.desk.db.read() as conn:
        entry = await event_book.find(conn, event_id)
    if entry is None:
        raise UnknownObjectError(f"there is no event {event_id[:128]!r}")
    return entry


async def _content(visit: Visit) -> dict[str, Any]:
    entry = await _entry(visit)
    typed = visit.request.query.get("page", "1")
    pages = max(1, -(-entry.nodes // PER_PAGE))
    page = min(int(typed), pages) if typed.isascii() and typed.isdigit() and 0 < len(typed) < 6 else 1
    async with visit.desk.db.read() as conn:
        parts = await event_book.parts(conn, entry.event_id, PER_PAGE, (max(1, page) - 1) * PER_PAGE)
        stay_out = await override_book.standing(conn, entry.event_id)
        given = await _delivery(visit, conn, entry)
        least = await event_book.names(conn, given.least[:SHOWN_LEAST]) if given else {}
    heard = visit.desk.office.contacts()
    return {
        "entry": entry,
        "phase": entry.phase(visit.now),
        "delivery": given,
        "least": list(least.values()),
        "phases": PHASES,
        "kinds": KINDS,
        "parts": parts,
        "stay_out": stay_out,
        "heard": {part.ven_id: heard.get(part.ven_id, part.last_contact) for part in parts},
        "page": max(1, page),
        "pages": pages,
        "late": visit.now >= min(entry.answer_by, entry.start),
    }


async def _delivery(visit: Visit, conn: AsyncConnection, entry: Entry) -> Delivery | None:
    """What its nodes give now, as the chart knows it already; None where it does not run."""
    if entry.phase(visit.now) is not Phase.ACTIVE:
        return None
    calendar = visit.desk.portfolio.calendar
    curves = board_of(visit.desk).known(calendar.day(calendar.day_of(visit.now)))
    return delivery(curves, Period(entry.start, entry.end), await _calls(conn, entry), visit.now)


async def _calls(conn: AsyncConnection, entry: Entry) -> dict[str, int]:
    """What each node in it is asked for, in W; who was taken out before its end is not in it."""
    found = await store.calls(conn, event_id=entry.event_id)
    return {call.ven_id: call.power_w for call in found if call.cancelled_at in (None, entry.cancelled_at)}


Sum = tuple[LoadProfile, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class _Sums:
    """The curves of an event's nodes: each the sum of what is known, and of how many of all nodes."""

    among: int
    metered: Sum | None = None
    target: Sum | None = None
    usual: Sum | None = None

    def series(self, name: str, of: Sum | None, slots: int, **look: Any) -> Series:
        """A curve; nothing where nothing is known."""
        values, counts = (numbers(of[0]), of[1]) if of else ([None] * slots, ())
        return Series(name=name, values=values, counts=counts, among=self.among, **look)


def _target(usual: LoadProfile, power_w: int, called: Collection[datetime]) -> LoadProfile:
    """What a node should use during the event, as far as its baseline is known."""
    kw = tuple(
        value - power_w / 1000 if usual.start + index * QUARTER in called else math.nan
        for index, value in enumerate(usual.kw)
    )
    return LoadProfile(usual.start, QUARTER, kw)


def _rest_as_usual(
    known: LoadProfile, metered: Mapping[str, LoadProfile], usual: Mapping[str, LoadProfile]
) -> LoadProfile:
    """With the baseline of nodes that are not known: left out, they would look like a drop of the load."""
    kw = list(known.kw)
    for ven_id, expected in usual.items():
        for index, slot_kw in enumerate(expected.kw):
            unknown = ven_id not in metered or math.isnan(metered[ven_id].kw[index])
            if unknown and not math.isnan(slot_kw):
                kw[index] += slot_kw
    return replace(known, kw=tuple(kw))


def _chart(visit: Visit, entry: Entry, around: Period, sums: _Sums, *, unfinished: bool) -> Chart:
    _ = words_of(visit).gettext
    times = list(around.slots())
    some = sums.metered is not None and any(0 < count < sums.among for count in sums.metered[1])
    metered = _("Metered, unknown nodes as usual") if some else _("Metered")
    return Chart(
        start=around.start,
        end=around.end,
        times=times,
        series=[
            sums.series(metered, sums.metered, len(times), colour=1),
            sums.series(_("Target"), sums.target, len(times), colour=2),
            sums.series(_("Baseline"), sums.usual, len(times), colour=3, dashed=True),
        ],
        shades=[Shade(start=entry.start, end=entry.end, label=entry.event_id)],
        unfinished=unfinished,
    )


def _page(method: str, path: str, name: str, permission: Permission, handle: Any) -> Page:
    return Page(
        method=method, path=f"/events/{{event_id}}{path}", name=name, permission=permission, handle=handle
    )


_GET, _READ, _WRITE = hdrs.METH_GET, Permission.FLEET_READ, Permission.EVENT_WRITE
PAGES = (
    _page(_GET, "", "event", _READ, screen),
    _page(_GET, "/tiles", "event tiles", _READ, tiles),
    _page(_GET, "/nodes", "event nodes", _READ, nodes),
    _page(_GET, "/load.json", "event load", _READ, load),
    _page(_GET, "/cancel", "event cancellation", _WRITE, ask_cancel),
    _page(hdrs.METH_POST, "/cancel", "cancel event", _WRITE, cancel),
)
