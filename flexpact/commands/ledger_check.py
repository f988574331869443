"""`flexpact ledger check`, `consistency` and `erase`: work on a database file, with no process running."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexpact import revision, typed, verdict
from ledger import offline
from ledger import receipt as receipt_file
from ledger import trust as trust_file
from ledger.check import Head, Progress, check_log
from ledger.check_anchor import check_anchors
from ledger.consistency import read_head
from ledger.errors import LedgerError, TamperedError, VerificationError
from ledger.log_key import log_key
from ledger.receipt import Receipt
from ledger.trust import Trust
from ledger.verify import Status, Step, check_signature, read_evidence

if TYPE_CHECKING:
    from aggregator.erase import Plan
    from aggregator.erase_home import HomePlan
    from aggregator.settings import AggregatorSettings

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
            revision.check(conn, database)
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
    subject: Annotated[str, typer.Argument(help="The venID or the name of the VEN.", callback=typed.text)],
    config: Annotated[Path, typer.Option(help="Settings of the aggregator, a TOML file.")],
    home: Annotated[
        str,
        typer.Option(
            help="Only this home behind it: the rID of its values; the VEN itself stays.", callback=typed.text
        ),
    ] = "",
    trust: Annotated[
        Path | None, typer.Option(help="Keys of the log from before a rotation, which signed erasures.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else only what would be done is shown.")] = False,
) -> None:
    """Destroy all that the database holds of a VEN, or of one home behind it: its rows, and payload and salt
    of what was sealed of it.

    The aggregator must be stopped. The log still verifies and says what was erased; receipts of others stay
    good. A tombstone beside the database says so to whoever puts an older backup back. Receipts that were
    given away are not reached.
    """
    from aggregator.errors import AggregatorError  # noqa: PLC0415 - see above
    from aggregator.settings import AggregatorSettings  # noqa: PLC0415

    now = datetime.now(UTC)
    try:
        settings = AggregatorSettings.load(config)
        with offline.reading(settings.database) as conn:
            revision.check(conn, settings.database)
            found = None if yes else _planned(conn, subject, home, now)
        if found is None:
            found = _erased(settings, subject, home, now, known=read_trust(trust) if trust else None)
    except (sqlite3.DatabaseError, LedgerError, AggregatorError) as error:
        raise SystemExit(f"flexpact ledger: {error}") from None
    for line in _told(found, home, done=yes):
        typer.echo(verdict.shown(line))


def _planned(conn: sqlite3.Connection, subject: str, home: str, now: datetime) -> "Plan | HomePlan":
    """What would be erased."""
    from aggregator import erase as node  # noqa: PLC0415 - see above
    from aggregator import erase_home as homes  # noqa: PLC0415

    return homes.plan(conn, subject, home, now) if home else node.plan(conn, subject)


def _erased(
    settings: "AggregatorSettings", subject: str, home: str, now: datetime, *, known: Trust | None
) -> "Plan | HomePlan":
    """What was erased. `known`: keys of the log from before a rotation."""
    from aggregator import erase as node  # noqa: PLC0415 - see above
    from aggregator import erase_home as homes  # noqa: PLC0415

    key, at = log_key(settings.log.key, settings.log.origin), settings.database
    keys = [each.key for each in (*settings.log.former(), *(known.keys if known else ()))]
    if home:
        return homes.erase_home(at, subject, home, now, key, known=keys)
    return node.erase(at, subject, now, key, known=keys)


def _told(found: "Plan | HomePlan", home: str, *, done: bool) -> Iterator[str]:
    """What was erased, or would be, for a person."""
    of = f"{home} behind " if home else ""
    yield f"{'erased' if done else 'would erase'} {of}{found.ven_name}, venID {found.ven_id}:"
    yield f"  payload and salt of {len(found.leaves)} leaves"
    for table, count in found.rows.items():
        yield f"  {count} rows of {table}"
    if home and getattr(found, "still_named", False):
        yield (
            f"{found.ven_name} said that it reports {home}: take the home out of its box's settings too,"
            " or its values come again"
        )
    if done:
        yield "the aggregator's next checkpoint signs the record of it; until then a check says: not checked"
    else:
        yield "nothing was changed; --yes does it, and nothing brings it back"


def _steps(conn: sqlite3.Connection, trust: Path | None, receipts: Sequence[Path]) -> Iterator[Step]:
    # The aggregator's side is loaded when it is needed; the command line starts without it.
    from aggregator.check import check_rows  # noqa: PLC0415

    trusted = None if trust is None else read_trust(trust)
    outside = [known_head(path, trusted) for path in receipts]
    yield from check_log(conn, trusted, progress(), outside)
    yield from check_rows(conn, progress())
    yield from check_anchors(conn, trusted)
    for head in outside:
        status = Status.CHECKED if trusted is not None else Status.NOT_CHECKED
        yield Step("receipt", status, f"{head.record}: the log still holds its {head.size} leaves")


def read_trust(path: Path) -> Trust:
    """The trust file; LedgerError if it is none."""
    return Trust.from_file(read_evidence("trust", path, trust_file.MAX_FILE_BYTES))


def known_head(path: Path, trust: Trust | None) -> Head:
    """The log's head that a receipt or a checkpoint holds; LedgerError if it is none, or the trust file says
    that the log did not sign it.
    """
    raw = read_evidence("receipt", path, receipt_file.MAX_FILE_BYTES)
    checkpoint = read_head(raw)
    if trust is not None:
        check_signature(checkpoint, trust)
    receipt = Receipt.from_file(raw) if raw.startswith(receipt_file.PROOF.encode()) else None
    return Head(checkpoint.size, checkpoint.root, str(path), receipt)


def progress() -> Progress:
    """Tell on stderr, once a second, how far it is."""
    next_at = time.monotonic() + PATIENCE_S

    def tell(what: str, done: int, of: int) -> None:
        nonlocal next_at
        if time.monotonic() >= next_at:
            next_at += PATIENCE_S
            typer.echo(f"{what}: {done} of {of}", err=True)

    return tell
