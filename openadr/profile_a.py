"""OpenADR 2.0a on the wire, seen through the 2.0b schema.

No 2.0a schema can be shipped, and none is needed: 2.0a is its four event messages, in another namespace, with
fewer elements. A 2.0a tree is checked by what it must not or must have (A20-02 to A20-06), then moved into
the 2.0b namespace and validated there; what comes out is read by the same plans. Divergences:
docs/openadr-divergences.md.
"""

from copy import deepcopy

from lxml import etree

from openadr.enums import SignalName
from openadr.errors import SchemaInvalid
from openadr.parser import readable_name
from openadr.wire import NAMESPACE_20A, NAMESPACES, clark

MESSAGES = ("oadrRequestEvent", "oadrDistributeEvent", "oadrCreatedEvent", "oadrResponse")

_ONLY_IN_B = (
    *(
        clark(f"ei:{name}")
        for name in ("modificationDateTime", "modificationReason", "eiEventBaseline", "groupName")
    ),
    clark("emix:serviceArea"),
)
_ONLY_IN_B_NAMESPACES = tuple(f"{{{NAMESPACES[prefix]}}}" for prefix in ("power", "scale", "gml", "atom"))
_NEEDED = (
    (clark("ei:interval"), clark("xcal:duration")),
    (clark("ei:interval"), clark("xcal:uid")),
    (clark("ei:eiEventSignal"), clark("ei:currentValue")),
)
_FORBIDDEN_CHILDREN = (
    (clark("ei:interval"), clark("xcal:dtstart")),
    (clark("ei:eiEventSignal"), clark("ei:eiTarget")),
    (f"{{{NAMESPACE_20A}}}oadrResponse", clark("ei:venID")),
)


def as_profile_b(root: etree._Element) -> etree._Element:
    """A copy of the message in the 2.0b namespace; SchemaInvalid for what 2.0a does not have."""
    name = etree.QName(root).localname
    if name not in MESSAGES:
        raise SchemaInvalid(f"element {name}: not a message of OpenADR 2.0a")
    _check(root)
    moved = deepcopy(root)
    for element in moved.iter(f"{{{NAMESPACE_20A}}}*"):
        element.tag = f"{{{NAMESPACES['oadr']}}}{etree.QName(element).localname}"
    for element in moved.iter(clark("ei:signalName")):
        if element.text not in set(SignalName):
            element.text = f"x-{element.text or 'none'}"  # 2.0a has any text here
    for element in moved.iter(clark("ei:signalType")):
        if element.text == "product":
            element.text = "price"  # a word that 2.0b has no more (Appendix D.14)
    return moved


def _check(root: etree._Element) -> None:
    if root.get(clark("ei:schemaVersion")) is not None:
        raise SchemaInvalid("attribute ei:schemaVersion: not in OpenADR 2.0a")
    for element in root.iter("*"):
        if element.tag in _ONLY_IN_B or element.tag.startswith(_ONLY_IN_B_NAMESPACES):
            raise SchemaInvalid(_text(element, "not in OpenADR 2.0a"))
        for parent, child in _NEEDED:
            if element.tag == parent and element.find(child) is None:
                raise SchemaInvalid(_text(element, f"{readable_name(child)} is missing"))
        for parent, child in _FORBIDDEN_CHILDREN:
            found = element.find(child) if element.tag == parent else None
            if found is not None:
                raise SchemaInvalid(_text(found, "not here in OpenADR 2.0a"))


def _text(element: etree._Element, what: str) -> str:
    return f"element {readable_name(element.tag)}: {what}, line {element.sourceline}"
