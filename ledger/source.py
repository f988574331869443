"""Who signed what a record rests on: the check of a node's signature from the record alone.

A report's record holds the SHA-256 of the bytes that came (`raw_sha256`) and, where the sender signed them,
`source`: algorithm, public key, parameters and signature as RFC 9421 has them. What is signed holds nothing
of the message but its hash, so no message is needed; with it, the hash is compared too. The record alone
shows that the key signed these bytes; whose key that is, the certificate says.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ledger.errors import VerificationError
from ledger.record import Record

STEP = "source"
ECDSA, RSA, XML = "ecdsa-p256-sha256", "rsa-v1_5-sha256", "xmldsig"
_COORDINATE_BYTES = 32
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PARAMETERS = re.compile(
    r'\("content-digest"\);created=([0-9]{1,12});keyid="([0-9a-f]{64})";alg="([a-z0-9_-]+)";tag="flexpact-report"'
)
_FIELDS = {"algorithm", "public_key", "parameters", "signature"}


@dataclass(frozen=True, slots=True)
class Source:
    """A signature that holds: by which key, for which certificate by the key's own word, when."""

    algorithm: str
    key_sha256: str
    """SHA-256 of the public key as SubjectPublicKeyInfo, 64 hex digits."""
    certificate_sha256: str
    signed_at: datetime


def verify_source(record: Record, original: bytes | None = None) -> Source | None:
    """Who signed the bytes that the record rests on; None where the record alone cannot show it.

    `original` are those bytes, where they are at hand. VerificationError where they are others, or where a
    signature does not hold.
    """
    raw_sha256, source = record.body.get("raw_sha256"), record.body.get(STEP)
    if original is not None:
        found = hashlib.sha256(original).hexdigest()
        if found != raw_sha256:
            raise VerificationError(
                STEP, "the record rests on other bytes", expected=str(raw_sha256), got=found
            )
    if source is None or (isinstance(source, dict) and source.get("algorithm") == XML):
        return None
    if not (isinstance(source, dict) and source.keys() == _FIELDS and all(map(_is_text, source.values()))):
        raise VerificationError(STEP, f"source does not hold the texts {', '.join(sorted(_FIELDS))}")
    if not (isinstance(raw_sha256, str) and _SHA256.fullmatch(raw_sha256)):
        raise VerificationError(STEP, f"raw_sha256 is no hash: {raw_sha256!r}")
    return _checked(source, bytes.fromhex(raw_sha256))


def _checked(source: dict[str, str], digest: bytes) -> Source:
    algorithm, parameters = source["algorithm"], source["parameters"]
    given = _PARAMETERS.fullmatch(parameters)
    if given is None:
        raise VerificationError(STEP, f"the signature's parameters cannot be read: {parameters!r}")
    if given[3] != algorithm:
        raise VerificationError(
            STEP, "the key signed for another algorithm", expected=given[3], got=algorithm
        )
    key, signature = _base64("public_key", source["public_key"]), _base64("signature", source["signature"])
    try:
        _verify(key, algorithm, signature, _base(digest, parameters))
    except InvalidSignature:
        raise VerificationError(
            STEP, f"the signature over {digest.hex()} is not one of the key {hashlib.sha256(key).hexdigest()}"
        ) from None
    return Source(algorithm, hashlib.sha256(key).hexdigest(), given[2], _time(given[1]))


def _time(created: str) -> datetime:
    try:
        return datetime.fromtimestamp(int(created), UTC)
    except (ValueError, OverflowError, OSError):  # which of them, the platform says
        raise VerificationError(STEP, f"created is a time after the year 9999: {created}") from None


def _verify(spki: bytes, algorithm: str, signature: bytes, octets: bytes) -> None:
    try:
        key = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise VerificationError(STEP, f"public_key cannot be read: {error}") from None
    if algorithm == RSA and isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, octets, padding.PKCS1v15(), hashes.SHA256())
    elif (
        algorithm == ECDSA
        and isinstance(key, ec.EllipticCurvePublicKey)
        and isinstance(key.curve, ec.SECP256R1)
    ):
        if len(signature) != 2 * _COORDINATE_BYTES:
            raise InvalidSignature
        halves = signature[:_COORDINATE_BYTES], signature[_COORDINATE_BYTES:]
        r, s = (int.from_bytes(half, "big") for half in halves)
        key.verify(encode_dss_signature(r, s), octets, ec.ECDSA(hashes.SHA256()))
    else:
        raise VerificationError(STEP, f"public_key is no key for {algorithm!r}")


def _base(digest: bytes, parameters: str) -> bytes:
    """The signature base of RFC 9421, section 2.5, for a body of this SHA-256."""
    text = base64.b64encode(digest).decode()
    return f'"content-digest": sha-256=:{text}:\n"@signature-params": {parameters}'.encode()


def _base64(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise VerificationError(STEP, f"{name} is not base64: {text[:60]!r}") from None


def _is_text(value: object) -> bool:
    return isinstance(value, str)
