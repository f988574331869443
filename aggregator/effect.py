"""What an event will probably give: P10, P50 and P90 of the reduction, from what nodes gave before.

Method. A node's delivery rate in a settled event is delivered / requested energy, kept within [-1, 2]. Each
node's mean and variance come from its newest RECENT events, mixed with those of the fleet as if the fleet's
were WEIGHT more events; the fleet's own are mixed with a PRIOR in the same way. What all nodes have in common
in one event (weather, a bad hour) is the variance of the fleet's rate from event to event, mixed with a prior
too. The sum over nodes is taken as normal: mean sum(p*m), variance sum(p^2*v) + (sum p)^2*c. Nodes that
have fallen silent count as nothing.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.schema import statement_table

RECENT = 20
WEIGHT = 5
LOWEST, HIGHEST = -1.0, 2.0
PRIOR_MEAN, PRIOR_SD, PRIOR_COMMON_SD = 0.85, 0.30, 0.10
Z90 = 1.2815515655446004  # of the standard normal distribution


@dataclass(frozen=True, slots=True)
class Rate:
    """Mean and variance of a delivery rate, and from how many events of the node's own."""

    mean: float
    variance: float
    events: int


@dataclass(frozen=True, slots=True)
class Effect:
    """The expected reduction in W. P10: nine times in ten it is more."""

    p10_w: int
    p50_w: int
    p90_w: int


class DeliveryRecord:
    """Delivery rates by node, kept up to date from the statements; a revision takes the place of its
    statement.
    """

    def __init__(self) -> None:
        self._seq = 0
        self._nodes: dict[str, OrderedDict[str, float]] = {}
        self._events: dict[str, dict[str, tuple[int, int]]] = {}
        self._fleet: Rate | None = None  # of all there is; made when it is asked for

    async def advance(self, conn: AsyncConnection) -> None:
        """Read the statements that were made since the last time."""
        t = statement_table.c
        rows = await conn.execute(select(t.seq, t.body).where(t.seq > self._seq).order_by(t.seq))
        for seq, text in rows:
            body = json.loads(text)
            self.add(body["event_id"], body["ven_id"], body["requested_wh"], body["delivered_wh"])
            self._seq = seq

    def add(self, event_id: str, ven_id: str, requested_wh: int, delivered_wh: int) -> None:
        """Note what a node gave in an event; where nothing was asked there is no rate."""
        if requested_wh <= 0:
            return
        self._fleet = None
        own = self._nodes.setdefault(ven_id, OrderedDict())
        own[event_id] = min(HIGHEST, max(LOWEST, delivered_wh / requested_wh))
        while len(own) > RECENT:
            own.popitem(last=False)
        self._events.setdefault(event_id, {})[ven_id] = (requested_wh, delivered_wh)
        while len(self._events) > RECENT:
            del self._events[next(iter(self._events))]

    def fleet(self) -> Rate:
        """The rate of any node, as far as is known."""
        if self._fleet is None:
            rates = [rate for own in self._nodes.values() for rate in own.values()]
            self._fleet = _mixed(rates, Rate(PRIOR_MEAN, PRIOR_SD**2, 0))
        return self._fleet

    def common_variance(self) -> float:
        """How much the fleet as a whole varies from event to event."""
        rates = [
            sum(delivered for _, delivered in parts.values())
            / sum(requested for requested, _ in parts.values())
            for parts in self._events.values()
        ]
        return _mixed(rates, Rate(self.fleet().mean, PRIOR_COMMON_SD**2, 0)).variance

    def effect(self, asked_w: Mapping[str, int], silent: Iterable[str] = ()) -> Effect:
        """What to expect of nodes (by id) that are asked for so many W; `silent` ones give nothing."""
        gone, fleet = frozenset(silent), self.fleet()
        parts = [
            (power_w, _mixed(self._nodes.get(ven_id, {}).values(), fleet))
            for ven_id, power_w in asked_w.items()
            if ven_id not in gone
        ]
        mean = math.fsum(power_w * rate.mean for power_w, rate in parts)
        own = math.fsum(power_w**2 * rate.variance for power_w, rate in parts)
        asked = sum(power_w for power_w, _ in parts)
        spread = Z90 * math.sqrt(own + asked**2 * self.common_variance())
        return Effect(max(0, round(mean - spread)), max(0, round(mean)), max(0, round(mean + spread)))


def _mixed(rates: Iterable[float], prior: Rate) -> Rate:
    """Mean and variance of some rates, pulled to a prior that counts as WEIGHT of them."""
    known = list(rates)
    count = len(known)
    mean = (math.fsum(known) + WEIGHT * prior.mean) / (count + WEIGHT)
    squares = math.fsum((rate - mean) ** 2 for rate in known)
    pull = WEIGHT * (prior.variance + (prior.mean - mean) ** 2)
    return Rate(mean, (squares + pull) / (count + WEIGHT), count)
