"""How a VEN meets its VTN, whatever the service: ids, codes, sizes (GEN, HTTP, POLL, ERR, MIN)."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from openadr import (
    CanceledPartyRegistration,
    CanceledReport,
    CancelPartyRegistration,
    CancelReport,
    CreatedEvent,
    CreatedReport,
    Event,
    Message,
    Poll,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    RequestReregistration,
    Response,
    Target,
    UpdatedReport,
    UpdateReport,
    decode,
    encode,
)
from openadr.enums import OptType
from tests.ven.conversation import SETTINGS, make_session, names, ready, response_of, talk
from tests.ven.messages import (
    HOUR,
    REGISTRATION,
    VEN,
    ask,
    create_report,
    distribute,
    make_event,
    metadata_taken,
    no,
    ok,
    registered,
    signal,
)
from tests.ven.site import HISTORY, NOW, Site
from ven import transport
from ven.errors import RefusedEventError
from ven.session import Session
from ven.states import State
from ven.transport import service_of
from vtn.exchange import ROUTES

ASKS: list[Message] = [
    create_report(ask(), ven_id=VEN),
    RegisterReport(request_id="c1", ven_id=VEN),
    CancelReport(request_id="c1", report_request_ids=("ask-TELEMETRY_USAGE",), ven_id=VEN),
    UpdateReport(request_id="c1", ven_id=VEN),
    CancelPartyRegistration(request_id="c1", registration_id=REGISTRATION, ven_id=VEN),
]
FITTING = {
    "CreateReport": CreatedReport,
    "RegisterReport": RegisteredReport,
    "CancelReport": CanceledReport,
    "UpdateReport": UpdatedReport,
    "CancelPartyRegistration": CanceledPartyRegistration,
    "RequestReregistration": Response,
}


def kind(message: Message) -> str:
    return type(message).__name__


def answered(session: Session, message: Message) -> Message:
    """What the VEN posts in answer to a polled message."""
    talk(session, message)
    return session.due(NOW)[0]


def first_answer(session: Session, *events: Event) -> tuple[str, OptType, str | None]:
    created = answered(session, distribute(*events))
    assert isinstance(created, CreatedEvent)
    answer = created.event_responses[0]
    return answer.code, answer.opt_type, answer.description


def test_gen_09_every_message_names_the_ven_once_it_has_an_id() -> None:
    session = make_session()
    said = talk(session, registered(ven_id=None), registered(), metadata_taken(ask()), ok(), distribute())
    session.send(answered(ready(), distribute(make_event())))
    for message in (*ASKS, RequestReregistration(ven_id=VEN)):
        said.append(answered(ready(ask()), message))
    leaving = ready()
    leaving.leave()
    said += leaving.due(NOW)
    without = {"QueryRegistration", "CreatePartyRegistration"}
    assert {kind(message) for message in said} >= without | {"Response", "CancelPartyRegistration"}
    for message in said:
        assert kind(message) in without or getattr(message, "ven_id", None) == VEN, message


def test_gen_12_ids_differ_by_case() -> None:
    session = ready()
    created = answered(session, replace(distribute(make_event()), vtn_id="VTN-1"))
    assert response_of(created).code == "452"
    assert response_of(answered(ready(), create_report(ask(), ven_id=VEN.upper()))).code == "452"


@pytest.mark.parametrize("request_id", ["c1", ""])
@pytest.mark.parametrize("message", ASKS, ids=kind)
def test_gen_14_the_request_id_comes_back(message: Message, request_id: str) -> None:
    asked = replace(message, request_id=request_id)  # type: ignore[type-var] - every message is a dataclass
    answer = answered(ready(ask()), asked)
    assert type(answer) is FITTING[kind(message)]
    assert response_of(answer).request_id == request_id


@pytest.mark.parametrize(
    "message",
    [
        *(replace(message, ven_id="other") for message in ASKS),  # type: ignore[type-var] - every message is a dataclass
        RequestReregistration(ven_id="other"),
    ],
    ids=kind,
)
@pytest.mark.criterion("GEN-11", "GEN-15", "ERR-03")
def test_gen_11_another_vens_id_is_refused_in_the_fitting_payload(message: Message) -> None:
    session = ready(ask())
    before = session.saved.requests
    answer = answered(session, message)
    assert type(answer) is FITTING[kind(message)]
    assert response_of(answer).code == "452"
    assert (session.state, session.saved.requests) == (State.READY, before)


def test_gen_16_what_is_missing_is_459_a_wrong_id_452_and_nonsense_another_4xx() -> None:
    history = ask(HISTORY, start=None, back=timedelta(0))
    assert response_of(answered(ready(), create_report(history))).code == "459"
    assert response_of(answered(ready(), create_report(ask(r_ids=("nobody",))))).code == "452"
    over = make_event(start=NOW - 3 * HOUR)
    uneven = make_event(signals=(signal(length=2 * HOUR),))
    for event in (over, uneven):
        code, opt_type, _ = first_answer(ready(), event)
        assert (code[0], opt_type) == ("4", OptType.OPT_OUT)


def test_gen_18_what_the_vtn_sends_again_changes_nothing_more() -> None:
    site = Site()
    session = ready(ask(), site=site)
    talk(session, distribute(make_event()), ok(), create_report(ask()), ok())
    before = session.saved
    talk(session, distribute(make_event()), ok(), create_report(ask()), ok())
    assert (session.saved.events, session.saved.requests) == (before.events, before.requests)
    assert site.decided == [("e1", 0)]


def test_gen_20_the_vtns_clock_is_measured_and_a_large_difference_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = ready(settings=replace(SETTINGS, clock_skew_s=30))
    assert session.clock_skew == timedelta(0)
    made = make_event()
    late = replace(made, descriptor=replace(made.descriptor, created_date_time=NOW - timedelta(seconds=20)))
    with caplog.at_level(logging.WARNING):
        talk(session, distribute(late), ok())
        assert session.clock_skew == timedelta(seconds=-20)
        assert "clock" not in caplog.text
        ahead = replace(
            made, descriptor=replace(made.descriptor, created_date_time=NOW + timedelta(seconds=90))
        )
        for _ in range(2):
            talk(session, distribute(ahead), ok())
    assert session.clock_skew == timedelta(seconds=90)
    assert caplog.text.count("the VTN's clock differs from ours by 90 s") == 1


def test_gen_22_a_signal_or_report_of_the_vtns_own_is_refused_by_its_code() -> None:
    own = make_event(signals=(signal("x-MINE"),))
    assert first_answer(ready(), own)[:2] == ("460", OptType.OPT_OUT)
    asked = ask("x-MINE", r_ids=("load",))
    named = replace(asked, report_specifier=replace(asked.report_specifier, report_specifier_id="x-MINE"))
    assert response_of(answered(ready(), create_report(named))).code == "461"


@pytest.mark.parametrize("code", ["400", "450", "463", "499"])
def test_err_02_any_4xx_of_a_poll_means_that_the_vtn_does_not_know_us(code: str) -> None:
    session = ready()
    talk(session, no(code))
    assert session.state is State.UNREGISTERED
    assert names(session.due(NOW)) == ["QueryRegistration"]


@pytest.mark.parametrize("code", ["500", "503", "599"])
def test_err_02_any_5xx_of_a_poll_is_temporary(code: str) -> None:
    session = ready()
    talk(session, no(code))
    assert session.state is State.READY
    assert session.due(NOW) == []


@pytest.mark.parametrize(
    ("code", "state"), [("200", "offering"), ("299", "offering"), ("499", "unregistered")]
)
def test_err_02_the_first_digit_says_whether_a_registration_was_granted(code: str, state: str) -> None:
    session = make_session()
    talk(session, registered(ven_id=None), registered(code))
    assert session.state == state


def test_err_04_a_site_that_fails_says_nothing_of_why() -> None:
    class Broken(Site):
        def decide(self, event: Event, now: datetime) -> OptType:
            raise RuntimeError("/etc/secret in line 7")

    code, opt_type, text = first_answer(ready(site=Broken()), make_event())
    assert (code, opt_type) == ("200", OptType.OPT_OUT)
    assert "secret" not in str(text)


def test_err_05_a_site_refuses_an_event_by_its_own_code_and_words() -> None:
    class Strict(Site):
        def decide(self, event: Event, now: datetime) -> OptType:
            raise RefusedEventError("469", "the freezers are full")

    session = ready(site=Strict())
    assert first_answer(session, make_event()) == ("469", OptType.OPT_OUT, "the freezers are full")
    assert not session.saved.events["e1"].is_followed


@pytest.mark.parametrize("code", ["200", "300", "45", "45x", "\uff14\uff15\uff12"])
def test_a_refusal_says_an_error_by_three_digits(code: str) -> None:
    with pytest.raises(ValueError, match="4xx or 5xx"):
        RefusedEventError(code, "no")


def test_min_01_long_names_and_comments_are_taken_and_come_back_whole() -> None:
    site = Site()
    long_id, context, comment = "e" * 128, "http://programme.test/" + "c" * 100, "d" * 300
    made = make_event(long_id, market_context=context)
    made = replace(made, descriptor=replace(made.descriptor, vtn_comment=comment))
    session = ready(site=site)
    told = decode(encode(replace(distribute(made, request_id="r" * 100))))
    created = decode(encode(answered(session, told)))
    assert isinstance(created, CreatedEvent)
    (answer,) = created.event_responses
    assert (answer.code, answer.event_id, answer.request_id) == ("200", long_id, "r" * 100)
    held = session.saved.events[long_id].event.descriptor
    assert (held.market_context, held.vtn_comment) == (context, comment)
    named = make_event("e2", signals=(signal("x-" + "s" * 100),))
    settings = replace(SETTINGS, signals=frozenset({("x-" + "s" * 100, "level")}))
    assert first_answer(ready(settings=settings), named)[0] == "200"
    assert (
        response_of(answered(ready(), replace(create_report(ask()), request_id="q" * 128))).request_id
        == "q" * 128
    )


def test_min_02_several_events_with_intervals_or_one_with_a_day_of_hours() -> None:
    four = [
        make_event(
            f"e{number}",
            start=NOW + 4 * number * HOUR + HOUR,
            length=3 * HOUR,
            signals=(signal(values=(1.0, 2.0, 3.0), length=3 * HOUR),),
            target=Target(ven_id=(VEN,), resource_id=("home-01", "home-02", "home-03", "home-04")),
        )
        for number in range(4)
    ]
    created = answered(ready(), decode(encode(distribute(*four))))
    assert isinstance(created, CreatedEvent)
    assert [answer.code for answer in created.event_responses] == ["200"] * 4
    values = tuple(float(hour % 4) for hour in range(24))
    day = make_event(length=24 * HOUR, signals=(signal(values=values, length=24 * HOUR),))
    assert first_answer(ready(), day)[0] == "200"


def test_http_20_every_message_of_the_ven_belongs_to_a_service_of_the_vtn() -> None:
    sent = {
        kind(message)
        for message in talk(make_session(), registered(ven_id=None), registered(), metadata_taken())
    }
    assert sent == {"QueryRegistration", "CreatePartyRegistration", "RegisterReport"}
    for message_class, service in transport._SERVICES.items():
        assert service in ROUTES[message_class].services, message_class
    assert service_of(QueryRegistration(request_id="q")) == "EiRegisterParty"


def test_poll_10_events_are_asked_for_once_and_come_by_poll_afterwards() -> None:
    session = ready()
    asked = talk(session, distribute(make_event()), ok(), ok())
    asked += session.due(NOW + HOUR)
    assert names(asked) == ["Poll", "CreatedEvent", "Poll", "Poll"]
    assert make_session(session.saved).due(NOW) == [Poll(VEN)]
