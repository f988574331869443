"""Foreign XML (Green Button feeds) to XmlNode and back."""

from typing import cast

from lxml import etree

from openadr.item_base import XmlNode
from openadr.wire import clark

_XSI_TYPE = clark("xsi:type")
_TYPE_PREFIX = "type"


def read_tree(element: etree._Element) -> XmlNode:
    """The element with all that it holds; white space between elements is left out."""
    children = tuple(map(read_tree, element))
    text = element.text or ""
    tail = element.tail or ""
    attributes = cast("list[tuple[str, str]]", sorted(element.items()))  # bytes are for writing only
    if any(name == _XSI_TYPE for name, _ in attributes):
        attributes = [(name, _value(element, name, value)) for name, value in attributes]
    return XmlNode(
        element.tag,
        tuple(attributes),
        "" if children and not text.strip() else text,
        children,
        tail if tail.strip() else "",
    )


def write_tree(node: XmlNode, parent: etree._Element) -> None:
    """Appends the element to `parent`."""
    element = etree.SubElement(parent, node.tag, nsmap=_type_namespace(node))
    for name, value in node.attributes:
        typed = name == _XSI_TYPE and value.startswith("{")
        element.set(name, f"{_TYPE_PREFIX}:{value.partition('}')[2]}" if typed else value)
    element.text = node.text or None
    element.tail = node.tail or None
    for child in node.children:
        write_tree(child, element)


def _type_namespace(node: XmlNode) -> dict[str, str] | None:
    """The prefix that the value of an xsi:type needs."""
    value = dict(node.attributes).get(_XSI_TYPE, "")
    return {_TYPE_PREFIX: value[1:].partition("}")[0]} if value.startswith("{") else None


def _value(element: etree._Element, name: str, value: str) -> str:
    """Value of an attribute; a qualified name in it gets its namespace instead of its prefix."""
    if name != _XSI_TYPE:
        return value
    prefix, _, local = value.strip().rpartition(":")
    namespace = element.nsmap.get(prefix or None)
    return f"{{{namespace}}}{local}" if namespace else local
