"""Who gives how much once an event is changed that nodes have already.

Rules: at the same time of day what a node has promised stays promised: it is not judged again and its offer
is at least that. A node that a clause keeps from anything new keeps its part as long as the request needs it.
At another time all nodes are asked anew. Who was taken out of the event stays out. An offer is of all homes
behind a node: what is expected of those that stay out is taken off it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aggregator.agreement import Clause, ClauseHit
from aggregator.dispatch import (
    Assignment,
    Dispatch,
    FlexibilityOffer,
    ReductionRequest,
    energy_wh,
    plan_dispatch,
)
from aggregator.profile import QUARTER, LoadProfile, Period
from aggregator.sent_event import SentEvent

TAKEN_OUT = ClauseHit(Clause.TAKEN_OUT, "was taken out of this event before, which cannot be undone")


def plan_change(request: ReductionRequest, offers: Sequence[FlexibilityOffer], sent: SentEvent) -> Dispatch:
    """The cheapest dispatch that meets `request` beside what stays promised."""
    usable, kept, missing_w = [], list[Assignment](), request.power_w
    left = [_without(offer, sent.lowered_w.get(offer.ven_id, 0)) for offer in offers]
    for offer in sorted(left, key=lambda one: (one.price_minor_per_kwh, one.ven_name)):
        part = sent.parts.get(offer.ven_id)
        promised_w = part.power_w if part is not None and part.period == request.period else 0
        if offer.ven_id in sent.taken_out:
            usable.append(replace(offer, hits=(*offer.hits, TAKEN_OUT)))
        elif promised_w and offer.hits and promised_w <= missing_w:
            cost = offer.price_minor_per_kwh * energy_wh(promised_w, request.period) / 1000
            kept.append(Assignment(offer.ven_id, offer.ven_name, promised_w, cost))
            missing_w -= promised_w
        else:
            usable.append(_at_least(offer, promised_w, request.period))
    planned = plan_dispatch(ReductionRequest(request.period, max(1, missing_w)), usable)
    wanted = planned.assignments if missing_w else ()
    return Dispatch(request, (*kept, *wanted), planned.passed)


def _without(offer: FlexibilityOffer, power_w: int) -> FlexibilityOffer:
    """The offer without what is expected of homes that stay out."""
    if not power_w:
        return offer
    kw = tuple(max(0.0, one - power_w / 1000) if one == one else one for one in offer.available.kw)  # noqa: PLR0124 - NaN
    return replace(offer, available=replace(offer.available, kw=kw))


def _at_least(offer: FlexibilityOffer, power_w: int, period: Period) -> FlexibilityOffer:
    """The offer, and no less than what the node has promised for the period."""
    if offer.hits or offer.firm_w(period) >= power_w:
        return offer
    slots = list(period.slots())
    if not slots:
        return offer
    promised = LoadProfile(slots[0], QUARTER, (power_w / 1000,) * len(slots))
    return replace(offer, available=promised, capacity_w=max(offer.capacity_w, power_w))
