"""Events: published for one VEN each, kept with the answer of that VEN, composed anew whenever they are sent.

Rules: event row, outbox row and journal fact share the caller's transaction; every path to an event but its
cancellation goes through `admit`, after the rules of the standard. `modification_number` counts changes of
the content from 0 (EVT-01, EVT-02). For many VENs at once: `vtn.publication` and `vtn.revision`. What an
event says, stored or sent, is in `vtn.event_content`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import Event
from openadr.enums import ResponseRequired
from openadr.interval import ZERO
from openadr.overlap import overlapping
from vtn import event_content, given
from vtn.publication import PER_TURN, Admit, publish_all
from vtn.revision import cancel_all, modify_all
from vtn.schema import EPOCH, MICROSECOND, event_table, micros

_CURRENT = """
SELECT e.ven_id, e.content, e.cancelled_at, e.responded_at FROM json_each(?) AS given
CROSS JOIN vtn_event AS e WHERE e.ven_id = given.key AND (e.ends_at IS NULL OR e.ends_at > ?)
"""
ANSWER_WITHIN = timedelta(minutes=10)  # at the least: a VEN that polls every 5 minutes has met it by then


@dataclass(frozen=True, slots=True)
class EventState:
    """Where one event stands with one VEN; opt and answer are those of the newest modification.

    `offered_at` is the first answer that carried it, `delivered_at` the VEN's own proof that it has it,
    `respond_by` the instant until which an answer is expected; None: the VEN does not answer this event.
    """

    ven_id: str
    event_id: str
    modification_number: int
    published_at: datetime
    ends_at: datetime | None
    offered_at: datetime | None
    delivered_at: datetime | None
    opt: str | None
    response_code: str | None
    responded_at: datetime | None
    cancelled_at: datetime | None
    respond_by: datetime | None

    def is_unanswered(self, now: datetime) -> bool:
        """Whether an answer is overdue: the operator is shown "no response" (EVT-40)."""
        expected = self.respond_by is not None and self.respond_by <= now
        return expected and self.responded_at is None and self.opt is None


async def publish(conn: AsyncConnection, event: Event, ven_id: str, now: datetime, admit: Admit) -> None:
    """Give a VEN a new event; the same again is no second one.

    NotAdmitted where the event breaks a rule, is over already or the agreement forbids it, DuplicateEvent.
    """
    await publish_all(conn, {ven_id: event}, now, admit)


async def modify(conn: AsyncConnection, event: Event, ven_id: str, now: datetime, admit: Admit) -> None:
    """Replace an event that is not over; modifications are counted here, and no change is none.

    NotAdmitted where the event breaks a rule, its past would change (EVT-04) or the agreement forbids it.
    """
    await modify_all(conn, {ven_id: event}, now, admit)


async def cancel(
    conn: AsyncConnection, event_id: str, ven_id: str, now: datetime, reason: str | None = None
) -> None:
    """Take an event back; it is sent as cancelled until the VEN answered or its time has passed (EVT-11)."""
    await cancel_all(conn, event_id, [ven_id], now, reason)


async def event_states(conn: AsyncConnection, event_id: str) -> list[EventState]:
    """How each VEN that was given this event stands to it."""
    t = event_table
    rows = await conn.execute(select(t).where(t.c.event_id == event_id).order_by(t.c.ven_id))
    states = []
    for number, row in enumerate(rows, 1):
        states.append(_state(row))
        if number % PER_TURN == 0:
            await asyncio.sleep(0)  # others have their turn
    return states


def _state(row: Row[Any]) -> EventState:
    return EventState(
        ven_id=row.ven_id,
        event_id=row.event_id,
        modification_number=row.modification_number,
        published_at=row.published_at,
        ends_at=row.ends_at,
        offered_at=row.offered_at,
        delivered_at=row.delivered_at,
        opt=row.opt,
        response_code=row.response_code,
        responded_at=row.responded_at,
        cancelled_at=row.cancelled_at,
        respond_by=_respond_by(event_content.read(row.content), row.published_at),
    )


def _respond_by(event: Event, published_at: datetime) -> datetime | None:
    """The notice that the VEN was given with this version, at the least ANSWER_WITHIN."""
    if event.response_required is ResponseRequired.NEVER:
        return None
    told_at = event.descriptor.modification_date_time or published_at
    return max((event.active_period.notification or ZERO).after(told_at), told_at + ANSWER_WITHIN)


async def event_of(conn: AsyncConnection, ven_id: str, event_id: str) -> Event | None:
    """The event as it is stored (its status is not kept up to date), None where the VEN was given none."""
    row = await _row(conn, ven_id, event_id)
    return None if row is None else event_content.read(row.content)


@dataclass(frozen=True, slots=True)
class Current:
    """The events of a VEN that are not over, as of now, by their start.

    `acknowledged`: when it answered a cancellation, by event id (see `openadr.overlap`).
    """

    events: list[Event]
    acknowledged: Mapping[str, datetime]

    def overlapping(self, event: Event) -> list[Event]:
        """Those that `event` would overlap with; it refuses none (EVT-33)."""
        return overlapping(event, self.events, self.acknowledged)


async def current(conn: AsyncConnection, ven_ids: Sequence[str], now: datetime) -> dict[str, Current]:
    """What each of these VENs has to do."""
    events: dict[str, list[Event]] = {ven_id: [] for ven_id in ven_ids}
    acknowledged: dict[str, dict[str, datetime]] = {ven_id: {} for ven_id in ven_ids}
    found = await conn.exec_driver_sql(_CURRENT, (given.ids(ven_ids), micros(now)))
    for row in found.mappings():
        made, cancelled = event_content.read(row["content"]), row["cancelled_at"] is not None
        events[row["ven_id"]].append(event_content.as_of(made, now, cancelled=cancelled))
        if cancelled and row["responded_at"] is not None:
            answered_at = EPOCH + row["responded_at"] * MICROSECOND
            acknowledged[row["ven_id"]][made.event_id] = answered_at
    for listed in events.values():
        listed.sort(key=lambda event: (event.dtstart, event.event_id))
    return {ven_id: Current(events[ven_id], acknowledged[ven_id]) for ven_id in events}


async def overlaps(conn: AsyncConnection, event: Event, ven_id: str, now: datetime) -> list[Event]:
    """The events of this VEN that `event` would overlap with, by their start."""
    return (await current(conn, [ven_id], now))[ven_id].overlapping(event)


async def _row(conn: AsyncConnection, ven_id: str, event_id: str) -> Row[Any] | None:
    t = event_table
    rows = await conn.execute(select(t).where(t.c.ven_id == ven_id, t.c.event_id == event_id))
    return rows.one_or_none()
