"""`flexpact feid serve`: what is in the way is said in one sentence, and nothing is started."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flexpact.commands.feid import app

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


def test_a_log_level_that_is_none_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--config", str(tmp_path / "feid.toml"), "--log-level", "foo"])
    assert result.exit_code == 2
    assert "'foo' is not a level" in result.output
