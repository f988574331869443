"""What is asked of a node, and its readings as load profiles.

Rules: the wire carries energy in Wh; a quarter hour is known when usable readings of one report cover it
wholly, once. Where the telemetry knows it, that counts, else the history, whichever came first and whatever
their steps. Readings marked bad or as no value have arrived, but nothing is known by them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.profile import QUARTER, LoadProfile, Period, floor_to
from openadr import (
    ActivePeriod,
    Duration,
    Report,
    ReportDescription,
    ReportRequest,
    ReportSpecifier,
    SpecifierPayload,
)
from vtn import report as vtn_report
from vtn.judgement import LONGEST

HISTORY = "HISTORY_USAGE"
TELEMETRY = "TELEMETRY_USAGE"
OFFERS = "x-FLEXIBILITY_OFFER"
METERED = (HISTORY, TELEMETRY)

LOAD = "load"
LOAD_FORECAST = "load_forecast"
OFFER = "offer"
NODES_OWN = frozenset({LOAD, LOAD_FORECAST, OFFER})
"""Data points of the node as a whole; all others are those of homes behind it."""

HOUR = timedelta(hours=1)
ONCE = timedelta(0)
OPEN_ENDED = Duration(0)
SECONDS = QUARTER.total_seconds()
USABLE = ("Quality Good", "Quality Limit", "Quality Uncertain")


@dataclass(frozen=True, slots=True)
class Metered:
    """Profiles by (ven_id, r_id), and the starts of the quarter hours for which any reading came."""

    profiles: dict[tuple[str, str], LoadProfile]
    arrived: dict[tuple[str, str], set[datetime]]

    def profile(self, ven_id: str, r_id: str, period: Period) -> LoadProfile:
        """One profile; all NaN where nothing came."""
        found = self.profiles.get((ven_id, r_id))
        return found or LoadProfile(period.start, QUARTER, tuple(math.nan for _ in period.slots()))


async def metered(
    conn: AsyncConnection, ven_ids: Sequence[str], r_ids: Sequence[str] | None, period: Period
) -> Metered:
    """What nodes metered over the period's quarter hours."""
    rows = await vtn_report.readings(
        conn, ven_ids=ven_ids, r_ids=r_ids, report_names=METERED, start=period.start, end=period.end
    )
    grouped: dict[tuple[str, str], list[vtn_report.ReadingRow]] = {}
    for row in rows:
        grouped.setdefault((row.ven_id, row.r_id), []).append(row)
    arrived = {
        key: {slot for row in group for slot in _quarters(row, period)} for key, group in grouped.items()
    }
    return Metered({key: _merged(group, period) for key, group in grouped.items()}, arrived)


def _merged(rows: Sequence[vtn_report.ReadingRow], period: Period) -> LoadProfile:
    """Telemetry where it knows a quarter hour, else the history."""
    telemetry, history = (
        _profile([row for row in rows if row.report_name == name], period) for name in (TELEMETRY, HISTORY)
    )
    kw = tuple(
        past if math.isnan(live) else live for live, past in zip(telemetry.kw, history.kw, strict=True)
    )
    return LoadProfile(telemetry.start, QUARTER, kw)


def _quarters(row: vtn_report.ReadingRow, period: Period) -> Iterator[datetime]:
    """The starts of the quarter hours before the period's end that a reading reaches into."""
    start = row.start
    fits = not (start.minute % 15 or start.second or start.microsecond)
    slot = start if fits else floor_to(start, QUARTER)
    yield slot
    if fits and row.duration_s <= SECONDS:
        return  # as nearly all are
    end = min((period.end - row.start).total_seconds(), row.duration_s)
    while (slot := slot + QUARTER) and (slot - row.start).total_seconds() < end:
        yield slot


def _profile(rows: Iterable[vtn_report.ReadingRow], period: Period) -> LoadProfile:
    """Energy spread evenly over each reading's interval and gathered by quarter hour."""
    slots = list(period.slots())
    if not slots:
        return LoadProfile(period.start, QUARTER, ())
    first = slots[0]
    energy_wh, covered_s = [0.0] * len(slots), [0.0] * len(slots)
    for row in rows:
        if not (row.quality.startswith(USABLE) and math.isfinite(row.value) and row.duration_s > 0):
            continue
        begin_s = (row.start - first).total_seconds()
        if row.duration_s == SECONDS and not begin_s % SECONDS:  # as nearly all are
            if 0 <= begin_s < len(slots) * SECONDS:
                energy_wh[int(begin_s // SECONDS)] += row.value
                covered_s[int(begin_s // SECONDS)] += SECONDS
            continue
        end_s = begin_s + row.duration_s
        for index in range(max(0, int(begin_s // SECONDS)), min(len(slots), math.ceil(end_s / SECONDS))):
            shared_s = min(end_s, (index + 1) * SECONDS) - max(begin_s, index * SECONDS)
            energy_wh[index] += row.value * shared_s / row.duration_s
            covered_s[index] += shared_s
    pairs = zip(energy_wh, covered_s, strict=True)
    kw = tuple(wh / 250 if abs(seconds - SECONDS) < 1e-6 else math.nan for wh, seconds in pairs)
    return LoadProfile(first, QUARTER, kw)


async def issued(
    conn: AsyncConnection, ven_id: str, r_id: str, period: Period
) -> tuple[datetime, LoadProfile] | None:
    """The newest forecast of that name in a node's reports: when its report was made, and what it says."""
    rows = await vtn_report.readings(
        conn, ven_ids=[ven_id], r_ids=[r_id], report_names=[OFFERS], start=period.start, end=period.end
    )
    if not rows:
        return None
    made_at = max(row.created_at for row in rows)
    newest = [row for row in rows if row.created_at == made_at]
    start = min(row.start for row in newest)
    end = max(row.start + timedelta(seconds=row.duration_s) for row in newest)
    return made_at, _profile(newest, Period(start, end))


def report_requests(
    ven_id: str, reports: Sequence[Report], history: Period | None, now: datetime
) -> list[ReportRequest]:
    """What to ask of a node that has sent its metadata: history once, telemetry and offers regularly, all
    data points.

    ``history`` is None where it is known already. The ids are those of the metadata's order, so asking again
    continues the same requests.
    """
    asked = []
    for number, report in enumerate(reports):
        name = (report.report_name or "").removeprefix("METADATA_")
        descriptions = report.report_descriptions
        if not descriptions:
            continue
        step = _granularity(descriptions, now)
        if name == HISTORY and history is not None:
            interval = ActivePeriod(dtstart=history.start, duration=Duration.of(history.end - history.start))
            key = f"history.{number}.{history.end:%Y%m%dT%H%M}"
            asked.append(_request(key, report, ONCE, ONCE, interval))  # at the site's own steps (RPT-15)
        elif step > LONGEST:
            continue  # no value of such a period is kept
        elif name == TELEMETRY:
            interval = ActivePeriod(dtstart=floor_to(now, step), duration=OPEN_ENDED)
            asked.append(_request(f"telemetry.{number}", report, step, step, interval))
        elif name == OFFERS:
            back = _hourly(report, step, now)
            interval = ActivePeriod(dtstart=floor_to(now, back), duration=OPEN_ENDED)
            asked.append(_request(f"offer.{number}", report, step, back, interval))
    return asked


def _granularity(descriptions: Sequence[ReportDescription], now: datetime) -> timedelta:
    """A quarter hour, or the nearest step that every data point can be sampled at; months are as from now."""
    rates = [
        description.sampling_rate for description in descriptions if description.sampling_rate is not None
    ]
    shortest = max((rate.min_period.after(now) - now for rate in rates), default=QUARTER)
    longest = min((rate.max_period.after(now) - now for rate in rates), default=QUARTER)
    step = max(shortest, min(longest, QUARTER))
    return step if step > timedelta(0) else QUARTER


def _hourly(report: Report, step: timedelta, now: datetime) -> timedelta:
    """An hour, or as near as can be: at least the step (RPT-15), at most what the report covers (RPT-20)."""
    reach = HOUR if report.duration is None else report.duration.after(now) - now
    return max(step, min(HOUR, reach))


def _request(
    key: str, report: Report, step: timedelta, back: timedelta, interval: ActivePeriod
) -> ReportRequest:
    return ReportRequest(
        report_request_id=key,
        report_specifier=ReportSpecifier(
            report_specifier_id=report.report_specifier_id,
            granularity=Duration.of(step),
            report_back_duration=Duration.of(back),
            report_interval=interval,
            specifier_payloads=tuple(
                SpecifierPayload(r_id=description.r_id) for description in report.report_descriptions
            ),
        ),
    )
