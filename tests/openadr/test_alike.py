"""Intervals that are alike are read as if libxml2 had read each of them, or they are not taken for alike."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from openadr import (
    Duration,
    Message,
    ProtocolError,
    RegisterReport,
    Report,
    ReportInterval,
    ReportPayload,
    UpdateReport,
    decode,
    encode,
)
from openadr.alike import Series, find_alike
from openadr.codec import check_size, payload_element, read
from openadr.enums import DataQuality
from openadr.errors import SchemaInvalid, TooLarge
from openadr.parser import DEFAULT_LIMITS, Limits, count_nodes, parse, validate
from openadr.report import ResourceStatus

START = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
COUNT = 60
WORDS = tuple(DataQuality)


def report(*intervals: ReportInterval) -> bytes:
    made = Report(
        dtstart=START,
        intervals=intervals,
        report_request_id="ask",
        report_specifier_id="usage",
        report_name="TELEMETRY_USAGE",
        created_date_time=START,
    )
    return encode(UpdateReport(request_id="u", reports=(made,), ven_id="ven"))


def intervals(*r_ids: str, **said: object) -> list[ReportInterval]:
    """A minute each, of all data points; `said` goes into each payload."""
    return [
        ReportInterval(
            dtstart=START + number * MINUTE,
            duration=Duration(60),
            payloads=tuple(
                ReportPayload(r_id=r_id, payload_float=number * 0.7 - 9, **said) for r_id in r_ids
            ),  # type: ignore[arg-type] - the fields of a payload
        )
        for number in range(COUNT)
    ]


def pretty(raw: bytes) -> bytes:
    root = etree.fromstring(raw)
    etree.indent(root, "\t")
    return etree.tostring(root)


def counted() -> bytes:
    """Intervals without a start, which count, and differ in quality."""
    made = [
        ReportInterval(
            duration=Duration(900),
            uid=str(number),
            payloads=(
                ReportPayload(r_id="a", payload_float=1e-7 * number, data_quality=WORDS[number % len(WORDS)]),
                ReportPayload(r_id="b <&> ü", payload_float=-1e22),
            ),
        )
        for number in range(COUNT)
    ]
    return report(*made)


PLAIN = report(*intervals("load"))
ALIKE = {
    "one point": PLAIN,
    "two points": report(*intervals("load", "home")),
    "accuracy and confidence": report(*intervals("load", accuracy=0.5, confidence=95)),
    "a point without an end": re.sub(
        rb"(pv</.{20,30}?value>)[^<]*", rb"\1INF", report(*intervals("load", "pv"))
    ),
    "indented": pretty(PLAIN),
    "with other prefixes": PLAIN.replace(b"ei:", b"a.b-c:").replace(b":ei=", b":a.b-c="),
    "with a name space of its own": re.sub(rb"(</?)strm:", rb"\1", PLAIN).replace(
        b"<intervals>", b'<intervals xmlns="urn:ietf:params:xml:ns:icalendar-2.0:stream">'
    ),
    "line ends of DOS": pretty(PLAIN).replace(b"\n", b"\r\n"),
}
NOT_ALIKE = {
    "states": report(
        *(
            ReportInterval(
                dtstart=START + number * MINUTE,
                payloads=(
                    ReportPayload(
                        r_id="s", resource_status=ResourceStatus(online=True, manual_override=False)
                    ),
                ),
            )
            for number in range(COUNT)
        )
    ),
    "another duration": PLAIN.replace(b"PT1M", b"PT60S", 1),
    "another name of a point in the middle": b"lead".join(PLAIN.rsplit(b"load", COUNT // 2)[:2])
    + b"load".join([b"", *PLAIN.rsplit(b"load", COUNT // 2)[2:]]),
    "a comment": PLAIN.replace(b"</ei:interval>", b"</ei:interval><!-- x -->", 7),
    "numbers written otherwise": PLAIN.replace(b"<ei:value>", b"<ei:value> ", 7),
    "more white space in one place": pretty(PLAIN).replace(b"</ei:interval>\n", b"</ei:interval>\n\n", 9),
    "much white space": PLAIN.replace(b"</ei:interval><ei:", b"</ei:interval>" + b" " * 300 + b"<ei:"),
    "text between": PLAIN.replace(b"</ei:interval><ei:", b"</ei:interval>x<ei:", 5),
    "a character reference": PLAIN.replace(b"<ei:value>-9<", b"<ei:value>&#45;9<"),
    "words": counted().replace(b"Quality Good - Non Specific", b"x-good", 1),
}


def in_full(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> Message:
    """What libxml2 and the plans read, interval by interval."""
    root = parse(raw, limits)
    check_size(raw, root, limits)
    validate(root)
    return read(payload_element(root), limits)


def outcome(reader: object, raw: bytes) -> object:
    try:
        return repr(reader(raw))  # type: ignore[operator] - decode or in_full; NaN is not equal to itself
    except ProtocolError as error:
        return type(error), str(error), error.rule, error.message_name, error.request_id


def taken(raw: bytes) -> Message | None:
    """What is read by example; None where it is not."""
    alike = find_alike(raw, DEFAULT_LIMITS)
    return alike and alike.complete(in_full(alike.body))


@pytest.mark.parametrize("name", [*ALIKE, "counted"])
def test_alike_intervals_are_read_by_the_first(name: str) -> None:
    raw = ALIKE.get(name) or counted()
    assert taken(raw) == in_full(raw) == decode(raw)


@pytest.mark.parametrize("name", NOT_ALIKE)
def test_what_is_not_quite_alike_is_read_in_full(name: str) -> None:
    raw = NOT_ALIKE[name]
    assert taken(raw) is None
    assert outcome(decode, raw) == outcome(in_full, raw)


def test_a_series_is_as_good_as_a_tuple_of_its_intervals() -> None:
    message, full = decode(PLAIN), in_full(PLAIN)
    assert isinstance(message, UpdateReport) and isinstance(full, UpdateReport)
    series, made = message.reports[0].intervals, full.reports[0].intervals
    assert isinstance(series, Series)
    assert (len(series), hash(series), repr(series)) == (len(made), hash(made), repr(made))
    assert series == made and made == series and series == decode(PLAIN).reports[0].intervals  # type: ignore[attr-defined] - a report
    assert series != made[1:] and series != list(made)
    assert (series[7], series[-1], series[2:4], list(series)) == (made[7], made[-1], made[2:4], list(made))
    assert hash(message) == hash(full)
    assert encode(message) == PLAIN


def test_what_differs_in_quality_or_count_is_a_plain_tuple() -> None:
    message = decode(counted())
    assert isinstance(message, UpdateReport)
    assert type(message.reports[0].intervals) is tuple


# what may stand in the place of a tag or a text: legal, illegal, and what looks alike
STRANGE = [
    *(
        "",
        " ",
        "\n",
        "1",
        "-0",
        "1.",
        ".5",
        "+1",
        "1e5",
        "1E-07",
        "1e99",
        "INF",
        "NaN",
        "1_0",
        "0x1",
        "\u0661",
    ),
    *("2026-03-01T00:00:00Z", "2026-03-01T24:00:00Z", "2026-06-30T23:59:60Z", "2026-02-30T00:00:00Z"),
    *("2026-03-01T00:00:00", "2026-03-01T00:00:00.5Z", "0000-01-01T00:00:00Z", "2026-W01-1T00:00:00Z"),
    *("PT1M", "PT", "P1W", "x-good", "Quality Good - Non Specific", "Quality Good", "&amp;", "&#48;", "]]>"),
    *("<!-- c -->", "<![CDATA[5]]>", "<![CDATA[></ei:interval>]]>", "<?p?>", "</", "<", ">", "\x00", "ü"),
    *("<ei:interval>", "</ei:interval>", "<ei:interval/>", "<strm:intervals>", "</strm:intervals>"),
    *("<ei:value>", "</ei:value>", "<ei:rID>", '<ei:value xmlns:ei="urn:x">', "<ei:value >", "</ei:value >"),
    *(
        "<oadr:oadrReportPayload>",
        "</oadr:oadrReportPayload>",
        "<ei:confidence>200</ei:confidence>",
        "a" * 200,
    ),
    *("<ei:interval><ei:interval>", "<!DOCTYPE a>", "interval"),
]
TOKENS = {name: re.split(rb"(<[^>]*>)", raw) for name, raw in {**ALIKE, "counted": counted()}.items()}


@given(st.sampled_from(sorted(TOKENS)), st.data())
def test_a_changed_body_is_read_or_refused_as_it_is_in_full(name: str, data: st.DataObject) -> None:
    tokens = list(TOKENS[name])
    for _ in range(data.draw(st.integers(1, 2))):
        # near the start, where the example is, or anywhere
        at = data.draw(st.integers(0, min(80, len(tokens) - 1)) | st.integers(0, len(tokens) - 1))
        other = data.draw(st.sampled_from(STRANGE)).encode() if data.draw(st.booleans()) else None
        tokens[at] = data.draw(st.sampled_from(tokens[:120])) if other is None else other
    raw = b"".join(tokens)
    assert outcome(decode, raw) == outcome(in_full, raw)


@given(st.sampled_from(STRANGE), st.integers(0, 45))
def test_the_same_change_of_every_interval_is_read_or_refused_as_in_full(strange: str, at: int) -> None:
    start, end = PLAIN.index(b"<ei:interval>"), PLAIN.rindex(b"</ei:interval>") + len(b"</ei:interval>")
    made = []
    for interval in PLAIN[start:end].split(b"</ei:interval>")[:-1]:
        tokens = re.split(rb"(<[^>]*>)", interval + b"</ei:interval>")
        tokens[at % len(tokens)] = strange.encode()
        made.append(b"".join(tokens))
    raw = PLAIN[:start] + b"".join(made) + PLAIN[end:]
    assert outcome(decode, raw) == outcome(in_full, raw)


def test_what_is_refused_is_named_by_its_place_in_the_whole_body() -> None:
    raw = pretty(PLAIN).replace(b"createdDateTime", b"createdDate")
    line = raw[: raw.index(b"createdDate")].count(b"\n") + 1
    with pytest.raises(SchemaInvalid, match=f"line {line}$"):
        decode(raw)


def test_the_values_are_those_of_the_report_not_of_a_place_that_only_looks_like_it() -> None:
    """A run of intervals in what a signature may hold: anything at all."""
    start, end = (
        PLAIN.index(b"<strm:intervals>"),
        PLAIN.index(b"</strm:intervals>") + len(b"</strm:intervals>"),
    )
    decoy = (
        b'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo>'
        b'<ds:CanonicalizationMethod Algorithm="a"/><ds:SignatureMethod Algorithm="a"/>'
        b'<ds:Reference><ds:DigestMethod Algorithm="a"/><ds:DigestValue/></ds:Reference></ds:SignedInfo>'
        b"<ds:SignatureValue/><ds:Object>%b</ds:Object></ds:Signature>" % PLAIN[start:end]
    )
    one = report(intervals("load")[3])
    raw = one.replace(b"<oadr:oadrSignedObject>", decoy + b"<oadr:oadrSignedObject>")
    for variant in (raw, raw.replace(b"</ei:interval></strm:", b"</ei:interval ></strm:")):
        assert outcome(decode, variant) == outcome(in_full, variant)
    assert decode(raw) == decode(one)


def test_numbers_in_a_foreign_tree_are_no_values() -> None:
    feed = (
        b'<oadr:oadrGBPayload><a:feed xmlns:a="http://www.w3.org/2005/Atom"><a:id>x</a:id>'
        b"<ei:payloadFloat><ei:value>%d</ei:value></ei:payloadFloat></a:feed></oadr:oadrGBPayload></ei:interval>"
    )
    bare = feed.replace(b' xmlns:a="http://www.w3.org/2005/Atom"', b"")
    parts = PLAIN.replace(b"xmlns:ei", b'xmlns:a="http://www.w3.org/2005/Atom" xmlns:ei').split(
        b"</ei:interval>"
    )
    for made in (feed, bare):
        raw = b"".join(part + made % number for number, part in enumerate(parts[:-1])) + parts[-1]
        assert taken(raw) is None
        assert decode(raw) == in_full(raw)


def test_metadata_are_no_data() -> None:
    raw = PLAIN.replace(b"oadrUpdateReport", b"oadrRegisterReport")
    assert taken(raw) is None
    assert isinstance(decode(raw), RegisterReport)


def test_limits_hold_for_the_whole_body() -> None:
    nodes = count_nodes(parse(PLAIN))
    declared = PLAIN.count(b"xmlns") + 1  # counted as nodes too, and the XML declaration
    assert find_alike(PLAIN, Limits(max_alike_nodes=nodes + declared + 2)) is not None
    assert find_alike(PLAIN, Limits(max_alike_nodes=nodes - 1)) is None
    with pytest.raises(TooLarge, match=f"{nodes} elements and attributes, the limit is {nodes - 1}"):
        decode(PLAIN, Limits(max_nodes=nodes - 1, max_alike_nodes=nodes - 1))
    assert decode(PLAIN, Limits(max_nodes=nodes - 1)) == in_full(PLAIN)  # they cost less than others
    with pytest.raises(TooLarge, match=f"{COUNT} intervals"):
        decode(PLAIN, Limits(max_intervals=COUNT - 1))
    with pytest.raises(TooLarge, match=f"body of {len(PLAIN)} bytes"):
        decode(PLAIN, Limits(max_report_bytes=len(PLAIN) - 1))
    with pytest.raises(TooLarge, match="identifier of 4 characters"):
        decode(PLAIN, Limits(max_id_chars=3))
