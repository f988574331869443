"""How many random changes of single rows `flexpact ledger check` finds and names, table by table.

    python benchmarks/mutations.py [--changes 100] [--write FILE]

The changes are those of tests/aggregator/test_check.py, in the database of a real evening that was sealed,
signed and anchored. What is not found, or found at another record, is told, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

# Run as a script, this folder comes first on the path, and a file in it hides the package that it measures.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]

from flexpact.migrations import upgrade  # noqa: E402 - see above
from ledger.trust import Trust  # noqa: E402 - see above
from tests.aggregator.conftest import make_prepared  # noqa: E402 - see above
from tests.aggregator.mutation import TABLES  # noqa: E402 - see above
from tests.aggregator.sealed import SealedRun, make_sealed_run  # noqa: E402 - see above
from tests.aggregator.test_check import SAID, missed, unnoticed  # noqa: E402 - see above


def sealed_run(folder: Path) -> SealedRun:
    """A platform's evening, stopped."""
    for name in ("prepared", "sealed"):
        (folder / name).mkdir()
    upgrade(folder / "prepared" / "aggregator.sqlite")
    return make_sealed_run(make_prepared(folder / "prepared"), folder / "sealed")


def counted(run: SealedRun, changes: int) -> dict[str, list[str]]:
    """For each table the changes that were not found and named."""
    trust = Trust.from_file(run.trust.read_bytes())
    with closing(sqlite3.connect(run.database, isolation_level=None)) as conn:
        conn.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        conn.execute("BEGIN")
        sealed = {table: missed(conn, table, trust, changes) for table in TABLES}
        return sealed | {table: unnoticed(conn, table, changes) for table in SAID}


def main() -> None:
    """Run as asked for on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--changes", type=int, default=100, help="of each table")
    parser.add_argument("--write", type=Path, help="keep the table in this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        wrong = counted(sealed_run(Path(name)), arguments.changes)
    lines = ["| table | changes | found and named |", "|---|---:|---:|"]
    for table, found in wrong.items():
        lines.append(f"| `{table}` | {arguments.changes} | {arguments.changes - len(found)} |")
        print(*found, sep="\n", end="\n" * bool(found), file=sys.stderr)
    text = "\n".join(lines) + "\n"
    if arguments.write:
        arguments.write.write_text(text, encoding="utf-8")
    print(text, end="")
    if any(wrong.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
