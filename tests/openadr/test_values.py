"""Values that cannot be made, because no message could carry them; and small questions that values answer."""

from dataclasses import replace

import pytest
from lxml import etree

from openadr import (
    CreateOpt,
    EiResponse,
    Event,
    EventResponse,
    ItemBase,
    ReportInterval,
    ReportPayload,
    XmlNode,
)
from openadr.codec import read
from openadr.enums import EventStatus, OptType, SiScaleCode
from openadr.errors import InvalidData
from openadr.tree import read_tree, write_tree
from openadr.wire import clark
from tests.openadr.samples import MESSAGES
from tests.openadr.samples.event import event
from tests.openadr.samples.parts import minutes

XSI_TYPE = clark("xsi:type")


@pytest.mark.parametrize("code", ["", "OK", "20", "2000", "\uff12\uff10\uff10", "+20"])
def test_a_response_code_has_three_digits(code: str) -> None:
    with pytest.raises(ValueError, match="three digits"):
        EiResponse(code)
    with pytest.raises(ValueError, match="three digits"):
        EventResponse(code=code, request_id="", event_id="e", modification_number=0, opt_type=OptType.OPT_IN)


@pytest.mark.criterion("ERR-02", "ERR-06")
def test_only_2xx_is_success() -> None:
    assert EiResponse.ok("r") == EiResponse("200", "OK", "r")
    assert [EiResponse(code).is_success for code in ("200", "299", "452", "000", "500")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_unit_is_one_of_the_standard_with_all_its_parts() -> None:
    with pytest.raises(ValueError, match="no unit of the standard: parsec"):
        ItemBase(kind="parsec")
    with pytest.raises(ValueError, match="see power_attributes"):
        ItemBase(
            kind="powerReal", item_description="RealPower", item_units="W", si_scale_code=SiScaleCode.NONE
        )
    with pytest.raises(ValueError, match="see pulse_factor"):
        replace(ItemBase.energy_real(), pulse_factor=1.0)


def test_scale_codes_are_powers_of_ten() -> None:
    assert {code.value: code.factor for code in SiScaleCode} == {
        "p": 1e-12,
        "n": 1e-9,
        "micro": 1e-6,
        "m": 1e-3,
        "c": 1e-2,
        "d": 1e-1,
        "none": 1,
        "k": 1e3,
        "M": 1e6,
        "G": 1e9,
        "T": 1e12,
    }


def test_an_opt_names_an_event_and_its_version_together() -> None:
    opt = MESSAGES["create_opt_event"]
    assert isinstance(opt, CreateOpt)
    with pytest.raises(ValueError, match="together"):
        replace(opt, modification_number=None)


def test_a_reported_value_is_a_number_or_a_status() -> None:
    with pytest.raises(ValueError, match="one value is needed"):
        ReportPayload(r_id="load")
    with pytest.raises(ValueError, match="0 to 100"):
        ReportPayload(r_id="load", payload_float=1.0, confidence=101)
    with pytest.raises(ValueError, match="needs a payload"):
        ReportInterval(duration=minutes(15))


def test_an_event_answers_for_itself() -> None:
    asked: Event = event("e", status=EventStatus.CANCELLED, test_event="yes")
    assert (asked.event_id, asked.modification_number) == ("e", 0)
    assert asked.is_cancelled
    assert asked.is_test
    assert not event().is_test


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("<oadr:oadrPoll/>", id="an element that is missing"),
        pytest.param(
            "<oadr:oadrResponse><ei:eiResponse><ei:responseCode>OK</ei:responseCode></ei:eiResponse></oadr:oadrResponse>",
            id="a value that cannot be made",
        ),
    ],
)
def test_a_tree_that_was_never_validated_is_refused_all_the_same(body: str) -> None:
    names = " ".join(f'xmlns:{prefix}="{clark(prefix + ":x")[1:-2]}"' for prefix in ("oadr", "ei", "pyld"))
    holder = etree.fromstring(f"<a {names}>{body}</a>")
    with pytest.raises(InvalidData) as caught:
        read(holder[0])
    assert caught.value.rule == "GEN-16"
    assert caught.value.message_name in ("Poll", "Response")


def test_foreign_xml_is_the_same_whatever_its_prefixes() -> None:
    xsi = "http://www.w3.org/2001/XMLSchema-instance"
    one = f'<a xmlns="urn:a" xmlns:x="{xsi}" xmlns:t="urn:t"><b x:type="t:T" z="1"/></a>'
    two = f'<p:a xmlns:p="urn:a" xmlns:q="{xsi}" xmlns:u="urn:t">\n <p:b z="1" q:type=" u:T "/>\n</p:a>'
    node = read_tree(etree.fromstring(one))
    assert node == read_tree(etree.fromstring(two))
    assert node.children[0].attributes == (("z", "1"), (XSI_TYPE, "{urn:t}T"))


def test_foreign_xml_comes_back_with_its_types_and_mixed_text() -> None:
    node = XmlNode(
        tag="{urn:a}a",
        text="before",
        children=(
            XmlNode(tag="{urn:a}b", attributes=((XSI_TYPE, "{urn:t}T"),), text="<in>", tail="after"),
            XmlNode(tag="{urn:a}c", attributes=((XSI_TYPE, "plain"),)),
        ),
    )
    holder = etree.Element("holder")
    write_tree(node, holder)
    assert read_tree(etree.fromstring(etree.tostring(holder))[0]) == node
