"""A signature over the bytes of a message, in the head of its request: RFC 9421 with RFC 9530's digest.

    Content-Digest:  sha-256=:<base64>:
    Signature-Input: flexpact=("content-digest");created=<s>;keyid="<certificate>";alg="<name>";tag="<TAG>"
    Signature:       flexpact=:<base64>:

Rules: what is signed is the signature base of RFC 9421, section 2.5, which holds nothing of the message but
its SHA-256: who has that hash and the signature needs no message to see that the key has signed it. The key
is that of the sender's certificate, which `keyid` names by its SHA-256. A peer that does not know these
fields ignores them; one that signs under another label is not ours to judge. `created` is any time that a
calendar has: a report may be signed when it is made and come days later.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from openadr.errors import BadSignature
from openadr.signature import PrivateKey, PublicKey, public_key

CONTENT_DIGEST, SIGNATURE_INPUT, SIGNATURE = "Content-Digest", "Signature-Input", "Signature"
LABEL = "flexpact"
TAG = "flexpact-report"
ECDSA, RSA = "ecdsa-p256-sha256", "rsa-v1_5-sha256"  # as RFC 9421, section 3.3, names them
COORDINATE_BYTES = 32
LATEST = 253_402_300_799
"""The last second of the year 9999, after which nobody who reads the evidence has a time."""
_INPUT = re.compile(rf"(?:^|,)[ \t]*{LABEL}=(\([^()]*\)[^,]*)")
_VALUE = re.compile(rf"(?:^|,)[ \t]*{LABEL}=:([A-Za-z0-9+/]+={{0,2}}):")


@dataclass(frozen=True, slots=True)
class Fields:
    """The three header fields as they came."""

    content_digest: str
    signature_input: str
    signature: str

    @property
    def present(self) -> bool:
        """Whether a signature of ours is meant."""
        return f"{LABEL}=" in self.signature_input


@dataclass(frozen=True, slots=True)
class Attestation:
    """A signature that was checked, in the words in which evidence keeps it; all base64 but `parameters`."""

    algorithm: str
    public_key: str
    """The key as SubjectPublicKeyInfo in DER."""
    parameters: str
    """The value of `@signature-params`."""
    signature: str

    def body(self) -> dict[str, str]:
        """Its fields as text."""
        return {
            "algorithm": self.algorithm,
            "public_key": self.public_key,
            "parameters": self.parameters,
            "signature": self.signature,
        }


class BodySigner:
    """Signs bodies with the key of a certificate."""

    def __init__(self, sign: Callable[[bytes], bytes], algorithm: str, fingerprint: str) -> None:
        self._sign = sign
        self._algorithm = algorithm
        self._fingerprint = fingerprint

    @classmethod
    def of(cls, key: PrivateKey, fingerprint: str) -> "BodySigner | None":
        """With this key, of the certificate of that SHA-256; None for a curve that RFC 9421 does not name."""
        if isinstance(key, rsa.RSAPrivateKey):
            return cls(lambda octets: key.sign(octets, padding.PKCS1v15(), hashes.SHA256()), RSA, fingerprint)
        if not isinstance(key.curve, ec.SECP256R1):
            return None

        def sign(octets: bytes) -> bytes:
            halves = decode_dss_signature(key.sign(octets, ec.ECDSA(hashes.SHA256())))
            return b"".join(half.to_bytes(COORDINATE_BYTES, "big") for half in halves)

        return cls(sign, ECDSA, fingerprint)

    def headers(self, body: bytes, now: datetime) -> dict[str, str]:
        """The header fields that go with this body, sent at `now`."""
        digest = hashlib.sha256(body).digest()
        parameters = (
            f'("content-digest");created={int(now.timestamp())};keyid="{self._fingerprint}"'
            f';alg="{self._algorithm}";tag="{TAG}"'
        )
        value = base64.b64encode(self._sign(signature_base(digest, parameters))).decode()
        return {
            CONTENT_DIGEST: _content_digest(digest),
            SIGNATURE_INPUT: f"{LABEL}={parameters}",
            SIGNATURE: f"{LABEL}=:{value}:",
        }


def signature_base(digest: bytes, parameters: str) -> bytes:
    """What is signed for a body of this SHA-256."""
    return f'"content-digest": {_content_digest(digest)}\n"@signature-params": {parameters}'.encode()


def verified(fields: Fields, body: bytes, der: bytes) -> Attestation:
    """The signature over this body, made by the key of this certificate; BadSignature says what is wrong."""
    digest = hashlib.sha256(body).digest()
    if fields.content_digest.strip() != _content_digest(digest):
        raise BadSignature(f"Content-Digest is not that of the body, {_content_digest(digest)}")
    given, value = _INPUT.search(fields.signature_input), _VALUE.search(fields.signature)
    if given is None or value is None:
        raise BadSignature(f"Signature-Input and Signature hold no {LABEL} that can be read")
    parameters = given[1].strip()
    key = _key(der)
    expected = _parameters(key.algorithm, hashlib.sha256(der).hexdigest())
    fits = expected.fullmatch(parameters)
    if fits is None:
        raise BadSignature(
            f"the signature's parameters are not those of this certificate: {parameters[:300]!r}"
        )
    if int(fits[1]) > LATEST:
        raise BadSignature(f"the signature's created is a time after the year 9999: {fits[1]}")
    try:
        key.check(base64.b64decode(value[1], validate=True), signature_base(digest, parameters))
    except (InvalidSignature, ValueError):
        raise BadSignature("the signature over the body does not fit the key of the certificate") from None
    return Attestation(key.algorithm, key.text, parameters, value[1])


def _content_digest(digest: bytes) -> str:
    return f"sha-256=:{base64.b64encode(digest).decode()}:"


@lru_cache(maxsize=4096)
def _parameters(algorithm: str, fingerprint: str) -> re.Pattern[str]:
    """The one order in which they are written."""
    fixed = re.escape(f';keyid="{fingerprint}";alg="{algorithm}";tag="{TAG}"')
    return re.compile(rf'\("content-digest"\);created=([0-9]{{1,12}}){fixed}')


@dataclass(frozen=True, slots=True)
class _Key:
    """The key of a certificate: its algorithm here, itself in base64, and what checks (signature, octets)."""

    algorithm: str
    text: str
    check: Callable[[bytes, bytes], None]


# By the whole certificate, so an entry cannot be stale; whether that still holds is looked at elsewhere.
@lru_cache(maxsize=4096)
def _key(der: bytes) -> _Key:
    key = public_key(der)
    text = base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    return _Key(RSA if isinstance(key, rsa.RSAPublicKey) else ECDSA, text, _checking(key))


def _checking(key: PublicKey) -> Callable[[bytes, bytes], None]:
    if isinstance(key, rsa.RSAPublicKey):
        return lambda value, octets: key.verify(value, octets, padding.PKCS1v15(), hashes.SHA256())

    def check(value: bytes, octets: bytes) -> None:
        if not isinstance(key.curve, ec.SECP256R1) or len(value) != 2 * COORDINATE_BYTES:
            raise InvalidSignature
        r, s = (int.from_bytes(half, "big") for half in (value[:COORDINATE_BYTES], value[COORDINATE_BYTES:]))
        key.verify(encode_dss_signature(r, s), octets, ec.ECDSA(hashes.SHA256()))

    return check
