"""The conversation: every step of the table, what an answer changes, what survives a restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count

import pytest

from openadr import (
    ActivePeriod,
    CanceledPartyRegistration,
    CanceledReport,
    CancelOpt,
    CancelPartyRegistration,
    CancelReport,
    CreatedEvent,
    CreatedOpt,
    CreatedReport,
    CreateOpt,
    CreatePartyRegistration,
    Duration,
    EiResponse,
    Message,
    Poll,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    RequestEvent,
    RequestReregistration,
    Response,
    UpdatedReport,
    UpdateReport,
)
from openadr.enums import OptReason, OptType, ResponseRequired
from tests.ven.messages import (
    HOUR,
    REGISTRATION,
    VEN,
    VTN,
    ask,
    cancelled,
    create_report,
    distribute,
    make_event,
    metadata_taken,
    no,
    ok,
    registered,
)
from tests.ven.site import HISTORY, NOW, OFFER, USAGE, Site
from ven import opt
from ven.errors import UnexpectedMessageError
from ven.saved import Saved
from ven.session import DRAIN_LIMIT, RENEWAL_LIMIT, Delivery, Session
from ven.settings import VenSettings
from ven.states import TRANSITIONS, State

SETTINGS = VenSettings(
    vtn_url="http://127.0.0.1:1",
    insecure_dev=True,
    ven_name="alice",
    state_path="unused",  # type: ignore[arg-type] - a session opens no file
    poll_jitter=0.1,
)


def make_session(
    saved: Saved | None = None,
    site: Site | None = None,
    settings: VenSettings = SETTINGS,
    draw: Callable[[], float] = lambda: 0.5,
) -> Session:
    ids = (f"id-{number}" for number in count())
    return Session(settings, site or Site(), saved or Saved(), new_id=lambda: next(ids), draw=draw)


def talk(session: Session, *answers: Message, now: datetime = NOW) -> list[Message]:
    """Gives one answer after the other; the requests that they answered."""
    asked = []
    for answer in answers:
        asked.append(session.due(now)[0])
        session.receive(answer, now)
    return asked


def ready(*requests: object, site: Site | None = None, settings: VenSettings = SETTINGS) -> Session:
    """A session that has registered and asked for its events; `requests` came with the metadata's answer."""
    session = make_session(site=site, settings=settings)
    talk(session, registered(ven_id=None), registered(), metadata_taken(*requests))  # type: ignore[arg-type] - report requests
    if requests:
        talk(session, ok())
    talk(session, distribute())
    assert session.state is State.READY
    return session


def names(messages: list[Message]) -> list[str]:
    return [type(message).__name__ for message in messages]


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


@pytest.mark.criterion("HTTP-17")
def test_poll_07_the_vtns_rhythm_is_a_lower_bound_and_jitter_only_adds() -> None:
    session = ready()
    talk(session, ok())
    assert session.waits_until == NOW + timedelta(seconds=300 * 1.05)
    assert session.due(NOW + timedelta(seconds=300)) == []
    assert session.due(NOW + timedelta(seconds=315)) == [Poll(VEN)]


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
    quiet = distribute(make_event(response_required=ResponseRequired.NEVER))
    talk(session, *[quiet] * DRAIN_LIMIT)
    assert session.due(NOW) == []


def test_vex_30_answers_go_before_the_next_poll_and_again_until_they_are_acknowledged() -> None:
    session = ready()
    added = session.due(NOW) and session.receive(distribute(make_event()), NOW)
    assert names(added) == ["CreatedEvent"]
    first = session.due(NOW)
    assert first == added
    assert session.due(NOW + HOUR) == added
    session.receive(ok(), NOW)
    assert names(session.due(NOW)) == ["Poll"]


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


def test_rpt_07_a_request_that_comes_with_the_metadatas_answer_keeps_its_progress() -> None:
    session = ready(ask())
    session.reports_due(NOW + HOUR)
    held = session.saved.requests
    again = make_session(replace(session.saved, metadata=""))
    talk(again, metadata_taken(ask()), now=NOW + HOUR)
    assert again.saved.requests == held


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


def test_reg_13_the_vtns_metadata_are_acknowledged() -> None:
    session = ready()
    _, answer = talk(session, RegisterReport(request_id="m9", ven_id=VEN), ok())
    assert answer == RegisteredReport(response=EiResponse.ok("m9"), ven_id=VEN)


def test_rpt_11_a_metadata_request_is_answered_and_metadata_follow_with_its_id() -> None:
    session = ready(ask())
    asked = talk(
        session, create_report(ask("METADATA", r_ids=("0",), back=timedelta(0))), ok(), metadata_taken(ask())
    )
    assert names(asked) == ["Poll", "CreatedReport", "RegisterReport"]
    created, metadata = asked[1], asked[2]
    assert isinstance(created, CreatedReport)
    assert (created.response.code, created.pending_reports) == ("200", ("ask-TELEMETRY_USAGE",))
    assert isinstance(metadata, RegisterReport)
    assert metadata.report_request_id == "ask-METADATA"
    assert set(session.saved.requests) == {"ask-TELEMETRY_USAGE"}


def test_rpt_22_the_answer_to_a_request_lists_every_pending_report() -> None:
    session = ready(ask())
    _, created = talk(session, create_report(ask(OFFER, r_ids=("offer",), back=HOUR)), ok())
    assert created == CreatedReport(
        response=EiResponse.ok("c1"), pending_reports=("ask-TELEMETRY_USAGE", f"ask-{OFFER}"), ven_id=VEN
    )


@pytest.mark.parametrize(
    "message",
    [
        create_report(ask(), ven_id="other"),
        RegisterReport(request_id="c1", ven_id="other"),
        CancelReport(request_id="c1", report_request_ids=("ask-TELEMETRY_USAGE",), ven_id="other"),
        UpdateReport(request_id="c1", ven_id="other"),
    ],
    ids=["CreateReport", "RegisterReport", "CancelReport", "UpdateReport"],
)
def test_gen_11_a_report_message_for_another_ven_is_refused(message: Message) -> None:
    session = ready(ask())
    before = session.saved
    _, answer = talk(session, message, ok())
    response = getattr(answer, "response", None)
    assert isinstance(response, EiResponse)
    assert (response.code, response.request_id) == ("452", "c1")
    assert session.saved == before


def test_rpt_37_a_report_of_the_vtn_that_nobody_asked_for_is_refused() -> None:
    session = ready()
    _, answer = talk(session, UpdateReport(request_id="u9"), ok())
    assert isinstance(answer, UpdatedReport)
    assert (answer.response.code, answer.ven_id) == ("452", VEN)


def test_rpt_39_a_cancelled_report_is_made_no_more() -> None:
    session = ready(ask())
    message = CancelReport(request_id="x1", report_request_ids=("ask-TELEMETRY_USAGE",), ven_id=VEN)
    _, answer = talk(session, message, ok())
    assert answer == CanceledReport(response=EiResponse.ok("x1"), pending_reports=(), ven_id=VEN)
    assert session.revoked == {"ask-TELEMETRY_USAGE"}
    assert session.reports_due(NOW + HOUR) == []
    assert session.next_report_at() is None


def test_reports_are_made_once_and_only_while_registered() -> None:
    site = Site(complete_until=NOW + HOUR)
    session = ready(ask(back=HOUR), site=site)
    assert session.next_report_at() == NOW + HOUR
    (report,) = session.reports_due(NOW + HOUR)
    assert report.ven_id == VEN
    assert session.reports_due(NOW + HOUR) == []
    assert session.next_report_at() == NOW + 2 * HOUR
    assert make_session().reports_due(NOW) == []


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (UpdatedReport(response=EiResponse.ok()), Delivery.DONE),
        (ok(), Delivery.DONE),
        (UpdatedReport(response=EiResponse("452", "unknown request")), Delivery.REFUSED),
        (no("454"), Delivery.REFUSED),
        (UpdatedReport(response=EiResponse("463", "not registered")), Delivery.LATER),
        (no("463"), Delivery.LATER),
        (UpdatedReport(response=EiResponse("500", "busy")), Delivery.LATER),
        (RequestReregistration(ven_id=VEN), Delivery.LATER),
    ],
)
def test_the_answer_to_a_report_says_whether_it_arrived(answer: Message, outcome: Delivery) -> None:
    assert ready().reported(answer) is outcome


def test_a_report_answered_with_463_makes_the_ven_poll_at_once() -> None:
    session = ready()
    talk(session, ok())
    assert session.due(NOW) == []
    session.reported(no("463"))
    assert session.due(NOW) == [Poll(VEN)]


def test_rpt_41_a_cancellation_may_ride_in_the_answer_to_a_report() -> None:
    session = ready(ask(), ask(OFFER, r_ids=("offer",)))
    cancel = CancelReport(request_id="x1", report_request_ids=("ask-TELEMETRY_USAGE",))
    outcome = session.reported(UpdatedReport(response=EiResponse.ok(), cancel_report=cancel))
    assert outcome is Delivery.DONE
    assert set(session.saved.requests) == {f"ask-{OFFER}"}
    assert session.revoked == {"ask-TELEMETRY_USAGE"}
    assert names(session.due(NOW)) == ["Poll"]


def test_an_answer_that_is_none_to_a_report_is_refused() -> None:
    with pytest.raises(UnexpectedMessageError):
        ready().reported(distribute())


def test_vex_26_a_change_of_mind_is_told_with_the_request_id_of_the_delivery() -> None:
    session = ready()
    talk(session, distribute(make_event(), request_id="d5"), ok(), ok())
    session.change_opt("e1", OptType.OPT_OUT)
    (message,) = session.due(NOW)
    assert isinstance(message, CreatedEvent)
    (answer,) = message.event_responses
    assert (answer.request_id, answer.event_id, answer.opt_type) == ("d5", "e1", OptType.OPT_OUT)
    assert make_session(session.saved).due(NOW) == [message]


def test_a_change_of_mind_about_an_event_that_wants_no_response_is_kept_quiet() -> None:
    session = ready()
    talk(session, distribute(make_event(response_required=ResponseRequired.NEVER)), ok())
    session.change_opt("e1", OptType.OPT_OUT)
    assert session.due(NOW) == []
    assert session.saved.events["e1"].opt_type is OptType.OPT_OUT


def test_opt_schedules_are_sent_and_taken_back() -> None:
    session = ready()
    talk(session, ok())
    period = ActivePeriod(dtstart=NOW, duration=Duration(3600), notification=Duration(60))
    schedule = opt.schedule(
        OptType.OPT_OUT, OptReason.SCHEDULE, [period], ven_id=VEN, ids=("o1", "r1"), now=NOW
    )
    session.send(schedule)
    session.send(opt.cancel("o1", VEN, "r2"))
    asked = talk(session, CreatedOpt(response=EiResponse.ok("r1"), opt_id="o1"), ok())
    assert names(asked) == ["CreateOpt", "CancelOpt"]
    create, cancel = asked
    assert isinstance(create, CreateOpt)
    assert create.availability == (ActivePeriod(dtstart=NOW, duration=Duration(3600)),)
    assert (create.event_id, create.target.ven_id) == (None, (VEN,))
    assert isinstance(cancel, CancelOpt)
    assert cancel.opt_id == "o1"
    with pytest.raises(ValueError, match="OPT-02"):
        opt.schedule(OptType.OPT_OUT, OptReason.SCHEDULE, [], ven_id=VEN, ids=("o1", "r1"), now=NOW)


def test_opt_12_only_an_event_that_wants_a_response_can_be_qualified() -> None:
    session = ready()
    quiet = make_event("e2", response_required=ResponseRequired.NEVER)
    talk(session, distribute(make_event(), quiet), ok())
    message = opt.qualify(session.saved.events["e1"], VEN, ("o1", "r1"), NOW, ["home-01"])
    assert (message.event_id, message.modification_number, message.availability) == ("e1", 0, ())
    assert message.target.resource_id == ("home-01",)
    with pytest.raises(ValueError, match="OPT-12"):
        opt.qualify(session.saved.events["e2"], VEN, ("o1", "r1"), NOW)


def test_a_site_that_fails_to_decide_opts_out() -> None:
    class Broken(Site):
        def decide(self, event: object, now: datetime) -> OptType:
            raise RuntimeError("no idea")

    session = ready(site=Broken())
    talk(session, distribute(make_event()))
    assert session.saved.events["e1"].opt_type is OptType.OPT_OUT


def test_an_event_is_dropped_from_memory_a_day_after_its_end() -> None:
    session = ready()
    talk(session, distribute(make_event()), ok())
    session.due(NOW + timedelta(days=2))
    assert session.saved.events == {}


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


def test_goals_73_opt_in_modify_and_cancel_are_answered_in_their_order() -> None:
    session = ready()
    event = make_event()
    asked = talk(
        session,
        distribute(event),
        ok(),
        distribute(make_event(modification=1)),
        ok(),
        distribute(cancelled(event, 2)),
        ok(),
        ok(),
    )
    numbers = [
        answer.modification_number
        for message in asked
        if isinstance(message, CreatedEvent)
        for answer in message.event_responses
    ]
    assert numbers == [0, 1, 2]


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


def test_metadata_refused_by_the_vtn_are_offered_again_after_a_restart() -> None:
    session = make_session()
    talk(session, registered(ven_id=None), registered(), metadata_taken(code="454"), distribute())
    assert session.state is State.READY
    assert make_session(session.saved).state is State.OFFERING


def test_usage_requests_that_cannot_be_served_are_named_in_the_answer() -> None:
    session = ready()
    _, created = talk(session, create_report(ask(USAGE, r_ids=("nobody",))), ok())
    assert isinstance(created, CreatedReport)
    assert created.response.code == "452"
