"""Our message files against the values they stand for, in both directions."""

import json
import math
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from openadr import Duration, ItemBase, Message, Poll, RegisterReport, UpdateReport, XmlNode, decode, encode
from openadr.checker import check_bytes
from openadr.codec import messages
from openadr.enums import DataQuality
from openadr.parser import parse, validate
from tests.openadr.samples import MESSAGES

VECTORS = Path(__file__).parents[1] / "vectors"
REFUSED = json.loads((VECTORS / "refused" / "expected.json").read_text())


def canonical(raw: bytes) -> bytes:
    root = etree.fromstring(raw, etree.XMLParser(remove_blank_text=True, resolve_entities=False))
    return etree.tostring(root, method="c14n")


@pytest.mark.parametrize("name", MESSAGES)
def test_file_reads_as_its_value(name: str) -> None:
    assert decode((VECTORS / f"{name}.xml").read_bytes()) == MESSAGES[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_value_writes_as_its_file(name: str) -> None:
    written = encode(MESSAGES[name])
    assert canonical(written) == canonical((VECTORS / f"{name}.xml").read_bytes())


@pytest.mark.parametrize("name", MESSAGES)
def test_what_we_write_is_valid_and_reads_back_equal(name: str) -> None:
    written = encode(MESSAGES[name])
    validate(parse(written))
    assert decode(written) == MESSAGES[name]


def test_every_file_has_a_value() -> None:
    assert {path.stem for path in VECTORS.glob("*.xml")} == set(MESSAGES)


def test_every_message_of_the_profile_has_a_file() -> None:
    assert {type(message) for message in MESSAGES.values()} == set(messages().values())
    assert len(messages()) == 23


def test_every_field_of_every_class_is_used_in_some_file() -> None:
    used: set[tuple[type, str]] = set()
    classes: set[type] = set()

    def walk(value: Any) -> None:
        if isinstance(value, tuple):
            for item in value:
                walk(item)
        if is_dataclass(value) and not isinstance(value, XmlNode | Duration):
            classes.add(type(value))
            for item in fields(value):
                inner = getattr(value, item.name)
                if inner not in (None, ()):
                    used.add((type(value), item.name))
                walk(inner)

    for message in MESSAGES.values():
        walk(message)
    unused = {(cls.__name__, item.name) for cls in classes for item in fields(cls)} - {
        (cls.__name__, name) for cls, name in used
    }
    # itemBase is forbidden in a request (RPT-14), and what could not be read is never written
    assert unused == {("SpecifierPayload", "item_base"), ("DistributeEvent", "unreadable")}


@pytest.mark.parametrize("path", sorted((VECTORS / "accepted").glob("*.xml")), ids=lambda path: path.stem)
def test_a_peers_spelling_is_read_and_written_back_equal(path: Path) -> None:
    message = decode(path.read_bytes())
    written = encode(message)
    validate(parse(written))
    # by their text: from Python 3.13 on a value that holds a NaN is not equal to itself
    assert repr(decode(written)) == repr(message)


def accepted(name: str) -> Message:
    return decode((VECTORS / "accepted" / f"{name}.xml").read_bytes())


def test_a_comment_does_not_cut_an_identifier() -> None:
    assert accepted("bare_root_other_prefixes") == Poll("0012")


def test_times_without_z_are_utc_and_fractions_are_cut_off() -> None:
    message = accepted("times_without_z")
    assert isinstance(message, UpdateReport)
    report = message.reports[0]
    assert report.dtstart == datetime(2026, 7, 1, 8, tzinfo=UTC)
    assert report.created_date_time == datetime(2026, 7, 2, tzinfo=UTC)
    assert report.intervals[0].duration == Duration(7 * 86_400)
    payload = report.intervals[0].payloads[0]
    assert payload.payload_float is not None
    assert math.isnan(payload.payload_float)
    assert payload.r_id == " load ", "an identifier is kept as it came"
    assert payload.data_quality == DataQuality.BAD, "a token's white space collapses"
    assert message.ven_id is None, "an empty element means the same as none (GEN-08)"


def test_an_abstract_unit_is_read_as_what_its_type_says() -> None:
    message = accepted("abstract_units")
    assert isinstance(message, RegisterReport)
    power, energy = (item.item_base for item in message.reports[0].report_descriptions)
    assert isinstance(power, ItemBase)
    assert isinstance(energy, ItemBase)
    assert (power.kind, power.item_units) == ("powerReal", "J/s")
    assert power.power_attributes is not None
    assert power.power_attributes.voltage == Decimal(230)
    assert (energy.kind, energy.item_description) == ("energyReal", "")


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_message_is_refused_and_named(name: str) -> None:
    verdict = check_bytes((VECTORS / "refused" / name).read_bytes())
    expected = REFUSED[name]
    assert (verdict.outcome, verdict.rule) == (expected["verdict"], expected["rule"])
    assert expected["text_names"] in verdict.text


def test_every_refused_file_is_expected() -> None:
    assert {path.name for path in (VECTORS / "refused").glob("*.xml")} == set(REFUSED)
