"""Text of an element to a value and back, one pair of functions for each type of field."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache, partial
from typing import Any

from openadr.errors import EncodeError, TooLarge
from openadr.interval import Duration, format_instant, parse_instant

Reader = Callable[[str], Any]
Writer = Callable[[Any], str]

_CACHED_TEXT_CHARS = 40
_MAX_UNSIGNED_INT = 2**32 - 1


def codecs_for(kind: type, metadata: Mapping[str, Any]) -> tuple[Reader, Writer]:
    """How a field of this type is read and written."""
    if metadata["extends"] is not None:
        return collapse, partial(write_extensible, frozenset(metadata["extends"]))
    if issubclass(kind, StrEnum):
        return (lambda text: kind(collapse(text))), partial(write_member, kind)
    if kind is str:
        return (collapse if metadata["collapse"] else str), write_text
    return _CODECS[kind]


def collapse(text: str) -> str:
    """White space as XML Schema collapses it in tokens."""
    return " ".join(text.split())


def check_id(text: str, max_chars: int) -> None:
    """Refuses an identifier that is too long to be kept."""
    if len(text) > max_chars:
        raise TooLarge(f"identifier of {len(text)} characters, the limit is {max_chars}")


def write_text(value: str) -> str:
    """Text as it is."""
    if not isinstance(value, str):
        raise EncodeError(f"not a text: {value!r}")
    return value


def write_extensible(known: frozenset[str], value: str) -> str:
    """A word of the standard's list, or one that starts with `x-` (GEN-22, SGN-08)."""
    if value in known:
        return str(value)
    if len(value) > 2 and value.startswith("x-") and not value[2].isspace() and collapse(value) == value:
        return value
    raise EncodeError(f"neither a word of the standard nor x-...: {value!r}")


def write_member(kind: type[StrEnum], value: str) -> str:
    """A word of a closed list."""
    try:
        return kind(value).value
    except ValueError:
        raise EncodeError(f"no {kind.__name__}: {value!r}") from None


def read_float(text: str) -> float:
    """A number, or NaN or an infinity: the schema allows them, and the rules and readers judge them."""
    return float(text)


def write_float(value: float) -> str:
    """The shortest text that reads back as the same number."""
    if math.isnan(value):
        return "NaN"
    if value in (math.inf, -math.inf):
        return "INF" if value > 0 else "-INF"
    return repr(value).removesuffix(".0")


def write_unsigned(value: int) -> str:
    """A whole number of 32 bits."""
    if not 0 <= value <= _MAX_UNSIGNED_INT:
        raise EncodeError(f"not an unsigned 32-bit number: {value!r}")
    return str(int(value))


def _read_bool(text: str) -> bool:
    return text.strip() in ("true", "1")


def _write_bool(value: bool) -> str:
    return "true" if value else "false"


def _write_decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise EncodeError(f"not a decimal number: {value}")
    return f"{value:f}"


def _write_instant(value: datetime) -> str:
    try:
        return format_instant(value)
    except ValueError as error:
        raise EncodeError(str(error)) from None


_cached_instant = lru_cache(maxsize=4096)(parse_instant)
_cached_duration = lru_cache(maxsize=1024)(Duration.parse)


def _read_instant(text: str) -> datetime:
    text = text.strip()
    return _cached_instant(text) if len(text) <= _CACHED_TEXT_CHARS else parse_instant(text)


def _read_duration(text: str) -> Duration:
    return _cached_duration(text) if len(text) <= _CACHED_TEXT_CHARS else Duration.parse(text)


def read_numbers(text: str) -> tuple[float, ...]:
    """A list of numbers separated by white space."""
    return tuple(read_float(number) for number in text.split())


def write_numbers(values: tuple[float, ...]) -> str:
    """The numbers, separated by a space."""
    return " ".join(map(write_float, values))


_CODECS: dict[type, tuple[Reader, Writer]] = {
    int: (int, write_unsigned),
    float: (read_float, write_float),
    bool: (_read_bool, _write_bool),
    Decimal: (Decimal, _write_decimal),
    datetime: (_read_instant, _write_instant),
    Duration: (_read_duration, str),
}
