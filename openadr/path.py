"""Where a field stands: the paths that its metadata name, as steps."""

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from openadr.wire import clark


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path; `tag` is in Clark form."""

    tag: str
    repeats: bool = False
    always: bool = False
    attribute: bool = False
    own_name: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a class: `kind` is the type of one value, `nullable`: None where the element is absent."""

    name: str
    kind: type
    many: bool
    nullable: bool
    has_default: bool
    metadata: Mapping[str, Any]
    paths: tuple[tuple[Step, ...], ...]

    @property
    def is_id(self) -> bool:
        """Whether it holds an identifier."""
        local = self.paths[0][-1].tag.rpartition("}")[2]
        return local.endswith("ID") or local in ("mrid", "node")


def specs_of(cls: type, namespace: str) -> Iterator[Field]:
    """The fields of a class whose element lies in `namespace`."""
    hints = typing.get_type_hints(cls)
    for item in on_the_wire(cls):
        kind, many, nullable = unpack(hints[item.name])
        yield Field(
            name=item.name,
            kind=kind,
            many=many,
            nullable=nullable,
            has_default=item.default is not MISSING,
            metadata=item.metadata,
            paths=tuple(steps_of(path, namespace) for path in item.metadata["xml"]),
        )


def on_the_wire(cls: type) -> Iterator[Any]:
    """The fields of the dataclass that have a path."""
    return (item for item in fields(cls) if "xml" in item.metadata)


def unpack(hint: Any) -> tuple[type, bool, bool]:
    """Type of one value, whether there are many, whether None is allowed."""
    if isinstance(hint, types.UnionType):
        (inner,) = (part for part in typing.get_args(hint) if part is not type(None))
        return inner, False, True
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        return (tuple, False, False) if inner is float else (inner, True, False)
    return hint, False, False


def steps_of(path: str, namespace: str) -> tuple[Step, ...]:
    """The steps of a path below an element in `namespace`."""
    return tuple(_step(part, namespace) for part in path.split("/"))


def _step(part: str, namespace: str) -> Step:
    if part == "?":
        return Step("", own_name=True)
    if part.startswith("@"):
        return Step(clark(part[1:]), attribute=True)
    name = part.rstrip("*!")
    tag = f"{{{namespace}}}{name[1:]}" if name.startswith(":") else clark(name)
    return Step(tag, repeats=part.endswith("*"), always=part.endswith("!"))


def namespace_of(tag: str) -> str:
    """The namespace of a tag in Clark form."""
    return tag[1:].partition("}")[0]


def has_paths(cls: type) -> bool:
    """Whether values of this type are elements themselves."""
    return all("xml" in item.metadata for item in fields(cls))
