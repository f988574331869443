"""What a called node did: reduction = baseline - metered, quarter hour by quarter hour, in whole Wh.

A quarter hour whose reading is missing, or marked as no value, counts as not reduced.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from aggregator.baseline import Baseline
from aggregator.profile import QUARTER, LoadProfile, Period

WH_PER_KW_QUARTER = 250


@dataclass(frozen=True, slots=True)
class IntervalPerformance:
    """One quarter hour; ``metered_wh`` is None where no reading came."""

    start: datetime
    baseline_wh: int
    metered_wh: int | None

    @property
    def reduction_wh(self) -> int:
        """Baseline minus metered; negative if the node used more."""
        return 0 if self.metered_wh is None else self.baseline_wh - self.metered_wh


@dataclass(frozen=True, slots=True)
class Performance:
    """A node's performance in one event.

    ``method`` is the baseline's name, or ``none`` where the readings carried none: then there are no
    intervals. ``opted_out_at`` is when the node last said that it stays out; None if it did not. ``reached``
    says whether the node has shown before the end that it has the event.
    """

    event_id: str
    ven_id: str
    method: str
    intervals: tuple[IntervalPerformance, ...]
    opted_out_at: datetime | None = None
    reached: bool = True

    @property
    def delivered_wh(self) -> int:
        """Sum of the reductions; negative if the node used more than its baseline."""
        return sum(interval.reduction_wh for interval in self.intervals)

    @property
    def complete(self) -> bool:
        """Whether every quarter hour has its reading."""
        return all(interval.metered_wh is not None for interval in self.intervals)


def watt_hours(kw: float) -> int | None:
    """Energy of one quarter hour at ``kw``, half-even to whole Wh; None for NaN."""
    return None if math.isnan(kw) else round(kw * WH_PER_KW_QUARTER)


def measure(
    event_id: str, ven_id: str, baseline: Baseline, metered: LoadProfile, opted_out_at: datetime | None = None
) -> Performance:
    """The performance over the baseline's quarter hours."""
    profile = baseline.profile
    intervals = []
    for index, kw in enumerate(profile.kw):
        start = profile.start + index * QUARTER
        expected_wh = watt_hours(kw)
        if expected_wh is None:
            raise ValueError(f"the baseline has no value at {start}")
        intervals.append(IntervalPerformance(start, expected_wh, watt_hours(metered.at(start))))
    return Performance(event_id, ven_id, str(baseline.method), tuple(intervals), opted_out_at)


def unmeasured(event_id: str, ven_id: str, opted_out_at: datetime | None = None) -> Performance:
    """A performance of which no baseline says anything."""
    return Performance(event_id, ven_id, "none", (), opted_out_at)


def home_weights(
    usual: Mapping[str, LoadProfile], metered: Mapping[str, LoadProfile], period: Period
) -> dict[str, int]:
    """What each home used less than usual over the period, in Wh and at least 0: the weights of their
    shares.
    """
    weights = {}
    for home, expected in usual.items():
        pairs = [(expected.at(slot), metered[home].at(slot)) for slot in period.slots()]
        kept_kw = math.fsum(kw - used for kw, used in pairs if not math.isnan(kw - used))
        weights[home] = max(0, round(kept_kw * WH_PER_KW_QUARTER))
    return weights
