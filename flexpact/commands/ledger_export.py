"""`flexpact ledger export` and `check-export`: a whole log as files, for an auditor to take home."""

import sqlite3
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from flexpact import revision, verdict
from flexpact.commands.ledger_check import DatabaseFile, progress, read_trust
from ledger import offline
from ledger.errors import LedgerError, VerificationError
from ledger.evidence_folder import EvidenceFolder, check_folder
from ledger.trust import Trust
from ledger.verify import Step

app = typer.Typer(no_args_is_help=True)

TrustFile = Annotated[
    Path, typer.Option("--trust", help="The log's keys and its chain, as `flexpact aggregator trust` says.")
]


@app.command()
def export(
    database: DatabaseFile,
    out: Annotated[Path, typer.Option(help="The folder; made if it is missing, gone on with if it is not.")],
    trust: TrustFile,
) -> None:
    """Write every anchored record with its receipt, the signed messages that are kept, all checkpoints and
    the trust file; then verify what lies in the folder.

    The aggregator may go on meanwhile. Only what the folder lacks is written, each file whole or not at all.
    Exit codes as of `check-export`. The files hold all that the log holds of nodes and homes: guard them.
    """
    from aggregator.evidence_export import export as write  # noqa: PLC0415 - the aggregator's side when needed

    folder = EvidenceFolder(out)

    def steps() -> Iterator[Step]:
        with offline.reading(database) as conn:
            revision.check(conn, database)
        trusted = read_trust(trust)
        try:
            written = write(database, folder, trusted, progress())
        except (zlib.error, TypeError) as error:  # a value that nobody of ours wrote there
            raise LedgerError(
                f"{database} is damaged: {error}; `flexpact ledger check` names the row"
            ) from error
        typer.echo(
            f"written: {written.records} records with receipts, {written.originals} messages,"
            f" {written.erased} hashes of erased leaves, {written.checkpoints} checkpoints;"
            f" there already: {written.kept} leaves; not anchored yet: {written.waiting}"
        )
        if written.still_there:
            typer.echo(f"{written.still_there} leaves were erased in the log, and their files are still here")
        yield from check_folder(folder, trusted, progress())

    _told(steps)


@app.command("check-export")
def check_export(
    folder: Annotated[Path, typer.Argument(help="What `flexpact ledger export` wrote.")], trust: TrustFile
) -> None:
    """Verify every file of an export, offline and without the database.

    Exit code 0: every step was checked. 3: nothing was found, but a step could not be checked with this trust
    file, such as the blocks of earlier anchors. 1: the last line names the first bad file.
    """

    def steps() -> Iterator[Step]:
        trusted: Trust = read_trust(trust)
        yield from check_folder(EvidenceFolder(folder), trusted, progress())

    _told(steps)


def _told(check: Callable[[], Iterator[Step]]) -> None:
    steps: list[Step] = []
    failure: VerificationError | None = None
    try:
        steps.extend(check())
    except VerificationError as error:
        failure = error
    except OSError as error:
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise SystemExit(f"flexpact ledger: {said}") from None
    except (sqlite3.DatabaseError, LedgerError) as error:
        raise SystemExit(f"flexpact ledger: {error}") from None
    typer.echo(verdict.as_lines(steps, failure))
    raise typer.Exit(verdict.exit_code(steps, failure))
