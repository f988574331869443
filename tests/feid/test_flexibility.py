"""The offer: a forecast of what was metered before the hour, and of nothing else."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from feid.errors import HistoryTooShortError
from feid.flexibility import FORECAST, hour_floor, learn_models, make_offer
from feid.store import QUARTER_HOUR, NodeQuarter

MIDNIGHT = datetime(2026, 1, 20, tzinfo=UTC)
NOON = MIDNIGHT + timedelta(hours=12)


def past(days: int, end: datetime = NOON, flexible: float = 0.5) -> list[NodeQuarter]:
    """A node that takes 2 kWh in a quarter hour, more in the evening, and could give up a part of it."""
    rng = np.random.default_rng(1)
    quarters = []
    at = MIDNIGHT - timedelta(days=days)
    while at < end:
        energy_wh = 2000 + 1500 * (17 <= at.hour < 20) + int(rng.normal(0, 100))
        quarters.append(NodeQuarter(at, energy_wh, int(energy_wh * flexible)))
        at += QUARTER_HOUR
    return quarters


def test_an_offer_covers_every_report_until_the_next_and_is_a_little_below_the_forecast() -> None:
    offer = make_offer(learn_models(past(20), MIDNIGHT), past(20), NOON)
    assert [q.start for q in offer] == [NOON + QUARTER_HOUR * n for n in range(FORECAST // QUARTER_HOUR)]
    evening = [q for q in offer if q.start.hour == 18]
    assert np.mean([q.load_wh for q in evening]) == pytest.approx(3500, rel=0.05)
    assert np.mean([q.offer_wh for q in evening]) == pytest.approx(0.9 * 1750, rel=0.05)


def test_what_is_metered_after_the_hour_does_not_change_its_offer() -> None:
    models = learn_models(past(20), MIDNIGHT)
    later = [*past(20), NodeQuarter(NOON, 99_999, 99_999), NodeQuarter(NOON + QUARTER_HOUR, 0, 0)]
    assert make_offer(models, later, NOON) == make_offer(models, past(20), NOON)
    assert learn_models(later, MIDNIGHT) == models


def test_a_gap_in_the_readings_does_no_harm() -> None:
    models = learn_models(past(20), MIDNIGHT)
    holed = [q for n, q in enumerate(past(20)) if n % 17]
    whole, with_gaps = make_offer(models, past(20), NOON), make_offer(models, holed, NOON)
    worst = max(abs(one.load_wh - other.load_wh) for one, other in zip(whole, with_gaps, strict=True))
    assert worst < 400


def test_more_than_the_load_is_never_offered() -> None:
    offer = make_offer(learn_models(past(20, flexible=3.0), MIDNIGHT), past(20, flexible=3.0), NOON)
    assert all(0 <= q.offer_wh <= q.load_wh for q in offer)


def test_too_little_history_is_refused() -> None:
    with pytest.raises(HistoryTooShortError, match="got 5"):
        learn_models(past(5), MIDNIGHT)
    with pytest.raises(HistoryTooShortError, match="got none"):
        learn_models([], MIDNIGHT)


def test_offers_are_issued_on_the_full_hour() -> None:
    assert hour_floor(NOON + timedelta(minutes=59, seconds=59)) == NOON
