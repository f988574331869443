"""`flexpact feid serve`: what is in the way is said in one sentence, and nothing is started."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flexpact.commands.feid import app, main

SETTINGS = """
node = "node-1"
state = "{state}"
[driver]
kind = "simulated"
socket = "sim.sock"
[limits]
[ven]
vtn_url = "http://127.0.0.1:1"
insecure_dev = true
ven_name = "node-1"
state_path = "ven.sqlite"
"""


@pytest.mark.parametrize(
    ("text", "clock", "says"),
    [
        pytest.param(None, "real", "No such file", id="no settings"),
        pytest.param("[limits]", "real", "node must be a text", id="settings that say too little"),
        pytest.param(SETTINGS.format(state="f.sqlite"), "noon", "is not a clock", id="a clock that is none"),
        pytest.param(SETTINGS.format(state="."), "real", "unable to open", id="a directory as memory"),
        pytest.param(
            SETTINGS.format(state="/proc/no/f.sqlite"), "real", "No such file", id="no place for it"
        ),
    ],
)
def test_what_is_in_the_way_is_said_in_one_sentence(
    tmp_path: Path, text: str | None, clock: str, says: str
) -> None:
    config = tmp_path / "feid.toml"
    if text is not None:
        config.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app, ["--config", str(config), "--clock", clock])
    said = result.output + str(result.exception)
    assert result.exit_code == 1
    assert "flexpact feid: " in said
    assert says in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("ven", "says"),
    [
        pytest.param('cert = "none.pem"', "none.pem cannot be read: No such file or directory", id="none"),
        pytest.param('cert = "."', "cannot be read: Is a directory", id="a directory"),
        pytest.param('cert = "feid.toml"', "feid.toml holds no certificate that can be read", id="no PEM"),
    ],
)
def test_certificates_are_looked_at_before_devices_and_memory(tmp_path: Path, ven: str, says: str) -> None:
    config = tmp_path / "feid.toml"
    text = SETTINGS.format(state="f.sqlite").replace("http:", "https:").replace("insecure_dev = true", ven)
    config.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app, ["--config", str(config)])
    assert result.exit_code == 1
    assert str(result.exception).startswith("flexpact feid: ")
    assert str(result.exception).endswith(says)
    assert not (tmp_path / "f.sqlite").exists()


def test_a_log_level_that_is_none_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--config", str(tmp_path / "feid.toml"), "--log-level", "foo"])
    assert result.exit_code == 2
    assert "'foo' is not a level" in result.output


def flexpact(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "flexpact", "feid", "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_process_of_a_box_stays_without_pydantic(tmp_path: Path) -> None:
    done = flexpact("--config", str(tmp_path / "feid.toml"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"flexpact feid: {tmp_path / 'feid.toml'}: No such file")
    assert "feid.settings" in done.stderr
    assert "pydantic" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param([], "the following arguments are required: --config", id="no settings named"),
        pytest.param(["--config", "x", "--log-level", "foo"], "invalid choice: 'FOO'", id="no such level"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
