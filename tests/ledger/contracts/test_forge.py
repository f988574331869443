"""The contracts' own tests, by forge: they pass, and they reach the lines of every contract."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.contracts import build, coverage, forge, gas, slither


def test_the_contracts_tests_pass() -> None:
    done = forge.run(["test"], build.default_cache())
    assert done.returncode == 0, done.stdout
    (total,) = re.findall(r"(\d+) tests passed, 0 failed, 0 skipped \(\d+ total tests\)\s*$", done.stdout)
    assert int(total) >= len(list((build.HERE / "test").glob("*.t.sol")))


def test_the_program_ends_as_forge_does() -> None:
    command = [sys.executable, "-m", "ledger.contracts.forge", "no-such-command"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "unrecognized subcommand" in done.stdout


def test_a_missing_tool_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build, "default_cache", lambda: tmp_path / "cache")
    with pytest.raises(SystemExit, match="contracts: npm is missing"):
        forge.main()


def test_another_machine_is_told_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "installed-lock.json").write_bytes((build.HERE / "package-lock.json").read_bytes())
    with pytest.raises(build.BuildError, match="forge is not made for this machine"):
        build.foundry("forge", tmp_path)


def test_the_documents_gas_is_what_is_measured() -> None:
    fresh = gas.table(build.default_cache())
    assert fresh.count("deployment") == len(build.CONTRACTS)
    assert f"<!-- gas -->\n{fresh}<!-- end of gas -->" in gas.DOCUMENT.read_text(encoding="utf-8")


def test_the_gas_is_not_measured_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "COMPILER", tmp_path / "solc.js")
    with pytest.raises(SystemExit, match="contracts: the gas is not measured"):
        gas.main()
    with pytest.raises(SystemExit, match="contracts: forge failed"):
        slither.main()
    with pytest.raises(SystemExit, match="contracts: the coverage is not measured"):
        coverage.main()


def test_without_uv_slither_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="contracts: uv is missing"):
        slither.main()


@pytest.mark.long
def test_what_slither_cannot_analyse_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uv").write_text("#!/bin/sh\necho no such version >&2\n")
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(build, "CONTRACTS", ("CheckpointLog",))
    with pytest.raises(SystemExit, match="contracts: slither failed: no such version"):
        slither.main()


def test_a_finding_without_an_answer_and_an_answer_without_a_finding_are_listed(tmp_path: Path) -> None:
    (tmp_path / "contracts.md").write_text(
        "<!-- slither -->\n| timestamp | `A.gone` | why |\n<!-- end of slither -->\n"
    )
    assert slither.differences({("timestamp", "A.fresh")}, tmp_path / "contracts.md") == [
        "without an answer: timestamp in A.fresh",
        "answered, but not found: timestamp in A.gone",
    ]


def test_an_answer_to_slither_is_a_row_with_the_functions_it_is_for(tmp_path: Path) -> None:
    document = tmp_path / "contracts.md"
    document.write_text(
        "| timestamp | `A.outside` | no |\n<!-- slither -->\n| detector | where | answer |\n|---|---|---|\n"
        "| timestamp | `A.first`, `A.second` | of `B.third` |\n<!-- end of slither -->\n"
    )
    assert slither.answered(document) == {("timestamp", "A.first"), ("timestamp", "A.second")}


@pytest.mark.long
def test_each_finding_of_slither_is_answered() -> None:
    findings = slither.found(build.default_cache())
    assert findings == slither.answered(gas.DOCUMENT)
    assert findings


@pytest.mark.long
def test_longer_runs_with_other_values_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_PROFILE", "long")
    done = forge.run(["test"], build.default_cache())
    assert done.returncode == 0, done.stdout


@pytest.mark.long
def test_the_tests_reach_every_contract_and_the_document_says_how_far() -> None:
    found = coverage.measured(build.default_cache())
    assert {f"{name}.sol" for name in build.CONTRACTS} <= set(found)
    assert {name: one for name, one in found.items() if one.least < coverage.GOAL} == {}
    assert coverage.table(found) in gas.DOCUMENT.read_text(encoding="utf-8")


def test_the_document_shows_a_coverage_above_the_goal_and_conditions_are_written_so_that_they_count() -> None:
    shown = gas.DOCUMENT.read_text(encoding="utf-8").partition("<!-- coverage -->\n")[2]
    rows = shown.partition("<!-- end of coverage -->")[0].splitlines()[2:]
    assert {f"| `{path.name}`" for path in build.HERE.glob("*.sol") if not path.name.startswith("I")} == {
        row.partition(" |")[0] for row in rows if "`" in row
    }
    shares = [float(share) for row in rows for share in re.findall(r"([\d.]+) %", row)]
    assert len(shares) >= 3 * len(rows)
    assert min(shares) >= 100 * coverage.GOAL
    hidden = [
        path.name for path in build.HERE.glob("*.sol") if "require(" in path.read_text(encoding="utf-8")
    ]
    assert hidden == []


SUMMARY = """
| File | % Lines | % Statements | % Branches | % Funcs |
|------+---------+--------------+------------+---------|
| /cache/node_modules/Math.sol | 1.00% (1/100) | 1.00% (1/100) | 1.00% (1/100) | 1.00% (1/100) |
| First.sol  | 100.00% (12/12) | 90.00% (9/10) | 50.00% (1/2) | 100.00% (3/3) |
| Second.sol | 50.00% (6/12) | 100.00% (10/10) | 100.00% (0/0) | 100.00% (3/3) |
| test/First.t.sol | 1.00% (1/100) | 1.00% (1/100) | 1.00% (1/100) | 1.00% (1/100) |
| Total | 1.00% (1/100) | 1.00% (1/100) | 1.00% (1/100) | 1.00% (1/100) |
"""


def test_the_coverage_is_that_of_our_sources_alone() -> None:
    found = coverage.read(SUMMARY)
    assert {name: one.least for name, one in found.items()} == {"First.sol": 0.5, "Second.sol": 0.5}
    assert coverage.table(found).splitlines()[2:] == [
        "| `First.sol` | 100.0 % (12/12) | 90.0 % (9/10) | 50.0 % (1/2) | 100.0 % (3/3) |",
        "| `Second.sol` | 50.0 % (6/12) | 100.0 % (10/10) | none | 100.0 % (3/3) |",
        "| all | 75.0 % (18/24) | 95.0 % (19/20) | 50.0 % (1/2) | 100.0 % (6/6) |",
    ]


def test_too_low_a_coverage_ends_with_an_error_that_names_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "contracts.md"
    document.write_text("before\n<!-- coverage -->\nold\n<!-- end of coverage -->\nafter\n")
    monkeypatch.setattr(gas, "DOCUMENT", document)
    monkeypatch.setattr(coverage, "measured", lambda _cache: coverage.read(SUMMARY))
    with pytest.raises(SystemExit, match=r"less than 95% is reached: First\.sol 50\.0%, Second\.sol 50\.0%"):
        coverage.main()
    table = coverage.table(coverage.read(SUMMARY))
    assert document.read_text() == f"before\n<!-- coverage -->\n{table}<!-- end of coverage -->\nafter\n"
