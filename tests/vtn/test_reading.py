"""Values: their times, and a table that does not depend on the order in which they came."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import math
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from openadr import Duration, Report, ReportInterval, ReportPayload, ResourceStatus
from tests.vtn.desk import NOW, QUARTER, USAGE
from vtn import judgement, reading
from vtn.judgement import Expected
from vtn.schema import quarantine_table, reading_table
from vtn.store import Database

EXPECTED = Expected(USAGE, frozenset({"load", "home-01"}), None, None)
SECOND = timedelta(seconds=1)


def report(*intervals: ReportInterval, created: int = 0, **more: object) -> Report:
    return Report(
        intervals=intervals,
        report_request_id="ask",
        report_specifier_id="spec",
        created_date_time=NOW + created * SECOND,
        **more,  # type: ignore[arg-type] - fields by name
    )


def interval(value: float = 1.0, r_id: str = "load", **more: object) -> ReportInterval:
    payloads = (ReportPayload(r_id=r_id, payload_float=value),)
    return ReportInterval(payloads=payloads, **more)  # type: ignore[arg-type] - fields by name


def times(made: Report) -> list[tuple[object, float]]:
    return [(sample.start, sample.duration_s) for sample in judgement.samples(made)]


def test_rpt_24_25_intervals_without_a_start_follow_each_other_from_the_reports() -> None:
    step = interval(duration=Duration(900))
    assert times(report(step, step, dtstart=NOW)) == [(NOW, 900.0), (NOW + QUARTER, 900.0)]


def test_intervals_own_start_goes_before_the_reports() -> None:
    own = interval(dtstart=NOW + QUARTER, duration=Duration(60))
    assert times(report(own, dtstart=NOW)) == [(NOW + QUARTER, 60.0)]


def test_single_interval_takes_the_reports_duration() -> None:
    assert times(report(interval(), dtstart=NOW, duration=Duration(900))) == [(NOW, 900.0)]


def test_point_has_no_duration_and_value_without_any_time_is_quarantined() -> None:
    assert times(report(interval(dtstart=NOW))) == [(NOW, 0.0)]
    judged = judgement.judge(report(interval()), EXPECTED, NOW)
    assert [reason for _, reason in judged.bad] == ["the time of the value is missing"]
    assert (judged.start, judged.end) == (None, None)


def test_calendar_month_is_as_long_as_the_month() -> None:
    assert times(report(interval(duration=Duration(0, 1)), dtstart=NOW)) == [(NOW, 31 * 86_400.0)]


def test_a_value_that_holds_for_longer_than_any_month_is_quarantined() -> None:
    longest = int(judgement.LONGEST.total_seconds())
    made = report(*(interval(dtstart=NOW, duration=Duration(longest + more)) for more in (0, 1)))
    judged = judgement.judge(made, EXPECTED, NOW)
    assert [sample.duration_s for sample in judged.good] == [longest]
    assert [reason for _, reason in judged.bad] == ["the duration is longer than 35 days"]


def test_the_period_of_a_history_ends_before_its_end() -> None:
    asked = Expected("HISTORY_USAGE", EXPECTED.r_ids, NOW - QUARTER, NOW)
    made = report(*(interval(dtstart=at, duration=Duration(900)) for at in (NOW - QUARTER, NOW)))
    judged = judgement.judge(made, asked, NOW + QUARTER)
    assert [sample.start for sample in judged.good] == [NOW - QUARTER]


def test_negative_duration_counts_as_none() -> None:
    assert times(report(interval(duration=Duration(-900)), dtstart=NOW)) == [(NOW, 0.0)]


def test_rpt_30_resource_status_is_a_number() -> None:
    states = itertools.product((False, True), repeat=2)
    payloads = tuple(
        ReportPayload(r_id="load", resource_status=ResourceStatus(online=online, manual_override=override))
        for override, online in states
    )
    made = report(ReportInterval(dtstart=NOW, payloads=payloads))
    assert [sample.value for sample in judgement.samples(made)] == [0.0, 1.0, 2.0, 3.0]


def test_hash_is_that_of_the_values_whatever_the_reports_own_ids() -> None:
    made = report(interval(dtstart=NOW))
    same = replace(made, report_id="x", created_date_time=NOW + SECOND)
    other = report(interval(2.0, dtstart=NOW))
    digests = [judgement.judge(item, EXPECTED, NOW).sha256 for item in (made, same, other)]
    assert digests[0] == digests[1] != digests[2]


messages = st.builds(
    lambda step, value, r_id, created, length: report(
        interval(value, r_id, dtstart=NOW + step * QUARTER, duration=Duration(length)), created=created
    ),
    st.integers(-3, 0),
    st.sampled_from([0.0, 1.0, 2.5, math.nan]),
    st.sampled_from(["load", "home-01", "unknown"]),
    st.integers(0, 3),
    st.sampled_from([0, 900]),
)


@pytest.mark.goal(47)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), sent=st.lists(messages, min_size=1, max_size=8))
def test_any_interleaving_of_retry_duplicate_and_reordering_gives_the_same_table(
    data: st.DataObject, sent: list[Report], database_template: Path, tmp_path: Path
) -> None:
    order = data.draw(st.permutations(sent))
    repeats = data.draw(st.lists(st.sampled_from(sent), max_size=6))
    mixed = list(order)
    for repeat in repeats:
        mixed.insert(data.draw(st.integers(0, len(mixed))), repeat)
    tables = [table_of(item, database_template, tmp_path) for item in (sent, mixed)]
    assert tables[0] == tables[1]


def table_of(sent: list[Report], template: Path, directory: Path) -> list[object]:
    """The rows of readings and quarantine after these reports arrived in this order."""
    for leftover in directory.glob("case.db*"):
        leftover.unlink()
    return asyncio.run(table_after(sent, Path(shutil.copy(template, directory / "case.db"))))


async def table_after(sent: list[Report], path: Path) -> list[object]:
    database = await Database.open(path)
    try:
        for item in sent:
            async with database.write() as conn:
                judged = judgement.judge(item, EXPECTED, NOW)
                await reading.keep(conn, "ven", item, report_name=USAGE, judged=judged, now=NOW)
        async with database.read() as conn:
            readings = (await conn.execute(select(reading_table))).all()
            bad = (await conn.execute(select(quarantine_table))).all()
        return [sorted(map(str, readings)), sorted(map(str, bad))]
    finally:
        await database.close()


def test_hash_is_that_of_json_lines_with_any_text_in_them() -> None:
    odd = 'a "b" \\ \u00e9\U0001f600\t'
    made = report(interval(0.1, odd, dtstart=NOW, duration=Duration(900)), interval(math.nan))
    lines = [
        [odd, "2026-03-02T12:00:00Z", 900.0, "0.1", "Quality Good - Non Specific"],
        ["load", "2026-03-02T12:15:00Z", 0.0, "nan", "Quality Good - Non Specific"],
    ]
    made = replace(made, dtstart=NOW)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    assert judgement.judge(made, EXPECTED, NOW).sha256 == hashlib.sha256(text.encode()).hexdigest()


async def test_of_many_faulty_values_the_first_are_kept_and_all_are_judged(database: Database) -> None:
    many = reading.MAX_QUARANTINED + 100
    made = report(*(interval(math.nan, dtstart=NOW - n * SECOND) for n in range(many)), interval(dtstart=NOW))
    judged = judgement.judge(made, EXPECTED, NOW)
    assert (len(judged.good), len(judged.bad)) == (1, many)
    async with database.write() as conn:
        await reading.keep(conn, "ven", made, report_name=USAGE, judged=judged, now=NOW)
    async with database.read() as conn:
        kept = await reading.quarantined(conn)
        assert len(await reading.readings(conn)) == 1
    oldest = NOW - (reading.MAX_QUARANTINED - 1) * SECOND
    assert len(kept) == reading.MAX_QUARANTINED
    assert min(row.start for row in kept) == oldest.isoformat().replace("+00:00", "Z")


async def test_reading_comes_back_as_it_was_kept(database: Database) -> None:
    start = NOW - QUARTER
    made = report(interval(1.25, "home-01", dtstart=start, duration=Duration(900)))
    async with database.write() as conn:
        judged = judgement.judge(made, EXPECTED, NOW)
        await reading.keep(conn, "ven", made, report_name=USAGE, judged=judged, now=NOW)
    async with database.read() as conn:
        (kept,) = await reading.readings(conn)
    quality = "Quality Good - Non Specific"
    assert kept == reading.ReadingRow("ven", "home-01", start, 900.0, 1.25, quality, USAGE, NOW)


@pytest.mark.parametrize("count", [59, 60, 480, 480 + 60 + 1])
async def test_values_of_several_points_are_kept_as_those_of_one_are(database: Database, count: int) -> None:
    words = ("load", 60, "Quality Good - Local Override"), ("home-01", 900, "Quality Bad - Non Specific")
    made = report(
        *(
            ReportInterval(
                dtstart=NOW - number * SECOND,
                duration=Duration(words[number % 2][1]),
                payloads=(ReportPayload(r_id=r_id, payload_float=float(number), data_quality=quality),),
            )
            for number in range(count)
            for r_id, _, quality in (words[number % 2],)
        )
    )
    async with database.write() as conn:
        judged = judgement.judge(made, EXPECTED, NOW)
        await reading.keep(conn, "ven", made, report_name=USAGE, judged=judged, now=NOW)
    async with database.read() as conn:
        kept = await reading.readings(conn)
    assert [(row.r_id, row.duration_s, row.quality, row.value) for row in reversed(kept)] == [
        (*words[number % 2], number) for number in range(count)
    ]


@pytest.mark.parametrize("count", [59, 60, 480, 480 + 60 + 1])
async def test_values_are_kept_however_many_go_into_a_statement(database: Database, count: int) -> None:
    starts = [NOW - number * SECOND for number in range(count)]
    first = report(*(interval(1.5, dtstart=start) for start in starts))
    twice = report(
        *(interval(2.5, dtstart=start) for start in (*starts, starts[0])), interval(3.5, dtstart=NOW)
    )
    async with database.write() as conn:
        for made in (first, twice, first):
            judged = judgement.judge(made, EXPECTED, NOW)
            await reading.keep(conn, "ven", made, report_name=USAGE, judged=judged, now=NOW)
    async with database.read() as conn:
        kept = await reading.readings(conn)
    assert [row.start for row in kept] == starts[::-1]
    assert [row.value for row in kept] == [2.5] * (count - 1) + [3.5]


async def test_fault_is_kept_once_by_the_hash_of_what_was_said(database: Database) -> None:
    made = report(interval(math.inf, 'lo"ad\u00e9', dtstart=NOW), interval(1.0, "x" * 200))
    async with database.write() as conn:
        for _ in range(2):
            judged = judgement.judge(made, EXPECTED, NOW)
            await reading.keep(conn, "ven", made, report_name=USAGE, judged=judged, now=NOW)
    async with database.read() as conn:
        keys = set((await conn.execute(select(quarantine_table.c.key))).scalars())
    said = [
        ["ven", "ask", 'lo"ad\u00e9', "2026-03-02T12:00:00Z", "inf"],
        ["ven", "ask", "x" * 128, "", "1.0"],
    ]
    assert keys == {hashlib.sha256(json.dumps(each).encode()).hexdigest() for each in said}
