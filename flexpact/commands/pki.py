"""`flexpact pki`: an authority and certificates for trying things out."""

from pathlib import Path
from typing import Annotated

import typer

from flexpact.clock import Clock
from flexpact.pki import PkiError, issue, make_authority

app = typer.Typer(help="Make an authority and certificates for trying things out.", no_args_is_help=True)

Directory = Annotated[Path, typer.Argument(help="Where the authority lies: ca.pem and ca.key.")]


@app.command()
def authority(directory: Directory) -> None:
    """Make a new authority in DIRECTORY."""
    try:
        made = make_authority(directory, Clock.real()())
    except PkiError as error:
        raise SystemExit(f"flexpact pki: {error}") from None
    typer.echo(made.cert)


@app.command("issue")
def issue_certificate(
    directory: Directory,
    name: Annotated[str, typer.Argument(help="The party's name, which becomes the name of its files.")],
    server: Annotated[bool, typer.Option("--server", help="A server's certificate, for loopback.")] = False,
) -> None:
    """Make a certificate of NAME and print its fingerprint, the form in which a node is enrolled."""
    try:
        made = issue(directory, name, Clock.real()(), server=server)
    except PkiError as error:
        raise SystemExit(f"flexpact pki: {error}") from None
    typer.echo(made.fingerprint)
