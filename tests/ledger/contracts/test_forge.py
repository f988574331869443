"""The contracts' own tests, by forge: they pass, and they reach the lines of every contract."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.contracts import build, forge, gas, slither

LINES_COVERED = 0.95


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
def test_the_tests_reach_the_lines_of_every_contract(tmp_path: Path) -> None:
    report = tmp_path / "lcov.info"
    arguments = ["coverage", "--ir-minimum", "--report", "lcov", "--report-file", str(report)]
    done = forge.run(arguments, build.default_cache())
    assert done.returncode == 0, done.stdout
    covered = lines_covered(report.read_text(encoding="utf-8"))
    assert {f"{name}.sol" for name in build.CONTRACTS} <= set(covered)
    assert {name: share for name, share in covered.items() if share < LINES_COVERED} == {}


def lines_covered(report: str) -> dict[str, float]:
    """The share of lines that were reached, of each of our sources (the tests' own files left out)."""
    covered = {}
    for part in report.split("end_of_record"):
        name = re.search(r"^SF:(.*)$", part, re.MULTILINE)
        if name is None or Path(name[1]).name != name[1]:
            continue
        hits = [int(count) for count in re.findall(r"^DA:\d+,(\d+)", part, re.MULTILINE)]
        covered[name[1]] = sum(count > 0 for count in hits) / len(hits)
    return covered
