"""Reports repeated and reordered in any way, over the wire and at once, give the same tables (GOALS 47).

Alice sends each message once, one after the other. Bob sends the same ones in another order, some of them
several times, all at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from openadr import Duration, Report, ReportInterval, ReportPayload, UpdateReport
from openadr.enums import DataQuality
from tests.openadr.samples.feed import FEED
from tests.vtn.desk import ALICE, BOB, HISTORY, NOW, QUARTER, USAGE, Desk, metadata
from vtn.schema import (
    green_button_table,
    journal_table,
    quarantine_table,
    reading_detail_table,
    reading_table,
)

TABLES = (reading_table, reading_detail_table, green_button_table, quarantine_table)
NAMES = {ALICE: "alice", BOB: "bob"}

# A life that fails is shown as it was found: making it smaller takes minutes.
QUIETLY = {"phases": [Phase.generate], "deadline": None, "suppress_health_check": list(HealthCheck)}

payloads = st.builds(
    ReportPayload,
    r_id=st.sampled_from(["load", "load", "home-01", "unknown"]),
    payload_float=st.sampled_from([0.0, 1.0, 2.5, float("nan"), 1e308]),
    data_quality=st.sampled_from([None, DataQuality.BAD]),
    accuracy=st.sampled_from([None, 0.1, 0.2]),
    confidence=st.sampled_from([None, 50, 90]),
)
intervals = st.builds(
    ReportInterval,
    dtstart=st.integers(-3, 0).map(lambda step: NOW + step * QUARTER),
    duration=st.sampled_from([Duration(900), Duration(0)]),
    payloads=st.lists(payloads, min_size=1, max_size=3).map(tuple),
)
reports = st.builds(
    lambda name, steps, second: Report(
        intervals=tuple(steps),
        report_request_id=f"ask-{name}",
        report_specifier_id=f"spec-{name}",
        report_name=name,
        created_date_time=NOW + timedelta(seconds=second),
    ),
    st.sampled_from([USAGE, USAGE, HISTORY, "x-nothing"]),
    st.lists(intervals, min_size=1, max_size=3),
    st.integers(0, 1),
)
messages = st.builds(
    lambda number, parts: UpdateReport(request_id=f"u{number}", reports=tuple(parts)),
    st.integers(0, 3),
    st.lists(reports, min_size=1, max_size=2),
)


def with_feed(message: UpdateReport, title: str) -> UpdateReport:
    """The same values beside a Green Button feed."""
    (report, *others) = message.reports
    feed = replace(FEED, children=(replace(FEED.children[0], text=f"urn:{title}"), *FEED.children[1:]))
    first = replace(report.intervals[0], feeds=(feed,))
    return replace(message, reports=(replace(report, intervals=(first, *report.intervals[1:])), *others))


async def tables(desk: Desk, who: str) -> dict[str, list[tuple[object, ...]]]:
    """All that reports have left of this VEN, without its id."""
    mine = desk.ids[who]
    async with desk.db.read() as conn:
        found = {}
        for table in TABLES:
            columns = [column for column in table.c if column.name not in ("ven_id", "key")]
            rows = await conn.execute(select(*columns).where(table.c.ven_id == mine))
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
        j = journal_table
        rows = await conn.execute(select(j.c.key, j.c.body).where(j.c.ven_id == mine, j.c.kind == "report"))
        found[j.name] = sorted(((row.key.replace(mine, "VEN"), row.body) for row in rows), key=repr)
    return found


async def cleared(desk: Desk) -> None:
    """The two VENs, of which no report is kept."""
    if not desk.ids:
        for who, name in NAMES.items():
            await desk.say(metadata(await desk.settle_in(who, name)), who)
    async with desk.db.write() as conn:
        for table in TABLES:
            await conn.execute(delete(table))
        await conn.execute(delete(journal_table).where(journal_table.c.kind == "report"))


async def both(
    sent: list[UpdateReport], mixed: list[UpdateReport], desk: Desk
) -> tuple[dict[str, list[tuple[object, ...]]], dict[str, list[tuple[object, ...]]]]:
    """What both VENs' reports have left."""
    await cleared(desk)
    for message in sent:
        await desk.say(replace(message, ven_id=desk.ids[ALICE]), ALICE)
    await asyncio.gather(*(desk.say(replace(each, ven_id=desk.ids[BOB]), BOB) for each in mixed))
    return await tables(desk, ALICE), await tables(desk, BOB)


@st.composite
def orders(draw: st.DrawFn) -> tuple[list[UpdateReport], list[UpdateReport]]:
    """Messages, and the same ones mixed up, some of them several times."""
    sent = draw(st.lists(messages, min_size=1, max_size=5))
    if feed := draw(st.sampled_from(["", "a", "b"])):
        sent += [with_feed(sent[0], feed), with_feed(sent[0], "c")]
    again = draw(st.lists(st.sampled_from(sent), max_size=4))
    return sent, draw(st.permutations([*sent, *again]))


@pytest.mark.goal(47)
@pytest.mark.criterion("GEN-18", "RPT-34", who="vtn")
@settings(max_examples=8, **QUIETLY)  # type: ignore[arg-type]  # by name
@given(orders=orders())
async def test_any_interleaving_of_retries_duplicates_and_reordering_gives_the_same_tables(
    orders: tuple[list[UpdateReport], list[UpdateReport]], desk: Desk
) -> None:
    in_order, mixed = await both(*orders, desk)
    assert mixed == in_order


@pytest.mark.long
@pytest.mark.goal(47)
@settings(max_examples=500, **QUIETLY)  # type: ignore[arg-type]  # by name
@given(orders=orders())
async def test_any_interleaving_of_many_gives_the_same_tables(
    orders: tuple[list[UpdateReport], list[UpdateReport]], desk: Desk
) -> None:
    in_order, mixed = await both(*orders, desk)
    assert mixed == in_order


@pytest.mark.goal(47)
async def test_of_two_reports_of_one_instant_the_same_stays_in_either_order(desk: Desk) -> None:
    payloads = [ReportPayload(r_id="load", payload_float=1.0, accuracy=each) for each in (0.1, 0.2)]
    plain = [
        UpdateReport(
            request_id="u",
            reports=(
                Report(
                    intervals=(ReportInterval(dtstart=NOW, duration=Duration(900), payloads=(each,)),),
                    report_request_id=f"ask-{USAGE}",
                    report_specifier_id=f"spec-{USAGE}",
                    report_name=USAGE,
                    created_date_time=NOW,
                ),
            ),
        )
        for each in payloads
    ]
    sent = [*plain, with_feed(plain[0], "a"), with_feed(plain[0], "b")]
    in_order, mixed = await both(sent, sent[::-1], desk)
    assert mixed == in_order
    left = await tables(desk, ALICE)
    assert [len(left[table.name]) for table in (reading_table, reading_detail_table, green_button_table)] == [
        1
    ] * 3
