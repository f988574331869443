"""A meter file is read exactly, refused with line and column, or marked: never silently wrong."""

import gzip
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from feid.meters import ABSURD, MEASURED, MISSING, NEGATIVE, MeterFileError, Meters, read_meters

HEAD = "interval_start,m1,m2"


def row(quarter: int, *values: object, offset: str = "+01:00") -> str:
    moment = datetime(2025, 1, 20, tzinfo=UTC) + quarter * timedelta(minutes=15)
    return ",".join([moment.replace(tzinfo=None).isoformat() + offset, *map(str, values)])


ROWS = [row(quarter, 1 + quarter, 0.25) for quarter in range(12)]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(tmp_path: Path, *lines: str) -> Meters:
    return read_meters(write(tmp_path / "meters.csv", *lines))


def test_a_good_file_is_read_as_it_is(tmp_path: Path) -> None:
    meters = read(tmp_path, HEAD, *ROWS)
    assert meters.start == datetime(2025, 1, 20, tzinfo=timezone(timedelta(hours=1)))
    assert meters.utc_offset_s == 3600
    assert meters.step == timedelta(minutes=15)
    assert meters.names == ("m1", "m2")
    assert meters.kw.tolist() == [[1.0 + quarter, 0.25] for quarter in range(12)]
    assert not meters.marks.any()
    assert meters.remarks == ()
    assert meters.end - meters.start == timedelta(hours=3)


def test_a_gzip_file_is_the_same_file(tmp_path: Path) -> None:
    packed = tmp_path / "meters.csv.gz"
    packed.write_bytes(gzip.compress("\n".join([HEAD, *ROWS]).encode()))
    assert read_meters(packed).kw.tolist() == read(tmp_path, HEAD, *ROWS).kw.tolist()


@pytest.mark.parametrize(
    ("lines", "kw"),
    [
        pytest.param(["\ufeff" + HEAD, *ROWS], 1.0, id="byte order mark"),
        pytest.param([HEAD, *ROWS, "", ""], 1.0, id="blank lines at the end"),
        pytest.param([HEAD, *(line + "\r" for line in ROWS)], 1.0, id="carriage returns"),
        pytest.param([HEAD, row(0, " 1.5 ", "+2.5e-1"), *ROWS[1:]], 1.5, id="spaces and exponents"),
        pytest.param([HEAD, *(r.replace("+01:00", "Z") for r in ROWS)], 1.0, id="zulu time"),
        pytest.param(['interval_start,"m 1",m2', *ROWS], 1.0, id="quoted name"),
    ],
)
def test_other_ways_to_write_the_same_are_read(tmp_path: Path, lines: list[str], kw: float) -> None:
    meters = read(tmp_path, *lines)
    assert meters.kw[0].tolist() == [kw, 0.25]
    assert len(meters.kw) == 12


REFUSED = [
    pytest.param([], "line 1: a header is needed", id="empty file"),
    pytest.param([HEAD], "line 2: the file has a header and no values", id="header alone"),
    pytest.param(ROWS, "line 1, column 1: must be interval_start, got '2025-01-20T00:00:00", id="no header"),
    pytest.param(["interval_start;m1"], r"got 'interval_start;m1' \(columns are separated", id="semicolons"),
    pytest.param(["interval_start", "2025-01-20T00:00:00Z"], "no column of a meter", id="no meters"),
    pytest.param(["interval_start,m1,m1"], "line 1, column 3: 'm1' is the name of column 2", id="same name"),
    pytest.param(["interval_start,,m1"], "line 1, column 2: a meter without a name", id="no name"),
    pytest.param([HEAD, ROWS[0], row(1, 1)], "line 3: 2 columns, the header has 3", id="too few columns"),
    pytest.param([HEAD, ROWS[0], row(1, 1, 2, 3)], "line 3: 4 columns", id="too many columns"),
    pytest.param(
        [HEAD, ROWS[0], row(1, 1, "broken")],
        r"line 3, column 3 \(m2\): not a number of kW: 'broken'",
        id="text",
    ),
    pytest.param([HEAD, ROWS[0], row(1, 1, '"0,5"')], "column 3 .*'0,5'", id="decimal comma"),
    pytest.param([HEAD, ROWS[0], row(1, "inf", 1)], "line 3, column 2 .*'inf'", id="infinite"),
    pytest.param([HEAD, ROWS[0], row(1, "1_000", 1)], "line 3, column 2 .*'1_000'", id="digits grouped"),
    pytest.param([HEAD, ROWS[0], row(1, "\u0661", 1)], "line 3, column 2", id="other digits"),
    pytest.param([HEAD, ROWS[0], row(1, "0x10", 1)], "line 3, column 2 .*'0x10'", id="hexadecimal"),
    pytest.param(
        [HEAD, "20.01.2025 00:15,1,1"], "line 2, column 1: not a date and time: '20.01.", id="no date"
    ),
    pytest.param([HEAD, row(0, 1, 1, offset="")], "line 2, column 1: the time has no UTC offset", id="naive"),
    pytest.param(
        [HEAD, ROWS[0], ROWS[2], ROWS[1], ROWS[3]],
        "line 4, column 1: not in order: 2025-01-20T00:15:00.* is before 2025-01-20T00:30:00.* in line 3",
        id="unsorted",
    ),
    pytest.param(
        [HEAD, *ROWS[:3], row(1, 9, 9)],
        "line 5, column 1: 2025-01-20T00:15:00.01:00 is in line 3 already, with other values",
        id="same time, other values",
    ),
    pytest.param(
        [HEAD, *ROWS[:4], row(8, 1, 1, offset="+02:00"), row(9, 1, 1, offset="+02:00")],
        "line 6, column 1: the UTC offset changes in '2025-01-20T02:00:00.02:00' .daylight saving time",
        id="offsets mixed",
    ),
    pytest.param(
        [HEAD, *ROWS[:4], "2025-01-20T01:07:00+01:00,1,1"],
        "line 6, column 1: .* is 0:22:00 after the row before, the step is 0:15:00",
        id="step uneven",
    ),
    pytest.param([HEAD, ROWS[0]], "line 2: one interval has no step", id="one row"),
    pytest.param([HEAD, *ROWS[:3], row(5000, 1, 1)], "line 5, column 1: a gap from .* 7 days", id="long gap"),
    pytest.param([HEAD, row(0, 1, 1), row(200, 1, 1)], "line 3: a step of 2 days", id="step too long"),
    pytest.param([HEAD, *(row(q, 1, "") for q in range(9))], r"column 3 \(m2\): .* no usable", id="no value"),
    pytest.param([HEAD, ROWS[0], row(1, "9" * 140_000, 1)], "line 3: field larger", id="huge field"),
    pytest.param([HEAD, ROWS[0], row(1, "9" * 1_100_000, 1)], "line 3: longer than 1048576", id="huge line"),
    pytest.param([HEAD, ROWS[0], row(1, '"1', 1)], "line 3: unexpected end of data", id="open quote"),
]


@pytest.mark.parametrize(("lines", "says"), REFUSED)
def test_a_file_that_cannot_be_trusted_is_refused(tmp_path: Path, lines: list[str], says: str) -> None:
    with pytest.raises(MeterFileError, match=says) as refused:
        read(tmp_path, *lines)
    assert str(refused.value).startswith(str(tmp_path / "meters.csv"))
    assert len(str(refused.value)) < 2000


def test_all_faults_are_named_up_to_twenty(tmp_path: Path) -> None:
    bad = [row(quarter, "x", "y") for quarter in range(12)]
    with pytest.raises(MeterFileError) as refused:
        read(tmp_path, HEAD, *bad)
    assert str(refused.value).count("not a number") == 20
    assert str(refused.value).endswith("and 4 more")


def test_a_change_of_offset_is_named_once_for_a_whole_summer(tmp_path: Path) -> None:
    summer = [row(quarter, 1, 1, offset="+02:00") for quarter in range(8, 40)]
    with pytest.raises(MeterFileError) as refused:
        read(tmp_path, HEAD, *ROWS[:4], *summer)
    assert str(refused.value).count("offset changes") == 1
    assert "write all times with one offset, best UTC" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        pytest.param("m.csv.gz", b"interval_start,m1\n", "not a gzip file", id="gz in name only"),
        pytest.param(
            "m.csv.gz", gzip.compress(b"interval_start,m1\n")[:-6], "gzip file is damaged", id="cut off"
        ),
        pytest.param("m.csv", b"\x1f\x8bgarbage", "gzip file is damaged", id="gzip mark and garbage"),
        pytest.param("m.csv", "interval_start,m1\n".encode("utf-16"), "line 1: not UTF-8", id="utf-16"),
        pytest.param("m.csv", b"interval_start,m\xe9ter\n", "line 1: not UTF-8", id="latin-1"),
    ],
)
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MeterFileError, match=says):
        read_meters(path)


def test_a_file_that_is_not_there_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MeterFileError, match=r"absent.csv: No such file"):
        read_meters(tmp_path / "absent.csv")
    with pytest.raises(MeterFileError, match="directory"):
        read_meters(tmp_path)


@pytest.mark.parametrize(
    ("text", "mark", "remark"),
    [
        pytest.param("", MISSING, "no value", id="empty"),
        pytest.param("NaN", MISSING, "no value", id="not a number"),
        pytest.param("-0.5", NEGATIVE, "negative value -0.5 kW", id="negative"),
        pytest.param("99999", ABSURD, "absurd value 99999 kW", id="absurd"),
        pytest.param("1e999", ABSURD, "absurd value inf kW", id="beyond any number"),
        pytest.param("180", ABSURD, "absurd value 180 kW", id="far above the meter's own"),
    ],
)
def test_a_bad_value_is_marked_named_and_estimated(tmp_path: Path, text: str, mark: int, remark: str) -> None:
    meters = read(tmp_path, HEAD, *ROWS[:5], row(5, text, 0.25), *ROWS[6:])
    assert meters.marks[5].tolist() == [mark, MEASURED]
    assert np.count_nonzero(meters.marks) == 1
    assert meters.remarks == (f"line 7, column 2 (m1): {remark}",)
    assert meters.kw[5].tolist() == pytest.approx([6.0, 0.25])  # the straight line from 5 to 7


def test_a_large_meter_may_show_large_values(tmp_path: Path) -> None:
    meters = read(tmp_path, HEAD, *(row(quarter, 180, 400) for quarter in range(8)))
    assert not meters.marks.any()


def test_missing_rows_are_marked_named_and_estimated(tmp_path: Path) -> None:
    meters = read(tmp_path, HEAD, *ROWS[:4], *ROWS[7:])
    assert len(meters.kw) == 12
    assert meters.marks[:, 0].tolist() == [0] * 4 + [MISSING] * 3 + [0] * 5
    assert meters.remarks == ("line 6: 3 rows are missing before it",)
    assert meters.kw[:, 0].tolist() == pytest.approx(range(1, 13))


def test_a_row_repeated_word_for_word_is_remarked_and_left_out(tmp_path: Path) -> None:
    meters = read(tmp_path, HEAD, *ROWS[:3], ROWS[1], *ROWS[3:])
    assert len(meters.kw) == 12
    assert meters.remarks == ("line 5: repeats line 3, left out",)


def test_a_long_gap_takes_the_same_time_of_the_week_before(tmp_path: Path) -> None:
    days = [row(quarter, 1 + quarter % 672, 1) for quarter in range(672 * 2)]
    meters = read(tmp_path, HEAD, *days[:700], *days[760:])
    assert meters.kw[:, 0].tolist() == [1.0 + quarter % 672 for quarter in range(672 * 2)]
    assert np.count_nonzero(meters.marks[:, 0]) == 60


def test_a_gap_without_another_week_takes_the_mean(tmp_path: Path) -> None:
    meters = read(tmp_path, HEAD, row(0, 1, 1), row(1, 3, 1), *(row(q, 2, 1) for q in range(30, 40)))
    assert meters.kw[10, 0] == pytest.approx(2.0)
    assert meters.marks[10, 0] == MISSING


def test_a_temperature_is_no_meter(tmp_path: Path) -> None:
    rows = [row(quarter, 1, -3.5, 2) for quarter in range(4)]
    meters = read(tmp_path, "interval_start,b1,air_temperature_c,b2", *rows)
    assert meters.names == ("b1", "b2")
    assert meters.kw.tolist() == [[1.0, 2.0]] * 4
    assert meters.remarks == ("line 1, column 3: air_temperature_c is a temperature, not a meter: left out",)


def test_a_meter_with_very_many_bad_values_is_not_named_value_by_value(tmp_path: Path) -> None:
    rows = [row(quarter, -1 if quarter % 2 else 1, 1) for quarter in range(3000)]
    meters = read(tmp_path, HEAD, *rows)
    assert len(meters.remarks) == 1001
    assert meters.remarks[-1] == "500 more values are not measured"
    assert np.count_nonzero(meters.marks) == 1500


def test_a_file_of_faults_is_not_read_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(MeterFileError, match=r"and 981 more$"):
        read(tmp_path, HEAD, *(row(quarter, "x", 1) for quarter in range(5000)))
