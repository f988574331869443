"""Events: published for one VEN each, kept with the answer of that VEN, composed anew whenever they are sent.

Rules: event row, outbox row and journal fact share the caller's transaction; every path to an event but its
cancellation goes through `admit`. Status, createdDateTime and currentValue are not stored, they follow from
`now` (EVT-03, EVT-10, EVT-25); `modification_number` counts changes of the content from 0 (EVT-01, EVT-02).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import DistributeEvent, EiResponse, Event, Signal, decode, encode
from openadr.enums import EventStatus, ResponseRequired
from openadr.parser import Limits
from openadr.timeline import event_status, in_order
from vtn import journal, outbox
from vtn.errors import DuplicateEvent, NotAdmitted, UnknownObject
from vtn.schema import event_table

Admit = Callable[[AsyncConnection, Event, str, datetime], Awaitable[None]]

OWN = Limits(max_bytes=2**30, max_nodes=10_000_000, max_intervals=1_000_000)  # limits are for what comes in
OFFERS_WITHOUT_ANSWER = 3  # of an event that nobody answers by its own rule (responseRequired `never`, R52)


@dataclass(frozen=True, slots=True)
class EventState:
    """Where one event stands with one VEN; opt and answer are those of the newest modification.

    `offered_at` is the first answer that carried it, `delivered_at` the VEN's own proof that it has it.
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


async def publish(conn: AsyncConnection, event: Event, ven_id: str, now: datetime, admit: Admit) -> None:
    """Give a VEN a new event; the same again is no second one. NotAdmitted, DuplicateEvent."""
    event = _for_ven(event, ven_id, 0, now)
    row = await _row(conn, ven_id, event.event_id)
    if row is not None:
        if _same_content(_stored(row.content), event):
            return
        raise DuplicateEvent(f"event {event.event_id!r} exists already for VEN {ven_id!r}: modify it")
    await admit(conn, event, ven_id, now)
    content = _content(event)
    await conn.execute(
        insert(event_table).values(
            ven_id=ven_id,
            event_id=event.event_id,
            modification_number=0,
            content=content,
            published_at=now,
            ends_at=_last_moment(event),
        )
    )
    await _announce(conn, "published", event, ven_id, content=content, now=now)


async def modify(conn: AsyncConnection, event: Event, ven_id: str, now: datetime, admit: Admit) -> None:
    """Replace an event that is not over; modifications are counted here, and no change is none."""
    row = await _changeable(conn, ven_id, event.event_id, now)
    old = _stored(row.content)
    event = _for_ven(event, ven_id, old.modification_number + 1, now)
    if _same_content(old, event):
        return
    if old.dtstart <= now and event.dtstart != old.dtstart:
        raise NotAdmitted("EVT-04", "the start of an event that has started is in the past")
    await admit(conn, event, ven_id, now)
    content = _content(event)
    await _new_version(conn, row, content=content, ends_at=_last_moment(event))
    await _announce(conn, "modified", event, ven_id, content=content, now=now)


async def cancel(conn: AsyncConnection, event_id: str, ven_id: str, now: datetime) -> None:
    """Take an event back; it is sent as cancelled until the VEN answered or its time has passed (EVT-11)."""
    row = await _row(conn, ven_id, event_id)
    if row is not None and row.cancelled_at is not None:
        return
    row = await _changeable(conn, ven_id, event_id, now)
    event = _stored(row.content)
    event = _for_ven(event, ven_id, event.modification_number + 1, now)
    content = _content(event)
    await _new_version(conn, row, content=content, cancelled_at=now)
    await _announce(conn, "cancelled", event, ven_id, content=content, now=now)


async def event_states(conn: AsyncConnection, event_id: str) -> list[EventState]:
    """How each VEN that was given this event stands to it."""
    t = event_table
    rows = await conn.execute(
        select(
            t.c.ven_id,
            t.c.event_id,
            t.c.modification_number,
            t.c.published_at,
            t.c.ends_at,
            t.c.offered_at,
            t.c.delivered_at,
            t.c.opt,
            t.c.response_code,
            t.c.responded_at,
            t.c.cancelled_at,
        )
        .where(t.c.event_id == event_id)
        .order_by(t.c.ven_id)
    )
    return [EventState(*row) for row in rows]


async def event_of(conn: AsyncConnection, ven_id: str, event_id: str) -> Event | None:
    """The event as it is stored (its status is not kept up to date), None where the VEN was given none."""
    row = await _row(conn, ven_id, event_id)
    return None if row is None else _stored(row.content)


async def distribute(
    conn: AsyncConnection,
    ven_id: str,
    vtn_id: str,
    now: datetime,
    *,
    request_id: str = "",
    reply_limit: int | None = None,
) -> DistributeEvent:
    """All far, near, active and unanswered cancelled events of a VEN in order, noted as offered."""
    waiting = await outbox.waiting(conn, ven_id, outbox.EVENT)
    events = await _current(conn, ven_id, waiting, now)
    if reply_limit is not None:
        events = events[:reply_limit]
    sent = [event.event_id for event in events if event.event_id in waiting]
    await outbox.offered(conn, ven_id, outbox.EVENT, sent, now)
    t = event_table
    await conn.execute(
        update(t)
        .where(t.c.ven_id == ven_id, t.c.event_id.in_(sent), t.c.offered_at.is_(None))
        .values(offered_at=now)
    )
    return DistributeEvent(
        response=EiResponse.ok(request_id),
        request_id=secrets.token_hex(8),
        vtn_id=vtn_id,
        events=tuple(events),
    )


async def drop_what_is_over(conn: AsyncConnection, ven_id: str, now: datetime) -> bool:
    """Stop offering events whose time has passed or that expect no answer; whether any event still waits."""
    waiting = await outbox.waiting(conn, ven_id, outbox.EVENT)
    t = event_table
    over: list[str] = []
    for key, offers in waiting.items():
        row = await _row(conn, ven_id, key)
        if row is None or (row.ends_at is not None and row.ends_at <= now):
            over.append(key)
        elif offers >= OFFERS_WITHOUT_ANSWER and _expects_no_answer(row.content):
            over.append(key)
            await conn.execute(
                update(t).where(t.c.ven_id == ven_id, t.c.event_id == key).values(delivered_at=now)
            )
    if over:
        await outbox.answered(conn, ven_id, outbox.EVENT, over)
    return len(over) < len(waiting)


async def _current(
    conn: AsyncConnection, ven_id: str, waiting: Mapping[str, int], now: datetime
) -> list[Event]:
    """The events of a VEN's list, in its order (EVT-16)."""
    t = event_table
    rows = await conn.execute(
        select(t.c.event_id, t.c.content, t.c.cancelled_at).where(
            t.c.ven_id == ven_id, or_(t.c.ends_at.is_(None), t.c.ends_at > now)
        )
    )
    current = [
        _as_of(_stored(content), cancelled_at is not None, now)
        for event_id, content, cancelled_at in rows
        if cancelled_at is None or event_id in waiting
    ]
    return in_order(current, now)


def _as_of(event: Event, cancelled: bool, now: datetime) -> Event:
    """The event with all that depends on the instant at which it is sent."""
    status = EventStatus.CANCELLED if cancelled else event_status(event, now)
    descriptor = replace(event.descriptor, event_status=status, created_date_time=_whole(now))
    active = status is EventStatus.ACTIVE
    signals = tuple(
        replace(signal, current_value=_current_value(signal, event, active, now)) for signal in event.signals
    )
    return replace(event, descriptor=descriptor, signals=signals)


def _current_value(signal: Signal, event: Event, active: bool, now: datetime) -> float | None:
    """The running interval's value; SIMPLE is 0 where the event is not active, others have none (EVT-25)."""
    if not active:
        return 0.0 if signal.signal_name.upper() == "SIMPLE" else None
    start = event.dtstart
    for interval in signal.intervals:
        end = interval.duration.after(start) if interval.duration else None
        if end is None or now < end:
            return interval.payload_float
        start = end
    return signal.intervals[-1].payload_float if signal.intervals else None


def _for_ven(event: Event, ven_id: str, modification_number: int, now: datetime) -> Event:
    """The event as it is stored: for this VEN alone (TGT-05), without what follows from the clock."""
    descriptor = replace(
        event.descriptor,
        modification_number=modification_number,
        modification_date_time=_whole(now) if modification_number else None,
        created_date_time=_whole(now),
        event_status=EventStatus.FAR,
    )
    signals = tuple(replace(signal, current_value=None) for signal in event.signals)
    target = replace(event.target, ven_id=(ven_id,))
    return replace(event, descriptor=descriptor, signals=signals, target=target)


def _same_content(old: Event, new: Event) -> bool:
    """Whether nothing but numbers and instants of the modification differs."""

    def bare(event: Event) -> Event:
        descriptor = replace(
            event.descriptor,
            modification_number=0,
            modification_date_time=None,
            created_date_time=old.descriptor.created_date_time,
        )
        return replace(event, descriptor=descriptor)

    return bare(old) == bare(new)


def _content(event: Event) -> bytes:
    return encode(DistributeEvent(request_id="0", vtn_id="0", events=(event,)))


@lru_cache(maxsize=1024)
def _stored(content: bytes) -> Event:
    message = decode(content, OWN)
    assert isinstance(message, DistributeEvent)  # noqa: S101 - written by _content
    return message.events[0]


def _expects_no_answer(content: bytes) -> bool:
    return _stored(content).response_required is ResponseRequired.NEVER


def _last_moment(event: Event) -> datetime | None:
    """When the event leaves the list: its end plus the random start (EVT-12); None: open-ended."""
    if event.end is None or event.active_period.start_after is None:
        return event.end
    return event.active_period.start_after.after(event.end)


def _whole(instant: datetime) -> datetime:
    return instant.replace(microsecond=0)


async def _row(conn: AsyncConnection, ven_id: str, event_id: str) -> Row[Any] | None:
    t = event_table
    rows = await conn.execute(select(t).where(t.c.ven_id == ven_id, t.c.event_id == event_id))
    return rows.one_or_none()


async def _changeable(conn: AsyncConnection, ven_id: str, event_id: str, now: datetime) -> Row[Any]:
    row = await _row(conn, ven_id, event_id)
    if row is None:
        raise UnknownObject(f"VEN {ven_id!r} has no event {event_id!r}")
    if row.cancelled_at is not None or (row.ends_at is not None and row.ends_at <= now):
        raise NotAdmitted("EVT-04", f"event {event_id!r} is over")
    return row


async def _new_version(conn: AsyncConnection, row: Row[Any], **changes: Any) -> None:
    t = event_table
    await conn.execute(
        update(t)
        .where(t.c.ven_id == row.ven_id, t.c.event_id == row.event_id)
        .values(
            modification_number=row.modification_number + 1,
            offered_at=None,
            delivered_at=None,
            response_code=None,
            responded_at=None,
            **({"opt": None} | changes),
        )
    )


async def _announce(
    conn: AsyncConnection, action: str, event: Event, ven_id: str, *, content: bytes, now: datetime
) -> None:
    """The outbox row and the journal fact of a version of an event."""
    await outbox.queue(conn, ven_id, outbox.EVENT, event.event_id, message=None, now=now)
    digest = hashlib.sha256(content).hexdigest()
    body = {
        "action": action,
        "event_id": event.event_id,
        "modification_number": event.modification_number,
        "dtstart": journal.iso(event.dtstart),
        "end": journal.iso(event.end) if event.end else "",
        "signals": [_signal_body(signal) for signal in event.signals],
        "content_sha256": digest,
    }
    key = f"{event.event_id}/{event.modification_number}"
    await journal.record(conn, "signal", ven_id, key, body=body, now=now, raw_sha256=digest)


def _signal_body(signal: Signal) -> dict[str, Any]:
    """The signal with values in whole thousandths: a hash must not depend on how a float prints."""
    return {
        "signal_name": signal.signal_name,
        "signal_type": str(signal.signal_type),
        "unit": (signal.item_base.item_units or "") if signal.item_base else "",
        "durations": [str(interval.duration or "") for interval in signal.intervals],
        "values_milli": [round(interval.payload_float * 1000) for interval in signal.intervals],
    }
