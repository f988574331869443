"""Signatures that are wrong: wrapping, substitution, odd algorithms; each is refused, by both sides alike.

An attack is made of `SIGNED`, a valid message of alice. Those under WRAPPED keep her signature as it is.
Those under ODD are signed by her own key after the change, so that nothing but the oddity can refuse them.
"""

from __future__ import annotations

import base64
import re

import pytest

from openadr import Poll, decode, encode
from openadr.errors import BadSignature, TransportError
from openadr.signature import EXCLUSIVE_C14N, INCLUSIVE_C14N, SHA256
from openadr.verification import Policy, verify
from tests.openadr.signing import EC, NOW, RSA, Identity, identity, resigned

ALICE, BOB, RSA_ALICE = identity("alice"), identity("bob"), identity("alice", RSA)
SIGNED = ALICE.signed("ven-1")
verify(SIGNED, {ALICE.fingerprint}, NOW)  # its shape is known: every attack is also one on `openadr.shape`
OADR = b"http://openadr.org/oadr-2.0b/2012/07"
EI = b"http://docs.oasis-open.org/ns/energyinterop/201110"


def part(name: str, raw: bytes = SIGNED) -> bytes:
    """One element of a message, with all that it holds."""
    found = re.search(rf"<({name})[ >].*</\1>".encode(), raw, re.DOTALL)
    assert found is not None, name
    return found[0]


SIGNATURE, OBJECT, KEY_INFO = part("ds:Signature"), part("ds:Object"), part("ds:KeyInfo")
GOOD = part("oadr:oadrSignedObject")
EVIL = GOOD.replace(b"ven-1", b"ven-2")
FRESH = OBJECT.replace(b"12:00:00Z", b"12:00:30Z")
NO_ID = b' oadr:Id="oadrSignedObject"'


def change(old: bytes, new: bytes, raw: bytes = SIGNED) -> bytes:
    assert raw.count(old) == 1, (old, raw.count(old))
    return raw.replace(old, new)


def hidden(place: bytes, hide: bytes, instead: bytes) -> bytes:
    """The signed part moved before the end tag `place`, something else where it was."""
    return change(place, hide + place, change(hide, instead))


def payload(*parts: bytes) -> bytes:
    return b'<oadr:oadrPayload xmlns:oadr="%b">%b</oadr:oadrPayload>' % (OADR, b"".join(parts))


WRAPPED = {
    "another message in its place": change(GOOD, EVIL),
    "the signed message hidden in ds:Object": hidden(b"</ds:Object>", GOOD, EVIL),
    "hidden in ds:Object, the other one without Id": hidden(b"</ds:Object>", GOOD, EVIL.replace(NO_ID, b"")),
    "hidden in ds:Object, the other one with another Id": hidden(
        b"</ds:Object>", GOOD, EVIL.replace(b'"oadrSignedObject"', b'"other"')
    ),
    "hidden in SignatureProperty": hidden(b"</ds:SignatureProperty>", GOOD, EVIL),
    "hidden in ReplayProtect": hidden(b"</dsp:ReplayProtect>", GOOD, EVIL),
    "hidden in KeyInfo": hidden(b"</ds:KeyInfo>", GOOD, EVIL),
    "hidden in X509Data": hidden(b"</ds:X509Data>", GOOD, EVIL),
    "hidden inside the other one": change(
        GOOD, EVIL.replace(b"</oadr:oadrSigned", GOOD + b"</oadr:oadrSigned")
    ),
    "a second message behind the first": change(GOOD, GOOD + EVIL),
    "a second message before the first": change(GOOD, EVIL + GOOD),
    "a second message before the signature": change(SIGNATURE, EVIL + SIGNATURE),
    "a second message in ds:Object": change(b"</ds:Object>", EVIL + b"</ds:Object>"),
    "the signature behind the message": payload(GOOD, SIGNATURE),
    "the signature inside the message": payload(
        GOOD.replace(b"</oadr:oadrPoll>", b"</oadr:oadrPoll>" + SIGNATURE)
    ),
    "two signatures": change(SIGNATURE, SIGNATURE + SIGNATURE),
    "a signature of bob before alice's": change(SIGNATURE, part("ds:Signature", BOB.signed()) + SIGNATURE),
    "alice's signature in ds:Object of bob's": BOB.signed("ven-2").replace(
        b"</ds:Object>", SIGNATURE + b"</ds:Object>"
    ),
    "a payload in a payload": payload(SIGNED.partition(b"\n")[2]),
    "the bare signed object": GOOD,
    "the bare message": part("oadr:oadrPoll").replace(
        b" ei:", b' xmlns:oadr="%b" xmlns:ei="%b" ei:' % (OADR, EI)
    ),
    "no signature": encode(Poll("ven-1")),
    "the signature as root": SIGNATURE.replace(
        b"<ds:Signature ", b'<ds:Signature xmlns:oadr="%b" ' % OADR, 1
    ),
    "the same Id at the signature value": change(
        b"<ds:SignatureValue>", b'<ds:SignatureValue Id="oadrSignedObject">'
    ),
    "the Id of ReplayProtect a second time": change(b"<ds:KeyInfo>", b'<ds:KeyInfo Id="replayProtect">'),
    "the same Id in a foreign element": change(
        b"</ds:X509Data>", b'<x xmlns="urn:x" ID="oadrSignedObject"/></ds:X509Data>'
    ),
    "a fresh ReplayProtect in the signed one's place": change(OBJECT, FRESH),
    "a fresh ReplayProtect behind the signed one": change(OBJECT, OBJECT + FRESH),
    "a fresh ReplayProtect before the signed one": change(OBJECT, FRESH + OBJECT),
    "a second message without Id in ds:Object": change(
        b"</ds:Object>", EVIL.replace(NO_ID, b"") + b"</ds:Object>"
    ),
    "a fresh ReplayProtect without Id behind": change(
        OBJECT, OBJECT + FRESH.replace(b' Id="replayProtect"', b"")
    ),
    "a fresh ReplayProtect without Id before": change(
        OBJECT, FRESH.replace(b' Id="replayProtect"', b"") + OBJECT
    ),
    "the signed ReplayProtect hidden in KeyInfo": change(
        KEY_INFO, change(b"</ds:KeyInfo>", OBJECT + b"</ds:KeyInfo>", KEY_INFO), change(OBJECT, FRESH)
    ),
    "the signed ReplayProtect in a foreign element": change(
        OBJECT, b"<ds:Object><x>%b</x></ds:Object>" % OBJECT
    ),
    "no ReplayProtect": change(OBJECT, b""),
    "an attribute of the payload": change(b"<ds:Signature ", b"<ds:Signature x='1' "),
    "text beside the message": change(b"</ds:Signature>", b"</ds:Signature>text"),
}


@pytest.mark.goal(3)
@pytest.mark.criterion("SIG-03", "SIG-06", "SIG-09")
@pytest.mark.parametrize("name", WRAPPED)
def test_sig_09_only_what_was_signed_is_believed(name: str) -> None:
    assert WRAPPED[name] != SIGNED
    for policy in (Policy(), Policy(lenient=True)):
        if policy.lenient and name == "no ReplayProtect":
            continue  # the digest of the message is right, but a reference leads nowhere
        with pytest.raises(TransportError) as caught:
            verify(WRAPPED[name], {ALICE.fingerprint, BOB.fingerprint}, NOW, policy)
        assert caught.value.http_status in (403, 406)


TRANSFORM = b'<ds:Transform Algorithm="%b"></ds:Transform>' % INCLUSIVE_C14N.encode()
TRANSFORMS = b"<ds:Transforms>%b</ds:Transforms>" % TRANSFORM
MESSAGE_URI, REPLAY_URI = b'URI="#oadrSignedObject"', b'URI="#replayProtect"'
REFERENCES = part("ds:Reference")
MESSAGE_REFERENCE = REFERENCES.partition(b"</ds:Reference>")[0] + b"</ds:Reference>"
REPLAY_REFERENCE = REFERENCES.removeprefix(MESSAGE_REFERENCE)
METHOD = b'<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256">'
XSLT = b"http://www.w3.org/TR/1999/REC-xslt-19991116"
XPATH = b"http://www.w3.org/TR/1999/REC-xpath-19991116"
PROTECT = part("dsp:ReplayProtect")
TIMESTAMP = b"<dsp:timestamp>2026-03-02T12:00:00Z</dsp:timestamp>"


def transformed(algorithm: bytes, content: bytes = b"", *, first: bytes = b"") -> bytes:
    """The message's reference with another transform."""
    other = b'%b<ds:Transform Algorithm="%b">%b</ds:Transform>' % (first, algorithm, content)
    return change(MESSAGE_REFERENCE, MESSAGE_REFERENCE.replace(TRANSFORM, other))


def nonce(text: bytes) -> bytes:
    return re.sub(rb"<dsp:nonce>.*</dsp:nonce>", text, SIGNED)


ODD = {
    "XSLT": transformed(
        XSLT, b'<x:stylesheet xmlns:x="http://www.w3.org/1999/XSL/Transform" version="1.0"/>'
    ),
    "XPath": transformed(XPATH, b"<ds:XPath>not(ancestor-or-self::venID)</ds:XPath>"),
    "XPath filter 2": transformed(b"http://www.w3.org/2002/06/xmldsig-filter2"),
    "an enveloped signature": transformed(b"http://www.w3.org/2000/09/xmldsig#enveloped-signature"),
    "base64": transformed(b"http://www.w3.org/2000/09/xmldsig#base64"),
    "C14N 1.1": transformed(b"http://www.w3.org/2006/12/xml-c14n11"),
    "a C14N that only ends alike": transformed(INCLUSIVE_C14N.encode() + b"x"),
    "XPath before C14N": transformed(
        INCLUSIVE_C14N.encode(), first=b'<ds:Transform Algorithm="%b"/>' % XPATH
    ),
    "two times C14N": transformed(INCLUSIVE_C14N.encode(), first=TRANSFORM),
    "C14N with parameters": transformed(INCLUSIVE_C14N.encode(), b"<ds:XPath>/</ds:XPath>"),
    "another C14N of SignedInfo": change(
        b'CanonicalizationMethod Algorithm="', b'CanonicalizationMethod Algorithm="urn:x'
    ),
    "a reference to a host": SIGNED.replace(MESSAGE_URI, b'URI="http://127.0.0.1:1/x"'),
    "a reference to a file": SIGNED.replace(MESSAGE_URI, b'URI="file:///etc/passwd"'),
    "a reference to the document": SIGNED.replace(MESSAGE_URI, b'URI=""'),
    "an XPointer": SIGNED.replace(MESSAGE_URI, b"URI=\"#xpointer(id('oadrSignedObject'))\""),
    "a reference without URI": SIGNED.replace(MESSAGE_URI, b""),
    "a third reference": change(
        REPLAY_REFERENCE, REPLAY_REFERENCE.replace(b"#replay", b"#sig") + REPLAY_REFERENCE
    ),
    "a third reference to a file": change(
        REPLAY_REFERENCE,
        REPLAY_REFERENCE + REPLAY_REFERENCE.replace(b"#replayProtect", b"file:///etc/passwd"),
    ),
    "two references to the message": SIGNED.replace(REPLAY_URI, MESSAGE_URI),
    "two references to ReplayProtect": SIGNED.replace(MESSAGE_URI, REPLAY_URI),
    "a reference to the message alone": change(REPLAY_REFERENCE, b""),
    "a reference to ReplayProtect alone": change(MESSAGE_REFERENCE, b""),
    "a reference to KeyInfo instead": change(b"<ds:KeyInfo>", b'<ds:KeyInfo Id="k">').replace(
        REPLAY_URI, b'URI="#k"'
    ),
    "no ReplayProtect": change(REPLAY_REFERENCE, b"", change(OBJECT, b"")),
    "a message without Id": SIGNED.replace(NO_ID, b""),
    "HMAC with the certificate as secret": SIGNED.replace(
        b"2001/04/xmldsig-more#ecdsa-sha256", b"2001/04/xmldsig-more#hmac-sha256"
    ),
    "HMAC with SHA-1": SIGNED.replace(b"2001/04/xmldsig-more#ecdsa-sha256", b"2000/09/xmldsig#hmac-sha1"),
    "a truncated value": change(METHOD, METHOD + b"<ds:HMACOutputLength>8</ds:HMACOutputLength>"),
    "the method of another key family": SIGNED.replace(b"ecdsa-sha256", b"rsa-sha256"),
    "ECDSA with SHA-512": SIGNED.replace(b"ecdsa-sha256", b"ecdsa-sha512"),
    "MD5 digests": SIGNED.replace(SHA256.encode(), b"http://www.w3.org/2001/04/xmldsig-more#md5"),
    "a digest method with parameters": change(
        MESSAGE_REFERENCE,
        MESSAGE_REFERENCE.replace(b"</ds:DigestMethod>", b'<x xmlns="urn:x"/></ds:DigestMethod>'),
    ),
    "an empty nonce": nonce(b"<dsp:nonce></dsp:nonce>"),
    "a nonce without end": nonce(b"<dsp:nonce>" + b"n" * 129 + b"</dsp:nonce>"),
    "no nonce": nonce(b""),
    "two nonces": nonce(b"<dsp:nonce>1</dsp:nonce><dsp:nonce>2</dsp:nonce>"),
    "a nonce with parts": nonce(b"<dsp:nonce>1<dsp:x/></dsp:nonce>"),
    "no timestamp": change(TIMESTAMP, b""),
    "two timestamps": change(TIMESTAMP, TIMESTAMP * 2),
    "a timestamp with an offset": SIGNED.replace(b"12:00:00Z</dsp", b"12:00:00+00:00</dsp"),
    "a timestamp that is none": SIGNED.replace(b"2026-03-02T12:00:00Z</dsp", b"now</dsp"),
    "a year far off": SIGNED.replace(b"2026-03-02T12:00:00Z</dsp", b"9999-12-31T23:59:60Z</dsp"),
    "two ReplayProtects": change(PROTECT, PROTECT * 2),
    "ReplayProtect of another namespace": SIGNED.replace(b"xmldsig-properties", b"xmldsig-property"),
    "ReplayProtect of W3C's draft": SIGNED.replace(
        OADR + b"/xmldsig-properties", b"http://www.w3.org/2009/xmldsig-properties"
    ),
    "ReplayProtect under a foreign element": SIGNED.replace(
        b"<ds:SignatureProperties>", b'<x xmlns="urn:x">'
    ).replace(b"</ds:SignatureProperties>", b"</x>"),
    "a relative namespace": SIGNED.replace(
        b"<oadr:oadrSignedObject ", b'<oadr:oadrSignedObject xmlns:r="r/r" '
    ),
}


@pytest.mark.criterion("SIG-03", "SIG-05", "SIG-06", "SIG-07")
@pytest.mark.parametrize("name", ODD)
def test_sig_07_what_is_not_expected_is_refused_although_it_is_signed(name: str) -> None:
    # a relative namespace has no canonical form, so nobody can sign it
    raw = ODD[name] if name == "a relative namespace" else resigned(ODD[name], ALICE)
    assert raw != SIGNED
    with pytest.raises(BadSignature):
        verify(raw, {ALICE.fingerprint}, NOW)


def test_the_unchanged_message_is_accepted_when_signed_again() -> None:
    assert verify(SIGNED, {ALICE.fingerprint}, NOW).body == payload(GOOD)
    assert verify(resigned(SIGNED, ALICE), {ALICE.fingerprint}, NOW).body == payload(GOOD)


CERTIFICATE = part("ds:X509Certificate")
BOBS = part("ds:X509Certificate", BOB.signed())
KEY_VALUE = (
    b'<ds:KeyValue><ECKeyValue xmlns="http://www.w3.org/2009/xmldsig11#">'
    b'<NamedCurve URI="urn:oid:1.2.840.10045.3.1.7"/><PublicKey>AAAA</PublicKey></ECKeyValue></ds:KeyValue>'
)
SUBSTITUTED = {
    "bob signs with his certificate": (BOB.signed("ven-1"), None),
    "bob signs and shows alice's certificate": (SIGNED, BOB),
    "bob signs and shows both": (change(CERTIFICATE, BOBS + CERTIFICATE), BOB),
    "bob signs and shows alice's first": (change(CERTIFICATE, CERTIFICATE + BOBS), BOB),
    "bob signs, a key value beside alice's": (change(b"<ds:X509Data>", KEY_VALUE + b"<ds:X509Data>"), BOB),
    "a key value alone": (change(part("ds:X509Data"), KEY_VALUE), ALICE),
    "no KeyInfo": (change(KEY_INFO, b""), ALICE),
    "a key name": (change(KEY_INFO, b"<ds:KeyInfo><ds:KeyName>alice</ds:KeyName></ds:KeyInfo>"), ALICE),
    "a subject name": (
        change(CERTIFICATE, b"<ds:X509SubjectName>CN=alice</ds:X509SubjectName>"),
        ALICE,
    ),
    "a key from elsewhere": (
        change(part("ds:X509Data"), b'<ds:RetrievalMethod URI="http://127.0.0.1:1/"></ds:RetrievalMethod>'),
        ALICE,
    ),
    "a certificate of nothing": (change(CERTIFICATE, b"<ds:X509Certificate></ds:X509Certificate>"), ALICE),
    "the same subject, another key": (identity("alice", EC, 1).signed("ven-1"), None),
}


@pytest.mark.criterion("SIG-08")
@pytest.mark.parametrize("name", SUBSTITUTED)
def test_sig_08_nobody_signs_for_the_peer_but_the_peer(name: str) -> None:
    raw, key = SUBSTITUTED[name]
    raw = resigned(raw, key) if key else raw
    with pytest.raises(BadSignature):
        verify(raw, {ALICE.fingerprint}, NOW)


def test_sig_08_another_trusted_partys_signature_is_right_for_that_party_only() -> None:
    raw = BOB.signed("ven-1")
    assert verify(raw, {BOB.fingerprint}, NOW)
    with pytest.raises(BadSignature, match="not the one of the peer"):
        verify(raw, {ALICE.fingerprint}, NOW)
    with pytest.raises(BadSignature, match="not the one of the peer"):
        verify(raw, (), NOW)


def test_a_certificate_with_a_short_key_is_refused_although_it_is_known() -> None:
    short = identity("short", RSA, 1024)
    certificate = b"".join(short.certificate_pem.splitlines()[1:-1])
    raw = change(CERTIFICATE, b"<ds:X509Certificate>%b</ds:X509Certificate>" % certificate)
    raw = resigned(raw.replace(b"ecdsa-sha256", b"rsa-sha256"), short)
    with pytest.raises(BadSignature, match="1024 bits"):
        verify(raw, {short.fingerprint}, NOW)


@pytest.mark.parametrize("who", [ALICE, RSA_ALICE], ids=[EC, RSA])
@pytest.mark.parametrize(
    "value",
    [b"", b"AA==", b"A" * 88, b"A" * 344, b"A" * 4000],
    ids=["empty", "one", "zeros", "zeros-rsa", "long"],
)
def test_a_signature_value_of_another_form_is_refused(who: Identity, value: bytes) -> None:
    raw = re.sub(rb"(<ds:SignatureValue>).*(</ds:SignatureValue>)", rb"\g<1>" + value + rb"\2", who.signed())
    with pytest.raises(BadSignature, match="signature value"):
        verify(raw, {who.fingerprint}, NOW)


def test_the_halves_of_a_signature_value_are_not_padded() -> None:
    value = base64.b64decode(part("ds:SignatureValue")[len("<ds:SignatureValue>") :])
    for padded in (value[:32] + b"\0" + value[32:], b"\0" + value[:32] + b"\0" + value[32:]):
        raw = change(base64.b64encode(value), base64.b64encode(padded))
        with pytest.raises(BadSignature, match="signature value"):
            verify(raw, {ALICE.fingerprint}, NOW)


SAME = {
    "a comment in an identifier": change(b"ven-1", b"ven<!-- -2 -->-1"),
    "CDATA": change(b"ven-1", b"<![CDATA[ven-1]]>"),
    "a character reference": change(b"ven-1", b"&#118;en-1"),
    "white space beside the message": change(GOOD, b"\n  " + GOOD + b"\n"),
    "a comment beside the message": change(GOOD, b"<!-- ven-2 -->" + GOOD),
    "another order of attributes": change(
        b' xmlns:ei="%b" xmlns:oadr="%b" oadr:Id="oadrSignedObject"' % (EI, OADR),
        b" oadr:Id='oadrSignedObject'  xmlns:oadr='%b'\nxmlns:ei='%b'" % (OADR, EI),
    ),
}
NOT_SAME = {
    "white space in an identifier": change(b"ven-1", b"ven-1 "),
    "white space before an identifier": change(b"ven-1", b"\nven-1"),
    "white space between elements": change(b"</ei:venID>", b"</ei:venID> "),
    "another prefix": SIGNED.replace(b"ei:", b"ej:").replace(b"xmlns:ei", b"xmlns:ej"),
    "a namespace more": change(b"<oadr:oadrSignedObject ", b'<oadr:oadrSignedObject xmlns:x="urn:x" '),
    "a namespace more above": change(b"<oadr:oadrPayload ", b'<oadr:oadrPayload xmlns:x="urn:x" '),
    "a comment that hides": change(b"ven-1", b"<!--ven-1-->"),
}


@pytest.mark.criterion("SIG-09")
@pytest.mark.parametrize("name", SAME)
def test_sig_09_another_spelling_of_the_same_reads_the_same(name: str) -> None:
    verified = verify(SAME[name], {ALICE.fingerprint}, NOW)
    assert verified.body == payload(GOOD)
    assert decode(verified.body) == Poll("ven-1")


@pytest.mark.parametrize("name", NOT_SAME)
def test_another_text_is_refused(name: str) -> None:
    with pytest.raises(BadSignature):
        verify(NOT_SAME[name], {ALICE.fingerprint}, NOW)


@pytest.mark.criterion("SIG-06")
def test_sig_06_no_byte_can_be_changed_or_cut_off() -> None:
    meant = verify(SIGNED, {ALICE.fingerprint}, NOW)
    for position in range(len(SIGNED)):
        flipped = bytearray(SIGNED)
        flipped[position] ^= 1
        for raw in (bytes(flipped), SIGNED[:position]):
            try:
                verified = verify(raw, {ALICE.fingerprint}, NOW)
            except TransportError:
                continue
            assert verified == meant, (position, raw[position - 20 : position + 20])


LENIENT = Policy(lenient=True)


def test_exclusive_c14n_is_for_a_lenient_peer() -> None:
    raw = resigned(SIGNED.replace(INCLUSIVE_C14N.encode(), EXCLUSIVE_C14N.encode()), ALICE)
    with pytest.raises(BadSignature, match="not inclusive C14N"):
        verify(raw, {ALICE.fingerprint}, NOW)
    assert decode(verify(raw, {ALICE.fingerprint}, NOW, LENIENT).body) == Poll("ven-1")


@pytest.mark.parametrize("name", ["no ReplayProtect", "a reference to the message alone"])
def test_a_lenient_peers_message_without_signed_replay_protect_has_no_nonce(name: str) -> None:
    verified = verify(resigned(ODD[name], ALICE), {ALICE.fingerprint}, NOW, LENIENT)
    assert (verified.nonce, decode(verified.body)) == (None, Poll("ven-1"))


def test_a_lenient_peers_replay_protect_counts_where_it_is_signed() -> None:
    assert verify(SIGNED, {ALICE.fingerprint}, NOW, LENIENT).nonce
    late = ALICE.signed(now=NOW.replace(hour=13))
    with pytest.raises(BadSignature, match="clocks"):
        verify(late, {ALICE.fingerprint}, NOW, LENIENT)


def test_what_is_no_message_is_called_so_whoever_signed_it() -> None:
    with pytest.raises(TransportError) as caught:
        verify(encode(Poll("v")).replace(b"venID", b"vemID"), {ALICE.fingerprint}, NOW)
    assert caught.value.http_status == 406
