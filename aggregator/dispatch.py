"""Who gives how much: the cheapest nodes whose offers meet a request.

A node's firm power is the lowest quarter hour of its offer over the period, at most its agreed capacity: one
constant reduction that its forecast says it can hold. Cost is linear in power, so taking the cheapest first
and only a part of the last is optimal. Nodes at one price: the larger first (fewer are disturbed), then by
name, so the same offers always give the same dispatch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from aggregator.agreement import Clause, ClauseHit
from aggregator.profile import QUARTER, LoadProfile, Period

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ReductionRequest:
    """What the operator asks for: ``power_w`` less over ``period``."""

    period: Period
    power_w: int

    def __post_init__(self) -> None:
        if self.power_w <= 0:
            raise ValueError(f"a reduction must be positive: {self.power_w} W")


@dataclass(frozen=True, slots=True)
class FlexibilityOffer:
    """What a node says it could give (kW by quarter hour), what that costs and what stands against it."""

    ven_id: str
    ven_name: str
    available: LoadProfile
    capacity_w: int
    price_minor_per_kwh: Decimal
    hits: tuple[ClauseHit, ...] = ()

    def firm_w(self, period: Period) -> int:
        """Whole watts that the node can hold through ``period``; 0 where its offer has a gap."""
        window = self.available.window(period)
        if not window.kw or not window.known():
            return 0
        return max(0, min(self.capacity_w, math.floor(min(window.kw) * 1000 + 1e-6)))


@dataclass(frozen=True, slots=True)
class Assignment:
    """The power asked of one node, and what it costs if it is delivered in full."""

    ven_id: str
    ven_name: str
    power_w: int
    cost_minor: Decimal


@dataclass(frozen=True, slots=True)
class Passed:
    """A node that is not asked although the request could use it, and why."""

    ven_name: str
    hits: tuple[ClauseHit, ...]


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Who gives how much; ``shortfall_w`` is what no offer covers."""

    request: ReductionRequest
    assignments: tuple[Assignment, ...]
    passed: tuple[Passed, ...]

    @property
    def power_w(self) -> int:
        """The reduction that the chosen nodes' forecasts promise."""
        return sum(assignment.power_w for assignment in self.assignments)

    @property
    def shortfall_w(self) -> int:
        """What is missing to the request; 0 if it is met."""
        return self.request.power_w - self.power_w

    @property
    def cost_minor(self) -> Decimal:
        """Incentives if everything is delivered, in minor units, not rounded."""
        return sum((assignment.cost_minor for assignment in self.assignments), Decimal(0))


def plan_dispatch(request: ReductionRequest, offers: Sequence[FlexibilityOffer]) -> Dispatch:
    """The cheapest dispatch that meets ``request`` by the offers, or all there is and a shortfall."""
    usable = [(offer, offer.firm_w(request.period)) for offer in offers if not offer.hits]
    usable.sort(key=lambda pair: (pair[0].price_minor_per_kwh, -pair[1], pair[0].ven_name))
    missing, assignments = request.power_w, []
    for offer, firm_w in usable:
        power_w = min(firm_w, missing)
        if power_w > 0:
            assignments.append(_assign(offer, power_w, request.period))
            missing -= power_w
    return Dispatch(request, tuple(assignments), tuple(_passed(request, offers)))


def energy_wh(power_w: int, period: Period) -> int:
    """Energy of a constant power over the period's whole quarter hours, in whole Wh.

    Nothing else of it is metered, so nothing else counts: neither as asked for nor as paid.
    """
    return round(power_w * sum(1 for _ in period.slots()) * QUARTER / HOUR)


def _assign(offer: FlexibilityOffer, power_w: int, period: Period) -> Assignment:
    cost = offer.price_minor_per_kwh * energy_wh(power_w, period) / 1000
    return Assignment(offer.ven_id, offer.ven_name, power_w, cost)


def _passed(request: ReductionRequest, offers: Sequence[FlexibilityOffer]) -> list[Passed]:
    holds_one = next(request.period.slots(), None) is not None
    why = (
        "offers nothing for the whole period"
        if holds_one
        else "offers whole quarter hours, and it holds none"
    )
    nothing = (ClauseHit(Clause.OFFER, why),)
    found = []
    for offer in sorted(offers, key=lambda offer: offer.ven_name):
        hits = offer.hits or (() if offer.firm_w(request.period) else nothing)
        if hits:
            found.append(Passed(offer.ven_name, hits))
    return found
