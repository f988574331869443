"""The expected load with and without an event, as a chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from aiohttp import hdrs, web
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.permission import Permission
from aggregator.curve import numbers
from aggregator.dashboard.chart import Band, Chart, Series, Shade
from aggregator.dashboard.page import Desk, Page, Visit
from aggregator.dashboard.typed_number import number_of
from aggregator.dashboard.wording import words_of
from aggregator.errors import BadInputError
from aggregator.profile import QUARTER, LoadProfile, Period, floor_to, known_part
from aggregator.readings import LOAD, metered

AROUND = timedelta(hours=4)
WEEK = timedelta(days=7)
MOST_W = 10**12


async def screen(visit: Visit) -> web.StreamResponse:
    """The chart's data; what to expect of the event stands in the address."""
    query = visit.request.query
    start, end = (_instant(query.get(name, ""), visit.now) for name in ("start", "end"))
    if not timedelta(0) < end - start <= timedelta(days=1):
        raise BadInputError(f"end must lie after start, by a day at most: {start} to {end}")
    shade = Period(start, end)
    low, middle, high = (_watts(query.get(name, "")) / 1000 for name in ("p10", "p50", "p90"))
    around = Period(floor_to(start, QUARTER) - AROUND, floor_to(end, QUARTER) + AROUND)
    async with visit.desk.db.read() as conn:
        ven_ids = [node.ven_id for node in await visit.desk.portfolio.nodes(conn)]
        usual, counts = await _expected(visit.desk, conn, ven_ids, around)
    _ = words_of(visit).gettext
    of: dict[str, Any] = {"counts": counts, "among": len(ven_ids)}
    return Chart(
        start=around.start,
        end=around.end,
        times=list(around.slots()),
        series=[
            Series(name=_("Without the event"), values=numbers(usual), colour=3, dashed=True, **of),
            Series(name=_("With it, as expected (P50)"), values=_less(usual, shade, middle), colour=1, **of),
        ],
        bands=[
            Band(
                name=_("P10 to P90"),
                lower=_less(usual, shade, high, within=True),
                upper=_less(usual, shade, low, within=True),
            )
        ],
        shades=[Shade(start=start, end=end, label=_("The new event"))],
    ).answer(visit)


async def _expected(
    desk: Desk, conn: AsyncConnection, ven_ids: Sequence[str], period: Period
) -> tuple[LoadProfile, list[int]]:
    """The day's forecast, and where there is none yet what was metered a week before, as far as it is known:
    of so many nodes.
    """
    forecast = (await desk.maker.curves(conn, [], period, {})).forecast_total
    if forecast.known():
        return forecast, [len(ven_ids)] * len(forecast.kw)
    before = Period(period.start - WEEK, period.end - WEEK)
    found = await metered(conn, ven_ids, [LOAD], before)
    profiles = [found.profile(ven_id, LOAD, before) for ven_id, r_id in found.profiles if r_id == LOAD]
    late, counts = known_part(profiles, before)
    kw, of = list(forecast.kw), [len(ven_ids)] * len(forecast.kw)
    for index, made in enumerate(forecast.kw):
        if math.isnan(made):
            kw[index], of[index] = late.kw[index], counts[index]
    return LoadProfile(forecast.start, QUARTER, tuple(kw)), of


def _less(usual: LoadProfile, shade: Period, kw: float, *, within: bool = False) -> list[float | None]:
    """The curve with so much less in the event's quarter hours; with `within` nothing beside them."""
    called = set(shade.slots())
    found: list[float | None] = []
    for index, value in enumerate(usual.kw):
        inside = usual.start + index * QUARTER in called
        unknown = math.isnan(value) or (within and not inside)
        found.append(None if unknown else round(value - (kw if inside else 0), 3))
    return found


def _instant(typed: str, now: datetime) -> datetime:
    try:
        found = datetime.fromisoformat(typed)
    except ValueError:
        raise BadInputError(f"start and end are instants, not {typed[:40]!r}") from None
    if found.tzinfo is None or abs(found - now) > timedelta(days=400):
        raise BadInputError(f"start and end lie within a year and have a zone: {typed[:40]!r}")
    return found


def _watts(typed: str) -> int:
    power_w = number_of(typed, MOST_W)
    if power_w is None:
        raise BadInputError(f"p10, p50 and p90 are whole W, not {typed[:20]!r}")
    return power_w


PAGES = (
    Page(
        method=hdrs.METH_GET,
        path="/events/preview/load.json",
        name="event preview load",
        permission=Permission.FLEET_READ,  # whoever may look at what waits for a second person
        handle=screen,
    ),
)
