"""Fingerprints of certificates."""

import hashlib

import pytest

from openadr.security import (
    Digest,
    fingerprint,
    read_fingerprint,
    sha1_fingerprint,
    short_fingerprint,
    short_form,
    tail_of,
)

DER = b"the bytes of a certificate"


def test_the_principal_is_the_whole_digest() -> None:
    assert fingerprint(DER) == hashlib.sha256(DER).hexdigest()
    assert len(fingerprint(DER)) == 64


def test_the_display_form_is_the_last_ten_bytes_in_pairs() -> None:
    short = short_fingerprint(DER)
    assert len(short) == 29
    assert short == short.upper()
    assert short.replace(":", "").lower() == fingerprint(DER)[-20:]


WHOLE = fingerprint(DER)
SHORT = short_fingerprint(DER)


@pytest.mark.parametrize("digest", Digest)
@pytest.mark.parametrize("typed", [WHOLE, WHOLE.upper(), bytes.fromhex(WHOLE).hex(":"), f" {WHOLE}\n"])
def test_sec_14_all_digits_are_sha_256_however_they_are_typed(typed: str, digest: Digest) -> None:
    entry = read_fingerprint(typed, digest)
    assert (entry.digest, entry.whole, entry.tail) == (Digest.SHA256, WHOLE, WHOLE[-20:])
    assert str(entry) == WHOLE


@pytest.mark.parametrize("digest", Digest)
@pytest.mark.parametrize("typed", [SHORT, SHORT.lower(), SHORT.replace(":", ""), f" {SHORT} "])
def test_sec_14_the_short_form_is_the_tail_of_the_digest_that_is_meant(typed: str, digest: Digest) -> None:
    entry = read_fingerprint(typed, digest)
    assert (entry.digest, entry.whole, entry.tail) == (digest, None, WHOLE[-20:])
    assert str(entry) == SHORT == short_form(WHOLE)
    assert tail_of(SHORT) == entry.tail


def test_sec_14_the_form_of_2_0a_is_of_sha_1() -> None:
    assert tail_of(sha1_fingerprint(DER)) == hashlib.sha1(DER).hexdigest()[-20:]


@pytest.mark.parametrize(
    "typed", ["", ":", "5E", SHORT[:-1], SHORT + ":", SHORT.replace(":", "-"), WHOLE[:-1], "g" * 64, "½" * 20]
)
def test_what_is_no_fingerprint_is_named(typed: str) -> None:
    with pytest.raises(ValueError, match="not a fingerprint: ") as error:
        read_fingerprint(typed)
    assert repr(typed) in str(error.value)
