import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rich.console import Console

from flexpact.demo.screen import picture, render
from flexpact.demo.snapshot import Curves, EventRow, Evidence, NodeRow, Snapshot

START = datetime(2026, 1, 20, tzinfo=UTC)
EMPTY = Snapshot(START, "history", 0.0, [NodeRow("node-1", False)], Curves(START), Evidence())
BUSY = Snapshot(
    START + timedelta(hours=18),
    "the event is on",
    0.75,
    [NodeRow("node-1", True, 12.34, 5.0, "optIn", "active"), NodeRow("node-2", True, None, None, "optOut")],
    Curves(START, [5.0] * 72 + [None] * 24, [None] * 60 + [8.0] * 36, [6.0] * 96),
    Evidence(42, 7, 40, "block 9"),
    EventRow("event-7", START + timedelta(hours=17), START + timedelta(hours=19), 5.0, "active", 10.0, 8.5),
    "logs in demo-out/logs",
)


def _text(snapshot: Snapshot, width: int = 100) -> str:
    console = Console(width=width, record=True)
    with console.capture() as captured:
        console.print(render(snapshot, width))
    return captured.get()


def test_the_screen_says_what_the_snapshot_holds() -> None:
    shown = _text(BUSY)
    words = [
        "18:00 UTC", "the event is on", "12.3", "optIn", "optOut", "17:00-19:00", "leaves 42",
        "checkpoints 7", "anchored 40", "block 9", "demo-out/logs", "8.5 kWh delivered of 10.0",
    ]  # fmt: skip
    assert [word for word in words if word not in shown] == []


def test_before_anything_happened_the_screen_stands_already() -> None:
    shown = _text(EMPTY)
    assert "none yet" in shown
    assert "node-1" in shown


def test_the_screen_has_the_same_height_before_and_during_the_event() -> None:
    one_more_row = 1  # BUSY has one node more
    assert _text(BUSY).count("\n") == _text(EMPTY).count("\n") + one_more_row
    assert _text(BUSY).count("\n") <= 36


def test_a_narrow_terminal_gets_no_line_wider_than_itself() -> None:
    assert max(len(line) for line in _text(BUSY, 60).splitlines()) <= 60


def test_the_ways_into_the_dashboard_stand_whole_in_the_smallest_usual_terminal() -> None:
    look, admin = (f"{name}: http://127.0.0.1:53849/link/{'x' * 43}" for name in ("look", "admin"))
    lines = _text(replace(BUSY, note=f"{look}\n{admin}"), 80).splitlines()[:24]
    assert [link for link in (look, admin) if not any(link in line for line in lines)] == []


def test_the_picture_is_svg_that_loads_nothing() -> None:
    svg = picture(BUSY)
    assert svg.lstrip().startswith("<svg")
    links = [link for link in re.findall(r"https?://[^\"') ]+", svg) if "w3.org" not in link]
    assert [link for link in links if "textualize" not in link] == []
    assert "url(http" not in svg
