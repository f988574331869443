"""Events as they come, change and go: what is answered, replaced, cancelled and left out (group VEX)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from openadr import DistributeEvent, Event, UnreadableEvent
from openadr.enums import OptType, ResponseRequired
from tests.ven.listener import Listener
from tests.ven.messages import HOUR, VEN, cancelled, distribute, make_event
from tests.ven.site import NOW
from ven import opt
from ven.event import followed


def test_vex_01_an_event_is_answered_each_time_it_comes_and_decided_once() -> None:
    listener = Listener()
    first = listener.told(make_event())
    again = listener.told(make_event())
    assert first == again
    assert (first.code, first.opt_type) == ("200", OptType.OPT_IN)
    assert listener.decided == [0]


def test_vex_01_an_event_that_wants_no_response_gets_none_and_is_followed() -> None:
    listener = Listener()
    quiet = make_event(response_required=ResponseRequired.NEVER)
    assert listener.hear(distribute(quiet)) is None
    assert listener.timeline.at(NOW + HOUR) is not None


def test_vex_02_answers_carry_the_request_id_of_the_delivery_and_none_above() -> None:
    listener = Listener()
    answer = listener.hear(distribute(make_event(), request_id="d7"))
    assert answer is not None
    assert answer.event_responses[0].request_id == "d7"
    assert answer.response.request_id == ""
    again = listener.hear(distribute(make_event(), request_id="d8"))
    assert again is not None
    assert again.event_responses[0].request_id == "d8"


def test_vex_06_a_newer_modification_replaces_the_event_and_is_decided_anew() -> None:
    listener = Listener()
    listener.told(make_event())
    listener.told(make_event(modification=3, start=NOW + 3 * HOUR))
    assert listener.decided == [0, 3]
    assert listener.timeline.at(NOW + HOUR) is None
    assert listener.timeline.at(NOW + 3 * HOUR) is not None


@pytest.mark.parametrize(
    "late", [make_event(modification=1), cancelled(make_event(), 1)], ids=["event", "cancel"]
)
def test_vex_06_a_lower_modification_is_out_of_sequence_and_changes_nothing(late: Event) -> None:
    listener = Listener()
    listener.told(make_event(modification=2))
    before = listener.held
    answer = listener.told(late)
    assert (answer.code, answer.opt_type, answer.modification_number) == ("450", OptType.OPT_OUT, 1)
    assert listener.held == before


def test_vex_07_a_cancelled_event_stops_and_is_confirmed() -> None:
    listener = Listener()
    event = make_event(start=NOW - HOUR / 2)
    listener.told(event, now=NOW - HOUR / 2)
    answer = listener.told(cancelled(event))
    assert (answer.code, answer.opt_type, answer.modification_number) == ("200", OptType.OPT_IN, 1)
    assert listener.timeline.at(NOW) is None


def test_vex_07_an_unknown_cancelled_event_is_no_error() -> None:
    listener = Listener()
    answer = listener.told(cancelled(make_event()))
    assert (answer.code, answer.opt_type) == ("200", OptType.OPT_IN)
    assert not listener.decided
    assert listener.timeline.at(NOW + HOUR) is None


def test_vex_06_a_cancelled_event_is_not_revived_by_its_own_number_but_by_a_higher_one() -> None:
    listener = Listener()
    listener.told(make_event())
    listener.told(cancelled(make_event()))
    assert listener.told(make_event(modification=1)).code == "450"
    assert listener.told(make_event(modification=2)).code == "200"
    assert listener.timeline.at(NOW + HOUR) is not None


def test_a_cancellation_with_an_unchanged_number_is_taken() -> None:
    listener = Listener()
    listener.told(make_event())
    answer = listener.told(cancelled(make_event(), 0))
    assert (answer.code, answer.opt_type) == ("200", OptType.OPT_IN)
    assert listener.timeline.at(NOW + HOUR) is None


def test_a_cancellation_that_comes_before_its_event_wins_over_it() -> None:
    listener = Listener()
    listener.told(cancelled(make_event(), 1))
    assert listener.told(make_event()).code == "450"
    assert not listener.decided


def test_vex_09_an_event_left_out_of_a_list_is_cancelled_without_an_answer() -> None:
    listener = Listener()
    listener.told(make_event("e1"), make_event("e2", start=NOW + 5 * HOUR))
    answer = listener.hear(distribute(make_event("e2", start=NOW + 5 * HOUR)))
    assert answer is not None
    assert [each.event_id for each in answer.event_responses] == ["e2"]
    assert set(listener.held) == {"e2"}


@pytest.mark.parametrize(
    ("message", "complete"),
    [(distribute(code="463"), True), (distribute(make_event("e2")), False)],
    ids=["error", "replyLimit"],
)
def test_vex_10_an_error_or_a_limited_list_cancels_nothing(message: DistributeEvent, complete: bool) -> None:
    listener = Listener()
    listener.told(make_event("e1"))
    listener.hear(message, complete=complete)
    assert "e1" in listener.held


def test_vex_11_valid_events_beside_invalid_ones_are_followed() -> None:
    listener = Listener()
    wrong = make_event("e2", market_context="http://programme.test/b")
    answer = listener.hear(distribute(make_event("e1"), wrong))
    assert answer is not None
    assert answer.response.code == "200"
    assert [(each.event_id, each.code) for each in answer.event_responses] == [("e1", "200"), ("e2", "462")]
    assert answer.event_responses[1].opt_type is OptType.OPT_OUT
    assert len(listener.timeline.setpoints()) == 1


def test_vex_23_a_test_event_is_answered_and_not_followed() -> None:
    listener = Listener()
    assert listener.told(make_event(test_event="true")).code == "200"
    assert not followed(listener.held.values())
    assert listener.told(make_event("e2", test_event="false")).code == "200"
    assert len(followed(listener.held.values())) == 1


def test_an_event_that_the_site_opts_out_of_is_not_followed() -> None:
    listener = Listener(opt=OptType.OPT_OUT)
    answer = listener.told(make_event())
    assert (answer.code, answer.opt_type) == ("200", OptType.OPT_OUT)
    assert not followed(listener.held.values())


@pytest.mark.criterion("VEX-04")
def test_vex_03_request_ids_need_not_differ() -> None:
    listener = Listener()
    first = listener.hear(distribute(make_event(), request_id="same"))
    second = listener.hear(distribute(make_event(modification=1), request_id="same"))
    assert first is not None
    assert second is not None
    answers = (*first.event_responses, *second.event_responses)
    assert [(each.event_id, each.modification_number, each.request_id) for each in answers] == [
        ("e1", 0, "same"),
        ("e1", 1, "same"),
    ]


def test_vex_05_no_event_wants_an_answer_no_answer_is_sent() -> None:
    listener = Listener()
    assert listener.hear(distribute()) is None
    assert listener.hear(distribute(make_event(response_required=ResponseRequired.NEVER))) is None
    answer = listener.hear(distribute(make_event("e2")))
    assert answer is not None
    assert answer.event_responses


def test_vex_07_an_unknown_cancelled_event_that_wants_no_answer_gets_none() -> None:
    listener = Listener()
    gone = cancelled(make_event(response_required=ResponseRequired.NEVER))
    assert listener.hear(distribute(gone)) is None


def test_vex_08_a_confirmed_cancellation_is_confirmed_again_only_where_it_comes_again() -> None:
    listener = Listener()
    event, other = make_event(), make_event("e2")
    listener.told(event)
    listener.told(cancelled(event))
    answer = listener.hear(distribute(other))
    assert answer is not None
    assert [each.event_id for each in answer.event_responses] == ["e2"]
    assert listener.told(other, cancelled(event)).modification_number == 1


def test_vex_08_a_change_of_mind_about_a_cancelled_event_is_not_told() -> None:
    listener = Listener()
    listener.told(make_event())
    assert opt.change(listener.held["e1"], VEN) is not None
    listener.told(cancelled(make_event()))
    assert opt.change(listener.held["e1"], VEN) is None


def test_vex_12_a_refused_event_is_not_opted_into_later() -> None:
    listener = Listener()
    listener.told(make_event(market_context="http://x.test/"))
    assert opt.change(replace(listener.held["e1"], opt_type=OptType.OPT_IN), VEN) is None


def test_vex_09_a_refused_event_that_vanishes_is_forgotten() -> None:
    listener = Listener()
    listener.told(make_event(market_context="http://x.test/"))
    assert listener.hear(distribute()) is None
    assert not listener.held


def unreadable(number: int, want: ResponseRequired = ResponseRequired.ALWAYS) -> UnreadableEvent:
    return UnreadableEvent(
        event_id="e1",
        modification_number=number,
        response_required=want,
        code="454",
        description="duration without a number",
        rule="GEN-07",
    )


def test_vex_11_an_event_that_cannot_be_read_is_refused_for_itself() -> None:
    listener = Listener()
    message = replace(distribute(make_event("e2"), request_id="d5"), unreadable=(unreadable(3),))
    answer = listener.hear(message)
    assert answer is not None
    assert answer.response.code == "200"
    assert [(each.event_id, each.code, each.opt_type) for each in answer.event_responses] == [
        ("e2", "200", OptType.OPT_IN),
        ("e1", "454", OptType.OPT_OUT),
    ]
    assert (answer.event_responses[1].modification_number, answer.event_responses[1].request_id) == (3, "d5")
    quiet = replace(distribute(), unreadable=(unreadable(3, ResponseRequired.NEVER),))
    assert listener.hear(quiet) is None


def test_vex_11_a_modification_that_cannot_be_read_ends_the_version_before() -> None:
    listener = Listener()
    listener.told(make_event())
    listener.hear(replace(distribute(), unreadable=(unreadable(0),)))
    assert listener.timeline.setpoints()  # the version that we have is readable
    listener.hear(replace(distribute(), unreadable=(unreadable(1),)))
    assert "e1" in listener.held
    assert not listener.timeline.setpoints()
    assert listener.told(make_event(modification=2)).code == "200"
    assert listener.timeline.setpoints()
