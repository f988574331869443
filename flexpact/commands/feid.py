"""`flexpact feid serve`: the box at the customer as a process.

A box is small, so its process reads its own command line: typer, asked for the same, would hold 7 MB of
pydantic for as long as the box runs. Typer's command is for its help, and for whoever calls it by typer.
"""

import argparse
import asyncio
import logging
import signal
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexpact.clock import Clock, ClockError

if TYPE_CHECKING:
    from feid.settings import FeidSettings

app = typer.Typer(help="The box at the customer.", no_args_is_help=True)


@app.command()
def serve(
    config: Annotated[Path, typer.Option(help="Settings of the box, a TOML file.")],
    clock: Annotated[
        str, typer.Option(help="`real`, or a simulated clock as START@UNIX_SECONDSxSPEED.")
    ] = "real",
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR, to stderr.")] = "INFO",
) -> None:
    """Run one box until SIGTERM or SIGINT: meters, forecast, control and the VEN."""
    level = log_level.upper()
    if level not in logging.getLevelNamesMapping():
        raise typer.BadParameter(f"{log_level!r} is not a level", param_hint="--log-level")
    _run(config, clock, level)


def main(arguments: Sequence[str]) -> None:
    """Run `flexpact feid serve ARGUMENTS`; what is wrong with them is said with exit code 2."""
    parser = argparse.ArgumentParser("flexpact feid serve", description=serve.__doc__)
    parser.add_argument("--config", type=Path, required=True, help="Settings of the box, a TOML file.")
    parser.add_argument(
        "--clock", default="real", help="`real`, or a simulated clock as START@UNIX_SECONDSxSPEED."
    )
    levels = sorted(logging.getLevelNamesMapping())
    parser.add_argument(
        "--log-level", default="INFO", type=str.upper, choices=levels, help="What is said on stderr."
    )
    given = parser.parse_args(arguments)
    _run(given.config, given.clock, given.log_level)


def _run(config: Path, clock: str, level: str) -> None:
    """Run one box; SystemExit says in one sentence what stands in the way."""
    from feid.errors import SettingsError  # noqa: PLC0415  # the command line starts without the parts it does not run
    from feid.settings import FeidSettings  # noqa: PLC0415
    from ven.errors import VenError  # noqa: PLC0415

    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = FeidSettings.load(config)
        asyncio.run(_serve(settings, Clock.parse(clock)))
    except (SettingsError, ClockError, VenError) as error:
        raise SystemExit(f"flexpact feid: {error}") from None
    except sqlite3.Error as error:
        raise SystemExit(f"flexpact feid: {settings.state}: {error}") from None
    except OSError as error:
        raise SystemExit(f"flexpact feid: {error.filename or config}: {error.strerror}") from None


async def _serve(settings: "FeidSettings", clock: Clock) -> None:
    from feid.agent import run  # noqa: PLC0415
    from feid.drivers.simulated import SimulatedDriver  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    driver = SimulatedDriver(settings.driver.socket, settings.node)
    await run(settings, driver, clock, clock.sleep, stop)
