"""What the nodes of a running event give, in its newest quarter hour of which enough is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from aggregator.curve import Curves
from aggregator.profile import QUARTER, Period

BACK = 4  # quarter hours; what is known of earlier ones alone is not "now"
GIVES_LESS = 0.8  # of what it was asked for
NEARLY, FAR = 0.95, 0.8


@dataclass(frozen=True, slots=True)
class Delivery:
    """The reductions of one quarter hour that ended at `until`, in W by node, of those `among` all nodes of
    the event whose baseline and reading are known. None are known before the first quarter hour is over.
    """

    among: int
    until: datetime | None
    asked_w: Mapping[str, int]
    given_w: Mapping[str, int]

    @property
    def known(self) -> int:
        """Of how many nodes it is known."""
        return len(self.given_w)

    @property
    def total_w(self) -> int | None:
        """What they give together; None where nothing is known."""
        return sum(self.given_w.values()) if self.given_w else None

    @property
    def short_w(self) -> int:
        """What they lack together to what these nodes were asked for."""
        asked = sum(self.asked_w[ven_id] for ven_id in self.given_w)
        return max(0, asked - sum(self.given_w.values()))

    @property
    def kind(self) -> str:
        """How it looks: ok, warn or bad; nothing where nothing is known."""
        asked = sum(self.asked_w[ven_id] for ven_id in self.given_w)
        if not asked:
            return ""
        share = 1 - self.short_w / asked
        return "ok" if share >= NEARLY else "warn" if share >= FAR else "bad"

    @property
    def least(self) -> list[str]:
        """The nodes that give clearly less, those first that lack the most."""
        few = [ven_id for ven_id in self.given_w if self.gives_less(ven_id)]
        return sorted(few, key=lambda ven_id: self.given_w[ven_id] - self.asked_w[ven_id])

    def gives_less(self, ven_id: str) -> bool:
        """Whether a node is known to give clearly less than it was asked for."""
        given = self.given_w.get(ven_id)
        return given is not None and given < GIVES_LESS * self.asked_w[ven_id]


def delivery(curves: Curves | None, period: Period, asked_w: Mapping[str, int], now: datetime) -> Delivery:
    """What is given now of what the nodes were asked for over `period`.

    Of the last quarter hours the newest one of which half of the nodes are known, as the chart does it; else
    the newest one of which any is.
    """
    best = Delivery(len(asked_w), None, asked_w, {})
    if curves is None:
        return best
    over = [slot for slot in period.slots() if slot + QUARTER <= now]
    for slot in islice(reversed(over), BACK):
        given = _given(curves, asked_w, slot)
        if 2 * len(given) >= len(asked_w):
            return Delivery(len(asked_w), slot + QUARTER, asked_w, given)
        if given and not best.given_w:
            best = Delivery(len(asked_w), slot + QUARTER, asked_w, given)
    return best


def _given(curves: Curves, asked_w: Mapping[str, int], slot: datetime) -> dict[str, int]:
    found = {}
    for ven_id in asked_w:
        usual, used = curves.baseline.get(ven_id), curves.metered.get(ven_id)
        if usual is None or used is None:
            continue
        reduction_kw = usual.at(slot) - used.at(slot)
        if not math.isnan(reduction_kw):
            found[ven_id] = round(reduction_kw * 1000)
    return found
