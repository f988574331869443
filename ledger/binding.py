"""How a certificate is bound to an account of the chain, as `ParticipantRegistry` checks it.

The chain sees the public key and hashes of it and of the certificate, never the certificate itself. It checks
that the key signed the binding; that the hash is of a certificate with that key is for whoever has the
certificate: `check_binding`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from ledger.errors import KeyFileError, VerificationError
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


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")
