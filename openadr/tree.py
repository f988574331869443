"""Foreign XML (Green Button feeds) to XmlNode and back."""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from lxml import etree

from openadr.item_base import XmlNode
from openadr.text import escape, escape_attribute
from openadr.wire import clark

_XSI_TYPE = clark("xsi:type")
# every name that the parser takes, and none with a sign of markup; libxml2's own check knows older names only
_LOCAL = re.compile(r"(?![-.0-9])[^\s!-,/:-@\[-^`{-~\x00-\x20\x7f\ud800-\udfff\ufffe\uffff]+")
_NOTHING: Mapping[str, str] = MappingProxyType({"http://www.w3.org/XML/1998/namespace": "xml"})


def read_tree(element: etree._Element) -> XmlNode:
    """The element with all that it holds; white space between elements is left out."""
    children = tuple(read_tree(child) for child in element)
    text = element.text or ""
    tail = element.tail or ""
    return XmlNode(
        tag=element.tag,
        attributes=tuple(
            sorted((str(name), _value(element, str(name), str(value))) for name, value in element.items())
        ),
        text="" if children and not text.strip() else text,
        children=children,
        tail=tail if tail.strip() else "",
    )


def write_tree(node: XmlNode, out: list[str], scope: Mapping[str, str] = _NOTHING) -> None:
    """Appends the element to `out`; ValueError where it has a name that XML does not allow.

    `scope` has the prefixes by namespace that stand above it.
    """
    declared: dict[str, str] = {}
    name = _prefixed(node.tag, scope, declared)
    given = [_attribute(*attribute, scope, declared) for attribute in node.attributes]
    spaces = [f' xmlns:{prefix}="{escape_attribute(uri)}"' for uri, prefix in declared.items()]
    start = "".join((name, *spaces, *given))
    if node.text or node.children:
        out.append(f"<{start}>{escape(node.text)}")
        inner = {**scope, **declared} if declared else scope
        for child in node.children:
            write_tree(child, out, inner)
        out.append(f"</{name}>{escape(node.tail)}")
    else:
        out.append(f"<{start}/>{escape(node.tail)}")


def _attribute(name: str, value: str, scope: Mapping[str, str], declared: dict[str, str]) -> str:
    if name == _XSI_TYPE and value.startswith("{"):
        uri, _, local = value[1:].partition("}")
        value = f"{_prefix(uri, scope, declared)}{local}"
    return f' {_prefixed(name, scope, declared)}="{escape_attribute(value)}"'


def _prefixed(name: str, scope: Mapping[str, str], declared: dict[str, str]) -> str:
    uri, local = _parted(name)
    return f"{_prefix(uri, scope, declared)}{local}"


def _prefix(uri: str, scope: Mapping[str, str], declared: dict[str, str]) -> str:
    """The prefix of a namespace with its colon, declared where it is new."""
    if not uri:
        return ""
    prefix = scope.get(uri) or declared.get(uri)
    if prefix is None:
        prefix = declared[uri] = f"ns{len(scope) + len(declared) - len(_NOTHING)}"
    return f"{prefix}:"


@lru_cache(maxsize=1024)
def _parted(name: str) -> tuple[str, str]:
    """Namespace and local name; ValueError where it may be no name in XML."""
    uri, _, local = name[1:].partition("}") if name.startswith("{") else ("", "", name)
    if _LOCAL.fullmatch(local) is None:
        raise ValueError(f"no name in XML: {name!r}")
    return uri, local


def _value(element: etree._Element, name: str, value: str) -> str:
    """Value of an attribute; a qualified name in it gets its namespace instead of its prefix."""
    if name != _XSI_TYPE:
        return value
    prefix, _, local = value.strip().rpartition(":")
    namespace = element.nsmap.get(prefix or None)
    return f"{{{namespace}}}{local}" if namespace else local
