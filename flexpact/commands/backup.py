"""`flexpact aggregator backup` and `restore`: a copy of a database in use, and its way back."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

import flexpact
from flexpact import verdict
from flexpact.clock import Clock, ClockError

if TYPE_CHECKING:
    from aggregator.restore import Restored, Wishes
    from aggregator.settings import AggregatorSettings

app = typer.Typer(no_args_is_help=True)

Config = Annotated[Path, typer.Option(help="Settings of the aggregator, a TOML file.")]
PATIENCE_S = 1.0
"""Longer than this nobody waits without a word."""
MEGABYTE = 1 << 20


@app.command()
def backup(
    config: Config,
    out: Annotated[Path, typer.Option(help="The file to make, of mode 0600; never overwritten.")],
    with_keys: Annotated[
        bool,
        typer.Option(
            "--with-keys",
            help="Put the settings and every secret that they name into it too: who has the file can then"
            " sign as this aggregator.",
        ),
    ] = False,
) -> None:
    """Write a consistent copy of the database to one file; the aggregator may go on meanwhile.

    The file holds all that the database knows of nodes and homes: guard it. Keep it on another machine.
    """
    from aggregator import backup as maker  # noqa: PLC0415 - the aggregator's side is loaded when needed

    def make() -> maker.Manifest:
        settings = _settings(config)
        secrets = maker.Secrets.of(config, settings) if with_keys else None
        return maker.make(
            settings,
            out,
            version=flexpact.__version__,
            now=datetime.now(UTC),
            secrets=secrets,
            tell=_progress(),
        )

    manifest = _or_one_sentence(make)
    typer.echo("\n".join([str(out), *manifest.lines()]))


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    *,
    config: Config,
    replace: Annotated[
        bool, typer.Option("--replace", help="Give up the database that is there; else nothing is done.")
    ] = False,
    new_log: Annotated[
        bool,
        typer.Option(
            "--new-log",
            help="Seal all anew under the log that the settings name, where what was published of the old one"
            " is lost.",
        ),
    ] = False,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Ask neither chain nor witnesses whether something newer is there."),
    ] = False,
    trust: Annotated[
        Path | None, typer.Option(help="Other keys of the log, such as those before a rotation.")
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="A receipt or checkpoint of this log that was kept elsewhere; may be repeated."),
    ] = None,
    erasures: Annotated[
        list[Path] | None,
        typer.Option(help="A list of erasures beside that of the target; may be repeated."),
    ] = None,
    clock: Annotated[str, typer.Option(help="The clock that the aggregator runs by.")] = "real",
) -> None:
    """Put a backup in the place of the database, after every check of `flexpact ledger check`.

    The aggregator must be stopped. What was erased since the backup is erased again. Refused where chain or
    witnesses hold more of the log than the backup does.
    """
    from aggregator import restore as restorer  # noqa: PLC0415 - see above
    from flexpact.commands.ledger_check import known_head, read_trust  # noqa: PLC0415

    def wishes() -> "Wishes":
        trusted = read_trust(trust) if trust else None
        heads = tuple(known_head(path, trusted) for path in checkpoint or ())
        return restorer.Wishes(replace, new_log, not offline, trusted, heads, tuple(erasures or ()))

    def put_back() -> restorer.Restored:
        settings = _settings(config)
        for line in restorer.standing(settings.database):
            typer.echo(f"{'replaces' if replace else 'would replace'} {verdict.shown(line)}")
        now = Clock.parse(clock)()
        return restorer.restore(file, settings, wishes(), now, migrate=_migrate, tell=_progress())

    typer.echo("\n".join(_told(_or_one_sentence(put_back))))


def _told(done: "Restored") -> Iterator[str]:
    """What was put back, and what is to be done now, for a person."""
    yield from done.manifest.lines()
    yield verdict.as_lines(done.steps, None)
    if done.erased:
        yield f"erased again: {done.erased} subjects that were erased after this backup"
    if done.sealed:
        yield f"second factors of {done.sealed} users open with sealing.key alone, as it was: put it back"
    if done.refused_before is not None:
        yield f"signed messages from before {done.refused_before.isoformat()} will be refused"
    yield "sessions, one-time links and API tokens are revoked, and approvals that waited are void"
    yield (
        "check before you start: users, roles, passwords, second factors and VENs' certificates are as of the"
        " backup; what was suspended, changed or withdrawn since is as it was before"
    )
    yield "what came after the backup is lost; start the aggregator"


@app.command("unpack-keys")
def unpack_keys(
    file: Annotated[Path, typer.Argument(help="A backup that was made --with-keys.")],
    out: Annotated[Path, typer.Option(help="A folder, made new, for the settings and the secrets.")],
) -> None:
    """Write the settings and the secrets of a backup into a new folder, each where it lay beside the
    settings.
    """
    from aggregator import backup as maker  # noqa: PLC0415 - see above

    for line in _or_one_sentence(lambda: maker.unpack_secrets(file, out)):
        typer.echo(verdict.shown(line))


def _migrate(database: Path) -> None:
    """Bring the copy to the schema of this version; BackupError if it is of one that is not known."""
    from alembic.util import CommandError  # noqa: PLC0415 - see above
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    from aggregator.errors import BackupError  # noqa: PLC0415
    from flexpact.migrations import upgrade  # noqa: PLC0415

    try:
        upgrade(database)
    except CommandError as error:
        raise BackupError(f"the backup is of another version, whose schema is not known: {error}") from error
    except DBAPIError as error:
        raise BackupError(f"its schema cannot be brought up to date: {error.orig}") from error


def _settings(config: Path) -> "AggregatorSettings":
    from aggregator.settings import AggregatorSettings  # noqa: PLC0415 - see above

    return AggregatorSettings.load(config)


Result = TypeVar("Result")


def _or_one_sentence(act: Callable[[], Result]) -> Result:
    from aggregator.errors import AggregatorError  # noqa: PLC0415 - see above
    from ledger.errors import LedgerError  # noqa: PLC0415

    try:
        return act()
    except (AggregatorError, LedgerError, ClockError) as error:
        raise SystemExit(f"flexpact aggregator: {verdict.shown(str(error))}") from None
    except sqlite3.DatabaseError as error:
        raise SystemExit(
            f"flexpact aggregator: the database cannot be used: {error}; if it is damaged, move it away"
            " before a backup is put back"
        ) from None
    except OSError as error:
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise SystemExit(f"flexpact aggregator: {said}") from None


def _progress() -> Callable[[str, int, int], None]:
    """Tell on stderr, once a second, how far it is: in bytes where the numbers are large."""
    next_at = time.monotonic() + PATIENCE_S

    def tell(what: str, done: int, of: int) -> None:
        nonlocal next_at
        if time.monotonic() >= next_at:
            next_at += PATIENCE_S
            large = of > MEGABYTE
            numbers = f"{done // MEGABYTE} of {of // MEGABYTE} MB" if large else f"{done} of {of}"
            typer.echo(f"{what}: {numbers}", err=True)

    return tell
