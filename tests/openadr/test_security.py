"""Fingerprints of certificates."""

import hashlib

from openadr.security import fingerprint, short_fingerprint

DER = b"the bytes of a certificate"


def test_the_principal_is_the_whole_digest() -> None:
    assert fingerprint(DER) == hashlib.sha256(DER).hexdigest()
    assert len(fingerprint(DER)) == 64


def test_the_display_form_is_the_last_ten_bytes_in_pairs() -> None:
    short = short_fingerprint(DER)
    assert len(short) == 29
    assert short == short.upper()
    assert short.replace(":", "").lower() == fingerprint(DER)[-20:]
