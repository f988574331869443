"""Versions of what the API shows: the ETag of an answer, and what has changed since an earlier one.

A tag has two halves: one of all that the answer says, and before it one without what changes by itself, such
as the time of the last contact. `If-None-Match` asks for the whole, `If-Match` for the first half only, or
no change could ever be carried out on a VEN that polls.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from vtn.bounded import Bounded
from vtn.problem import FieldProblem, Kind, Problem, shown

STALE = Kind("stale", 412, "It has changed since you read it")
KEPT_BYTES = 4 * 1024 * 1024
MOST_CHANGES = 20
_LETTERS = 20


class Versions:
    """What was shown lately, by its tag, so that a stale change can be told what has changed since."""

    def __init__(self) -> None:
        self._shown: Bounded[tuple[str, str], str] = Bounded(KEPT_BYTES)

    def tag(self, place: str, text: str, passing: Collection[str]) -> str:
        """The tag of what is at a place, without quotation marks; it is remembered for a while."""
        whole = _digest(text)
        if not passing:
            self._shown.put((place, whole), text, len(text))
            return whole
        steady = json.dumps(_without(json.loads(text), passing), sort_keys=True)
        self._shown.put((place, _digest(steady)), steady, len(steady))
        return f"{_digest(steady)}.{whole}"

    def check(self, place: str, given: Collection[str], text: str, passing: Collection[str]) -> None:
        """Problem (412) that says what has changed, where none of the tags is of what is there now."""
        now = _steady(self.tag(place, text, passing))
        if "*" in given or now in {_steady(tag) for tag in given}:
            return
        before = next((old for tag in given if (old := self._shown.get((place, _steady(tag))))), None)
        current = self._shown.get((place, now))
        if before is None or current is None:
            raise Problem(STALE, "this version is not known here any more: read it again")
        found = list(_changes(json.loads(before), json.loads(current)))[:MOST_CHANGES]
        raise Problem(STALE, f"changed since: {', '.join(change.field for change in found)}", found)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_LETTERS]


def _steady(tag: str) -> str:
    return tag.partition(".")[0]


def _without(value: Any, names: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _without(part, names) for name, part in value.items() if name not in names}
    return [_without(part, names) for part in value] if isinstance(value, list) else value


def _changes(before: Any, now: Any, place: str = "") -> Iterator[FieldProblem]:
    """The fields that differ, with what they are now."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted({*before, *now}):
            yield from _changes(before.get(name), now.get(name), f"{place}.{name}" if place else name)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from _changes(old, new, f"{place}[{number}]")
    elif before != now:
        yield FieldProblem(field=place or "body", value=shown(now), detail=f"it was {shown(before)}")
