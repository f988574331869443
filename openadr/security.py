"""Certificate fingerprints. The long one decides who a peer is, the short one is for people (SEC-14)."""

import hashlib

_SHORT_BYTES = 10


def fingerprint(der: bytes) -> str:
    """SHA-256 over the DER certificate, 64 lower-case hex digits: the principal."""
    return hashlib.sha256(der).hexdigest()


def short_fingerprint(der: bytes) -> str:
    """The standard's display form: last 10 bytes of the same digest, `5E:71:...`, 29 characters."""
    return hashlib.sha256(der).digest()[-_SHORT_BYTES:].hex(":").upper()
