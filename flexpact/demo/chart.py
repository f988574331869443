"""A day of load as a picture in text: lines in braille dots, four high and two wide in each character."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # by column of the cell, from the top
_BLANK = 0x2800
_LABEL_WIDTH = 7


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: evenly spaced values (None: nothing known there), and the style of its dots."""

    values: Sequence[float | None]
    style: str


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the chart to be marked, as indices into the values: `first` up to, not including, `end`."""

    first: int
    end: int


def chart(lines: Sequence[Line], width: int, height: int, window: Window | None = None) -> Text:
    """Return `height` rows of `width` characters: an axis in the lines' unit, and the lines.

    Where lines cross, the one named first is seen. All lines have the same number of values.
    """
    columns = max(1, width - _LABEL_WIDTH)
    count = max((len(line.values) for line in lines), default=0)
    top = _top(lines)
    cells: list[list[tuple[int, str]]] = [[(0, "")] * columns for _ in range(height)]
    for line in reversed(lines):
        _draw(cells, line, top)
    text = Text()
    for row, cell_row in enumerate(cells):
        text.append(_label(row, height, top), style="dim")
        for column, (dots, style) in enumerate(cell_row):
            marked = window is not None and _inside(column, columns, count, window)
            text.append(chr(_BLANK | dots), style=f"{style} on grey23" if marked else style)
        if row < height - 1:
            text.append("\n")
    return text


def hours(width: int, first_hour: int = 0, count: int = 24) -> Text:
    """Return the axis below a chart of `width` characters: `count` hours from `first_hour` on."""
    columns = max(1, width - _LABEL_WIDTH)
    axis = [" "] * columns
    step = 3 if count > 12 else 1
    for hour in range(0, count, step):
        place = hour * columns // count
        axis[place : place + 2] = f"{(first_hour + hour) % 24:02d}"
    return Text(" " * _LABEL_WIDTH + "".join(axis)[:columns], style="dim")


def _top(lines: Sequence[Line]) -> float:
    known = [value for line in lines for value in line.values if value is not None]
    return max([1.0, *known]) * 1.05


def _draw(cells: list[list[tuple[int, str]]], line: Line, top: float) -> None:
    rows, columns = len(cells) * 4, len(cells[0]) * 2
    last: int | None = None
    for x in range(columns):
        value = line.values[x * len(line.values) // columns] if line.values else None
        if value is None:
            last = None
            continue
        y = rows - 1 - round(max(0.0, value) / top * (rows - 1))
        for dot in _between(last, y):
            _set(cells, x, dot, line.style)
        last = y


def _between(last: int | None, y: int) -> range:
    """Return the dots of one column that join `last`, the column before, with `y`."""
    if last is None or abs(last - y) <= 1:
        return range(y, y + 1)
    return range(last + 1, y + 1) if last < y else range(y, last)


def _set(cells: list[list[tuple[int, str]]], x: int, y: int, style: str) -> None:
    dots, known = cells[y // 4][x // 2]
    # a cell has one style: the line drawn last owns it, dots of others in it would take its colour
    kept = dots if known == style else 0
    cells[y // 4][x // 2] = (kept | _DOTS[x % 2][y % 4], style)


def _label(row: int, height: int, top: float) -> str:
    if row not in {0, height // 2, height - 1}:
        return " " * _LABEL_WIDTH
    value = top * (height - 1 - row) / max(1, height - 1)
    return f"{value:{_LABEL_WIDTH - 1}.1f} "


def _inside(column: int, columns: int, count: int, window: Window) -> bool:
    return window.first <= (column + 0.5) * count / columns < window.end
