"""All events of a VEN in one DistributeEvent, as bytes, noted as offered.

Rules: far, near, active and unanswered cancelled events are listed, in order (EVT-13, EVT-15, EVT-16); what
an event says is encoded once (see `event_fragment`). The statements are SQL as it stands, because a list has
many rows.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import DistributeEvent, EiResponse, RequestEvent, encode
from openadr.interval import format_instant
from vtn import outbox
from vtn.bounded import Bounded
from vtn.event_content import whole
from vtn.event_fragment import ALWAYS_AFTER, Fragment, fragment
from vtn.schema import EPOCH, MICROSECOND, micros
from vtn.written import Written

OFFERS_WITHOUT_ANSWER = 3  # of an event that nobody answers by its own rule (responseRequired `never`, R52)
OFFERS_OF_CANCELLATION = 100  # of an open-ended event, whose time never passes (R10)

MAX_BYTES = 32 * 1024 * 1024  # of lists that are kept
LIST_BYTES = 512  # of a list without events: its key, its objects, its place
_END = b"</oadr:oadrDistributeEvent>"
_CURRENT = """
SELECT e.event_id, e.content, e.ends_at, e.cancelled_at, e.offered_at, b.offers
FROM vtn_event AS e
LEFT JOIN vtn_outbox AS b ON b.ven_id = e.ven_id AND b.kind = 'event' AND b.key = e.event_id
WHERE e.ven_id = ? AND (e.ends_at IS NULL OR e.ends_at > ?)
"""
_OFFERED_ALL = "UPDATE vtn_outbox SET offers = offers + 1, offered_at = ? WHERE ven_id = ? AND kind = 'event'"
_FIRST = "UPDATE vtn_event SET offered_at = ? WHERE ven_id = ? AND event_id = ?"
_MET = "UPDATE vtn_event SET delivered_at = ? WHERE ven_id = ? AND event_id = ?"
_OVER = """
DELETE FROM vtn_outbox AS b WHERE b.ven_id = ? AND b.kind = 'event' AND NOT EXISTS (
    SELECT 1 FROM vtn_event AS e
    WHERE e.ven_id = b.ven_id AND e.event_id = b.key AND (e.ends_at IS NULL OR e.ends_at > ?)
)
"""
_VERSION = "SELECT events_version FROM vtn_ven WHERE ven_id = ?"


class _Row(NamedTuple):
    """A current event of a VEN; `offers` is None where it does not wait to be offered."""

    event_id: str
    content: bytes
    ends_at: int | None
    cancelled_at: int | None
    offered_at: int | None
    offers: int | None


@dataclass(slots=True)
class _Entry:
    """A row, and what it says now."""

    row: _Row
    fragment: Fragment
    ven_id: bytes

    @property
    def waits(self) -> bool:
        return self.row.offers is not None

    @property
    def is_listed(self) -> bool:
        return self.row.cancelled_at is None or self.waits

    @property
    def is_counted(self) -> bool:
        """Whether the number of its offers ends them."""
        endless = self.row.cancelled_at is not None and self.row.ends_at is None
        return self.waits and (endless or not self.fragment.answered)

    @property
    def is_met(self) -> bool:
        """Whether a VEN that does not answer it was offered it often enough to have it."""
        return not self.fragment.answered and (self.row.offers or 0) >= OFFERS_WITHOUT_ANSWER

    @property
    def is_given_up(self) -> bool:
        endless = self.row.cancelled_at is not None and self.row.ends_at is None
        return endless and self.fragment.answered and (self.row.offers or 0) >= OFFERS_OF_CANCELLATION


async def distribute(
    conn: AsyncConnection,
    ven_id: str,
    vtn_id: str,
    now: datetime,
    *,
    request_id: str = "",
    reply_limit: int | None = None,
) -> Written:
    """The answer to a VEN that asks for its events: at most `reply_limit`, the first of the list."""
    entries = await _entries(conn, ven_id, now)
    listed = _in_order(entries, reply_limit)
    await _note(conn, ven_id, listed, entries, now)
    return Written(_body(_frame(vtn_id, request_id), _pieces(listed), now))


async def due(conn: AsyncConnection, ven_id: str, vtn_id: str, now: datetime) -> Written | None:
    """The answer to a poll for which an event waits; None where all that waited are over."""
    entries = await _entries(conn, ven_id, now)
    if any(entry.waits for entry in entries):
        listed = _in_order(entries, None)
        await _note(conn, ven_id, listed, entries, now)
        return Written(_body(_frame(vtn_id, ""), _pieces(listed), now))
    await conn.exec_driver_sql(_OVER, (ven_id, micros(now)))
    return None


@dataclass(frozen=True, slots=True)
class _List:
    """All that a VEN is told in `[since, until)`, as long as the database has this version of its events."""

    version: int
    since: datetime
    until: datetime
    pieces: tuple[bytes, ...]


class Lists:
    """Answers VENs that were told of all their events before and ask again: nothing is to be noted then.

    Lists are kept by the version that the database gives to the events of each VEN, whoever changes them: a
    trigger counts there, so neither a second writer nor a restart leaves an old one here.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._kept: Bounded[str, _List] = Bounded(max_bytes)

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._kept.size

    def repeated(
        self, view: sqlite3.Connection, message: RequestEvent, ven_id: str, vtn_id: str, now: datetime
    ) -> bytes | None:
        """The answer to a RequestEvent; None where something is to be noted."""
        frame = _frame(vtn_id, message.request_id)
        if message.reply_limit is not None:
            found = _list(view, ven_id, now, message.reply_limit)
            return None if found is None else _body(frame, found.pieces, now)
        kept = self._kept.get(ven_id)
        if kept is None or kept.version != _version(view, ven_id) or not kept.since <= now < kept.until:
            kept = _list(view, ven_id, now)
            if kept is None:
                return None
            self._kept.put(ven_id, kept, LIST_BYTES + sum(map(len, kept.pieces)))
        return _body(frame, kept.pieces, now)


def _list(
    view: sqlite3.Connection, ven_id: str, now: datetime, reply_limit: int | None = None
) -> _List | None:
    """The list as the view has it; None where something is to be noted."""
    version = _version(view, ven_id)
    entries = [_entry(_Row._make(row), now) for row in view.execute(_CURRENT, (ven_id, micros(now)))]
    listed = _in_order(entries, reply_limit)
    if any(entry.is_counted for entry in entries):
        return None
    if any(entry.waits and entry.row.offered_at is None for entry in listed):
        return None
    ends = (EPOCH + entry.row.ends_at * MICROSECOND for entry in entries if entry.row.ends_at is not None)
    return _List(
        version=version,
        since=now,  # a clock that is set back may find events that are over by now
        until=min((*(entry.fragment.until for entry in entries), *ends), default=ALWAYS_AFTER),
        pieces=_pieces(listed),
    )


def _version(view: sqlite3.Connection, ven_id: str) -> int:
    return int(view.execute(_VERSION, (ven_id,)).fetchone()[0])


async def _entries(conn: AsyncConnection, ven_id: str, now: datetime) -> list[_Entry]:
    """The current events of a VEN; those that were offered often enough wait no more."""
    rows = await conn.exec_driver_sql(_CURRENT, (ven_id, micros(now)))
    entries = [_entry(_Row._make(row), now) for row in rows]
    ended = [entry for entry in entries if entry.is_met or entry.is_given_up]
    if ended:
        await outbox.answered(conn, ven_id, outbox.EVENT, [entry.row.event_id for entry in ended])
        met = [(micros(now), ven_id, entry.row.event_id) for entry in ended if entry.is_met]
        if met:
            await conn.exec_driver_sql(_MET, met)
        for entry in ended:
            entry.row = entry.row._replace(offers=None)
    return entries


def _entry(row: _Row, now: datetime) -> _Entry:
    return _Entry(row, *fragment(row.content, now, cancelled=row.cancelled_at is not None))


def _in_order(entries: Iterable[_Entry], reply_limit: int | None) -> list[_Entry]:
    listed = sorted((e for e in entries if e.is_listed), key=lambda entry: entry.fragment.place)
    return listed if reply_limit is None else listed[:reply_limit]


async def _note(
    conn: AsyncConnection, ven_id: str, listed: Sequence[_Entry], entries: Sequence[_Entry], now: datetime
) -> None:
    """Write down that these are offered."""
    waiting = [entry.row for entry in listed if entry.waits]
    if not waiting:
        return
    if len(waiting) == sum(entry.waits for entry in entries):
        await conn.exec_driver_sql(_OFFERED_ALL, (micros(now), ven_id))
    else:
        await outbox.offered(conn, ven_id, outbox.EVENT, [row.event_id for row in waiting], now)
    first = [(micros(now), ven_id, row.event_id) for row in waiting if row.offered_at is None]
    if first:
        await conn.exec_driver_sql(_FIRST, first)


def _frame(vtn_id: str, request_id: str) -> bytes:
    """A DistributeEvent without events."""
    return encode(
        DistributeEvent(
            response=EiResponse.ok(request_id), request_id=secrets.token_hex(8), vtn_id=vtn_id, events=()
        )
    )


def _pieces(listed: Iterable[_Entry]) -> tuple[bytes, ...]:
    """The events in bytes; createdDateTime belongs between each two pieces."""
    pieces = [b""]
    for entry in listed:
        pieces[-1] += entry.fragment.before
        pieces.append(entry.fragment.between + entry.ven_id + entry.fragment.after)
    return tuple(pieces)


def _body(frame: bytes, pieces: Iterable[bytes], now: datetime) -> bytes:
    """The frame with the events in it, all created at the same instant (EVT-03)."""
    head, end, tail = frame.rpartition(_END)
    created = format_instant(whole(now)).encode()
    return b"".join((head, created.join(pieces), end, tail))
