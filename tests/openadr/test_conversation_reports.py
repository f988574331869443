"""What the checker lets pass of reports: what may come again, and what a refusal leaves as it was."""

from __future__ import annotations

from dataclasses import replace

from openadr import CreateReport, EiResponse, Poll, RegisteredReport, Response
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
    assert said((METADATA, registered_report()), (Poll(VEN), ONCE), (Poll(VEN), ONCE)) == [("VEN", "POLL-04")]
    other = replace(ONCE, report_requests=(wanted("once"),))
    found = said((METADATA, registered_report()), (Poll(VEN), ONCE), (Poll(VEN), other))
    assert ("VTN", "RPT-12") in found


def test_metadata_that_were_refused_leave_what_was_asked_for() -> None:
    fewer = replace(METADATA, reports=())
    assert said(OFFERED, PROMISED, (fewer, REFUSED), (data(), TAKEN), POLL) == []


def test_rpt_07_data_of_what_new_metadata_have_ended_are_remarked_of_the_ven_alone() -> None:
    fewer = replace(METADATA, reports=())
    assert said(OFFERED, PROMISED, (fewer, registered_report()), (data(), TAKEN)) == [("VEN", "RPT-07")]
