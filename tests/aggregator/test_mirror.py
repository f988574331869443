"""What an agreement on the chain has against a call, from the mirror alone."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from aggregator.agreement import Agreement, Call, Clause
from aggregator.errors import BadInputError
from aggregator.mirror import agreement_of, limits_of, standing_hits
from aggregator.profile import Period
from ledger.agreement import Standing, Suspender, Terms, standing_from, to_json
from ledger.agreement_store import Held

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
DAY_S = 86_400
TERMS = Terms(
    aggregator=b"\1" * 20,
    starts_at=NOW_S - DAY_S,
    expires_at=NOW_S + 10 * DAY_S,
    node=b"\2" * 20,
    capacity_w=60_500,
    notice_s=3600,
    threshold_ppm=850_000,
    arbiter=b"\3" * 20,
    payment_term_s=7200,
    dispute_window_s=3600,
    utc_offset_s=3600,
    price_micro=30_250_000,
    penalty_micro=20_000_000,
    max_calls_per_day=2,
)
ACTIVE = Standing(TERMS, NOW_S - DAY_S, 0, 0, 0, Suspender.NOBODY, True, 0)
AGREED = Agreement(
    Decimal("60.5"), Decimal("30.25"), Decimal(20), Decimal("0.85"), 2, timedelta(hours=1), "EUR"
)


def held(standing: Standing | None) -> Held:
    return Held(b"\4" * 32, "ven-1", TERMS, standing, "", NOW)


def hits(standing: Standing | None, *, start_h: float = 2, length_h: float = 1, others: int = 0) -> list[str]:
    start = NOW + timedelta(hours=start_h)
    call = Call(Period(start, start + timedelta(hours=length_h)), 1000)
    found = standing_hits(held(standing), call, [call.period] * others, NOW, required=False)
    return [f"{hit.clause}: {hit.text}" for hit in found]


def test_terms_and_agreement_say_the_same_in_both_directions() -> None:
    assert agreement_of(TERMS, "EUR") == AGREED
    assert limits_of(AGREED) == {name: getattr(TERMS, name) for name in limits_of(AGREED)}


def test_a_price_too_fine_for_the_chain_is_refused_with_its_field() -> None:
    with pytest.raises(BadInputError, match=r"price_minor_per_kwh: 30\.1234567 has more digits"):
        limits_of(replace(AGREED, price_minor_per_kwh=Decimal("30.1234567")))


def test_an_active_agreement_allows_a_call() -> None:
    assert hits(ACTIVE, others=1) == []


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (replace(ACTIVE, accepted_at=0), "state: is proposed, active is agreed"),
        (
            replace(ACTIVE, suspender=Suspender.ARBITER),
            "state: is suspended (suspended by the arbiter), active is agreed",
        ),
        (
            replace(ACTIVE, earliest_due_at=NOW_S),
            "state: is suspended (a payment is missing since 2026-01-20T12:00:00Z), active is agreed",
        ),
        (
            replace(ACTIVE, parties_active=False),
            "state: is suspended (the registry has suspended a party, or its certificate is revoked), "
            "active is agreed",
        ),
        (replace(ACTIVE, closes_at=NOW_S), "state: is closed, active is agreed"),
    ],
    ids=["proposed", "by hand", "arrears", "registry", "closed"],
)
def test_an_agreement_that_is_not_active_says_why(standing: Standing, words: str) -> None:
    assert hits(standing)[0] == words


def test_a_payment_that_is_not_due_yet_stands_against_nothing() -> None:
    assert hits(replace(ACTIVE, earliest_due_at=NOW_S + 1)) == []


def test_a_call_before_the_start_is_told_both_times() -> None:
    early = replace(ACTIVE, terms=replace(TERMS, starts_at=NOW_S + DAY_S))
    assert hits(early) == ["start: starts at 2026-01-20T14:00:00Z, agreed from 2026-01-21T12:00:00Z"]


def test_a_call_that_ends_after_the_expiry_is_told_both_times() -> None:
    ending = replace(ACTIVE, terms=replace(TERMS, expires_at=NOW_S + 2 * 3600 + 3599))
    assert hits(ending) == ["expiry: ends at 2026-01-20T15:00:00Z, agreed until 2026-01-20T14:59:59Z"]


def test_a_call_after_the_closing_is_told_both_times() -> None:
    closing = replace(ACTIVE, closes_at=NOW_S + 7200)
    assert hits(closing, start_h=1.99) == []
    words = "expiry: starts at 2026-01-20T14:00:00Z, the agreement is closed from 2026-01-20T14:00:00Z on"
    assert hits(closing) == [words]


def test_calls_are_counted_by_the_contracts_day() -> None:
    at_night = hits(ACTIVE, start_h=11, others=2)  # 23:00 UTC is the next day at UTC+1, all three of them
    assert at_night == ["daily_calls: 2 calls on that day at UTC+1 h, 2 agreed"]


def test_without_an_agreement_on_the_chain_the_setting_decides() -> None:
    call = Call(Period(NOW, NOW + timedelta(hours=1)), 1000)
    assert standing_hits(None, call, [], NOW, required=False) == []
    (hit,) = standing_hits(None, call, [], NOW, required=True)
    assert (hit.clause, hit.text) == (Clause.STATE, "has no agreement on the chain, and one is required")


def test_the_mirror_keeps_a_standing_as_it_was_seen() -> None:
    assert standing_from(json.loads(to_json(ACTIVE))) == ACTIVE
