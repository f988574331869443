"""What the node offers for the next 36 hours: its load, and the energy that its devices can give up.

An offer is issued on the hour, from registers of quarter hours before that hour and from models learned at
the midnight before it, so it is the same whenever it is made. The meters count only flexibility that lasts
for two hours; the offer is its forecast less a margin, because a request is settled by what is delivered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from feid.errors import HistoryTooShortError
from feid.forecast import Model, learn, predict
from feid.store import QUARTER_HOUR, NodeQuarter, OfferedQuarter

AHEAD = timedelta(hours=36)
"""What a report of the offer covers, from the quarter hour in which it is due."""
FORECAST = AHEAD + timedelta(hours=1)
"""What an offer covers: it is good for every report that is due before the next one is issued."""
LEARNED_FROM = timedelta(days=28)
_SAFE = 0.9


@dataclass(frozen=True, slots=True)
class Models:
    """What was learned from the days before a midnight."""

    midnight: datetime
    load: Model
    flexible: Model


def hour_floor(at: datetime) -> datetime:
    """The full hour at or before an instant."""
    return at.replace(minute=0, second=0, microsecond=0)


def learn_models(past: Sequence[NodeQuarter], midnight: datetime) -> Models:
    """Models of load and flexibility from the quarter hours before a midnight; HistoryTooShortError."""
    load, flexible = _series(past, midnight)
    return Models(midnight, learn(load, midnight), learn(flexible, midnight))


def make_offer(models: Models, past: Sequence[NodeQuarter], issued: datetime) -> list[OfferedQuarter]:
    """The offer issued at a full hour, in whole Wh, from the quarter hours before it."""
    load, flexible = _series(past, issued)
    steps = FORECAST // QUARTER_HOUR
    loads = predict(models.load, load, issued, steps)
    offers = predict(models.flexible, flexible, issued, steps)
    return [
        OfferedQuarter(issued + QUARTER_HOUR * n, round(load_wh), int(_SAFE * min(offer_wh, load_wh)))
        for n, (load_wh, offer_wh) in enumerate(zip(loads, offers, strict=True))
    ]


def _series(past: Sequence[NodeQuarter], end: datetime) -> tuple[list[float], list[float]]:
    """Load and flexibility of every quarter hour up to `end`, NaN where there is none."""
    known = {q.start: q for q in past if q.start < end}
    if not known:
        raise HistoryTooShortError("a forecast needs readings, got none")
    count = (end - min(known)) // QUARTER_HOUR
    starts = [end - QUARTER_HOUR * (count - n) for n in range(count)]
    nan = float("nan")
    return (
        [known[s].energy_wh if s in known else nan for s in starts],
        [known[s].flexible_wh if s in known else nan for s in starts],
    )
