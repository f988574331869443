"""Registration in the conversation: the first one, its renewal, its end by either side."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from openadr import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedReport,
    CreatePartyRegistration,
    EiResponse,
    Message,
    Poll,
    QueryRegistration,
    RegisteredReport,
    RequestReregistration,
    Response,
)
from tests.ven.conversation import SETTINGS, make_session, names, ready, talk
from tests.ven.messages import (
    HOUR,
    REGISTRATION,
    VEN,
    VTN,
    ask,
    distribute,
    make_event,
    metadata_taken,
    no,
    ok,
    registered,
)
from tests.ven.site import HISTORY, NOW
from ven.saved import Saved
from ven.session import RENEWAL_LIMIT
from ven.states import State


def test_reg_11_a_new_ven_asks_registers_offers_and_syncs_before_it_polls() -> None:
    session = make_session()
    asked = talk(
        session,
        registered(ven_id=None),
        registered(),
        metadata_taken(ask(), ask(HISTORY, back=timedelta(0))),
        ok(),
        distribute(),
        ok(),
    )
    assert names(asked) == [
        "QueryRegistration",
        "CreatePartyRegistration",
        "RegisterReport",
        "CreatedReport",
        "RequestEvent",
        "Poll",
    ]
    create = asked[1]
    assert isinstance(create, CreatePartyRegistration)
    assert (create.registration_id, create.ven_id, create.http_pull_model) == (None, None, True)
    assert create.ven_name == "alice"
    created = asked[3]
    assert isinstance(created, CreatedReport)
    assert created.pending_reports == ("ask-TELEMETRY_USAGE", "ask-HISTORY_USAGE")
    assert all(getattr(message, "ven_id", VEN) == VEN for message in asked[2:])


def test_reg_05_a_ven_id_agreed_beforehand_is_sent() -> None:
    session = make_session(settings=replace(SETTINGS, ven_id="preset"))
    _, create = talk(session, registered(ven_id=None), registered())
    assert isinstance(create, CreatePartyRegistration)
    assert create.ven_id == "preset"


@pytest.mark.parametrize(
    "answers",
    [
        [registered("463")],
        [registered(ven_id=None), registered("463", ven_id=None)],
        [registered(ven_id=None), registered("452", ven_id=None)],
        [registered(ven_id=None), registered(ven_id=None)],
    ],
    ids=["query refused", "not enrolled", "preset id refused", "granted without ids"],
)
def test_a_refused_registration_is_tried_again_later(answers: list[Message]) -> None:
    session = make_session()
    talk(session, *answers)
    assert session.state is State.UNREGISTERED
    assert session.due(NOW + timedelta(seconds=59)) == []
    assert names(session.due(NOW + timedelta(seconds=60))) == ["QueryRegistration"]


def test_a_vtn_of_another_profile_is_not_asked_for_a_registration() -> None:
    session = make_session()
    talk(session, replace(registered(ven_id=None), profiles=()))
    assert session.state is State.UNREGISTERED
    assert session.due(NOW) == []


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("RegisterReport", RegisteredReport(response=EiResponse("463", "unknown"))),
        ("RequestEvent", distribute(code="463")),
        ("Poll", no("463")),
        ("Poll", no("452")),
    ],
)
def test_a_vtn_that_does_not_know_us_makes_us_register_anew(asked: str, answer: Message) -> None:
    session = make_session()
    steps: dict[str, list[Message]] = {
        "RegisterReport": [registered(ven_id=None), registered()],
        "RequestEvent": [registered(ven_id=None), registered(), metadata_taken()],
        "Poll": [registered(ven_id=None), registered(), metadata_taken(), distribute(make_event()), ok()],
    }
    talk(session, *steps[asked])
    events = session.saved.events
    assert names(session.due(NOW)) == [asked]
    assert session.receive(answer, NOW) == []
    assert session.state is State.UNREGISTERED
    assert session.saved == Saved(events=events)
    assert names(session.due(NOW)) == ["QueryRegistration"]


def test_reg_28_a_vtn_that_forgets_us_each_time_is_not_asked_without_end() -> None:
    session = make_session()
    for _ in range(RENEWAL_LIMIT):
        talk(session, registered(ven_id=None), registered(), RegisteredReport(response=EiResponse("463")))
    talk(session, registered(ven_id=None), registered(), RegisteredReport(response=EiResponse("463")))
    assert session.due(NOW) == []
    assert names(session.due(NOW + timedelta(seconds=60))) == ["QueryRegistration"]


def test_reg_16_a_requested_renewal_is_acknowledged_and_keeps_ids_events_and_reports() -> None:
    session = ready(ask())
    talk(session, distribute(make_event()), ok())
    before = session.saved
    asked = talk(session, RequestReregistration(ven_id=VEN), ok(), registered(period_s=60))
    assert names(asked) == ["Poll", "Response", "CreatePartyRegistration"]
    renewal = asked[2]
    assert isinstance(renewal, CreatePartyRegistration)
    assert (renewal.registration_id, renewal.ven_id) == (REGISTRATION, VEN)
    assert session.state is State.READY
    assert (session.saved.events, session.saved.requests) == (before.events, before.requests)
    assert session.poll_period_s == 60


def test_reg_24_a_new_rhythm_holds_at_once() -> None:
    session = ready()
    talk(session, RequestReregistration(ven_id=VEN), ok(), registered(period_s=60), ok())
    assert session.waits_until == NOW + timedelta(seconds=63)


def test_a_renewal_for_another_ven_is_refused_and_changes_nothing() -> None:
    session = ready()
    _, answer, poll = talk(session, RequestReregistration(ven_id="other"), ok(), ok())
    assert isinstance(answer, Response)
    assert answer.response.code == "452"
    assert poll == Poll(VEN)


def test_a_refused_renewal_leads_to_a_new_registration_later() -> None:
    session = ready()
    talk(session, RequestReregistration(ven_id=VEN), ok(), registered("452", ven_id=None))
    assert session.state is State.UNREGISTERED
    assert session.due(NOW) == []


def test_a_renewal_asked_in_place_of_463_works_in_every_registered_state() -> None:
    session = make_session()
    asked = talk(
        session,
        registered(ven_id=None),
        registered(),
        RequestReregistration(ven_id=VEN),
        ok(),
        registered(),
        metadata_taken(),
    )
    assert names(asked)[2:] == ["RegisterReport", "Response", "CreatePartyRegistration", "RegisterReport"]
    assert session.state is State.SYNCING


def test_renewals_asked_without_end_lead_to_a_new_registration_later() -> None:
    session = ready()
    for _ in range(RENEWAL_LIMIT):
        talk(session, RequestReregistration(ven_id=VEN), ok(), registered())
    talk(session, RequestReregistration(ven_id=VEN))
    assert session.state is State.UNREGISTERED
    assert session.due(NOW) == []


def test_reg_19_a_cancelled_registration_is_confirmed_and_forgotten() -> None:
    session = ready(ask())
    talk(session, distribute(make_event()), ok())
    asked = talk(
        session,
        CancelPartyRegistration(request_id="x", registration_id=REGISTRATION, ven_id=VEN),
        ok(),
    )
    confirmed = asked[1]
    assert isinstance(confirmed, CanceledPartyRegistration)
    assert (confirmed.response.code, confirmed.registration_id, confirmed.ven_id) == (
        "200",
        REGISTRATION,
        VEN,
    )
    assert session.state is State.CANCELED
    assert session.saved.events == {}
    assert session.revoked == {"ask-TELEMETRY_USAGE"}
    assert session.reports_due(NOW + HOUR) == []
    assert session.due(NOW + timedelta(minutes=59)) == []
    assert names(session.due(NOW + HOUR)) == ["QueryRegistration"]


def test_reg_23_a_cancelled_ven_stays_away_over_a_restart_and_for_ever_if_so_set() -> None:
    settings = replace(SETTINGS, register_after_cancel_s=None)
    session = ready(settings=settings)
    talk(session, CancelPartyRegistration(request_id="x", registration_id=REGISTRATION), ok())
    again = make_session(session.saved, settings=settings)
    assert again.state is State.CANCELED
    assert again.due(NOW + timedelta(days=3650)) == []


@pytest.mark.parametrize(("registration", "ven_id"), [("reg-2", VEN), (REGISTRATION, "other")])
def test_reg_20_a_cancellation_of_another_registration_is_refused(registration: str, ven_id: str) -> None:
    session = ready()
    before = session.saved
    asked = talk(
        session,
        CancelPartyRegistration(request_id="x", registration_id=registration, ven_id=ven_id),
        ok(),
    )
    refused = asked[1]
    assert isinstance(refused, CanceledPartyRegistration)
    assert refused.response.code == "452"
    assert session.saved == before
    assert session.state is State.READY


def test_reg_18_the_ven_can_end_its_registration() -> None:
    session = ready()
    session.leave()
    (asked,) = talk(
        session, CanceledPartyRegistration(response=EiResponse.ok(), registration_id=REGISTRATION)
    )
    assert isinstance(asked, CancelPartyRegistration)
    assert (asked.registration_id, asked.ven_id) == (REGISTRATION, VEN)
    assert session.state is State.CANCELED
    assert session.saved.registration is None


def test_leaving_without_a_registration_does_nothing() -> None:
    session = make_session()
    session.leave()
    assert session.state is State.UNREGISTERED


def test_requests_of_the_first_step_carry_fresh_ids() -> None:
    session = make_session()
    asked = talk(session, registered("463"), now=NOW) + session.due(NOW + HOUR)
    first, second = asked
    assert isinstance(first, QueryRegistration)
    assert isinstance(second, QueryRegistration)
    assert first.request_id != second.request_id


def test_vtn_id_comes_from_the_registration() -> None:
    known = ready().saved.registration
    assert known is not None
    assert (known.vtn_id, known.ven_id, known.registration_id, known.poll_period_s) == (
        VTN,
        VEN,
        REGISTRATION,
        300,
    )
