"""A demo that is stopped on its way leaves no process behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.walks.processes import living


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_demo_stops_all_its_processes(number: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--headless", "--vens", "1", "--households-per-ven", "1", "--out", str(out)]
    command = [sys.executable, "-u", "-m", "flexpact", "demo", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        while "aggregator starts" not in (line := demo.stdout.readline()):
            assert line, demo.stderr.read()
        demo.send_signal(number)
        said = demo.stderr.read()
    assert said.strip() == "flexpact demo: stopped"
    assert demo.returncode == 1
    assert (out / "logs" / "chain.log").exists()
    assert living(out) == []
