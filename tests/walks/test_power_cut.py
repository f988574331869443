"""Acknowledged means durable: 300 power cuts of the real write path lose nothing that anybody was told is
kept.

The disk is simulated (`crash_disk.py`), everything above it is real. It needs Debian's python3-apsw, which
shares the system's SQLite with the standard library, so the trials run under the system's Python.
"""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest

PYTHON = Path("/usr/bin/python3")
REPOSITORY = Path(__file__).parents[2]
LIMIT_S = 540


def cut_power(cuts: int, *more: str) -> dict[str, Any]:
    command = [str(PYTHON), "-m", "tests.walks.power_cut_driver", "--cuts", str(cuts), *more]
    path = f"{REPOSITORY}:{sysconfig.get_path('platlib')}"
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "PYTHONWARNINGS": "error::UserWarning"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    tally = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(tally, dict)
    return tally


@pytest.fixture(scope="module", autouse=True)
def crashing_disk() -> None:
    """Without these parts the promise would go untested, so that is a failure and not a skip."""
    check = "import apsw, sys; print(*sys.version_info[:2])"
    done = subprocess.run([str(PYTHON), "-c", check], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.fail("python3-apsw is missing; install it with: apt-get install python3-apsw")
    if done.stdout.split() != sysconfig.get_python_version().split("."):
        pytest.skip("the environment's Python has another version than the system's, which has apsw")


@pytest.mark.goal(45)
def test_no_acknowledged_fact_is_lost_in_300_power_cuts() -> None:
    tally = cut_power(300, "--seed", "45")
    assert tally["cuts"] == 300
    assert tally["acknowledged"] > 1000
    assert tally["lost"] == 0
    assert tally["broken"] == []


@pytest.mark.goal(45)
def test_with_synchronous_normal_acknowledged_facts_are_lost() -> None:
    # The mutant: it shows that the trials above would see a loss.
    assert cut_power(30, "--synchronous", "NORMAL")["lost"] > 0
