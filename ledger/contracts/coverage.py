"""Measure what the contracts' tests reach: `python -m ledger.contracts.coverage` writes the table into
docs/contracts.md.

forge compiles without its optimiser for it (`--ir-minimum`: OpenZeppelin's P256 does not compile another
way), which takes minutes. It counts the two ways of an `if`, not those of a `require` with an error: our
contracts write every condition as an `if`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ledger.contracts import build, forge, gas

GOAL = 0.95
_ROW = re.compile(r"^\| (\w+\.sol) +\|(.*)\|$", re.MULTILINE)
_COUNT = re.compile(r"\((\d+)/(\d+)\)")
_TABLE = re.compile(r"(?<=<!-- coverage -->\n).*?(?=<!-- end of coverage -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Count:
    """How many of something there are in a source, and how many of them a test reached."""

    reached: int
    there: int

    @property
    def share(self) -> float:
        """The part that was reached; all of nothing is 1."""
        return self.reached / self.there if self.there else 1.0


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the tests reach of one source."""

    lines: Count
    statements: Count
    branches: Count
    functions: Count

    @property
    def least(self) -> float:
        """The smallest of the four shares."""
        return min(self.lines.share, self.statements.share, self.branches.share, self.functions.share)


def measured(cache: Path) -> dict[str, Coverage]:
    """What the tests reach of each of our sources, by its file name; BuildError if a test fails."""
    done = forge.run(["coverage", "--ir-minimum"], cache)
    if done.returncode:
        raise build.BuildError(f"the coverage is not measured:\n{done.stdout}")
    return read(done.stdout)


def read(summary: str) -> dict[str, Coverage]:
    """The coverage that forge's summary shows of our sources; tests and OpenZeppelin's files are left out."""
    found = {}
    for name, cells in _ROW.findall(summary):
        counts = [Count(int(reached), int(there)) for reached, there in _COUNT.findall(cells)]
        found[name] = Coverage(*counts)
    return found


def table(coverage: dict[str, Coverage]) -> str:
    """The table in Markdown."""
    rows = [
        f"| `{name}` | {' | '.join(map(_cell, _counts(one)))} |\n" for name, one in sorted(coverage.items())
    ]
    sums = [
        Count(sum(count.reached for count in column), sum(count.there for count in column))
        for column in zip(*map(_counts, coverage.values()), strict=True)
    ]
    head = "| source | lines | statements | branches | functions |\n|---|---:|---:|---:|---:|\n"
    return head + "".join(rows) + f"| all | {' | '.join(map(_cell, sums))} |\n"


def _counts(one: Coverage) -> tuple[Count, ...]:
    return (one.lines, one.statements, one.branches, one.functions)


def _cell(count: Count) -> str:
    return f"{100 * count.share:.1f} % ({count.reached}/{count.there})" if count.there else "none"


def main() -> None:
    """Write the table into the document; exit 1 if a source is below the goal."""
    try:
        coverage = measured(build.default_cache())
    except build.BuildError as error:
        raise SystemExit(f"contracts: {error}") from None
    text = gas.DOCUMENT.read_text(encoding="utf-8")
    gas.DOCUMENT.write_text(_TABLE.sub(lambda _: table(coverage), text), encoding="utf-8")
    if low := [f"{name} {one.least:.1%}" for name, one in coverage.items() if one.least < GOAL]:
        raise SystemExit(f"contracts: less than {GOAL:.0%} is reached: {', '.join(low)}")


if __name__ == "__main__":
    main()
