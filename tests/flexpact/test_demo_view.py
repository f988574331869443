from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

from rich.console import Console

from flexpact.demo.snapshot import Curves, Evidence, NodeRow, Snapshot
from flexpact.demo.view import LiveView, PlainView

START = datetime(2026, 1, 20, tzinfo=UTC)
SNAPSHOT = Snapshot(START, "the day begins", 0.0, [NodeRow("node-1", True)], Curves(START), Evidence())
ENTER_SCREEN, LEAVE_SCREEN = "\x1b[?1049h", "\x1b[?1049l"


def terminal() -> tuple[Console, StringIO]:
    out = StringIO()
    return Console(file=out, force_terminal=True, width=100, height=36), out


def test_without_a_terminal_each_phase_is_a_line_and_snapshots_are_not_shown() -> None:
    out = StringIO()
    with PlainView(Console(file=out)) as view:
        view.phase("the aggregator starts")
        view.show(SNAPSHOT)
    assert out.getvalue() == "    0 s  the aggregator starts\n"


def test_the_live_view_draws_in_place_and_gives_the_terminal_back() -> None:
    console, out = terminal()
    with LiveView(console) as view:
        view.phase("keys and settings")
        assert ENTER_SCREEN not in out.getvalue()
        view.show(SNAPSHOT)
        view.show(replace(SNAPSHOT, phase="the event is on"))
    drawn = out.getvalue()
    assert "keys and settings" in drawn
    assert "the event is on" in drawn
    assert drawn.count(ENTER_SCREEN) == 1
    assert drawn.index(LEAVE_SCREEN) > drawn.index("the event is on")


def test_the_terminal_is_given_back_also_when_the_demo_fails() -> None:
    console, out = terminal()
    try:
        with LiveView(console) as view:
            view.show(SNAPSHOT)
            raise RuntimeError
    except RuntimeError:
        pass
    assert LEAVE_SCREEN in out.getvalue()


def test_a_phase_is_not_printed_over_the_screen() -> None:
    console, out = terminal()
    with LiveView(console) as view:
        view.show(SNAPSHOT)
        view.phase("printed over it")
    assert "printed over it" not in out.getvalue()
