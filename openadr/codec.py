"""decode and encode: XML to messages and back, from the path that each field names.

Nothing here knows a message. `plan(cls)` reads the fields of a class once and makes two things of it: a table
of tags to read an element, and a list of writers in the order of the schema. What arrives is validated before
it is read, so reading asks no questions of its own except those that the schema cannot answer.
"""

from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from functools import cache, lru_cache

from lxml import etree

from openadr import event, opt, registration, report, response
from openadr.alike import find_alike
from openadr.enums import ResponseRequired
from openadr.errors import (
    EncodeError,
    InvalidData,
    ProtocolError,
    SchemaInvalid,
    TooLarge,
    TransportError,
)
from openadr.event import DistributeEvent, Event, UnreadableEvent
from openadr.parser import DEFAULT_LIMITS, Limits, count_nodes, readable_name, validate, with_tree
from openadr.plan import Plan, plan
from openadr.response import Response
from openadr.wire import NAMESPACE_20A, NAMESPACES, Message, clark

SCHEMA_VERSION = "2.0b"
_CACHED_BODY_BYTES = 2048
_CACHED_BODIES = 4096

_PAYLOAD = clark("oadr:oadrPayload")
_SIGNED_OBJECT = clark("oadr:oadrSignedObject")
_SCHEMA_VERSION = clark("ei:schemaVersion")
_DATA, _METADATA = clark("oadr:oadrUpdateReport"), clark("oadr:oadrRegisterReport")
_PARTS = (clark("oadr:oadrReport"), clark("oadr:oadrReportRequest"))
_EVENT = clark("oadr:oadrEvent")
_DESCRIPTOR = f"{clark('ei:eiEvent')}/{clark('ei:eventDescriptor')}"


@cache
def messages() -> dict[str, type]:
    """Every message class by the tag of its element."""
    classes = [
        value
        for module in (event, opt, registration, report, response)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Message) and value is not Message
    ]
    return {clark(f"oadr:oadr{cls.__name__}"): cls for cls in classes}


def decode(raw: bytes, limits: Limits = DEFAULT_LIMITS, *, bare: bool = True) -> Message:
    """The message in a body; a ProtocolError where the profile does not allow it.

    Takes oadrPayload/oadrSignedObject, and the bare element if `bare` (GEN-03). TransportErrors are answered
    by their HTTP status, the others carry the name of the message, so that the matching payload can answer.
    The same small bytes give the same value, without parsing them again.
    """
    if len(raw) <= _CACHED_BODY_BYTES and limits is DEFAULT_LIMITS:
        return _decode_small(bytes(raw), bare)
    return _decode(raw, limits, bare)


@lru_cache(maxsize=_CACHED_BODIES)
def _decode_small(raw: bytes, bare: bool) -> Message:
    return _decode(raw, DEFAULT_LIMITS, bare)


def _decode(raw: bytes, limits: Limits, bare: bool) -> Message:
    alike = find_alike(raw, limits)
    if alike is not None:
        with suppress(ProtocolError):  # the whole body tells the fault
            message = alike.complete(_decode_whole(alike.body, limits, bare))
            if message is not None:
                return message
    return _decode_whole(raw, limits, bare)


def _decode_whole(raw: bytes, limits: Limits, bare: bool) -> Message:
    def read_tree(root: etree._Element) -> Message:
        check_size(raw, root, limits)
        validate(root)
        if not bare and root.tag != _PAYLOAD:
            raise SchemaInvalid(f"element {readable_name(root.tag)}: not inside oadrPayload", rule="GEN-03")
        return read(payload_element(root), limits)

    return with_tree(raw, limits, read_tree)


def check_size(raw: bytes, root: etree._Element, limits: Limits) -> None:
    """Refuses a body that is too large for its message, or that holds too many reports or requests."""
    payload = payload_element(root)
    if len(raw) > limits.max_bytes and payload.tag not in (_DATA, _METADATA):
        raise TooLarge(f"body of {len(raw)} bytes, the limit is {limits.max_bytes}")
    parts = sum(1 for _ in payload.iterchildren(*_PARTS))
    if parts <= 1 and payload.tag != _METADATA:
        return
    nodes = count_nodes(root)
    if payload.tag == _METADATA and nodes > limits.max_metadata_nodes:
        text = f"{nodes} elements and attributes of metadata, the limit is {limits.max_metadata_nodes}"
        raise TooLarge(text)
    weight = nodes + limits.part_nodes * parts
    if parts > 1 and weight > limits.max_nodes:
        raise TooLarge(
            f"{nodes} elements and attributes in {parts} reports weigh {weight}, "
            f"the limit is {limits.max_nodes}"
        )


def payload_element(root: etree._Element) -> etree._Element:
    """The message's own element: the root, or what stands below oadrPayload/oadrSignedObject."""
    element = root
    if element.tag == _PAYLOAD:
        found = element.find(_SIGNED_OBJECT)
        element = root if found is None else found
    if element.tag == _SIGNED_OBJECT and len(element):
        element = element[0]
    return element


def profile(root: etree._Element) -> str | None:
    """`2.0b`, `2.0a`, or None for a stranger's namespace."""
    namespace = etree.QName(root).namespace
    return {NAMESPACES["oadr"]: "2.0b", NAMESPACE_20A: "2.0a"}.get(namespace or "")


def read(element: etree._Element, limits: Limits = DEFAULT_LIMITS) -> Message:
    """The message that a validated element holds."""
    cls = messages().get(element.tag)
    if cls is None:
        raise SchemaInvalid(f"element {readable_name(element.tag)}: not a message of OpenADR 2.0b")
    try:
        message: Message = plan(cls).read(element, limits.max_id_chars)
    except ProtocolError as error:
        found = _read_around(element, limits) if cls is DistributeEvent else None
        if found is not None:
            return found
        error.message_name = cls.__name__
        error.request_id = _text(element, "pyld:requestID")
        error.opt_id = _text(element, "ei:optID")
        raise
    return message


def _text(element: etree._Element, name: str) -> str:
    """What the first element of this name says."""
    return next((found.text or "" for found in element.iter(clark(name))), "")


def _read_around(element: etree._Element, limits: Limits) -> DistributeEvent | None:
    """The message with the events that can be read, the others as `unreadable`; None: the fault lies outside.

    One event with an impossible duration must not hide the others from a VEN (VEX-11).
    """
    rest, unreadable = deepcopy(element), []
    for child in rest.findall(_EVENT):
        try:
            plan(Event).read(child, limits.max_id_chars)
        except ProtocolError as error:
            unreadable.append(_unreadable(child, error))
            rest.remove(child)
    if not unreadable:
        return None
    message: DistributeEvent = plan(DistributeEvent).read(rest, limits.max_id_chars)
    return replace(message, unreadable=tuple(unreadable))


def _unreadable(element: etree._Element, error: ProtocolError) -> UnreadableEvent:
    return UnreadableEvent(
        event_id=element.findtext(f"{_DESCRIPTOR}/{clark('ei:eventID')}") or "",
        modification_number=int(element.findtext(f"{_DESCRIPTOR}/{clark('ei:modificationNumber')}") or 0),
        response_required=ResponseRequired(
            (element.findtext(clark("oadr:oadrResponseRequired")) or "").strip()
        ),
        code=error.code if not isinstance(error, TransportError) else InvalidData.code,
        description=error.description,
        rule=error.rule or "GEN-15",
    )


def encode(message: Message) -> bytes:
    """The message as unsigned oadrPayload, valid under the schema; EncodeError where a value forbids it."""
    return _encode_response(message) if type(message) is Response else _encode(message)


@lru_cache(maxsize=_CACHED_BODIES)
def _encode_response(message: Response) -> bytes:
    """A VTN answers each poll of a VEN with the same Response."""
    return _encode(message)


def _encode(message: Message) -> bytes:
    cls: type = type(message)
    written = plan(cls)
    root = etree.Element(_PAYLOAD, nsmap=_namespaces(written))
    signed_object = etree.SubElement(root, _SIGNED_OBJECT)
    element = etree.SubElement(signed_object, clark(f"oadr:oadr{cls.__name__}"))
    element.set(_SCHEMA_VERSION, SCHEMA_VERSION)
    try:
        written.write(message, element)
    except EncodeError:
        raise
    except ValueError as error:
        raise EncodeError(f"{cls.__name__}: {error}") from None
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


@cache
def _namespaces(written: Plan) -> dict[str, str]:
    prefixes = {"oadr", "ei", *written.prefixes()}
    return {prefix: NAMESPACES[prefix] for prefix in sorted(prefixes)}
