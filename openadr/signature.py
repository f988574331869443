"""XML signatures as OpenADR has them (group SIG): the words that both sides share, and what makes one.

    oadrPayload
      ds:Signature                  a sibling of what it signs, before it (SIG-01, SIG-02)
        ds:SignedInfo               inclusive C14N, rsa-sha256 or ecdsa-sha256, two references:
          #oadrSignedObject           the message
          #replayProtect              the ds:Object below
        ds:SignatureValue           over the canonical SignedInfo; ECDSA as r||s
        ds:KeyInfo/ds:X509Data      the signer's certificate
        ds:Object                   .../dsp:ReplayProtect: time of sending and a nonce (SIG-03, SIG-04)
      oadrSignedObject

`openadr.verification` checks one. A signature says when the message was sent, so `Signer.sign` belongs
right before the sending, and again before each repeat.
"""

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree

from openadr.certificate import read_der, read_key, read_pem
from openadr.errors import CertificateError
from openadr.interval import format_instant
from openadr.parser import Limits, parse
from openadr.security import fingerprint
from openadr.wire import NAMESPACES, clark

INCLUSIVE_C14N = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
EXCLUSIVE_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
SHA1 = "http://www.w3.org/2000/09/xmldsig#sha1"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
RSA_SHA1 = "http://www.w3.org/2000/09/xmldsig#rsa-sha1"
ECDSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
ECDSA_SHA1 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1"

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_SIGNED_OBJECT_ID = "oadrSignedObject"
_REPLAY_PROTECT_ID = "replayProtect"
_CACHED_BODY_BYTES = 2048
UNLIMITED = Limits(max_depth=256, max_report_bytes=2**30, max_nodes=2**30, max_intervals=2**30)

# The templates are canonical already, save for the namespaces that the apex of each part gets: only base64,
# an instant and a nonce of hex digits are put in.
_NAMESPACES = f' xmlns:ds="{NAMESPACES["ds"]}" xmlns:oadr="{NAMESPACES["oadr"]}"'
_HEAD = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n<oadr:oadrPayload xmlns:oadr="{NAMESPACES["oadr"]}">'
    f'<ds:Signature xmlns:ds="{NAMESPACES["ds"]}" Id="signature">'
).encode()
_REFERENCE = (
    '<ds:Reference URI="#{id}"><ds:Transforms><ds:Transform Algorithm="'
    + INCLUSIVE_C14N
    + '"></ds:Transform></ds:Transforms><ds:DigestMethod Algorithm="'
    + SHA256
    + '"></ds:DigestMethod><ds:DigestValue>%b</ds:DigestValue></ds:Reference>'
)
_SIGNED_INFO = (
    '><ds:CanonicalizationMethod Algorithm="'
    + INCLUSIVE_C14N
    + '"></ds:CanonicalizationMethod><ds:SignatureMethod Algorithm="{method}"></ds:SignatureMethod>'
    + _REFERENCE.replace("{id}", _SIGNED_OBJECT_ID)
    + _REFERENCE.replace("{id}", _REPLAY_PROTECT_ID)
    + "</ds:SignedInfo>"
)
_OBJECT = (
    f' Id="{_REPLAY_PROTECT_ID}"><ds:SignatureProperties><ds:SignatureProperty Target="#signature">'
    f'<dsp:ReplayProtect xmlns:dsp="{NAMESPACES["dsp"]}"><dsp:timestamp>'
    "%b</dsp:timestamp><dsp:nonce>%b</dsp:nonce></dsp:ReplayProtect>"
    "</ds:SignatureProperty></ds:SignatureProperties></ds:Object>"
).encode()
_OBJECT_APEX, _SIGNED_INFO_APEX = (f"<ds:{name}{_NAMESPACES}".encode() for name in ("Object", "SignedInfo"))


class Signer:
    """A certificate with its key, loaded once, that signs messages."""

    def __init__(
        self, certs: tuple[bytes, str], key: tuple[bytes, str], password: bytes | None = None
    ) -> None:
        """Takes the certificate at the head of a chain; both PEM files are given as (content, name).

        CertificateError names the one that cannot be used.
        """
        der = read_pem(*certs)[0].der
        private = read_key(*key, password)
        if not isinstance(private, PrivateKey) or private.public_key() != public_key(der):
            raise CertificateError(f"the key in {key[1]} is not that of the certificate in {certs[1]}")
        self._sign = _signing(private)
        self.fingerprint = fingerprint(der)
        """SHA-256 of the certificate, 64 hex digits."""
        self.is_rsa = isinstance(private, rsa.RSAPrivateKey)
        """The family of the key, which should be the one of the TLS suite (SIG-07)."""
        method = RSA_SHA256 if self.is_rsa else ECDSA_SHA256
        self._signed_info = _SIGNED_INFO.replace("{method}", method).encode()
        self._key_info = (
            b"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>%b</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
            % base64.b64encode(der)
        )

    def sign(self, body: bytes, now: datetime) -> bytes:
        """The same payload signed, as sent at `now`, with a new nonce; `body` comes from `openadr.encode`."""
        message = _sealed_small(body) if len(body) <= _CACHED_BODY_BYTES else _sealed(body)
        replay = _OBJECT % (format_instant(now).encode(), secrets.token_hex(16).encode())
        signed_info = self._signed_info % (message.digest, _digest(_OBJECT_APEX + replay))
        value = base64.b64encode(self._sign(_SIGNED_INFO_APEX + signed_info))
        return b"".join(
            (
                _HEAD,
                b"<ds:SignedInfo",
                signed_info,
                b"<ds:SignatureValue>",
                value,
                b"</ds:SignatureValue>",
                self._key_info,
                b"<ds:Object",
                replay,
                b"</ds:Signature>",
                message.octets,
                b"</oadr:oadrPayload>",
            )
        )


def _signing(key: PrivateKey) -> Callable[[bytes], bytes]:
    """What makes signature values with this key."""
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda octets: key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
    size, method = coordinate_bytes(key), ec.ECDSA(hashes.SHA256())

    def sign(octets: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(octets, method))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return sign


def public_key(der: bytes) -> PublicKey:
    """The key of a certificate; CertificateError where it is of another kind, or too short (SEC-07)."""
    read_der(der, "the signature")
    key = x509.load_der_x509_certificate(der).public_key()
    if not isinstance(key, PublicKey):
        raise CertificateError("the signature's certificate holds a key that makes no signatures")
    return key


def coordinate_bytes(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> int:
    """Length of each half of an ECDSA signature, which XML writes as r||s."""
    return (key.key_size + 7) // 8


@dataclass(frozen=True, slots=True)
class _Sealed:
    """The canonical oadrSignedObject of a message, and its digest."""

    octets: bytes
    digest: bytes


def _sealed(body: bytes) -> _Sealed:
    signed_object = parse(body, UNLIMITED).find(clark("oadr:oadrSignedObject"))
    if signed_object is None:
        raise ValueError("only an oadrPayload can be signed")
    signed_object.set(clark("oadr:Id"), _SIGNED_OBJECT_ID)
    octets = canonical(signed_object)
    return _Sealed(octets, _digest(octets))


_sealed_small = lru_cache(maxsize=4096)(_sealed)  # polls and their answers are the same each time


def canonical(element: etree._Element, *, exclusive: bool = False) -> bytes:
    """The element in canonical form, with the namespaces of its document; ValueError where it has none."""
    if None in element.nsmap:
        # a default namespace from above the element would be denied (`xmlns=""`) at its grandchildren:
        # libxml2 compares declarations by address, and lxml gives the apex copies of those above it
        element = parse(etree.tostring(element, with_tail=False), UNLIMITED)
    try:
        return etree.tostring(element, method="c14n", exclusive=exclusive, with_comments=False)
    except etree.C14NError as error:
        raise ValueError(f"there is no canonical form: {error}") from None


def _digest(octets: bytes) -> bytes:
    return base64.b64encode(sha256(octets).digest())
