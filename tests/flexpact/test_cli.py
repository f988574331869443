import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from flexpact import __version__
from flexpact.cli import SUBS, MissingPartError, build

runner = CliRunner()


def test_help_names_every_sub_command_and_imports_none() -> None:
    code = (
        "import sys; from flexpact.cli import main; sys.argv = ['flexpact', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.stderr.write(' '.join(m for m in sys.modules if m.startswith('flexpact.commands.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in SUBS:
        assert name in done.stdout
    assert done.stderr == ""


def test_the_version_is_shown() -> None:
    assert runner.invoke(build([]), ["--version"]).output.strip() == f"flexpact {__version__}"


def test_an_unknown_sub_command_is_refused() -> None:
    assert runner.invoke(build(["nonsense"]), ["nonsense"]).exit_code == 2


@pytest.mark.parametrize("name", list(SUBS))
def test_every_sub_command_shows_its_help(name: str) -> None:
    shown = runner.invoke(build([name]), [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert "Usage" in shown.output


def test_a_module_that_is_not_installed_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [m for m in sys.modules if m.startswith("flexpact.commands.pki")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [m for m in sys.modules if m == "flexpact.pki"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MissingPartError, match=r"needs the module cryptography.*flexpact\[aggregator\]"):
        build(["pki"])


LIGHT = """
import sys
from importlib.machinery import PathFinder
absent = {"aiosqlite", "alembic", "eth", "eth_account", "eth_utils", "pkcs11", "pydantic_settings", "sklearn",
          "sqlalchemy", "structlog", "uvloop", "web3"}
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *more: None if name.partition(".")[0] in absent else find(name, *more)
from flexpact.cli import main
main()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["aggregator", "serve", "--config", "none"],
        ["vtn", "serve", "--config", "none", "--database", "none"],
        ["ledger", "chain", "serve", "--dir", "chain"],
        ["ledger", "deploy", "--rpc", "http://127.0.0.1:9", "--key-file", "none"],
        ["ledger", "key", "new", "chain.key"],
        ["demo", "--out", "out", "--headless"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_the_light_install_says_what_a_command_needs_and_leaves_nothing(
    arguments: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", LIGHT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"flexpact: `flexpact {arguments[0]}` needs the module ")
    assert done.stderr.endswith("comes with: pip install 'flexpact[aggregator]'\n")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.goal(32)
def test_no_secret_is_an_argument_that_others_see_in_the_list_of_processes() -> None:
    secret = re.compile("password|passphrase|secret|token|private|mnemonic|pin$")
    names = [one for name in SUBS for one in options(typer.main.get_command(build([name])), name)]
    assert len(names) > 100
    told = [(command, option) for command, option in names if secret.search(option)]
    assert [one for one in told if not one[1].endswith("_file")] == []


def options(command: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every option and argument of a command and of those below it."""
    for parameter in command.params:
        yield path, parameter.name
    for name, below in getattr(command, "commands", {}).items():
        yield from options(below, f"{path} {name}")
