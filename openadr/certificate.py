"""X.509 certificates as values: what is read of one, and whether a certificate and its key can be used.

Rules: version 3, RSA of at least 2048 or EC of at least 256 bits (SEC-07). Files are named in the errors, but
read by the caller: nothing here does I/O or looks at a clock.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from openadr.errors import CertificateError
from openadr.security import fingerprint, sha1_fingerprint, short_fingerprint

WARN_DAYS = (30, 7, 1)
_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)


class KeyKind(StrEnum):
    """The two kinds of key that the standard knows (SEC-05, SEC-06)."""

    RSA = "RSA"
    EC = "EC"


class Purpose(StrEnum):
    """What a certificate may be for."""

    SERVER = "server"
    CLIENT = "client"


UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises of a certificate or list that is none; its parts are read late, one by one."""
MIN_BITS = {KeyKind.RSA: 2048, KeyKind.EC: 256}
_USAGES = {Purpose.SERVER: ExtendedKeyUsageOID.SERVER_AUTH, Purpose.CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True, slots=True)
class Certificate:
    """What matters of one certificate; names are as RFC 4514 writes them, times aware UTC."""

    der: bytes
    subject: str
    issuer: str
    serial: int
    not_before: datetime
    not_after: datetime
    kind: KeyKind
    bits: int
    purposes: frozenset[Purpose]
    """Empty for an authority; both where the certificate does not say."""
    names: tuple[str, ...]
    """DNS names and IP addresses that it holds for."""

    @property
    def fingerprint(self) -> str:
        """SHA-256, 64 lower-case hex digits: the principal."""
        return fingerprint(self.der)

    @property
    def short(self) -> str:
        """The 29 characters for people (SEC-14)."""
        return short_fingerprint(self.der)

    @property
    def short_2_0a(self) -> str:
        """The same form as 2.0a makes it, of SHA-1."""
        return sha1_fingerprint(self.der)

    def days_left(self, now: datetime) -> int:
        """Whole days until it expires, negative afterwards."""
        return (self.not_after - now).days


def read_der(der: bytes, name: str) -> Certificate:
    """The certificate in these bytes; CertificateError says why `name` cannot be used."""
    try:
        return _read(x509.load_der_x509_certificate(der), name)
    except UNREADABLE:
        raise CertificateError(f"{name} holds a certificate that cannot be read") from None


def read_pem(pem: bytes, name: str) -> tuple[Certificate, ...]:
    """All certificates of a PEM file, at least one, every one strong enough; CertificateError otherwise."""
    try:
        return tuple(_read(certificate, name) for certificate in x509.load_pem_x509_certificates(pem))
    except UNREADABLE:
        raise CertificateError(f"{name} holds no certificate that can be read") from None


def read_key(pem: bytes, name: str, password: bytes | None) -> PrivateKeyTypes:
    """The private key of a PEM file, which may hold other things beside; CertificateError says what is wrong.

    A key that is not encrypted is taken with a password too.
    """
    block = _KEY.search(pem)
    if block is None:
        raise CertificateError(f"{name} holds no private key")
    encrypted = b"ENCRYPTED" in block[0]
    if encrypted and password is None:
        raise CertificateError(f"the key in {name} is encrypted, and no password was given")
    try:
        return serialization.load_pem_private_key(block[0], password if encrypted else None)
    except (ValueError, UnsupportedAlgorithm):
        reason = "does not open with the password given" if encrypted else "cannot be read"
        raise CertificateError(f"the key in {name} {reason}") from None


def read_pair(
    certs: tuple[bytes, str], key: tuple[bytes, str], password: bytes | None, purpose: Purpose
) -> Certificate:
    """The certificate at the head of a chain, which its key fits and which is for `purpose`.

    Both files are given as (content, name); CertificateError names the one that is wrong.
    """
    cert_name, key_name = certs[1], key[1]
    head = read_pem(*certs)[0]
    private = read_key(*key, password)
    if _spki(private.public_key()) != _spki(x509.load_der_x509_certificate(head.der).public_key()):
        raise CertificateError(f"the key in {key_name} is not that of the certificate in {cert_name}")
    if purpose not in head.purposes:
        raise CertificateError(f"the certificate in {cert_name} is not for a {purpose}")
    return head


def _read(certificate: x509.Certificate, name: str) -> Certificate:
    if certificate.version is not x509.Version.v3:
        raise CertificateError(f"{name} holds a certificate of version 1, expected version 3")
    kind, bits = _strength(certificate.public_key(), name)
    extensions = certificate.extensions
    return Certificate(
        der=certificate.public_bytes(serialization.Encoding.DER),
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        kind=kind,
        bits=bits,
        purposes=_purposes(extensions),
        names=_names(extensions),
    )


def _strength(key: CertificatePublicKeyTypes, name: str) -> tuple[KeyKind, int]:
    if isinstance(key, rsa.RSAPublicKey):
        kind = KeyKind.RSA
    elif isinstance(key, ec.EllipticCurvePublicKey):
        kind = KeyKind.EC
    else:
        raise CertificateError(f"{name} holds a key that is neither RSA nor EC")
    if key.key_size < MIN_BITS[kind]:
        raise CertificateError(
            f"{name} holds an {kind} key of {key.key_size} bits, expected at least {MIN_BITS[kind]}"
        )
    return kind, key.key_size


def _purposes(extensions: x509.Extensions) -> frozenset[Purpose]:
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return frozenset()
    except x509.ExtensionNotFound:
        pass
    try:
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return frozenset(Purpose)
    return frozenset(purpose for purpose, oid in _USAGES.items() if oid in usage)


def _names(extensions: x509.Extensions) -> tuple[str, ...]:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def _spki(key: object) -> bytes:
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
