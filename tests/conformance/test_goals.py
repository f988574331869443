"""The page of the goals says what the tests claim, and a goal without a passing test is a fault."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.conformance.goals import HERE, PAGE, Goals, read_goals

ROOT = Path(__file__).parents[2]
WANTED = {*range(1, 28), *range(29, 32), 33, 34, 38, 45, *range(47, 52)}
WANTED |= {28, 32, 43, 52, 66, *range(69, 78), 79, 82, 84, 85, 86, 88}
GOALS = {1: "one", 2: "two"}


def claimed() -> Goals:
    """Two goals, one of which has a long test too."""
    goals = Goals(GOALS)
    goals.claim([1, 2], "a.py::test_x[1]", "a.py::test_x", long=False)
    goals.claim([1], "a.py::test_x[2]", "a.py::test_x", long=False)
    goals.claim([2], "b.py::test_y", "b.py::test_y", long=True)
    return goals


def test_every_goal_that_holds_now_is_listed_in_a_line() -> None:
    assert set(read_goals()) == WANTED
    rows = (ROOT / PAGE).read_text("utf-8").splitlines()
    for number, short in read_goals().items():
        (row,) = [each for each in rows if each.startswith(f"| {number} |")]
        assert short in row
        tests = [each for each in row.rpartition(" | ")[2].split("; ") if "(long)" not in each]
        assert tests[0].startswith("`"), f"goal {number} has no test in the gate"


def test_numbers_are_in_their_order() -> None:
    numbers = list(map(int, tomllib.loads((HERE / "goals.toml").read_text("utf-8"))))
    assert numbers == sorted(numbers)


def test_the_page_names_a_test_once_and_long_ones_last() -> None:
    rows = claimed().render().splitlines()[-2:]
    assert rows == ["| 1 | one | `a.py::test_x` |", "| 2 | two | `a.py::test_x`; `b.py::test_y` (long) |"]


@pytest.mark.parametrize(
    ("passed", "failed", "faults"),
    [
        (["a.py::test_x[1]"], [], []),
        (["a.py::test_x[2]"], [], ["goal 2: no passing test"]),
        ([], [], ["goal 1: no passing test", "goal 2: no passing test"]),
        (["a.py::test_x[1]"], ["b.py::test_y"], ["goal 2: failed: b.py::test_y"]),
        (["a.py::test_x[1]"], ["a.py::test_x[2]"], ["goal 1: failed: a.py::test_x"]),
    ],
)
def test_goals_without_a_passing_test_are_faults(
    passed: list[str], failed: list[str], faults: list[str]
) -> None:
    goals = claimed()
    assert list(goals.faults(passed, failed, goals.render())) == faults


def test_an_unknown_goal_and_a_page_of_another_run_are_faults() -> None:
    goals = claimed()
    passed = ["a.py::test_x[1]"]
    assert list(goals.faults(passed, [], "")) == [
        "docs/goals.md is of another run: write it with --goals docs/goals.md"
    ]
    goals.claim([99], "c.py::test_z", "c.py::test_z", long=False)
    assert list(goals.faults(passed, [], goals.render())) == ["c.py::test_z: 99 is no goal"]
