from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flexpact.demo.observe import Progress, snapshot
from flexpact.demo.plan import Options, make_plan

PLAN = make_plan(Options(out=Path("out")))
NODE = {
    "ven_name": "node-1", "registered": True, "load_kw": 12.5, "target_kw": None, "opt": None,
    "event_status": None, "history_days": 14,
}  # fmt: skip
STATUS: dict[str, Any] = {
    "now": "2026-01-20T12:00:00+00:00",
    "nodes": [NODE],
    "event": None,
    "portfolio": {
        "times": ["2026-01-20T00:00:00+00:00"],
        "metered_kw": [1.0],
        "baseline_kw": [None],
        "forecast_kw": [2.0],
    },
    "counts": {"leaves": 5, "checkpoints": 2, "anchored": 3},
    "chain": {"ok": True, "status": "idle", "text": "every checkpoint is anchored"},
}
EVENT = {
    "event_id": "event-1", "start": "2026-01-20T17:00:00+00:00", "end": "2026-01-20T19:00:00+00:00",
    "power_kw": 80.0, "requested_kwh": 160.0, "delivered_kwh": None, "status": "active",
}  # fmt: skip


def test_before_the_event_nodes_show_how_much_history_came() -> None:
    seen = snapshot(STATUS, PLAN, Progress("phase", "note"))
    assert seen.now == datetime(2026, 1, 20, 12, tzinfo=UTC)
    assert seen.progress == 0.5
    assert (seen.phase, seen.note) == ("phase", "note")
    assert seen.nodes[0].state == "14 days of history"
    assert seen.event is None
    assert seen.curves.metered == [1.0]
    assert seen.evidence.anchored == 3
    assert seen.evidence.chain == "up"


def test_in_the_event_called_nodes_show_their_part_and_others_that_they_have_none() -> None:
    called = {**NODE, "target_kw": 20.0, "opt": "optIn", "event_status": "active"}
    seen = snapshot({**STATUS, "event": EVENT, "nodes": [called, NODE]}, PLAN, Progress())
    assert [node.state for node in seen.nodes] == ["active", "not called"]
    assert seen.event is not None
    assert seen.event.power_kw == 80.0


def test_a_chain_that_is_away_is_shown_with_its_reason() -> None:
    away = {"ok": False, "status": "chain down", "text": "nobody answers at 127.0.0.1"}
    assert (
        snapshot({**STATUS, "chain": away}, PLAN, Progress()).evidence.chain == "nobody answers at 127.0.0.1"
    )


def test_progress_stays_between_nothing_and_all() -> None:
    early = snapshot({**STATUS, "now": "2026-01-19T12:00:00+00:00"}, PLAN, Progress())
    late = snapshot({**STATUS, "now": "2026-01-22T12:00:00+00:00"}, PLAN, Progress())
    assert (early.progress, late.progress) == (0.0, 1.0)
