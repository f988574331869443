"""What the checker lets pass of reports: what may come again, and what a refusal leaves as it was."""

from __future__ import annotations

from dataclasses import replace

from openadr import CreateReport, EiResponse, Poll, RegisteredReport, RegisterReport, Response
from tests.openadr.test_conversation import (
    METADATA,
    OFFERED,
    POLL,
    PROMISED,
    TAKEN,
    VEN,
    Exchange,
    data,
    pending,
    registered_report,
    said,
    wanted,
)

OK = Response(response=EiResponse.ok(), ven_id=VEN)
ONCE = CreateReport(request_id="a", report_requests=(wanted("once", back_s=0),), ven_id=VEN)
REFUSED = RegisteredReport(response=EiResponse("459", "twice the same rID", "m"), ven_id=VEN)
ASKED_ONCE: list[Exchange] = [(METADATA, registered_report()), (Poll(VEN), ONCE), (pending(), OK)]


def test_rpt_34_a_report_that_was_asked_for_once_may_come_again() -> None:
    assert said(*ASKED_ONCE, (data("once"), TAKEN), (data("once"), TAKEN)) == []


def test_rpt_12_a_request_that_was_not_answered_is_offered_again() -> None:
    twice = said((METADATA, registered_report()), (Poll(VEN), ONCE), (Poll(VEN), ONCE), (pending(), OK), POLL)
    assert twice == []
    other = replace(ONCE, report_requests=(wanted("once"),))
    found = said((METADATA, registered_report()), (Poll(VEN), ONCE), (Poll(VEN), other))
    assert ("VTN", "RPT-12") in found


def test_metadata_that_were_refused_leave_what_was_asked_for() -> None:
    fewer = replace(METADATA, reports=())
    assert said(OFFERED, PROMISED, (fewer, REFUSED), (data(), TAKEN), POLL) == []


def test_rpt_07_data_of_what_new_metadata_have_ended_are_remarked_of_the_ven_alone() -> None:
    fewer = replace(METADATA, reports=())
    assert said(OFFERED, PROMISED, (fewer, registered_report()), (data(), TAKEN)) == [("VEN", "RPT-07")]


def test_poll_05_all_that_waits_may_be_fetched_before_it_is_answered() -> None:
    own = (Poll(VEN), RegisterReport(request_id="v", ven_id=VEN))
    given = (RegisteredReport(response=EiResponse.ok("v"), ven_id=VEN), OK)
    assert said((METADATA, registered_report()), own, (Poll(VEN), ONCE), POLL, given, (pending(), OK)) == []


def test_what_is_offered_again_and_again_and_never_answered_is_remarked() -> None:
    own = (Poll(VEN), RegisterReport(request_id="v", ven_id=VEN))
    assert said(own, own) == []
    assert said(own, own, own) == [("VEN", "REG-13")]
