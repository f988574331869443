"""The aggregator's status, as its control socket gives it, turned into what the live view shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flexpact.demo.plan import Plan
from flexpact.demo.snapshot import Curves, EventRow, Evidence, NodeRow, Snapshot


@dataclass(slots=True)
class Progress:
    """What the demo does now, in words, and where it lies."""

    phase: str = ""
    note: str = ""


def snapshot(status: Mapping[str, Any], plan: Plan, progress: Progress) -> Snapshot:
    """Return the status as the values that the live view shows."""
    now = datetime.fromisoformat(status["now"])
    counts = status["counts"]
    chain = status["chain"]
    return Snapshot(
        now=now,
        phase=progress.phase,
        progress=_share(now, plan),
        nodes=[_node(row, called=status["event"] is not None) for row in status["nodes"]],
        curves=curves(status["portfolio"], plan),
        evidence=Evidence(
            leaves=counts["leaves"],
            checkpoints=counts["checkpoints"],
            anchored=counts["anchored"],
            chain="up" if chain["ok"] else chain["text"] or chain["status"],
        ),
        event=_event(status["event"]),
        note=progress.note,
    )


def _share(now: datetime, plan: Plan) -> float:
    return min(1.0, max(0.0, (now - plan.start) / (plan.end - plan.start)))


def _node(row: Mapping[str, Any], *, called: bool) -> NodeRow:
    waiting = "not called" if called else f"{row['history_days']} days of history"
    return NodeRow(
        name=row["ven_name"],
        registered=row["registered"],
        load_kw=row["load_kw"],
        target_kw=row["target_kw"],
        opt=row["opt"],
        state=row["event_status"] or waiting,
    )


def curves(portfolio: Mapping[str, Any], plan: Plan) -> Curves:
    """Return the portfolio's profiles (GET /status or /profiles) as curves."""
    times = portfolio["times"]
    return Curves(
        start=datetime.fromisoformat(times[0]) if times else plan.start,
        metered=portfolio["metered_kw"],
        baseline=portfolio["baseline_kw"],
        forecast=portfolio["forecast_kw"],
    )


def _event(event: Mapping[str, Any] | None) -> EventRow | None:
    if event is None:
        return None
    return EventRow(
        event_id=event["event_id"],
        start=datetime.fromisoformat(event["start"]),
        end=datetime.fromisoformat(event["end"]),
        power_kw=event["power_kw"],
        status=event["status"],
        requested_kwh=event["requested_kwh"],
        delivered_kwh=event["delivered_kwh"],
    )
