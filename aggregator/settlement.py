"""What a performance is worth under an agreement.

- requested = power x the whole quarter hours inside the event's period, the same that are measured: an event
  off the grid neither owes nor earns for the minutes at its edges, and one that holds no whole quarter hour
  ends as unmeasured.
- incentive = price x min(delivered, requested) kWh, never below nothing.
- penalty = rate x max(0, threshold x requested - delivered) kWh; a node that used more than its baseline
  owes more.
- amount = incentive - penalty, rounded once, half-even, to minor units. Incentive and penalty as shown add up
  to it: the incentive is rounded half-even, the penalty is the difference.
- A node that gave no answer to the event before its end was never reached (``not_delivered``): it earns
  nothing and owes nothing.
- Test events pay nothing. An opt-out before the free period ends costs nothing and earns nothing; a later one
  counts as nothing delivered. A node without any baseline is neither paid nor charged: nothing was measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum

from aggregator.agreement import Agreement
from aggregator.dispatch import energy_wh
from aggregator.performance import Performance
from aggregator.profile import Period
from openadr import Event

LOAD_DISPATCH = "LOAD_DISPATCH"


class Outcome(StrEnum):
    """Which rule decided a statement."""

    MEASURED = "measured"
    TEST = "test"
    CANCELLED = "cancelled"
    NOT_DELIVERED = "not_delivered"
    OPTED_OUT = "opted_out"
    LATE_OPT_OUT = "late_opt_out"
    UNMEASURED = "unmeasured"


@dataclass(frozen=True, slots=True)
class Statement:
    """What one node earns or owes for one event, in minor units; a revision is never edited."""

    event_id: str
    ven_id: str
    outcome: Outcome
    requested_wh: int
    delivered_wh: int
    baseline_method: str
    incentive_minor: int
    penalty_minor: int
    currency: str
    revision: int = 1

    @property
    def amount_minor(self) -> int:
        """What the node receives; negative if it owes."""
        return self.incentive_minor - self.penalty_minor

    def body(self) -> dict[str, str | int]:
        """The fields of its ledger record: text and integers only."""
        return {
            "event_id": self.event_id,
            "ven_id": self.ven_id,
            "outcome": str(self.outcome),
            "requested_wh": self.requested_wh,
            "delivered_wh": self.delivered_wh,
            "baseline_method": self.baseline_method,
            "incentive_minor": self.incentive_minor,
            "penalty_minor": self.penalty_minor,
            "amount_minor": self.amount_minor,
            "currency": self.currency,
            "revision": self.revision,
        }


def requested_w(event: Event) -> int:
    """The largest reduction in W that the event's LOAD_DISPATCH signal asks for; 0 without one."""
    for signal in event.signals:
        if signal.signal_name == LOAD_DISPATCH:
            scale = signal.item_base.si_scale_code if signal.item_base else None
            factor = 1 if scale is None else scale.factor
            most = max((-interval.payload_float for interval in signal.intervals), default=0.0)
            return round(most * factor)
    return 0


def settle(event: Event, performance: Performance, agreement: Agreement) -> Statement:
    """The statement of one node's performance in ``event``."""
    outcome = _outcome(event, performance, agreement)
    requested_wh = energy_wh(requested_w(event), _period(event))
    counted = outcome in (Outcome.MEASURED, Outcome.TEST)
    delivered_wh = performance.delivered_wh if counted else 0
    incentive, penalty = Decimal(0), Decimal(0)
    if outcome in (Outcome.MEASURED, Outcome.LATE_OPT_OUT):
        incentive = _incentive(agreement, delivered_wh, requested_wh)
        penalty = _penalty(agreement, delivered_wh, requested_wh)
    incentive_minor = _minor(incentive)
    return Statement(
        event_id=performance.event_id,
        ven_id=performance.ven_id,
        outcome=outcome,
        requested_wh=requested_wh,
        delivered_wh=delivered_wh,
        baseline_method=performance.method,
        incentive_minor=incentive_minor,
        penalty_minor=incentive_minor - _minor(incentive - penalty),
        currency=agreement.currency,
    )


def shares(amount_minor: int, weights: Mapping[str, int]) -> dict[str, int]:
    """``amount_minor`` split by the weights (at least 0) with the largest remainder, nothing lost.

    Remainders that are equal go by name. All-zero weights, and what a node owes, split evenly: a penalty is
    the node's, and no home can be told apart by what did not happen.
    """
    if not weights:
        return {}
    sign = -1 if amount_minor < 0 else 1
    even = amount_minor < 0 or not any(weights.values())
    parts = {name: 1 if even else weight for name, weight in weights.items()}
    whole = sum(parts.values())
    split = {name: abs(amount_minor) * part // whole for name, part in parts.items()}
    left = abs(amount_minor) - sum(split.values())
    by_remainder = sorted(parts, key=lambda name: (-(abs(amount_minor) * parts[name] % whole), name))
    for name in by_remainder[:left]:
        split[name] += 1
    return {name: sign * part for name, part in split.items()}


def _outcome(event: Event, performance: Performance, agreement: Agreement) -> Outcome:
    descriptor = event.descriptor
    if event.is_cancelled:
        return Outcome.CANCELLED
    if not performance.reached:
        return Outcome.NOT_DELIVERED
    if performance.opted_out_at is not None:
        free_until = agreement.free_opt_out_ends(descriptor.created_date_time, event.dtstart)
        late = performance.opted_out_at >= free_until
        return Outcome.LATE_OPT_OUT if late and not event.is_test else Outcome.OPTED_OUT
    if event.is_test:
        return Outcome.TEST
    return Outcome.UNMEASURED if performance.method == "none" else Outcome.MEASURED


def _period(event: Event) -> Period:
    if event.end is None:
        raise ValueError(f"event {event.event_id} has no end")
    return Period(event.dtstart, event.end)


def _incentive(agreement: Agreement, delivered_wh: int, requested_wh: int) -> Decimal:
    return agreement.price_minor_per_kwh * max(0, min(delivered_wh, requested_wh)) / 1000


def _penalty(agreement: Agreement, delivered_wh: int, requested_wh: int) -> Decimal:
    missing_wh = agreement.threshold * requested_wh - delivered_wh
    return agreement.penalty_minor_per_kwh * max(Decimal(0), missing_wh) / 1000


def _minor(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
