"""A value that its data point cannot have is quarantined with its reason, the rest of its report kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import aiohttp
import pytest
from pydantic import ValidationError

from openadr import UpdateReport, decode, encode
from openadr.alike import Series
from tests.vtn.desk import ALICE, BOB, NOW, QUARTER, Desk, metadata, usage
from tests.vtn.test_exchange import response_of
from vtn.reading import quarantined, readings
from vtn.reading_range import ReadingRange
from vtn.store import Database

RANGES = (
    {"ven": "alice", "r_id": "load", "most": 9000.0},
    {"ven": "alice", "least": -500.0, "most": 500.0},
    {"r_id": "load", "most": 20_000.0},
)


@pytest.fixture
async def ranged(database: Database) -> AsyncIterator[Desk]:
    """A VTN that knows what its VENs' data points can have, and two VENs that report."""
    async with aiohttp.ClientSession() as http:
        desk = await Desk.open(database, http, ranges=RANGES)
        for who, name in ((ALICE, "alice"), (BOB, "bob")):
            await desk.say(metadata(await desk.settle_in(who, name)), who)
        yield desk
        await desk.server.stop()


async def sent(
    desk: Desk, values: Sequence[float], *, r_id: str = "load", who: str = ALICE
) -> tuple[list[float], list[str]]:
    """What of these values is kept, and why the others are not."""
    steps = [(NOW - number * QUARTER, value) for number, value in enumerate(values)]
    reply = await desk.say(usage(desk.ids[who], steps, r_id=r_id), who)
    assert response_of(reply).is_success
    async with desk.db.read() as conn:
        kept = [row.value for row in await readings(conn, ven_ids=[desk.ids[who]], r_ids=[r_id])]
        return kept, [each.reason for each in await quarantined(conn)]


@pytest.mark.goal(22)
@pytest.mark.parametrize(
    ("point", "good", "bad", "text"),
    [
        ((ALICE, "load"), [0.0, 9000.0], [-0.1, 9000.1], "from 0 to 9000"),
        ((ALICE, "home-01"), [-500.0, 500.0], [-501.0, 501.0], "from -500 to 500"),
        ((BOB, "load"), [0.0, 20_000.0], [-1.0, 20_001.0], "from 0 to 20000"),
        ((BOB, "home-01"), [-1e9, 1e9], [-1.1e9, 1.1e9], "from -1e+09 to 1e+09"),
    ],
)
async def test_each_data_point_has_its_range(
    ranged: Desk, point: tuple[str, str], good: list[float], bad: list[float], text: str
) -> None:
    who, r_id = point
    kept, reasons = await sent(ranged, [*good, *bad, float("nan")], r_id=r_id, who=who)
    assert sorted(kept) == sorted(good)
    assert sorted(reasons) == [
        "the value is not a finite number",
        f"the value is out of range, {text}",
        f"the value is out of range, {text}",
    ]


@pytest.mark.goal(22)
async def test_a_long_series_is_judged_by_its_range_too(ranged: Desk) -> None:
    """Intervals that are alike are judged by columns."""
    for values, bad in (([5.0] * 40, 0), ([5.0] * 39 + [9001.0], 1)):
        message = usage(ranged.ids[ALICE], [(NOW - n * QUARTER, v) for n, v in enumerate(values)])
        read = decode(encode(message))
        assert isinstance(read, UpdateReport)
        assert isinstance(read.reports[0].intervals, Series)
        await ranged.say(replace(message, request_id=f"u{bad}"))
        async with ranged.db.read() as conn:
            assert len(await quarantined(conn)) == bad


@pytest.mark.parametrize(
    "wrong",
    [{}, {"most": 1.0, "least": 2.0}, {"most": float("nan")}, {"most": 1e10}, {"most": 1.0, "max": 1.0}],
)
def test_a_range_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError) as caught:
        ReadingRange.model_validate(wrong)
    assert caught.value.error_count() == 1
