"""Events that the schema lets through and that are none: the others beside them are read all the same."""

import pytest

from openadr import DistributeEvent, ProtocolError, UnreadableEvent, decode, encode
from openadr.checker import Outcome, check_bytes
from openadr.enums import ResponseRequired
from openadr.rules import check
from tests.openadr.samples.event import event

GOOD = DistributeEvent(
    request_id="r",
    vtn_id="v",
    events=(event("first"), event("second", response_required=ResponseRequired.NEVER), event("third")),
)
VALUE = b"<ei:signalPayload><ei:payloadFloat><ei:value>1</ei:value></ei:payloadFloat></ei:signalPayload>"
FAULTS = {
    "a duration of an age": (b"PT1H</xcal:duration>", b"P999999Y</xcal:duration>"),
    "a duration without a number": (b"PT1H</xcal:duration>", b"P</xcal:duration>"),
    "two payloads in an interval": (VALUE, VALUE + VALUE),
    "an eventID that is too long": (b"second", b"x" * 600),
}


def broken(old: bytes, new: bytes) -> bytes:
    """The second of three events spoilt."""
    before, mark, rest = encode(GOOD).partition(b"<ei:eventID>second<")
    assert mark
    assert old in mark + rest
    return before + (mark + rest).replace(old, new, 1)


@pytest.mark.criterion("EVT-23", who="ven")
@pytest.mark.parametrize(("old", "new"), FAULTS.values(), ids=FAULTS.keys())
def test_vex_11_an_event_that_cannot_be_read_hides_no_other(old: bytes, new: bytes) -> None:
    message = decode(broken(old, new))
    assert isinstance(message, DistributeEvent)
    assert message.events == (GOOD.events[0], GOOD.events[2])
    (unreadable,) = message.unreadable
    assert unreadable.event_id in ("second", "x" * 600)
    assert (unreadable.modification_number, unreadable.code) == (0, "454")
    assert unreadable.response_required is ResponseRequired.NEVER
    assert [finding.rule for finding in check(message)] == [unreadable.rule]


def test_an_event_without_a_payload_is_no_event() -> None:
    verdict = check_bytes(broken(VALUE, b""))
    assert (verdict.outcome, verdict.message) == (Outcome.SCHEMA, "oadrDistributeEvent")


def test_a_fault_outside_the_events_refuses_the_whole_message() -> None:
    raw = encode(DistributeEvent(request_id="r", vtn_id="v" * 600, events=GOOD.events))
    with pytest.raises(ProtocolError, match="identifier of 600 characters"):
        decode(raw)


def test_unreadable_events_are_not_written() -> None:
    unreadable = UnreadableEvent(
        event_id="e",
        modification_number=0,
        response_required=ResponseRequired.ALWAYS,
        code="454",
        description="x",
        rule="GEN-15",
    )
    message = DistributeEvent(request_id="r", vtn_id="v", events=GOOD.events, unreadable=(unreadable,))
    assert decode(encode(message)) == GOOD


def test_what_was_read_around_is_named_by_the_checker() -> None:
    verdict = check_bytes(broken(*FAULTS["two payloads in an interval"]))
    assert (verdict.outcome, verdict.rule) == (Outcome.RULE, "EVT-23")
    assert "event second: " in verdict.text
