"""Counting: each fact once, history apart, forecasts are no readings."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from aggregator.tally import Tally
from vtn import journal
from vtn.store import Database

NOON = datetime(2026, 1, 20, 12, tzinfo=UTC)


async def report(
    database: Database, number: int, name: str, start_h: int, end_h: int, *, readings: int = 4
) -> None:
    """A report fact over [NOON + start_h, NOON + end_h)."""
    times = [journal.iso(NOON + timedelta(hours=hours)) for hours in (start_h, end_h)]
    body = {"report_name": name, "start": times[0], "end": times[1], "readings": readings}
    async with database.write() as conn:
        await journal.record(conn, "report", "ven-1", f"{name}/{number}", body=body, now=NOON)


async def advanced(database: Database, tally: Tally, fresh_after: int = 0) -> Tally:
    """The tally after another look."""
    async with database.read() as conn:
        await tally.advance(conn, fresh_after)
    return tally


async def test_history_offers_and_telemetry_are_told_apart(database: Database) -> None:
    await report(database, 1, "HISTORY_USAGE", -48, -24, readings=96)
    await report(database, 2, "TELEMETRY_USAGE", 0, 1, readings=4)
    await report(database, 3, "x-FLEXIBILITY_OFFER", 0, 36, readings=288)
    tally = await advanced(database, Tally())
    assert (tally.reports, tally.readings, tally.history_reports) == (2, 4, 1)
    assert len(tally.fresh) == 3


@pytest.mark.parametrize(
    ("spans", "days"),
    [
        ([(-48, -24), (-24, 0)], 2),
        ([(-48, -24), (-48, -24)], 1),
        ([(-48, -24), (-36, -12)], 1),
        ([(-72, -48), (-24, 0)], 2),
        ([(-72, 0), (-48, -24)], 3),
        ([(-24, -12)], 0),
        ([], 0),
    ],
    ids=["in a row", "twice", "overlapping", "with a gap", "inside another", "half a day", "none"],
)
async def test_history_counts_by_whole_days_covered(
    database: Database, spans: list[tuple[int, int]], days: int
) -> None:
    for number, (start_h, end_h) in enumerate(spans):
        await report(database, number, "HISTORY_USAGE", start_h, end_h)
    assert (await advanced(database, Tally())).history_days("ven-1") == days


async def test_two_who_look_at_once_count_each_fact_once(database: Database) -> None:
    for number in range(5):
        await report(database, number, "TELEMETRY_USAGE", 0, 1)
    tally = Tally()
    await asyncio.gather(*(advanced(database, tally) for _ in range(3)))
    assert (tally.reports, len(tally.fresh)) == (5, 5)


async def test_reports_attended_before_a_restart_are_counted_and_not_gathered(database: Database) -> None:
    for number in range(3):
        await report(database, number, "TELEMETRY_USAGE", 0, 1)
    tally = await advanced(database, Tally(), fresh_after=2)
    assert (tally.reports, [fact.seq for fact in tally.fresh]) == (3, [3])


async def test_a_report_without_any_good_value_covers_nothing(database: Database) -> None:
    body = {"report_name": "HISTORY_USAGE", "start": "", "end": "", "readings": 0}
    async with database.write() as conn:
        await journal.record(conn, "report", "ven-1", "empty", body=body, now=NOON)
    tally = await advanced(database, Tally())
    assert (tally.history_reports, tally.history_days("ven-1")) == (1, 0)
