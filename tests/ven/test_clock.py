"""A clock that was wrong: nothing is missed, and nothing stands still, when it is put right (GOALS 77)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openadr import CreatedEvent, Message, Poll, Report, RequestEvent
from tests.ven.conversation import make_session, names, ready, talk
from tests.ven.messages import HOUR, cancelled, distribute, make_event, ok
from tests.ven.site import NOW, OFFER, USAGE, Site
from tests.ven.test_report import Desk, held
from ven.event import KEEP, OVER_KEPT, followed
from ven.session import Session
from ven.store import Store

AHEAD = NOW + timedelta(days=1500)
EVENT = make_event(start=NOW + 5 * HOUR)


def informed() -> Session:
    """A session that holds an event and has answered it."""
    session = ready()
    talk(session, distribute(EVENT), ok(), ok())
    return session


@pytest.mark.goal(77)
@pytest.mark.criterion("POLL-10", "VEX-28", who="ven")
@pytest.mark.parametrize("restarts", [False, True])
def test_goals_77_an_event_that_a_clock_ahead_has_ended_is_asked_for_again(
    restarts: bool, tmp_path: Path
) -> None:
    session = informed()
    talk(session, ok(), now=AHEAD)
    assert session.saved.events == {}
    if restarts:
        store = Store.open(tmp_path / "ven.db")
        store.save(session.saved)
        store.close()
        store = Store.open(tmp_path / "ven.db")
        session = make_session(store.load())
        store.close()
    back = NOW + HOUR
    asked = talk(session, distribute(EVENT), ok(), ok(), now=back)
    assert names(asked) == ["RequestEvent", "CreatedEvent", "Poll"]
    assert [event.event_id for event in followed(session.saved.events.values())] == ["e1"]
    assert session.due(back + timedelta(seconds=1)) == []  # once


def test_an_event_that_is_over_is_not_asked_for_however_the_clock_is_moved_a_little() -> None:
    session = informed()
    later = NOW + 6 * HOUR + KEEP
    talk(session, ok(), now=later)
    assert session.saved.events == {}
    for step in (timedelta(seconds=1), HOUR, KEEP):
        assert "RequestEvent" not in names(session.due(later - step))


@pytest.mark.goal(77)
def test_a_box_that_begins_in_1970_follows_its_events_when_the_clock_is_right() -> None:
    session = make_session(informed().saved)
    begun = datetime(1970, 1, 1, tzinfo=UTC)
    talk(session, ok(), now=begun)
    assert set(session.saved.events) == {"e1"}
    asked = talk(session, ok(), now=NOW)
    assert names(asked) == ["Poll"]
    assert set(session.saved.events) == {"e1"}


@pytest.mark.goal(77)
@pytest.mark.parametrize("hours", [-1, 1])
def test_goals_77_a_step_of_an_hour_neither_silences_the_ven_nor_doubles_a_decision(hours: int) -> None:
    site = Site()
    session = ready(site=site)
    talk(session, distribute(EVENT), ok(), ok())
    moved = NOW + hours * HOUR
    asked: list[Message] = talk(session, distribute(EVENT), ok(), ok(), now=moved)
    assert names(asked) == ["Poll", "CreatedEvent", "Poll"]
    assert site.decided == [("e1", 0)]
    assert not any(isinstance(each, RequestEvent) for each in asked)
    assert isinstance(asked[1], CreatedEvent)


def starts(reports: Sequence[Report]) -> list[datetime | None]:
    return [report.dtstart for report in reports]


@pytest.mark.goal(77)
@pytest.mark.parametrize("days", [2, 1500])
def test_goals_77_reports_go_on_after_a_clock_that_was_days_ahead(days: int) -> None:
    forecast = held(OFFER, back=HOUR, r_ids=("offer",))
    desk = Desk(held(back=HOUR), forecast)
    ahead = NOW + timedelta(days=days)
    assert desk.make(ahead)
    back = NOW + 3 * HOUR
    desk.make(back)
    assert starts(desk.make(back + HOUR)) == [back, back + HOUR]  # what was metered, what is expected
    assert set(desk.requests) == {f"ask-{USAGE}", f"ask-{OFFER}"}


@pytest.mark.goal(77)
def test_a_clock_set_back_by_hours_sends_nothing_twice() -> None:
    desk = Desk(held(back=HOUR))
    assert starts(desk.make(NOW + 3 * HOUR)) == [NOW, NOW + HOUR, NOW + 2 * HOUR]
    assert desk.make(NOW + HOUR) == []
    assert starts(desk.make(NOW + 4 * HOUR)) == [NOW + 3 * HOUR]


def test_a_request_that_begins_in_a_year_waits_until_then() -> None:
    start = NOW + timedelta(days=365)
    desk = Desk(held(start=start, back=HOUR))
    assert desk.make(NOW) == []
    assert starts(desk.make(start + HOUR)) == [start]


def test_of_events_that_are_over_the_newest_are_kept_and_no_more() -> None:
    session = informed()
    for step in range(4):
        now = NOW + (step + 1) * HOUR
        gone = [cancelled(make_event(f"g{step}-{number}", start=NOW + HOUR)) for number in range(200)]
        while not isinstance(session.due(now)[0], Poll):
            session.receive(ok(), now)
        session.receive(distribute(EVENT, *gone, request_id=f"d{step}"), now)
    session.due(NOW + 4.5 * HOUR)
    over = [key for key in session.saved.events if key.startswith("g")]
    assert len(over) == OVER_KEPT
    assert {key[:2] for key in over if key[1] != "3"} <= {"g1", "g2"}
    assert sum(key.startswith("g3") for key in over) == 200
    assert "e1" in session.saved.events
