"""How a certificate is bound to an account of the chain, as `ParticipantRegistry` checks it.

The chain sees the public key and hashes of it and of the certificate, never the certificate itself. It checks
that the key signed the binding; that the hash is of a certificate with that key is for whoever has the
certificate: the admin before he registers a party (`check_offered`), anybody afterwards (`check_binding`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import IntEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from ledger.errors import KeyFileError, MalformedError, VerificationError
from ledger.state import keccak256

BINDING = keccak256(b"flexpact certificate binding v1")
STEP = "binding"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
RSA_EXPONENT, RSA_MIN_BITS = 65537, 2048

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Role(IntEnum):
    """What an account may be; the numbers are the contract's."""

    AGGREGATOR = 1
    VIRTUAL_NODE = 2
    PROSUMER = 3
    DSO = 4
    AUDITOR = 5


@dataclass(frozen=True, slots=True)
class Binding:
    """The last three arguments of the contract's `register` and `renew`."""

    certificate: bytes
    key: bytes
    signature: bytes

    def to_json(self) -> str:
        """What a party sends to the admin; nothing of it is secret."""
        fields = {"certificate": self.certificate, "key": self.key, "signature": self.signature}
        return json.dumps({name: f"0x{value.hex()}" for name, value in fields.items()})

    @classmethod
    def from_json(cls, text: str | bytes) -> Binding:
        """The binding that a party has sent; MalformedError names the field that is none."""
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise MalformedError(STEP, f"no JSON: {text[:80]!r}") from error
        if not isinstance(fields, dict):
            raise MalformedError(STEP, f"no JSON object: {text[:80]!r}")
        return cls(*(_field(fields, name) for name in ("certificate", "key", "signature")))


def certificate_hash(certificate: x509.Certificate) -> bytes:
    """What the chain holds of a certificate: keccak256 of its SHA-256 fingerprint. The fingerprint itself,
    the end of which is an OpenADR VEN's identity, does not stand there.
    """
    return keccak256(hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest())


def public_key(certificate: x509.Certificate) -> bytes:
    """A certificate's key as the contract takes it: x and y of P-256 (64 bytes) or an RSA modulus.
    KeyFileError for any other key.
    """
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        point = key.public_numbers()
        return _word(point.x) + _word(point.y)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_MIN_BITS:
        numbers = key.public_numbers()
        if numbers.e == RSA_EXPONENT:
            return numbers.n.to_bytes((key.key_size + 7) // 8, "big")
    raise KeyFileError(
        "the certificate's key must be P-256, or RSA of 2048 bits or more with exponent 65537, to be bound"
    )


def binding_message(chain_id: int, registry: bytes, account: bytes, role: Role, certificate: bytes) -> bytes:
    """The six words whose SHA-256 the certificate's key signs; `registry` and `account` are addresses."""
    return b"".join(
        (
            BINDING,
            _word(chain_id),
            registry.rjust(32, b"\0"),
            account.rjust(32, b"\0"),
            _word(role),
            certificate,
        )
    )


def bind(
    certificate: x509.Certificate,
    key: PrivateKey,
    *,
    chain_id: int,
    registry: bytes,
    account: bytes,
    role: Role,
) -> Binding:
    """The binding of a certificate to an account, signed by the certificate's key. KeyFileError if the key is
    another certificate's, or of a kind that the contract does not check.
    """
    public = public_key(certificate)
    if key.public_key() != certificate.public_key():
        raise KeyFileError("the key does not belong to the certificate that it shall bind")
    digest = certificate_hash(certificate)
    message = binding_message(chain_id, registry, account, role, digest)
    if isinstance(key, rsa.RSAPrivateKey):
        return Binding(digest, public, key.sign(message, padding.PKCS1v15(), hashes.SHA256()))
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    # Of the two forms of a signature the contract takes the one with the smaller s.
    return Binding(digest, public, _word(r) + _word(min(s, P256_ORDER - s)))


def check_binding(certificate: x509.Certificate, certificate_on_chain: bytes, key_on_chain: bytes) -> None:
    """Nothing if the two hashes that the registry holds of an account are this certificate's;
    VerificationError names the one that is not.
    """
    for text, expected, got in (
        ("the registry holds another certificate", certificate_on_chain, certificate_hash(certificate)),
        ("the registry holds another key", key_on_chain, keccak256(public_key(certificate))),
    ):
        if expected != got:
            raise VerificationError(STEP, text, expected=expected.hex(), got=got.hex())


def check_offered(
    certificate: x509.Certificate,
    offered: Binding,
    *,
    chain_id: int,
    registry: bytes,
    account: bytes,
    role: Role,
) -> None:
    """Nothing if a binding is of this certificate, and its key signed it for that account, role, registry and
    chain; VerificationError says what it is not. The contract sees no certificate and cannot check the first.
    """
    for text, expected, got in (
        ("the binding is of another certificate", certificate_hash(certificate), offered.certificate),
        ("the binding has another key", public_key(certificate), offered.key),
    ):
        if expected != got:
            raise VerificationError(STEP, text, expected=expected.hex(), got=got.hex())
    message = binding_message(chain_id, registry, account, role, offered.certificate)
    if not _is_signed(certificate.public_key(), offered.signature, message):
        for_ = f"account 0x{account.hex()} as {role.name.lower()} in 0x{registry.hex()} on chain {chain_id}"
        raise VerificationError(
            STEP,
            "the certificate's key signed something else",
            expected=for_,
            got=f"signature {offered.signature.hex()}",
        )


def _is_signed(key: object, signature: bytes, message: bytes) -> bool:
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey) and len(signature) == 64:
            r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
            key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
            return s <= P256_ORDER // 2
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _field(fields: dict[str, object], name: str) -> bytes:
    text = fields.get(name)
    try:
        if isinstance(text, str) and text.startswith("0x"):
            return bytes.fromhex(text[2:])
    except ValueError:
        pass
    raise MalformedError(STEP, f"{name}: not 0x and hexadecimal digits: {str(text)[:80]!r}")


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")
