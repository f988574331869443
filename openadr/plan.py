"""The plan of a class: how its element is read and written, compiled once from the paths of its fields.

Reading is a table from tag to action, nested where a path has several steps. Writing is a list of actions in
field order, which is the schema's order; neighbours that share a step share its element. What is written is
text from the start: a tree of elements that is made only to be written costs four times as much.
"""

import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from typing import Any

from lxml import etree

from openadr.errors import EncodeError, InvalidData
from openadr.item_base import XmlNode
from openadr.parser import readable_name
from openadr.path import Field, Step, has_paths, namespace_of, on_the_wire, specs_of, steps_of, unpack
from openadr.text import check_id, codecs_for, escape, escape_attribute, read_numbers, write_numbers
from openadr.tree import read_tree, write_tree
from openadr.wire import NAMESPACES, clark

Values = dict[str, Any]
ReadAction = Callable[[etree._Element, Values, int], None]
WriteAction = Callable[[Any, list[str]], None]

_XSI_TYPE = clark("xsi:type")


@dataclass(slots=True)
class _Node:
    """What may stand inside an element on the way to the fields."""

    children: dict[str, "ReadAction"] = field(default_factory=dict)
    nodes: dict[str, "_Node"] = field(default_factory=dict)
    attributes: list[tuple[str, str]] = field(default_factory=list)

    def fill(self, element: etree._Element, values: Values, max_id: int) -> None:
        for tag, name in self.attributes:
            if (text := element.get(tag)) is not None:
                values[name] = text
        children = self.children
        for child in element:
            action = children.get(child.tag)
            if action is None:
                raise InvalidData(
                    f"element {readable_name(child.tag)} has no meaning in {readable_name(element.tag)}",
                    rule="GEN-15",
                )
            action(child, values, max_id)


@dataclass(eq=False, slots=True)
class Plan:
    """How the element of one class is read and written."""

    cls: type
    _fields: tuple[Field, ...]
    _root: _Node
    _content: "_Content"
    _required: frozenset[str]
    _tuples: tuple[str, ...]
    _own_name: str | None

    def read(self, element: etree._Element, max_id: int) -> Any:
        """The value that a validated element holds; InvalidData where it says what has no meaning."""
        values: Values = {}
        if self._own_name is not None:
            values[self._own_name] = _kind_of(element)
        self._root.fill(element, values, max_id)
        for name in self._tuples:
            if name in values:
                values[name] = tuple(values[name])
        if not self._required <= values.keys():
            missing = ", ".join(sorted(self._required - values.keys()))
            raise InvalidData(f"element {readable_name(element.tag)}: {missing} is missing", rule="GEN-16")
        try:
            return self.cls(**values)
        except ValueError as error:
            raise InvalidData(f"element {readable_name(element.tag)}: {error}", rule="GEN-16") from None

    def write(self, value: Any, out: list[str], name: str, attributes: str = "") -> None:
        """Appends the element of `value` to `out`; EncodeError or ValueError where it cannot be written.

        `name` has its prefix; `attributes` are more of them as they stand in XML, each after a space.
        """
        self._content.write(value, out, name, attributes)

    def prefixes(self) -> frozenset[str]:
        """Prefixes of all namespaces that the element may use, foreign trees left out."""
        return _prefixes(self.cls)


@cache
def plan(cls: type, namespace: str = NAMESPACES["oadr"]) -> Plan:
    """The plan of a class whose element lies in `namespace`."""
    specs = tuple(specs_of(cls, namespace))
    root = _Node()
    items: list[tuple[tuple[Step, ...], Field | None]] = []
    for spec in specs:
        for path in spec.paths:
            _add_reader(root, path, spec)
        if not spec.paths[0][0].own_name:
            items.append((spec.paths[0], spec))
        if spec.metadata["then"] is not None:
            then = steps_of(spec.metadata["then"], namespace)
            items.append((then, None))
            _add_ignored(root, then)
    return Plan(
        cls=cls,
        _fields=specs,
        _root=root,
        _content=_content(items),
        _required=frozenset(spec.name for spec in specs if not spec.nullable and not spec.has_default),
        _tuples=tuple(spec.name for spec in specs if spec.many),
        _own_name=next((spec.name for spec in specs if spec.paths[0][0].own_name), None),
    )


def _kind_of(element: etree._Element) -> str:
    """The element's own name; of an abstract element (powerItem) the name that its xsi:type stands for."""
    local = etree.QName(element).localname
    declared = element.get(_XSI_TYPE)
    if declared is not None and local in ("powerItem", "energyItem"):
        name = declared.strip().rpartition(":")[2].removesuffix("Type")
        return name[:1].lower() + name[1:]
    return local


# reading


def _add_reader(node: _Node, path: tuple[Step, ...], spec: Field) -> None:
    for step in path[:-1]:
        node = _inner_node(node, step.tag)
    last = path[-1]
    if last.own_name:
        return
    if last.attribute:
        node.attributes.append((last.tag, spec.name))
    else:
        node.children[last.tag] = _read_action(spec, last.tag)


def _inner_node(node: _Node, tag: str) -> _Node:
    if tag not in node.nodes:
        node.nodes[tag] = _Node()
        node.children[tag] = node.nodes[tag].fill
    return node.nodes[tag]


def _add_ignored(node: _Node, path: tuple[Step, ...]) -> None:
    for step in path[:-1]:
        node = _inner_node(node, step.tag)
    node.children[path[-1].tag] = lambda element, values, max_id: None


def _read_action(spec: Field, tag: str) -> ReadAction:
    value_of = _value_reader(spec, tag)
    name, skips_empty = spec.name, spec.nullable and not spec.metadata["keep_empty"]

    def append(element: etree._Element, values: Values, max_id: int) -> None:
        values.setdefault(name, []).append(value_of(element, max_id))

    def assign(element: etree._Element, values: Values, max_id: int) -> None:
        if name in values:
            raise InvalidData(f"element {readable_name(tag)} stands twice", rule="EVT-23")
        if skips_empty and not element.text and not len(element):
            return  # an empty element means the same as none (GEN-08)
        values[name] = value_of(element, max_id)

    return append if spec.many else assign


def _value_reader(spec: Field, tag: str) -> Callable[[etree._Element, int], Any]:
    if spec.kind is XmlNode:
        return lambda element, max_id: read_tree(element)
    if is_dataclass(spec.kind) and has_paths(spec.kind):
        inner = plan(spec.kind, namespace_of(tag))
        return inner.read
    if spec.kind is tuple:
        return lambda element, max_id: read_numbers(element.text or "")
    reader = codecs_for(spec.kind, spec.metadata)[0]
    if not spec.is_id:
        return lambda element, max_id: reader(element.text or "")

    def read_id(element: etree._Element, max_id: int) -> str:
        text = element.text or ""
        check_id(text, max_id)
        return text

    return read_id


# writing
Items = Sequence[tuple[tuple[Step, ...], Field | None]]


@dataclass(frozen=True, slots=True)
class _Content:
    """What an element holds: its attributes, and what stands in it."""

    attributes: tuple[tuple[str, str], ...]
    writers: tuple[WriteAction, ...]

    def write(self, value: Any, out: list[str], name: str, fixed: str = "") -> None:
        found = ((of, getattr(value, field)) for of, field in self.attributes)
        given = "".join(f' {of}="{escape_attribute(text)}"' for of, text in found if text is not None)
        out.append(f"<{name}{fixed}{given}>")
        begun = len(out)
        for writer in self.writers:
            writer(value, out)
        if len(out) == begun:
            out[-1] = f"{out[-1][:-1]}/>"
        else:
            out.append(f"</{name}>")


def _content(items: Items) -> _Content:
    attributes = [
        (_name(path[0]), spec.name) for path, spec in items if path[0].attribute and spec is not None
    ]
    return _Content(tuple(attributes), tuple(_writers([item for item in items if not item[0][0].attribute])))


def _name(step: Step) -> str:
    """The name with its prefix, which the root of the message declares."""
    return readable_name(step.tag)


def _writers(items: Items) -> Iterator[WriteAction]:
    """One action for each field; neighbours below the same element are put into one action."""
    position = 0
    while position < len(items):
        path, spec = items[position]
        if len(path) == 1 or path[0].repeats:
            yield _write_action(path, spec)
            position += 1
            continue
        group = [items[position]]
        while position + len(group) < len(items) and _below(items[position + len(group)][0], path[0]):
            group.append(items[position + len(group)])
        yield _container(path[0], group)
        position += len(group)


def _below(path: tuple[Step, ...], step: Step) -> bool:
    return len(path) > 1 and path[0].tag == step.tag


def _container(step: Step, group: Items) -> WriteAction:
    inner = _content([(path[1:], spec) for path, spec in group])
    optional = [
        spec for _, spec in group if spec is not None and (spec.nullable or (spec.many and spec.has_default))
    ]
    always = step.always or len(optional) < len(group)
    names = tuple(spec.name for spec in optional)
    tag = _name(step)

    def write(value: Any, out: list[str]) -> None:
        if always or any(getattr(value, name) not in (None, ()) for name in names):
            inner.write(value, out, tag)

    return write


def _write_action(path: tuple[Step, ...], spec: Field | None) -> WriteAction:
    if spec is None:
        empty = f"<{_name(path[0])}/>"
        return lambda value, out: out.append(empty)
    name = spec.name
    write_one = _value_writer(path, spec)

    def write_single(value: Any, out: list[str]) -> None:
        item = getattr(value, name)
        if item is not None:
            write_one(item, out)

    def write_many(value: Any, out: list[str]) -> None:
        items = getattr(value, name)
        if not items and not spec.has_default:
            raise EncodeError(f"{type(value).__name__}.{name} needs at least one value")
        for item in items:
            write_one(item, out)

    return write_many if spec.many else write_single


def _value_writer(path: tuple[Step, ...], spec: Field) -> WriteAction:
    """Writes one value: the elements of the path (its first step may repeat), the value into the last."""
    *above, last = map(_name, path)
    before = "".join(f"<{name}>" for name in above)
    after = "".join(f"</{name}>" for name in reversed(above))
    write_inner = _inner_writer(path[-1].tag, spec)
    if write_inner is not None:
        return write_inner if not above else _between(before, write_inner, after)
    text_of = write_numbers if spec.kind is tuple else codecs_for(spec.kind, spec.metadata)[1]
    before, after = f"{before}<{last}>", f"</{last}>{after}"

    def write_text(item: Any, out: list[str]) -> None:
        out.append(f"{before}{escape(text_of(item))}{after}")

    return write_text


def _inner_writer(tag: str, spec: Field) -> WriteAction | None:
    """Writes a value that is an element itself, None for a text."""
    if spec.kind is XmlNode:
        return write_tree
    if not (is_dataclass(spec.kind) and has_paths(spec.kind)):
        return None
    if len(spec.paths) > 1:
        return _choice_writer(spec)
    inner, name = plan(spec.kind, namespace_of(tag)), readable_name(tag)
    return lambda item, out: inner.write(item, out, name)


def _between(before: str, write: WriteAction, after: str) -> WriteAction:
    def write_between(item: Any, out: list[str]) -> None:
        out.append(before)
        write(item, out)
        out.append(after)

    return write_between


def _choice_writer(spec: Field) -> WriteAction:
    by_kind = {path[0].tag.rpartition("}")[2]: path[0].tag for path in spec.paths}

    def write(item: Any, out: list[str]) -> None:
        tag = by_kind[item.kind]
        plan(spec.kind, namespace_of(tag)).write(item, out, readable_name(tag))

    return write


@cache
def _prefixes(cls: type) -> frozenset[str]:
    found: set[str] = set()
    for item in on_the_wire(cls):
        for path in item.metadata["xml"]:
            found.update(step.lstrip("@").partition(":")[0] for step in path.split("/"))
        kind = unpack(typing.get_type_hints(cls)[item.name])[0]
        if is_dataclass(kind) and has_paths(kind):
            found |= _prefixes(kind)
    return frozenset(found) - {"", "?", "atom"}
