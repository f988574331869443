"""Signatures that are right: made by us and checked by xmlsec1, and the other way round."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from openadr import Poll, decode, encode
from openadr.errors import BadSignature, CertificateError
from openadr.parser import parse, validate
from openadr.signature import Signer
from openadr.verification import Policy, verify
from tests.openadr.samples import MESSAGES
from tests.openadr.signing import EC, IDS, NOW, RSA, Identity, identity, resigned, xmlsec1

FAMILIES = [RSA, EC]
TEMPLATE = """<?xml version="1.0"?>
<!-- made by hand --><o:oadrPayload xmlns:o="http://openadr.org/oadr-2.0b/2012/07" xmlns:unused="urn:unused"
  xmlns:ei="http://docs.oasis-open.org/ns/energyinterop/201110">
  <Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><SignedInfo>
    <CanonicalizationMethod Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"/>
    <SignatureMethod Algorithm="METHOD"/>
    <Reference URI="#m"><DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><DigestValue/></Reference>
    <Reference URI="#p"><Transforms>
      <Transform Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments"/></Transforms>
      <DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><DigestValue/></Reference>
    </SignedInfo><SignatureValue/><KeyInfo><X509Data/></KeyInfo>
    <Object><SignatureProperties Id="p"><SignatureProperty Target="">
      <ReplayProtect xmlns="http://openadr.org/oadr-2.0b/2012/07/xmldsig-properties"
        ><timestamp>2026-03-02T12:00:01.5Z</timestamp><nonce EncodingType="u:x">tick-1</nonce></ReplayProtect>
    </SignatureProperty></SignatureProperties></Object></Signature>
  <o:oadrSignedObject o:Id="m">
    <o:oadrPoll ei:schemaVersion="2.0b"
      ><ei:venID>a<![CDATA[<b>]]>&#xD;&amp; \u00e9<!-- cut --> c</ei:venID></o:oadrPoll>
  </o:oadrSignedObject>
</o:oadrPayload>
"""
METHODS = {
    RSA: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    EC: "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
}


def files(directory: Path, who: Identity) -> tuple[Path, Path]:
    certificate, key = directory / "cert.pem", directory / "key.pem"
    certificate.write_bytes(who.certificate_pem)
    key.write_bytes(who.key_pem)
    return certificate, key


@pytest.mark.criterion("SIG-01", "SIG-02", "SIG-03", "SIG-10")
@pytest.mark.parametrize("family", FAMILIES)
def test_sig_10_xmlsec1_accepts_what_we_sign(family: str, tmp_path: Path) -> None:
    who = identity("alice", family)
    certificate, _ = files(tmp_path, who)
    bodies = []
    for name, message in {**MESSAGES, "odd": Poll('<v> & "w"\r\n\t\u00e9 ')}.items():
        bodies.append(tmp_path / f"{name}.xml")
        bodies[-1].write_bytes(who.signer.sign(encode(message), NOW))
        validate(parse(bodies[-1].read_bytes()))
        verified = verify(bodies[-1].read_bytes(), {who.fingerprint}, NOW)
        assert decode(verified.body) == message
        assert (verified.fingerprint, verified.signed_at) == (who.fingerprint, NOW)
    done = xmlsec1("--verify", *IDS, "--trusted-pem", certificate, *bodies)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(b"References (ok/all): 2/2") == len(bodies)


@pytest.mark.criterion("SIG-07", "SIG-10")
@pytest.mark.parametrize("family", FAMILIES)
def test_sig_10_what_xmlsec1_signs_is_accepted(family: str, tmp_path: Path) -> None:
    who = identity("alice", family)
    certificate, key = files(tmp_path, who)
    template, body = tmp_path / "template.xml", tmp_path / "signed.xml"
    template.write_text(TEMPLATE.replace("METHOD", METHODS[family]), encoding="utf-8")
    done = xmlsec1("--sign", *IDS, "--privkey-pem", f"{key},{certificate}", "--output", body, template)
    assert done.returncode == 0, done.stderr
    verified = verify(body.read_bytes(), {who.fingerprint}, NOW)
    assert decode(verified.body) == Poll("a<b>\r& \u00e9 c")
    assert verified.nonce == "tick-1"


@pytest.mark.parametrize("family", FAMILIES)
def test_sig_01_the_signature_comes_first_and_the_id_is_qualified(family: str) -> None:
    root = parse(identity("alice", family).signed())
    assert [child.tag.rpartition("}")[2] for child in root] == ["Signature", "oadrSignedObject"]
    assert root[1].get("{http://openadr.org/oadr-2.0b/2012/07}Id") == "oadrSignedObject"


@pytest.mark.criterion("SIG-04")
def test_sig_04_each_sending_has_its_own_time_and_nonce() -> None:
    who = identity("alice")
    later = NOW + timedelta(seconds=30)
    first, again = who.signed(), who.signed(now=later)
    one, two = verify(first, {who.fingerprint}, NOW), verify(again, {who.fingerprint}, later)
    assert (one.signed_at, two.signed_at) == (NOW, later)
    assert one.nonce != two.nonce
    assert one.body == two.body
    assert len(str(one.nonce)) >= 32


@pytest.mark.parametrize("family", FAMILIES)
def test_sig_07_only_sha_256_and_inclusive_c14n_are_sent(family: str) -> None:
    used = set(re.findall(rb'Algorithm="([^"]*)"', identity("alice", family).signed()))
    assert used == {
        METHODS[family].encode(),
        b"http://www.w3.org/2001/04/xmlenc#sha256",
        b"http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
    }


@pytest.mark.criterion("SIG-07")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("part", ["signature", "digest"])
def test_sig_07_sha_1_is_accepted_by_explicit_option_only(family: str, part: str) -> None:
    who = identity("alice", family)
    old = {
        "signature": (
            METHODS[family].encode(),
            METHODS[family]
            .replace("sha256", "sha1")
            .replace("2001/04/xmldsig-more#rsa", "2000/09/xmldsig#rsa")
            .encode(),
        ),
        "digest": (b"http://www.w3.org/2001/04/xmlenc#sha256", b"http://www.w3.org/2000/09/xmldsig#sha1"),
    }[part]
    raw = resigned(who.signed().replace(*old), who)
    assert old[1] in raw
    with pytest.raises(BadSignature, match="is not accepted"):
        verify(raw, {who.fingerprint}, NOW)
    assert verify(raw, {who.fingerprint}, NOW, Policy(sha1=True)).signed_at == NOW


@pytest.mark.criterion("SIG-05")
@pytest.mark.parametrize(("seconds", "accepted"), [(-61, False), (-60, True), (60, True), (61, False)])
def test_sig_05_time_of_sending_must_be_near(seconds: int, accepted: bool) -> None:
    who = identity("alice")
    raw = who.signed(now=NOW + timedelta(seconds=seconds))
    if accepted:
        assert verify(raw, {who.fingerprint}, NOW)
        return
    with pytest.raises(BadSignature, match=rf"signed \{seconds:+} s from now, 60 s are allowed"):
        verify(raw, {who.fingerprint}, NOW)
    assert verify(raw, {who.fingerprint}, NOW, Policy(window=timedelta(seconds=61)))


def test_one_of_several_certificates_may_be_the_signers() -> None:
    who, other = identity("alice"), identity("bob", RSA)
    assert verify(who.signed(), {other.fingerprint, who.fingerprint}, NOW).fingerprint == who.fingerprint
    chain = who.signed().replace(
        b"<ds:X509Certificate>",
        b"<ds:X509Certificate>" + _base64(other) + b"</ds:X509Certificate><ds:X509Certificate>",
    )
    assert verify(chain, {who.fingerprint}, NOW).fingerprint == who.fingerprint


def _base64(who: Identity) -> bytes:
    return b"".join(who.certificate_pem.splitlines()[1:-1])


@pytest.mark.parametrize(
    ("certificate", "key", "text"),
    [
        (
            identity("alice").certificate_pem,
            identity("bob").key_pem,
            "a.key is not that of the certificate in a.pem",
        ),
        (identity("alice").certificate_pem, b"no key", "a.key holds no private key"),
        (b"no certificate", identity("alice").key_pem, "a.pem holds no certificate"),
        (identity("short", RSA, 1024).certificate_pem, identity("short", RSA, 1024).key_pem, "1024 bits"),
    ],
    ids=["another's key", "no key", "no certificate", "a short key"],
)
def test_a_signer_needs_a_key_that_fits(certificate: bytes, key: bytes, text: str) -> None:
    with pytest.raises(CertificateError, match=text):
        Signer((certificate, "a.pem"), (key, "a.key"))


def test_only_a_payload_is_signed() -> None:
    with pytest.raises(ValueError, match="oadrPayload"):
        identity("alice").signer.sign(b"<poll/>", NOW)
