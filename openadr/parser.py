"""The one place where XML from outside is parsed: bounded, without DOCTYPE, entities and instructions.

Three steps, each of which only ever refuses: the raw bytes are counted before libxml2 sees them, libxml2
parses without network, entities and comments, and the tree is validated with the 2.0b schema. The schema
files come inside the wheel of openleadr and are read from there; that package itself is never imported.

`with_tree` is the way in; `memory` says why a body may be parsed in a thread of its own.
"""

import importlib.util
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeVar

from lxml import etree

from openadr.errors import MalformedXml, SchemaInvalid, TooLarge
from openadr.memory import parse_apart
from openadr.wire import NAMESPACES

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an incoming message may hold (GEN-21): the worst that is let in costs a tenth of a second.

    `max_nodes` counts elements and attributes; where intervals are alike (`alike`) they cost a third, and
    there may be `max_alike_nodes`. Of metadata, which are kept and answered, there may be
    `max_metadata_nodes`: five hundred data points with unit and sampling rate fit. Several reports or report
    requests weigh `part_nodes` more each, because each costs statements of a database. `max_report_bytes`
    holds for reports.
    """

    max_bytes: int = 64 * 1024
    max_report_bytes: int = 1024 * 1024
    max_nodes: int = 10_000
    max_alike_nodes: int = 20_000
    max_metadata_nodes: int = 6_200
    part_nodes: int = 400
    max_depth: int = 64
    max_intervals: int = 5_000
    max_id_chars: int = 128


DEFAULT_LIMITS = Limits()
OWN = Limits(
    2**30, 2**30, max_nodes=2**40, max_alike_nodes=2**40, max_metadata_nodes=2**40, max_intervals=2**30
)
"""For what we wrote ourselves, from a message that was let in or for many VENs: it may be longer."""

_PREFIX_OF = {uri: prefix for prefix, uri in NAMESPACES.items()}
_CLARK_NAME = re.compile(r"\{([^}]*)\}")
_FORBIDDEN = (b"<!DOCTYPE", b"<!ENTITY")


def schema_directory() -> Path:
    """Where the 2.0b schema files lie."""
    spec = importlib.util.find_spec("openleadr")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the 2.0b schema files are missing: install openleadr, whose wheel carries them")
    return Path(spec.submodule_search_locations[0]) / "schema"


@cache
def schema() -> etree.XMLSchema:
    """The compiled 2.0b schema, made at first use (20 ms)."""
    trusted = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    return etree.XMLSchema(etree.parse(str(schema_directory() / "oadr_20b.xsd"), trusted))


def _new_parser() -> etree.XMLParser:
    return etree.XMLParser(
        encoding="utf-8",  # the only charset (HTTP-10), whatever the declaration says
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,  # a comment must not cut an identifier in two
        remove_pis=True,
        collect_ids=False,
    )


class _Thread(threading.local):
    """A parser for each thread: libxml2's memory of names belongs to the thread that made the parser."""

    def __init__(self) -> None:
        self.parser = _new_parser()


_thread = _Thread()


def with_tree(
    raw: bytes, limits: Limits, work: Callable[[etree._Element], T], *, validates: bool = True
) -> T:
    """The result of `work` on the tree of `raw`; what `work` returns must not hold the tree.

    `validates`: `work` accepts none but what the schema allows, so that its names may be remembered.
    MalformedXml or TooLarge where there is no tree within the limits.
    """
    counts = _checked_markup(raw, limits)

    def parse_and_work(new: bool) -> tuple[T, bool]:
        root = _tree(raw, limits, counts)
        result = work(root)
        return result, validates or (new and schema().validate(root))

    return parse_apart(raw, parse_and_work)


def parse(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> etree._Element:
    """The root of a well-formed document within the limits, without comments, for bytes that one trusts.

    MalformedXml or TooLarge as in `with_tree`, but libxml2 remembers the names.
    """
    return _tree(raw, limits, _checked_markup(raw, limits))


def namespaces_in_scope(raw: bytes) -> Iterator[int]:
    """How many namespaces are in scope after each declaration and its end, of a body that was let in."""
    in_scope = 0
    declared = etree.iterparse(
        BytesIO(raw), ("start-ns", "end-ns"), resolve_entities=False, load_dtd=False, no_network=True
    )
    for event, _ in declared:
        in_scope += 1 if event == "start-ns" else -1
        yield in_scope


class _Counts(NamedTuple):
    """Signs in the bytes: of tags (`<`), of end tags and of attributes (`=`); text may hold more of them."""

    tags: int
    end_tags: int
    equals: int

    @property
    def most_nodes(self) -> int:
        """Elements and attributes, or more."""
        return self.tags - self.end_tags + self.equals


def _tree(raw: bytes, limits: Limits, counts: _Counts) -> etree._Element:
    try:
        root = etree.fromstring(raw, _thread.parser)
    except etree.XMLSyntaxError as error:
        raise MalformedXml(f"not well-formed XML: {_first_line(error.msg or '')}") from None
    _check_tree(raw, root, limits, counts)
    return root


def validate(root: etree._Element) -> None:
    """Refuses a tree that the 2.0b schema does not allow, naming element and line (GEN-02)."""
    try:
        schema().assertValid(root)
    except etree.DocumentInvalid as error:
        raise SchemaInvalid(_readable(str(error))) from None


def _checked_markup(raw: bytes, limits: Limits) -> _Counts:
    """Refuses by counting bytes what is too large or uses forbidden markup."""
    if len(raw) > limits.max_report_bytes:
        raise TooLarge(f"body of {len(raw)} bytes, the limit is {limits.max_report_bytes}")
    for forbidden in _FORBIDDEN:
        if forbidden in raw:
            raise MalformedXml(f"{forbidden[2:].decode()} is not allowed")
    instructions = raw.count(b"<?")
    if instructions and (instructions > 1 or not raw.removeprefix(b"\xef\xbb\xbf").startswith(b"<?xml ")):
        raise MalformedXml("a processing instruction is not allowed")
    counts = _Counts(raw.count(b"<"), raw.count(b"</"), raw.count(b"="))
    if counts.tags > limits.max_nodes * 2 + 2:  # start and end tag
        raise TooLarge(f"more than {limits.max_nodes} elements")
    if counts.equals > limits.max_nodes * 2:
        raise TooLarge(f"more than {limits.max_nodes} attributes")
    return counts


def _check_tree(raw: bytes, root: etree._Element, limits: Limits, counts: _Counts) -> None:
    """Exact counts, each only where the bytes do not already show that the limit holds."""
    if counts.most_nodes > limits.max_nodes:
        nodes = count_nodes(root)
        if nodes > limits.max_nodes:
            raise TooLarge(f"{nodes} elements and attributes, the limit is {limits.max_nodes}")
    if counts.end_tags >= limits.max_depth and _count(root, "/*" * (limits.max_depth + 1)):
        raise TooLarge(f"elements deeper than {limits.max_depth} levels")
    if raw.count(b"interval") > limits.max_intervals:
        intervals = int(_count(root, "count(//*[local-name() = 'interval'])"))
        if intervals > limits.max_intervals:
            raise TooLarge(f"{intervals} intervals, the limit is {limits.max_intervals}")


def count_nodes(root: etree._Element) -> int:
    """Elements and attributes of a tree."""
    return int(_count(root, "count(//*) + count(//@*)"))


def _count(root: etree._Element, expression: str) -> float:
    found = root.xpath(expression)
    return len(found) if isinstance(found, list) else float(str(found))


def readable_name(tag: str) -> str:
    """`{http://...}venID` as `ei:venID`."""
    return _CLARK_NAME.sub(lambda match: _PREFIX_OF.get(match[1], match[1][:80]) + ":", tag)


def _readable(text: str) -> str:
    return _first_line(readable_name(text).replace("'", "").replace("Element ", "element ", 1))


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:300]
