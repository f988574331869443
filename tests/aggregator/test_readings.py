"""Readings become profiles: units, gaps, qualities, coarse and fine intervals, and what a node is asked
for.
"""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from aggregator.profile import Period
from aggregator.readings import OFFERS, TELEMETRY, _profile, issued, metered, report_requests
from openadr import Duration, Report, ReportDescription, SamplingRate
from openadr.report_request import check_request
from vtn import registration
from vtn.reading import ReadingRow
from vtn.schema import reading_table
from vtn.store import Database

NOON = datetime(2026, 1, 20, 12, tzinfo=UTC)
HOUR = Period(NOON, NOON + timedelta(hours=1))
GOOD = "Quality Good - Non Specific"


def row(minute: float, wh: float, *, minutes: float = 15, quality: str = GOOD) -> ReadingRow:
    """A reading that starts so many minutes after noon."""
    start = NOON + timedelta(minutes=minute)
    return ReadingRow("v", "load", start, minutes * 60, wh, quality, TELEMETRY, NOON)


def kw(*rows: ReadingRow) -> list[float | None]:
    """The hour's quarter hours."""
    return [None if math.isnan(value) else round(value, 6) for value in _profile(rows, HOUR).kw]


PROFILES = {
    "quarter hours": ([row(0, 1000), row(15, 500), row(30, 0), row(45, -250)], [4, 2, 0, -1]),
    "gaps": ([row(0, 1000), row(30, 1000)], [4, None, 4, None]),
    "an hour is spread": ([row(0, 4000, minutes=60)], [4, 4, 4, 4]),
    "five minutes are gathered": ([row(minute, 100, minutes=5) for minute in range(0, 60, 5)], [1.2] * 4),
    "not wholly covered": ([row(0, 100, minutes=5), row(5, 100, minutes=5)], [None] * 4),
    "bad": ([row(0, 1000, quality="Quality Bad - Non Specific"), row(15, 500)], [None, 2, None, None]),
    "no value": ([row(0, 1000, quality="No Quality - No Value")], [None] * 4),
    "uncertain counts": ([row(0, 1000, quality="Quality Uncertain - Non Specific")], [4, None, None, None]),
    "no duration": ([row(0, 1000, minutes=0)], [None] * 4),
    "outside": ([row(-15, 999), row(60, 999)], [None] * 4),
    "reaching in": ([row(-30, 2000, minutes=60)], [2, 2, None, None]),
}


@pytest.mark.parametrize(("rows", "expected"), PROFILES.values(), ids=PROFILES)
def test_profile(rows: list[ReadingRow], expected: list[float | None]) -> None:
    assert kw(*rows) == expected


async def keep(database: Database, *rows: ReadingRow) -> None:
    """Write readings as the VTN does."""
    async with database.write() as conn:
        for r in rows:
            await conn.execute(
                reading_table.insert().values(
                    ts=r.start, ven_id=r.ven_id, r_id=r.r_id, report_name=r.report_name,
                    duration_s=r.duration_s, value=r.value, quality=r.quality, created_at=r.created_at,
                    report_request_id="x", ) )  # fmt: skip


def named(r: ReadingRow, name: str, created_at: datetime = NOON, r_id: str = "load") -> ReadingRow:
    """The reading in another report."""
    return ReadingRow(r.ven_id, r_id, r.start, r.duration_s, r.value, r.quality, name, created_at)


async def test_telemetry_counts_before_history(database: Database) -> None:
    await keep(
        database, named(row(0, 500), "HISTORY_USAGE"), row(0, 1000), named(row(15, 250), "HISTORY_USAGE")
    )
    async with database.read() as conn:
        found = await metered(conn, ["v"], ["load"], HOUR)
    assert found.profile("v", "load", HOUR).kw[:2] == (4.0, 1.0)
    assert found.arrived["v", "load"] == {NOON, NOON + timedelta(minutes=15)}


STEPS = {
    "finer history behind telemetry": (
        [named(row(minute, 50, minutes=5), "HISTORY_USAGE") for minute in (0, 5, 10)] + [row(0, 1000)],
        4.0,
    ),
    "finer telemetry before history": (
        [named(row(0, 500), "HISTORY_USAGE")] + [row(minute, 100, minutes=5) for minute in (0, 5, 10)],
        1.2,
    ),
    "telemetry with a hole": ([named(row(0, 500), "HISTORY_USAGE"), row(0, 100, minutes=5)], 2.0),
    "an hour of history": ([named(row(0, 4000, minutes=60), "HISTORY_USAGE"), row(0, 500)], 2.0),
    "bad telemetry": (
        [named(row(0, 500), "HISTORY_USAGE"), row(0, 1000, quality="Quality Bad - Non Specific")],
        2.0,
    ),
}


@pytest.mark.parametrize(("rows", "expected"), STEPS.values(), ids=STEPS)
async def test_telemetry_and_history_of_other_steps_are_never_mixed(
    rows: list[ReadingRow], expected: float, database: Database
) -> None:
    await keep(database, *rows)
    async with database.read() as conn:
        found = await metered(conn, ["v"], ["load"], HOUR)
    assert found.profile("v", "load", HOUR).kw[0] == pytest.approx(expected)


async def test_a_bad_reading_has_arrived_but_is_not_known(database: Database) -> None:
    await keep(database, row(0, 1000, quality="Quality Bad - Non Specific"))
    async with database.read() as conn:
        found = await metered(conn, ["v"], ["load"], HOUR)
    assert found.arrived["v", "load"] == {NOON}
    assert math.isnan(found.profile("v", "load", HOUR).kw[0])


async def test_a_long_reading_has_arrived_for_every_quarter_hour_that_it_reaches_into(
    database: Database,
) -> None:
    await keep(database, row(0, 2000, minutes=35), row(45, 9e9, minutes=60 * 24 * 365))
    async with database.read() as conn:
        found = await metered(conn, ["v"], ["load"], HOUR)
    assert found.arrived["v", "load"] == set(HOUR.slots())


async def test_a_node_without_readings_has_an_unknown_profile(database: Database) -> None:
    async with database.read() as conn:
        found = await metered(conn, ["v"], None, HOUR)
    assert all(map(math.isnan, found.profile("v", "load", HOUR).kw))
    assert len(found.profile("v", "load", HOUR).kw) == 4


async def test_the_newest_forecast_stands_alone(database: Database) -> None:
    old, new = NOON - timedelta(hours=1), NOON
    await keep(
        database,
        named(row(0, 250), OFFERS, old, "offer"),
        named(row(15, 500), OFFERS, new, "offer"),
        named(row(30, 750), OFFERS, new, "offer"),
    )
    async with database.read() as conn:
        found = await issued(conn, "v", "offer", HOUR)
        nothing = await issued(conn, "v", "load_forecast", HOUR)
    assert found is not None
    assert (found[0], found[1].start, found[1].kw) == (new, NOON + timedelta(minutes=15), (2.0, 3.0))
    assert nothing is None


def offered(name: str, *r_ids: str, shortest_s: int = 900, longest_s: int = 900) -> Report:
    """Metadata of one report."""
    rate = SamplingRate(min_period=Duration(shortest_s), max_period=Duration(longest_s))
    descriptions = tuple(
        ReportDescription(r_id=r_id, report_type="usage", reading_type="Direct Read", sampling_rate=rate)
        for r_id in r_ids
    )
    return Report(
        report_specifier_id=f"spec {name}",
        report_name=name,
        report_descriptions=descriptions,
        created_date_time=NOON,
    )


ALL = [
    offered("METADATA_HISTORY_USAGE", "load", "home-01"),
    offered("METADATA_TELEMETRY_USAGE", "load", "home-01"),
    offered("x-FLEXIBILITY_OFFER", "offer"),
    offered("METADATA_TELEMETRY_STATUS", "state"),
]


def test_history_telemetry_and_offers_are_asked_for_with_all_their_points() -> None:
    history = Period(NOON - timedelta(days=28), NOON)
    asked = report_requests("v", ALL, history, NOON + timedelta(minutes=7))
    told = [
        (
            request.report_request_id,
            [payload.r_id for payload in request.report_specifier.specifier_payloads],
            request.report_specifier.report_back_duration.seconds,
            request.report_specifier.report_interval.dtstart,
            request.report_specifier.report_interval.duration.seconds,
        )
        for request in asked
        if request.report_specifier.report_interval is not None
    ]
    assert told == [
        ("history.0.20260120T1200", ["load", "home-01"], 0, history.start, 28 * 86_400),
        ("telemetry.1", ["load", "home-01"], 900, NOON, 0),
        ("offer.2", ["offer"], 3600, NOON, 0),
    ]


def test_history_that_is_known_is_not_asked_for() -> None:
    asked = report_requests("v", ALL, None, NOON)
    assert [request.report_request_id for request in asked] == ["telemetry.1", "offer.2"]


@pytest.mark.parametrize(
    ("shortest_s", "longest_s", "step_s"), [(60, 3600, 900), (10, 10, 10), (1800, 3600, 1800), (900, 0, 900)]
)
def test_telemetry_is_asked_by_the_quarter_hour_or_as_near_as_the_node_can(
    shortest_s: int, longest_s: int, step_s: int
) -> None:
    report = offered("METADATA_TELEMETRY_USAGE", "load", shortest_s=shortest_s, longest_s=longest_s)
    (request,) = report_requests("v", [report], None, NOON)
    assert request.report_specifier.granularity.seconds == step_s
    assert request.report_specifier.report_back_duration.seconds == step_s


@pytest.mark.criterion("RPT-15", "RPT-20", who="vtn")
@pytest.mark.parametrize(
    ("step_s", "kept_s", "back_s"),
    [
        (900, 36 * 3600, 3600),
        (7200, 36 * 3600, 7200),
        (35 * 86_400, 35 * 86_400, 35 * 86_400),
        (2700, 86_400, 3600),
        (900, 1800, 1800),
        (900, 900, 900),
    ],
)
@pytest.mark.parametrize("name", ["x-FLEXIBILITY_OFFER", "METADATA_TELEMETRY_USAGE"])
def test_steps_and_rhythm_that_are_asked_for_fit_each_other_and_what_is_offered(
    name: str, step_s: int, kept_s: int, back_s: int
) -> None:
    report = replace(offered(name, "offer", shortest_s=step_s, longest_s=step_s), duration=Duration(kept_s))
    (request,) = report_requests("v", [report], None, NOON)
    check_request(request, [report])
    specifier = request.report_specifier
    assert specifier.granularity.seconds == step_s
    if name == "x-FLEXIBILITY_OFFER":
        assert specifier.report_back_duration.seconds == back_s
    assert specifier.report_interval is not None
    assert specifier.report_interval.dtstart <= NOON


def test_months_in_metadata_are_as_long_as_they_are_now() -> None:
    report = offered("METADATA_TELEMETRY_USAGE", "load")
    (point,) = report.report_descriptions

    def asked(shortest: Duration, longest: Duration) -> list[Duration]:
        changed = replace(point, sampling_rate=SamplingRate(min_period=shortest, max_period=longest))
        telemetry = replace(report, report_descriptions=(changed,))
        history = replace(telemetry, report_name="METADATA_HISTORY_USAGE")
        requests = report_requests("v", [history, telemetry], HOUR, NOON)
        assert requests[0].report_request_id.startswith("history.0")
        return [request.report_specifier.granularity for request in requests[1:]]

    month = Duration(0, 1)
    assert asked(Duration(900), month) == [Duration(900)]
    assert asked(month, month) == [Duration(31 * 86_400)]
    assert asked(Duration(0, 1200), Duration(0, 1200)) == []  # no value of such a period is kept


def test_a_report_without_data_points_is_not_asked_for() -> None:
    assert report_requests("v", [offered("METADATA_TELEMETRY_USAGE")], None, NOON) == []


async def test_readings_of_other_nodes_stay_theirs(database: Database) -> None:
    async with database.write() as conn:
        mine = await registration.enrol(conn, "mine", "1" * 64, NOON)
    await keep(database, row(0, 1000))
    async with database.read() as conn:
        found = await metered(conn, [mine], ["load"], HOUR)
    assert found.profiles == {}
