"""`flexpact event`: events of a running server, by its control socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from flexpact.control import ask, show

app = typer.Typer(help="Events.", no_args_is_help=True)

Socket = Annotated[Path, typer.Option(envvar="FLEXPACT_SOCKET", help="Control socket of the running server.")]
EventId = Annotated[str, typer.Argument(metavar="EVENT", help="Id of the event.")]
Vens = Annotated[list[str] | None, typer.Option("--ven", help="Id or name of a VEN; may be repeated.")]
Start = Annotated[str | None, typer.Option(help="Such as 2026-01-20T17:00:00Z.")]
Length = Annotated[str | None, typer.Option(help="Such as PT2H; PT0S: until it is cancelled.")]
Priority = Annotated[int | None, typer.Option(min=0, help="1 is the highest; 0: none.")]
Comment = Annotated[str | None, typer.Option(help="For the people at the VEN.")]
Notice = Annotated[str | None, typer.Option(help="Notice before the start, such as PT30M.")]
StartAfter = Annotated[str | None, typer.Option(help="Width of the random start, such as PT10M.")]
RampUp = Annotated[str | None, typer.Option(help="Such as PT5M.")]
Never = Annotated[bool | None, typer.Option("--no-answer/--answer", help="Whether VENs are to answer.")]
Resources = Annotated[
    list[str] | None, typer.Option("--resource", help="Only this resource; may be repeated.")
]
Warn = Annotated[bool, typer.Option("--allow-overlap", help="Warn of an overlap instead of refusing it.")]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", help="JSON with any other fields, as in the API; - for standard input."),
]


def _fields(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and value != []}


def _body(file: Path | None, **fields: Any) -> dict[str, Any]:
    """The fields of the file, those of the command line in front of them."""
    if file is None:
        return _fields(**fields)
    try:
        content = typer.get_text_stream("stdin").read() if str(file) == "-" else file.read_text("utf-8")
        read = json.loads(content)
    except OSError as error:
        raise SystemExit(f"flexpact event: {file}: {error.strerror}") from None
    except ValueError as error:
        raise SystemExit(f"flexpact event: {file} is no JSON: {error}") from None
    if not isinstance(read, dict):
        raise SystemExit(f"flexpact event: {file} holds no object")
    return {**read, **_fields(**fields)}


def _said(never: bool | None) -> str | None:
    return None if never is None else "never" if never else "always"


def _told(answer: dict[str, Any]) -> None:
    """The answer on standard output, its warnings as sentences on standard error."""
    for warning in answer["warnings"]:
        typer.echo(f"warning: {warning['kind']}: {warning['detail']}", err=True)
    show(answer)


def _path(event_id: str, *rest: str) -> str:
    return "/".join(["/vtn/events", quote(event_id, safe=""), *rest])


@app.command()
def create(
    *,
    socket: Socket,
    ven: Vens = None,
    template: Annotated[
        str | None, typer.Option(help="Programme, such as fast-dispatch; see `flexpact vtn programmes`.")
    ] = None,
    value: Annotated[
        list[str] | None,
        typer.Option(help="For a template: LOAD_DISPATCH/delta=-500 or SIMPLE=1,2,1; may be repeated."),
    ] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="The same id again is the same event.")] = None,
    start: Start = None,
    duration: Length = None,
    market_context: Annotated[str | None, typer.Option(help="URI of the programme.")] = None,
    priority: Priority = None,
    comment: Comment = None,
    notice: Notice = None,
    start_after: StartAfter = None,
    ramp_up: RampUp = None,
    currency: Annotated[str | None, typer.Option(help="Of prices, such as EUR.")] = None,
    resource: Resources = None,
    no_answer: Never = None,
    test: Annotated[bool, typer.Option("--test", help="A test event.")] = False,
    allow_overlap: Warn = False,
    file: FileOption = None,
) -> None:
    """Publish an event to one VEN or more; all of them get it, or none."""
    body = _body(
        file,
        vens=ven,
        programme=template,
        values=_values(value or []),
        event_id=event_id,
        start=start,
        duration=duration,
        market_context=market_context,
        priority=priority,
        vtn_comment=comment,
        notification=notice,
        start_after=start_after,
        ramp_up=ramp_up,
        currency=currency,
        target={"resource_id": resource} if resource else None,
        response_required=_said(no_answer),
        test_event=True if test else None,
        overlap="warn" if allow_overlap else None,
    )
    _told(ask("event", socket, "POST", "/vtn/events", body))


def _values(texts: list[str]) -> dict[str, list[float]] | None:
    """`LOAD_DISPATCH/delta=-500,-250` as numbers by signal."""
    found: dict[str, list[float]] = {}
    for text in texts:
        name, _, numbers = text.partition("=")
        try:
            found[name] = [float(number) for number in numbers.split(",")]
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not like SIMPLE=1 or BID_LOAD=100,200") from None
    return found or None


@app.command()
def modify(
    event_id: EventId,
    *,
    socket: Socket,
    ven: Vens = None,
    start: Start = None,
    duration: Length = None,
    priority: Priority = None,
    comment: Comment = None,
    notice: Notice = None,
    start_after: StartAfter = None,
    ramp_up: RampUp = None,
    resource: Resources = None,
    no_answer: Never = None,
    reason: Annotated[str | None, typer.Option(help="Told to the VENs.")] = None,
    allow_overlap: Warn = False,
    file: FileOption = None,
) -> None:
    """Change an event that is not over; what is not named stays as it is."""
    body = _body(
        file,
        vens=ven,
        start=start,
        duration=duration,
        priority=priority,
        vtn_comment=comment,
        notification=notice,
        start_after=start_after,
        ramp_up=ramp_up,
        target={"resource_id": resource} if resource else None,
        response_required=_said(no_answer),
        reason=reason,
        overlap="warn" if allow_overlap else None,
    )
    _told(ask("event", socket, "PATCH", _path(event_id), body))


@app.command()
def cancel(
    event_id: EventId,
    *,
    socket: Socket,
    ven: Vens = None,
    reason: Annotated[str | None, typer.Option(help="Told to the VENs.")] = None,
) -> None:
    """Take an event back, from all its VENs or from those that are named."""
    _told(ask("event", socket, "POST", _path(event_id, "cancel"), _fields(vens=ven, reason=reason)))


@app.command("show")
def show_(
    event_id: EventId,
    socket: Socket,
    ven: Annotated[str | None, typer.Option(help="Show the event as this VEN has it.")] = None,
) -> None:
    """Show an event, and how each VEN stands to it."""
    query = "" if ven is None else f"?{urlencode({'ven': ven})}"
    show(ask("event", socket, "GET", _path(event_id) + query))


@app.command("list")
def list_(
    socket: Socket,
    ven: Annotated[str | None, typer.Option(help="Only events of this VEN.")] = None,
    current: Annotated[bool, typer.Option("--current", help="Neither over nor cancelled.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 100,
    after: Annotated[str | None, typer.Option(help="Id of the last event of the page before.")] = None,
) -> None:
    """List events by id."""
    query = urlencode(_fields(ven=ven, current=str(current).lower(), limit=limit, after=after))
    show(ask("event", socket, "GET", f"/vtn/events?{query}"))
