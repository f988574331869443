"""How soon somebody must do something about a certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aggregator.dashboard.node_certificate import Urgency, urgency

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
DAY, INSTANT = timedelta(days=1), timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (-DAY, Urgency.OVER),
        (timedelta(0), Urgency.OVER),
        (INSTANT, Urgency.DAY),
        (DAY, Urgency.DAY),
        (DAY + INSTANT, Urgency.WEEK),
        (7 * DAY, Urgency.WEEK),
        (7 * DAY + INSTANT, Urgency.MONTH),
        (30 * DAY, Urgency.MONTH),
        (30 * DAY + INSTANT, Urgency.NONE),
        (None, Urgency.NONE),
    ],
)
def test_the_warning_grows_at_30_7_and_1_days(left: timedelta | None, expected: Urgency) -> None:
    assert urgency(None if left is None else NOW + left, NOW) is expected
