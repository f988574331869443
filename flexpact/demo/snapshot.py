"""What the aggregator says of itself at one moment, as values: the only source of the live view."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One virtual node: what it takes now, what it was asked to give, what it answered."""

    name: str
    registered: bool
    load_kw: float | None = None
    target_kw: float | None = None
    opt: str | None = None
    state: str = ""


@dataclass(frozen=True, slots=True)
class EventRow:
    """The event of the day: when, how much, where it stands now, what the statements say so far."""

    event_id: str
    start: datetime
    end: datetime
    power_kw: float
    status: str
    requested_kwh: float = 0.0
    delivered_kwh: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far the evidence is: leaves in the log, checkpoints, leaves under an anchored one, the chain."""

    leaves: int = 0
    checkpoints: int = 0
    anchored: int = 0
    chain: str = "not asked yet"


@dataclass(frozen=True, slots=True)
class Curves:
    """The portfolio's day in kW, one value for each quarter-hour; None where nothing is known."""

    start: datetime
    metered: Sequence[float | None] = ()
    baseline: Sequence[float | None] = ()
    forecast: Sequence[float | None] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the live view shows, as of `now` (simulated time)."""

    now: datetime
    phase: str
    progress: float  # 0 to 1
    nodes: Sequence[NodeRow]
    curves: Curves
    evidence: Evidence
    event: EventRow | None = None
    note: str = ""
