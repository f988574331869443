"""`flexpact ledger witness`: cosign the checkpoints of logs that only grow, as a party of its own."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from flexpact.clock import Clock, ClockError
from ledger.checkpoint import VerifierKey
from ledger.errors import LedgerError
from ledger.witness import Witness, make_witness

app = typer.Typer(no_args_is_help=True)
witness = typer.Typer(help="A witness: cosigns the checkpoints of logs that only grow.", no_args_is_help=True)
app.add_typer(witness, name="witness")

Folder = Annotated[Path, typer.Option("--dir", help="Where the witness keeps its key and what it has seen.")]


@witness.command()
def init(
    directory: Folder,
    name: Annotated[str, typer.Option(help="The witness's name, such as dso.example/witness.")],
) -> None:
    """Make a witness: its key (mode 0600) and its empty state. Prints the public key for trust files.

    Never copy the folder to run it twice, and never bring it back from a backup: a witness that forgot what
    it cosigned may cosign what it must not. One that lost its state gets a new key.
    """
    try:
        typer.echo(make_witness(directory, name))
    except (LedgerError, OSError) as error:
        raise SystemExit(f"flexpact ledger: {error}") from None


@witness.command()
def serve(
    directory: Folder,
    logs: Annotated[
        list[str],
        typer.Option("--log", help="Public key of a log to cosign for, name+id+key; may be given again."),
    ],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 0,
    clock: Annotated[str, typer.Option(help="The clock that cosignatures are dated by.")] = "real",
) -> None:
    """Answer C2SP tlog-witness requests until SIGTERM; the address is printed and written to DIR/url.

    Plain HTTP: put what speaks TLS before it where others shall reach it.
    """
    _log_to_stderr()
    try:
        keys = [VerifierKey.parse(text) for text in logs]
        opened = Witness(directory, keys)
        try:
            asyncio.run(_serve(opened, directory, (host, port), Clock.parse(clock)))
        finally:
            opened.close()
    except (LedgerError, ClockError) as error:
        raise SystemExit(f"flexpact ledger: {error}") from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SystemExit(f"flexpact ledger: {error.filename or f'{host} port {port}'}: {reason}") from None


async def _serve(opened: Witness, directory: Path, place: tuple[str, int], clock: Clock) -> None:
    from ledger.witness_server import WitnessServer  # noqa: PLC0415 - the command line starts without aiohttp

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = WitnessServer(opened, clock)
    try:
        await server.start(*place)
        (directory / "url").write_text(server.url + "\n", encoding="utf-8")
        typer.echo(f"{opened.verifier} at {server.url}")
        await stop.wait()
    finally:
        await server.stop()


def _log_to_stderr() -> None:
    """A line of JSON for each thing that an operator may want to be told of."""
    import structlog  # noqa: PLC0415 - as above

    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer(sort_keys=True)],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
