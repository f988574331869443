"""The tree of a signed message: what its signature covers, who made it, and when.

Rules: `verified` gives the canonical bytes that the signature covers, and what is acted on is read from them.
Nothing is looked up by an Id: the message is the second child of oadrPayload, the nonce is in the one
ReplayProtect of the one ds:Object, and the two references must name these two elements (SIG-09). The key is
the one of a certificate that the caller knows already; KeyInfo only says which. Everything that is not
expected is refused, so other transforms, methods and places need no list of their own.
"""

import base64
import hmac
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha1, sha256
from types import MappingProxyType
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from lxml import etree

from openadr import signature as words
from openadr.errors import BadSignature, CertificateError, InvalidData
from openadr.interval import parse_instant
from openadr.parser import validate
from openadr.security import fingerprint
from openadr.signature import PublicKey, canonical, coordinate_bytes, public_key
from openadr.wire import NAMESPACES, clark

MAX_NONCE_CHARS = 128

_PAYLOAD = clark("oadr:oadrPayload")
_HEAD = f'<oadr:oadrPayload xmlns:oadr="{NAMESPACES["oadr"]}">'.encode()
_TAIL = b"</oadr:oadrPayload>"
_SIGNED_OBJECT = clark("oadr:oadrSignedObject")
_ID = clark("oadr:Id")
_SIGNATURE, _SIGNED_INFO = clark("ds:Signature"), clark("ds:SignedInfo")
_OBJECT, _REPLAY_PROTECT = clark("ds:Object"), clark("dsp:ReplayProtect")
_PROPERTIES = (_OBJECT, clark("ds:SignatureProperties"), clark("ds:SignatureProperty"))
_ONCE = (_SIGNED_OBJECT, _SIGNATURE, _SIGNED_INFO, _OBJECT, _REPLAY_PROTECT)
_WITHIN = {"ds": NAMESPACES["ds"]}
_ids = etree.XPath(
    "//@*[local-name() = 'Id' or local-name() = 'ID' or local-name() = 'id']", smart_strings=False
)


@dataclass(frozen=True, slots=True)
class Policy:
    """What is accepted. `window`: how far the time of sending may lie from now, to either side (SIG-05).

    `sha1` allows the methods with SHA-1 (SIG-07). `lenient` is for one known peer: exclusive C14N, and
    ReplayProtect missing or unsigned, in which case there is no protection against replay (SIG-03).
    """

    window: timedelta = timedelta(seconds=60)
    sha1: bool = False
    lenient: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """What a valid signature says: the message in the bytes that it covers, who signed, when, and a nonce.

    `body` is an unsigned payload for `openadr.decode`. `nonce` is None only for a lenient peer without signed
    ReplayProtect.
    """

    body: bytes
    fingerprint: str
    nonce: str | None
    signed_at: datetime


Check = Callable[[bytes, bytes], None]
"""Takes a signature value, r||s for ECDSA, and the bytes that it is of; InvalidSignature."""
STRICT = Policy()
_SIGNATURE_METHODS: Mapping[str, tuple[type[PublicKey], hashes.HashAlgorithm]] = MappingProxyType(
    {
        words.RSA_SHA256: (rsa.RSAPublicKey, hashes.SHA256()),
        words.ECDSA_SHA256: (ec.EllipticCurvePublicKey, hashes.SHA256()),
        words.RSA_SHA1: (rsa.RSAPublicKey, hashes.SHA1()),  # noqa: S303 - by explicit option only
        words.ECDSA_SHA1: (ec.EllipticCurvePublicKey, hashes.SHA1()),  # noqa: S303 - by explicit option only
    }
)
DIGESTS: Mapping[str, Any] = MappingProxyType({words.SHA256: sha256, words.SHA1: sha1})
_OLD = frozenset({words.RSA_SHA1, words.ECDSA_SHA1, words.SHA1})


def unsigned(content: bytes) -> bytes:
    """The payload around an oadrSignedObject in these bytes."""
    return _HEAD + content + _TAIL


def _octets(element: etree._Element) -> bytes:
    """What an element holds in base64; the schema lets a little more pass."""
    try:
        return base64.b64decode(element.text or "")
    except ValueError:
        raise BadSignature(f"{etree.QName(element).localname} is not base64") from None


def verified(root: etree._Element, signers: Collection[str], now: datetime, policy: Policy) -> Verified:
    """What a valid signature says; BadSignature."""
    signature, message = _parts(root)
    references = _references(signature[0], policy)
    content = _covered(message, message.get(_ID), references, policy)
    replay = _replay_protect(signature, references, policy)
    if references:
        raise BadSignature(f"a reference to {next(iter(references))[:80]!r}, which is no part of ours")
    nonce, signed_at = (None, now) if replay is None else _nonce_and_time(replay, now, policy)
    signer = _check_value(signature, signers, policy)
    return Verified(unsigned(content), signer, nonce, signed_at)


def _parts(root: etree._Element) -> tuple[etree._Element, etree._Element]:
    """Signature and oadrSignedObject of a payload that holds these two and neither of them twice."""
    if root.tag != _PAYLOAD or [child.tag for child in root] != [_SIGNATURE, _SIGNED_OBJECT]:
        raise BadSignature("the message is not signed")
    once = [element.tag for element in root.iter(*_ONCE)]
    if len(once) != len(set(once)):
        raise BadSignature("parts of a signature or a message stand there twice")
    ids = _ids(root)
    if isinstance(ids, list) and len(ids) != len(set(ids)):
        raise BadSignature("an Id is not unique")
    if root.attrib or any((text or "").strip() for text in (root.text, root[0].tail, root[1].tail)):
        validate(root)
    validate(root[0])
    return root[0], root[1]


@dataclass(frozen=True, slots=True)
class _Reference:
    """How an element was brought into bytes, and the digest that these must have."""

    exclusive: bool
    method: str
    digest: bytes


def _references(signed_info: etree._Element, policy: Policy) -> dict[str, _Reference]:
    """The references by URI."""
    _, _, *elements = signed_info
    references = {str(element.get("URI")): _reference(element, policy) for element in elements}
    if len(references) != len(elements):
        raise BadSignature("two references lead to the same part")
    return references


def _reference(element: etree._Element, policy: Policy) -> _Reference:
    *transforms, method, value = element
    steps = [_c14n(step, policy) for step in (transforms[0] if transforms else ())]
    if len(steps) > 1:
        raise BadSignature("a reference has more than one transform")
    return _Reference(
        exclusive=steps == [True],
        method=_algorithm(method, DIGESTS, policy),
        digest=_octets(value),
    )


def _c14n(element: etree._Element, policy: Policy) -> bool:
    """Whether canonicalisation is the exclusive one; comments are gone when it comes to that."""
    algorithm = str(element.get("Algorithm"))
    plain = algorithm.removesuffix("#WithComments").removesuffix("WithComments")
    if not len(element) and plain == words.INCLUSIVE_C14N:
        return False
    if not len(element) and plain == words.EXCLUSIVE_C14N and policy.lenient:
        return True
    raise BadSignature(f"{algorithm[:80]} is not inclusive C14N 1.0 without parameters")


def _algorithm(element: etree._Element, known: Mapping[str, Any], policy: Policy) -> str:
    algorithm = str(element.get("Algorithm"))
    if algorithm not in known or len(element) or (algorithm in _OLD and not policy.sha1):
        raise BadSignature(f"the method {algorithm[:80]} is not accepted")
    return algorithm


def _covered(
    element: etree._Element, name: str | None, references: dict[str, _Reference], policy: Policy
) -> bytes:
    """The canonical bytes of an element, whose reference is taken from `references`."""
    reference = references.pop(f"#{name}", None) if name else None
    if reference is None:
        raise BadSignature(f"the signature does not cover {etree.QName(element).localname}")
    octets = _canonical(element, exclusive=reference.exclusive)
    if not hmac.compare_digest(DIGESTS[reference.method](octets).digest(), reference.digest):
        raise BadSignature(f"the digest of {etree.QName(element).localname} is another one")
    return octets


def _canonical(element: etree._Element, *, exclusive: bool) -> bytes:
    try:
        return canonical(element, exclusive=exclusive)
    except ValueError as error:
        raise BadSignature(str(error)) from None


def _replay_protect(
    signature: etree._Element, references: dict[str, _Reference], policy: Policy
) -> etree._Element | None:
    """The ReplayProtect that a reference covers; None where a lenient peer has none."""
    replay = next(signature.iter(_REPLAY_PROTECT), None)
    element = None if replay is None else _cover(replay, references)
    if element is not None:
        _covered(element, element.get("Id"), references, policy)
        return replay
    if policy.lenient:
        return None
    raise BadSignature("there is no signed ReplayProtect")


def _cover(replay: etree._Element, references: Collection[str]) -> etree._Element | None:
    """The element around ReplayProtect that a reference leads to."""
    above = list(replay.iterancestors())[::-1][2:]
    if tuple(element.tag for element in above) not in (_PROPERTIES, _PROPERTIES[:1]):
        return None
    return next((element for element in above if f"#{element.get('Id')}" in references), None)


def _nonce_and_time(replay: etree._Element, now: datetime, policy: Policy) -> tuple[str, datetime]:
    names = [clark("dsp:timestamp"), clark("dsp:nonce")]
    if [child.tag for child in replay] != names or any(len(child) for child in replay):
        raise BadSignature("ReplayProtect does not hold timestamp and nonce")
    return replay[1].text or "", fresh(replay[1].text or "", (replay[0].text or "").strip(), now, policy)


def fresh(nonce: str, timestamp: str, now: datetime, policy: Policy) -> datetime:
    """When a message was signed, its nonce being one that can be kept."""
    if not 0 < len(nonce) <= MAX_NONCE_CHARS:
        raise BadSignature(f"a nonce of {len(nonce)} characters")
    try:
        signed_at = parse_instant(timestamp)
    except InvalidData as error:
        raise BadSignature(f"timestamp: {error}") from None
    if abs(now - signed_at) > policy.window:
        skew_s = (signed_at - now).total_seconds()
        limit_s = policy.window.total_seconds()
        raise BadSignature(
            f"the clocks differ: signed {skew_s:+.0f} s from now, {limit_s:.0f} s are allowed", rule="SIG-05"
        )
    return signed_at


def _check_value(signature: etree._Element, signers: Collection[str], policy: Policy) -> str:
    """Whose key made the signature value, SHA-256 of his certificate."""
    signed_info, value = signature[0], signature[1]
    exclusive = _c14n(signed_info[0], policy)
    signer, check = _signed_by(signature, signers, policy)
    octets = _canonical(signed_info, exclusive=exclusive)
    try:
        check(_octets(value), octets)
    except InvalidSignature:
        raise BadSignature("the signature value is not of this message and this key") from None
    return signer


def _signed_by(signature: etree._Element, signers: Collection[str], policy: Policy) -> tuple[str, Check]:
    """Who signed, and what checks the value."""
    method = signature[0][1]
    kind, digest = _SIGNATURE_METHODS[_algorithm(method, _SIGNATURE_METHODS, policy)]
    signer, key = _signer(signature, signers)
    if not isinstance(key, kind):
        raise BadSignature("the signature's method does not fit the key of the certificate")
    return signer, checking(key, digest)


def checking(key: PublicKey, digest: hashes.HashAlgorithm) -> Check:
    """What checks signature values of this key and method."""
    if isinstance(key, rsa.RSAPublicKey):
        return lambda value, octets: key.verify(value, octets, padding.PKCS1v15(), digest)
    size, method = coordinate_bytes(key), ec.ECDSA(digest)

    def check(value: bytes, octets: bytes) -> None:
        if len(value) != 2 * size:
            raise InvalidSignature
        r, s = (int.from_bytes(half, "big") for half in (value[:size], value[size:]))
        key.verify(encode_dss_signature(r, s), octets, method)

    return check


def _signer(signature: etree._Element, signers: Collection[str]) -> tuple[str, PublicKey]:
    """The first certificate of KeyInfo that is one of `signers`."""
    path = "ds:KeyInfo/ds:X509Data/ds:X509Certificate"
    for element in signature.iterfind(path, _WITHIN):
        der = _octets(element)
        name = fingerprint(der)
        if name in signers:
            return name, _key(der)
    raise BadSignature("the signer's certificate is not the one of the peer", rule="SIG-08")


@lru_cache(maxsize=4096)
def _key(der: bytes) -> PublicKey:
    """The key of a certificate that is known."""
    try:
        return public_key(der)
    except CertificateError as error:
        raise BadSignature(str(error)) from None


@dataclass(frozen=True, slots=True)
class Part:
    """An element that a digest covers: its canonical form, the digest's method, the digest as it stands."""

    octets: bytes
    method: str
    digest: str


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The parts of a message as texts, who signs them, and what checks that."""

    message: Part
    replay: Part
    signed_info: bytes
    value: str
    timestamp: str
    nonce: str
    signer: str
    check: Check


def anatomy(root: etree._Element, signers: Collection[str], policy: Policy) -> Anatomy | None:
    """The parts of a message that is built like one that was verified, none of them checked.

    None: its ReplayProtect is not covered.
    """
    signature, message = root
    signed_info = signature[0]
    replay = next(signature.iter(_REPLAY_PROTECT))
    digests = {str(element.get("URI")): element for element in list(signed_info)[2:]}
    cover = _cover(replay, digests)
    if cover is None:
        return None
    message_digest, cover_digest = digests[f"#{message.get(_ID)}"], digests[f"#{cover.get('Id')}"]
    signer, check = _signed_by(signature, signers, policy)
    return Anatomy(
        _part(message, message_digest, policy),
        _part(cover, cover_digest, policy),
        _canonical(signed_info, exclusive=_c14n(signed_info[0], policy)),
        signature[1].text or "",
        replay[0].text or "",
        replay[1].text or "",
        signer,
        check,
    )


def _part(element: etree._Element, reference: etree._Element, policy: Policy) -> Part:
    told = _reference(reference, policy)
    return Part(_canonical(element, exclusive=told.exclusive), told.method, reference[-1].text or "")
