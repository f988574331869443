"""What one home may know of a statement that is about several, and when something is in plain words."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from aggregator import share
from aggregator.access.permission import Role
from aggregator.access.principal import Principal
from aggregator.dashboard.home import result_of, when_text
from aggregator.dashboard.wording import EN_DASH, Wording
from aggregator.errors import UnknownObjectError
from aggregator.home import Home, Part, home_of, part, parts, share_in, share_of
from aggregator.settlement import Outcome
from vtn.store import Database

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
NBSP = "\u00a0"
BERLIN = ZoneInfo("Europe/Berlin")
BODY: dict[str, Any] = {
    "event_id": "e1",
    "ven_id": "v1",
    "outcome": "measured",
    "requested_wh": 10,
    "delivered_wh": 10,
    "baseline_method": "x",
    "incentive_minor": 100,
    "penalty_minor": 0,
    "amount_minor": 100,
    "currency": "EUR",
    "revision": 1,
}


def row(**shares: int) -> Any:
    """A statement as the database gives it."""
    detail = share.salted({"shares_minor": shares})
    return {"seq": 7, "body": json.dumps(BODY), "detail": json.dumps(detail), "made_at": NOW}


def at(start: datetime, hours: float = 2, **more: Any) -> Part:
    """A part in an event."""
    values: dict[str, Any] = {"test_event": False, "cancelled_at": None, "answer": "optIn"}
    return Part(
        event_id="e1", ven_id="v1", start=start, end=start + timedelta(hours=hours), **{**values, **more}
    )


def test_of_two_homes_neither_is_given_the_record_for_it_would_tell_what_the_other_got() -> None:
    mine = Home(("v1",), "a")
    assert share_in(row(a=60, b=30, c=10), mine).alone
    assert share_in(row(a=100), mine).alone
    assert not share_in(row(a=60, b=40), mine).alone
    assert share_in(row(a=60, b=40), Home(("v1",), None)).alone


def test_a_home_without_a_share_gets_none_and_never_that_of_the_node() -> None:
    found = share_in(row(b=60, c=40), Home(("v1",), "a"))
    assert found.amount_minor is None
    assert found.opening is None


async def test_an_account_that_names_no_node_sees_nothing(database: Database) -> None:
    nobody = home_of(Principal(user_id="u", role=Role.PROSUMER))
    assert nobody == Home((), None)
    async with database.read() as conn:
        assert await parts(conn, nobody, 10) == []
        with pytest.raises(UnknownObjectError, match="no event 'e1'"):
            await part(conn, nobody, "e1", "v1")
        for number in ("1", "-1", "9" * 30, "\u0661", "x", ""):
            with pytest.raises(UnknownObjectError, match="no statement"):
                await share_of(conn, nobody, number)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (datetime(2026, 1, 20, 16, tzinfo=UTC), "Today, 17:00 to 19:00 CET"),
        (datetime(2026, 1, 20, 23, tzinfo=UTC), "Tomorrow, 00:00 to 02:00 CET"),
        (datetime(2026, 1, 18, 16, tzinfo=UTC), "Sun 18 Jan, 17:00 to 19:00 CET"),
        (datetime(2024, 1, 18, 16, tzinfo=UTC), "18 Jan 2024, 17:00 to 19:00 CET"),
        (
            datetime(2026, 3, 29, 0, tzinfo=UTC),
            "29 Mar 2026, 01:00 CET - 29 Mar 2026, 04:00 CEST",
        ),
        (
            datetime(2026, 1, 20, 22, tzinfo=UTC),
            "20 Jan 2026, 23:00 CET - 21 Jan 2026, 01:00 CET",
        ),
    ],
    ids=["today", "tomorrow", "a day of the week", "another year", "clocks put forward", "over midnight"],
)
def test_a_time_is_said_as_people_say_it(start: datetime, said: str) -> None:
    words = Wording("en", BERLIN, NOW)
    text = when_text(words, start, start + timedelta(hours=2))
    assert text.replace(NBSP, " ").replace(EN_DASH, "-") == said


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (at(NOW + timedelta(hours=1)), "Planned"),
        (at(NOW - timedelta(hours=1)), "Running now"),
        (at(NOW, answer="optOut"), "Your box does not take part"),
        (at(NOW, cancelled_at=NOW), "Called off"),
        (at(NOW - timedelta(hours=2)), "Your share is being worked out"),
        (at(NOW - timedelta(hours=3), outcome=Outcome.MEASURED, amount_minor=5), "Your home took part"),
        (at(NOW - timedelta(hours=3), outcome=Outcome.MEASURED, amount_minor=0), "Nothing was saved"),
        (
            at(NOW - timedelta(hours=3), outcome=Outcome.MEASURED, amount_minor=-5),
            "Less was saved than agreed",
        ),
        (at(NOW - timedelta(hours=3), outcome=Outcome.TEST, amount_minor=0), "A test: tests are not paid"),
    ],
)
def test_how_it_went_is_said_in_a_few_words(one: Part, said: str) -> None:
    assert result_of(one, NOW) == said
