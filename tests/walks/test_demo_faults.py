"""A window of six hours in which something goes wrong, against an undisturbed one of the same seed."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

FAULTS = ["kill-aggregator", "kill-feid", "chain-off"]


def window(out: Path, *options: str) -> Path:
    """Play a window; every check of the demo must hold."""
    command = [
        sys.executable,
        "-m",
        "flexpact",
        "demo",
        "--headless",
        "--window",
        "--out",
        str(out),
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return window(tmp_path_factory.mktemp("calm") / "out")


@pytest.fixture(scope="module", params=FAULTS)
def faulty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return window(tmp_path_factory.mktemp("faulty") / "out", "--fault", request.param)


def statements(out: Path) -> list[dict[str, Any]]:
    """Return every revision of every statement, without the instant at which it was written."""
    made = json.loads((out / "statements.json").read_text())["statements"]
    kept = [{name: value for name, value in statement.items() if name != "made_at"} for statement in made]
    return sorted(kept, key=lambda statement: (statement["ven_id"], statement["revision"]))


def facts(out: Path) -> Counter[tuple[str, ...]]:
    """Return how often each fact is in the log, by what it is about, whatever the instant it was told."""
    counted: Counter[tuple[str, ...]] = Counter()
    for path in (out / "receipts").glob("*.record.json"):
        record = json.loads(path.read_bytes())
        body = record["body"]
        # an offer is a forecast: a box that was away makes it later, from more readings
        metered = body.get("report_name") in {"HISTORY_USAGE", "TELEMETRY_USAGE"}
        about = {
            "report": ("report_name", "start", "end", "readings", *(["values_sha256"] if metered else [])),
            "opt": ("event_id", "opt_type"),
            "signal": ("event_id", "action"),
            "statement": ("event_id", "amount_minor", "revision"),
            "registration": (),
        }.get(record["kind"])
        if about is None:  # what the aggregator says of itself: a start, a checkpoint, an anchor
            continue
        counted[(record["kind"], body["ven_id"], *(str(body[name]) for name in about))] += 1
    return counted


def test_the_window_ends_with_the_same_statements(calm: Path, faulty: Path) -> None:
    assert statements(faulty) == statements(calm)


def test_no_acknowledged_fact_is_lost_or_doubled(calm: Path, faulty: Path) -> None:
    assert facts(faulty) == facts(calm)


def test_every_leaf_is_anchored_once_and_verifies(faulty: Path) -> None:
    summary = json.loads((faulty / "summary.json").read_text())
    assert summary["leaves"] == summary["anchored"] == summary["receipts_verified"]
