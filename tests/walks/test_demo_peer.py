"""A stranger's VEN in the demo: openleadr's client, in real time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_a_strangers_ven_registers_opts_in_reports_and_is_settled(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flexpact", "demo", "--headless", "--peer", "--vens", "2"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in ("registration", "signal", "opt", "report", "statement"):
        assert f"held  the log has the stranger's {kind}" in done.stdout
    assert "2.0 kW asked for two minutes, 67 Wh: the stranger opted in" in done.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["requested_kwh"], summary["delivered_kwh"], summary["true_kwh"]) == (0.067, None, None)
    assert summary["incentive_total"] == "0.00"
