"""What comes in is bounded before it is understood (GOALS 1 and 12, GEN-21)."""

import ctypes
import gc

import pytest

from openadr import Poll, ProtocolError, decode, encode
from openadr.errors import MalformedXml, SchemaInvalid, TooLarge
from openadr.parser import DEFAULT_LIMITS, Limits, parse, schema_directory, validate
from openadr.wire import NAMESPACES

POLL = encode(Poll("ven-1"))
NAMES = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())


def poll(ven_id: str, before: str = "") -> bytes:
    return f"{before}<oadr:oadrPoll {NAMES}><ei:venID>{ven_id}</ei:venID></oadr:oadrPoll>".encode()


LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
HOSTILE = {
    "internal entity": poll("&a;", '<!DOCTYPE p [<!ENTITY a "ven-1">]>'),
    "external entity": poll("&a;", '<!DOCTYPE p [<!ENTITY a SYSTEM "file:///etc/passwd">]>'),
    "external entity over the network": poll(
        "&a;", '<!DOCTYPE p [<!ENTITY a SYSTEM "http://127.0.0.1:1/">]>'
    ),
    "external DTD": poll("v", '<!DOCTYPE p SYSTEM "http://127.0.0.1:1/x.dtd">'),
    "public DTD": poll("v", '<!DOCTYPE p PUBLIC "-//X" "http://127.0.0.1:1/x.dtd">'),
    "empty DOCTYPE": poll("v", "<!DOCTYPE p>"),
    "parameter entity": poll("v", '<!DOCTYPE p [<!ENTITY % a SYSTEM "http://127.0.0.1:1/"> %a;]>'),
    "billion laughs": poll("&l9;", f'<!DOCTYPE p [<!ENTITY l0 "ha">{LAUGHS}]>'),
    "quadratic blow-up": poll("&a;" * 9_000, f'<!DOCTYPE p [<!ENTITY a "{"a" * 30_000}">]>'),
    "entity that is not declared": poll("&nobody;"),
    "DOCTYPE behind a comment": poll("&a;", '<!-- x --><!DOCTYPE p [<!ENTITY a "b">]>'),
    "DOCTYPE behind white space": poll("&a;", '\n\t <!DOCTYPE p [<!ENTITY a "b">]>'),
    "DOCTYPE in UTF-16": poll("&a;", '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE p [<!ENTITY a "b">]>')
    .decode()
    .encode("utf-16"),
    "DOCTYPE in UTF-7": b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE p+AD4-',
    "style sheet": poll("v", '<?xml-stylesheet type="text/xsl" href="http://127.0.0.1:1/"?>'),
    "instruction inside": poll("<?php system(1) ?>v"),
    "two declarations": poll("v", '<?xml version="1.0"?><?xml version="1.0"?>'),
    "XInclude": b'<x xmlns:x="http://www.w3.org/2001/XInclude"><x:include href="/etc/passwd"/></x>',
    "deeper than libxml2 goes": b"<a>" * 2_000 + b"</a>" * 2_000,
    "a name of a megabyte": b"<" + b"a" * 1_000_000 + b"/>",
    "a namespace of a megabyte": b'<a xmlns="' + b"a" * 1_000_000 + b'"/>',
    "a text of a megabyte": poll("v" * 900_000),
    "a megabyte of siblings": b"<a>" + b"<b/>" * 200_000 + b"</a>",
    "a megabyte of attributes": b"<a " + b" ".join(b'a%d=""' % n for n in range(90_000)) + b"/>",
    "a megabyte of comments": b"<a>" + b"<!---->" * 140_000 + b"</a>",
    "lone ampersand": poll("a & b"),
    "NUL": poll("a\x00b"),
}


@pytest.mark.criterion("GEN-21")
@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_body_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(raw)
    assert isinstance(caught.value, MalformedXml | SchemaInvalid | TooLarge)
    assert len(caught.value.description) < 400
    assert decode(POLL) == Poll("ven-1")


@pytest.mark.parametrize(
    "name", [name for name in HOSTILE if "DOCTYPE" in name or "entity" in name or "DTD" in name]
)
def test_entities_are_malformed_whatever_they_say(name: str) -> None:
    with pytest.raises(MalformedXml):
        decode(HOSTILE[name])


def test_the_usual_characters_are_no_entities() -> None:
    assert decode(poll("&lt;&amp;&#x41;&gt;&quot;")) == Poll('<&A>"')


def test_cdata_is_text() -> None:
    assert decode(poll("a<![CDATA[<b>]]>c")) == Poll("a<b>c")


def test_a_byte_order_mark_is_allowed() -> None:
    assert decode(b"\xef\xbb\xbf" + POLL) == Poll("ven-1")


def test_a_declared_encoding_does_not_change_how_bytes_are_read() -> None:
    assert decode(poll("é", '<?xml version="1.0" encoding="ISO-8859-1"?>')) == Poll("é")


@pytest.mark.goal(12)
def test_bytes_at_the_limit_are_taken_and_one_more_is_not() -> None:
    limits = Limits(max_bytes=len(POLL))
    assert decode(POLL, limits) == Poll("ven-1")
    with pytest.raises(TooLarge, match=f"limit is {len(POLL) - 1}"):
        decode(POLL, Limits(max_bytes=len(POLL) - 1))


@pytest.mark.goal(12)
def test_only_reports_may_be_larger_than_64_kb() -> None:
    padding = b"<!--" + b"x" * 70_000 + b"-->"
    with pytest.raises(TooLarge, match="65536"):
        decode(POLL + padding)
    report = f"<oadr:oadrUpdateReport {NAMES}><pyld:requestID>r</pyld:requestID></oadr:oadrUpdateReport>"
    assert decode(report.encode() + padding)
    with pytest.raises(TooLarge, match="1048576"):
        decode(report.encode() + padding * 15)


@pytest.mark.goal(12)
def test_nodes_at_the_limit_are_taken_and_one_more_is_not() -> None:
    raw = b"<a>" + b'<b c=""/>' * 49 + b"</a>"
    assert parse(raw, Limits(max_nodes=99)).tag == "a"
    with pytest.raises(TooLarge, match="99 elements and attributes, the limit is 98"):
        parse(raw, Limits(max_nodes=98))


@pytest.mark.goal(12)
def test_depth_at_the_limit_is_taken_and_one_more_is_not() -> None:
    assert parse(b"<a>" * 64 + b"</a>" * 64).tag == "a"
    with pytest.raises(TooLarge, match="deeper than 64"):
        parse(b"<a>" * 65 + b"</a>" * 65)


@pytest.mark.goal(12)
def test_intervals_at_the_limit_are_taken_and_one_more_is_not() -> None:
    raw = b"<a>" + b"<interval/>" * 5_000 + b"</a>"
    assert parse(raw).tag == "a"
    with pytest.raises(TooLarge, match="5001 intervals"):
        parse(raw.replace(b"</a>", b"<interval/></a>"))


def test_the_element_is_named_where_the_schema_is_broken() -> None:
    with pytest.raises(SchemaInvalid, match="element ei:venID: This element is not expected") as caught:
        validate(parse(poll("v</ei:venID><ei:venID>w")))
    assert caught.value.http_status == 406


@pytest.mark.goal(12)
def test_the_limits_are_those_that_are_promised() -> None:
    assert Limits(65_536, 1_048_576, 10_000, 20_000, 6_200, 400, 64, 5_000, 128) == DEFAULT_LIMITS


def test_metadata_have_a_limit_of_their_own() -> None:
    metadata = (
        f"<oadr:oadrRegisterReport {NAMES}><pyld:requestID>r</pyld:requestID></oadr:oadrRegisterReport>"
    )
    padded = metadata.encode() + b"<!--" + b"x" * 100_000 + b"-->"
    assert decode(padded, Limits(max_metadata_nodes=2))  # and they may be larger than 64 kB
    with pytest.raises(TooLarge, match="2 elements and attributes of metadata, the limit is 1"):
        decode(padded, Limits(max_metadata_nodes=1))


def test_several_reports_weigh_more_than_their_elements() -> None:
    report = (
        "<oadr:oadrReport><ei:reportRequestID>q</ei:reportRequestID>"
        "<ei:reportSpecifierID>s</ei:reportSpecifierID>"
        "<ei:createdDateTime>2026-03-02T12:00:00Z</ei:createdDateTime></oadr:oadrReport>"
    )
    request = "<pyld:requestID>r</pyld:requestID>"

    def of(count: int) -> bytes:
        return f"<oadr:oadrUpdateReport {NAMES}>{request}{report * count}</oadr:oadrUpdateReport>".encode()

    weight = 2 + 3 * 4 + 3 * 400
    assert decode(of(3), Limits(max_nodes=weight))
    with pytest.raises(
        TooLarge, match="14 elements and attributes in 3 reports weigh 1214, the limit is 1213"
    ):
        decode(of(3), Limits(max_nodes=weight - 1))
    assert decode(of(1), Limits(max_nodes=100))


class _Memory(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def memory_in_use() -> int:
    """Bytes that are allocated now, by libxml2 among others."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        pytest.skip("the C library does not tell how much memory is in use")
    mallinfo2.restype = _Memory
    gc.collect()
    memory = mallinfo2()
    return int(memory.uordblks + memory.hblkhd)


def test_names_of_refused_bodies_are_forgotten() -> None:
    # libxml2 keeps the names of a thread for ever, and parses nothing any more when it has too many
    with pytest.raises(ProtocolError):
        decode(b"<warm.up/>")
    before = memory_in_use()
    for flood in range(60):
        names = (b"<n%d.%d.%s/>" % (flood, number, b"n" * 400) for number in range(2_000))
        with pytest.raises(ProtocolError):
            decode(b"<a>" + b"".join(names) + b"</a>")
    assert memory_in_use() - before < 10_000_000, "60 bodies held 49 MB of names"


def test_a_name_that_is_longer_than_any_of_the_standard_is_not_even_parsed() -> None:
    with pytest.raises(TooLarge, match="512 bytes"):
        decode(b"<" + b"a" * 513 + b"/>")


def test_missing_schema_files_are_a_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="install openleadr"):
        schema_directory()
