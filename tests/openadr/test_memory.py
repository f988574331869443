"""Which names of a body libxml2 would keep."""

import threading

import pytest

from openadr import Poll, decode, encode
from openadr.errors import TooLarge
from openadr.memory import kept_names, parse_apart
from openadr.verification import verify
from openadr.wire import NAMESPACES
from tests.openadr.signing import EC, NOW, RSA, identity, resigned

NAMES = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())


def where(raw: bytes) -> str:
    """The name of the thread in which a body is parsed."""
    return parse_apart(raw, lambda _new: (threading.current_thread().name, True))


def test_tags_attributes_and_namespaces_are_told() -> None:
    raw = b"<a:b xmlns:a = 'urn:x?y=z' c=\"1\"\n d ='2'><e/></a:b>"
    assert kept_names(raw) == {b"a:b", b"e", b"xmlns:a", b"'urn:x?y=z'", b"c", b"d"}


def test_text_holds_no_names() -> None:
    assert kept_names(b"<a>k=v<!-- <c>x=y --></a><b>http://h/?q=1</b>") == {b"a", b"b", b"c"}


def test_new_names_are_parsed_apart_and_known_ones_are_not() -> None:
    raw = b"<never-met-before once='1'/>"
    assert where(raw) == "openadr-parser"
    assert where(raw) == threading.current_thread().name


def test_names_of_a_refused_body_stay_unknown() -> None:
    raw = b"<refused-before/>"

    def refuse(_new: bool) -> tuple[str, bool]:
        raise ValueError("refused")

    for _ in range(2):
        with pytest.raises(ValueError, match="refused"):
            parse_apart(raw, refuse)
    assert where(raw) == "openadr-parser"


def test_names_that_nobody_vouches_for_stay_unknown() -> None:
    raw = b"<not-vouched-for/>"
    for _ in range(2):
        assert parse_apart(raw, lambda new: (new, False))
    assert where(raw) == "openadr-parser"


def test_names_of_a_signed_message_are_remembered_if_the_schema_allows_it() -> None:
    """Who has a certificate may sign anything; what he makes up must not fill the memory."""
    alice = identity("alice", EC)
    odd = resigned(alice.signed("v").replace(b"</ei:venID>", b"</ei:venID><made-up-by-alice/>"), alice)
    for _ in range(2):
        verify(odd, (alice.fingerprint,), NOW)
        assert parse_apart(odd, lambda new: (new, False))
    good = alice.signed("v")
    verify(good, (alice.fingerprint,), NOW)
    assert not parse_apart(good, lambda new: (new, False))


@pytest.mark.parametrize(
    "raw",
    [
        b"<a " + b"n" * 600 + b"='1'/>",
        b"<a n" + b" " * 600 + b"='1'/>",
        b"<a>" + b"Q" * 600 + b"==</a>",
        b"<a xmlns:p=unquoted/>",
    ],
    ids=["a long name", "a name far from its sign", "base64", "no quotes"],
)
def test_what_cannot_be_told_is_always_parsed_apart(raw: bytes) -> None:
    assert [where(raw), where(raw)] == ["openadr-parser"] * 2


@pytest.mark.parametrize("raw", [b"<" + b"t" * 513 + b"/>", b"<a xmlns='" + b"u" * 513 + b"'/>"])
def test_what_no_message_needs_is_not_parsed_at_all(raw: bytes) -> None:
    with pytest.raises(TooLarge, match="512 bytes"):
        where(raw)


def test_a_long_text_with_an_equals_sign_is_no_name() -> None:
    ven_id = "v" * 100 + "="
    raw = f"<oadr:oadrPoll {NAMES}><ei:venID>{ven_id}</ei:venID></oadr:oadrPoll>".encode()
    assert decode(raw) == Poll(ven_id)
    assert decode(encode(Poll("=" * 100))) == Poll("=" * 100)


def test_signed_bodies_of_one_make_have_the_same_names() -> None:
    first, second = (identity("alice", family).signed() for family in (RSA, EC))
    assert kept_names(first) == kept_names(second)
    broken = first.replace(b"</ds:SignatureValue>", b"\n= ==\n</ds:SignatureValue>")
    assert kept_names(broken) == kept_names(first)
    assert [where(broken), where(second)][1:] == [threading.current_thread().name]


@pytest.mark.parametrize(
    "tag",
    [b"<a n='1'>", b"<a x='>' n='1'>", b'<a x=">" n="1">', b"<a\nx='1>2'\tn = '1'>", b"<b>t</b><a n='1'>"],
)
def test_names_of_a_signed_body_are_told_wherever_they_stand(tag: bytes) -> None:
    raw = b"<ds:SignatureValue>QQ==</ds:SignatureValue>" + tag + b"k=v</a>"
    assert {b"a", b"n"} <= kept_names(raw)
    assert b"k" not in kept_names(raw)
