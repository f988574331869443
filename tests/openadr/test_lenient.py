"""What is forgiven to a peer that is known to deviate, and what is not."""

from __future__ import annotations

import pytest

from openadr import (
    CreatedEvent,
    EiResponse,
    EventResponse,
    Message,
    Poll,
    RegisteredReport,
    Response,
    decode,
    encode,
    lenient,
)
from openadr.enums import OptType
from openadr.errors import MalformedXml, SchemaInvalid, TooLarge

POLL = Poll("0012")
WIRE = encode(POLL)
QUALIFIED = b'ei:schemaVersion="2.0b"'
UNQUALIFIED = WIRE.replace(QUALIFIED, b'schemaVersion="2.0b"')
OLD = WIRE.replace(QUALIFIED, b'ei:schemaVersion="1.0"')
OLD_UNQUALIFIED = WIRE.replace(QUALIFIED, b'schemaVersion="1.0"')


def bare(wire: bytes) -> bytes:
    """The same message without its wrapper."""
    names = wire.partition(b"<oadr:oadrPayload")[2].partition(b">")[0]
    inner = wire.partition(b"<oadr:oadrSignedObject>")[2].partition(b"</oadr:oadrSignedObject>")[0]
    head, space, rest = inner.partition(b" ")
    return head + names + space + rest


def rules(raw: bytes) -> list[str]:
    message, findings = lenient.decode(raw)
    assert message == POLL
    assert all(finding.warning for finding in findings)
    return [finding.rule for finding in findings]


@pytest.mark.parametrize("raw", [UNQUALIFIED, OLD, OLD_UNQUALIFIED], ids=["unqualified", "old", "both"])
def test_gen_04_a_version_that_the_schema_refuses_is_forgiven_and_named(raw: bytes) -> None:
    assert raw != WIRE
    with pytest.raises(SchemaInvalid):
        decode(raw)
    assert rules(raw) == ["GEN-04"]


def test_gen_04_a_missing_version_needs_no_forgiveness() -> None:
    raw = WIRE.replace(QUALIFIED, b"")
    assert decode(raw) == POLL
    assert rules(raw) == []


def test_gen_03_a_bare_root_is_read_only_where_that_is_allowed() -> None:
    raw = bare(WIRE)
    assert decode(raw) == decode(WIRE, bare=False) == POLL
    with pytest.raises(SchemaInvalid, match="oadrPayload") as caught:
        decode(raw, bare=False)
    assert caught.value.rule == "GEN-03"
    assert rules(raw) == ["GEN-03"]
    assert rules(bare(OLD_UNQUALIFIED)) == ["GEN-04", "GEN-03"]


@pytest.mark.parametrize("code", ["000", "100", "300", "999"])
def test_err_06_a_code_that_says_neither_is_success_for_the_lenient_only(code: str) -> None:
    said = Response(response=EiResponse(code, "fine", "r1"), ven_id="0012")
    strict = decode(encode(said))
    assert isinstance(strict, Response)
    assert not strict.response.is_success
    message, findings = lenient.decode(encode(said))
    assert message == Response(response=EiResponse("200", "fine", "r1"), ven_id="0012")
    assert [finding.rule for finding in findings] == ["ERR-06"]


@pytest.mark.parametrize("code", ["200", "201", "452", "503"])
def test_err_06_success_and_error_stay_what_they_are(code: str) -> None:
    said = RegisteredReport(response=EiResponse(code, "text", "r1"), ven_id="v")
    assert lenient.decode(encode(said)) == (said, ())


def test_err_06_every_answer_of_a_created_event_is_looked_at() -> None:
    answers = tuple(
        EventResponse(
            code=code, request_id="d", event_id=code, modification_number=0, opt_type=OptType.OPT_IN
        )
        for code in ("000", "452", "000")
    )
    message, findings = lenient.decode(
        encode(CreatedEvent(response=EiResponse("000"), event_responses=answers, ven_id="v"))
    )
    assert isinstance(message, CreatedEvent)
    assert message.response.code == "200"
    assert [answer.code for answer in message.event_responses] == ["200", "452", "200"]
    assert [finding.rule for finding in findings] == ["ERR-06"]  # once for each message


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (WIRE.replace(b"ei:venID", b"ei:vanID"), SchemaInvalid),
        (WIRE.replace(QUALIFIED, b'schemaVersion="2.0b" venID="x"'), SchemaInvalid),
        (WIRE.replace(b"<oadr:oadrPoll", b"<!DOCTYPE x><oadr:oadrPoll"), MalformedXml),
        (b"not xml", MalformedXml),
        (WIRE.replace(b"0012", b"0" * 70_000), TooLarge),
    ],
    ids=["element", "attribute", "doctype", "text", "size"],
)
def test_everything_else_is_refused_as_before(raw: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        lenient.decode(raw)


@pytest.mark.criterion("GEN-03", "GEN-04")
@pytest.mark.parametrize("message", [POLL, Response(response=EiResponse.ok())], ids=["poll", "response"])
def test_what_is_forgiven_is_never_sent(message: Message) -> None:
    written = encode(message)
    assert QUALIFIED in written
    assert b" schemaVersion" not in written
    assert decode(written, bare=False) == message
