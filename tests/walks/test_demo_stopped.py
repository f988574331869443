"""A demo that is stopped or killed on its way leaves no process behind."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.walks.processes import living, wait_for_end


@contextmanager
def demo_on_its_way(out: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo whose homes and chain run and whose aggregator starts."""
    options = ["--headless", "--vens", "1", "--households-per-ven", "1", "--out", str(out)]
    # as in a terminal: a gate that runs in the background ignores Ctrl-C, and its children would too
    hearing = ["env", "--default-signal=INT"]
    command = [*hearing, sys.executable, "-u", "-m", "flexpact", "demo", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        while "aggregator starts" not in (line := demo.stdout.readline()):
            assert line, demo.stderr.read()
        yield demo


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_demo_stops_all_its_processes(number: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with demo_on_its_way(out) as demo:
        assert demo.stderr is not None
        demo.send_signal(number)
        said = demo.stderr.read()
    assert said.strip() == "flexpact demo: stopped"
    assert demo.returncode == 1
    assert (out / "logs" / "chain.log").exists()
    assert living(out) == {}


def test_a_killed_demo_takes_all_its_processes_along(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with demo_on_its_way(out) as demo:
        assert len(living(out)) >= 3  # the demo itself, homes, chain
        demo.kill()
    assert demo.returncode == -signal.SIGKILL
    while here := living(out):  # one that just begins, and is not seen at first, finds its parent gone
        wait_for_end(next(iter(here)))
