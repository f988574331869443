"""Certificates: an authority of P-256, of RSA or of both, and the certificates of servers and VENs.

Files of a directory: `ca.pem` (all its authorities), `ca.key` and `ca-rsa.key`, `crl.pem` (what was revoked),
and for each party `NAME.pem`, `NAME.key` (P-256) or `NAME-rsa.pem`, `NAME-rsa.key`. Rules: a private key is
readable by its owner alone and never overwritten; what a renewal replaces is kept under another name.
"""

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from openadr.certificate import Certificate, KeyKind, Purpose, read_key, read_pem
from openadr.errors import CertificateError
from openadr.private_file import read_key_file

LIFE_DAYS = 90
AUTHORITY_DAYS = 3650
RSA_BITS = 2048
_LONGEST_HOST = 253
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
LOOPBACK = ("localhost", "127.0.0.1")
_GRACE = timedelta(days=1)  # the peer's clock may be behind ours
_SUFFIX = {KeyKind.EC: "", KeyKind.RSA: "-rsa"}
_USAGES = {
    Purpose.SERVER: x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
    Purpose.CLIENT: x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
}

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class PkiError(Exception):
    """Nothing was made or changed; the message says why, and names the file."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Where a party's certificate and key lie, and the authorities (`ca`) that vouch for it; PEM files."""

    name: str
    cert: Path
    key: Path
    ca: Path

    @property
    def certificate(self) -> Certificate:
        """The certificate itself."""
        return load(self.cert)[0]

    @property
    def fingerprint(self) -> str:
        """The certificate's SHA-256 in 64 hex digits, the form in which a node is enrolled."""
        return self.certificate.fingerprint


@dataclass(frozen=True, slots=True)
class Authority:
    """One authority of a directory with its key."""

    certificate: x509.Certificate
    key: PrivateKey


def make_authority(
    directory: Path,
    now: datetime,
    kinds: Sequence[KeyKind] = (KeyKind.EC,),
    password: bytes | None = None,
) -> Identity:
    """Return a new authority in `directory`; one that is already there is refused.

    Both kinds are two authorities with one `ca.pem`: a party trusts what either has issued. A password
    encrypts their keys.
    """
    cert_path, first_key = directory / "ca.pem", _authority_key(directory, kinds[0])
    if password == b"":
        raise PkiError(f"the password is empty, nothing is made in {directory}")
    if any(directory.glob("ca*.key")) or cert_path.exists():
        raise PkiError(f"{directory} already holds an authority; give another directory")
    made = []
    for kind in kinds:
        key = _new_key(kind)
        certificate = _self_signed(key, kind, now)
        _write_new(_authority_key(directory, kind), _key_pem(key, password), private=True)
        made.append(certificate.public_bytes(serialization.Encoding.PEM))
    _write_new(cert_path, b"".join(made))
    return Identity("ca", cert_path, first_key, cert_path)


def issue(
    directory: Path,
    name: str,
    now: datetime,
    *,
    server: bool,
    kind: KeyKind = KeyKind.EC,
    hosts: Sequence[str] = LOOPBACK,
    days: int = LIFE_DAYS,
    password: bytes | None = None,
) -> Identity:
    """Return a new certificate of `name` from the authority in `directory`.

    A server's holds for `hosts`, names or addresses. `password` opens the authority's key.
    """
    found = identity(directory, name, kind)
    if found.cert.exists() or found.key.exists():
        raise PkiError(f"{directory} already holds a certificate of {found.cert.stem}; give another name")
    issuer = authority(directory, kind, password)
    key = _new_key(kind)
    certificate = _issued(issuer, key, name, now, server=server, hosts=hosts, days=days)
    _write_new(found.key, _key_pem(key, None), private=True)
    _write_new(found.cert, certificate.public_bytes(serialization.Encoding.PEM))
    return found


def renew(
    old: Identity,
    kind: KeyKind,
    now: datetime,
    days: int = LIFE_DAYS,
    password: bytes | None = None,
    *,
    hosts: Sequence[str] = (),
) -> Path:
    """Put a new key and certificate in the place of `old`; gives where the old certificate lies now.

    It holds for `hosts`, or those of the old one. Both stay valid: the old one serves until the new one is in
    use. The files are never missing meanwhile.
    """
    facts = old.certificate
    issuer = authority(old.ca.parent, kind, password)
    aside = aside_of(old)
    key = _new_key(kind)
    server = Purpose.SERVER in facts.purposes
    names = hosts or facts.names
    certificate = _issued(issuer, key, old.name, now, server=server, hosts=names, days=days)
    new_key, new_cert = Path(f"{old.key}.new"), Path(f"{old.cert}.new")
    _write_new(new_key, _key_pem(key, None), private=True)
    _write_new(new_cert, certificate.public_bytes(serialization.Encoding.PEM))
    try:
        os.link(old.key, aside.with_suffix(".key"))
        os.link(old.cert, aside)
        new_key.replace(old.key)
        new_cert.replace(old.cert)
    except OSError as error:
        raise PkiError(f"{error.filename}: {error.strerror}") from None
    return aside


def aside_of(old: Identity) -> Path:
    """Where a renewal puts the certificate that it replaces: named by its serial number."""
    return old.cert.with_suffix(f".{old.certificate.serial:x}.pem")


def identity(directory: Path, name: str, kind: KeyKind) -> Identity:
    """Where the files of a party are; PkiError for a name that cannot be one of a file."""
    if not name or "/" in name or name in {"ca", "crl", ".", ".."}:
        raise PkiError(f"{name!r} cannot name a certificate file")
    stem = name + _SUFFIX[kind]
    return Identity(name, directory / f"{stem}.pem", directory / f"{stem}.key", directory / "ca.pem")


def authority(directory: Path, kind: KeyKind, password: bytes | None) -> Authority:
    """The authority of that kind, the other one in a directory without that kind; PkiError names its key.

    An authority whose key is away is not replaced by the other one.
    """
    kinds = {one.kind for one in load(directory / "ca.pem")}
    path = _authority_key(directory, kind if kind in kinds else min(kinds))
    certificates = load_x509(directory / "ca.pem")
    try:
        key = read_key(read_key_file(path), str(path), password)
    except OSError as error:
        raise PkiError(f"the authority's key {path}: {error.strerror}") from None
    except CertificateError as error:
        raise PkiError(str(error)) from None
    for certificate in certificates:
        if certificate.public_key() == key.public_key() and isinstance(key, PrivateKey):
            return Authority(certificate, key)
    raise PkiError(f"the key in {path} is not that of a certificate in {directory / 'ca.pem'}")


def load(path: Path) -> tuple[Certificate, ...]:
    """The certificates in a PEM file; PkiError names the file."""
    try:
        return read_pem(path.read_bytes(), str(path))
    except OSError as error:
        advice = "; make an authority first" if path.name == "ca.pem" else ""
        raise PkiError(f"{path}: {error.strerror}{advice}") from None
    except CertificateError as error:
        raise PkiError(str(error)) from None


def load_x509(path: Path) -> list[x509.Certificate]:
    """The same, to sign with."""
    return [x509.load_der_x509_certificate(one.der) for one in load(path)]


def _authority_key(directory: Path, kind: KeyKind) -> Path:
    return directory / f"ca{_SUFFIX[kind]}.key"


def _new_key(kind: KeyKind) -> PrivateKey:
    if kind is KeyKind.EC:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)


def _self_signed(key: PrivateKey, kind: KeyKind, now: datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"flexpact trial authority {kind}")])
    return (
        _builder(subject, subject, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _issued(
    issuer: Authority,
    key: PrivateKey,
    name: str,
    now: datetime,
    *,
    server: bool,
    hosts: Sequence[str],
    days: int,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer.key.public_key()
    encipher = server and isinstance(key, rsa.RSAPrivateKey)  # TLS_RSA_WITH_AES_128_CBC_SHA256 needs it
    builder = (
        _builder(subject, issuer.certificate.subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False, encipher=encipher), critical=True)
        .add_extension(_USAGES[Purpose.SERVER if server else Purpose.CLIENT], critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )
    if server:
        builder = builder.add_extension(_alternative_names(hosts), critical=False)
    return builder.sign(issuer.key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _GRACE)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, authority: bool, encipher: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=encipher,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(_dns_name(host))
    return x509.SubjectAlternativeName(names)


def _dns_name(host: str) -> x509.DNSName:
    if len(host) > _LONGEST_HOST or not _HOST.fullmatch(host):  # the library takes an empty one, or an URL
        raise PkiError(f"{host!r} is no host name that a certificate can hold")
    return x509.DNSName(host)


def _key_pem(key: PrivateKey, password: bytes | None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:  # an empty one is no wish for a key that anybody can read
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _write_new(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file that must not be there yet."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600 if private else 0o644, exist_ok=False)  # private before it holds the key
        path.write_bytes(content)
    except OSError as error:
        raise PkiError(f"{error.filename or path}: {error.strerror}") from None
