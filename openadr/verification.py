"""Which bytes of a signed message may be believed (group SIG); see `openadr.signature` for its parts.

`verify` gives the canonical bytes that the signature covers, and what is acted on is read from them. The long
way is over the tree (`openadr.signed_tree`). A VEN's polls are built alike each time: where a poll of the
same shape (`openadr.shape`) was verified before, nothing is left but digests, time and signature value.
"""

import base64
import binascii
import re
import threading
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from lxml import etree

from openadr.errors import BadSignature
from openadr.parser import DEFAULT_LIMITS, Limits, namespaces_in_scope, validate, with_tree
from openadr.shape import MAX_HOLES, Shape, Template, marked, marker, taken_apart
from openadr.signed_tree import (
    DIGESTS,
    STRICT,
    Anatomy,
    Check,
    Part,
    Policy,
    Verified,
    anatomy,
    fresh,
    unsigned,
    verified,
)

__all__ = ["MAX_CANONICAL_COST", "Policy", "Verified", "verify"]

MAX_CANONICAL_COST = 5_000_000
"""Tags times the square of the namespaces in scope: a tenth of a second in libxml2. A day's report of twelve
points comes to 4,080,000 with twenty namespaces."""
MAX_SHAPES = 16  # of one sender: a poll, and what else it sends again and again
MAX_SENDERS = 1024
_SHAPE_BYTES = 4096
_CHECKED_HOLES = 5  # two digests, value, timestamp, nonce
_INSTANT = re.compile(rb"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z")  # as xs:dateTime


def verify(
    raw: bytes,
    signers: Collection[str],
    now: datetime,
    policy: Policy = STRICT,
    limits: Limits = DEFAULT_LIMITS,
) -> Verified:
    """What a signed body says, where one of `signers` (SHA-256 of certificates, hex) sent it just now.

    BadSignature where it is not signed as it must be; MalformedXml, SchemaInvalid or TooLarge where it would
    be no message without a signature either. The nonce is the caller's to remember. The body is to be
    decoded like any other: only the schema of the signature has been checked.
    """
    alike = b"oadrPoll" in raw and b"<!" not in raw and len(raw) <= _SHAPE_BYTES and not policy.lenient
    terms = (tuple(signers), policy, limits)
    if alike and (known := _recognised(raw, terms, now)) is not None:
        return known

    def check(root: etree._Element) -> Verified:
        try:
            _check_canonical_cost(raw)
            return verified(root, signers, now, policy)
        except BadSignature:
            validate(root)
            raise

    found = with_tree(raw, limits, check, validates=False)
    if alike:
        _remember(raw, terms)
    return found


def _check_canonical_cost(raw: bytes) -> None:
    """Refuse what would take long to canonicalise: libxml2 compares namespaces in scope at each element."""
    elements = raw.count(b"<")
    if raw.count(b"xmlns") ** 2 * elements <= MAX_CANONICAL_COST:
        return
    for count in namespaces_in_scope(raw):
        if count**2 * elements > MAX_CANONICAL_COST:
            raise BadSignature(f"{count} namespaces in scope of {elements} tags are too many to canonicalise")


_Terms = tuple[tuple[str, ...], Policy, Limits]


@dataclass(frozen=True, slots=True)
class _Covered:
    """A part that a digest covers: its canonical form, the digest's method and hole."""

    octets: Template
    method: str
    hole: int

    @classmethod
    def of(cls, part: Part, holes: dict[str, int]) -> "_Covered":
        """KeyError where the digest stands in no hole."""
        return cls(Template.read(part.octets), part.method, holes[part.digest])

    def covered(self, texts: list[bytes]) -> bytes:
        """The part with these texts; BadSignature."""
        octets = self.octets.filled(texts)
        if base64.b64encode(DIGESTS[self.method](octets).digest()) != texts[self.hole]:
            raise BadSignature("the digest is another one")
        return octets


@dataclass(frozen=True, slots=True)
class _Known:
    """A shape of which a message was verified: its parts, the holes that matter, who signs it."""

    message: _Covered
    replay: _Covered
    signed_info: Template
    value: int
    timestamp: int
    nonce: int
    signer: str
    check: Check

    @classmethod
    def of(cls, parts: Anatomy, holes: dict[str, int]) -> "_Known":
        """KeyError where a text that matters stands in no hole."""
        return cls(
            _Covered.of(parts.message, holes),
            _Covered.of(parts.replay, holes),
            Template.read(parts.signed_info),
            holes[parts.value],
            holes[parts.timestamp],
            holes[parts.nonce],
            parts.signer,
            parts.check,
        )


# By the whole shape and the terms, so an entry cannot be stale: certificates and clocks are looked at each
# time. The oldest go first; who polls on comes back. One sender's make no room by pushing out another's.
_shapes: dict[_Terms, dict[Shape, _Known]] = {}
_NONE: dict[Shape, _Known] = {}
_making_room = threading.Lock()


def _recognised(raw: bytes, terms: _Terms, now: datetime) -> Verified | None:
    """What a message says whose shape was verified on the same terms; None where that is not certain."""
    shape, texts = taken_apart(raw)
    known = _shapes.get(terms, _NONE).get(shape)
    if known is None or not _INSTANT.fullmatch(texts[known.timestamp]):
        return None
    nonce = texts[known.nonce].decode()
    try:
        signed_at = fresh(nonce, texts[known.timestamp].decode(), now, terms[1])
        content = known.message.covered(texts)
        known.replay.covered(texts)
        value = binascii.a2b_base64(texts[known.value], strict_mode=True)
        if binascii.b2a_base64(value, newline=False) != texts[known.value]:
            return None  # bits that say nothing, which the schema refuses
        known.check(value, known.signed_info.filled(texts))
    except (BadSignature, InvalidSignature, ValueError):
        return None  # the long way says what is wrong
    return Verified(unsigned(content), known.signer, nonce, signed_at)


def _remember(raw: bytes, terms: _Terms) -> None:
    """Keep the shape of a message that was verified on these terms, if all that matters stands in holes."""
    shape, texts = taken_apart(raw)
    if len(texts) > MAX_HOLES:
        return
    holes = {marker(hole).decode(): hole for hole in range(len(texts))}

    def read(root: etree._Element) -> _Known | None:
        parts = anatomy(root, terms[0], terms[1])
        try:
            return _Known.of(parts, holes) if parts is not None else None
        except KeyError:
            return None

    known = with_tree(marked(shape), terms[2], read, validates=False)
    if known is None or len(texts) != _CHECKED_HOLES + len(known.message.octets.holes):
        return  # a text elsewhere in the signature would be held against its schema only once
    with _making_room:
        if terms not in _shapes:
            _make_room(_shapes, MAX_SENDERS)
        own = _shapes.setdefault(terms, {})
        _make_room(own, MAX_SHAPES)
        own[shape] = known


def _make_room(kept: dict[Any, Any], most: int) -> None:
    while len(kept) >= most:
        del kept[next(iter(kept))]
