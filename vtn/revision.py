"""An event that changes or is taken back, for all its VENs at once: what they share is done once.

Rules: all in the caller's transaction; every VEN's version is judged before the first is written, a change by
`admit` too, after the rules of the standard; the same change again is none. Event row, outbox row and journal
fact together. Others have their turn after each PER_TURN VENs.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import Event
from vtn import event_content, given, journal, outbox, qualification
from vtn.errors import NotAdmitted, UnknownObject
from vtn.publication import PER_TURN, Admit, fact_body
from vtn.schema import micros

_NOBODY = "-"
_HELD = """
SELECT e.ven_id, e.event_id, e.modification_number, e.content, e.ends_at, e.cancelled_at
FROM json_each(?) AS given
CROSS JOIN vtn_event AS e WHERE e.ven_id = given.key AND e.event_id = given.value->>'event_id'
"""
_NEW_VERSION = """
UPDATE vtn_event SET modification_number = ?, content = ?, ends_at = ?, cancelled_at = ?, opt = ?,
    offered_at = NULL, delivered_at = NULL, response_code = NULL, responded_at = NULL
WHERE ven_id = ? AND event_id = ?
"""


class _Row(NamedTuple):
    """An event as one VEN has it."""

    ven_id: str
    event_id: str
    modification_number: int
    content: bytes
    ends_at: int | None
    cancelled_at: int | None

    @property
    def kind(self) -> tuple[bytes, bytes]:
        """What it has in common with those of other VENs."""
        head, _, tail = event_content.parted(self.content)
        return head, tail

    def is_over(self, now: datetime) -> bool:
        return self.cancelled_at is not None or (self.ends_at is not None and self.ends_at <= micros(now))


class _Version:
    """A new version before it is anybody's."""

    def __init__(self, action: str, event: Event, cancelled_at: datetime | None = None) -> None:
        self.action = action
        self.event = event
        self.ends_at = event_content.last_moment(event)
        self.cancelled_at = cancelled_at

    def for_ven(self, ven_id: str) -> Event:
        return replace(self.event, target=self.event.target.of_ven(ven_id))

    @cached_property
    def write(self) -> Callable[[str], bytes]:
        return event_content.writer(self.event)

    @cached_property
    def told(self) -> Callable[[str], bytes]:
        cancelled = self.cancelled_at is not None
        return event_content.told_writer(self.event, cancelled=cancelled)

    @cached_property
    def body(self) -> dict[str, object]:
        return fact_body(self.action, self.event)


@dataclass(frozen=True, slots=True)
class _Change:
    """One VEN's copy of it."""

    ven_id: str
    version: _Version


async def modify_all(conn: AsyncConnection, events: Mapping[str, Event], now: datetime, admit: Admit) -> None:
    """Replace the event of each VEN (by its id); modifications are counted here, and no change is none.

    NotAdmitted (with the VEN's id) where an event is over or breaks a rule, its past would change (EVT-04) or
    the agreement forbids it, UnknownObject; nothing was written then.
    """
    changes: list[_Change] = []
    versions: dict[tuple[tuple[bytes, bytes], int], _Version | None] = {}
    async for row in _held(conn, {ven_id: event.event_id for ven_id, event in events.items()}):
        event = events[row.ven_id]
        with _named(row.ven_id):
            if row.cancelled_at is not None:
                raise _over(row)
            key = row.kind, id(event)
            if key not in versions:
                versions[key] = _modified(row, event, now)
            version = versions[key]
            if version is None:
                continue
            await admit(conn, version.for_ven(row.ven_id), row.ven_id, now)
        changes.append(_Change(row.ven_id, version))
    await _write(conn, changes, now)


async def cancel_all(
    conn: AsyncConnection, event_id: str, ven_ids: Sequence[str], now: datetime, reason: str | None = None
) -> None:
    """Take an event back; a VEN is sent it as cancelled until it answered or the time has passed (EVT-11).

    Those that it was taken from already are left as they are. NotAdmitted (with the VEN's id) where it is
    over, UnknownObject; nothing was written then.
    """
    changes: list[_Change] = []
    versions: dict[tuple[bytes, bytes], _Version] = {}
    async for row in _held(conn, dict.fromkeys(ven_ids, event_id)):
        if row.cancelled_at is not None:
            continue
        if row.is_over(now):
            with _named(row.ven_id):
                raise _over(row)
        if row.kind not in versions:
            versions[row.kind] = _cancelled(row, now, reason)
        changes.append(_Change(row.ven_id, versions[row.kind]))
    await _write(conn, changes, now)


def _modified(row: _Row, event: Event, now: datetime) -> _Version | None:
    """The next version of what VENs have alike; None where nothing changes."""
    old = event_content.read(row.content)
    old = replace(old, target=old.target.of_ven(_NOBODY))
    new = event_content.for_ven(event, _NOBODY, row.modification_number + 1, now)
    if event_content.same_content(old, new):
        return None
    if row.is_over(now):
        raise _over(row)
    if old.end is not None and old.end <= now:
        raise NotAdmitted("EVT-04", f"event {row.event_id!r} is over but for its random start")
    event_content.check_change(old, new, now)
    event_content.check(new)
    return _Version("modified", new)


def _cancelled(row: _Row, now: datetime, reason: str | None) -> _Version:
    event = event_content.read(row.content)
    event = replace(event, descriptor=replace(event.descriptor, modification_reason=reason))
    event = event_content.for_ven(event, _NOBODY, row.modification_number + 1, now)
    return _Version("cancelled", event, cancelled_at=now)


def _over(row: _Row) -> NotAdmitted:
    return NotAdmitted("EVT-04", f"event {row.event_id!r} is over")


@contextmanager
def _named(ven_id: str) -> Iterator[None]:
    try:
        yield
    except NotAdmitted as error:
        error.ven_id = ven_id
        raise


async def _held(conn: AsyncConnection, keys: Mapping[str, str]) -> AsyncIterator[_Row]:
    """The events that these VENs have, by id, in the order given; UnknownObject where one has it not."""
    for turn in _turns(list(keys)):
        asked = given.events({ven_id: keys[ven_id] for ven_id in turn})
        rows = {row[0]: _Row._make(row) for row in await conn.exec_driver_sql(_HELD, (asked,))}
        for ven_id in turn:
            if ven_id not in rows:
                raise UnknownObject(f"VEN {ven_id!r} has no event {keys[ven_id]!r}")
            yield rows[ven_id]
        await asyncio.sleep(0)


def _turns(whole: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(whole), PER_TURN):
        yield whole[start : start + PER_TURN]


async def _write(conn: AsyncConnection, changes: Sequence[_Change], now: datetime) -> None:
    for start in range(0, len(changes), PER_TURN):
        turn = changes[start : start + PER_TURN]
        events = {change.ven_id: change.version.event for change in turn}
        opts = await qualification.settled_opts(conn, events)
        rows, facts = [], []
        for change in turn:
            version, event = change.version, change.version.event
            content = version.write(change.ven_id)
            digest = hashlib.sha256(content).hexdigest()
            times = [None if at is None else micros(at) for at in (version.ends_at, version.cancelled_at)]
            opt = opts.get(change.ven_id)
            rows.append((event.modification_number, content, *times, opt, change.ven_id, event.event_id))
            key = f"{event.event_id}/{event.modification_number}"
            told = hashlib.sha256(version.told(change.ven_id)).hexdigest()
            body = {**version.body, "content_sha256": digest, "event_sha256": told}
            facts.append(journal.New(change.ven_id, key, body, digest))
        await conn.exec_driver_sql(_NEW_VERSION, rows)
        await outbox.queue_events(conn, [(ven_id, event.event_id) for ven_id, event in events.items()], now)
        await journal.record_all(conn, "signal", facts, now)
        await asyncio.sleep(0)
