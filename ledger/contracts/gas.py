"""Measure what each transaction costs: `python -m ledger.contracts.gas` writes docs/contracts.md's table.

The transactions are those of `test/Gas.t.sol`, each run alone, so that a number holds what a transaction
costs before its call (21,000 and its bytes), less what it is given back at its end.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from ledger.contracts import build, forge

DOCUMENT = build.HERE.parents[1] / "docs" / "contracts.md"
_TABLE = re.compile(r"(?<=<!-- gas -->\n).*?(?=<!-- end of gas -->)", re.DOTALL)


def table(cache: Path) -> str:
    """The table in Markdown, freshly measured; BuildError if a test fails."""
    with tempfile.TemporaryDirectory() as folder:
        done = forge.run(
            ["test", "--isolate", "--match-contract", "GasTest"], cache, FOUNDRY_SNAPSHOTS=folder
        )
        if done.returncode:
            raise build.BuildError(f"the gas is not measured:\n{done.stdout}")
        rows = [
            f"| `{name}` | {what} | {int(gas):,} |\n"
            for name in build.CONTRACTS
            for what, gas in json.loads(Path(folder, f"{name}.json").read_text(encoding="utf-8")).items()
        ]
    return "| contract | transaction | gas |\n|---|---|---:|\n" + "".join(rows)


def main() -> None:
    """Write the table into the document."""
    try:
        fresh = table(build.default_cache())
    except build.BuildError as error:
        raise SystemExit(f"contracts: {error}") from None
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(_TABLE.sub(lambda _: fresh, text), encoding="utf-8")


if __name__ == "__main__":
    main()
