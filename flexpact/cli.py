"""The command line. A sub-command is imported when it is called, so the light install starts too."""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

import flexpact

_OURS = frozenset({"openadr", "vtn", "ven", "feid", "aggregator", "ledger", "flexpact"})


@dataclass(frozen=True, slots=True)
class Sub:
    """One sub-command: the modules of `flexpact.commands` that make it, and the line that `--help` shows."""

    modules: Sequence[str]
    help: str
    group: bool = True  # False: the module's one command is the sub-command itself


SUBS: dict[str, Sub] = {
    "demo": Sub(["demo"], "Play one day of a whole platform on this machine.", group=False),
    "aggregator": Sub(
        ["aggregator", "aggregator_user", "backup"],
        "Run the aggregator, ask it for a reduction, read what it knows.",
    ),
    "vtn": Sub(["vtn", "vtn_operator"], "Run the OpenADR server by itself; VENs, reports and traces of any."),
    "event": Sub(["event"], "Create, modify, cancel and show events of a running server."),
    "feid": Sub(
        ["feid", "feid_voice", "feid_audit", "feid_simulate"],
        "Run the box at the customer, speak for its site.",
    ),
    "openadr": Sub(["openadr"], "Check OpenADR 2.0 messages in files."),
    "ledger": Sub(
        [
            "ledger",
            "ledger_check",
            "ledger_export",
            "ledger_network",
            "ledger_witness",
            "ledger_agreement",
            "ledger_follow",
        ],
        "The log, the chains, the contracts and witnesses.",
    ),
    "verify": Sub(["verify"], "Verify a receipt offline.", group=False),
    "pki": Sub(["pki"], "Make an authority and certificates, renew and revoke them."),
}


class MissingPartError(Exception):
    """A sub-command needs a module that is not installed."""


def build(arguments: Sequence[str]) -> typer.Typer:
    """Return the command line, the sub-command in `arguments` loaded, the others by name only."""
    root = typer.Typer(
        name="flexpact",
        help="Demand response with OpenADR 2.0b: measured, settled and proven.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    root.callback()(_root)
    called = _called(arguments)
    for name, sub in SUBS.items():
        if name == called:
            _add(root, name, sub)
        else:
            root.command(name, help=sub.help)(_by_name_only)
    return root


def main() -> None:
    """Run the command line; the entry point of the `flexpact` program."""
    arguments = sys.argv[1:]
    try:
        try:
            if arguments[:2] == ["feid", "serve"]:
                importlib.import_module("flexpact.commands.feid").main(arguments[2:])
            else:
                build(arguments)()
        except ModuleNotFoundError as error:  # many a sub-command imports what it needs when it runs
            raise _missing_part(_called(arguments) or "", error) from None
    except MissingPartError as error:
        raise SystemExit(f"flexpact: {error}") from None


def _called(arguments: Sequence[str]) -> str | None:
    return next((word for word in arguments if not word.startswith("-")), None)


def _add(root: typer.Typer, name: str, sub: Sub) -> None:
    apps = [_load(name, module) for module in sub.modules]
    if not sub.group:
        root.add_typer(apps[0])
        return
    group = typer.Typer(help=sub.help, no_args_is_help=True)
    group.callback()(_by_name_only)  # keeps a group of one command a group
    for app in apps:
        group.add_typer(app)
    root.add_typer(group, name=name)


def _load(name: str, module: str) -> typer.Typer:
    try:
        loaded = importlib.import_module(f"flexpact.commands.{module}")
    except ModuleNotFoundError as error:
        raise _missing_part(name, error) from None
    app = loaded.app
    if not isinstance(app, typer.Typer):
        raise TypeError(f"flexpact.commands.{module}.app is no typer.Typer")
    return app


def _missing_part(name: str, error: ModuleNotFoundError) -> MissingPartError:
    missing = (error.name or "").partition(".")[0]
    if not missing or missing in _OURS:
        raise error
    return MissingPartError(
        f"`flexpact {name}` needs the module {missing}, which is not installed; "
        "the server side comes with: pip install 'flexpact[aggregator]'"
    )


def _by_name_only() -> None:
    return


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"flexpact {flexpact.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    return
