"""Polls of a shape that was verified before: the same verdict as by the long way, without parsing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from openadr import RequestEvent, decode, encode, shape, verification
from openadr.errors import BadSignature, SchemaInvalid
from openadr.shape import Template, marked, marker, taken_apart
from openadr.signed_tree import STRICT
from openadr.verification import Policy, Verified, verify
from tests.openadr.signing import EC, NOW, RSA, identity, resigned

ALICE, BOB = identity("alice"), identity("bob")
ME = (ALICE.fingerprint,)


@pytest.fixture(autouse=True)
def no_shapes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(verification, "_shapes", {})
    yield


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Verified | None]:
    """What is said of a message without parsing; None where it would have to be parsed."""

    class Parsed(Exception):  # noqa: N818 - a signal
        pass

    def stop(*_: object, **__: object) -> object:
        raise Parsed

    def ask(raw: bytes, policy: Policy = STRICT) -> Verified | None:
        with monkeypatch.context() as patched:
            patched.setattr(verification, "with_tree", stop)
            try:
                return verify(raw, ME, NOW, policy)
            except Parsed:
                return None

    return ask


Ask = Callable[..., Verified | None]


@pytest.mark.parametrize("family", [EC, RSA])
def test_second_poll_of_a_ven_says_the_same_at_once(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    who = identity("alice", family)
    first = verify(who.signed(), (who.fingerprint,), NOW)
    second = who.signed(now=NOW + timedelta(seconds=9))
    with monkeypatch.context() as patched:
        patched.setattr(verification, "with_tree", None)  # a call would fail
        at_once = verify(second, (who.fingerprint,), NOW)
    monkeypatch.setattr(verification, "_shapes", {})
    assert at_once == verify(second, (who.fingerprint,), NOW)
    assert at_once.body == first.body
    assert (at_once.nonce, at_once.signed_at) != (first.nonce, first.signed_at)


def test_another_message_another_signer_and_other_terms_are_parsed(at_once: Ask) -> None:
    verify(ALICE.signed("ven-1"), ME, NOW)
    assert at_once(ALICE.signed("ven-1")) is not None
    assert at_once(ALICE.signed("ven-2")) is None
    assert at_once(identity("bob").signed("ven-1")) is None
    assert at_once(ALICE.signed("ven-1"), Policy(window=timedelta(seconds=9))) is None
    assert at_once(ALICE.signed("ven-1"), Policy(sha1=True)) is None
    assert at_once(ALICE.signed("ven-1"), Policy(lenient=True)) is None


def test_only_polls_are_remembered(at_once: Ask) -> None:
    """Others differ each time: to learn their shape would cost a second parse for nothing."""
    raw = ALICE.signer.sign(encode(RequestEvent(request_id="r", ven_id="v")), NOW)
    verify(raw, ME, NOW)
    assert at_once(raw) is None


def test_stale_poll_of_a_known_shape_is_told_why(at_once: Ask) -> None:
    verify(ALICE.signed(), ME, NOW)
    late = ALICE.signed(now=NOW + timedelta(seconds=61))
    assert at_once(late) is None
    with pytest.raises(BadSignature, match="clocks differ"):
        verify(late, ME, NOW)


@pytest.mark.parametrize("text", ["2026-03-02T12:00:60Z", "2026-03-02T24:00:00Z", "2026-03-02T12:00:00"])
def test_odd_spelling_of_a_time_goes_the_long_way(text: str, at_once: Ask) -> None:
    verify(ALICE.signed(), ME, NOW)
    raw = re.sub(rb"(timestamp>)2026[^<]*", rb"\g<1>" + text.encode(), ALICE.signed())
    assert at_once(resigned(raw, ALICE)) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<dsp:nonce>", b"<dsp:nonce> "),
        (b"<dsp:nonce>", b"<dsp:nonce>&#48;"),
        (b"<ds:SignatureValue>", b"<ds:SignatureValue>\n"),
        (b"</oadr:oadrPoll>", b"<!-- --></oadr:oadrPoll>"),
        (b"</oadr:oadrPoll>", b"<![CDATA[]]></oadr:oadrPoll>"),
    ],
)
def test_texts_in_odd_places_are_never_recognised(old: bytes, new: bytes, at_once: Ask) -> None:
    raw = resigned(ALICE.signed(), ALICE).replace(old, new)
    for _ in range(2):
        if b"nonce" in old:
            raw = resigned(raw, ALICE).replace(b"<dsp:nonce>0", b"<dsp:nonce>&#48;")
        assert verify(raw, ME, NOW).fingerprint == ALICE.fingerprint
        assert at_once(raw) is None


def test_holes_inside_the_message_are_covered_by_its_digest(at_once: Ask) -> None:
    """A text that looks like a nonce may stand anywhere; it is signed like the rest."""
    raw = ALICE.signed().replace(b"</ei:venID>", b"</ei:venID><x:nonce xmlns:x='urn:u'>ab</x:nonce>")
    raw = resigned(raw, ALICE)
    assert b">ab</x:nonce>" in verify(raw, ME, NOW).body
    assert at_once(raw) == verify(raw, ME, NOW)
    other = raw.replace(b">ab<", b">cd<")
    assert at_once(other) is None
    with pytest.raises(SchemaInvalid):  # not signed, and no message either
        verify(other, ME, NOW)
    signed = resigned(other, ALICE)
    found = at_once(signed)
    assert found is not None
    assert b">cd</x:nonce>" in found.body


def test_value_with_bits_that_say_nothing_is_refused_as_by_the_schema(at_once: Ask) -> None:
    verify(ALICE.signed(), ME, NOW)
    last = re.compile(rb"[AQgw](?===</ds:SignatureValue>)")  # two bits of the value, and four of none
    raw = last.sub(lambda match: bytes([match[0][0] + 1]), ALICE.signed())
    assert at_once(raw) is None
    with pytest.raises(SchemaInvalid):
        verify(raw, ME, NOW)


@pytest.mark.parametrize(
    ("place", "more"),
    [
        (
            b'Id="replayProtect">',
            b"<ds:Manifest><ds:Reference><ds:DigestMethod Algorithm='urn:m'/>"
            b"<ds:DigestValue>AAAA</ds:DigestValue></ds:Reference></ds:Manifest>",
        ),
        (b"<ds:KeyInfo>", b"<x:nonce xmlns:x='urn:x'>AAAA</x:nonce>"),
    ],
)
def test_shape_with_texts_that_only_the_schema_checks_is_not_remembered(
    place: bytes, more: bytes, at_once: Ask
) -> None:
    raw = resigned(ALICE.signed().replace(place, place + more), ALICE)
    verify(raw, ME, NOW)
    assert at_once(raw) is None


@pytest.mark.criterion("SIG-05", "SIG-06", "SIG-09")
def test_every_text_is_checked(at_once: Ask) -> None:
    """One text of a message exchanged for the one of another, which is as good."""
    one, other = ALICE.signed(), ALICE.signed(now=NOW + timedelta(seconds=1))
    verify(one, ME, NOW)
    (form, texts), (same, others) = taken_apart(one), taken_apart(other)
    assert form == same
    assert len(texts) == 5
    for at, text in enumerate(others):
        if text == texts[at]:
            assert at == 0  # the digest of the message
            continue
        mixed = [*texts[:at], text, *texts[at + 1 :]]
        raw = b">".join((form[0], *(a + b for a, b in zip(mixed, form[1:], strict=True))))
        assert at_once(raw) is None
        with pytest.raises(BadSignature):
            verify(raw, ME, NOW)


def test_a_bounded_number_is_remembered_and_the_oldest_go(
    monkeypatch: pytest.MonkeyPatch, at_once: Ask
) -> None:
    monkeypatch.setattr(verification, "MAX_SHAPES", 2)
    for ven_id in ("a", "b", "c"):
        verify(ALICE.signed(ven_id), ME, NOW)
    assert at_once(ALICE.signed("a")) is None
    assert at_once(ALICE.signed("c")) is not None
    assert decode(verify(ALICE.signed("a"), ME, NOW).body) == decode(verify(ALICE.signed("a"), ME, NOW).body)


def test_who_sends_many_shapes_pushes_out_none_of_another(
    monkeypatch: pytest.MonkeyPatch, at_once: Ask
) -> None:
    monkeypatch.setattr(verification, "MAX_SHAPES", 1)
    verify(BOB.signed("b"), {BOB.fingerprint}, NOW)
    for ven_id in ("a", "c", "d"):
        verify(ALICE.signed(ven_id), ME, NOW)
    assert [len(own) for own in verification._shapes.values()] == [1, 1]
    monkeypatch.setattr(verification, "MAX_SENDERS", 1)
    verify(BOB.signed("e"), {BOB.fingerprint, ALICE.fingerprint}, NOW)
    assert len(verification._shapes) == 1


def test_message_with_too_many_texts_is_not_remembered(at_once: Ask) -> None:
    many = b"<nonce xmlns=''>a</nonce>" * (shape.MAX_HOLES)
    raw = resigned(ALICE.signed().replace(b"</ei:venID>", b"</ei:venID>" + many), ALICE)
    verify(raw, ME, NOW)
    assert at_once(raw) is None


def test_template_is_filled_where_the_markers_were() -> None:
    form, texts = taken_apart(b"<a><nonce>1</nonce><b>2</b><x:timestamp>3</x:timestamp></a>")
    assert texts == [b"1", b"3"]
    assert marker(1) in marked(form)
    assert Template.read(marked(form)).filled([b"x", b"y"]) == (
        b"<a><nonce>x</nonce><b>2</b><x:timestamp>y</x:timestamp></a>"
    )
    assert Template.read(b"none").filled([]) == b"none"
