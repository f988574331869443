"""Certificates for trying things out: one authority, P-256 keys, certificates of servers and of nodes.

A real fleet brings its own certificates. What this makes holds for loopback and lasts 90 days.
"""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=90)
_GRACE = timedelta(days=1)  # the peer's clock may be behind ours
_USAGES = {
    True: x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
    False: x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
}


class PkiError(Exception):
    """The certificate was not made; the message says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Where a party's certificate and key lie, and the authority (`ca`) that vouches for it; PEM files."""

    name: str
    cert: Path
    key: Path
    ca: Path

    @property
    def fingerprint(self) -> str:
        """The certificate's SHA-256 in 64 hex digits, the form in which a node is enrolled."""
        return _load(self.cert).fingerprint(hashes.SHA256()).hex()


def make_authority(directory: Path, now: datetime) -> Identity:
    """Return a new authority in `directory` (`ca.pem`, `ca.key`); one that is already there is refused."""
    cert_path, key_path = directory / "ca.pem", directory / "ca.key"
    if cert_path.exists() or key_path.exists():
        raise PkiError(f"{directory} already holds an authority; give another directory")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "flexpact trial authority")])
    builder = (
        _builder(subject, subject, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    _write(directory, cert_path, key_path, builder.sign(key, hashes.SHA256()), key)
    return Identity("ca", cert_path, key_path, cert_path)


def issue(directory: Path, name: str, now: datetime, *, server: bool) -> Identity:
    """Return a new certificate of `name` from the authority in `directory`; a server's holds for loopback."""
    if not name or "/" in name or name in {"ca", ".", ".."}:
        raise PkiError(f"{name!r} cannot name a certificate file")
    cert_path, key_path, ca_path = directory / f"{name}.pem", directory / f"{name}.key", directory / "ca.pem"
    if cert_path.exists() or key_path.exists():
        raise PkiError(f"{directory} already holds a certificate of {name}; give another name")
    authority, authority_key = _load(ca_path), _load_key(directory / "ca.key")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        _builder(subject, authority.subject, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(_USAGES[server], critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
    )
    if server:
        builder = builder.add_extension(_loopback_names(), critical=False)
    _write(directory, cert_path, key_path, builder.sign(authority_key, hashes.SHA256()), key)
    return Identity(name, cert_path, key_path, ca_path)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - _GRACE).not_valid_after(now + _LIFE)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _loopback_names() -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
    )


def _write(
    directory: Path, cert_path: Path, key_path: Path, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        key_path.touch(mode=0o600, exist_ok=False)  # private before it holds the key
        key_path.write_bytes(pem)
        cert_path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise PkiError(f"{error.filename or directory}: {error.strerror}") from None


def _load(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise PkiError(f"{path}: {error.strerror}; make an authority first") from None
    except ValueError:
        raise PkiError(f"{path} holds no certificate") from None


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise PkiError(f"{path}: {error.strerror}; make an authority first") from None
    except ValueError:
        raise PkiError(f"{path} holds no key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(f"{path} holds a key of another kind; an authority made here has a P-256 key")
    return key
