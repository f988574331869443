"""`flexpact demo`: one day of a whole platform on this machine."""

import asyncio
import signal
from collections.abc import Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flexpact.clock import Clock
from flexpact.demo.faults import Fault

if TYPE_CHECKING:
    from flexpact.demo.play import Outcome

app = typer.Typer()

# What its processes import, one module for each part of the server side; `eth` is the embedded chain's.
_NEEDED = ("aiosqlite", "alembic", "eth", "pydantic_settings", "sklearn", "sqlalchemy", "uvloop", "web3")


@app.command("demo")
def demo(
    *,
    out: Annotated[
        Path | None, typer.Option(help="New or empty directory for all that the demo makes.")
    ] = None,
    headless: Annotated[
        bool, typer.Option("--headless", help="No live view: one line for each phase.")
    ] = False,
    speed: Annotated[float | None, typer.Option(min=1, max=2880, help="Simulated seconds a second.")] = None,
    meters: Annotated[Path | None, typer.Option(help="Your own meters: CSV, plain or gzip, mean kW.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other homes.")] = 1,
    vens: Annotated[int, typer.Option(min=1, max=20, help="How many virtual nodes.")] = 6,
    households_per_ven: Annotated[int, typer.Option(min=1, max=40, help="How many homes behind each.")] = 10,
    window: Annotated[bool, typer.Option("--window", help="Six hours around the event, at 60x.")] = False,
    peer: Annotated[
        bool, typer.Option("--peer", help="Real time: a foreign VEN, and an event of two minutes.")
    ] = False,
    fault: Annotated[Fault | None, typer.Option(help="What goes wrong; implies --window.")] = None,
) -> None:
    """Play one day of a whole platform on this machine.

    An aggregator, virtual nodes with homes behind them and a chain: real processes on loopback, with a clock
    that runs fast. The exit code is 0 only if everything held.
    """
    for name in _NEEDED:  # before anything is made or started
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    # the demo needs numpy and the server side; the command line starts without them
    from flexpact.demo.errors import DemoError  # noqa: PLC0415
    from flexpact.demo.plan import Options  # noqa: PLC0415
    from flexpact.demo.play import play  # noqa: PLC0415
    from flexpact.demo.view import LiveView, PlainView  # noqa: PLC0415

    console = Console()
    options = Options(
        out=out or Path(f"demo-out-{Clock.real()():%Y%m%d-%H%M%S}"),
        speed=speed,
        meters=meters,
        seed=seed,
        vens=vens,
        households_per_ven=households_per_ven,
        window=window or fault is not None,
        fault=fault,
        peer=peer,
    )
    live = console.is_terminal and not headless
    try:
        with LiveView(console) if live else PlainView(console) as view:
            outcome = asyncio.run(_stoppable(play(options, view)))
    except DemoError as error:
        raise SystemExit(f"flexpact demo: {error}") from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SystemExit("flexpact demo: stopped") from None
    _tell(console, outcome, options.out)
    if not outcome.held:
        raise typer.Exit(1)


async def _stoppable(playing: "Coroutine[None, None, Outcome]") -> "Outcome":
    """Return what `playing` returns; SIGTERM and a closed terminal end it as Ctrl-C does."""
    task = asyncio.ensure_future(playing)
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def _tell(console: Console, outcome: "Outcome", out: Path) -> None:
    """Print what the demo came to: each check with its verdict, the main numbers, where the rest lies."""
    for check in outcome.checks:
        verdict = "[green]held[/]" if check.held else "[bold red]FAILED[/]"
        console.print(f"{verdict:<6}  {check.name}" + ("" if check.held else f": {check.sentence}"))
    console.print(f"\n{outcome.sentence}", highlight=False)
    console.print(f"everything lies in {out}", highlight=False)
