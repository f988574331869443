"""Analyse the contracts: `python -m ledger.contracts.slither` lists what slither finds in our sources and
docs/contracts.md does not answer.

slither wants another web3 than we do, so `uv tool run` gives it an environment of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ledger.contracts import build, forge, gas

VERSION = "0.11.6"
LIMIT_S = 600
_ROW = re.compile(r"^\| ([a-z-]+) \| (.*?) \|", re.MULTILINE)
_SECTION = re.compile(r"<!-- slither -->\n(.*?)<!-- end of slither -->", re.DOTALL)

Finding = tuple[str, str]
"""The detector, and the function that it names, with its contract: `timestamp`, `Agreements.close`."""


def found(cache: Path) -> set[Finding]:
    """What slither finds in our sources (the tests and OpenZeppelin's left out); BuildError if it does not
    run.
    """
    uv = shutil.which("uv")
    if uv is None:
        raise build.BuildError("uv is missing; it gives slither an environment of its own")
    with tempfile.TemporaryDirectory() as folder:
        sources = [str(build.HERE / f"{name}.sol") for name in build.CONTRACTS]
        arguments = ["build", "--build-info", "--force", *sources]
        compiled = forge.run(arguments, cache, FOUNDRY_OUT=folder, FOUNDRY_CACHE_PATH=f"{folder}/cache")
        if compiled.returncode:
            raise build.BuildError(f"forge failed:\n{compiled.stdout}")
        report = Path(folder, "report.json")
        _analyse(uv, cache, folder, report)
        results = json.loads(report.read_text(encoding="utf-8"))["results"].get("detectors", [])
    return {(entry["check"], _place(entry)) for entry in results}


def answered(document: Path) -> set[Finding]:
    """The findings that the document answers: a table row for each detector, the functions in its second
    column.
    """
    section = _SECTION.search(document.read_text(encoding="utf-8"))
    rows = _ROW.findall(section[1]) if section else []
    return {(detector, place) for detector, places in rows for place in re.findall(r"`([^`]+)`", places)}


def differences(findings: set[Finding], document: Path) -> list[str]:
    """A line for each finding that the document does not answer, and for each answer without a finding."""
    answers = answered(document)
    return [f"without an answer: {check} in {place}" for check, place in sorted(findings - answers)] + [
        f"answered, but not found: {check} in {place}" for check, place in sorted(answers - findings)
    ]


def _analyse(uv: str, cache: Path, folder: str, report: Path) -> None:
    program = build.foundry("forge", cache)  # slither asks it for its settings
    environment = build.environment(cache)
    environment["PATH"] = f"{program.parent}{os.pathsep}{environment['PATH']}"
    command = [uv, "tool", "run", "--from", f"slither-analyzer=={VERSION}", "slither", str(build.HERE)]
    command += ["--ignore-compile", "--compile-force-framework", "foundry", "--foundry-out-directory", folder]
    command += ["--filter-paths", "node_modules", "--json", str(report)]
    done = subprocess.run(  # noqa: S603 - a fixed command, nothing of it comes from outside
        command, cwd=build.HERE, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if not report.is_file():
        raise build.BuildError(f"slither failed: {done.stderr.strip()}")


def _place(finding: dict[str, Any]) -> str:
    element = finding["elements"][0]
    contract = element.get("type_specific_fields", {}).get("parent", {}).get("name", "")
    return f"{contract}.{element['name']}" if contract else str(element["name"])


def main() -> None:
    """List the findings without an answer, and the answers without a finding; exit 1 if there are any."""
    try:
        findings = found(build.default_cache())
    except build.BuildError as error:
        raise SystemExit(f"contracts: {error}") from None
    if lines := differences(findings, gas.DOCUMENT):
        raise SystemExit("\n".join(lines))


if __name__ == "__main__":
    main()
