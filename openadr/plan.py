"""The plan of a class: how its element is read and written, compiled once from the paths of its fields.

Reading is a table from tag to action, nested where a path has several steps. Writing is a list of actions in
field order, which is the schema's order; neighbours that share a step share its element.
"""

import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any

from lxml import etree

from openadr.errors import EncodeError, InvalidData
from openadr.item_base import XmlNode
from openadr.parser import readable_name
from openadr.text import check_id, codecs_for, read_numbers, write_numbers
from openadr.tree import read_tree, write_tree
from openadr.wire import NAMESPACES, clark

Values = dict[str, Any]
ReadAction = Callable[[etree._Element, Values, int], None]
WriteAction = Callable[[Any, etree._Element], None]

_XSI_TYPE = clark("xsi:type")


@dataclass(frozen=True, slots=True)
class _Step:
    tag: str  # Clark form
    repeats: bool = False
    always: bool = False
    attribute: bool = False
    own_name: bool = False


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    kind: type  # the type of one value
    many: bool
    nullable: bool  # None where the element is absent
    has_default: bool
    metadata: Mapping[str, Any]
    paths: tuple[tuple[_Step, ...], ...]

    @property
    def is_id(self) -> bool:
        local = self.paths[0][-1].tag.rpartition("}")[2]
        return local.endswith("ID") or local in ("mrid", "node")


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
    _fields: tuple[_Field, ...]
    _root: _Node
    _writers: tuple[WriteAction, ...]
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

    def write(self, value: Any, element: etree._Element) -> None:
        """Puts the fields of `value` below `element`; EncodeError where one cannot be written."""
        for writer in self._writers:
            writer(value, element)

    def prefixes(self) -> frozenset[str]:
        """Prefixes of all namespaces that the element may use, foreign trees left out."""
        return _prefixes(self.cls)


@cache
def plan(cls: type, namespace: str = NAMESPACES["oadr"]) -> Plan:
    """The plan of a class whose element lies in `namespace`."""
    specs = tuple(_specs(cls, namespace))
    root = _Node()
    items: list[tuple[tuple[_Step, ...], _Field | None]] = []
    for spec in specs:
        for path in spec.paths:
            _add_reader(root, path, spec)
        if not spec.paths[0][0].own_name:
            items.append((spec.paths[0], spec))
        if spec.metadata["then"] is not None:
            then = _steps(spec.metadata["then"], namespace)
            items.append((then, None))
            _add_ignored(root, then)
    return Plan(
        cls=cls,
        _fields=specs,
        _root=root,
        _writers=tuple(_writers(items)),
        _required=frozenset(spec.name for spec in specs if not spec.nullable and not spec.has_default),
        _tuples=tuple(spec.name for spec in specs if spec.many),
        _own_name=next((spec.name for spec in specs if spec.paths[0][0].own_name), None),
    )


def _specs(cls: type, namespace: str) -> Iterator[_Field]:
    hints = typing.get_type_hints(cls)
    for item in _on_the_wire(cls):
        kind, many, nullable = _unpack(hints[item.name])
        yield _Field(
            name=item.name,
            kind=kind,
            many=many,
            nullable=nullable,
            has_default=item.default is not MISSING,
            metadata=item.metadata,
            paths=tuple(_steps(path, namespace) for path in item.metadata["xml"]),
        )


def _on_the_wire(cls: type) -> Iterator[Any]:
    return (item for item in fields(cls) if "xml" in item.metadata)


def _unpack(hint: Any) -> tuple[type, bool, bool]:
    """Type of one value, whether there are many, whether None is allowed."""
    if isinstance(hint, types.UnionType):
        (inner,) = (part for part in typing.get_args(hint) if part is not type(None))
        return inner, False, True
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        return (tuple, False, False) if inner is float else (inner, True, False)
    return hint, False, False


def _steps(path: str, namespace: str) -> tuple[_Step, ...]:
    return tuple(_step(part, namespace) for part in path.split("/"))


def _step(part: str, namespace: str) -> _Step:
    if part == "?":
        return _Step("", own_name=True)
    if part.startswith("@"):
        return _Step(clark(part[1:]), attribute=True)
    name = part.rstrip("*!")
    tag = f"{{{namespace}}}{name[1:]}" if name.startswith(":") else clark(name)
    return _Step(tag, repeats=part.endswith("*"), always=part.endswith("!"))


def _namespace(tag: str) -> str:
    return tag[1:].partition("}")[0]


def _kind_of(element: etree._Element) -> str:
    """The element's own name; of an abstract element (powerItem) the name that its xsi:type stands for."""
    local = etree.QName(element).localname
    declared = element.get(_XSI_TYPE)
    if declared is not None and local in ("powerItem", "energyItem"):
        name = declared.strip().rpartition(":")[2].removesuffix("Type")
        return name[:1].lower() + name[1:]
    return local


# reading


def _add_reader(node: _Node, path: tuple[_Step, ...], spec: _Field) -> None:
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


def _add_ignored(node: _Node, path: tuple[_Step, ...]) -> None:
    for step in path[:-1]:
        node = _inner_node(node, step.tag)
    node.children[path[-1].tag] = lambda element, values, max_id: None


def _read_action(spec: _Field, tag: str) -> ReadAction:
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


def _value_reader(spec: _Field, tag: str) -> Callable[[etree._Element, int], Any]:
    if spec.kind is XmlNode:
        return lambda element, max_id: read_tree(element)
    if is_dataclass(spec.kind) and _has_paths(spec.kind):
        inner = plan(spec.kind, _namespace(tag))
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


def _has_paths(cls: type) -> bool:
    return all("xml" in item.metadata for item in fields(cls))


# writing


def _writers(items: Sequence[tuple[tuple[_Step, ...], _Field | None]]) -> Iterator[WriteAction]:
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


def _below(path: tuple[_Step, ...], step: _Step) -> bool:
    return len(path) > 1 and path[0].tag == step.tag


def _container(step: _Step, group: Sequence[tuple[tuple[_Step, ...], _Field | None]]) -> WriteAction:
    inner = tuple(_writers([(path[1:], spec) for path, spec in group]))
    optional = [
        spec for _, spec in group if spec is not None and (spec.nullable or (spec.many and spec.has_default))
    ]
    always = step.always or len(optional) < len(group)
    names = tuple(spec.name for spec in optional)
    tag = step.tag

    def write(value: Any, parent: etree._Element) -> None:
        if always or any(getattr(value, name) not in (None, ()) for name in names):
            element = etree.SubElement(parent, tag)
            for writer in inner:
                writer(value, element)

    return write


def _write_action(path: tuple[_Step, ...], spec: _Field | None) -> WriteAction:
    step = path[0]
    if spec is None:
        return lambda value, parent: _append_empty(parent, step.tag)
    name = spec.name
    if step.attribute:
        return lambda value, parent: _set_attribute(parent, step.tag, getattr(value, name))
    write_one = _value_writer(path, spec)

    def write_single(value: Any, parent: etree._Element) -> None:
        item = getattr(value, name)
        if item is not None:
            write_one(item, parent)

    def write_many(value: Any, parent: etree._Element) -> None:
        items = getattr(value, name)
        if not items and not spec.has_default:
            raise EncodeError(f"{type(value).__name__}.{name} needs at least one value")
        for item in items:
            write_one(item, parent)

    return write_many if spec.many else write_single


def _append_empty(parent: etree._Element, tag: str) -> None:
    etree.SubElement(parent, tag)


def _set_attribute(element: etree._Element, tag: str, value: str | None) -> None:
    if value is not None:
        element.set(tag, value)


def _value_writer(path: tuple[_Step, ...], spec: _Field) -> WriteAction:
    """Writes one value: the elements of the path (its first step may repeat), the value into the last."""
    tags = tuple(step.tag for step in path)
    if spec.kind is XmlNode:
        return lambda item, parent: write_tree(item, _descend(parent, tags[:-1]))
    if is_dataclass(spec.kind) and _has_paths(spec.kind):
        if len(spec.paths) > 1:
            return _choice_writer(spec)
        inner = plan(spec.kind, _namespace(tags[-1]))
        return lambda item, parent: inner.write(item, _descend(parent, tags))
    text_of = write_numbers if spec.kind is tuple else codecs_for(spec.kind, spec.metadata)[1]
    tag = tags[-1]

    def write_text(item: Any, parent: etree._Element) -> None:
        etree.SubElement(_descend(parent, tags[:-1]) if len(tags) > 1 else parent, tag).text = text_of(item)

    return write_text


def _choice_writer(spec: _Field) -> WriteAction:
    by_kind = {path[0].tag.rpartition("}")[2]: path[0].tag for path in spec.paths}

    def write(item: Any, parent: etree._Element) -> None:
        tag = by_kind[item.kind]
        plan(spec.kind, _namespace(tag)).write(item, etree.SubElement(parent, tag))

    return write


def _descend(parent: etree._Element, tags: tuple[str, ...]) -> etree._Element:
    for tag in tags:
        parent = etree.SubElement(parent, tag)
    return parent


@cache
def _prefixes(cls: type) -> frozenset[str]:
    found: set[str] = set()
    for item in _on_the_wire(cls):
        for path in item.metadata["xml"]:
            found.update(step.lstrip("@").partition(":")[0] for step in path.split("/"))
        kind = _unpack(typing.get_type_hints(cls)[item.name])[0]
        if is_dataclass(kind) and _has_paths(kind):
            found |= _prefixes(kind)
    return frozenset(found) - {"", "?", "atom"}
