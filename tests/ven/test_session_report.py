"""Reports in the conversation: metadata, requests, cancellations, and what became of a report."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from openadr import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    EiResponse,
    Message,
    Poll,
    RegisteredReport,
    RegisterReport,
    RequestReregistration,
    UpdatedReport,
    UpdateReport,
)
from tests.ven.conversation import make_session, names, ready, talk
from tests.ven.messages import HOUR, VEN, ask, create_report, distribute, metadata_taken, no, ok, registered
from tests.ven.site import NOW, OFFER, USAGE, Site
from ven.errors import UnexpectedMessageError
from ven.session import Delivery
from ven.states import State


def test_rpt_07_a_request_that_comes_with_the_metadatas_answer_keeps_its_progress() -> None:
    session = ready(ask())
    session.reports_due(NOW + HOUR)
    held = session.saved.requests
    again = make_session(replace(session.saved, metadata=""))
    talk(again, metadata_taken(ask()), now=NOW + HOUR)
    assert again.saved.requests == held


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
