"""A prosumer's pages: my home, my events, my money, my receipts. In plain words, for a telephone first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from aiohttp import hdrs, web

from aggregator import home as homes
from aggregator import home_proof
from aggregator.access.permission import Permission
from aggregator.archive import zipped
from aggregator.curve import numbers
from aggregator.dashboard.chart import Chart, Series, Shade
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.operation import FileAnswer
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.wording import Wording, words_of
from aggregator.home import Part, home_of
from aggregator.home_export import alone, export
from aggregator.profile import Calendar, Period
from aggregator.settlement import Outcome

PER_PAGE = 20
RECENT = 3
ZIP = "application/zip"


OUTCOMES: Mapping[Outcome, str] = {
    Outcome.MEASURED: _("Your home took part"),
    Outcome.TEST: _("A test: tests are not paid"),
    Outcome.CANCELLED: _("Called off"),
    Outcome.NOT_DELIVERED: _("Your box could not be reached: nothing is owed"),
    Outcome.OPTED_OUT: _("Your box did not take part"),
    Outcome.LATE_OPT_OUT: _("Your box said no too late"),
    Outcome.UNMEASURED: _("It could not be measured: nothing is owed"),
}
STEPS: Mapping[str, str] = {
    "record": _("The entry is complete"),
    "inclusion": _("It stands in the public log"),
    "checkpoint": _("The log is signed by the operator"),
    "witness": _("Independent witnesses have countersigned"),
    "contract": _("The log is anchored on the agreed chain"),
    "seals": _("The chain's validators have sealed it"),
    "header": _("The block is the one we name"),
    "account": _("The contract is part of that block"),
    "storage": _("The contract holds this log"),
    "validity": _("The signing key was valid"),
    "share": _("Your share is the one in the entry"),
}


async def screen(visit: Visit) -> web.StreamResponse:
    """My home."""
    return visit.page("home/screen.html", **{**await _now(visit), **await _money(visit)}, tab="/home")


async def following(visit: Visit) -> web.StreamResponse:
    """What comes next."""
    return visit.page("home/next.html", **await _now(visit))


async def earned(visit: Visit) -> web.StreamResponse:
    """This month's money and the last events."""
    return visit.page("home/earned.html", **await _money(visit))


async def load(visit: Visit) -> web.StreamResponse:
    """What the home's meter says of today."""
    home, day = home_of(visit.principal), _calendar(visit).day(_today(visit))
    async with visit.desk.db.read() as conn:
        profile = await homes.load(conn, home, day)
        recent = await homes.parts(conn, home, PER_PAGE)
    name, event = words_of(visit).gettext("Used"), words_of(visit).gettext("Event")
    return Chart(
        start=day.start,
        end=day.end,
        times=list(day.slots()),
        series=[Series(name=name, values=numbers(profile), colour=1)],
        shades=[
            Shade(start=one.start, end=one.end, label=event)
            for one in recent
            if one.cancelled_at is None and day.overlaps(Period(one.start, one.end))
        ],
    ).answer(visit)


async def events(visit: Visit) -> web.StreamResponse:
    """My events, the newest first."""
    home, typed = home_of(visit.principal), visit.request.query.get("page", "1")
    async with visit.desk.db.read() as conn:
        total = await homes.count(conn, home)
        pages = max(1, -(-total // PER_PAGE))
        known = typed.isascii() and typed.isdigit() and len(typed) < 6
        page = min(max(1, int(typed)), pages) if known else 1
        found = await homes.parts(conn, home, PER_PAGE, (page - 1) * PER_PAGE)
    return visit.page(
        "home/events.html",
        **common(visit),
        parts=found,
        page=page,
        pages=pages,
        total=total,
        tab="/home/events",
    )


async def event(visit: Visit) -> web.StreamResponse:
    """One event: what was asked, what my home did, what I got."""
    home, path = home_of(visit.principal), visit.request.match_info
    async with visit.desk.db.read() as conn:
        one = await homes.part(conn, home, path["event_id"], path["ven_id"])
        use = await homes.use(conn, home, one, _calendar(visit)) if one.start < visit.now else None
        shares = await homes.shares(conn, home, one)
    return visit.page("home/event.html", **common(visit), part=one, use=use, shares=shares)


async def money(visit: Visit) -> web.StreamResponse:
    """My money by month."""
    home = home_of(visit.principal)
    async with visit.desk.db.read() as conn:
        months = await homes.months(conn, home, words_of(visit).zone)
    sums: dict[str, int] = {}
    for month in months:
        sums[month.currency] = sums.get(month.currency, 0) + month.amount_minor
    return visit.page("home/money.html", **common(visit), months=months, sums=sums, tab="/home/money")


async def receipt(visit: Visit) -> web.StreamResponse:
    """The evidence for one amount, checked now."""
    home, desk = home_of(visit.principal), visit.desk
    async with desk.db.read() as conn:
        share = await homes.share_of(conn, home, visit.request.match_info["number"])
        part = await homes.part(conn, home, share.event_id, share.ven_id)
        may = share.alone and share.amount_minor is not None
        anchored = may and await home_proof.is_anchored(conn, share)
        proof = await home_proof.proof(conn, desk.log, share) if anchored else None
    return visit.page(
        "home/receipt.html",
        **common(visit),
        share=share,
        part=part,
        proof=proof,
        may_see=may,
        has_chain=desk.settings.chain is not None,
        steps=STEPS,
    )


async def receipt_files(visit: Visit) -> web.StreamResponse:
    """The same as files, for a check by others."""
    home, desk = home_of(visit.principal), visit.desk
    async with desk.db.read() as conn:
        share = await homes.share_of(conn, home, visit.request.match_info["number"])
        proof = await home_proof.proof(conn, desk.log, share)
    return file_answer(zipped(proof.files(), visit.now), f"receipt-{share.number}.zip")


async def data(visit: Visit) -> web.StreamResponse:
    """What is kept of me, and where to get it."""
    return visit.page("home/data.html", **common(visit), tab="/home/data")


async def data_file(visit: Visit) -> web.StreamResponse:
    """All of it."""
    return await (await data_of(visit)).send(visit.request)


async def data_of(visit: Visit) -> FileAnswer:
    """All that is kept of whoever asks, as a file."""
    who, desk = visit.principal, visit.desk
    user_id = who.user_id or ""
    with alone(user_id):
        async with desk.db.read() as conn:
            file = await export(conn, desk.log, user_id, home_of(who), visit.now)
        with file:
            content = await asyncio.to_thread(file.read)
    return FileAnswer(media_type=ZIP, name="my-data.zip", content=content)


def file_answer(content: bytes, name: str) -> web.Response:
    """A zip file to be kept."""
    headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"'}
    return web.Response(body=content, content_type=ZIP, headers=headers)


async def _now(visit: Visit) -> dict[str, Any]:
    home, day = home_of(visit.principal), _calendar(visit).day(_today(visit))
    async with visit.desk.db.read() as conn:
        coming = await homes.next_part(conn, home, visit.now)
        today = await homes.load(conn, home, day)
    return {**common(visit), "coming": coming, "today": today}


async def _money(visit: Visit) -> dict[str, Any]:
    home, zone = home_of(visit.principal), words_of(visit).zone
    async with visit.desk.db.read() as conn:
        months = await homes.months(conn, home, zone)
        recent = await homes.parts(conn, home, RECENT)
    this = visit.now.astimezone(zone).date().replace(day=1)
    return {**common(visit), "this_month": [one for one in months if one.month == this], "recent": recent}


def common(visit: Visit) -> dict[str, Any]:
    """What every template of a home is given."""
    words = words_of(visit)

    def when(start: datetime, end: datetime) -> str:
        return when_text(words, start, end)

    def result(part: Part) -> str:
        return words.gettext(result_of(part, visit.now))

    home = home_of(visit.principal)
    return {"home": home, "when": when, "result": result, "path": visit.request.path, "visit_now": visit.now}


def when_text(words: Wording, start: datetime, end: datetime) -> str:
    """Today, 17:00 to 19:00 CET."""
    first, last, today = words.local(start), words.local(end), words.local(words.now).date()
    if first.date() != last.date() or first.utcoffset() != last.utcoffset():
        return words.span(start, end)
    away = first.date() - today
    day = words.weekday(start)
    if away == timedelta(0):
        day = words.gettext("Today")
    elif away == timedelta(days=1):
        day = words.gettext("Tomorrow")
    elif away < timedelta(days=-300) or away > timedelta(days=300):
        day = words.day(start)
    said = {"day": day, "start": words.clock(start), "end": words.clock(end), "zone": words.zone_name(start)}
    return words.gettext("%(day)s, %(start)s to %(end)s %(zone)s") % said


def result_of(part: Part, now: datetime) -> str:
    """How it went, in a few words."""
    if part.out_since is not None or part.cancelled_at is not None:
        return _("You said: not this time") if part.out_since is not None else _("Called off")
    if now < part.end:
        if part.answer == "optOut":
            return _("Your box does not take part")
        return _("Running now") if part.is_running(now) else _("Planned")
    if part.outcome is None:
        return _("Your share is being worked out")
    if part.outcome is Outcome.MEASURED and part.amount_minor is not None and part.amount_minor <= 0:
        return _("Less was saved than agreed") if part.amount_minor else _("Nothing was saved")
    return OUTCOMES[part.outcome]


def _calendar(visit: Visit) -> Calendar:
    """The programme's days of settlement."""
    return visit.desk.portfolio.calendar


def _today(visit: Visit) -> Any:
    return _calendar(visit).day_of(visit.now)


def _get(path: str, name: str, handle: Callable[[Visit], Awaitable[web.StreamResponse]]) -> Page:
    return Page(method=hdrs.METH_GET, path=path, name=name, permission=Permission.HOME_OWN, handle=handle)


PAGES = (
    _get("/home", "my home", screen),
    _get("/home/next", "my next event", following),
    _get("/home/earned", "my month", earned),
    _get("/home/load.json", "my load", load),
    _get("/home/events", "my events", events),
    _get("/home/events/{event_id}/{ven_id}", "my event", event),
    _get("/home/money", "my money", money),
    _get("/home/data", "my data", data),
    _get("/home/data.zip", "my data as a file", data_file),
    _get("/home/statements/{number}", "my receipt", receipt),
    _get("/home/statements/{number}/receipt.zip", "my receipt as files", receipt_files),
)
