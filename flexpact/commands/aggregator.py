"""`flexpact aggregator`: run the aggregator, ask it for a reduction, read what it knows."""

import asyncio
import logging
import signal
import urllib.parse
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexpact.clock import Clock, ClockError
from flexpact.collector import leave_what_is_loaded
from flexpact.control import ask, show

if TYPE_CHECKING:
    from aggregator.settings import AggregatorSettings

app = typer.Typer(help="The aggregator.", no_args_is_help=True)

Socket = Annotated[Path, typer.Option(help="Control socket of the running aggregator.")]


@app.command()
def serve(
    config: Annotated[Path, typer.Option(help="Settings of the aggregator, a TOML file.")],
    clock: Annotated[
        str, typer.Option(help="`real`, or a simulated clock as START@UNIX_SECONDSxSPEED, or @FILE.")
    ] = "real",
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR, to stderr.")] = "INFO",
) -> None:
    """Run until SIGTERM or SIGINT: the VTN for the nodes, settlement, the log and its anchors.

    At SIGHUP the certificates are read again.
    """
    import uvloop  # noqa: PLC0415  # the command line starts without the parts it does not run

    from aggregator.errors import AggregatorError  # noqa: PLC0415
    from aggregator.settings import AggregatorSettings  # noqa: PLC0415
    from flexpact.pki import PkiError  # noqa: PLC0415
    from ledger.errors import LedgerError  # noqa: PLC0415
    from vtn.errors import VtnError  # noqa: PLC0415

    _log_to_stderr(log_level)
    try:
        settings = _with_certificate(AggregatorSettings.load(config))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, Clock.parse(clock)))
    except (AggregatorError, LedgerError, VtnError, ClockError, PkiError) as error:
        raise SystemExit(f"flexpact aggregator: {error}") from None
    except OSError as error:
        raise SystemExit(f"flexpact aggregator: {error.filename or config}: {error.strerror}") from None


def _with_certificate(settings: "AggregatorSettings") -> "AggregatorSettings":
    """TLS for the dashboard by an authority of its own, where the settings name no certificate."""
    import structlog  # noqa: PLC0415

    from flexpact.web_certificate import with_certificate  # noqa: PLC0415

    if settings.web is None:
        return settings
    web = with_certificate(settings.web, settings.state, Clock.real()())
    if web is not settings.web and web.cert is not None:
        ca = web.cert.with_name("ca.pem")
        structlog.get_logger(__name__).info(
            "browsers are to trust the dashboard's own authority", file=str(ca)
        )
    return settings.model_copy(update={"web": web})


async def _serve(settings: "AggregatorSettings", clock: Clock) -> None:
    from aggregator.server import Aggregator  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await asyncio.to_thread(_migrate, settings)
    aggregator = Aggregator(settings, clock, clock.sleep)
    try:
        await aggregator.start()
        leave_what_is_loaded()
        loop.add_signal_handler(signal.SIGHUP, aggregator.reload)
        await stop.wait()
    finally:
        await aggregator.stop()


def _migrate(settings: "AggregatorSettings") -> None:
    """Bring the database to the newest schema; OSError or StartupError where the folder takes no files, or
    where the schema is none that this version knows, which then stays as it is.
    """
    from alembic.util import CommandError  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    from flexpact.migrations import upgrade  # noqa: PLC0415
    from vtn.errors import StartupError  # noqa: PLC0415

    settings.state.mkdir(parents=True, exist_ok=True)
    try:
        upgrade(settings.database)
    except DBAPIError as error:
        raise StartupError(f"the database {settings.database} cannot be used: {error.orig}") from error
    except CommandError as error:
        raise StartupError(
            f"the database {settings.database} has a schema that this version does not know, such as that of"
            f" a newer one: {error}"
        ) from error


def _log_to_stderr(level: str) -> None:
    import sys  # noqa: PLC0415

    import structlog  # noqa: PLC0415

    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise typer.BadParameter(f"{level} is no log level; use DEBUG, INFO, WARNING or ERROR")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


@app.command()
def status(socket: Socket) -> None:
    """Show how things stand."""
    show(_ask(socket, "GET", "/status"))


@app.command()
def request(
    *,
    socket: Socket,
    start: Annotated[str, typer.Option(help="Start, such as 2026-01-20T17:00:00Z.")],
    end: Annotated[str, typer.Option(help="End, such as 2026-01-20T19:00:00Z.")],
    power_kw: Annotated[str, typer.Option(help="Reduction in kW; the aggregator chooses the nodes.")],
    key: Annotated[str, typer.Option(help="The same key again is the same request.")] = "",
    preview: Annotated[bool, typer.Option("--preview", help="Only show what would be sent.")] = False,
) -> None:
    """Ask for a reduction."""
    body = {"start": start, "end": end, "power_kw": power_kw, **({"idempotency_key": key} if key else {})}
    show(_ask(socket, "POST", "/requests/preview" if preview else "/requests", body))


@app.command()
def statements(
    socket: Socket,
    event: Annotated[str, typer.Option(help="Of this event only.")] = "",
) -> None:
    """Show all statements, every revision."""
    show(_ask(socket, "GET", f"/statements?event_id={urllib.parse.quote(event)}" if event else "/statements"))


@app.command()
def cancel(event_id: Annotated[str, typer.Argument(help="The event to take back.")], socket: Socket) -> None:
    """Take an event back; what its nodes gave before counts."""
    show(_ask(socket, "POST", f"/requests/{urllib.parse.quote(event_id, safe='')}/cancel"))


@app.command()
def receipt(
    index: Annotated[int, typer.Argument(min=0, help="Number of the leaf.")],
    socket: Socket,
    out: Annotated[Path, typer.Option(help="Folder for NNNNNN.record.json and NNNNNN.receipt.txt.")],
) -> None:
    """Write a leaf's record and receipt, as `flexpact verify` reads them, and a signed report itself."""
    files = _ask(socket, "GET", f"/receipts/{index}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        made = {"record.json": files["record"].encode(), "receipt.txt": files["receipt"].encode()}
        if "original" in files:
            made["original.xml"] = b64decode(files["original"])
        for name, content in made.items():
            path = out / f"{index:06d}.{name}"
            path.write_bytes(content)
            typer.echo(path)
    except OSError as error:
        raise SystemExit(f"flexpact aggregator: {error.filename or out}: {error.strerror}") from None


@app.command()
def trust(socket: Socket) -> None:
    """Print the trust file that fits the receipts given now."""
    typer.echo(_ask(socket, "GET", "/trust")["trust"], nl=False)


def _ask(socket: Path, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Return what the aggregator answers; SystemExit with its own words when it refuses."""
    return ask("aggregator", socket, method, path, body)
