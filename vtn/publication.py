"""A new event given to many VENs at once: what they share is checked and written once.

Rules as in `vtn.event`, which publishes to one VEN by this: all in the caller's transaction, `admit` asked
for each VEN after the rules of the standard, event row, outbox row and journal fact together. Others have
their turn after each PER_TURN VENs.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import Event
from vtn import event_content, given, journal, outbox
from vtn.errors import DuplicateEvent, NotAdmitted
from vtn.schema import event_table

Admit = Callable[[AsyncConnection, Event, str, datetime], Awaitable[None]]

PER_TURN = 100
_KNOWN = """
SELECT e.ven_id, e.content FROM json_each(?) AS given
CROSS JOIN vtn_event AS e WHERE e.ven_id = given.key AND e.event_id = given.value->>'event_id'
"""
_REPORT_ONLY = """
SELECT v.ven_id FROM json_each(?) AS given
CROSS JOIN vtn_ven AS v WHERE v.ven_id = given.key AND v.report_only
"""


class _Draft:
    """An event before it is anybody's."""

    def __init__(self, event: Event, now: datetime) -> None:
        self.event = event
        self._now = now

    def for_ven(self, ven_id: str) -> Event:
        return replace(self.event, target=self.event.target.of_ven(ven_id))

    @cached_property
    def ends_at(self) -> datetime | None:
        """When it is over; NotAdmitted where it breaks a rule, or is over already."""
        event_content.check(self.event)
        ends_at = event_content.last_moment(self.event)
        if ends_at is not None and ends_at <= self._now:
            raise NotAdmitted("EVT-04", f"event {self.event.event_id!r} would be over before it is published")
        return ends_at

    @cached_property
    def write(self) -> Callable[[str], bytes]:
        return event_content.writer(self.event)

    @cached_property
    def told(self) -> Callable[[str], bytes]:
        return event_content.told_writer(self.event, cancelled=False)

    @cached_property
    def body(self) -> dict[str, Any]:
        return fact_body("published", self.event)


class _Drafts:
    """The drafts of events, one for all that differ in nothing but the VEN."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._by_object: dict[int, _Draft] = {}
        self._by_value: dict[Event, _Draft] = {}

    def of(self, event: Event) -> _Draft:
        found = self._by_object.get(id(event))
        if found is None:
            bare = event_content.for_ven(event, "-", 0, self._now)
            found = self._by_value.setdefault(bare, _Draft(bare, self._now))
            self._by_object[id(event)] = found
        return found


@dataclass(frozen=True, slots=True)
class _Issue:
    """One VEN's copy."""

    ven_id: str
    draft: _Draft
    content: bytes
    sha256: str


async def publish_all(
    conn: AsyncConnection, events: Mapping[str, Event], now: datetime, admit: Admit
) -> None:
    """Give each VEN (by its id) a new event, most often the same; the same again is no second one.

    NotAdmitted (with the VEN's id) where an event breaks a rule, is over already or the agreement forbids it,
    DuplicateEvent; the caller undoes the transaction then.
    """
    drafts, issued = _Drafts(now), list(events.items())
    for start in range(0, len(issued), PER_TURN):
        if start:
            await asyncio.sleep(0)
        turn = [(ven_id, drafts.of(event)) for ven_id, event in issued[start : start + PER_TURN]]
        await _write(conn, await _admitted(conn, turn, now, admit), now)


async def having(conn: AsyncConnection, event_id: str, ven_ids: Sequence[str]) -> set[str]:
    """Those of the VENs that were given the event."""
    rows = await conn.exec_driver_sql(_KNOWN, (given.events(dict.fromkeys(ven_ids, event_id)),))
    return {row[0] for row in rows}


async def _admitted(
    conn: AsyncConnection, turn: Sequence[tuple[str, _Draft]], now: datetime, admit: Admit
) -> list[_Issue]:
    """What is new of these, all of it allowed."""
    named = given.events({ven_id: draft.event.event_id for ven_id, draft in turn})
    rows = (await conn.exec_driver_sql(_KNOWN, (named,))).mappings()
    known = {row["ven_id"]: row["content"] for row in rows}
    no_events = set((await conn.exec_driver_sql(_REPORT_ONLY, (named,))).scalars())
    issues = []
    for ven_id, draft in turn:
        own = draft.for_ven(ven_id)
        if ven_id in known:
            if event_content.same_content(event_content.read(known[ven_id]), own):
                continue
            raise DuplicateEvent(f"event {own.event_id!r} exists already for VEN {ven_id!r}: modify it")
        try:
            draft.ends_at  # noqa: B018 - it is checked
            if ven_id in no_events:
                raise NotAdmitted("REG-07", f"VEN {ven_id!r} is registered for reports only")
            await admit(conn, own, ven_id, now)
        except NotAdmitted as error:
            error.ven_id = ven_id
            raise
        content = draft.write(ven_id)
        issues.append(_Issue(ven_id, draft, content, hashlib.sha256(content).hexdigest()))
    return issues


async def _write(conn: AsyncConnection, issues: Sequence[_Issue], now: datetime) -> None:
    if not issues:
        return
    rows = [
        {
            "ven_id": issue.ven_id,
            "event_id": issue.draft.event.event_id,
            "modification_number": 0,
            "content": issue.content,
            "published_at": now,
            "ends_at": issue.draft.ends_at,
        }
        for issue in issues
    ]
    await conn.execute(insert(event_table), rows)
    keys = [(issue.ven_id, issue.draft.event.event_id) for issue in issues]
    await outbox.queue_events(conn, keys, now)
    facts = [
        journal.New(
            issue.ven_id,
            f"{issue.draft.event.event_id}/0",
            {
                **issue.draft.body,
                "content_sha256": issue.sha256,
                "event_sha256": hashlib.sha256(issue.draft.told(issue.ven_id)).hexdigest(),
            },
            issue.sha256,
        )
        for issue in issues
    ]
    await journal.record_all(conn, "signal", facts, now)


def fact_body(action: str, event: Event) -> dict[str, Any]:
    """What the journal says of a version of an event, but for the hashes of its content.

    `content_sha256` is of the bytes that are stored, `event_sha256` of what a VEN is told
    (`openadr.event_digest`), which it can hold against what came.
    """
    return {
        "action": action,
        "event_id": event.event_id,
        "modification_number": event.modification_number,
        "dtstart": journal.iso(event.dtstart),
        "end": journal.iso(event.end) if event.end else "",
        "signals": [event_content.signal_body(signal) for signal in event.signals],
    }
