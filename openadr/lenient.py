"""What is forgiven to a peer that is known to deviate, and only to such a peer: off by default.

Three deviations that are common in the field, each found and named by its rule when it is forgiven:

    GEN-04   `schemaVersion` without its namespace, or with a version that never was: taken for 2.0b
    GEN-03   the bare element in place of oadrPayload/oadrSignedObject
    ERR-06   a response code whose first digit is not 2, 4 or 5 (`000`): taken for 200

Everything else is as strict as `openadr.decode`. What is forgiven is never sent.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from lxml import etree

from openadr.codec import SCHEMA_VERSION, check_size, payload_element, read
from openadr.event import CreatedEvent, EventResponse
from openadr.finding import Finding
from openadr.parser import DEFAULT_LIMITS, Limits, validate, with_tree
from openadr.response import EiResponse
from openadr.wire import Message, clark

Forgiven = tuple[Message, tuple[Finding, ...]]
Coded = TypeVar("Coded", EiResponse, EventResponse)

_CACHED_BODY_BYTES = 2048
_PAYLOAD = clark("oadr:oadrPayload")
_VERSION = clark("ei:schemaVersion")
_BARE_VERSION = "schemaVersion"


def decode(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> Forgiven:
    """The message in a body and what had to be forgiven; a ProtocolError as from `openadr.decode`."""
    if len(raw) <= _CACHED_BODY_BYTES and limits is DEFAULT_LIMITS:
        return _decode_small(bytes(raw))
    return _decode(raw, limits)


@lru_cache(maxsize=1024)
def _decode_small(raw: bytes) -> Forgiven:
    return _decode(raw, DEFAULT_LIMITS)


def _decode(raw: bytes, limits: Limits) -> Forgiven:
    def read_tree(root: etree._Element) -> Forgiven:
        check_size(raw, root, limits)
        findings = [*_mend_version(root), *_bare(root)]
        validate(root)
        message, codes = _mend_codes(read(payload_element(root), limits))
        return message, (*findings, *codes)

    return with_tree(raw, limits, read_tree)


def _mend_version(root: etree._Element) -> Iterable[Finding]:
    """Give the payload the attribute that it should have."""
    payload = payload_element(root)
    qualified = payload.get(_VERSION)
    if payload.get(_BARE_VERSION) is not None:
        del payload.attrib[_BARE_VERSION]
        payload.set(_VERSION, SCHEMA_VERSION)
        yield _warning("GEN-04", "schemaVersion is not qualified by its namespace")
    elif qualified not in (None, SCHEMA_VERSION):
        payload.set(_VERSION, SCHEMA_VERSION)
        yield _warning("GEN-04", "schemaVersion is not 2.0b")


def _bare(root: etree._Element) -> Iterable[Finding]:
    if root.tag != _PAYLOAD:
        yield _warning("GEN-03", "not inside oadrPayload/oadrSignedObject")


def _mend_codes(message: Message) -> Forgiven:
    """The message with codes that say success where they said neither success nor error."""
    findings: list[Finding] = []
    response = getattr(message, "response", None)
    if isinstance(response, EiResponse):
        mended = _mend_code(response, findings)
        if mended is not response:
            changed: Any = message  # every message is a dataclass
            message = replace(changed, response=mended)
    if isinstance(message, CreatedEvent):
        answers = tuple(_mend_code(answer, findings) for answer in message.event_responses)
        if answers != message.event_responses:
            message = replace(message, event_responses=answers)
    return message, tuple(findings[:1])


def _mend_code(coded: Coded, findings: list[Finding]) -> Coded:
    if coded.code[0] in "245":
        return coded
    findings.append(_warning("ERR-06", "responseCode is neither success nor error"))
    return replace(coded, code="200")


def _warning(rule: str, text: str) -> Finding:
    return Finding(rule, text, warning=True)
