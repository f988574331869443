"""`flexpact openadr`: check OpenADR messages and conversations in files."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from flexpact.control import harmless
from openadr.checker import Outcome, Verdict, check_bytes
from openadr.remark import Remark
from openadr.trace import Exchange, judge, read_file, read_trace

app = typer.Typer(help="Check OpenADR 2.0 messages in files.", no_args_is_help=True)

_STYLES = {Outcome.OK: "green", Outcome.RULE: "yellow", Outcome.SCHEMA: "red", Outcome.MALFORMED: "red"}


@app.command()
def check(
    paths: Annotated[
        list[Path], typer.Argument(help="Files, and directories whose *.xml files are checked.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line for each file.")] = False,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace",
            help="Each path is a directory with a conversation: NNNN-request.xml (VEN), NNNN-response.xml"
            " (VTN). Judged in order, with the rules that need the messages before.",
        ),
    ] = False,
) -> None:
    """Say of each message whether it is well-formed, valid under the schema and within the rules.

    Exit status 0 where all are ok, 1 otherwise. Signatures are not verified.
    """
    if trace:
        _check_traces(paths, as_json)
        return
    verdicts = [(path, verdict) for given in paths for path, verdict in _checked(given)]
    if as_json:
        for path, verdict in verdicts:
            typer.echo(json.dumps(_row(path, verdict), ensure_ascii=False))
    else:
        _show(verdicts)
    if any(verdict.outcome is not Outcome.OK for _, verdict in verdicts):
        raise typer.Exit(1)


def _check_traces(directories: list[Path], as_json: bool) -> None:
    """What is to be said of each conversation; exit status 1 where a rule is broken or nothing is there."""
    heard: list[tuple[Path, Exchange, Remark]] = []
    for directory in directories:
        try:
            exchanges = list(read_trace(directory))
        except OSError as error:
            raise typer.BadParameter(f"{directory} cannot be read: {error.strerror or error}") from error
        if not exchanges:
            raise typer.BadParameter(
                f"{directory} holds no exchange: there is no file NNNN-request.xml in it"
            )
        heard += [(directory, exchange, remark) for exchange, remark in judge(exchanges)]
    if as_json:
        for directory, exchange, remark in heard:
            typer.echo(json.dumps(_remark_row(directory, exchange, remark), ensure_ascii=False))
    else:
        _show_remarks(heard)
    if any(not remark.finding.warning for _, _, remark in heard):
        raise typer.Exit(1)


def _remark_row(directory: Path, exchange: Exchange, remark: Remark) -> dict[str, str | bool]:
    finding = remark.finding
    return {
        "trace": harmless(str(directory)),
        "exchange": exchange.name,
        "party": remark.party.value,
        "rule": finding.rule,
        "warning": finding.warning,
        "text": finding.text,
    }


def _show_remarks(heard: list[tuple[Path, Exchange, Remark]]) -> None:
    """One row for each party and rule: how often, and where first."""
    rows: dict[tuple[str, str, str], list[tuple[Exchange, Remark]]] = {}
    for directory, exchange, remark in heard:
        rows.setdefault((harmless(str(directory)), remark.party, remark.finding.rule), []).append(
            (exchange, remark)
        )
    table = Table(Column("trace", overflow="fold"), "who", "rule", "times", "first", "what")
    for (trace, party, rule), cases in rows.items():
        first, remark = cases[0]
        style = "yellow" if remark.finding.warning else "red"
        table.add_row(
            Text(trace),
            party,
            f"[{style}]{rule}[/]",
            str(len(cases)),
            first.name,
            Text(remark.finding.text),
        )
    Console().print(table if rows else "nothing to be said")


def _checked(given: Path) -> Iterator[tuple[Path, Verdict]]:
    """Each file with its verdict; what cannot be read is a verdict too, and so is what cannot be listed."""
    try:
        is_directory = given.is_dir()
    except OSError as error:
        yield given, _unreadable(error)
        return
    if not is_directory:
        yield given, _verdict(given, regular=False)
        return
    refused: list[OSError] = []
    files = sorted(
        Path(folder, name)
        for folder, _, names in os.walk(given, onerror=refused.append)
        for name in names
        if name.lower().endswith(".xml")
    )
    for refusal in refused:
        yield Path(refusal.filename), _unreadable(refusal)
    if not files and not refused:
        yield given, Verdict(Outcome.MALFORMED, text="there is no *.xml file in this directory")
    for path in files:
        yield path, _verdict(path)


def _verdict(path: Path, *, regular: bool = True) -> Verdict:
    try:
        return check_bytes(read_file(path, regular=regular))
    except OSError as error:
        return _unreadable(error)


def _unreadable(error: OSError) -> Verdict:
    return Verdict(Outcome.MALFORMED, text=f"cannot be read: {error.strerror or error}")


def _row(path: Path, verdict: Verdict) -> dict[str, str | None]:
    return {
        "file": harmless(str(path)),
        "profile": verdict.profile,
        "message": verdict.message,
        "verdict": verdict.outcome.value,
        "rule": verdict.rule,
        "text": verdict.text,
    }


def _show(verdicts: list[tuple[Path, Verdict]]) -> None:
    table = Table(Column("file", overflow="fold"), "profile", "message", "verdict", "rule", "text")
    for path, verdict in verdicts:
        style = _STYLES[verdict.outcome]
        table.add_row(
            Text(harmless(str(path))),
            verdict.profile or "-",
            Text(verdict.message or "-"),
            f"[{style}]{verdict.outcome}[/]",
            verdict.rule or "-",
            Text(verdict.text),
        )
    Console().print(table)
