"""`flexpact ledger check`, `consistency` and `erase`: work on a database file, with no process running."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from flexpact import verdict
from ledger import offline
from ledger import receipt as receipt_file
from ledger import trust as trust_file
from ledger.check import Head, Progress, check_log
from ledger.check_anchor import check_anchors
from ledger.consistency import read_head
from ledger.errors import LedgerError, TamperedError, VerificationError
from ledger.receipt import Receipt
from ledger.trust import Trust
from ledger.verify import Status, Step, check_signature, read_evidence

app = typer.Typer(no_args_is_help=True)

DatabaseFile = Annotated[Path, typer.Option("--database", help="The aggregator's database, a SQLite file.")]
PATIENCE_S = 1.0
"""Longer than this nobody waits without a word."""


@app.command()
def check(
    database: DatabaseFile,
    trust: Annotated[
        Path | None,
        typer.Option(help="What you take as given: the log's key, the chain's contract, a block."),
    ] = None,
    receipt: Annotated[
        list[Path] | None,
        typer.Option(help="A receipt or checkpoint of this log that was kept elsewhere; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Check that no row of journal, statements and log was changed, removed, added or moved.

    Reads the file only. Exit code 0: everything was checked. 3: nothing was found, but a step could not be
    checked, such as signatures without --trust. 1: the last line names the first bad row. Who holds the log's
    key can write the whole log anew: that shows only against a --receipt which was kept elsewhere.
    """
    steps: list[Step] = []
    failure: VerificationError | None = None
    try:
        with offline.reading(database) as conn:
            steps.extend(_steps(conn, trust, receipt or []))
    except sqlite3.DatabaseError as error:
        failure = TamperedError("database", f"the file is damaged: {error}")
    except VerificationError as error:
        failure = error
    except LedgerError as error:
        raise SystemExit(f"flexpact ledger: {error}") from None
    typer.echo(verdict.as_json(steps, failure) if as_json else verdict.as_lines(steps, failure))
    raise typer.Exit(verdict.exit_code(steps, failure))


@app.command()
def consistency(
    old: Annotated[int, typer.Argument(min=1, help="Leaves of the older checkpoint.")],
    new: Annotated[int, typer.Argument(min=1, help="Leaves of the newer checkpoint.")],
    database: DatabaseFile,
) -> None:
    """Print the proof that the log only grew between two sizes, for `flexpact verify --consistency`."""
    try:
        with offline.reading(database) as conn:
            typer.echo(offline.prove_consistency(conn, old, new).text(), nl=False)
    except (sqlite3.DatabaseError, LedgerError) as error:
        raise SystemExit(f"flexpact ledger: {error}") from None


@app.command()
def erase(
    subject: Annotated[str, typer.Argument(help="The venID or the name of the VEN.")],
    database: DatabaseFile,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else only what would be done is shown.")] = False,
) -> None:
    """Destroy all that the database holds of a VEN: its rows, and payload and salt of what was sealed of it.

    The aggregator must be stopped. The log still verifies and says what was erased; receipts of others stay
    good. Backups, and receipts that were given away, are not reached.
    """
    from aggregator.erase import erase as do  # noqa: PLC0415 - see above
    from aggregator.erase import plan  # noqa: PLC0415
    from aggregator.errors import RequestRefusedError  # noqa: PLC0415

    try:
        if yes:
            found = do(database, subject, datetime.now(UTC))
        else:
            with offline.reading(database) as conn:
                found = plan(conn, subject)
    except (sqlite3.DatabaseError, LedgerError, RequestRefusedError) as error:
        raise SystemExit(f"flexpact ledger: {error}") from None
    typer.echo(verdict.shown(f"{'erased' if yes else 'would erase'} {found.ven_name}, venID {found.ven_id}:"))
    typer.echo(f"  payload and salt of {len(found.leaves)} leaves")
    for table, count in found.rows.items():
        typer.echo(f"  {count} rows of {table}")
    if yes:
        typer.echo(
            "the aggregator's next checkpoint signs the record of it; until then a check says: not checked"
        )
    else:
        typer.echo("nothing was changed; --yes does it, and nothing brings it back")


def _steps(conn: sqlite3.Connection, trust: Path | None, receipts: Sequence[Path]) -> Iterator[Step]:
    # The aggregator's side is loaded when it is needed; the command line starts without it.
    from aggregator.check import check_rows  # noqa: PLC0415

    trusted = None
    if trust is not None:
        trusted = Trust.from_file(read_evidence("trust", trust, trust_file.MAX_FILE_BYTES))
    outside = [_head(path, trusted) for path in receipts]
    yield from check_log(conn, trusted, _progress(), outside)
    yield from check_rows(conn, _progress())
    yield from check_anchors(conn, trusted)
    for head in outside:
        status = Status.CHECKED if trusted is not None else Status.NOT_CHECKED
        yield Step("receipt", status, f"{head.record}: the log still holds its {head.size} leaves")


def _head(path: Path, trust: Trust | None) -> Head:
    raw = read_evidence("receipt", path, receipt_file.MAX_FILE_BYTES)
    checkpoint = read_head(raw)
    if trust is not None:
        check_signature(checkpoint, trust)
    receipt = Receipt.from_file(raw) if raw.startswith(receipt_file.PROOF.encode()) else None
    return Head(checkpoint.size, checkpoint.root, str(path), receipt)


def _progress() -> Progress:
    """Tell on stderr, once a second, how far it is."""
    next_at = time.monotonic() + PATIENCE_S

    def tell(what: str, done: int, of: int) -> None:
        nonlocal next_at
        if time.monotonic() >= next_at:
            next_at += PATIENCE_S
            typer.echo(f"{what}: {done} of {of}", err=True)

    return tell
