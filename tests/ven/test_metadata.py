"""When the VEN says what it can report: on request, in every state, never lost and never without end."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from openadr import (
    CancelReport,
    CreatedReport,
    EiResponse,
    Message,
    RegisteredReport,
    RegisterReport,
    ReportRequest,
    RequestEvent,
)
from tests.ven.conversation import make_session, names, ready, talk
from tests.ven.messages import HOUR, VEN, ask, create_report, distribute, metadata_taken, no, ok, registered
from tests.ven.site import NOW, Site, all_capabilities, capability
from ven.offer import offers
from ven.request import LIMIT, accept_all
from ven.session import Session
from ven.states import State

ONCE = timedelta(0)
DAY = timedelta(days=1)
BEGUN: list[Message] = [registered(ven_id=None), registered()]


def wants(request_id: str = "m1", back: timedelta = ONCE) -> ReportRequest:
    """A request for metadata."""
    return ask("METADATA", request_id=request_id, r_ids=("0",), back=back, granularity=ONCE, start=None)


def given(asked: list[Message]) -> list[str | None]:
    """Which requests the metadata that were sent answer."""
    return [message.report_request_id for message in asked if isinstance(message, RegisterReport)]


@pytest.mark.criterion("RPT-01", "RPT-04", "RPT-09", "RPT-11", who="ven")
def test_metadata_asked_for_along_with_their_own_answer_follow_the_list_of_events() -> None:
    session = make_session()
    asked = talk(
        session, *BEGUN, metadata_taken(wants(), ask()), ok(), distribute(), metadata_taken(ask()), ok(), ok()
    )
    assert names(asked)[2:] == [
        "RegisterReport",
        "CreatedReport",
        "RequestEvent",
        "RegisterReport",
        "CreatedReport",
        "Poll",
    ]
    created = asked[3]
    assert isinstance(created, CreatedReport)
    assert (created.response.code, created.pending_reports) == ("200", ("ask-TELEMETRY_USAGE",))
    assert given(asked) == [None, "m1"]
    assert session.state is State.READY
    assert set(session.saved.requests) == {"ask-TELEMETRY_USAGE"}


@pytest.mark.criterion("RPT-01", "RPT-11", who="ven")
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_metadata_that_were_asked_for_are_sent_after_a_restart(steps: int) -> None:
    answers: list[Message] = [create_report(wants()), ok(), metadata_taken(), ok()]
    session = ready()
    asked = talk(session, *answers[:steps])
    again = make_session(session.saved)
    asked += talk(again, *answers[steps:])
    assert names(asked) == ["Poll", "CreatedReport", "RegisterReport", "Poll"]
    assert given(asked) == ["m1"]
    assert again.saved.requests == {}


def test_metadata_sent_after_a_restart_are_the_present_ones() -> None:
    session = ready()
    talk(session, create_report(wants()), ok())
    site = Site(offered=[capability("TELEMETRY_USAGE", "new")])
    asked = talk(make_session(session.saved, site), metadata_taken(), distribute(), metadata_taken())
    assert given(asked) == [None, "m1"]
    assert {len(each.reports) for each in asked if isinstance(each, RegisterReport)} == {1}


@pytest.mark.criterion("RPT-42", "RPT-40", who="ven")
@pytest.mark.parametrize("follow", [False, True])
def test_a_turn_of_regular_metadata_is_not_lost_by_a_restart(follow: bool) -> None:
    session = ready()
    talk(session, create_report(wants(back=HOUR)), ok(), metadata_taken(), ok())
    later = NOW + (HOUR / 2 if follow else HOUR)
    if follow:
        cancel = CancelReport(request_id="x", report_request_ids=("m1",), report_to_follow=True, ven_id=VEN)
        talk(session, cancel, ok(), now=later)
    assert names(session.due(later)) == ["RegisterReport"]
    again = make_session(session.saved)
    assert given(talk(again, metadata_taken(), ok(), now=later)) == ["m1"]
    assert set(again.saved.requests) == (set() if follow else {"m1"})
    assert names(again.due(later + HOUR / 4)) == ["Poll"]


@pytest.mark.criterion("RPT-01", "RPT-07", who="ven")
def test_metadata_that_a_plain_response_takes_are_offered_once_until_they_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = make_session()
    asked = talk(session, *BEGUN, ok(), distribute(), ok())
    for day in range(1, 4):
        asked += talk(session, ok(), now=NOW + day * DAY)
        session = make_session(session.saved)
    assert given(asked) == [None]
    (record,) = (each for each in caplog.records if "plain" in each.getMessage())
    assert record.levelname == "WARNING"
    asked = talk(session, create_report(wants()), ok(), ok(), ok(), now=NOW + 9 * DAY)
    assert given(asked) == ["m1"]  # on request, once more
    site = Site(offered=[capability("TELEMETRY_USAGE", "new")])
    asked = talk(make_session(session.saved, site), ok(), now=NOW + 10 * DAY)
    assert given(asked) == [None]


@pytest.mark.parametrize("answer", ["refused", "plain refusal", "never taken"])
def test_metadata_that_the_vtn_does_not_take_are_offered_again_ever_less_often(
    answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    session = make_session()
    talk(session, *BEGUN)
    now, times = NOW, []
    while now < NOW + 4 * DAY:
        for message in session.due(now):
            if isinstance(message, RegisterReport):
                times.append(now - NOW)
                if answer == "never taken":
                    session.give_up(now)
                else:
                    session.receive(metadata_taken(code="454") if answer == "refused" else no("454"), now)
            else:
                session.receive(distribute() if isinstance(message, RequestEvent) else ok(), now)
        now += timedelta(minutes=1)
    assert 8 < len(times) < 20
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[0] < timedelta(minutes=10)
    assert pauses[-1] <= DAY + timedelta(minutes=10)
    assert all(after >= before - timedelta(minutes=10) for before, after in pairwise(pauses))
    assert "offered again" in caplog.text
    talk(session, metadata_taken(ask()), ok(), now=now + 2 * DAY)
    assert names(session.due(now + 4 * DAY)) == ["Poll"]


def test_a_clock_that_is_set_back_does_not_end_the_offers() -> None:
    session = make_session()
    talk(session, *BEGUN, metadata_taken(code="454"), distribute())
    talk(session, ok())
    assert given(session.due(NOW - 300 * DAY)) == [None]


@pytest.mark.parametrize("code", ["200", "454"])
def test_metadata_given_count_as_given_whatever_the_vtn_says_of_them(code: str) -> None:
    session = ready()
    asked = talk(session, create_report(wants()), ok(), metadata_taken(code=code), ok())
    assert names(asked) == ["Poll", "CreatedReport", "RegisterReport", "Poll"]
    assert session.saved.requests == {}


def test_metadata_that_the_vtn_never_takes_are_given_up() -> None:
    session = ready()
    talk(session, create_report(wants()), ok())
    assert names(session.due(NOW)) == ["RegisterReport"]
    session.give_up(NOW)
    assert names(session.due(NOW)) == ["Poll"]
    assert session.saved.requests == {}


def along(session: Session, request: ReportRequest, now: datetime = NOW) -> RegisteredReport:
    """The answer to the metadata that are due, and a request that comes along."""
    (due,) = session.due(now)
    assert isinstance(due, RegisterReport)
    return RegisteredReport(response=EiResponse.ok(due.request_id), report_requests=(request,))


def test_a_vtn_that_answers_metadata_by_asking_for_them_does_not_make_the_ven_spin() -> None:
    session = ready()
    talk(session, create_report(wants()), ok())
    asked = talk(session, along(session, wants()), ok(), ok())  # the very request that was answered
    assert names(asked) == ["RegisterReport", "CreatedReport", "Poll"]
    assert session.saved.requests == {}
    talk(session, create_report(wants("m2")), ok(), now=NOW + HOUR)
    asked = talk(session, along(session, wants("m3"), NOW + HOUR), ok(), ok(), now=NOW + HOUR)
    assert names(asked) == ["RegisterReport", "CreatedReport", "Poll"]
    assert given(talk(session, metadata_taken(), now=NOW + 2 * HOUR)) == ["m3"]


@pytest.mark.criterion("RPT-42", who="ven")
def test_regular_metadata_go_on_when_the_clock_is_set_back() -> None:
    session = ready()
    talk(session, create_report(wants(back=HOUR)), ok(), metadata_taken(), ok())
    past = NOW - 300 * DAY
    asked = talk(session, metadata_taken(), ok(), now=past)
    assert names(asked) == ["RegisterReport", "Poll"]
    assert given(talk(session, metadata_taken(), now=past + HOUR)) == ["m1"]


def test_a_vtn_has_so_many_requests_and_no_more() -> None:
    offered = offers(all_capabilities())
    asked = [ask(request_id=f"r{number}") for number in range(LIMIT - 1)]
    full = accept_all({}, [*asked, wants()], offered, "c1", NOW)
    assert (full.response.code, len(full.requests)) == ("200", LIMIT)
    for more in (ask(request_id="one more"), wants("one more")):
        refused = accept_all(full.requests, [more], offered, "c2", NOW)
        assert (refused.response.code, refused.requests) == ("451", full.requests)
    again = accept_all(full.requests, [*asked, wants()], offered, "c3", NOW)
    assert (again.response.code, again.requests) == ("200", full.requests)


@pytest.mark.criterion("RPT-40", "RPT-22", who="ven")
def test_a_report_that_was_to_end_goes_on_when_it_is_asked_for_again() -> None:
    session = ready(ask(back=HOUR))
    cancel = CancelReport(request_id="x", report_request_ids=("ask-TELEMETRY_USAGE",), report_to_follow=True)
    asked = talk(session, cancel, ok(), create_report(ask(back=HOUR)), ok())
    created = asked[-1]
    assert isinstance(created, CreatedReport)
    assert created.pending_reports == ("ask-TELEMETRY_USAGE",)
    assert not session.saved.requests["ask-TELEMETRY_USAGE"].final
