"""How a field says where it stands in the XML: namespaces, the path of a field, the base class of messages.

A message class mirrors one element of the 2.0b schema, its fields stand in the order of the schema, and every
field names its path below that element. `codec` reads these paths; nothing else in the package knows XML.

Path grammar, steps joined by `/`:
    ei:venID                         a child element
    xcal:dtstart/xcal:date-time      a child of a child
    power:meterAsset*/power:mrid     `*` marks the step that repeats (default for a tuple: the last step)
    oadr:oadrPendingReports!/...     `!` marks a container that is written even when it is empty
    @gml:id                          an attribute
    :itemUnits                       a child in the namespace of the element that holds it
    ?                                the name of the element itself
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

NAMESPACES: Mapping[str, str] = MappingProxyType(
    {
        "oadr": "http://openadr.org/oadr-2.0b/2012/07",
        "ei": "http://docs.oasis-open.org/ns/energyinterop/201110",
        "pyld": "http://docs.oasis-open.org/ns/energyinterop/201110/payloads",
        "emix": "http://docs.oasis-open.org/ns/emix/2011/06",
        "power": "http://docs.oasis-open.org/ns/emix/2011/06/power",
        "scale": "http://docs.oasis-open.org/ns/emix/2011/06/siscale",
        "xcal": "urn:ietf:params:xml:ns:icalendar-2.0",
        "strm": "urn:ietf:params:xml:ns:icalendar-2.0:stream",
        "gml": "http://www.opengis.net/gml/3.2",
        "atom": "http://www.w3.org/2005/Atom",
        "ds": "http://www.w3.org/2000/09/xmldsig#",
        "dsp": "http://openadr.org/oadr-2.0b/2012/07/xmldsig-properties",
        "xsi": "http://www.w3.org/2001/XMLSchema-instance",
    }
)
NAMESPACE_20A = "http://openadr.org/oadr-2.0a/2012/07"


class Message:
    """Base of everything that can be the payload of a request or a response."""

    __slots__ = ()


def clark(step: str) -> str:
    """`ei:venID` as `{namespace}venID`."""
    prefix, _, local = step.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


def xml(
    *paths: str,
    then: str | None = None,
    extends: type[StrEnum] | None = None,
    collapse: bool = False,
    keep_empty: bool = False,
) -> Mapping[str, Any]:
    """Metadata of a field: its path (several where the schema allows one of several elements).

    `then` names an empty element that the schema wants behind this field. `extends` is the list of a text
    that is one of a list or starts with `x-`. `collapse` removes white space around a text (the schema does
    for `anyURI`). `keep_empty`: an empty element is an empty text, although the field may be None.
    """
    return MappingProxyType(
        {"xml": paths, "then": then, "extends": extends, "collapse": collapse, "keep_empty": keep_empty}
    )
