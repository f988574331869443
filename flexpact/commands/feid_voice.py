"""`flexpact feid events|opt|schedule|...`: what the people of a site say to their box."""

import json
import socket as sockets
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from flexpact.control import harmless, show

app = typer.Typer()
TIMEOUT_S = 10.0

Box = Annotated[
    Path, typer.Option(envvar="FLEXPACT_FEID", help="Settings of the box, or the socket that they name.")
]


class Part(StrEnum):
    """Whether the site takes part."""

    IN = "in"
    OUT = "out"

    @property
    def opt(self) -> str:
        """The word of the standard."""
        return "optIn" if self is Part.IN else "optOut"


@app.command()
def events(config: Box) -> None:
    """Show the events that the box holds, and what it has answered."""
    show(ask(config, op="events"))


@app.command()
def opt(
    event_id: Annotated[str, typer.Argument(help="The event's id, from `flexpact feid events`.")],
    part: Annotated[Part, typer.Argument(help="Whether the site takes part in it.")],
    config: Box,
) -> None:
    """Take part in one event, or no more; the devices follow at once, the VTN is told."""
    show(ask(config, op="opt", event_id=event_id, opt=part.opt))


@app.command()
def schedule(  # noqa: PLR0917 - the command line passes them by name
    part: Annotated[Part, typer.Argument(help="Whether the site takes part in that time.")],
    hours: Annotated[float, typer.Option(help="How long.")],
    config: Box,
    start: Annotated[
        str | None, typer.Option(help="From when, such as 2026-01-20T17:00+01:00; without it: from now on.")
    ] = None,
    programme: Annotated[str | None, typer.Option(help="In this programme only.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, in a word of OpenADR or one after `x-`.")] = None,
) -> None:
    """Say when the site takes part, or stays out of all events that come for that time."""
    wanted = {"opt": part.opt, "hours": hours, "start": start, "programme": programme, "reason": reason}
    show(ask(config, op="schedule", **wanted))


@app.command()
def schedules(config: Box) -> None:
    """Show the schedules that hold."""
    show(ask(config, op="schedules"))


@app.command()
def withdraw(
    opt_id: Annotated[str, typer.Argument(help="The schedule's id, from `flexpact feid schedules`.")],
    config: Box,
) -> None:
    """Take a schedule back."""
    show(ask(config, op="withdraw", opt_id=opt_id))


@app.command()
def leave(config: Box) -> None:
    """End the registration; the box registers again after `register_after_cancel_s` of its settings."""
    show(ask(config, op="leave"))


@app.command()
def status(config: Box) -> None:
    """Show how the box stands with its VTN."""
    show(ask(config, op="status"))


def ask(config: Path, **request: object) -> Any:
    """What the running box answers; SystemExit with one sentence where it does not, or refuses."""
    path = _socket(config)
    try:
        with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as line:
            line.settimeout(TIMEOUT_S)
            line.connect(str(path))
            line.sendall(json.dumps(request).encode() + b"\n")
            with line.makefile("rb") as answers:
                answer = json.loads(answers.readline())
    except (OSError, ValueError) as error:
        raise SystemExit(f"flexpact feid: no box answers on {path}: {error}") from None
    if "error" in answer:
        raise SystemExit(f"flexpact feid: {harmless(answer['error'])}")
    return answer["result"]


def _socket(config: Path) -> Path:
    if config.is_socket():
        return config
    from feid.errors import SettingsError  # noqa: PLC0415  # the command line starts without the parts it does not run
    from feid.settings import FeidSettings  # noqa: PLC0415

    try:
        path = FeidSettings.load(config).socket
    except SettingsError as error:
        raise SystemExit(f"flexpact feid: {error}") from None
    if path is None:
        raise SystemExit(f'flexpact feid: {config} names no socket: add socket = "feid.sock"')
    return path
