"""The conversation itself: polls, answers that wait, restarts, and what is in no table."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from openadr import Message, Poll, RequestEvent
from openadr.enums import ResponseRequired
from tests.ven.conversation import SETTINGS, make_session, names, ready, talk
from tests.ven.messages import (
    HOUR,
    VEN,
    ask,
    create_report,
    distribute,
    make_event,
    metadata_taken,
    ok,
    registered,
)
from tests.ven.site import NOW, Site
from ven.errors import UnexpectedMessageError
from ven.rhythm import DRAIN_LIMIT
from ven.states import TRANSITIONS, State


@pytest.mark.criterion("HTTP-17")
def test_poll_07_the_vtns_rhythm_is_a_lower_bound_and_jitter_only_adds() -> None:
    session = ready()
    talk(session, ok())
    assert session.waits_until == NOW + timedelta(seconds=300 * 1.05)
    assert session.due(NOW + timedelta(seconds=300)) == []
    assert session.due(NOW + timedelta(seconds=315)) == [Poll(VEN)]


@pytest.mark.goal(77)
def test_goals_77_a_clock_that_is_set_back_does_not_silence_the_ven() -> None:
    session = ready()
    talk(session, ok())
    assert session.due(NOW) == []
    assert session.due(NOW - HOUR) == [Poll(VEN)]


@pytest.mark.criterion("POLL-04")
def test_poll_03_the_ven_polls_at_once_until_the_vtn_has_nothing() -> None:
    session = ready()
    asked = talk(session, create_report(ask()), ok(), distribute(make_event()), ok(), ok())
    assert names(asked) == ["Poll", "CreatedReport", "Poll", "CreatedEvent", "Poll"]
    assert session.due(NOW) == []


def test_a_vtn_that_never_runs_dry_does_not_make_the_ven_spin() -> None:
    session = ready()
    quiet = [make_event(f"e{n}", response_required=ResponseRequired.NEVER) for n in range(DRAIN_LIMIT)]
    talk(session, *[distribute(each) for each in quiet])
    assert session.due(NOW) == []


@pytest.mark.criterion("POLL-03", "POLL-07", "POLL-08", who="ven")
def test_poll_08_a_vtn_that_repeats_its_list_at_each_poll_is_polled_in_its_rhythm() -> None:
    session, now = ready(), NOW
    told = distribute(make_event(response_required=ResponseRequired.NEVER))
    talk(session, told, told, told)  # news, and then a list before something else that may wait
    for _ in range(4):
        assert session.due(now) == []
        now += HOUR / 10
        talk(session, told, now=now)
    now += HOUR / 10
    talk(session, create_report(ask()), ok(), told, told, now=now)  # what is new is followed at once
    assert session.due(now) == []


def test_vex_30_answers_go_before_the_next_poll_and_again_until_they_are_acknowledged() -> None:
    session = ready()
    added = session.due(NOW) and session.receive(distribute(make_event()), NOW)
    assert names(added) == ["CreatedEvent"]
    first = session.due(NOW)
    assert first == added
    assert session.due(NOW + HOUR) == added
    session.receive(ok(), NOW)
    assert names(session.due(NOW)) == ["Poll"]


@pytest.mark.goal(70)
def test_goals_70_an_answer_that_was_not_acknowledged_survives_a_restart() -> None:
    site = Site()
    session = ready(site=site)
    talk(session, distribute(make_event()))
    again = make_session(session.saved, site)
    assert again.due(NOW) == session.due(NOW)
    talk(again, ok())
    assert again.saved.answers == ()
    assert site.decided == [("e1", 0)]


def test_reg_26_a_restart_goes_on_without_registering() -> None:
    session = ready(ask())
    again = make_session(session.saved)
    assert again.state is State.READY
    assert again.due(NOW) == [Poll(VEN)]
    assert again.saved.requests == session.saved.requests


@pytest.mark.parametrize("steps", [2, 3, 4, 5])
def test_a_restart_in_the_middle_of_the_registration_goes_on_there(steps: int) -> None:
    answers = [registered(ven_id=None), registered(), metadata_taken(ask()), ok(), distribute(), ok()]
    session = make_session()
    before = talk(session, *answers[:steps])
    again = make_session(session.saved)
    after = talk(again, *answers[steps:])
    assert names(before + after) == [
        "QueryRegistration",
        "CreatePartyRegistration",
        "RegisterReport",
        "CreatedReport",
        "RequestEvent",
        "Poll",
    ]


def test_changed_capabilities_are_registered_after_a_restart() -> None:
    session = ready(ask())
    site = Site(offered=Site().offered[:1])
    again = make_session(session.saved, site)
    assert again.state is State.OFFERING
    talk(again, metadata_taken())
    assert again.saved.requests == {}
    assert again.revoked == {"ask-TELEMETRY_USAGE"}
    assert again.state is State.READY or names(again.due(NOW)) == ["RequestEvent"]


def test_an_answer_that_is_not_in_the_table_is_refused_and_changes_nothing() -> None:
    session = make_session()
    with pytest.raises(UnexpectedMessageError, match="without a request"):
        session.receive(ok(), NOW)
    asked = session.due(NOW)
    before = session.saved
    with pytest.raises(UnexpectedMessageError, match="DistributeEvent cannot answer QueryRegistration"):
        session.receive(distribute(make_event()), NOW)
    assert session.due(NOW) == asked
    assert session.saved == before


GIVEN_UP = [
    ([], State.UNREGISTERED, []),
    ([registered(ven_id=None)], State.UNREGISTERED, []),
    ([registered(ven_id=None), registered()], State.SYNCING, ["RequestEvent"]),
    ([registered(ven_id=None), registered(), metadata_taken()], State.READY, ["Poll"]),
    ([registered(ven_id=None), registered(), metadata_taken(), distribute()], State.READY, []),
    (
        [registered(ven_id=None), registered(), metadata_taken(), distribute(make_event())],
        State.READY,
        ["Poll"],
    ),
]


@pytest.mark.parametrize(("answers", "state", "following"), GIVEN_UP)
def test_http_09_a_request_that_is_never_taken_is_dropped_and_the_ven_goes_on(
    answers: list[Message], state: State, following: list[str]
) -> None:
    session = make_session()
    talk(session, *answers)
    assert session.due(NOW)
    session.give_up(NOW)
    assert session.state is state
    assert names(session.due(NOW)) == following


def test_every_state_can_be_left_or_waits_and_every_target_is_a_state_of_the_table() -> None:
    targets = {
        state
        for requests in TRANSITIONS.values()
        for answers in requests.values()
        for following in answers.values()
        for state in following
    }
    assert set(TRANSITIONS) == set(State)
    assert targets <= set(State)
    assert targets | {State.UNREGISTERED, State.LEAVING} == set(State)


def test_request_event_without_events_may_be_answered_by_a_plain_response() -> None:
    session = make_session()
    asked = talk(session, registered(ven_id=None), registered(), metadata_taken(), ok())
    assert isinstance(asked[-1], RequestEvent)
    assert session.saved.synced
    assert session.state is State.READY


def test_without_a_rhythm_of_the_vtn_ours_holds() -> None:
    session = make_session()
    talk(session, registered(ven_id=None), replace(registered(), requested_poll_freq=None))
    assert session.poll_period_s == SETTINGS.poll_period_s
