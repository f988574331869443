"""`flexpact aggregator user`: who may sign in to the dashboard, also when no admin can."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from flexpact import typed
from flexpact.control import ask, show

app = typer.Typer()
user = typer.Typer(help="Who may sign in to the dashboard.", no_args_is_help=True)
app.add_typer(user, name="user")

Socket = Annotated[Path, typer.Option(help="Control socket of the running aggregator.")]
Name = Annotated[str, typer.Argument(help="The user's name.", callback=typed.text)]


@user.command("list")
def list_users(socket: Socket) -> None:
    """Show all users."""
    show(_ask(socket, "GET", "/users"))


@user.command()
def add(
    name: Name,
    socket: Socket,
    role: Annotated[str, typer.Option(help="viewer, operator, admin, auditor or prosumer.")],
    ven_id: Annotated[list[str] | None, typer.Option(help="A prosumer's VEN; may be given again.")] = None,
    home: Annotated[str | None, typer.Option(help="The prosumer's home behind it.")] = None,
) -> None:
    """Make a user; prints the one-time link by which the password is set."""
    body: dict[str, Any] = {"name": name, "role": role, "ven_ids": ven_id or [], "home": home}
    show(_ask(socket, "POST", "/users", body))


@user.command()
def link(
    name: Name,
    socket: Socket,
    reset_factor: Annotated[
        bool, typer.Option("--reset-factor", help="The telephone is lost: forget the second factor.")
    ] = False,
) -> None:
    """Print a one-time link by which the user sets another password."""
    show(_ask(socket, "POST", f"/users/{quote(name, safe='')}/link", {"reset_factor": reset_factor}))


@user.command()
def revoke(name: Name, socket: Socket) -> None:
    """Let a user in no more: sessions, tokens and links end at once."""
    show(_ask(socket, "POST", f"/users/{quote(name, safe='')}/revoke"))


def _ask(socket: Path, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    return ask("aggregator", socket, method, path, body)
