"""What every message keeps, whoever sends it: both sides write and read with the same package (group GEN)."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from lxml import etree

from openadr import (
    CreatePartyRegistration,
    DistributeEvent,
    Message,
    Poll,
    decode,
    encode,
)
from openadr.clock import written_at
from openadr.codec import payload_element
from openadr.enums import TransportName
from openadr.errors import SchemaInvalid
from openadr.parser import parse, validate
from openadr.wire import clark
from tests.openadr.samples import MESSAGES
from tests.openadr.samples.event import event

SAMPLES = [pytest.param(message, id=name) for name, message in MESSAGES.items()]
TIMES = {clark(name) for name in ("xcal:date-time", "ei:createdDateTime", "ei:modificationDateTime")}
DURATION = re.compile(r"-?P(?=.)(\d+Y)?(\d+M)?(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+S)?)?")


def tree(message: Message) -> etree._Element:
    return parse(encode(message))


@pytest.mark.parametrize("message", SAMPLES)
def test_gen_01_what_is_sent_is_valid_under_the_2_0b_schema(message: Message) -> None:
    root = tree(message)
    validate(root)
    assert etree.QName(root).namespace == "http://openadr.org/oadr-2.0b/2012/07"


@pytest.mark.parametrize("message", SAMPLES)
def test_gen_03_and_04_what_is_sent_is_wrapped_and_names_its_version(message: Message) -> None:
    root = tree(message)
    assert [root.tag, root[0].tag, len(root), len(root[0])] == [
        clark("oadr:oadrPayload"),
        clark("oadr:oadrSignedObject"),
        1,
        1,
    ]
    assert dict(root[0][0].attrib) == {clark("ei:schemaVersion"): "2.0b"}


def test_gen_03_a_bare_element_is_read() -> None:
    bare = etree.tostring(payload_element(tree(MESSAGES["distribute_event"])))
    assert decode(bare) == MESSAGES["distribute_event"]


def test_gen_04_a_missing_version_is_tolerated_and_a_bare_or_strange_one_is_not() -> None:
    raw = encode(Poll("v"))
    assert decode(raw.replace(b' ei:schemaVersion="2.0b"', b"")) == Poll("v")
    for wrong in (b' schemaVersion="2.0b"', b' ei:schemaVersion="1.0"'):
        with pytest.raises(SchemaInvalid):
            decode(raw.replace(b' ei:schemaVersion="2.0b"', wrong))


@pytest.mark.parametrize("message", SAMPLES)
def test_gen_05_no_schema_location_is_sent_and_a_received_one_is_ignored(message: Message) -> None:
    root = tree(message)
    assert not any("schemaLocation" in name for element in root.iter() for name in element.attrib)
    for element in (root, payload_element(root)):
        element.set(
            clark("xsi:schemaLocation"), "http://openadr.org/oadr-2.0b/2012/07 http://127.0.0.1:1/x.xsd"
        )
    assert decode(etree.tostring(root)) == message


@pytest.mark.parametrize("message", SAMPLES)
def test_gen_06_every_instant_is_sent_in_utc_with_z(message: Message) -> None:
    for element in tree(message).iter(*TIMES):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", element.text or ""), element.text


def test_gen_06_fractions_of_a_second_are_read_and_cut_off() -> None:
    raw = encode(DistributeEvent(request_id="r", vtn_id="v", events=(event(),)))
    told = decode(re.sub(rb"(createdDateTime>[^<]*)Z<", rb"\1.987654321Z<", raw))
    assert isinstance(told, DistributeEvent)
    assert told.events[0].descriptor.created_date_time == event().descriptor.created_date_time


@pytest.mark.parametrize("message", SAMPLES)
def test_gen_07_durations_are_sent_in_whole_numbers_and_never_in_weeks(message: Message) -> None:
    for element in tree(message).iter(clark("xcal:duration")):
        assert len(element) or DURATION.fullmatch(element.text or ""), element.text


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("response", "ei:venID"),
        ("cancel_report", "ei:venID"),
        ("create_party_registration_push", "ei:venID"),
        ("create_party_registration_push", "ei:registrationID"),
        ("distribute_event", "ei:vtnComment"),
        ("create_opt_schedule", "emix:marketContext"),
        ("canceled_party_registration", "ei:registrationID"),
    ],
)
def test_gen_08_an_empty_element_says_the_same_as_none(name: str, path: str) -> None:
    emptied, without = tree(MESSAGES[name]), tree(MESSAGES[name])
    tags = [list(root.iter(clark(path))) for root in (emptied, without)]
    assert tags[0], path
    for element in tags[0]:
        element.text = None
        del element[:]
    for element in tags[1]:
        parent = element.getparent()
        assert parent is not None
        parent.remove(element)
    assert decode(etree.tostring(emptied)) == decode(etree.tostring(without)) != MESSAGES[name]


@pytest.mark.parametrize(
    ("name", "before", "after", "status"),
    [
        ("create_party_registration_pull", b">simpleHttp<", b">simpleHTTP<", 406),
        ("distribute_event", b">level<", b">x-level<", 406),
        ("distribute_event", b">SIMPLE<", b">Simple<", 406),
        ("distribute_event", b">PT1H<", b">PT0.5H<", 406),
    ],
    ids=["transport name", "own signal type", "unknown signal name", "fraction in a duration"],
)
def test_gen_23_where_text_and_schema_disagree_the_schema_rules(
    name: str, before: bytes, after: bytes, status: int
) -> None:
    raw = encode(MESSAGES[name])
    assert before in raw
    with pytest.raises(SchemaInvalid) as refused:
        decode(raw.replace(before, after))
    assert refused.value.http_status == status


def test_gen_23_the_transport_is_spelt_as_in_the_schema() -> None:
    assert b">simpleHttp<" in encode(
        CreatePartyRegistration(
            request_id="r", transport_name=TransportName.SIMPLE_HTTP, http_pull_model=True
        )
    )


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("distribute_event", b">SIMPLE<", b">x-MINE<"),
        ("update_report", b">TELEMETRY_USAGE<", b">x-MINE<"),
        ("register_report", b">usage<", b">x-MINE<"),
        ("register_report", b">Direct Read<", b">x-MINE<"),
        ("create_opt_schedule", b">x-schedule<", b">x-MINE<"),
    ],
    ids=["signal name", "report name", "report type", "reading type", "opt reason"],
)
def test_gen_22_words_of_a_peers_own_are_read_and_kept(name: str, before: bytes, after: bytes) -> None:
    raw = encode(MESSAGES[name])
    assert before in raw
    changed = decode(raw.replace(before, after))
    assert changed != MESSAGES[name]
    assert encode(changed) == raw.replace(before, after)


def test_gen_08_every_optional_word_of_a_message_is_told() -> None:
    """What is optional and there is not lost on the way: each sample reads as the value that wrote it."""
    for message in MESSAGES.values():
        assert decode(encode(message)) == message


def test_gen_20_a_message_tells_its_senders_clock() -> None:
    at = datetime(2026, 7, 1, 8, 0, tzinfo=UTC)
    told = event()
    told = replace(told, descriptor=replace(told.descriptor, created_date_time=at))
    listing = DistributeEvent(request_id="r", vtn_id="v", events=(told,))
    assert written_at(listing) == at
    assert written_at(replace(listing, events=())) is None
    assert written_at(Poll("v")) is None
    for name in ("create_opt_schedule", "update_report", "register_report"):
        assert written_at(MESSAGES[name]) is not None
