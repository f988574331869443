"""The committed artefacts are what the sources compile to, with the compiler that the lock file names."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ledger import contracts
from ledger.contracts import build

CODE_LIMIT_BYTES = 24_576  # EIP-170; what makes a contract may be twice as long (EIP-3860)


def test_a_changed_source_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in build.HERE.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path / path.name)
    source = (tmp_path / "CheckpointLog.sol").read_text(encoding="utf-8")
    (tmp_path / "CheckpointLog.sol").write_text(source.replace("size <= expectedSize", "size < expectedSize"))
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(build, "CONTRACTS", ("CheckpointLog",))  # the others take seconds to compile
    with pytest.raises(
        build.BuildError, match=r"CheckpointLog\.json is not what CheckpointLog\.sol compiles to"
    ):
        build.check(build.default_cache())
    (tmp_path / "CheckpointLog.sol").write_text("contract {")
    with pytest.raises(build.BuildError, match="the compiler complains"):
        build.check(build.default_cache())


COUNTING_COMPILER = """
const fs = require('fs');
if (process.argv[2] === '--version') { console.log('Version: 1'); process.exit(); }
const runs = `${__dirname}/runs`;
fs.appendFileSync(runs, '.');
const made = { abi: [], evm: { bytecode: { object: String(fs.statSync(runs).size) } } };
console.log(JSON.stringify({ contracts: { 'CheckpointLog.sol': { CheckpointLog: made } } }));
"""


def test_what_was_compiled_is_kept_for_the_same_input_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(build.HERE, tmp_path / "sources")
    (tmp_path / "compiler.js").write_text(COUNTING_COMPILER)
    monkeypatch.setattr(build, "HERE", tmp_path / "sources")
    monkeypatch.setattr(build, "COMPILER", tmp_path / "compiler.js")
    monkeypatch.setattr(build, "CONTRACTS", ("CheckpointLog",))
    monkeypatch.setattr(build, "KEPT", 2)
    cache = tmp_path / "cache"
    cache.mkdir()

    def compiled() -> object:
        shutil.copy(build.HERE / "package-lock.json", cache / "installed-lock.json")  # nothing to install
        return json.loads(build.build(cache)["CheckpointLog"])["bytecode"]

    assert [compiled(), compiled()] == ["0x1", "0x1"]
    for name, bytecode in (("CheckpointLog.sol", "0x2"), ("package-lock.json", "0x3")):
        path = build.HERE / name
        path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
        assert compiled() == bytecode
    assert len(list((cache / "compiled").glob("*.json"))) == 2


def test_the_lock_file_names_no_address() -> None:
    lock = json.loads((build.HERE / "package-lock.json").read_text(encoding="utf-8"))
    packages = [entry for name, entry in lock["packages"].items() if name]
    assert packages
    assert all("resolved" not in entry and entry["integrity"].startswith("sha512-") for entry in packages)


def test_a_missing_tool_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.BuildError, match="npm is missing"):
        build.build(tmp_path / "cache")


def test_a_tool_that_fails_says_why(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    shutil.copy(build.HERE / "package-lock.json", cache / "installed-lock.json")  # claims what is not there
    with pytest.raises(build.BuildError, match="Cannot find module 'solc'"):
        build.build(cache)


def test_the_committed_artefacts_are_what_the_sources_compile_to() -> None:
    command = [
        sys.executable,
        "-m",
        "ledger.contracts.build",
        "--check",
        "--cache",
        str(build.default_cache()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", build.CONTRACTS)
def test_an_artefact_is_complete_and_names_its_contract(name: str) -> None:
    artefact = contracts.load(name)
    assert artefact.name == name
    assert artefact.bytecode.startswith("0x6")  # every constructor begins by a PUSH
    assert len(artefact.bytecode) // 2 - 1 <= 2 * CODE_LIMIT_BYTES


def test_an_artefact_has_the_contracts_interface() -> None:
    assert {entry.get("name") for entry in contracts.load("CheckpointLog").abi} == {
        None,
        "Published",
        "head",
        "publish",
        "publisher",
    }


@pytest.mark.parametrize("name", build.CONTRACTS)
def test_no_contract_takes_coins(name: str) -> None:
    abi = contracts.load(name).abi
    assert not [entry for entry in abi if entry.get("stateMutability") == "payable"]
    assert not [entry for entry in abi if entry["type"] in ("receive", "fallback")]
