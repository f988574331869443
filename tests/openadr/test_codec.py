"""Reading and writing beyond the files: identity of text, caching, what is refused."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openadr import (
    CancelReport,
    DistributeEvent,
    EiResponse,
    EncodeError,
    ItemBase,
    Message,
    Poll,
    ProtocolError,
    Response,
    UpdateReport,
    decode,
    encode,
)
from openadr.codec import messages
from openadr.errors import InvalidData, MalformedXml, SchemaInvalid, TooLarge
from openadr.parser import Limits, parse, validate
from openadr.wire import NAMESPACES
from tests.openadr.samples import MESSAGES
from tests.openadr.samples.event import event
from tests.openadr.samples.parts import at
from tests.openadr.samples.report import USAGE

# what XML can carry: no control characters, no surrogates; a lone CR is read as LF by XML itself
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), max_size=128) | st.text(
    "<>&\"' ;#x-0", max_size=20
)


def wrapped(body: str) -> bytes:
    """A payload around `body`, all prefixes declared."""
    names = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    return (
        f"<oadr:oadrPayload {names}><oadr:oadrSignedObject>{body}</oadr:oadrSignedObject></oadr:oadrPayload>"
    ).encode()


def update_report(interval: str) -> bytes:
    return wrapped(
        "<oadr:oadrUpdateReport><pyld:requestID>r</pyld:requestID><oadr:oadrReport><strm:intervals><ei:interval>"
        f"{interval}</ei:interval></strm:intervals><ei:reportRequestID>1</ei:reportRequestID>"
        "<ei:reportSpecifierID>s</ei:reportSpecifierID><ei:createdDateTime>2026-07-01T08:00:00Z"
        "</ei:createdDateTime></oadr:oadrReport></oadr:oadrUpdateReport>"
    )


@given(TEXT, TEXT)
def test_any_text_of_an_identifier_comes_back(ven_id: str, description: str) -> None:
    message = Response(response=EiResponse("200", description or None, ven_id), ven_id=ven_id or None)
    written = encode(message)
    validate(parse(written))
    assert decode(written) == message


def test_a_carriage_return_in_a_text_comes_back() -> None:
    message = Response(response=EiResponse("200", "a\rb\r\nc", "r"), ven_id="<&>")
    assert decode(encode(message)) == message


def test_a_number_like_identifier_stays_text() -> None:
    message = decode(encode(Poll("0012")))
    assert message == Poll("0012")


def test_what_we_write_is_wrapped_and_carries_its_version() -> None:
    written = encode(Poll("ven-1"))
    assert b"oadrPayload" in written
    assert b'ei:schemaVersion="2.0b"' in written


def test_a_bare_root_is_read_like_a_wrapped_one() -> None:
    names = " ".join(f'xmlns:{prefix}="{NAMESPACES[prefix]}"' for prefix in ("oadr", "ei"))
    assert decode(f"<oadr:oadrPoll {names}><ei:venID>v</ei:venID></oadr:oadrPoll>".encode()) == Poll("v")


def test_the_same_small_bytes_give_the_same_value() -> None:
    written = encode(Poll("ven-cached"))
    assert decode(written) is decode(bytes(bytearray(written)))


def test_messages_are_frozen_and_hashable() -> None:
    assert len({hash(message) for message in MESSAGES.values()}) > 1
    for cls in messages().values():
        assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]  # set by dataclass
        assert fields(cls)


def test_another_time_zone_is_written_as_utc() -> None:
    local = timezone(timedelta(hours=2))
    report = replace(USAGE, created_date_time=datetime(2026, 7, 1, 10, 31, 0, 999, tzinfo=local))
    message = decode(encode(UpdateReport(request_id="r", reports=(report,))))
    assert isinstance(message, UpdateReport)
    assert message.reports[0].created_date_time == datetime(2026, 7, 1, 8, 31, tzinfo=UTC)


def _changed(**changes: object) -> Message:
    return UpdateReport(request_id="r", reports=(replace(USAGE, **changes),))  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(_changed(created_date_time=datetime(2026, 7, 1)), id="a naive datetime"),  # noqa: DTZ001 - on purpose
        pytest.param(_changed(report_name="TELEMETRY"), id="a name that is not x-"),
        pytest.param(_changed(report_name="x- "), id="an extension without a word"),
        pytest.param(Poll("a\x00b"), id="a control character"),
        pytest.param(Poll("\ud800"), id="half a surrogate pair"),
        pytest.param(Poll("\ufffe"), id="no character"),
        pytest.param(Poll(12), id="a number for text"),  # type: ignore[arg-type]  # wrong on purpose
        pytest.param(CancelReport(request_id="r", report_request_ids=()), id="an empty list that needs one"),
    ],
)
def test_a_value_that_the_schema_forbids_is_not_written(message: Message) -> None:
    with pytest.raises(EncodeError):
        encode(message)


def test_a_word_outside_a_closed_list_is_not_written() -> None:
    wrong = event()
    descriptor = replace(wrong.descriptor, event_status="maybe")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(EncodeError, match="EventStatus"):
        encode(DistributeEvent(request_id="r", vtn_id="v", events=(replace(wrong, descriptor=descriptor),)))


@pytest.mark.parametrize("number", [-1, 2**32])
def test_a_number_beyond_32_bits_is_not_written(number: int) -> None:
    wrong = event(priority=number)
    with pytest.raises(EncodeError, match="32-bit"):
        encode(DistributeEvent(request_id="r", vtn_id="v", events=(wrong,)))


def test_infinite_voltage_is_not_written() -> None:
    unit = ItemBase.power(voltage=float("inf"))  # type: ignore[arg-type]  # wrong on purpose
    signal = replace(event().signals[0], item_base=unit)
    with pytest.raises(EncodeError, match="decimal"):
        encode(DistributeEvent(request_id="r", vtn_id="v", events=(event(signals=(signal,)),)))


@pytest.mark.parametrize(
    "value", [float("inf"), float("-inf"), float("nan"), 1e308, -0.0, 0.1, 12345678.0, 1e-300]
)
def test_any_number_comes_back_the_same(value: float) -> None:
    payload = replace(USAGE.intervals[0].payloads[0], payload_float=value)
    report = replace(USAGE, intervals=(replace(USAGE.intervals[0], payloads=(payload,)),))
    written = encode(UpdateReport(request_id="r", reports=(report,)))
    validate(parse(written))
    message = decode(written)
    assert isinstance(message, UpdateReport)
    assert repr(message.reports[0].intervals[0].payloads[0].payload_float) == repr(value)


def test_a_payload_of_another_service_in_an_interval_is_refused() -> None:
    body = update_report(
        "<ei:signalPayload><ei:payloadFloat><ei:value>1</ei:value></ei:payloadFloat></ei:signalPayload>"
    )
    validate(parse(body))
    with pytest.raises(InvalidData, match="ei:signalPayload") as caught:
        decode(body)
    assert caught.value.message_name == "UpdateReport"


def distributed(raw: bytes) -> DistributeEvent:
    message = decode(raw)
    assert isinstance(message, DistributeEvent)
    assert not message.events
    return message


def test_two_values_in_one_signal_interval_are_refused() -> None:
    one = "<ei:signalPayload><ei:payloadFloat><ei:value>1</ei:value></ei:payloadFloat></ei:signalPayload>"
    raw = encode(DistributeEvent(request_id="r", vtn_id="v", events=(event(),)))
    two = raw.replace(b"<ei:signalPayload>", one.encode() + b"<ei:signalPayload>", 1)
    validate(parse(two))
    (unreadable,) = distributed(two).unreadable
    assert (unreadable.rule, unreadable.description) == ("EVT-23", "element ei:value stands twice")


@pytest.mark.criterion("SGN-08")
@pytest.mark.parametrize(("name", "taken"), [("x-COMFORT", True), ("COMFORT", False), ("Simple", False)])
def test_a_signal_name_of_the_list_or_with_x_is_taken(name: str, taken: bool) -> None:
    raw = encode(DistributeEvent(request_id="r", vtn_id="v", events=(event(),)))
    changed = raw.replace(b">SIMPLE<", f">{name}<".encode())
    if taken:
        message = decode(changed)
        assert isinstance(message, DistributeEvent)
        assert message.events[0].signals[0].signal_name == name
        return
    with pytest.raises(SchemaInvalid) as caught:
        decode(changed)
    assert caught.value.http_status == 406


@pytest.mark.criterion("SGN-08")
def test_a_signal_type_is_one_of_the_closed_list() -> None:
    raw = encode(DistributeEvent(request_id="r", vtn_id="v", events=(event(),)))
    with pytest.raises(SchemaInvalid):
        decode(raw.replace(b"<ei:signalType>level<", b"<ei:signalType>x-level<"))


def test_a_status_where_a_signal_needs_a_number_is_refused() -> None:
    raw = encode(DistributeEvent(request_id="r", vtn_id="v", events=(event(),)))
    status = (
        b"<oadr:oadrPayloadResourceStatus><oadr:oadrOnline>true</oadr:oadrOnline>"
        b"<oadr:oadrManualOverride>true</oadr:oadrManualOverride></oadr:oadrPayloadResourceStatus>"
    )
    changed = raw.replace(b"<ei:payloadFloat><ei:value>1</ei:value></ei:payloadFloat>", status)
    validate(parse(changed))
    (unreadable,) = distributed(changed).unreadable
    assert "oadrPayloadResourceStatus" in unreadable.description


def test_a_year_before_christ_is_refused_not_misread() -> None:
    raw = encode(UpdateReport(request_id="r", reports=(USAGE,))).replace(b">2026-", b">-2026-", 1)
    with pytest.raises(InvalidData, match="-2026"):
        decode(raw)


@pytest.mark.goal(12)
def test_an_identifier_beyond_the_limit_is_refused() -> None:
    with pytest.raises(TooLarge, match="129 characters"):
        decode(encode(Poll("v" * 129)))
    assert decode(encode(Poll("v" * 129)), Limits(max_id_chars=200)) == Poll("v" * 129)


def test_a_2_0a_message_is_told_apart() -> None:
    raw = b'<oadrResponse xmlns="http://openadr.org/oadr-2.0a/2012/07"/>'
    with pytest.raises(SchemaInvalid, match="oadrResponse"):
        decode(raw)


def test_an_element_that_is_no_message_is_refused() -> None:
    with pytest.raises(SchemaInvalid, match="element ei:venID: not a message"):
        decode(b'<venID xmlns="http://docs.oasis-open.org/ns/energyinterop/201110">v</venID>')


def test_a_payload_without_a_message_is_refused() -> None:
    with pytest.raises(SchemaInvalid, match="oadrSignedObject"):
        decode(wrapped(""))


@pytest.mark.parametrize("raw", [b"", b" ", b"\x00", b"<", b"\xff\xfe<\x00a\x00/\x00>\x00", b"<a>\xe9</a>"])
def test_no_bytes_raise_anything_but_a_protocol_error(raw: bytes) -> None:
    with pytest.raises(MalformedXml):
        decode(raw)


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_a_protocol_error(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(raw)


@given(st.sampled_from(sorted(MESSAGES)), st.data())
def test_a_changed_byte_gives_a_message_or_a_protocol_error(name: str, data: st.DataObject) -> None:
    raw = bytearray(encode(MESSAGES[name]))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = decode(bytes(raw))
    except ProtocolError:
        return
    written = encode(message)
    validate(parse(written))
    assert decode(written) == message


def test_created_times_are_read_from_cache_and_from_long_text_alike() -> None:
    raw = encode(UpdateReport(request_id="r", reports=(USAGE,)))
    long = raw.replace(b">2026-07-01T08:00:00Z<", b">2026-07-01T08:00:00." + b"0" * 60 + b"Z<", 1)
    message = decode(long)
    assert isinstance(message, UpdateReport)
    assert message.reports[0].dtstart == at(8)
