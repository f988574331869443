"""The VEN's side of a registration: what it says, whom it believes, how it is renewed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from openadr import (
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    Duration,
    Extension,
    Info,
    Message,
    Poll,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    RequestReregistration,
    ServiceInfo,
    decode,
    encode,
)
from openadr.enums import OptType, ProfileName, ServiceName, TransportName
from tests.openadr.samples import MESSAGES
from tests.ven.conversation import SETTINGS, make_session, names, ready, talk
from tests.ven.messages import (
    REGISTRATION,
    VEN,
    VTN,
    ask,
    distribute,
    make_event,
    metadata_taken,
    ok,
    registered,
)
from tests.ven.site import NOW
from ven.errors import UnexpectedMessageError
from ven.registration import Registration, create
from ven.session import Session
from ven.states import State


def created(session: Session) -> CreatePartyRegistration:
    """What the VEN asks for, as it stands on the wire."""
    message = decode(encode(session.due(NOW)[0]))
    assert isinstance(message, CreatePartyRegistration)
    return message


def renewing(answer: CreatedPartyRegistration) -> Session:
    """A session that was asked to renew its registration, and got this answer."""
    session = ready()
    talk(session, RequestReregistration(ven_id=VEN), ok(), answer)
    return session


# what it says


@pytest.mark.criterion("REG-01", "REG-05", "REG-06", "REG-07")
def test_the_first_message_that_matters_is_a_registration_with_everything_it_needs() -> None:
    session = make_session()
    talk(session, registered(ven_id=None))
    message = created(session)
    assert (message.registration_id, message.ven_id, message.ven_name) == (None, None, "alice")
    assert (message.profile_name, message.transport_name) == (ProfileName.B, TransportName.SIMPLE_HTTP)
    assert (message.report_only, message.xml_signature, message.http_pull_model) == (False, False, True)
    body = encode(message)
    for name in (b"oadrProfileName", b"oadrTransportName", b"oadrReportOnly", b"oadrXmlSignature"):
        assert b"<oadr:" + name + b">" in body


@pytest.mark.criterion("REG-06")
@pytest.mark.parametrize("known", [False, True], ids=["fresh", "again"])
def test_the_pull_model_is_always_told(known: bool) -> None:
    current = Registration(VEN, REGISTRATION, VTN) if known else None
    assert create(SETTINGS, "r", current).http_pull_model is True


@pytest.mark.criterion("REG-14", "GEN-09", who="ven")
def test_a_renewal_carries_both_ids() -> None:
    session = ready()
    talk(session, RequestReregistration(ven_id=VEN), ok())
    message = created(session)
    assert (message.registration_id, message.ven_id) == (REGISTRATION, VEN)


@pytest.mark.criterion("REG-07")
def test_a_ven_for_reports_only_asks_for_no_events_and_opts_out_of_any() -> None:
    session = make_session(settings=replace(SETTINGS, report_only=True))
    asked = talk(session, registered(ven_id=None), registered(), metadata_taken(), distribute(make_event()))
    assert names(asked) == ["QueryRegistration", "CreatePartyRegistration", "RegisterReport", "Poll"]
    assert isinstance(asked[1], CreatePartyRegistration)
    assert asked[1].report_only
    held = session.saved.events["e1"]
    assert (held.opt_type, held.code, held.is_followed) == (OptType.OPT_OUT, "460", False)
    again = make_session(session.saved, settings=replace(SETTINGS, report_only=True))
    assert again.state is State.READY


# what it asks and believes


@pytest.mark.criterion("REG-02", who="ven")
def test_what_is_offered_may_be_asked_at_any_time_and_changes_no_registration() -> None:
    session = ready()
    talk(session, ok())
    before = session.saved
    session.query()
    offer = replace(
        registered(period_s=300),
        services=(ServiceInfo(service_name=ServiceName.EI_OPT, infos=(Info(key="schedules", value="no"),)),),
        extensions=(Extension(extension_name="x-one"),),
    )
    assert names(talk(session, offer)) == ["QueryRegistration"]
    assert session.offer == offer
    assert (session.saved, session.state) == (before, State.READY)


def test_nobody_asks_again_before_the_registration_stands() -> None:
    session = make_session()
    session.query()
    assert names(session.due(NOW)) == ["QueryRegistration"]  # its own first one


@pytest.mark.criterion("REG-24")
@pytest.mark.parametrize(("freq", "expected"), [(Duration(7), 7.0), (None, 300.0), (Duration(0), 300.0)])
def test_the_newest_rhythm_holds_whichever_answer_brings_it(freq: Duration | None, expected: float) -> None:
    session = ready()
    talk(session, ok())
    session.query()
    talk(session, replace(registered(), requested_poll_freq=freq))
    assert session.poll_period_s == expected


@pytest.mark.criterion("REG-24")
def test_a_new_rhythm_is_obeyed_by_the_next_poll() -> None:
    session = renewing(registered(period_s=20))
    asked = talk(session, ok())
    assert names(asked) == ["Poll"]
    assert session.due(NOW + timedelta(seconds=19)) == []
    assert session.due(NOW + timedelta(seconds=22)) == [Poll(VEN)]


@pytest.mark.criterion("REG-21", "GEN-11", "GEN-12", who="ven")
@pytest.mark.parametrize(
    "answer",
    [
        replace(registered(), ven_id="other"),
        replace(registered(), ven_id=VEN.upper()),
        replace(registered(), registration_id="other"),
        replace(registered(), vtn_id="other"),
    ],
    ids=["ven", "case", "registration", "vtn"],
)
def test_a_renewal_that_is_answered_with_other_ids_is_none(answer: CreatedPartyRegistration) -> None:
    session = renewing(answer)
    assert session.state is State.UNREGISTERED
    assert session.due(NOW) == []  # asks anew, later
    later = session.due(NOW + timedelta(minutes=2))
    assert names(later) == ["QueryRegistration"]


@pytest.mark.parametrize("end", ["dropped", "refused", "other ids"])
def test_a_renewal_that_failed_is_followed_by_a_new_registration_under_whatever_ids(end: str) -> None:
    session = ready(ask())
    talk(session, RequestReregistration(ven_id=VEN), ok())
    assert created(session).registration_id == REGISTRATION
    if end == "dropped":  # as after three HTTP 500
        session.give_up(NOW)
    else:
        refusal = registered("452", ven_id=None)
        session.receive(refusal if end == "refused" else replace(registered(), vtn_id="other"), NOW)
    later = NOW + timedelta(minutes=2)
    anew = replace(registered(), ven_id="ven-2", registration_id="reg-2", vtn_id="vtn-2")
    events = replace(distribute(), vtn_id="vtn-2")
    asked = talk(session, registered(ven_id=None), anew, metadata_taken(), events, ok(), now=later)
    assert names(asked)[1:4] == ["CreatePartyRegistration", "RegisterReport", "RequestEvent"]
    create = asked[1]
    assert isinstance(create, CreatePartyRegistration)
    assert (create.registration_id, create.ven_id) == (None, None)
    assert asked[-1] == Poll("ven-2")
    assert session.revoked == {"ask-TELEMETRY_USAGE"}


@pytest.mark.criterion("REG-21", who="ven")
def test_a_registration_under_another_id_than_was_agreed_is_none() -> None:
    session = make_session(settings=replace(SETTINGS, ven_id="preset"))
    talk(session, registered(ven_id=None), registered())
    assert (session.state, session.saved.registration) == (State.UNREGISTERED, None)


@pytest.mark.criterion("REG-22")
@pytest.mark.parametrize("steps", [0, 1], ids=["unregistered", "registering"])
def test_an_unregistered_ven_takes_nothing_but_the_answer_to_its_registration(steps: int) -> None:
    for message in MESSAGES.values():
        session = make_session()
        talk(session, *[registered(ven_id=None)] * steps)
        asked, before = session.due(NOW), session.saved
        if isinstance(message, CreatedPartyRegistration):
            continue
        with pytest.raises(UnexpectedMessageError):
            session.receive(message, NOW)
        assert (session.due(NOW), session.saved) == (asked, before)


def test_what_only_a_ven_may_say_is_not_taken_from_the_vtn() -> None:
    for message in MESSAGES.values():
        if isinstance(message, QueryRegistration | CreatePartyRegistration):
            session = ready()
            assert session.due(NOW)
            with pytest.raises(UnexpectedMessageError):
                session.receive(message, NOW)


# metadata both ways


@pytest.mark.criterion("REG-11", "REG-13", who="ven")
def test_the_vtns_metadata_are_answered_and_ours_follow_where_it_has_none_of_us() -> None:
    session = make_session()
    talk(session, registered(ven_id=None), registered(), metadata_taken(code="450"), distribute())
    own = RegisterReport(request_id="v1", ven_id=VEN)
    asked = talk(session, own, ok(), metadata_taken())
    assert names(asked) == ["Poll", "RegisteredReport", "RegisterReport"]
    answer, ours = asked[1], asked[2]
    assert isinstance(answer, RegisteredReport)
    assert (answer.response.code, answer.response.request_id, answer.ven_id) == ("200", "v1", VEN)
    assert isinstance(ours, RegisterReport)
    assert ours.reports
    asked = talk(session, own, ok())  # now it has them
    assert names(asked) == ["Poll", "RegisteredReport"]
    assert names(session.due(NOW)) == ["Poll"]


def test_metadata_that_the_vtn_did_not_take_are_offered_again_later() -> None:
    session = make_session()
    talk(session, registered(ven_id=None), registered())
    assert names(session.due(NOW)) == ["RegisterReport"]
    session.give_up(NOW)  # as after three HTTP 500
    assert names(talk(session, distribute(), ok())) == ["RequestEvent", "Poll"]
    later = NOW + timedelta(minutes=10)
    asked = talk(session, metadata_taken(ask()), ok(), ok(), now=later)
    assert names(asked) == ["RegisterReport", "CreatedReport", "Poll"]
    assert list(session.saved.requests) == ["ask-TELEMETRY_USAGE"]
    assert names(session.due(later + timedelta(minutes=10))) == ["Poll"]


@pytest.mark.criterion("REG-23")
def test_a_clock_that_was_far_ahead_does_not_bar_a_cancelled_ven_for_years() -> None:
    session = ready()
    ahead = NOW + timedelta(days=3000)
    end = CancelPartyRegistration(request_id="x", registration_id=REGISTRATION, ven_id=VEN)
    talk(session, end, ok(), now=ahead)
    again = make_session(session.saved)
    assert again.due(NOW) == []
    assert again.due(NOW + timedelta(minutes=59)) == []
    assert names(again.due(NOW + timedelta(hours=1))) == ["QueryRegistration"]


def test_a_ven_that_was_to_stay_away_for_ever_comes_back_where_that_is_set_otherwise() -> None:
    settings = replace(SETTINGS, register_after_cancel_s=None)
    session = ready(settings=settings)
    talk(session, CancelPartyRegistration(request_id="x", registration_id=REGISTRATION), ok())
    again = make_session(session.saved)
    assert again.due(NOW) == []
    assert names(again.due(NOW + timedelta(hours=1))) == ["QueryRegistration"]


@pytest.mark.criterion("REG-16", "REG-26", who="ven")
@pytest.mark.parametrize("at_start", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_renewal_that_was_asked_for_is_made_after_a_restart(steps: int, at_start: bool) -> None:
    settings = replace(SETTINGS, metadata_at_start=at_start)
    answers: list[Message] = [RequestReregistration(ven_id=VEN), ok(), registered(period_s=60)]
    session = ready()
    asked = talk(session, *answers[:steps])
    again = make_session(session.saved, settings=settings)
    asked += talk(again, *answers[steps:])
    assert names(asked) == ["Poll", "Response", "CreatePartyRegistration"]
    assert again.poll_period_s == 60
    offered = ["RegisterReport"] if at_start and steps == 3 else ["Poll"]
    assert names(make_session(again.saved).due(NOW)) == ["Poll"]
    assert names(again.due(NOW)) == offered


@pytest.mark.criterion("REG-24", who="ven")
def test_a_rhythm_of_years_does_not_silence_the_ven(caplog: pytest.LogCaptureFixture) -> None:
    session = make_session()
    far = replace(registered(), requested_poll_freq=Duration(0, months=1200))
    talk(session, registered(ven_id=None), far, metadata_taken(), distribute(), ok())
    assert session.poll_period_s == 86_400
    assert "at least once a day" in caplog.text
    assert names(session.due(NOW + timedelta(days=1.1))) == ["Poll"]
