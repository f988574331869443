import asyncio
import signal
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flexpact.commands.feid_simulate import app

CONFIG = """
socket = "{folder}/s.sock"
start = 2025-01-20T00:00:00Z
days_of_history = 1
nodes = 1
homes_per_node = 2
"""


def write(folder: Path, text: str = CONFIG) -> Path:
    path = folder / "simulator.toml"
    path.write_text(text.format(folder=folder))
    return path


@pytest.mark.parametrize(
    ("text", "clock", "says"),
    [
        pytest.param("nodes = 1", "real", "socket is missing", id="no socket"),
        pytest.param(CONFIG, "yesterday", "'yesterday' is not a clock", id="no clock"),
        pytest.param(
            CONFIG, "2026-01-20T00:00:00Z@1x60", "give a clock that starts there", id="clock far away"
        ),
        pytest.param(CONFIG + 'meters = "absent.csv"', "real", "absent.csv: No such file", id="no meters"),
    ],
)
def test_what_cannot_be_simulated_is_one_sentence(tmp_path: Path, text: str, clock: str, says: str) -> None:
    result = CliRunner().invoke(app, ["--config", str(write(tmp_path, text)), "--clock", clock])
    assert result.exit_code == 1
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_unknown_log_level_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--config", str(write(tmp_path)), "--log-level", "LOUD"])
    assert result.exit_code == 2
    assert "LOUD" in result.stderr


async def test_it_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "flexpact", "feid", "simulate",
        "--config", str(write(tmp_path)), "--clock", "2025-01-20T00:00:00Z@heldx60",
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    while b"listening on" not in (line := await process.stderr.readline()):
        assert line, "it ended before it listened"
    assert (tmp_path / "s.sock").exists()
    process.send_signal(signal.SIGTERM)
    _, errors = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in errors
    assert not (tmp_path / "s.sock").exists()
