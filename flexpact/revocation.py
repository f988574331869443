"""Revoked certificates: the list that each authority of a directory keeps in `crl.pem`.

Rules: a list is replaced as a whole, the lists of other authorities stay as they are; it holds as long as its
authority does, so that a server which reads it never stops for want of a new one.
"""

import re
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from flexpact.pki import Authority, PkiError, authority, load
from openadr.certificate import Certificate, KeyKind

_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----\n?", re.DOTALL)
_GRACE = timedelta(days=1)  # a server's clock may be behind ours


def list_of(directory: Path) -> Path:
    """Where the lists of a directory are, all in one file."""
    return directory / "crl.pem"


def start_list(directory: Path, now: datetime, password: bytes | None = None) -> Path:
    """Write an empty list for every authority of the directory, which has none yet."""
    if list_of(directory).exists():
        raise PkiError(f"{list_of(directory)} is there already")
    lists = [_signed(one, [], 1, now) for one in _authorities(directory, password)]
    _write(directory, lists)
    return list_of(directory)


def revoked(directory: Path) -> set[tuple[str, int]]:
    """Issuer and serial number of every certificate on the lists."""
    return {(one.issuer.rfc4514_string(), entry.serial_number) for one in _read(directory) for entry in one}


def revoke(directory: Path, certificate: Certificate, now: datetime, password: bytes | None = None) -> Path:
    """Put a certificate on its authority's list; PkiError where it is there, or is no certificate of it."""
    if (certificate.issuer, certificate.serial) in revoked(directory):
        raise PkiError(f"the certificate {certificate.short} is revoked already")
    authorities = load(directory / "ca.pem")
    if certificate.issuer not in {one.subject for one in authorities}:
        raise PkiError(f"the certificate {certificate.short} was not issued by an authority in {directory}")
    lists = {one.issuer.rfc4514_string(): one for one in _read(directory)}
    for subject, kind in {one.subject: one.kind for one in authorities}.items():
        old = lists.get(subject)
        added = [_entry(certificate.serial, now)] if subject == certificate.issuer else []
        if added or old is None:
            issuer = _issuer(directory, subject, kind, password)
            lists[subject] = _signed(issuer, [*(old or ()), *added], _number(old) + 1, now)
    _write(directory, list(lists.values()))
    return list_of(directory)


def _authorities(directory: Path, password: bytes | None) -> list[Authority]:
    kinds = {certificate.kind for certificate in load(directory / "ca.pem")}
    return [authority(directory, kind, password) for kind in sorted(kinds)]


def _issuer(directory: Path, subject: str, kind: KeyKind, password: bytes | None) -> Authority:
    found = authority(directory, kind, password)
    if found.certificate.subject.rfc4514_string() != subject:
        raise PkiError(f"{directory} holds no key of {subject}, whose revocation list must be written")
    return found


def _entry(serial: int, now: datetime) -> x509.RevokedCertificate:
    return x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()


def _number(old: x509.CertificateRevocationList | None) -> int:
    if old is None:
        return 0
    return old.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _signed(
    issuer: Authority, entries: list[x509.RevokedCertificate], number: int, now: datetime
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - _GRACE)
        .next_update(issuer.certificate.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer.key, hashes.SHA256())


def _read(directory: Path) -> list[x509.CertificateRevocationList]:
    path = list_of(directory)
    try:
        return [x509.load_pem_x509_crl(block) for block in _BLOCK.findall(path.read_bytes())]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PkiError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise PkiError(f"{path} holds a revocation list that cannot be read") from None


def _write(directory: Path, lists: list[x509.CertificateRevocationList]) -> None:
    path = list_of(directory)
    beside = path.with_suffix(".new")
    try:
        beside.write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in lists))
        beside.replace(path)
    except OSError as error:
        raise PkiError(f"{error.filename or path}: {error.strerror}") from None
