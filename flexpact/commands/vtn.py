"""`flexpact vtn`: the OpenADR server by itself, and the enrolment of VENs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from flexpact.clock import Clock, ClockError
from flexpact.control import ask

app = typer.Typer(no_args_is_help=True, help="The OpenADR server by itself.")


@app.command()
def serve(
    database: Annotated[Path, typer.Option(help="SQLite file; made if it is missing.")],
    config: Annotated[
        Path, typer.Option(help="TOML file: the listener in `vtn`, the operator's API in `operator`.")
    ],
    clock: Annotated[str, typer.Option(help="`real`, or START@UNIX_SECONDSxSPEED.")] = "real",
) -> None:
    """Serve OpenADR 2.0b until SIGTERM or SIGINT; it asks for the reports that the operator wants."""
    import uvloop  # noqa: PLC0415  # the command line starts without the parts it does not run

    from flexpact import bare_vtn  # noqa: PLC0415
    from vtn.errors import VtnError  # noqa: PLC0415

    try:
        uvloop.run(bare_vtn.serve(database, bare_vtn.read_settings(config), Clock.parse(clock)))
    except (VtnError, ClockError) as error:
        raise SystemExit(f"flexpact vtn: {error}") from None


@app.command()
def enrol(  # noqa: PLR0917 - the command line passes them by name
    name: Annotated[str, typer.Argument(help="Name of the VEN.")],
    fingerprint: Annotated[
        str, typer.Argument(help="SHA-256 of its certificate: 64 hex digits, or 29 characters `5E:71:...`.")
    ],
    database: Annotated[Path | None, typer.Option(help="SQLite file; made if it is missing.")] = None,
    profile: Annotated[str, typer.Option(help="2.0b or 2.0a, whose short fingerprint is SHA-1's.")] = "2.0b",
    overlap_days: Annotated[
        int, typer.Option(help="How long certificates that it has go on being taken.", min=0, max=3650)
    ] = 30,
    socket: Annotated[
        Path | None, typer.Option(envvar="FLEXPACT_SOCKET", help="Control socket of the running server.")
    ] = None,
) -> None:
    """Allow a certificate to register as a VEN; prints the VEN's id. Give the database or the socket."""
    if database is None and socket is None:
        raise typer.BadParameter("give --database or --socket")
    if profile not in {"2.0a", "2.0b"}:
        raise typer.BadParameter(f"--profile is 2.0a or 2.0b, not {profile!r}")
    if database is None and socket is not None:
        body = {
            "ven_name": name,
            "fingerprint": fingerprint,
            "profile": profile,
            "overlap_days": overlap_days,
        }
        typer.echo(ask("vtn", socket, "POST", "/vtn/vens", body)["ven_id"])
        return
    from flexpact import bare_vtn  # noqa: PLC0415
    from vtn.errors import VtnError  # noqa: PLC0415

    try:
        typer.echo(asyncio.run(bare_vtn.enrol(Path(str(database)), name, fingerprint, profile, overlap_days)))
    except (ValueError, VtnError) as error:
        raise SystemExit(f"flexpact vtn: {error}") from None
