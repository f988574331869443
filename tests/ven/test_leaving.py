"""Leaving: the end of a registration, wished or told, and what outlives a kill."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from openadr import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    EiResponse,
    Message,
    RequestReregistration,
)
from tests.ven.conversation import make_session, names, ready, talk
from tests.ven.messages import (
    REGISTRATION,
    VEN,
    ask,
    distribute,
    make_event,
    no,
    ok,
)
from tests.ven.site import NOW
from ven.states import State
from ven.store import Store

# the end


@pytest.mark.criterion("REG-18", "REG-19", "GEN-18", who="ven")
@pytest.mark.parametrize(
    "answer",
    [
        CanceledPartyRegistration(response=EiResponse("463", "who?", "x"), ven_id=VEN),
        no("463"),
        CanceledPartyRegistration(response=EiResponse.ok("x"), registration_id=REGISTRATION, ven_id=VEN),
    ],
    ids=["not-known", "not-known-plainly", "done"],
)
def test_leaving_ends_whether_the_vtn_still_knows_us_or_not(answer: Message) -> None:
    session = ready()
    talk(session, distribute(make_event()), ok())
    session.leave()
    assert names(session.due(NOW)) == ["CancelPartyRegistration"]
    session.receive(answer, NOW)
    assert session.state is State.CANCELED
    assert (session.saved.registration, dict(session.saved.events)) == (None, {})
    assert session.due(NOW + timedelta(minutes=2)) == []


@pytest.mark.criterion("REG-19", who="ven")
def test_after_the_end_neither_polls_nor_reports_are_sent() -> None:
    session = ready(ask())
    session.leave()
    talk(
        session,
        CanceledPartyRegistration(response=EiResponse.ok("x"), registration_id=REGISTRATION, ven_id=VEN),
    )
    much_later = NOW + timedelta(minutes=50)
    assert session.due(much_later) == []
    assert session.reports_due(much_later) == []
    assert session.revoked == {"ask-TELEMETRY_USAGE"}


@pytest.mark.criterion("REG-18", "GEN-18", who="ven")
@pytest.mark.parametrize("answer", ["nothing", "events", "renewal", "463", "the end"])
def test_a_ven_that_leaves_first_takes_the_answer_that_is_on_its_way(answer: str) -> None:
    answers: dict[str, Message] = {
        "nothing": ok(),
        "events": distribute(make_event()),
        "renewal": RequestReregistration(ven_id=VEN),
        "463": no("463"),
        "the end": CancelPartyRegistration(request_id="x", registration_id=REGISTRATION, ven_id=VEN),
    }
    session = ready()
    assert names(session.due(NOW)) == ["Poll"]
    session.leave()
    session.receive(answers[answer], NOW)
    asked = []
    while session.state is not State.CANCELED:
        (message, *_) = session.due(NOW)
        asked.append(message)
        ended = CanceledPartyRegistration(response=EiResponse.ok(), registration_id=REGISTRATION)
        session.receive(ended if isinstance(message, CancelPartyRegistration) else ok(), NOW)
    said = {"events": ["CreatedEvent"], "renewal": ["Response"]}.get(answer, [])
    over = answer in {"463", "the end"}
    assert names(asked) == said + ([] if over else ["CancelPartyRegistration"])
    assert session.saved.registration is None


@pytest.mark.criterion("REG-18", who="ven")
@pytest.mark.parametrize("killed", ["at once", "when it was sent", "twice"])
def test_reg_18_a_wish_to_leave_outlives_a_kill_until_it_is_answered(killed: str, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ven.db")
    session = ready(ask())
    store.save(session.saved)
    session.leave()
    if killed != "at once":
        assert names(session.due(NOW)) == ["CancelPartyRegistration"]
    store.save(session.saved)
    for _ in range(2 if killed == "twice" else 1):
        store.close()
        store = Store.open(tmp_path / "ven.db")
        session = make_session(store.load())
        (asked,) = session.due(NOW)
        assert isinstance(asked, CancelPartyRegistration)
        assert (asked.registration_id, asked.ven_id) == (REGISTRATION, VEN)
    session.receive(
        CanceledPartyRegistration(response=EiResponse.ok("x"), registration_id=REGISTRATION, ven_id=VEN), NOW
    )
    store.save(session.saved)
    store.close()
    store = Store.open(tmp_path / "ven.db")
    session = make_session(store.load())
    store.close()
    assert (session.state, session.saved.registration) == (State.CANCELED, None)
    assert session.due(NOW + timedelta(minutes=2)) == []


@pytest.mark.criterion("REG-18", "REG-20", who="ven")
@pytest.mark.parametrize("refused", [True, False])
def test_a_vtn_that_will_not_let_us_go_keeps_us_and_is_not_asked_again(
    refused: bool, caplog: pytest.LogCaptureFixture
) -> None:
    session = ready()
    session.leave()
    assert names(session.due(NOW)) == ["CancelPartyRegistration"]
    if refused:
        session.receive(CanceledPartyRegistration(response=EiResponse("452", "no", "x")), NOW)
    else:
        session.give_up(NOW)
    assert (session.state, session.saved.leaving) == (State.READY, False)
    assert names(session.due(NOW)) == ["Poll"]
    assert "does not end the registration" in caplog.text
    assert names(make_session(session.saved).due(NOW)) == ["Poll"]


@pytest.mark.criterion("REG-18", "REG-19", who="ven")
def test_a_plain_response_ends_the_registration_too() -> None:
    session = ready()
    session.leave()
    talk(session, ok())
    assert (session.state, session.saved.registration) == (State.CANCELED, None)
    assert session.due(NOW + timedelta(minutes=2)) == []


@pytest.mark.criterion("REG-18", who="ven")
def test_a_wish_to_leave_survives_a_renewal_that_comes_first() -> None:
    session = ready()
    session.saved = replace(session.saved, renewing=True)
    session = make_session(session.saved)
    session.leave()
    assert names(session.due(NOW)) == ["CancelPartyRegistration"]
