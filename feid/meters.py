"""Meter files: CSV, plain or gzip, `interval_start` and then one column of mean kW for each meter.

Nothing in a file is guessed:
- What makes the table doubtful (header, times, text where a number belongs) refuses the file, with all faults
  by line and column, the first twenty of them.
- What a meter did wrong (no value, a negative or an absurd one) is marked, value by value, named in the
  remarks, and replaced by an estimate: a straight line over up to two hours, else the same time of another
  week, else the meter's mean.
- Times have one UTC offset and one step; whole rows may be absent, at most a week in a run.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feid.physics import Floats

MEASURED, MISSING, NEGATIVE, ABSURD = range(4)

ABSURD_KW = 2000.0
"""No meter of low voltage shows more."""

OUTLIER_KW = 50.0
"""Above this, a value is absurd if it is over ten times what the meter keeps under in 19 of 20 intervals."""

MAX_LINE = 1 << 20
MAX_VALUES = 20_000_000
MAX_GAP = timedelta(days=7)
MAX_FAULTS = 20  # in one message
MAX_NOTES = 1000
"""Faults after which a file is not read on, and values that are named in the remarks."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NO_VALUE = frozenset({"", "nan", "na", "null"})
_WEEK = timedelta(days=7)
_LINE_OVER = timedelta(hours=2)


class MeterFileError(Exception):
    """A meter file is refused; the text says where and why, all faults, at most twenty."""


@dataclass(frozen=True, slots=True)
class Meters:
    """Mean kW by interval and meter, without holes, and what was really measured.

    `marks` is 0 where measured, else MISSING, NEGATIVE or ABSURD, and then `kw` is an estimate; `remarks`
    names all such places and repeated rows. `start` carries the file's UTC offset.
    """

    start: datetime
    step: timedelta
    names: tuple[str, ...]
    kw: Floats
    marks: NDArray[np.uint8]
    remarks: tuple[str, ...]

    @property
    def end(self) -> datetime:
        """The end of the last interval."""
        return self.start + len(self.kw) * self.step

    @property
    def utc_offset_s(self) -> int:
        """Seconds that the file's local time is ahead of UTC."""
        offset = self.start.utcoffset()
        return 0 if offset is None else int(offset.total_seconds())


@dataclass(slots=True)
class _Table:
    """A file while it is read: rows in order of time, faults and remarks so far."""

    width: int = 0
    meters: dict[int, str] = field(default_factory=dict)  # column, counted from 1 -> name
    row_of: dict[datetime, int] = field(default_factory=dict)  # by time, counted from 0
    lines: list[int] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    offset: timedelta | None = None
    last_offset: timedelta | None = None
    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raise MeterFileError if there are faults."""
        if self.faults:
            more = len(self.faults) - MAX_FAULTS
            raise MeterFileError(
                "; ".join(self.faults[:MAX_FAULTS]) + (f"; and {more} more" if more > 0 else "")
            )


def read_meters(path: Path) -> Meters:
    """The meters of a CSV file, plain or gzip; MeterFileError says what is wrong, by line and column."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if path.suffix == ".gz" and not packed:
                raise MeterFileError("its name ends in .gz, but it is not a gzip file")
            stream = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if packed else raw
            return _meters(_read_table(_lines(stream)))
    except MeterFileError as error:
        raise MeterFileError(f"{path}: {error}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise MeterFileError(f"{path}: the gzip file is damaged: {error}") from error
    except OSError as error:
        raise MeterFileError(f"{path}: {error.strerror or error}") from error


def _lines(stream: io.BufferedIOBase) -> Iterator[str]:
    """Lines of text, none longer than the limit."""
    number = 0
    while raw := stream.readline(MAX_LINE + 1):
        number += 1
        if len(raw) > MAX_LINE:
            raise MeterFileError(f"line {number}: longer than {MAX_LINE} bytes")
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise MeterFileError(f"line {number}: not UTF-8 text: {error.reason}") from error


def _read_table(lines: Iterator[str]) -> _Table:
    table = _Table()
    rows = csv.reader(lines, strict=True)
    try:
        _read_header(table, next(rows, None))
        for row in rows:
            if row:
                _read_row(table, rows.line_num, row)
            if len(table.faults) > MAX_NOTES:
                break
            if len(table.values) * len(table.meters) > MAX_VALUES:
                raise MeterFileError(f"line {rows.line_num}: more than {MAX_VALUES} values in the file")
    except csv.Error as error:
        table.faults.append(f"line {rows.line_num}: {error}")
    if not table.lines and not table.faults:
        table.faults.append("line 2: the file has a header and no values")
    table.check()
    return table


def _read_header(table: _Table, header: list[str] | None) -> None:
    if not header:
        raise MeterFileError("line 1: a header is needed: interval_start, then a name for each meter")
    if header[0] != "interval_start":
        wrong = f"line 1, column 1: must be interval_start, got {_short(header[0])}"
        raise MeterFileError(wrong + (" (columns are separated by commas)" if ";" in header[0] else ""))
    table.width = len(header)
    for column, name in enumerate(header[1:], 2):
        if not name.strip():
            table.faults.append(f"line 1, column {column}: a meter without a name")
        elif name in header[: column - 1]:
            first = header.index(name) + 1
            table.faults.append(
                f"line 1, column {column}: {_short(name)} is the name of column {first} already"
            )
        elif name.endswith("_c"):
            table.remarks.append(f"line 1, column {column}: {name} is a temperature, not a meter: left out")
        else:
            table.meters[column] = name
    if not table.meters and not table.faults:
        table.faults.append("line 1: no column of a meter after interval_start")
    table.check()


def _read_row(table: _Table, line: int, row: list[str]) -> None:
    if len(row) != table.width:
        table.faults.append(f"line {line}: {len(row)} columns, the header has {table.width}")
        return
    moment = _moment(table, line, row[0])
    values = [_value(table, line, column, row[column - 1]) for column in table.meters]
    if moment is not None and _in_order(table, line, moment, values):
        table.row_of[moment] = len(table.lines)
        table.lines.append(line)
        table.values.append(values)


def _moment(table: _Table, line: int, text: str) -> datetime | None:
    """The start of an interval, None (and a fault) if it is none or its offset is not that of the others."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        table.faults.append(f"line {line}, column 1: not a date and time: {_short(text)}")
        return None
    offset = moment.utcoffset()
    if offset is None:
        table.faults.append(f"line {line}, column 1: the time has no UTC offset: {_short(text)}")
        return None
    expected = table.offset if table.offset is not None else offset
    if offset not in (expected, table.last_offset):
        table.faults.append(
            f"line {line}, column 1: the UTC offset changes in {_short(text)} (daylight saving time?): "
            "write all times with one offset, best UTC"
        )
    table.offset, table.last_offset = expected, offset
    return moment if offset == expected else None


def _value(table: _Table, line: int, column: int, text: str) -> float:
    """A mean power in kW, NaN where the meter gave none (or, with a fault, something else)."""
    if text.strip().lower() in _NO_VALUE:
        return float("nan")
    if _NUMBER.fullmatch(text.strip()) is None:
        name = table.meters[column]
        table.faults.append(f"line {line}, column {column} ({name}): not a number of kW: {_short(text)}")
        return float("nan")
    return float(text)


def _in_order(table: _Table, line: int, moment: datetime, values: list[float]) -> bool:
    """Whether a row is the next one; a repeated row is remarked, or a fault if it says something else."""
    if moment in table.row_of:
        row = table.row_of[moment]
        first = table.lines[row]
        if np.array_equal(values, table.values[row], equal_nan=True):
            table.remarks.append(f"line {line}: repeats line {first}, left out")
        else:
            table.faults.append(
                f"line {line}, column 1: {moment.isoformat()} is in line {first} already, with other values"
            )
        return False
    last = next(reversed(table.row_of), None)
    if last is not None and moment < last:
        before = f"{moment.isoformat()} is before {last.isoformat()} in line {table.lines[-1]}"
        table.faults.append(f"line {line}, column 1: not in order: {before}")
        return False
    return True


def _meters(table: _Table) -> Meters:
    """The table on an even grid of time, judged and without holes."""
    times = list(table.row_of)
    step = _step(table, times)
    table.check()
    places = [(moment - times[0]) // step for moment in times]
    size = places[-1] + 1
    if size * len(table.meters) > MAX_VALUES:
        raise MeterFileError(f"line {table.lines[-1]}: more than {MAX_VALUES} values, gaps counted")
    kw = np.full((size, len(table.meters)), np.nan)
    kw[places] = table.values
    marks = _judge(kw)
    _remark(table, dict(zip(places, table.lines, strict=True)), kw, marks)
    for number, (column, name) in enumerate(table.meters.items()):
        if (marks[:, number] != MEASURED).all():
            table.faults.append(f"line 2, column {column} ({name}): the meter has no usable value at all")
            continue
        _estimate(kw[:, number], marks[:, number] != MEASURED, step)
    table.check()
    return Meters(times[0], step, tuple(table.meters.values()), kw, marks, tuple(table.remarks))


def _step(table: _Table, times: list[datetime]) -> timedelta:
    """The step that most rows keep; every other distance must be a multiple of it, of a week at most."""
    if len(times) < 2:
        raise MeterFileError(f"line {table.lines[0]}: one interval has no step, two are needed")
    counted = Counter(later - earlier for earlier, later in pairwise(times))
    step = min(counted, key=lambda distance: (-counted[distance], distance))
    if not timedelta(seconds=1) <= step <= timedelta(days=1):
        raise MeterFileError(f"line {table.lines[1]}: a step of {step}; it must be 1 s to 1 day")
    for line, (earlier, later) in zip(table.lines[1:], pairwise(times), strict=True):
        if (later - earlier) % step:
            where = f"{later.isoformat()} is {later - earlier} after the row before"
            table.faults.append(f"line {line}, column 1: {where}, the step is {step}")
        elif later - earlier > MAX_GAP + step:
            where = f"from {earlier.isoformat()} to {later.isoformat()}"
            table.faults.append(f"line {line}, column 1: a gap {where}, longer than {MAX_GAP.days} days")
    return step


def _judge(kw: Floats) -> NDArray[np.uint8]:
    """What each value is worth; those that are not measurements become NaN."""
    marks = np.zeros(kw.shape, np.uint8)
    marks[np.isnan(kw)] = MISSING
    marks[kw < 0] = NEGATIVE
    for number in range(kw.shape[1]):
        shown = kw[(marks[:, number] == MEASURED) & (kw[:, number] <= ABSURD_KW), number]
        usual = float(np.quantile(shown, 0.95, method="lower")) if shown.size else 0.0
        highest = min(ABSURD_KW, max(OUTLIER_KW, 10.0 * usual))
        marks[kw[:, number] > highest, number] = ABSURD
    return marks


def _remark(table: _Table, lines: dict[int, int], kw: Floats, marks: NDArray[np.uint8]) -> None:
    """Name each value that is not a measurement, by line and column; absent rows once for each gap."""
    for earlier, later in pairwise(lines):
        if later > earlier + 1:
            table.remarks.append(f"line {lines[later]}: {later - earlier - 1} rows are missing before it")
    columns = list(table.meters.items())
    words = {MISSING: "no value", NEGATIVE: "negative", ABSURD: "absurd"}
    bad = np.argwhere(marks != MEASURED)
    for place, number in bad[:MAX_NOTES].tolist():
        if place in lines:
            column, name = columns[number]
            shown = "" if marks[place, number] == MISSING else f" value {kw[place, number]:g} kW"
            word = words[int(marks[place, number])]
            table.remarks.append(f"line {lines[place]}, column {column} ({name}): {word}{shown}")
    if len(bad) > MAX_NOTES:
        table.remarks.append(f"{len(bad) - MAX_NOTES} more values are not measured")


def _estimate(kw: Floats, bad: NDArray[np.bool_], step: timedelta) -> None:
    """Put estimates in the place of what was not measured; `kw` has one good value at least."""
    good = np.flatnonzero(~bad)
    mean = float(kw[good].mean())
    edges = np.flatnonzero(np.diff(np.concatenate(([False], bad, [False])).astype(np.int8)))
    week = _WEEK // step if not _WEEK % step else 0
    for first, last in edges.reshape(-1, 2).tolist():  # a run of bad values, half-open
        if (last - first) * step <= _LINE_OVER and first > 0 and last < len(kw):
            kw[first:last] = np.interp(np.arange(first, last), [first - 1, last], [kw[first - 1], kw[last]])
            continue
        for place in range(first, last):
            kw[place] = next(
                (kw[other] for other in _weeks_away(place, week, len(kw)) if not bad[other]), mean
            )


def _weeks_away(place: int, week: int, size: int) -> Iterator[int]:
    """The same time of the other weeks, nearest first, the past before the future."""
    if week:
        for weeks in range(1, size // week + 1):
            yield from (other for other in (place - weeks * week, place + weeks * week) if 0 <= other < size)


def _short(text: str) -> str:
    return repr(text) if len(text) <= 40 else repr(text[:40]) + "..."
