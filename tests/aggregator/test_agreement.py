"""The clauses that stand against a call, each at its edge."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from aggregator.agreement import Agreement, Call, Clause, broken_clauses
from aggregator.profile import Calendar, Period

START = datetime(2026, 1, 20, 17, tzinfo=UTC)
TWO_HOURS = timedelta(hours=2)
AGREEMENT = Agreement(Decimal("5.5"), Decimal(35), Decimal(20), Decimal("0.8"), 2, timedelta(hours=1), "EUR")
CALL = Call(Period(START, START + TWO_HOURS), 5500)
IN_TIME = START - timedelta(hours=1)


def at(hour: int, day: int = 20) -> Period:
    """Another call of one hour."""
    start = datetime(2026, 1, day, hour, tzinfo=UTC)
    return Period(start, start + timedelta(hours=1))


CASES = [
    ("allowed at the edge of capacity and notice", CALL, [at(8)], IN_TIME, []),
    ("a watt too much", replace(CALL, power_w=5501), [], IN_TIME, [Clause.CAPACITY]),
    ("a second too late", CALL, [], IN_TIME + timedelta(seconds=1), [Clause.NOTICE]),
    ("already begun", CALL, [], START + timedelta(minutes=5), [Clause.NOTICE]),
    ("a third call on the day", CALL, [at(8), at(12)], IN_TIME, [Clause.DAILY_CALLS]),
    ("calls of other days do not count", CALL, [at(8, 19), at(9, 19), at(8, 21)], IN_TIME, []),
    ("overlapping another call", CALL, [at(18)], IN_TIME, [Clause.OVERLAP]),
    ("ending as another begins", CALL, [at(19)], IN_TIME, []),
    ("beginning as another ends", CALL, [at(16)], IN_TIME, []),
    ("everything at once", replace(CALL, power_w=9000), [at(8), at(17)], START,
     [Clause.CAPACITY, Clause.NOTICE, Clause.DAILY_CALLS, Clause.OVERLAP]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "others", "now", "clauses"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_clauses(call: Call, others: list[Period], now: datetime, clauses: list[Clause]) -> None:
    hits = broken_clauses(AGREEMENT, call, others, Calendar(), now)
    assert [hit.clause for hit in hits] == clauses


def test_a_hit_names_both_values() -> None:
    texts = [
        hit.text for hit in broken_clauses(AGREEMENT, replace(CALL, power_w=9000), [], Calendar(), START)
    ]
    assert texts == ["9000 W asked, 5500 W agreed", "starts in 0 min, 60 min of notice agreed"]


def test_a_call_counts_for_the_local_day_on_which_it_starts() -> None:
    calendar = Calendar(ZoneInfo("America/Los_Angeles"))
    early, late = at(2, 21), at(3, 21)  # still the 20th in Los Angeles
    agreement = replace(AGREEMENT, max_calls_per_day=2)
    hits = broken_clauses(agreement, CALL, [early, late], calendar, IN_TIME)
    assert [hit.clause for hit in hits] == [Clause.DAILY_CALLS]
    assert broken_clauses(agreement, CALL, [early, late], Calendar(), IN_TIME) == []
