"""A VTN by itself: the OpenADR listener and the operator's API on one database, without an aggregator."""

from __future__ import annotations

import asyncio
import signal
import tomllib
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import typer
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from flexpact.clock import Clock
from flexpact.collector import leave_what_is_loaded
from flexpact.migrations import upgrade
from openadr import Event
from openadr.enums import ProfileName
from vtn import registration
from vtn.api import OperatorApi
from vtn.api_route import Office
from vtn.control_socket import listen
from vtn.errors import StartupError
from vtn.operator_settings import OperatorSettings
from vtn.server import Server
from vtn.settings import VtnSettings
from vtn.store import Database

Section = TypeVar("Section", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Settings:
    """Both tables of the file: [vtn] and [operator], without which nobody is heard but VENs."""

    vtn: VtnSettings
    operator: OperatorSettings | None


def read_settings(config: Path) -> Settings:
    """The settings in a TOML file, whose paths start at its folder; StartupError names field and fault."""
    try:
        content = tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise StartupError(f"{config} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StartupError(f"{config} cannot be read: {error}") from error
    unknown = sorted(content.keys() - {"vtn", "operator"})
    if unknown:
        raise StartupError(f"{config}: {unknown[0]}: there are the tables [vtn] and [operator] only")
    vtn = _section(config, "vtn", VtnSettings, content.get("vtn", {})).below(config.parent)
    if "operator" not in content:
        return Settings(vtn, None)
    operator = _section(config, "operator", OperatorSettings, content["operator"])
    return Settings(vtn, operator.below(config.parent))


def _section(config: Path, name: str, model: type[Section], content: object) -> Section:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (name, *first["loc"]))
        raise StartupError(f"{config}: {where}: {first['msg']}") from error


async def serve(database: Path, settings: Settings, clock: Clock) -> None:
    """Serve until SIGTERM or SIGINT; at SIGHUP certificates are read again.

    StartupError says in one sentence what stands in the way.
    """
    db = await _open(database, settings.vtn.busy_timeout_s)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(db.close)
        server = Server(settings.vtn, db, clock, lambda _ven, _reports, _now: [])
        await server.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, server.reload)
        stack.push_async_callback(server.stop)
        if settings.operator is not None:
            loopback = settings.operator.loopback
            app = OperatorApi(db, _office(server, settings, settings.operator, clock)).app()
            control = await listen(app, settings.operator.socket, loopback.open() if loopback else None)
            stack.push_async_callback(control.close)
            typer.echo(f"the operator is heard on {control.path}")
            if control.port is not None:
                typer.echo(f"and on 127.0.0.1 port {control.port}, with the token")
        leave_what_is_loaded()
        typer.echo(f"listening on {settings.vtn.host} port {server.port}")
        await _signal()


def _office(server: Server, settings: Settings, operator: OperatorSettings, clock: Clock) -> Office:
    return Office(
        admit=_no_agreements,
        clock=clock,
        contacts=server.last_contacts,
        owner=_nobody,
        market_context=operator.market_context,
        opt=settings.vtn.opt,
        poll_period_s=settings.vtn.poll_period_s,
    )


async def _no_agreements(_conn: AsyncConnection, _event: Event, _ven_id: str, _now: datetime) -> None:
    """A VTN by itself has no agreements: the operator decides."""


async def _nobody(_conn: AsyncConnection, _event_id: str) -> str | None:
    return None


async def enrol(
    database: Path, name: str, fingerprint: str, profile: str = "2.0b", overlap_days: int = 30
) -> str:
    """Enrol a VEN in a database that nobody needs to serve; gives its id."""
    chosen, overlap = ProfileName(profile), timedelta(days=overlap_days)
    db = await _open(database, VtnSettings().busy_timeout_s)
    try:
        async with db.write() as conn:
            now = Clock.real()()
            return await registration.enrol(conn, name, fingerprint, now, profile=chosen, overlap=overlap)
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


async def _signal() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
