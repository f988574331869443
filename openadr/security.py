"""Certificate fingerprints. The long one decides who a peer is, the short one is for people (SEC-14)."""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

_SHORT_BYTES = 10
_HEX = re.compile(r"[0-9a-f]+")
_PAIRS = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2})+")


class Digest(StrEnum):
    """Which digest a short fingerprint is the tail of: 2.0b takes SHA-256, 2.0a took SHA-1."""

    SHA256 = "sha256"
    SHA1 = "sha1"


@dataclass(frozen=True, slots=True)
class FingerprintEntry:
    """A fingerprint as an operator typed it: the tail in 20 hex digits, and the whole where it was given."""

    digest: Digest
    tail: str
    whole: str | None

    def __str__(self) -> str:
        """The whole in 64 hex digits, else the 29 characters."""
        return self.whole or bytes.fromhex(self.tail).hex(":").upper()


def fingerprint(der: bytes) -> str:
    """SHA-256 over the DER certificate, 64 lower-case hex digits: the principal."""
    return hashlib.sha256(der).hexdigest()


def short_fingerprint(der: bytes) -> str:
    """The standard's display form: last 10 bytes of the same digest, `5E:71:...`, 29 characters."""
    return short_form(fingerprint(der))


def sha1_fingerprint(der: bytes) -> str:
    """The display form of 2.0a: the last 10 bytes of SHA-1."""
    return short_form(hashlib.sha1(der, usedforsecurity=False).hexdigest())


def short_form(digest_hex: str) -> str:
    """The 29 characters for people of a digest in hex digits."""
    return bytes.fromhex(digest_hex)[-_SHORT_BYTES:].hex(":").upper()


def tail_of(short: str) -> str:
    """A short form as 20 lower-case hex digits."""
    return short.replace(":", "").lower()


def read_fingerprint(text: str, digest: Digest = Digest.SHA256) -> FingerprintEntry:
    """What an operator typed: the 29 characters, or all 64 digits; in pairs with colons or without.

    The short form is the tail of `digest`; all digits are always SHA-256. ValueError names the text.
    """
    typed = text.strip().lower()
    digits = typed.replace(":", "") if _PAIRS.fullmatch(typed) else typed
    if _HEX.fullmatch(digits):
        if len(digits) == 64:
            return FingerprintEntry(Digest.SHA256, digits[-2 * _SHORT_BYTES :], digits)
        if len(digits) == 2 * _SHORT_BYTES:
            return FingerprintEntry(digest, digits, None)
    raise ValueError(
        f"not a fingerprint: {text!r}; expected 29 characters such as 5E:71:..., or SHA-256 in 64 hex digits"
    )
