"""All SQL of the aggregator: agreements, requests, calls, forecasts, statements, positions; the tables are
in `schema`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert  # SQLite compiles it too
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.agreement import Agreement
from aggregator.profile import LoadProfile, Period
from aggregator.schema import (
    agreement_table,
    call_table,
    position_table,
    request_table,
    series_table,
    statement_table,
)
from aggregator.settlement import Outcome, Statement
from vtn.schema import journal_table


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request that was carried out, and the answer that its operator got."""

    request_id: str
    event_id: str
    asked: str
    answer: dict[str, Any]
    requested_at: datetime
    cancelled_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredCall:
    """One node's part in an event."""

    event_id: str
    ven_id: str
    agreement_id: int
    period: Period
    power_w: int
    test_event: bool
    notified_at: datetime
    cancelled_at: datetime | None = None
    settled_revision: int = 0
    modification_number: int = 0


@dataclass(frozen=True, slots=True)
class StoredStatement:
    """A statement with its number in the order in which statements were made."""

    seq: int
    statement: Statement
    detail: dict[str, Any]
    made_at: datetime


def terms_text(agreement: Agreement) -> str:
    """An agreement as canonical JSON; decimals as text."""
    terms = {
        "capacity_kw": str(agreement.capacity_kw),
        "price_minor_per_kwh": str(agreement.price_minor_per_kwh),
        "penalty_minor_per_kwh": str(agreement.penalty_minor_per_kwh),
        "threshold": str(agreement.threshold),
        "max_calls_per_day": agreement.max_calls_per_day,
        "notice_s": int(agreement.notice.total_seconds()),
        "currency": agreement.currency,
    }
    return json.dumps(terms, sort_keys=True)


@lru_cache(maxsize=1024)
def agreement_of(text: str) -> Agreement:
    """The agreement behind `terms_text`."""
    terms = json.loads(text)
    return Agreement(
        capacity_kw=Decimal(terms["capacity_kw"]),
        price_minor_per_kwh=Decimal(terms["price_minor_per_kwh"]),
        penalty_minor_per_kwh=Decimal(terms["penalty_minor_per_kwh"]),
        threshold=Decimal(terms["threshold"]),
        max_calls_per_day=terms["max_calls_per_day"],
        notice=timedelta(seconds=terms["notice_s"]),
        currency=terms["currency"],
    )


async def agreements(conn: AsyncConnection) -> dict[str, tuple[int, Agreement]]:
    """The agreement in force for each node, with its number."""
    t = agreement_table
    rows = await conn.execute(select(t.c.ven_id, t.c.agreement_id, t.c.terms).order_by(t.c.agreement_id))
    return {ven_id: (number, agreement_of(terms)) for ven_id, number, terms in rows}


async def currency(conn: AsyncConnection) -> str:
    """The currency of the oldest agreement, as ISO 4217 names it; EUR while nothing is agreed."""
    t = agreement_table
    terms = (await conn.execute(select(t.c.terms).order_by(t.c.agreement_id).limit(1))).scalar()
    return "EUR" if terms is None else agreement_of(terms).currency


async def agreement_with(conn: AsyncConnection, ven_id: str) -> tuple[int, Agreement] | None:
    """The agreement in force for one node, with its number; None where nothing is agreed."""
    t = agreement_table
    newest = select(t.c.agreement_id, t.c.terms).where(t.c.ven_id == ven_id).order_by(t.c.agreement_id.desc())
    row = (await conn.execute(newest.limit(1))).one_or_none()
    return None if row is None else (row.agreement_id, agreement_of(row.terms))


async def agreement(conn: AsyncConnection, agreement_id: int) -> Agreement:
    """One version of an agreement."""
    t = agreement_table
    found = await conn.execute(select(t.c.terms).where(t.c.agreement_id == agreement_id))
    return agreement_of(found.scalar_one())


async def add_request(conn: AsyncConnection, request: StoredRequest, idempotency_key: str | None) -> None:
    """Write a request; its calls belong in the same transaction."""
    await conn.execute(
        insert(request_table).values(
            request_id=request.request_id,
            event_id=request.event_id,
            idempotency_key=idempotency_key,
            asked=request.asked,
            answer=json.dumps(request.answer, sort_keys=True),
            requested_at=request.requested_at,
        )
    )


async def find_request(
    conn: AsyncConnection,
    *,
    request_id: str | None = None,
    event_id: str | None = None,
    idempotency_key: str | None = None,
) -> StoredRequest | None:
    """The request with that id, with that event, or with that idempotency key: one of them is given."""
    t = request_table
    clause = t.c.idempotency_key == idempotency_key
    if request_id is not None:
        clause = t.c.request_id == request_id
    elif event_id is not None:
        clause = t.c.event_id == event_id
    columns = (t.c.request_id, t.c.event_id, t.c.asked, t.c.answer, t.c.requested_at, t.c.cancelled_at)
    row = (await conn.execute(select(*columns).where(clause))).first()
    return None if row is None else StoredRequest(row[0], row[1], row[2], json.loads(row[3]), row[4], row[5])


async def newest_request(conn: AsyncConnection) -> StoredRequest | None:
    """The request that came last."""
    t = request_table
    query = select(t.c.request_id).order_by(t.c.requested_at.desc(), t.c.request_id.desc()).limit(1)
    request_id = (await conn.execute(query)).scalar()
    return None if request_id is None else await find_request(conn, request_id=request_id)


async def count_starting(conn: AsyncConnection, start: datetime) -> int:
    """How many requests there were for that start."""
    t = call_table
    query = select(func.count(func.distinct(t.c.event_id))).where(t.c.start == start)
    return int((await conn.execute(query)).scalar_one())


async def add_call(conn: AsyncConnection, call: StoredCall) -> None:
    """Write one node's part in an event."""
    await conn.execute(
        insert(call_table).values(
            event_id=call.event_id,
            ven_id=call.ven_id,
            agreement_id=call.agreement_id,
            start=call.period.start,
            end=call.period.end,
            power_w=call.power_w,
            test_event=call.test_event,
            notified_at=call.notified_at,
            settled_revision=0,
        )
    )


async def cancel_request(conn: AsyncConnection, event_id: str, ended_at: datetime, now: datetime) -> None:
    """Mark a request as taken back; its calls are cancelled, or end at ``ended_at`` if they began before."""
    t = request_table
    await conn.execute(update(t).where(t.c.event_id == event_id).values(cancelled_at=now))
    c = call_table
    open_calls = update(c).where(c.c.event_id == event_id, c.c.cancelled_at.is_(None))
    await conn.execute(open_calls.where(c.c.start < ended_at, c.c.end > ended_at).values(end=ended_at))
    await conn.execute(open_calls.where(c.c.start >= ended_at).values(cancelled_at=now))


async def calls(
    conn: AsyncConnection,
    *,
    event_id: str | None = None,
    ven_id: str | None = None,
    open_until: datetime | None = None,
) -> list[StoredCall]:
    """Calls of an event, of a node, or all that have ended by an instant and wait for their first
    statement.
    """
    t = call_table
    columns = (t.c.event_id, t.c.ven_id, t.c.agreement_id, t.c.start, t.c.end, t.c.power_w)
    more = (t.c.test_event, t.c.notified_at, t.c.cancelled_at, t.c.settled_revision, t.c.modification_number)
    query = select(*columns, *more)
    if event_id is not None:
        query = query.where(t.c.event_id == event_id)
    if ven_id is not None:
        query = query.where(t.c.ven_id == ven_id)
    if open_until is not None:
        query = query.where(t.c.end <= open_until, t.c.settled_revision == 0, t.c.cancelled_at.is_(None))
    rows = await conn.execute(query.order_by(t.c.start, t.c.event_id, t.c.ven_id))
    found = []
    for event_id_, ven_id_, agreement_id, start, end, *rest in rows:
        found.append(StoredCall(event_id_, ven_id_, agreement_id, Period(start, end), *rest))
    return found


async def answer_key(conn: AsyncConnection, call: StoredCall, versions: Collection[int]) -> str | None:
    """The journal's key of the node's last word on these versions of its event before it was over; None if it
    said nothing.
    """
    t, of_event = journal_table, f"opt/{call.ven_id}/{call.event_id}"
    # "0" is the character behind the slash
    said = [(t.c.key > f"{of_event}/{number}/") & (t.c.key < f"{of_event}/{number}0") for number in versions]
    query = select(t.c.key).where(or_(*said), t.c.at < call.period.end)
    return (await conn.execute(query.order_by(t.c.seq.desc()).limit(1))).scalar()


async def add_series(
    conn: AsyncConnection, ven_id: str, r_id: str, issued_at: datetime, profile: LoadProfile
) -> None:
    """Keep a forecast as it was issued; the same one again changes nothing."""
    row = {
        "ven_id": ven_id,
        "r_id": r_id,
        "issued_at": issued_at,
        "start": profile.start,
        "step_s": int(profile.step.total_seconds()),
        "values_kw": json.dumps([None if kw != kw else kw for kw in profile.kw]),  # noqa: PLR0124 - NaN
    }
    await conn.execute(insert(series_table).values(row).on_conflict_do_nothing())


async def newest_series(
    conn: AsyncConnection, r_id: str, issued_until: datetime
) -> dict[str, tuple[datetime, LoadProfile]]:
    """For each node the newest series of that name issued at or before an instant."""
    return await _series(conn, r_id, series_table.c.issued_at <= issued_until, func.max)


async def first_series(
    conn: AsyncConnection, r_id: str, issued_after: datetime
) -> dict[str, tuple[datetime, LoadProfile]]:
    """For each node the first series of that name issued after an instant."""
    return await _series(conn, r_id, series_table.c.issued_at > issued_after, func.min)


async def _series(
    conn: AsyncConnection, r_id: str, clause: Any, pick: Any
) -> dict[str, tuple[datetime, LoadProfile]]:
    t = series_table
    chosen = (
        select(t.c.ven_id, pick(t.c.issued_at).label("at"))
        .where(t.c.r_id == r_id, clause)
        .group_by(t.c.ven_id)
        .subquery()
    )
    query = select(t.c.ven_id, t.c.issued_at, t.c.start, t.c.step_s, t.c.values_kw).join(
        chosen, (t.c.ven_id == chosen.c.ven_id) & (t.c.issued_at == chosen.c.at)
    )
    rows = await conn.execute(query.where(t.c.r_id == r_id))
    found = {}
    for ven_id, issued_at, start, step_s, text in rows:
        # null stands for an unknown value; the parser reads NaN much faster than we could replace it
        kw = tuple(map(float, json.loads(text.replace("null", "NaN"))))
        found[ven_id] = (issued_at, LoadProfile(start, timedelta(seconds=step_s), kw))
    return found


async def add_statement(
    conn: AsyncConnection, statement: Statement, detail: Mapping[str, Any], now: datetime
) -> Statement:
    """Write the next revision and say which it is; the caller holds the writer, so no two get one number."""
    t = call_table
    clause = (t.c.event_id == statement.event_id) & (t.c.ven_id == statement.ven_id)
    revision = (await conn.execute(select(t.c.settled_revision).where(clause))).scalar_one() + 1
    numbered = replace(statement, revision=revision)
    await conn.execute(
        insert(statement_table).values(
            event_id=numbered.event_id,
            ven_id=numbered.ven_id,
            revision=revision,
            body=body_text(numbered),
            detail=detail_text(detail),
            made_at=now,
        )
    )
    await conn.execute(update(t).where(clause).values(settled_revision=revision))
    return numbered


async def statements(
    conn: AsyncConnection,
    *,
    event_id: str | None = None,
    ven_id: str | None = None,
    after: int = 0,
    limit: int = 1_000_000,
) -> list[StoredStatement]:
    """Statements in the order in which they were made: of an event, of a node in it, or all."""
    t = statement_table
    query = (
        select(t.c.seq, t.c.body, t.c.detail, t.c.made_at)
        .where(t.c.seq > after)
        .order_by(t.c.seq)
        .limit(limit)
    )
    if event_id is not None:
        query = query.where(t.c.event_id == event_id)
    if ven_id is not None:
        query = query.where(t.c.ven_id == ven_id)
    rows = await conn.execute(query)
    return [
        StoredStatement(seq, statement_of(body), json.loads(detail), at) for seq, body, detail, at in rows
    ]


def newest(found: Sequence[StoredStatement]) -> list[StoredStatement]:
    """The newest revision for each event and node."""
    last = {(stored.statement.event_id, stored.statement.ven_id): stored for stored in found}
    return list(last.values())


def body_text(statement: Statement) -> str:
    """A statement as it is stored."""
    return json.dumps(statement.body(), sort_keys=True)


def detail_text(detail: Mapping[str, Any]) -> str:
    """Its details as they are stored, and hashed when it is sealed."""
    return json.dumps(detail, sort_keys=True)


def statement_of(text: str) -> Statement:
    """The statement behind `body_text`."""
    body = json.loads(text)
    body.pop("amount_minor")
    return Statement(**{**body, "outcome": Outcome(body["outcome"])})


async def position(conn: AsyncConnection, name: str) -> int:
    """How far a reader of a sequence has come; 0 before its first step."""
    return await begun(conn, name) or 0


async def begun(conn: AsyncConnection, name: str) -> int | None:
    """How far a reader of a sequence has come; None before its first step."""
    t = position_table
    found: int | None = await conn.scalar(select(t.c.seq).where(t.c.name == name))
    return found


async def move(conn: AsyncConnection, name: str, seq: int) -> None:
    """Note how far a reader has come."""
    statement = insert(position_table).values(name=name, seq=seq)
    await conn.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"seq": seq}))
