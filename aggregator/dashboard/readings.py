"""Readings: curves of what nodes reported, their newest values with quality, and files of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from aiohttp import hdrs, web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import export, reading_series, report_list
from aggregator.access.permission import Permission
from aggregator.dashboard.ask_entry import names, shown
from aggregator.dashboard.chart import Chart, Series
from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.operation import FileAnswer
from aggregator.dashboard.page import Desk, Page, Visit
from aggregator.dashboard.wording import UNKNOWN, words_of
from aggregator.export import Format
from aggregator.profile import QUARTER, Period, floor_to
from aggregator.reading_series import MOST_COUNTED, MOST_SERIES, Curve, Reader, Selection
from aggregator.readings import LOAD, TELEMETRY, USABLE
from vtn.schema import ven_table

SCREEN, VALUES, EXPORT, COUNT = (
    f"reports/{name}.html" for name in ("readings", "values", "export", "export_count")
)
FIELDS = ("nodes", "points", "report", "span")
FILE_FIELDS = ("nodes", "points", "report", "start_day", "start_time", "end_day", "end_time")
SHOWN_VALUES = 50
SHOWN_NODES = 3  # where nobody has chosen any
LONGEST = timedelta(days=400)
BYTES_A_ROW = {Format.CSV: 130, Format.PARQUET: 12}  # of metered quarter hours


SPANS: Mapping[str, tuple[str, timedelta, timedelta]] = {
    "6h": (_("last 6 hours"), timedelta(hours=-6), timedelta()),
    "24h": (_("last 24 hours"), timedelta(hours=-24), timedelta()),
    "7d": (_("last 7 days"), timedelta(days=-7), timedelta()),
    "28d": (_("last 28 days"), timedelta(days=-28), timedelta()),
    "ahead": (_("36 hours ahead"), timedelta(), timedelta(hours=36)),
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is looked at; `selection` is None where something cannot be taken, and `errors` says what."""

    selection: Selection | None
    errors: Mapping[str, str]
    ven_names: Mapping[str, str]


async def screen(visit: Visit) -> web.StreamResponse:
    """The chart, the newest values and how good they are."""
    typed = _typed(visit, FIELDS)
    async with visit.desk.db.read() as conn:
        chosen = await _chosen(visit, conn, typed)
        reports = await report_list.report_names(conn)
        content = await _values(conn, chosen)
    words = words_of(visit)
    query = urlencode({name: typed[name] for name in FIELDS if typed[name]})
    return visit.page(
        SCREEN,
        422 if chosen.errors else 200,
        values=typed,
        errors=chosen.errors,
        reports=[("", words.gettext("any")), *((name, name) for name in reports)],
        spans=[(key, words.gettext(label)) for key, (label, _start, _end) in SPANS.items()],
        query=query,
        export_query=_export_query(visit, typed, chosen),
        most=MOST_SERIES,
        **content,
    )


async def values(visit: Visit) -> web.StreamResponse:
    """The newest values alone."""
    typed = _typed(visit, FIELDS)
    async with visit.desk.db.read() as conn:
        content = await _values(conn, await _chosen(visit, conn, typed))
    return visit.page(VALUES, **content)


async def curves(visit: Visit) -> web.StreamResponse:
    """What the chart draws; the first curve's unit is the chart's."""
    async with visit.desk.db.read() as conn:
        chosen = await _chosen(visit, conn, _typed(visit, FIELDS))
        if chosen.selection is None:
            return Chart(start=visit.now - QUARTER, end=visit.now, times=(), series=()).answer(visit)
        times, found = await reading_series.curves(conn, chosen.selection)
    period = chosen.selection.period
    found = sorted(found, key=lambda one: _name(one, chosen))
    unit = _unit(found[0]) if found else "kW"
    series = [
        Series(name=_name(curve, chosen), values=_rounded(curve), colour=number)
        for number, curve in enumerate((one for one in found if _unit(one) == unit), start=1)
    ]
    return Chart(start=period.start, end=period.end, times=times, series=series, unit=unit).answer(visit)


def _unit(curve: Curve) -> str:
    return "kW" if curve.unit.is_power else curve.unit.name or UNKNOWN


def _name(curve: Curve, chosen: Chosen) -> str:
    name = chosen.ven_names.get(curve.key.ven_id, curve.key.ven_id)
    report = "" if chosen.selection and chosen.selection.report_name else f" ({curve.key.report_name})"
    return f"{name}: {curve.key.r_id}{report}"


def _rounded(curve: Curve) -> list[float | None]:
    return [None if value is None else round(value, 4) for value in curve.values]


async def files(visit: Visit) -> web.StreamResponse:
    """The form for a file; how many values would be in it."""
    typed = _typed(visit, FILE_FIELDS)
    async with visit.desk.db.read() as conn:
        chosen = await _wanted(visit, conn, typed)
        reports = await report_list.report_names(conn)
        content = await _counted(conn, chosen)
    any_ = words_of(visit).gettext("any")
    return visit.page(
        COUNT if visit.by_script else EXPORT,
        200 if visit.by_script or not chosen.errors else 422,
        values=typed,
        reports=[("", any_), *((name, name) for name in reports)],
        **content,
    )


async def download(visit: Visit) -> web.StreamResponse:
    """The file, piece by piece, as it is made; nothing of it is kept here."""
    form = Format.PARQUET if visit.request.match_info["format"] == Format.PARQUET else Format.CSV
    typed = _typed(visit, FILE_FIELDS)
    async with visit.desk.db.read() as conn:
        chosen = await _wanted(visit, conn, typed)
    if chosen.selection is None:
        return visit.seen_next(f"/reports/export?{urlencode(typed)}")
    return await file_of(visit.desk, chosen.selection, form).send(visit.request)


def file_of(desk: Desk, selection: Selection, form: Format) -> FileAnswer:
    """The values of a selection as a file, which is made while it is sent."""
    name = f"readings-{_stamp(selection.period.start)}-{_stamp(selection.period.end)}.{form}"
    pieces = export.pieces(form, Reader(desk.db, selection))
    return FileAnswer(media_type=export.CONTENT_TYPES[form], name=name, pieces=pieces)


def _stamp(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y%m%dT%H%MZ}"


def _typed(visit: Visit, fields: tuple[str, ...]) -> dict[str, str]:
    return {name: visit.request.query.get(name, "")[:20_000] for name in fields}


async def _chosen(visit: Visit, conn: AsyncConnection, typed: dict[str, str]) -> Chosen:
    """What the chart's form says; what is left out is filled in."""
    errors: dict[str, str] = {}
    typed["span"] = typed["span"] or "24h"
    if "report" not in visit.request.query:
        typed["report"] = TELEMETRY
    if "points" not in visit.request.query:
        typed["points"] = LOAD
    if "nodes" not in visit.request.query:
        first = select(ven_table.c.ven_name).order_by(ven_table.c.ven_name).limit(SHOWN_NODES)
        typed["nodes"] = ", ".join(await conn.scalars(first))
    found = await _nodes(conn, typed, errors)
    points = _names(typed, "points", errors)
    if typed["span"] not in SPANS:
        errors["span"] = _("There is no such period.")
    if not found and "nodes" not in errors:
        errors["nodes"] = _("Which nodes are to be shown?")
    if len(found) > MOST_SERIES:
        errors["nodes"] = _("At most 6 curves are drawn at a time.")
    if errors:
        return Chosen(None, errors, found)
    _label, back, ahead = SPANS[typed["span"]]
    now = floor_to(visit.now, timedelta(minutes=1)) + timedelta(minutes=1)
    period = Period(now + back, now + ahead)
    selection = Selection(ven_ids=list(found), r_ids=points, report_name=typed["report"], period=period)
    return Chosen(selection, {}, found)


async def _wanted(visit: Visit, conn: AsyncConnection, typed: dict[str, str]) -> Chosen:
    """What the form for a file says; without a period the last week."""
    errors: dict[str, str] = {}
    words = words_of(visit)
    if not any(name in visit.request.query for name in FILE_FIELDS[3:]):
        end = words.local(floor_to(visit.now, QUARTER))
        start = end - timedelta(days=7)
        typed |= {"start_day": f"{start:%Y-%m-%d}", "start_time": f"{start:%H:%M}"}
        typed |= {"end_day": f"{end:%Y-%m-%d}", "end_time": f"{end:%H:%M}"}
    found = await _nodes(conn, typed, errors)
    points = _names(typed, "points", errors)
    instants: dict[str, datetime] = {}
    for name in ("start", "end"):
        try:
            instants[name] = words.instant(typed[f"{name}_day"][:40], typed[f"{name}_time"][:40])
        except ValueError as error:
            errors[name] = str(error)
    if len(instants) == 2 and instants["end"] <= instants["start"]:
        errors["end"] = _("The end must be after the beginning.")
    elif len(instants) == 2 and instants["end"] - instants["start"] > LONGEST:
        errors["end"] = _("At most 400 days fit into a file.")
    if errors:
        return Chosen(None, errors, found)
    period = Period(instants["start"], instants["end"])
    selection = Selection(ven_ids=list(found), r_ids=points, report_name=typed["report"], period=period)
    return Chosen(selection, {}, found)


def _names(typed: Mapping[str, str], field: str, errors: dict[str, str]) -> tuple[str, ...]:
    try:
        if field == "points" and typed["report"] and not shown(typed["report"]):
            errors["report"] = _("A name has characters that cannot be seen, or too many.")
        return names(typed[field]) or ()
    except ValueError as error:
        errors[field] = str(error)
        return ()


async def _nodes(conn: AsyncConnection, typed: Mapping[str, str], errors: dict[str, str]) -> dict[str, str]:
    """The nodes that are named, by their ids; of one that does not exist the field says so."""
    named = _names(typed, "nodes", errors)
    found = await nodes_named(conn, named)
    if len(found) < len(named):
        errors["nodes"] = _("One of these nodes does not exist.")
    return found


async def nodes_named(conn: AsyncConnection, named: Sequence[str]) -> dict[str, str]:
    """Those of these nodes that there are: their names by their ids."""
    t = ven_table.c
    rows = await conn.execute(select(t.ven_id, t.ven_name).where(t.ven_name.in_(named)).order_by(t.ven_name))
    return {row.ven_id: row.ven_name for row in rows}


async def _values(conn: AsyncConnection, chosen: Chosen) -> dict[str, Any]:
    if chosen.selection is None:
        return {"rows": [], "qualities": {}, "usable": USABLE}
    return {
        "rows": await reading_series.newest(conn, chosen.selection, SHOWN_VALUES),
        "qualities": await reading_series.qualities(conn, chosen.selection),
        "usable": USABLE,
    }


async def _counted(conn: AsyncConnection, chosen: Chosen) -> dict[str, Any]:
    found = 0 if chosen.selection is None else await reading_series.count(conn, chosen.selection)
    return {
        "errors": chosen.errors,
        "count": found,
        "is_more": found >= MOST_COUNTED,
        "sizes": {str(form): found * size / 1e6 for form, size in BYTES_A_ROW.items()},
    }


def _export_query(visit: Visit, typed: Mapping[str, str], chosen: Chosen) -> str:
    kept = {name: typed[name] for name in ("nodes", "points", "report")}
    if chosen.selection is not None:
        words = words_of(visit)
        for name in ("start", "end"):
            local = words.local(getattr(chosen.selection.period, name))
            kept |= {f"{name}_day": f"{local:%Y-%m-%d}", f"{name}_time": f"{local:%H:%M}"}
    return urlencode(kept)


def _get(path: str, name: str, handle: Any) -> Page:
    return Page(method=hdrs.METH_GET, path=path, name=name, permission=Permission.FLEET_READ, handle=handle)


PAGES = (
    _get("/reports/readings", "readings", screen),
    _get("/reports/values", "newest values", values),
    _get("/reports/readings.json", "reading curves", curves),
    _get("/reports/export", "export of readings", files),
    _get("/reports/export/{format}", "file of readings", download),
)
