"""`flexpact vtn ...` for the operator: VENs, opts, reports and traces of a running server, by its socket."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from flexpact.control import ask, harmless, show

app = typer.Typer(help="The operator's commands.", no_args_is_help=True)

SERVICE_CHARS = 40  # a path that is no service is as long as its sender likes

Socket = Annotated[Path, typer.Option(envvar="FLEXPACT_SOCKET", help="Control socket of the running server.")]
VenArgument = Annotated[str, typer.Argument(metavar="VEN", help="Id or name of the VEN.")]


def _ask(socket: Path, method: str, path: str, body: Any = None, **query: Any) -> Any:
    given = {name: value for name, value in query.items() if value is not None}
    return ask("vtn", socket, method, "/vtn" + path + (f"?{urlencode(given)}" if given else ""), body)


def _of(ven: str, *rest: str) -> str:
    return "/".join(["/vens", *(quote(part, safe="") for part in (ven, *rest))])


@app.command()
def vens(socket: Socket) -> None:
    """List all VENs that may register."""
    show(_ask(socket, "GET", "/vens")["vens"])


@app.command()
def ven(name: VenArgument, socket: Socket) -> None:
    """Show one VEN, its certificates and what waits for it."""
    show(_ask(socket, "GET", _of(name)))


@app.command()
def certificates(
    socket: Socket,
    ending_days: Annotated[int, typer.Option(help="Those that end within so many days.")] = 30,
) -> None:
    """List certificates of VENs that soon end and were not replaced yet."""
    show(_ask(socket, "GET", "/certificates/ending", days=ending_days)["ending"])


@app.command()
def pending(socket: Socket) -> None:
    """List the clients that asked to register and that nobody enrolled."""
    show(_ask(socket, "GET", "/pending")["pending"])


@app.command()
def approve(
    fingerprint: Annotated[str, typer.Argument(help="As its owner reads it out: `5E:71:...`.")],
    socket: Socket,
    name: Annotated[str | None, typer.Option(help="Name of the VEN; its own where it is left out.")] = None,
) -> None:
    """Enrol a client that waits; prints the VEN's id."""
    body = {} if name is None else {"ven_name": name}
    typer.echo(_ask(socket, "POST", f"/pending/{quote(fingerprint, safe='')}/approve", body)["ven_id"])


@app.command()
def suspend(name: VenArgument, socket: Socket) -> None:
    """Take no more messages of a VEN; its registration stays."""
    _ask(socket, "POST", _of(name, "suspend"))


@app.command()
def resume(name: VenArgument, socket: Socket) -> None:
    """Take the messages of a suspended VEN again."""
    _ask(socket, "POST", _of(name, "resume"))


@app.command()
def cancel_registration(name: VenArgument, socket: Socket) -> None:
    """End a VEN's registration: it is told at its next poll."""
    _ask(socket, "POST", _of(name, "cancel-registration"))


@app.command()
def register_again(name: VenArgument, socket: Socket) -> None:
    """Ask a VEN to send its registration again."""
    _ask(socket, "POST", _of(name, "register-again"))


@app.command("set")
def set_(
    name: VenArgument,
    socket: Socket,
    *,
    poll_period: Annotated[int | None, typer.Option(help="Seconds; 0: as all others.")] = None,
    lenient: Annotated[
        bool | None, typer.Option("--lenient/--strict", help="Forgive known deviations of some products.")
    ] = None,
    signatures: Annotated[
        bool | None,
        typer.Option(
            "--require-signatures/--no-signatures", help="Ignore what it does not sign, or no more."
        ),
    ] = None,
    signature_leniency: Annotated[
        bool | None, typer.Option(help="Take its exclusive C14N, or no signed ReplayProtect.")
    ] = None,
    signed_reports: Annotated[
        bool | None,
        typer.Option("--require-signed-reports/--any-reports", help="Ignore reports that it has not signed."),
    ] = None,
) -> None:
    """Set what holds for this VEN alone."""
    body = {
        "poll_period_s": poll_period,
        "lenient": lenient,
        "signature_required": signatures,
        "signature_leniency": signature_leniency,
        "report_signature_required": signed_reports,
    }
    show(_ask(socket, "PATCH", _of(name), {key: value for key, value in body.items() if value is not None}))


@app.command()
def withdraw(
    name: VenArgument,
    fingerprint: Annotated[str, typer.Argument(help="Of the certificate.")],
    socket: Socket,
) -> None:
    """Take one of a VEN's certificates no more."""
    _ask(socket, "DELETE", _of(name, "certificates", fingerprint))


@app.command()
def programmes(socket: Socket) -> None:
    """Show the templates that an event can be made from."""
    show(_ask(socket, "GET", "/programmes")["programmes"])


@app.command()
def opts(
    socket: Socket,
    ven: Annotated[str | None, typer.Option(help="Of this VEN only.")] = None,
    event: Annotated[str | None, typer.Option(help="Of this event only.")] = None,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 100,
) -> None:
    """List what VENs answered to events and announced, the newest first."""
    show(_ask(socket, "GET", "/opts", ven=ven, event_id=event, limit=last)["opts"])


@app.command()
def reports(name: VenArgument, socket: Socket) -> None:
    """Show what a VEN can report."""
    show(_ask(socket, "GET", _of(name, "reports"))["reports"])


@app.command()
def report_requests(
    name: VenArgument,
    socket: Socket,
    running: Annotated[bool, typer.Option("--running", help="Only those that have not ended.")] = False,
) -> None:
    """List what a VEN was asked to report."""
    query = {"running": "true"} if running else {}
    show(_ask(socket, "GET", _of(name, "report-requests"), **query)["requests"])


@app.command()
def request_report(
    name: VenArgument,
    specifier: Annotated[str, typer.Argument(help="From the VEN's catalogue, or METADATA.")],
    *,
    socket: Socket,
    report_id: Annotated[
        str | None, typer.Option("--id", help="The same id again is the same request.")
    ] = None,
    r_id: Annotated[list[str] | None, typer.Option(help="Data points; all where it is left out.")] = None,
    granularity: Annotated[str | None, typer.Option(help="Of the values, such as PT15M.")] = None,
    every: Annotated[
        str | None, typer.Option(help="How often it comes, such as PT15M; once otherwise.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="Such as 2026-01-20T17:00:00Z.")] = None,
    duration: Annotated[str | None, typer.Option(help="PT0S: without an end.")] = None,
) -> None:
    """Ask a VEN for a report at its next poll."""
    body = {
        "specifier_id": specifier,
        "report_request_id": report_id,
        "r_ids": r_id or None,
        "granularity": granularity,
        "report_back": every,
        "start": start,
        "duration": duration,
    }
    given = {key: value for key, value in body.items() if value is not None}
    show(_ask(socket, "POST", _of(name, "report-requests"), given))


@app.command()
def cancel_report(
    name: VenArgument,
    report_id: Annotated[str, typer.Argument(help="Id of the report request.")],
    socket: Socket,
    follow: Annotated[bool, typer.Option("--follow", help="With one more report.")] = False,
) -> None:
    """End a report of a VEN."""
    body = {"report_to_follow": follow}
    show(_ask(socket, "POST", _of(name, "report-requests", report_id, "cancel"), body))


@app.command()
def trace(
    name: VenArgument,
    socket: Socket,
    turn: Annotated[
        bool | None, typer.Option("--on/--off", help="Trace it from now on, or no longer.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many exchanges.")] = 20,
    save: Annotated[
        Path | None, typer.Option(help="Folder for NNNN-request.xml and NNNN-response.xml, in order.")
    ] = None,
) -> None:
    """Show the last exchanges with a VEN that is traced, or write them as files."""
    if turn is not None:
        _ask(socket, "POST", _of(name, "trace"), {"on": turn})
        return
    query = {"bodies": "true"} if save else {}
    found = _ask(socket, "GET", _of(name, "trace"), last=last, **query)
    if not found["exchanges"] and "traced_since" not in found:
        typer.echo(harmless(f"{found['ven_name']} is not traced: flexpact vtn trace {name} --on"), err=True)
    for exchange in found["exchanges"]:
        typer.echo(_line(exchange))
    if save is not None:
        _write(save, found["exchanges"])


@app.command()
def findings(
    name: VenArgument,
    socket: Socket,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many traced exchanges are judged.")] = 200,
) -> None:
    """Show which rules a VEN and this VTN broke; the conversation is judged as far as it was traced."""
    found = _ask(socket, "GET", _of(name, "findings"), last=last)
    for row in found["judged"] + found["counted"]:
        mark = "warning" if row["warning"] else "broken"
        typer.echo(f"{row['party']} {row['rule']:7} {mark:7} {row['times']:5}x  {harmless(row['text'])}")
    typer.echo(f"{found['judged_exchanges']} exchanges judged", err=True)
    if "traced_since" not in found:
        typer.echo(harmless(f"{found['ven_name']} is not traced: flexpact vtn trace {name} --on"), err=True)


def _line(exchange: dict[str, Any]) -> str:
    """One exchange for people: who asked what, and what came of it."""
    arrow = "<-" if exchange["direction"] == "in" else "->"
    asked = f"{exchange.get('request_name', '?')} ({exchange['request_bytes']} B)"
    said = f"{exchange.get('response_name', '-')} {exchange.get('response_code', '')}".rstrip()
    answered = f"{exchange['http_status']} {said} ({exchange['response_bytes']} B)"
    service = exchange["service"][:SERVICE_CHARS]
    return harmless(f"{exchange['number']:6} {exchange['at']} {arrow} {service} {asked}: {answered}")


def _write(folder: Path, exchanges: list[dict[str, Any]]) -> None:
    """The bodies in order; an answer without a body has no file, so none of another trace may be there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if next(folder.glob("*-re[qs]*.xml"), None) is not None:
            raise SystemExit(f"flexpact vtn: {folder} holds a trace already: give another folder")
        for number, exchange in enumerate(exchanges, start=1):
            for side in ("request", "response"):
                body = base64.b64decode(exchange[f"{side}_base64"])
                if body:
                    (folder / f"{number:04d}-{side}.xml").write_bytes(body)
    except OSError as error:
        raise SystemExit(f"flexpact vtn: {error.filename or folder}: {error.strerror}") from None
