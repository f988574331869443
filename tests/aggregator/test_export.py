"""Files of readings: no formulas, no lost digits, nothing twice or left out where pieces meet."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from pyarrow import parquet

from aggregator import export, reading_series
from aggregator.export import Format, pieces, plain
from aggregator.profile import Period
from aggregator.reading_series import Reader, Selection
from tests.aggregator.conftest import START, Platform

DAY = Period(START - timedelta(days=1), START)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_text_that_begins_like_a_formula_is_put_behind_an_apostrophe(text: str) -> None:
    assert plain(text) == f"'{text}"


def test_other_texts_are_left_alone() -> None:
    assert plain("node-1 = load") == "node-1 = load"


async def whole(form: Format, platform: Platform, selection: Selection) -> bytes:
    """The file."""
    assert platform.aggregator is not None and platform.aggregator._db is not None
    return b"".join([piece async for piece in pieces(form, Reader(platform.aggregator._db, selection))])


@pytest.mark.parametrize("named", [True, False])
async def test_pieces_meet_without_a_gap_whoever_is_named(
    platform: Platform, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_series, "ROWS_A_PIECE", 100)
    ids = [box.ven_id for box in platform.boxes.values()]
    selection = Selection(ven_ids=ids if named else (), period=DAY)
    rows = list(
        csv.DictReader(io.StringIO((await whole(Format.CSV, platform, selection)).decode("utf-8-sig")))
    )
    keys = {(row["start_utc"], row["node"], row["report"], row["data_point"]) for row in rows}
    assert len(rows) == len(keys) == 3 * 4 * 96
    table = parquet.read_table(io.BytesIO(await whole(Format.PARQUET, platform, selection)))
    assert table.column_names == list(export.COLUMNS)
    same = [(export.iso(row["start_utc"]), row["node"], row["value"]) for row in table.to_pylist()]
    assert same == [(row["start_utc"], row["node"], float(row["value"])) for row in rows]
    assert float(rows[0]["mean_power_kw"]) == float(rows[0]["value"]) / 250


async def test_a_period_without_readings_is_a_file_of_names(platform: Platform) -> None:
    nothing = Selection(period=Period(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC)))
    found = await whole(Format.CSV, platform, nothing)
    assert found.decode("utf-8-sig") == ",".join(export.COLUMNS) + "\r\n"
    table = parquet.read_table(io.BytesIO(await whole(Format.PARQUET, platform, nothing)))
    assert table.num_rows == 0
