"""The goals of security, durability and delivery: what each asks, and which tests claim to prove it.

A test claims goals by `@pytest.mark.goal(12, 13)`. Each goal has a test in the gate; long ones come on top.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

PAGE = Path("docs/goals.md")
HERE = Path(__file__).parent
_HEAD = [
    "# Goals",
    "",
    "What this project promises of security, durability and delivery, and the tests that prove it. Written",
    "by a test run, never by hand; the gate refuses a goal without a passing test and a page of another run:",
    "",
    "    .venv/bin/pytest -m 'not long' --goals docs/goals.md",
    "",
    "Numbers that stand for a machine's speed are printed by what is named in `benchmarks/`; the tests judge",
    "them relative to other work of the same run. Tests marked *long* run with `./run test --all`.",
    "",
    "| goal | in short | tests |",
    "| --- | --- | --- |",
]


def read_goals(path: Path = HERE / "goals.toml") -> dict[int, str]:
    """What each goal asks, by its number."""
    return {int(number): short for number, short in tomllib.loads(path.read_text("utf-8")).items()}


class Goals:
    """The goals with the claims of one collection, and what became of their tests."""

    def __init__(self, goals: Mapping[int, str]) -> None:
        self._goals = goals
        self._tests: dict[int, dict[str, bool]] = {number: {} for number in goals}  # the test: whether long
        self._nodes: dict[int, dict[str, str]] = {number: {} for number in goals}  # the node: its test
        self._unknown: set[str] = set()

    def claim(self, numbers: Collection[int], node: str, test: str, *, long: bool) -> None:
        """This test speaks for these goals."""
        for number in numbers:
            if number not in self._goals:
                self._unknown.add(f"{test}: {number} is no goal")
                continue
            self._tests[number][test] = long and self._tests[number].get(test, True)
            self._nodes[number][node] = test

    def render(self) -> str:
        """The page: a row for each goal."""
        rows = (f"| {number} | {short} | {self._cell(number)} |" for number, short in self._goals.items())
        return "\n".join([*_HEAD, *rows, ""])

    def _cell(self, number: int) -> str:
        tests = sorted(self._tests[number].items(), key=lambda item: (item[1], item[0]))
        return "; ".join(f"`{test}`{' (long)' if long else ''}" for test, long in tests)

    def faults(self, passed: Collection[str], failed: Collection[str], page: str) -> Iterator[str]:
        """What is wrong, a line each: unknown, without a passing test, failed, a page of another run."""
        yield from sorted(self._unknown)
        for number, nodes in self._nodes.items():
            if broken := sorted({test for node, test in nodes.items() if node in failed}):
                yield f"goal {number}: failed: {', '.join(broken)}"
            elif not any(node in passed for node in nodes):
                yield f"goal {number}: no passing test"
        if page != self.render():  # of all tests that were collected, long ones too
            yield f"{PAGE} is of another run: write it with --goals {PAGE}"
