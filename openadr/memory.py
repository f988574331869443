"""What libxml2 would remember of a body, and how to make it forget.

libxml2 keeps every name and namespace that a thread has ever parsed, and parses nothing new any more when it
has kept too many. A body whose names are new is therefore parsed in a thread of its own, whose memory goes
with it; only the names of bodies that the schema allows are remembered as known, and not more than 4096.
"""

import re
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from openadr.errors import TooLarge

T = TypeVar("T")

_MAX_NAME_BYTES = 512
_MAX_KNOWN_NAMES = 4096
_TAG = re.compile(rb"<([^\s/>!][^\s/>]*)")
_QUOTED = re.compile(rb"\s*(\"[^\"]*\"|'[^']*')")
_NO_NAME = re.compile(rb"[<>\"']")  # a sign that belongs to text, not to the name of an attribute
_SIGNED = b"SignatureValue>"
# text without quotes, from the end of one tag to the next: base64 has equals signs, but no names
_TEXT = re.compile(rb">[^<>\"']*<")
_CACHED_SHAPE_BYTES = 4096
_UNKNOWN = b"="  # stands for a name that could not be told; never known
_known: set[bytes] = set()


def parse_apart(raw: bytes, work: Callable[[bool], tuple[T, bool]]) -> T:
    """The result of `work`, which parses `raw`; in a thread of its own where `raw` has names never met.

    `work` is told whether there are such, and says whether they may be remembered.
    """
    names = kept_names(raw)
    if names <= _known:
        return work(False)[0]
    if max(map(len, names)) > _MAX_NAME_BYTES:
        raise TooLarge(f"a name or namespace of more than {_MAX_NAME_BYTES} bytes")
    result, remembered = _in_own_thread(lambda: work(True))
    if remembered and _UNKNOWN not in names and len(_known) + len(names) <= _MAX_KNOWN_NAMES:
        _known.update(names)
    return result


def kept_names(raw: bytes) -> frozenset[bytes]:
    """Tags, attribute names and namespace declarations with their value; too many rather than too few.

    Costs a pass over the bytes and a little for each `<` and `=`, whatever else the body holds.
    """
    if _SIGNED not in raw:
        return _names(raw)
    shape = _TEXT.sub(b"><", raw)
    return _names_of_shape(shape) if len(shape) <= _CACHED_SHAPE_BYTES else _names(shape)


def _names(shape: bytes) -> frozenset[bytes]:
    return frozenset((*_TAG.findall(shape), *_attributes(shape)))


_names_of_shape = lru_cache(maxsize=1024)(_names)  # the signed messages of one make are of a few shapes


def _attributes(raw: bytes) -> set[bytes]:
    names: set[bytes] = set()
    values: set[bytes] = set()
    position = -1
    for before in raw.split(b"=")[:-1]:  # a name stands between its sign and the one before
        position += len(before) + 1
        last = before[-_MAX_NAME_BYTES - 1 :].rsplit(None, 1)
        if last:
            names.add(last[-1])
            if last[-1].startswith(b"xmlns"):
                value = _QUOTED.match(raw, position + 1)
                values.add(value[1] if value else _UNKNOWN)
        elif len(before) > _MAX_NAME_BYTES:
            values.add(_UNKNOWN)
    if names and max(map(len, names)) > _MAX_NAME_BYTES:
        values.add(_UNKNOWN)  # an attribute with a very long name, or some base64
    return values | {name for name in names if len(name) <= _MAX_NAME_BYTES and not _NO_NAME.search(name)}


def _in_own_thread(work: Callable[[], T]) -> T:
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # carried over to the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, name="openadr-parser")
    thread.start()
    thread.join()
    if failure:
        error = failure.pop()
        try:
            raise error
        finally:
            del error  # its traceback holds this frame: a cycle would keep the tree until the next collection
    return outcome[0]
