"""`flexpact feid simulate`: the process that plays homes, meters and devices."""

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command("simulate")
def simulate(
    config: Annotated[
        Path, typer.Option(help="TOML: socket, seed, start, days_of_history, nodes, meters ...")
    ],
    clock: Annotated[str, typer.Option(help="`real`, or the text of an accelerated clock.")] = "real",
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
) -> None:
    """Play homes, meters and devices on simulated time, until SIGTERM."""
    from feid.scenario import ScenarioError, read_scenario  # noqa: PLC0415  numpy only where it is needed
    from feid.simulate import SimulatorError, serve  # noqa: PLC0415
    from flexpact.clock import Clock, ClockError  # noqa: PLC0415

    if log_level not in logging.getLevelNamesMapping():
        raise typer.BadParameter(f"{log_level!r} is not a level", param_hint="--log-level")
    logging.basicConfig(level=log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        time = Clock.parse(clock)
        await serve(read_scenario(config), time, time.sleep, stop)

    try:
        asyncio.run(run())
    except (ScenarioError, SimulatorError, ClockError) as error:
        typer.echo(f"flexpact: {error}", err=True)
        raise typer.Exit(1) from None
