"""A party's certificate and key, read from files that somebody else made."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from flexpact.parties import bound_party, party
from flexpact.pki import Identity, issue, make_authority
from ledger.errors import KeyFileError
from openadr.certificate import KeyKind

P256, UNKNOWN = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030105")
ACCOUNT = b"\x01" * 20


@pytest.fixture
def issued(tmp_path: Path) -> Identity:
    now = datetime.now(UTC)
    make_authority(tmp_path / "pki", now)
    return issue(tmp_path / "pki", "node", now, server=False, kind=KeyKind.EC)


def of_an_unknown_curve(path: Path, name: str, der: bytes) -> Path:
    assert P256 in der
    body = base64.encodebytes(der.replace(P256, UNKNOWN)).decode()
    path.write_text(f"-----BEGIN {name}-----\n{body}-----END {name}-----\n")
    path.chmod(0o600)
    return path


def test_a_certificate_of_a_curve_that_nobody_here_knows_is_named(issued: Identity, tmp_path: Path) -> None:
    der = x509.load_pem_x509_certificates(issued.cert.read_bytes())[0].public_bytes(Encoding.DER)
    cert = of_an_unknown_curve(tmp_path / "odd.pem", "CERTIFICATE", der)
    for read in (
        lambda: party(ACCOUNT, "node", cert, issued.key),
        lambda: bound_party(ACCOUNT, "node", cert, cert),
    ):
        with pytest.raises(KeyFileError, match=r"odd\.pem is of a key that cannot be read"):
            read()


def test_a_key_of_a_curve_that_nobody_here_knows_is_named(issued: Identity, tmp_path: Path) -> None:
    known = load_pem_private_key(issued.key.read_bytes(), None)
    der = known.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    key = of_an_unknown_curve(tmp_path / "odd.key", "PRIVATE KEY", der)
    with pytest.raises(KeyFileError, match=r"odd\.key holds"):
        party(ACCOUNT, "node", issued.cert, key)
