"""A record: one fact of the platform in the one form that is hashed. Frozen format `flexpact-record/v1`.

Canonical bytes are JSON in UTF-8: sorted keys, no spaces, text, integers, lists and objects only. No float,
because a hash must not depend on how one prints; integers stay within +-(2^53 - 1), so that every JSON
reader sees the same number. Keys are printable ASCII, so that every sort order agrees. The leaf is
SHA-256(0x00 || salt || canonical).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import cast

from ledger.errors import MalformedError, RecordError
from ledger.merkle import leaf_hash

FORMAT = "flexpact-record/v1"
SALT_BYTES = 32
MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 32
MAX_FILE_BYTES = 4 * 1024 * 1024

_UTC_OFFSET = len("+00:00")
_TYPE_NAMES = {float: "a float", bool: "true or false", type(None): "null", bytes: "bytes"}
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_KEPT_SHAPES = 4096
_shapes: dict[tuple[str, ...], tuple[list[str], str]] = {}
"""Checked keys of objects, sorted, and the JSON to put their values in: the same few dozen come again."""


def new_salt() -> bytes:
    """32 fresh random bytes: without them a short record could be found by trying all likely values."""
    return os.urandom(SALT_BYTES)


def new_salts(count: int) -> list[bytes]:
    """As many salts."""
    drawn = os.urandom(count * SALT_BYTES)
    return [drawn[at : at + SALT_BYTES] for at in range(0, len(drawn), SALT_BYTES)]


@dataclass(frozen=True, slots=True)
class Record:
    """One fact: its kind, its natural key (unique in a log), when it happened (aware) and what it says."""

    kind: str
    key: str
    at: datetime
    body: Mapping[str, object]
    salt: bytes = field(default_factory=new_salt)

    def canonical(self) -> bytes:
        """The bytes that are hashed; RecordError if a value has none."""
        if len(self.salt) != SALT_BYTES:
            raise RecordError(f"a salt has {SALT_BYTES} bytes, this one has {len(self.salt)}")
        if type(self.kind) is not str or type(self.key) is not str:
            raise RecordError(f"kind and key are text, not {self.kind!r} and {self.key!r}")
        at, body = time_text(self.at), _object(self.body, 0)
        key, kind = encode_basestring(self.key), encode_basestring(self.kind)
        return _utf8(f'{{"at":"{at}","body":{body},"format":"{FORMAT}","key":{key},"kind":{kind}}}')

    def leaf(self) -> bytes:
        """The leaf hash of this record."""
        return leaf_hash(self.salt, self.canonical())

    def to_file(self) -> bytes:
        """The content of a record file: the canonical fields and the salt, in the one layout that is
        accepted.
        """
        fields = {**json.loads(self.canonical()), "salt": self.salt.hex()}
        return (json.dumps(fields, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()

    @classmethod
    def from_file(cls, raw: bytes) -> Record:
        """The record in a record file; MalformedError on the smallest departure from that layout."""
        fields = _load(raw)
        if isinstance(fields, dict) and "format" in fields:
            _check_format(fields["format"])
        if not isinstance(fields, dict) or fields.keys() != {"format", "kind", "key", "at", "body", "salt"}:
            raise MalformedError(
                "record", "the file is not one object with format, kind, key, at, body and salt"
            )
        record = cls._from_fields(fields, _salt(fields["salt"]))
        try:
            written = record.to_file()
        except RecordError as error:
            raise MalformedError("record", str(error)) from error
        if written != raw:
            raise MalformedError(
                "record", f"layout differs from the canonical one at byte {first_difference(raw, written)}"
            )
        return record

    @classmethod
    def from_canonical(cls, canonical: bytes, salt: bytes) -> Record:
        """The record behind stored canonical bytes."""
        fields = _load(canonical)
        if not isinstance(fields, dict):
            raise MalformedError("record", "the stored bytes are not one object")
        _check_format(fields.get("format"))
        return cls._from_fields(fields, salt)

    @classmethod
    def _from_fields(cls, fields: Mapping[str, object], salt: bytes) -> Record:
        kind, key, at, body = (fields.get(name) for name in ("kind", "key", "at", "body"))
        if not (
            isinstance(kind, str) and isinstance(key, str) and isinstance(at, str) and isinstance(body, dict)
        ):
            raise MalformedError("record", "kind, key and at must be text and body an object")
        return cls(kind, key, parse_time(at), body, salt)


def canonical_bytes(value: Mapping[str, object]) -> bytes:
    """`value` as canonical JSON; RecordError names what has no place in it."""
    return _utf8(_object(value, 0))


def time_text(at: datetime) -> str:
    """UTC time as text, with a fraction only where there is one; RecordError for a time without zone."""
    if at.tzinfo is not UTC:
        if at.utcoffset() is None:
            raise RecordError(f"time {at.isoformat()} has no time zone")
        at = at.astimezone(UTC)
    return f"{at.isoformat()[:-_UTC_OFFSET]}Z"


def parse_time(text: str) -> datetime:
    """The time that `time_text` wrote; MalformedError for every other way to write it."""
    try:
        at = datetime.fromisoformat(text)
        canonical = at.tzinfo is not None and time_text(at) == text
    except (ValueError, OverflowError) as error:  # overflow: a time whose UTC lies before the year 1
        raise MalformedError("record", f"at is not a time: {text!r}") from error
    if not canonical:
        raise MalformedError("record", f"at is not UTC text in canonical form: {text!r}")
    return at


def first_difference(left: bytes, right: bytes) -> int:
    """The offset of the first byte in which the two differ."""
    for offset, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return offset
    return min(len(left), len(right))


def _object(value: Mapping[str, object], depth: int) -> str:
    if depth > MAX_DEPTH:
        raise RecordError(f"objects and lists are nested deeper than {MAX_DEPTH}")
    keys = tuple(value)
    names, form = _shapes.get(keys) or _shape(keys)
    items: list[object] = []
    for name in names:
        item = value[name]
        # What comes most, without a call.
        if type(item) is str:
            items.append(encode_basestring(item))
        elif type(item) is int and -MAX_INTEGER <= item <= MAX_INTEGER:
            items.append(item)
        else:
            items.append(_value(item, depth))
    return form % tuple(items)


def _shape(keys: tuple[str, ...]) -> tuple[list[str], str]:
    shape = sorted([(key, _name(key)) for key in keys])
    names = [key for key, _ in shape]
    form = "{" + ",".join([name.replace("%", "%%") + "%s" for _, name in shape]) + "}"
    if len(_shapes) < _KEPT_SHAPES:
        _shapes[keys] = names, form
    return names, form


def _value(value: object, depth: int) -> str:
    # Exact types: a subclass (IntEnum, bool, a number of numpy) may print as something else than it is.
    kind = type(value)
    if isinstance(value, int) and kind is int:
        if -MAX_INTEGER <= value <= MAX_INTEGER:
            return str(value)
        raise RecordError(f"integer {value} lies outside +-(2^53 - 1)")
    if isinstance(value, str) and kind is str:
        return encode_basestring(value)
    if isinstance(value, dict) and kind is dict:
        return _object(value, depth + 1)
    if isinstance(value, list) and kind is list:
        return _list(value, depth + 1)
    named = _TYPE_NAMES.get(kind, kind.__name__)
    raise RecordError(f"a record holds text, integers, lists and objects only, not {named}: {value!r}")


def _list(items: list[object], depth: int) -> str:
    if depth > MAX_DEPTH:
        raise RecordError(f"objects and lists are nested deeper than {MAX_DEPTH}")
    return "[" + ",".join([_value(item, depth) for item in items]) + "]"


def _name(key: object) -> str:
    if type(key) is not str or not key.isascii() or not key.isprintable():
        raise RecordError(f"object key {key!r} is not printable ASCII text")
    return encode_basestring(key) + ":"


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise RecordError("text holds a lone surrogate, which UTF-8 cannot carry") from error


def _check_format(found: object) -> None:
    if found != FORMAT:
        raise MalformedError("record", "format is not known", expected=FORMAT, got=repr(found)[:40])


def _salt(text: object) -> bytes:
    try:
        salt = bytes.fromhex(cast("str", text))
    except (TypeError, ValueError) as error:
        raise MalformedError("record", "salt is not hexadecimal text") from error
    if len(salt) != SALT_BYTES:
        raise MalformedError(
            "record", "salt has the wrong length", expected=f"{SALT_BYTES} bytes", got=f"{len(salt)} bytes"
        )
    return salt


def _load(raw: bytes) -> object:
    if len(raw) > MAX_FILE_BYTES:
        raise MalformedError("record", f"the file is larger than {MAX_FILE_BYTES} bytes")
    _check_nesting(raw)
    try:
        return json.loads(raw.decode())
    except ValueError as error:
        raise MalformedError("record", f"the file is not JSON in UTF-8: {error}") from error


def _check_nesting(raw: bytes) -> None:
    """Refuse deep nesting before the parser sees it: where the recursion limit was raised (py-evm does),
    a file of brackets would end the process.
    """
    depth = 0
    for token in _STRING_OR_BRACKET.findall(raw):
        if token in b"[{":
            depth += 1
        elif token in b"]}":
            depth -= 1
        if depth > MAX_DEPTH + 2:  # the file's own object, then the body
            raise MalformedError("record", f"objects and lists are nested deeper than {MAX_DEPTH}")
