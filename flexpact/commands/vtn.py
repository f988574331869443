"""`flexpact vtn`: the OpenADR server by itself, and the enrolment of VENs."""

from __future__ import annotations

import asyncio
import signal
import tomllib
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from flexpact.clock import Clock, ClockError
from flexpact.migrations import upgrade
from vtn import registration
from vtn.errors import StartupError, VtnError
from vtn.server import Server
from vtn.settings import VtnSettings
from vtn.store import Database

app = typer.Typer(no_args_is_help=True, help="The OpenADR server by itself.")

DatabaseFile = Annotated[Path, typer.Option("--database", help="SQLite file; made if it is missing.")]


@app.command()
def serve(
    database: DatabaseFile,
    config: Annotated[Path, typer.Option(help="TOML file with the listener's settings in [vtn].")],
    clock: Annotated[str, typer.Option(help="`real`, or START@UNIX_SECONDSxSPEED.")] = "real",
) -> None:
    """Serve OpenADR 2.0b until SIGTERM or SIGINT; it asks for no reports, that is the aggregator's part."""
    try:
        uvloop.run(_serve(database, _settings(config), Clock.parse(clock)))
    except (VtnError, ClockError) as error:
        raise SystemExit(f"flexpact vtn: {error}") from None


@app.command()
def enrol(
    name: Annotated[str, typer.Argument(help="Name of the VEN.")],
    fingerprint: Annotated[str, typer.Argument(help="SHA-256 of its certificate, 64 hex digits.")],
    database: DatabaseFile,
) -> None:
    """Allow a certificate to register as a VEN; prints the VEN's id."""
    try:
        typer.echo(asyncio.run(_enrol(database, name, fingerprint)))
    except (ValueError, VtnError) as error:
        raise SystemExit(f"flexpact vtn: {error}") from None


async def _serve(database: Path, settings: VtnSettings, clock: Clock) -> None:
    db = await _open(database, settings.busy_timeout_s)
    try:
        server = Server(settings, db, clock, lambda _ven, _reports, _now: [])
        await server.start()
        typer.echo(f"listening on {settings.host} port {server.port}")
        await _signal()
        await server.stop()
    finally:
        await db.close()


async def _enrol(database: Path, name: str, fingerprint: str) -> str:
    db = await _open(database, VtnSettings().busy_timeout_s)
    try:
        async with db.write() as conn:
            return await registration.enrol(conn, name, fingerprint, Clock.real()())
    finally:
        await db.close()


async def _open(database: Path, busy_timeout_s: float) -> Database:
    try:
        upgrade(database)
    except DBAPIError as error:  # its own text adds the statement and a link
        raise StartupError(f"the database {database} cannot be made ready: {error.orig}") from error
    except Exception as error:
        raise StartupError(f"the database {database} cannot be made ready: {error}") from error
    return await Database.open(database, busy_timeout_s=busy_timeout_s)


def _settings(config: Path) -> VtnSettings:
    try:
        return VtnSettings.model_validate(tomllib.loads(config.read_text(encoding="utf-8")).get("vtn", {}))
    except OSError as error:
        raise StartupError(f"{config} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StartupError(f"{config} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StartupError(f"{config}: vtn.{where}: {first['msg']}") from error


async def _signal() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
