"""The two scripts for outsiders judge the published evidence as we do, without a line of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.vectors.make import SEALED

ROOT = Path(__file__).parents[2]
LEAF = ROOT / "docs" / "verify" / "leaf_to_checkpoint.py"
HEADER = ROOT / "docs" / "verify" / "checkpoint_to_header.py"
EVIDENCE = ROOT / "docs" / "evidence.md"
VECTORS = Path(__file__).parent / "vectors"
OURS = ["openadr", "vtn", "ven", "feid", "aggregator", "ledger", "flexpact", "tests"]
OUTSIDERS = {LEAF: ["cryptography"], HEADER: []}
MAX_LINES = 100

# Runs a script once for each list of arguments, in a process that cannot import what is ours.
DRIVER = """
import contextlib, importlib.abc, io, json, runpy, sys

class Forbidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in forbidden:
            raise AssertionError("imports " + name)

script, forbidden, runs = json.load(sys.stdin)
sys.meta_path.insert(0, Forbidden())
done = []
for arguments in runs:
    sys.argv = [script, *arguments]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            runpy.run_path(script, run_name="__main__")
            code = 0
        except SystemExit as stop:
            code = stop.code
    done.append((code, said.getvalue()))
json.dump(done, sys.stdout)
"""


def run(script: Path, runs: list[list[str]]) -> list[tuple[int, str]]:
    """Exit code and output of each run."""
    # Without site-packages where the standard library is enough.
    flags = ["-I"] if OUTSIDERS[script] else ["-I", "-S"]
    command = [sys.executable, *flags, "-c", DRIVER]
    sent = json.dumps([str(script), OURS, runs])
    done = subprocess.run(command, input=sent, capture_output=True, text=True, check=False, cwd="/")
    assert done.stderr == ""
    found = [(code, said) for code, said in json.loads(done.stdout)]
    for code, said in found:
        assert (code, said.partition(": ")[0]) in {(0, "ok"), (1, "FAILED")}
    return found


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_bytes())


GOOD: list[dict[str, Any]] = load("good.json")
BAD: list[dict[str, Any]] = load("bad.json")
JOINED: dict[str, list[dict[str, Any]]] = load("validator_sets.json")
LOG_KEY = json.loads((VECTORS / "formats.json").read_bytes())["checkpoint"]["log_key"]


def files(folder: Path, case: dict[str, Any]) -> tuple[str, str]:
    """A case's record and receipt, as files."""
    folder.mkdir()
    for kind in ("record", "receipt"):
        (folder / kind).write_bytes(case[kind].encode())
    return str(folder / "record"), str(folder / "receipt")


def leaf_runs(folder: Path, cases: list[dict[str, Any]]) -> list[tuple[int, str]]:
    runs = [[*files(folder / str(number), case), LOG_KEY] for number, case in enumerate(cases)]
    return run(LEAF, runs)


def header_runs(folder: Path, cases: list[dict[str, Any]]) -> list[tuple[int, str]]:
    runs = []
    for number, case in enumerate(cases):
        _, receipt = files(folder / str(number), case)
        lines = (line.partition(" = ")[::2] for line in case["trust"].splitlines())
        trust = {name: value.strip('"') for name, value in lines}
        known = {
            "--chain": trust.get("id"),
            "--contract": trust.get("contract"),
            "--block": trust.get("header"),
        }
        runs.append([receipt, *(word for name, value in known.items() if value for word in (name, value))])
    return run(HEADER, runs)


def trust_runs(folder: Path, cases: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """The second script with the case's trust file."""
    runs = []
    for number, case in enumerate(cases):
        _, receipt = files(folder / str(number), case)
        (folder / str(number) / "trust").write_bytes(case["trust"].encode())
        runs.append([receipt, "--trust", str(folder / str(number) / "trust")])
    return run(HEADER, runs)


@pytest.mark.goal(51)
def test_the_scripts_are_short_and_import_nothing_of_ours() -> None:
    assert len(LEAF.read_text("utf-8").splitlines()) <= MAX_LINES
    for script, outsiders in OUTSIDERS.items():
        lines = [line.split() for line in script.read_text("utf-8").splitlines()]
        modules = {words[1].partition(".")[0] for words in lines if words[:1] in (["import"], ["from"])}
        assert modules - set(sys.stdlib_module_names) == set(outsiders)


@pytest.mark.goal(51)
def test_good_evidence_holds_for_both(tmp_path: Path) -> None:
    (tmp_path / "leaf").mkdir()
    (tmp_path / "header").mkdir()
    assert [code for code, _ in leaf_runs(tmp_path / "leaf", GOOD)] == [0] * len(GOOD)
    found = header_runs(tmp_path / "header", GOOD)
    assert [code for code, _ in found] == [0] * len(GOOD)
    blocks = {case["name"]: said for case, (_, said) in zip(GOOD, found, strict=True)}
    # Besu's hash of a block, which leaves out round and seals, was held against the trust file's.
    assert "with 4 seals that are not checked here" in blocks["a trusted block and validators"]


def test_good_seals_hold_against_the_validators_of_their_blocks_time(tmp_path: Path) -> None:
    one_list = [case for case in GOOD if case["name"] == "three seals of four, in the second round"]
    cases = [*one_list, *JOINED["good"][:1], *JOINED["good"][2:5:2]]
    found = trust_runs(tmp_path, cases)
    assert [code for code, _ in found] == [0] * len(cases)
    said = {case["name"]: text for case, (_, text) in zip(cases, found, strict=True)}
    assert "sealed by 3 of 4 validators, 3 needed" in said["three seals of four, before a fifth joined"]
    assert (
        "sealed by 4 of 5 validators, 4 needed" in said["four seals of five, in the first block of the five"]
    )


def test_bad_seals_and_trust_files_fail_there_too(tmp_path: Path) -> None:
    bad = [case for case in BAD if case["failed"]["step"] in ("contract", "seals", "header")]
    same = "the same set again"  # told by flexpact verify alone: it changes no judgement
    cases = [*bad, *(case for case in JOINED["bad"] if case["name"] != same)]
    assert len(cases) > 20
    found = trust_runs(tmp_path, cases)
    assert [case["name"] for case, (code, _) in zip(cases, found, strict=True) if code != 1] == []
    said = {case["name"]: text for case, (_, text) in zip(cases, found, strict=True)}
    assert said["three seals of five: the old quorum in a new block"].startswith(
        "FAILED: seals: expected 4 of 5 validators, got 3"
    )


def test_a_voucher_that_the_script_does_not_know_is_refused(tmp_path: Path) -> None:
    anchor = SEALED.receipt.anchor
    other = replace(SEALED.receipt, anchor=replace(anchor, vouched_by="committee"))
    (tmp_path / "receipt").write_bytes(other.to_file())
    ((code, said),) = run(HEADER, [[str(tmp_path / "receipt")]])
    assert code == 1
    assert "expected aggregator or validators to vouch for the header, got b'committee'" in said


@pytest.mark.goal(51)
def test_bad_evidence_fails_at_the_script_that_checks_its_step(tmp_path: Path) -> None:
    in_leaf = [case for case in BAD if case["failed"]["step"] in ("record", "inclusion") or _signature(case)]
    in_header = [
        case for case in BAD if case["failed"]["step"] in ("contract", "header", "account", "storage")
    ]
    (tmp_path / "leaf").mkdir()
    (tmp_path / "header").mkdir()
    assert len(in_leaf) > 10 < len(in_leaf + in_header)
    assert [code for code, _ in leaf_runs(tmp_path / "leaf", in_leaf)] == [1] * len(in_leaf)
    assert [code for code, _ in header_runs(tmp_path / "header", in_header)] == [1] * len(in_header)


def _signature(case: dict[str, Any]) -> bool:
    return case["failed"]["step"] == "checkpoint" and bool(case["steps"])


def test_no_evidence_however_malformed_is_more_than_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "leaf").mkdir()
    (tmp_path / "header").mkdir()
    receipts = [case for case in BAD if case["failed"]["step"] in ("receipt", "checkpoint", "seals")]
    for code, said in [*leaf_runs(tmp_path / "leaf", BAD), *header_runs(tmp_path / "header", receipts)]:
        assert code == 0 or said.count("\n") == 1


@pytest.mark.parametrize("kind", ["record", "receipt"])
def test_a_changed_byte_is_found_by_one_of_them(kind: str, tmp_path: Path) -> None:
    case = GOOD[0]
    raw = case[kind].encode("ascii", "surrogateescape") if kind == "record" else case[kind].encode()
    ends = raw.index(b"\nindex") if kind == "receipt" else 0
    cases = []
    for at in range(0, len(raw), 37):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        if changed.isascii() or kind == "receipt":
            cases.append({**case, kind: changed.decode("utf-8", "replace"), "at": at})
    (tmp_path / "leaf").mkdir()
    (tmp_path / "header").mkdir()
    first = [code for code, _ in leaf_runs(tmp_path / "leaf", cases)]
    second = [0] * len(cases) if kind == "record" else [c for c, _ in header_runs(tmp_path / "header", cases)]
    accepted = [
        case["at"] for case, one, two in zip(cases, first, second, strict=True) if not one and not two
    ]
    assert accepted == []
    assert any(at < ends for at in (case["at"] for case in cases)) == (kind == "receipt")


def test_the_run_in_the_docs_says_what_it_says_there() -> None:
    runs = [part.split("\n```")[0] for part in EVIDENCE.read_text("utf-8").split("\n$ python3 docs/verify/")]
    blocks = "\n".join(f"$ {part}" for part in runs[1:])
    said = []
    for line in blocks.splitlines():
        if not line.startswith("$ "):
            continue
        command = [sys.executable, str(ROOT / "docs" / "verify" / line[2:].split()[0]), *line.split()[2:]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        said.append(f"{line}\n{done.stdout}")
    assert len(said) == 2
    assert "".join(said) == f"{blocks}\n"
