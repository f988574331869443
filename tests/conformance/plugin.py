"""A pytest plugin that gathers which criteria the tests prove.

A test claims a criterion by its name (`test_evt_16_...`) or by `@pytest.mark.criterion("EVT-16", "ERR-03")`.
With `who` ("vtn", "ven" or "both") the marker says for which side of a criterion of both the test speaks;
without it a test in `tests/vtn` speaks for the VTN, one in `tests/ven` for the VEN, another for both.

It gathers likewise which goals they prove (`@pytest.mark.goal(12)`, see `goals.py`).

    pytest --conformance FILE        writes the table of what ran
    pytest --goals FILE              writes the page of the goals
    pytest --conformance-strict      the run fails when one of the two has faults (whole runs only)

With pytest-xdist the workers tell what their tests claim, and the process that hears all reports judges.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.conformance.goals import PAGE, Goals, read_goals
from tests.conformance.table import (
    SIDES,
    Proof,
    Table,
    ids_in_name,
    read_criteria,
    read_excuses,
    read_states,
)

_MARKER = "criterion(*ids, who=None): the criteria that this test proves, for the side who (vtn, ven or both)"
_GOAL_MARKER = "goal(*numbers): the goals of docs/goals.md that this test proves"
_WHOLE_RUNS = ("", "not long")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two options of the table."""
    group = parser.getgroup("conformance")
    group.addoption("--conformance", type=Path, metavar="FILE", help="write the conformance table to FILE")
    group.addoption("--goals", type=Path, metavar="FILE", help="write the page of the goals to FILE")
    group.addoption(
        "--conformance-strict", action="store_true", help="fail a whole run if one of the two has faults"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin with an empty ledger of claims."""
    config.addinivalue_line("markers", _MARKER)
    config.addinivalue_line("markers", _GOAL_MARKER)
    config.pluginmanager.register(Claims(config), "conformance-claims")


class Claims:
    """What the tests of a session claim, and what became of them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        # by node: the test, and the sides by criterion; the test, the numbers, and whether it is long
        self._claims: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {}
        self._for_goals: dict[str, tuple[str, list[int], bool]] = {}
        self._passed: set[str] = set()
        self._failed: set[str] = set()
        self._skipped: set[str] = set()
        self._criteria = read_criteria()
        self._faults: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Before anything is deselected: the page of the goals names long tests too."""
        for item in items:
            if isinstance(item, pytest.Function):
                path = PurePosixPath(item.path.relative_to(config.rootpath))
                self._claim(item, f"{path.as_posix().removeprefix('tests/')}::{item.originalname}")

    def _claim(self, item: pytest.Function, test: str) -> None:
        if claimed := self._claimed(item):
            self._claims[item.nodeid] = (test, claimed)
        if numbers := [number for marker in item.iter_markers("goal") for number in marker.args]:
            long = item.get_closest_marker("long") is not None
            self._for_goals[item.nodeid] = (test, numbers, long)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of pytest-xdist has ended: all have collected the same; one that crashed tells nothing."""
        told = getattr(node, "workeroutput", {})
        self._claims.update(told.get("claims", {}))
        self._for_goals.update(told.get("claims_for_goals", {}))

    def _claimed(self, item: pytest.Function) -> dict[str, tuple[str, ...]]:
        folders = item.path.relative_to(item.config.rootpath).parts
        claimed: dict[str, tuple[str, ...]] = {}
        for marker in item.iter_markers("criterion"):
            for name in marker.args:
                claimed[name] = (*claimed.get(name, ()), *self._sides(name, folders, **marker.kwargs))
        for name in ids_in_name(item.originalname):
            claimed.setdefault(name, self._sides(name, folders))
        return claimed

    def _sides(self, name: str, folders: tuple[str, ...], who: str | None = None) -> tuple[str, ...]:
        criterion = self._criteria.get(name)
        if criterion is None:
            return ()
        if who is None and len(criterion.sides) == 1:
            return criterion.sides
        named = _sides_of(folders, who) or criterion.sides
        return tuple(side for side in named if side in criterion.sides)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.add(report.nodeid)
        elif report.when == "call" and report.passed:
            self._passed.add(report.nodeid)
        elif report.skipped:
            self._skipped.add(report.nodeid)

    def proofs(self) -> Iterator[Proof]:
        """The claims of the tests that ran to an end; one that was skipped proves nothing."""
        for node in self._passed | self._failed:
            test, claimed = self._claims.get(node, ("", {}))
            for name, sides in claimed.items():
                yield Proof(name, sides, test, node not in self._failed)

    def goals(self) -> Goals:
        """The goals with the claims of all that was collected."""
        goals = Goals(read_goals())
        for node, (test, numbers, long) in self._for_goals.items():
            goals.claim(numbers, node, test, long=long)
        return goals

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        told = getattr(self._config, "workeroutput", None)
        if told is None:
            self._write_and_judge(session, exitstatus)
        else:  # this is a worker of pytest-xdist
            told |= {"claims": self._claims, "claims_for_goals": self._for_goals}

    def _write_and_judge(self, session: pytest.Session, exitstatus: int) -> None:
        table, goals = Table(self._criteria, read_excuses(), self.proofs()), self.goals()
        if path := self._config.getoption("--conformance"):
            path.write_text(table.render(), "utf-8")
        if path := self._config.getoption("--goals"):
            path.write_text(goals.render(), "utf-8")
        if not _is_whole(self._config, exitstatus):
            return
        page = self._config.rootpath / "docs" / "conformance.md"
        self._faults = table.faults(read_states(page.read_text("utf-8")) if page.exists() else {})
        page = self._config.rootpath / PAGE
        said = page.read_text("utf-8") if page.exists() else ""
        # what says why it cannot run on this machine is no fault
        self._faults += goals.faults(self._passed | self._skipped, self._failed, said)
        if (
            self._faults
            and self._config.getoption("--conformance-strict")
            and exitstatus == pytest.ExitCode.OK
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._faults:
            terminalreporter.section("conformance", sep="-")
            for fault in self._faults:
                terminalreporter.write_line(fault)
            terminalreporter.write_line(f"{len(self._faults)} faults in the conformance table or the goals")


def _sides_of(folders: tuple[str, ...], who: str | None) -> tuple[str, ...] | None:
    """The sides that a test speaks for: as it says, else by its folder; None leaves it to the criterion."""
    if who is not None:
        named = {name.lower(): sides for name, sides in SIDES.items()}
        if who.lower() not in named:
            raise pytest.UsageError(f"who={who!r} is none of vtn, ven and both")
        return named[who.lower()]
    return ("VTN",) if "vtn" in folders else ("VEN",) if "ven" in folders else None


def _is_whole(config: pytest.Config, exitstatus: int) -> bool:
    """Whether every test of the gate ran: no paths, no selection, no early end."""
    option = config.option
    ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    chosen = (
        option.keyword or option.ignore or option.ignore_glob or option.deselect or option.maxfail
        or getattr(option, "lf", False) or getattr(option, "stepwise", False) or option.collectonly
    )  # fmt: skip
    from_settings = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return bool(ended and from_settings and not chosen and option.markexpr in _WHOLE_RUNS)
