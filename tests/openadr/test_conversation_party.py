"""What the checker lets pass at the end of a registration: repeats, and what was refused."""

from __future__ import annotations

from dataclasses import replace

from openadr import EiResponse, Poll, Response
from tests.openadr.test_conversation import CANCEL, CANCELED, POLL, REGISTER, VEN, created, said

OK = Response(response=EiResponse.ok("x"), ven_id=VEN)
REFUSED = Response(response=EiResponse("452", "no such registration", "x"), ven_id=VEN)
STARTED = [(REGISTER, created())]


def test_gen_18_the_end_of_a_registration_may_be_said_again() -> None:
    assert said(*STARTED, (CANCEL, CANCELED), (CANCEL, CANCELED)) == []
    assert said(*STARTED, (Poll(VEN), CANCEL), (CANCELED, OK), (CANCELED, OK)) == []


def test_an_end_that_the_vtn_refused_is_none() -> None:
    wrong = replace(CANCELED, registration_id="reg-9")
    assert said(*STARTED, (Poll(VEN), CANCEL), (wrong, REFUSED), POLL)[-3:] == [
        ("VEN", "REG-11"),
        ("VEN", "RPT-01"),
        ("VTN", "REG-12"),
    ]


def test_reg_19_nothing_else_is_said_after_the_end() -> None:
    assert said(*STARTED, (CANCEL, CANCELED), POLL) == [("VEN", "REG-19"), ("VTN", "SEC-12")]
