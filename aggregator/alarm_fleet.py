"""What can be wrong with nodes, events and settlements, as the database and the VTN know it.

Rules: each query is one statement however many nodes there are; where more than a handful of nodes have the
same trouble, that is one alarm about all of them, for nobody reads thousands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, exists, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.alarm import AlarmKind, Condition, Severity
from aggregator.budget import breaker
from aggregator.reach import SILENT_POLLS
from aggregator.readings import TELEMETRY
from aggregator.schema import call_table
from ledger.agreement_schema import settlement_table
from vtn.schema import (
    certificate_table,
    event_table,
    outbox_table,
    reading_table,
    report_request_table,
    ven_table,
)

SINGLE_ALARMS = 10
"""More nodes than this with the same trouble are one alarm."""
TURN = 250  # nodes that are looked at in one go
NAMED = 5  # nodes whose names are in that one
REPORT_LATE = timedelta(hours=1)
BACKLOG_AFTER = timedelta(minutes=30)
UNANSWERED_FROM = timedelta(minutes=15)
"""So long before its start an event whose nodes have not answered is a shortfall to come."""
SETTLED_WITHIN = timedelta(hours=1)  # after the deadline
PAID_WITHIN = timedelta(days=1)
LAST_DAY, LAST_WEEK, LAST_MONTH = timedelta(days=1), timedelta(days=7), timedelta(days=30)
NodeNames = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the VTN knows of its nodes beside the database: when they spoke, and how far clocks are ahead."""

    contacts: Mapping[str, datetime]
    clock_skews: Mapping[str, timedelta]
    poll_period_s: int
    clock_skew_s: float
    deadline: timedelta
    """After the end of an event, for its settlement."""


async def fleet_conditions(conn: AsyncConnection, fleet: Fleet, now: datetime) -> list[Condition]:
    """Everything that is wrong with the fleet."""
    t = ven_table.c
    columns = (t.ven_id, t.ven_name, t.registered_at, t.last_contact, t.poll_period_s)
    listens = t.registration_id.is_not(None) & t.suspended_at.is_(None)
    names: dict[str, str] = {}
    silent: list[Condition] = []
    for rows in (await conn.execute(select(*columns).where(listens))).partitions(TURN):
        names |= {row.ven_id: row.ven_name for row in rows}
        silent += _silent(rows, fleet, now)
        await asyncio.sleep(0)  # nodes are served meanwhile
    quiet = {one.subject for one in silent}
    return [
        *_gathered(silent, names),
        *_gathered(await _late_reports(conn, names, quiet, now), names),
        *_gathered(await _ending_certificates(conn, now), names),
        *_gathered(_skewed(fleet, names), names),
        *await _backlog(conn, names, quiet, now),
        *await _shortfalls(conn, now),
        *await _breaker(conn),
        *await _unsettled(conn, fleet.deadline, now),
        *await _unpaid(conn, now),
    ]


def _silent(rows: Sequence[Any], fleet: Fleet, now: datetime) -> list[Condition]:
    found = []
    for row in rows:
        spoke = fleet.contacts.get(row.ven_id, row.last_contact) or row.registered_at
        patience = SILENT_POLLS * timedelta(seconds=row.poll_period_s or fleet.poll_period_s)
        if spoke is None or now - spoke > patience:
            detail = {"node": row.ven_name, "last": spoke.isoformat() if spoke else ""}
            found.append(Condition(AlarmKind.NODE_SILENT, row.ven_id, Severity.WARNING, detail))
    return found


async def _late_reports(
    conn: AsyncConnection, names: NodeNames, quiet: set[str], now: datetime
) -> list[Condition]:
    """Nodes that speak, and owe telemetry for an hour."""
    r, v = report_request_table.c, reading_table.c
    since = now - REPORT_LATE
    came = exists().where(
        v.ven_id == r.ven_id, v.ts > since - timedelta(minutes=15), v.ts <= now, v.report_name == TELEMETRY
    )
    owed = and_(
        r.report_name == TELEMETRY,
        r.accepted_at < since,
        r.ended_at.is_(None),
        r.cancelled_at.is_(None),
        ~came,
    )
    late = list(await conn.scalars(select(r.ven_id).where(owed).distinct()))
    return [
        Condition(AlarmKind.REPORT_LATE, ven_id, Severity.WARNING, {"node": names[ven_id]})
        for ven_id in late
        if ven_id in names and ven_id not in quiet
    ]


async def _ending_certificates(conn: AsyncConnection, now: datetime) -> list[Condition]:
    """Nodes whose newest certificate ends in the next month."""
    c, t = certificate_table.c, ven_table.c
    until = case(
        (and_(c.valid_until.is_not(None), c.valid_until < c.expires_at), c.valid_until), else_=c.expires_at
    )
    last = func.max(until).label("last")
    query = (
        select(t.ven_id, t.ven_name, last)
        .join(ven_table, t.ven_id == c.ven_id)
        .where(c.expires_at.is_not(None), or_(c.valid_until.is_(None), c.valid_until > now))
        .where(t.suspended_at.is_(None))
        .group_by(t.ven_id, t.ven_name)
        .having(last <= literal(now + LAST_MONTH, type_=c.expires_at.type))
    )
    return [
        certificate_condition(AlarmKind.CERTIFICATE_ENDING, row.ven_id, row.ven_name, row.last, now)
        for row in await conn.execute(query)
    ]


def certificate_condition(
    kind: AlarmKind, subject: str, name: str, ends_at: datetime, now: datetime
) -> Condition:
    """A certificate that ends within 30 days: to know, within 7 a warning, within one day critical."""
    left = ends_at - now
    severity = Severity.CRITICAL if left <= LAST_DAY else Severity.WARNING
    if left > LAST_WEEK:
        severity = Severity.INFO
    return Condition(kind, subject, severity, {"node": name, "ends": ends_at.isoformat()})


def _skewed(fleet: Fleet, names: NodeNames) -> list[Condition]:
    limit = timedelta(seconds=fleet.clock_skew_s)
    return [
        Condition(
            AlarmKind.CLOCK_SKEW,
            ven_id,
            Severity.WARNING,
            {"node": names[ven_id], "minutes": round(skew / timedelta(minutes=1))},
        )
        for ven_id, skew in fleet.clock_skews.items()
        if abs(skew) > limit and ven_id in names
    ]


async def _backlog(
    conn: AsyncConnection, names: NodeNames, quiet: set[str], now: datetime
) -> list[Condition]:
    """Nodes that poll and still do not answer what is offered to them."""
    o = outbox_table.c
    stuck = select(o.ven_id, func.count().label("messages")).where(
        o.queued_at < now - BACKLOG_AFTER, o.offers > 1
    )
    found = [
        Condition(AlarmKind.OUTBOX_BACKLOG, row.ven_id, Severity.WARNING, _stuck(row, names))
        for row in await conn.execute(stuck.group_by(o.ven_id))
        if row.ven_id in names and row.ven_id not in quiet
    ]
    return _gathered(found, names)


def _stuck(row: Any, names: NodeNames) -> dict[str, Any]:
    return {"node": names[row.ven_id], "messages": row.messages}


async def _shortfalls(conn: AsyncConnection, now: datetime) -> list[Condition]:
    """Events that run or come whose nodes have opted out, or have not answered shortly before the start."""
    c, e = call_table.c, event_table.c
    out = e.opt == "optOut"
    unanswered = and_(e.opt.is_(None), c.start <= now + UNANSWERED_FROM)
    missing = func.sum(case((or_(out, unanswered), c.power_w), else_=0)).label("missing_w")
    query = (
        select(
            c.event_id,
            func.sum(c.power_w).label("asked_w"),
            missing,
            func.sum(case((or_(out, unanswered), 1), else_=0)).label("nodes"),
        )
        .join(event_table, and_(e.event_id == c.event_id, e.ven_id == c.ven_id))
        .where(c.end > now, c.cancelled_at.is_(None))
        .group_by(c.event_id)
        .having(missing > 0)
    )
    return [
        Condition(
            AlarmKind.SHORTFALL,
            row.event_id,
            Severity.CRITICAL if 5 * row.missing_w >= row.asked_w else Severity.WARNING,
            {
                "event": row.event_id,
                "missing_w": int(row.missing_w),
                "asked_w": int(row.asked_w),
                "nodes": int(row.nodes),
            },
        )
        for row in await conn.execute(query)
    ]


async def _breaker(conn: AsyncConnection) -> list[Condition]:
    """The budget's breaker is open: nothing is sent."""
    opened = await breaker(conn)
    if opened is None:
        return []
    detail = {"since": opened.opened_at.isoformat(), "text": opened.reason}
    return [Condition(AlarmKind.BREAKER_OPEN, "", Severity.CRITICAL, detail)]


async def _unsettled(conn: AsyncConnection, deadline: timedelta, now: datetime) -> list[Condition]:
    """Events whose deadline has passed without a statement."""
    c = call_table.c
    query = select(func.count(func.distinct(c.event_id))).where(
        c.settled_revision == 0, c.cancelled_at.is_(None), c.end < now - deadline - SETTLED_WITHIN
    )
    count = int((await conn.execute(query)).scalar_one())
    if not count:
        return []
    return [Condition(AlarmKind.SETTLEMENT_LATE, "", Severity.WARNING, {"events": count})]


async def _unpaid(conn: AsyncConnection, now: datetime) -> list[Condition]:
    """Accounts on the chain that should have been paid a day ago."""
    s = settlement_table.c
    by = int((now - PAID_WITHIN).timestamp())
    query = select(func.count()).select_from(settlement_table).where(s.state == "open", s.look_at < by)
    count = int((await conn.execute(query)).scalar_one())
    if not count:
        return []
    return [Condition(AlarmKind.SETTLEMENT_UNPAID, "", Severity.WARNING, {"accounts": count})]


def _gathered(found: Sequence[Condition], names: NodeNames) -> list[Condition]:
    """One alarm in place of many of a kind, with the worst of their severities."""
    if len(found) <= SINGLE_ALARMS:
        return list(found)
    first = sorted(str(one.detail["node"]) for one in found)[:NAMED]
    severity = max(one.severity for one in found)
    if found[0].kind is AlarmKind.NODE_SILENT and 2 * len(found) >= len(names):
        severity = Severity.CRITICAL  # most of the fleet: that is our side of the wire
    return [Condition(found[0].kind, "", severity, {"nodes": len(found), "first": ", ".join(first)})]
