"""The plugin sees what ran, and judges whole runs only."""

from __future__ import annotations

import pytest

from tests.conformance.table import read_states

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_evt_16_order(number):
    pass

@pytest.mark.criterion("GEN-01", "VEX-06")
def test_marked():
    pass

@pytest.mark.criterion("GEN-02", who="both")
def test_for_both():
    pass

@pytest.mark.criterion("EVT-17", who="ven")
def test_for_nobody_whom_it_concerns():
    pass

def test_evt_15_limit():
    assert False

def test_evt_14_empty(broken):
    pass

@pytest.fixture
def broken():
    raise ValueError

def test_evt_13_whole():
    pytest.skip("not here")

@pytest.mark.criterion("GEN-99")
def test_unknown():
    pass

@pytest.mark.long
@pytest.mark.goal(12)
def test_of_an_hour():
    assert False
"""
WRITE = ["-m", "not long", "--conformance", "page.md", "--goals", "goals.md"]


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with one test file of the VTN's, and settings that name its tests."""
    pytester.makeini(
        "[pytest]\ntestpaths = tests\naddopts = --strict-markers -p tests.conformance.plugin"
        " -p no:schemathesis -p no:hypothesispytest\nmarkers = long\n"
        "asyncio_default_fixture_loop_scope = function"
    )
    folder = pytester.mkdir("tests") / "vtn"
    folder.mkdir()
    (folder / "test_it.py").write_text(TESTS)
    return pytester


def states(suite: pytest.Pytester, *options: str) -> dict[str, str]:
    suite.runpytest_inprocess("--conformance", "page.md", *options)
    return read_states((suite.path / "page.md").read_text())


def test_names_and_markers_become_states(suite: pytest.Pytester) -> None:
    found = states(suite)
    assert len(found) == 305
    assert {name: state for name, state in found.items() if state != "open"} == {
        "EVT-16": "pass",
        "GEN-01": "open for VEN",
        "GEN-02": "pass",
        "VEX-06": "pass",
    }


def test_page_names_a_test_once_however_many_examples_it_has(suite: pytest.Pytester) -> None:
    states(suite)
    assert "| `vtn/test_it.py::test_evt_16_order` | pass |" in (suite.path / "page.md").read_text()


def test_faults_are_shown_after_a_whole_run(suite: pytest.Pytester) -> None:
    shown = suite.runpytest_inprocess().stdout.str()
    assert "EVT-15 (VTN): failed: vtn/test_it.py::test_evt_15_limit\n" in shown
    assert "vtn/test_it.py::test_unknown: GEN-99 is no criterion\n" in shown
    assert "docs/conformance.md says nothing of GEN-01" in shown
    assert " faults in the conformance table or the goals" in shown


def test_workers_make_the_same_pages_and_leave_the_verdict_to_one(suite: pytest.Pytester) -> None:
    """Each sees all that is collected, long tests too, and a part of what ran."""
    made = []
    for options in ([], ["-n", "2"]):
        shown = suite.runpytest_inprocess(*WRITE, *options).stdout.str()
        assert shown.count("EVT-15 (VTN): failed: vtn/test_it.py::test_evt_15_limit\n") == 1
        assert "goal 12: no passing test\n" in shown
        made.append([(suite.path / page).read_text() for page in ("page.md", "goals.md")])
    assert made[0] == made[1]
    assert read_states(made[0][0])["EVT-16"] == "pass"
    assert "| `vtn/test_it.py::test_of_an_hour` (long) |" in made[0][1]


@pytest.mark.parametrize("options", [["tests"], ["-k", "evt"], ["-m", "long"], ["--maxfail=9"]])
def test_part_of_a_run_is_not_judged(suite: pytest.Pytester, options: list[str]) -> None:
    assert "conformance table" not in suite.runpytest_inprocess(*options).stdout.str()


@pytest.mark.parametrize(
    ("options", "code"), [([], 0), (["--conformance-strict"], 1)], ids=["told", "strict"]
)
def test_faults_fail_a_strict_run_only(suite: pytest.Pytester, options: list[str], code: int) -> None:
    (suite.path / "tests" / "vtn" / "test_it.py").write_text("def test_evt_16_order(): pass")
    assert suite.runpytest_inprocess(*options).ret == code


def test_strange_side_is_an_error(suite: pytest.Pytester) -> None:
    strange = "import pytest\n\n@pytest.mark.criterion('GEN-01', who='nobody')\ndef test_it(): pass"
    (suite.path / "tests" / "vtn" / "test_it.py").write_text(strange)
    shown = suite.runpytest_inprocess()
    assert shown.ret == pytest.ExitCode.USAGE_ERROR
    shown.stderr.fnmatch_lines(["ERROR: who='nobody' is none of vtn, ven and both"])
