"""Signed messages for tests: identities of both key families, xmlsec1, and a signer that signs anything.

`resigned` is independent of `openadr.signature`: it fills in digests and signature value of whatever document
it is given, so that an attack can carry a signature that is right in itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID
from lxml import etree

from openadr import Poll, encode
from openadr.signature import Signer
from openadr.wire import NAMESPACES

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DS = f"{{{NAMESPACES['ds']}}}"
RSA, EC = "rsa", "p-256"


@dataclass(frozen=True)
class Identity:
    """A key with a certificate for it."""

    name: str
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def read(cls, name: str, cert: Path, key: Path) -> Identity:
        """An identity that lies in files."""
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        assert isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        return cls(name, private, x509.load_pem_x509_certificate(cert.read_bytes()))

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.der).hexdigest()

    @property
    def signer(self) -> Signer:
        return Signer((self.certificate_pem, "cert"), (self.key_pem, "key"))

    def signed(self, ven_id: str = "ven-1", now: datetime = NOW) -> bytes:
        """A signed poll."""
        return self.signer.sign(encode(Poll(ven_id)), now)


def identity(name: str, family: str = EC, bits: int = 2048) -> Identity:
    """The same identity each time."""
    return _identity(name, family, bits)


@cache
def _identity(name: str, family: str, bits: int) -> Identity:
    key = (
        ec.generate_private_key(ec.SECP256R1())
        if family == EC
        else rsa.generate_private_key(public_exponent=65537, key_size=bits)
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    now = datetime.now(UTC)
    builder = builder.not_valid_before(now - timedelta(days=2)).not_valid_after(now + timedelta(days=2))
    here = x509.SubjectAlternativeName([x509.DNSName("localhost")])  # it may serve, too
    builder = builder.add_extension(here, critical=False)
    return Identity(name, key, builder.sign(key, hashes.SHA256()))


def xmlsec1(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """The tool of the XML Security Library, run to its end."""
    return subprocess.run(["xmlsec1", *map(str, arguments)], capture_output=True, check=False)


IDS = ("--id-attr:Id", "oadrSignedObject")


def resigned(raw: bytes, who: Identity, *, digests: bool = True) -> bytes:
    """The document with digests and signature value that are right for it, as its own algorithms say."""
    root = etree.fromstring(raw)
    info = next(root.iter(DS + "SignedInfo"))
    if digests:
        for reference in info.iter(DS + "Reference"):
            _fill_digest(root, reference)
    method = str(info.find(DS + "SignatureMethod").get("Algorithm"))
    octets = _canonical(info, str(info.find(DS + "CanonicalizationMethod").get("Algorithm")))
    next(root.iter(DS + "SignatureValue")).text = base64.b64encode(_value(octets, method, who)).decode()
    return etree.tostring(root)


def _fill_digest(root: etree._Element, reference: etree._Element) -> None:
    uri = reference.get("URI") or ""
    found = [e for e in root.iter() if uri[1:] in (v for k, v in e.items() if k.endswith("Id"))]
    if not found:
        return
    transforms = [str(each.get("Algorithm")) for each in reference.iter(DS + "Transform")]
    octets = _canonical(found[0], transforms[0] if transforms else "")
    sha1 = str(reference.find(DS + "DigestMethod").get("Algorithm")).endswith("sha1")
    digest = (hashlib.sha1 if sha1 else hashlib.sha256)(octets).digest()
    reference.find(DS + "DigestValue").text = base64.b64encode(digest).decode()


def _canonical(element: etree._Element, algorithm: str) -> bytes:
    return etree.tostring(
        element, method="c14n", exclusive="exc-c14n" in algorithm, with_comments="omments" in algorithm
    )


def _value(octets: bytes, method: str, who: Identity) -> bytes:
    digest = hashes.SHA1() if method.endswith("sha1") else hashes.SHA256()
    if "hmac" in method:  # the confusion: a public certificate as the secret
        return hmac.digest(who.certificate_pem, octets, "sha256")
    if isinstance(who.key, rsa.RSAPrivateKey):
        return who.key.sign(octets, padding.PKCS1v15(), digest)
    r, s = decode_dss_signature(who.key.sign(octets, ec.ECDSA(digest)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")
