"""The events of requests as people look at them: a list by page, and how each node stands to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Subquery,
    and_,
    case,
    exists,
    func,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import hand_book
from aggregator.hand_book import HandEvent
from aggregator.profile import Period
from aggregator.schema import call_table, request_table
from openadr.enums import OptType
from vtn.event import ANSWER_WITHIN
from vtn.schema import event_table, ven_table

C, E, R = call_table.c, event_table.c, request_table.c


class Phase(StrEnum):
    """Where an event stands in time."""

    COMING = "coming"
    ACTIVE = "active"
    OVER = "over"
    CANCELLED = "cancelled"


class Stand(StrEnum):
    """How a node stands to an event; what needs attention first."""

    SILENT = "silent"  # has not shown that it has the event
    FETCHED = "fetched"  # has it, and says nothing
    OUT = "out"
    IN = "in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event; counts are of nodes, powers in W. It was sent at `sent_at`, and its newest version was
    `published_at`.
    """

    event_id: str
    start: datetime
    end: datetime
    power_w: int
    nodes: int
    opted_in: int
    opted_out: int
    silent: int
    missing_w: int
    sent_at: datetime
    published_at: datetime
    test_event: bool
    version: int
    cancelled_at: datetime | None
    by_hand: bool = False
    """Whether no request has made it: it is not settled."""

    def phase(self, now: datetime) -> Phase:
        """Where it stands at an instant."""
        if self.cancelled_at is not None:
            return Phase.CANCELLED
        if now >= self.end:
            return Phase.OVER
        return Phase.ACTIVE if now >= self.start else Phase.COMING

    @property
    def answer_by(self) -> datetime:
        """Until when nodes that poll as they should have answered."""
        return self.published_at + ANSWER_WITHIN

    @property
    def fetched(self) -> int:
        """Nodes that have the event and say nothing."""
        return self.nodes - self.opted_in - self.opted_out - self.silent

    @property
    def endless(self) -> bool:
        """Whether it lasts until it is taken back."""
        return self.length >= hand_book.ENDLESS

    @property
    def length(self) -> timedelta:
        """From its start to its end."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePart:
    """One node's part in an event."""

    ven_id: str
    ven_name: str
    power_w: int
    stand: Stand
    published_at: datetime
    delivered_at: datetime | None
    responded_at: datetime | None
    last_contact: datetime | None


_stand = case(
    (E.opt == str(OptType.OPT_OUT), 2),
    (E.opt == str(OptType.OPT_IN), 3),
    (E.delivered_at.is_not(None), 1),
    else_=0,
)
_STANDS = (Stand.SILENT, Stand.FETCHED, Stand.OUT, Stand.IN)
_in_it = or_(C.cancelled_at.is_(None), C.cancelled_at == R.cancelled_at)
"""Whether a node is in the event, or was when the whole event was taken back: not taken out before."""
_OF_CALL = and_(E.event_id == C.event_id, E.ven_id == C.ven_id)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: of a phase, with a text in their id, that end within a period."""

    phase: Phase | None = None
    text: str = ""
    ends: Period | None = None


async def count(conn: AsyncConnection, now: datetime, wanted: Wanted) -> int:
    """How many events there are of that kind, of requests and by hand."""
    found = (await _wanted(conn, now, wanted)).subquery()
    return int((await conn.execute(select(func.count()).select_from(found))).scalar_one())


async def entries(
    conn: AsyncConnection, now: datetime, wanted: Wanted, *, limit: int = 25, offset: int = 0
) -> Sequence[Entry]:
    """The newest first, of requests and by hand."""
    query = (await _wanted(conn, now, wanted)).order_by(text("sent_at DESC"), text("event_id DESC"))
    ids = list((await conn.execute(query.limit(limit).offset(offset))).scalars())
    found = {entry.event_id: entry for entry in await _entries(conn, C.event_id.in_(ids))}
    by_hand = await hand_book.events(conn, [event_id for event_id in ids if event_id not in found])
    found |= {event_id: of_hand(one) for event_id, one in by_hand.items()}
    return [found[event_id] for event_id in ids if event_id in found]


def of_hand(one: HandEvent) -> Entry:
    """An event by hand as one in the list."""
    return Entry(
        event_id=one.event.event_id,
        start=one.event.dtstart,
        end=one.end,
        power_w=one.power_w,
        nodes=one.vens,
        opted_in=one.opted_in,
        opted_out=one.opted_out,
        silent=one.silent,
        missing_w=0,
        sent_at=one.sent_at,
        published_at=one.sent_at,
        test_event=bool(one.event.is_test),
        version=one.version,
        cancelled_at=one.cancelled_at,
        by_hand=True,
    )


async def between(conn: AsyncConnection, start: datetime, end: datetime) -> Sequence[Entry]:
    """The events that touch a period, of requests and by hand, by their start."""
    ids = select(C.event_id).where(C.end > start, C.start < end).distinct()
    hand = hand_book.listed()
    not_over = or_(hand.c.ends_at.is_(None), hand.c.ends_at > start)
    hand_ids = list((await conn.execute(select(hand.c.event_id).where(not_over))).scalars())
    by_hand = map(of_hand, (await hand_book.events(conn, hand_ids)).values())
    found = await _entries(conn, C.event_id.in_(ids))
    found += [entry for entry in by_hand if entry.start < end and entry.end > start]
    return sorted(found, key=lambda entry: (entry.start, entry.event_id))


async def find(conn: AsyncConnection, event_id: str) -> Entry | None:
    """One event; None where no request has made it."""
    found = await _entries(conn, C.event_id == event_id)
    return found[0] if found else None


async def parts(conn: AsyncConnection, event_id: str, limit: int, offset: int = 0) -> Sequence[NodePart]:
    """How each node stands to an event, those first that have said nothing."""
    v = ven_table.c
    query = (
        select(
            C.ven_id,
            v.ven_name,
            C.power_w,
            _stand.label("stand"),
            E.published_at,
            E.delivered_at,
            E.responded_at,
            v.last_contact,
        )
        .select_from(
            call_table.join(event_table, _OF_CALL)
            .join(ven_table, v.ven_id == C.ven_id)
            .outerjoin(request_table, R.event_id == C.event_id)
        )
        .where(C.event_id == event_id, _in_it)
        .order_by(_stand, C.power_w.desc(), v.ven_name)
        .limit(limit)
        .offset(offset)
    )
    return [
        NodePart(**{**row, "stand": _STANDS[row["stand"]]}) for row in (await conn.execute(query)).mappings()
    ]


async def names(conn: AsyncConnection, ven_ids: Sequence[str]) -> dict[str, str]:
    """The names of some nodes by their ids, in the order of the ids."""
    v = ven_table.c
    rows = (await conn.execute(select(v.ven_id, v.ven_name).where(v.ven_id.in_(ven_ids)))).all()
    found: dict[str, str] = {row.ven_id: row.ven_name for row in rows}
    return {ven_id: found[ven_id] for ven_id in ven_ids if ven_id in found}


async def _wanted(conn: AsyncConnection, now: datetime, wanted: Wanted) -> CompoundSelect[Any]:
    """Ids and when they were sent. Calls are looked up by their event, which is their key."""
    requests = select(R.event_id, R.requested_at.label("sent_at")).where(*_of_requests(now, wanted))
    hand = hand_book.listed()
    clauses = _by_hand(hand, now, wanted)
    if wanted.phase in (Phase.COMING, Phase.ACTIVE):
        begun = await hand_book.begun(conn, now)
        active = wanted.phase is Phase.ACTIVE
        clauses.append(hand.c.event_id.in_([one for one, has_begun in begun.items() if has_begun is active]))
    return union_all(requests, select(hand.c.event_id, hand.c.sent_at).where(*clauses))


def _by_hand(hand: Subquery, now: datetime, wanted: Wanted) -> list[ColumnElement[bool]]:
    clauses: list[ColumnElement[bool]] = []
    if wanted.text:
        clauses.append(hand.c.event_id.contains(wanted.text, autoescape=True))
    if wanted.ends is not None:
        clauses += [hand.c.ends_at > wanted.ends.start, hand.c.ends_at <= wanted.ends.end]
    if wanted.phase is not None:
        clauses.append(hand.c.stands == (0 if wanted.phase is Phase.CANCELLED else 1))
    if wanted.phase is Phase.OVER:
        clauses.append(hand.c.ends_at <= now)
    return clauses


def _of_requests(now: datetime, wanted: Wanted) -> list[ColumnElement[bool]]:
    clauses: list[ColumnElement[bool]] = []
    if wanted.text:
        clauses.append(R.event_id.contains(wanted.text, autoescape=True))
    if wanted.ends is not None:
        ends = (C.end > wanted.ends.start, C.end <= wanted.ends.end)
        clauses.append(exists().where(C.event_id == R.event_id, _in_it, *ends))
    if wanted.phase is Phase.CANCELLED:
        clauses.append(R.cancelled_at.is_not(None))
    elif wanted.phase is not None:
        clauses.append(R.cancelled_at.is_(None))
        when = {
            Phase.COMING: (C.start > now,),
            Phase.ACTIVE: (C.start <= now, C.end > now),
            Phase.OVER: (C.end <= now,),
        }[wanted.phase]
        clauses.append(exists().where(C.event_id == R.event_id, C.cancelled_at.is_(None), *when))
    return clauses


async def _entries(conn: AsyncConnection, clause: ColumnElement[bool]) -> list[Entry]:
    def number(which: int) -> ColumnElement[int]:
        return func.sum(case((and_(_in_it, _stand == which), 1), else_=0))

    query = (
        select(
            C.event_id,
            func.coalesce(func.min(case((_in_it, C.start))), func.min(C.start)).label("start"),
            func.coalesce(func.max(case((_in_it, C.end))), func.max(C.end)).label("end"),
            func.sum(case((_in_it, C.power_w), else_=0)).label("power_w"),
            func.sum(case((_in_it, 1), else_=0)).label("nodes"),
            number(3).label("opted_in"),
            number(2).label("opted_out"),
            number(0).label("silent"),
            func.sum(case((and_(_in_it, _stand != 3), C.power_w), else_=0)).label("missing_w"),
            func.coalesce(func.max(R.requested_at), func.min(C.notified_at)).label("sent_at"),
            func.max(C.notified_at).label("published_at"),
            func.max(case((C.test_event, 1), else_=0)).label("test_event"),
            func.sum(E.modification_number + 1).label("version"),
            func.max(R.cancelled_at).label("cancelled_at"),
        )
        .select_from(
            call_table.join(event_table, _OF_CALL).outerjoin(request_table, R.event_id == C.event_id)
        )
        .where(clause)
        .group_by(C.event_id)
    )
    rows = (await conn.execute(query)).mappings()
    return [Entry(**{**row, "test_event": bool(row["test_event"])}) for row in rows]
