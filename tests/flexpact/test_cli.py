import subprocess
import sys

import pytest
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
