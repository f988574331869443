"""Report intervals that are alike: libxml2 reads the first of them, the others are read by its example.

A report of telemetry is one interval over and over, with another start and another number. Where the bytes
of all intervals are those of the first but for a start, a count, a number or a word of data quality, spelt in
the usual way, the others are as well-formed and as valid as the first: the same elements in the same place,
and every spelling that is taken here is one that the schema allows there. So the body that is parsed,
validated and read holds the first interval alone. Nothing else is decided here: whatever is not alike, and
whatever is refused so shortened, is read in full, and it is that reading which names the fault.

Invariants:
- an example is balanced and has start tags without attributes, end tags and text;
- the intervals follow each other with the same white space between them, or none;
- the body has no other `interval`;
- all limits hold for the whole body.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import lru_cache
from itertools import chain, repeat
from typing import Any, TypeVar, cast, overload

from openadr.enums import DataQuality
from openadr.parser import Limits
from openadr.report import ReportInterval, ReportPayload, UpdateReport
from openadr.wire import Message

Part = TypeVar("Part", ReportInterval, ReportPayload)

_SMALLEST_BODY = 8192  # below it there is little to win
_LONGEST_EXAMPLE = 3072  # bytes: its pattern is compiled
_FIRST = re.compile(rb"<((?:[A-Za-z_][\w.-]*:)?interval)>")
_TOKEN = re.compile(r"<(/?)([^<>/\s=&\"'!?]+)>([^<>]*)")
_TAGS_OF_CONTAINER = 2
_GAP = re.compile(r"[ \t\r\n]{0,200}")


@dataclass(frozen=True, slots=True)
class _Varying:
    """A text that may differ from interval to interval: its field, its usual spelling, its value."""

    field: str
    spelling: str
    values: Callable[[Iterable[str]], Iterable[Any]]


_VARYING = {
    ("dtstart", "date-time"): _Varying(
        "dtstart",
        "....-..-..T..:..:..Z",  # fromisoformat takes nothing but digits there
        lambda texts: map(datetime.fromisoformat, texts),
    ),
    ("uid", "text"): _Varying("uid", r"[0-9]{1,9}", lambda texts: texts),
    ("payloadFloat", "value"): _Varying(
        "payload_float",
        r"-?[0-9]{1,15}(?:\.[0-9]{1,20})?(?:[eE][-+]?[0-9]{1,2})?",
        lambda texts: map(float, texts),
    ),
    ("oadrReportPayload", "oadrDataQuality"): _Varying(
        "data_quality", "|".join(map(re.escape, DataQuality)), lambda texts: texts
    ),
}


class Series(Sequence[ReportInterval]):
    """Intervals that differ in their start and their numbers alone, by columns; in all else a tuple of them.

    `starts` are spelt `spelt`, with Z; `values` has a column for each payload of an interval. The intervals
    themselves, which differ from `first`, are made when somebody looks at them.
    """

    __slots__ = ("_made", "first", "spelt", "starts", "values")

    def __init__(
        self,
        first: ReportInterval,
        starts: tuple[datetime, ...],
        spelt: tuple[str, ...],
        values: tuple[tuple[float, ...], ...],
    ) -> None:
        self.first, self.starts, self.spelt, self.values = first, starts, spelt, values
        self._made: tuple[ReportInterval, ...] | None = None

    def _all(self) -> tuple[ReportInterval, ...]:
        if self._made is None:
            numbers = [{"payload_float": column} for column in self.values]
            self._made = _intervals(self.first, len(self), {"dtstart": self.starts}, numbers)
        return self._made

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> ReportInterval: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ReportInterval, ...]: ...
    def __getitem__(self, index: int | slice) -> ReportInterval | tuple[ReportInterval, ...]:
        return self._all()[index]

    def __iter__(self) -> Iterator[ReportInterval]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        return self._all() == tuple(other) if isinstance(other, tuple | Series) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return repr(self._all())


@dataclass(frozen=True, slots=True)
class _Example:
    """The first interval as a pattern: a group for each varying text."""

    pattern: str
    groups: tuple[tuple[int, _Varying], ...]  # the number of the payload, or -1 for the interval itself
    chars: int
    fixed_chars: int  # without the varying texts
    elements: int


@dataclass(frozen=True, slots=True)
class Alike:
    """A body whose intervals are alike. `body` is the same with the first of them alone."""

    body: bytes
    _count: int
    _groups: tuple[tuple[int, _Varying], ...]
    _columns: tuple[tuple[str, ...], ...]

    def complete(self, message: Message) -> Message | None:
        """The message of the whole body from that of `body`; None where that is no plain report."""
        if not isinstance(message, UpdateReport) or len(message.reports) != 1:
            return None
        (report,) = message.reports
        if len(report.intervals) != 1 or not _is_plain(report.intervals[0]):
            return None
        try:
            intervals = self._intervals(report.intervals[0])
        except ValueError:  # no such instant
            return None
        made = replace(report, intervals=cast("tuple[ReportInterval, ...]", intervals))
        return replace(message, reports=(made,))

    def _intervals(self, first: ReportInterval) -> Sequence[ReportInterval]:
        own = self._values(-1)
        numbers = [self._values(number) for number in range(len(first.payloads))]
        if own.keys() == {"dtstart"} and all(columns.keys() == {"payload_float"} for columns in numbers):
            values = tuple(columns["payload_float"] for columns in numbers)
            return Series(first, own["dtstart"], self._columns[0], values)
        return _intervals(first, self._count, own, numbers)

    def _values(self, part: int) -> dict[str, tuple[Any, ...]]:
        return {
            varying.field: tuple(varying.values(texts))
            for (number, varying), texts in zip(self._groups, self._columns, strict=True)
            if number == part
        }


def find_alike(raw: bytes, limits: Limits) -> Alike | None:
    """The intervals of a body that are alike, None where they are not or where a limit may not hold."""
    place = _place(raw) if _SMALLEST_BODY <= len(raw) <= limits.max_report_bytes else None
    if place is None:
        return None
    start, end, last = place
    body = raw[:end] + raw[last:]
    try:
        example, text = _example(raw[start:end].decode()), raw[start:last].decode()
    except UnicodeDecodeError:
        return None
    columns = _columns(example, text) if example else ()
    if example is None or not columns:
        return None
    count = len(columns[0])
    nodes = (count - 1) * example.elements + _most_nodes(body)
    if nodes > limits.max_alike_nodes or count > limits.max_intervals:
        return None
    return Alike(body, count, example.groups, columns)


def _place(raw: bytes) -> tuple[int, int, int] | None:
    """Where the first interval starts, where it ends, and where the last one does; None if there is no other.

    Outside of them there are only the two tags of their container: what is read is what was found here.
    """
    found = _FIRST.search(raw)
    if found is None:
        return None
    start, close = found.start(), b"</%b>" % found[1]
    end, last = (place + len(close) for place in (raw.find(close, start), raw.rfind(close)))
    if end - start > _LONGEST_EXAMPLE or end >= last:
        return None
    elsewhere = raw.count(b"interval", 0, start) + raw.count(b"interval", last)
    return (start, end, last) if elsewhere == _TAGS_OF_CONTAINER else None


def _columns(example: _Example, text: str) -> tuple[tuple[str, ...], ...]:
    """The varying texts of all intervals, by group; empty where there is anything else between them."""
    gap = _GAP.match(text, example.chars)
    between = gap[0] if gap else ""
    found = _compiled(example.pattern + re.escape(between)).findall(text + between)
    columns = tuple(zip(*found, strict=True)) if len(example.groups) > 1 else (tuple(found),)
    fixed = (example.fixed_chars + len(between)) * len(found)
    chars = fixed + len("".join(chain.from_iterable(columns)))
    return columns if chars == len(text) + len(between) else ()


def _most_nodes(body: bytes) -> int:
    """Elements and attributes, or more."""
    return body.count(b"<") - body.count(b"</") + body.count(b"=")


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _example(interval: str) -> _Example | None:
    """The interval as a pattern, None where it is not as plain as an example must be."""
    pattern, groups, fixed_chars = "", [], len(interval)
    above: list[str] = []
    at, payload, elements = 0, -1, 0
    for token in _TOKEN.finditer(interval):
        closing, name, text = token.groups()
        if token.start() != at or (closing and (not above or above.pop() != name)):
            return None
        at = token.end()
        if closing:
            pattern += re.escape(token[0])
            continue
        varying = _VARYING.get((_local(above[-1]), _local(name))) if above else None
        above.append(name)
        elements += 1
        payload += _local(name) == "oadrReportPayload"
        if varying is None or not re.fullmatch(varying.spelling, text):
            pattern += re.escape(token[0])
            continue
        pattern += f"{re.escape(f'<{name}>')}({varying.spelling})"
        groups.append((payload if varying.field in _OF_PAYLOAD else -1, varying))
        fixed_chars -= len(text)
    if above or not groups:
        return None
    return _Example(pattern, tuple(groups), len(interval), fixed_chars, elements)


_OF_PAYLOAD = frozenset(field.name for field in fields(ReportPayload))


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _is_plain(first: ReportInterval) -> bool:
    """Whether every value is a number: elsewhere in an interval the schema may allow less than here."""
    return not first.feeds and all(payload.payload_float is not None for payload in first.payloads)


def _intervals(
    first: ReportInterval,
    count: int,
    own: Mapping[str, tuple[Any, ...]],
    numbers: Sequence[Mapping[str, tuple[Any, ...]]],
) -> tuple[ReportInterval, ...]:
    """So many intervals like the first but for these columns, its own and those of each payload."""
    payloads = (
        _like(payload, count, columns) for payload, columns in zip(first.payloads, numbers, strict=True)
    )
    return tuple(_like(first, count, {**own, "payloads": zip(*payloads, strict=True)}))


def _like(first: Part, count: int, columns: Mapping[str, Iterable[Any]]) -> list[Part]:
    """So many parts with the fields of the first but for the columns, which are right as they are.

    Field by field, because the checks and the frozen fields of two thousand values cost more than their XML.
    """
    kind = type(first)
    made: list[Part] = list(map(object.__new__, repeat(kind, count)))
    for field in fields(kind):
        column = columns.get(field.name) or repeat(getattr(first, field.name))
        deque(map(vars(kind)[field.name].__set__, made, column), maxlen=0)
    return made
