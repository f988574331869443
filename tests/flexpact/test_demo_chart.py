import pytest

from flexpact.demo.chart import Line, Window, chart, hours

BLANK = "⠀"


def _rows(lines: list[Line], width: int = 27, height: int = 4) -> list[str]:
    return [row[7:] for row in chart(lines, width, height).plain.split("\n")]


def test_a_flat_line_is_one_row_of_dots_at_its_height() -> None:
    rows = _rows([Line([1.0] * 96, "red"), Line([2.0] * 96, "blue")])
    assert len(rows) == 4
    assert all(len(row) == 20 for row in rows)
    assert len(set(rows[0])) == 1
    assert rows[0][0] != BLANK
    assert rows[3] == BLANK * 20


def test_nothing_is_drawn_where_nothing_is_known() -> None:
    rows = _rows([Line([1.0] * 48 + [None] * 48, "red")])
    drawn = "".join(row[:10] for row in rows)
    assert set(drawn) != {BLANK}
    assert all(row[10:] == BLANK * 10 for row in rows)


def test_a_chart_without_any_line_is_blank() -> None:
    assert set("".join(_rows([Line([], "red")]))) == {BLANK}


def test_a_step_is_drawn_as_one_connected_line() -> None:
    rows = _rows([Line([0.0] * 48 + [4.0] * 48, "red")])
    assert all(set(row) != {BLANK} for row in rows)


def test_the_line_named_first_is_seen_where_lines_meet() -> None:
    text = chart([Line([1.0] * 96, "red"), Line([1.0] * 96, "blue")], 27, 1)
    styles = {str(span.style) for span in text.spans}
    assert "red" in styles
    assert "blue" not in styles


def test_the_window_is_marked_and_only_the_window() -> None:
    text = chart([Line([1.0] * 96, "red")], 7 + 96, 1, Window(68, 76))
    marked = [span for span in text.spans if "grey23" in str(span.style)]
    assert sum(span.end - span.start for span in marked) == 8
    assert marked[0].start == 7 + 68


def test_negative_values_lie_on_the_floor() -> None:
    rows = _rows([Line([-3.0] * 96, "red"), Line([3.0] * 96, "blue")])
    assert set(rows[3]) != {BLANK}


@pytest.mark.parametrize(
    ("first", "count", "shows"),
    [
        pytest.param(0, 24, ["00", "03", "12", "21"], id="a day"),
        pytest.param(14, 6, ["14", "15", "19"], id="a window"),
        pytest.param(23, 24, ["23", "02"], id="a day that begins at 23 UTC"),
    ],
)
def test_the_axis_names_the_hours(first: int, count: int, shows: list[str]) -> None:
    axis = hours(80, first, count).plain
    assert len(axis) == 80
    for hour in shows:
        assert hour in axis
