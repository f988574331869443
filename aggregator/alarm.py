"""Alarms: conditions that somebody has to do something about, kept with when they began, when they ended and
who has seen them.

Rules: a condition has one open alarm, however often it is found; an alarm ends when its condition is gone and
never because somebody has seen it; one that gets worse has to be seen anew.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.schema import user_table
from aggregator.access.secret import new_id
from aggregator.alarm_schema import alarm_table
from aggregator.topic import Changed, Topic
from vtn.errors import UnknownObject
from vtn.store import after_commit


class AlarmKind(StrEnum):
    """What can be wrong, each with a section of docs/operations.md."""

    NODE_SILENT = "node_silent"
    REPORT_LATE = "report_late"
    CERTIFICATE_ENDING = "certificate_ending"
    CLOCK_SKEW = "clock_skew"
    OUTBOX_BACKLOG = "outbox_backlog"
    SHORTFALL = "shortfall"
    BREAKER_OPEN = "breaker_open"
    SETTLEMENT_LATE = "settlement_late"
    SETTLEMENT_UNPAID = "settlement_unpaid"
    AUDIT_LATE = "audit_late"
    CHECKPOINT_LATE = "checkpoint_late"
    CHAIN_DOWN = "chain_down"
    ANCHORING_FAILED = "anchoring_failed"
    WITNESS_FAILING = "witness_failing"
    SERVER_CERTIFICATE = "server_certificate"
    DATABASE_REFUSES = "database_refuses"
    DATABASE_SPACE = "database_space"
    TASK_FAILING = "task_failing"
    NOTICES_STUCK = "notices_stuck"


class Severity(IntEnum):
    """How soon somebody has to look."""

    INFO = 1  # in the next days
    WARNING = 2  # today
    CRITICAL = 3  # now

    @property
    def word(self) -> str:
        """Its name in the API and in notices."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Condition:
    """What was found. `detail` are the values of its sentence: text, whole numbers and ISO times; `subject`
    is what it is about, '' for the platform.
    """

    kind: AlarmKind
    subject: str
    severity: Severity
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A condition, since when it holds or held, and who has seen it."""

    alarm_id: str
    kind: AlarmKind
    subject: str
    severity: Severity
    detail: Mapping[str, Any]
    since: datetime
    changed_at: datetime
    cleared_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    """The id of a user; `acknowledged_name` is how he is called."""
    acknowledged_name: str | None = None
    escalated_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether the condition holds."""
        return self.cleared_at is None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a look has changed: alarms that began or got worse, and alarms that ended."""

    raised: Sequence[Alarm] = ()
    cleared: Sequence[Alarm] = ()


async def open_alarms(conn: AsyncConnection, limit: int | None = None) -> list[Alarm]:
    """What is wrong now: the worst first, and of equals what nobody has seen and what is newest."""
    t = alarm_table.c
    seen = t.acknowledged_at.is_not(None)
    query = (
        _query().where(t.cleared_at.is_(None)).order_by(t.severity.desc(), seen, t.since.desc(), t.alarm_id)
    )
    return [_alarm(row) for row in await conn.execute(query.limit(limit))]


async def open_count(conn: AsyncConnection) -> int:
    """How many things are wrong now."""
    query = select(func.count()).select_from(alarm_table).where(alarm_table.c.cleared_at.is_(None))
    return int((await conn.execute(query)).scalar_one())


async def history(
    conn: AsyncConnection, limit: int, skip: int = 0, kind: AlarmKind | None = None
) -> list[Alarm]:
    """Alarms that have ended, the newest first."""
    t = alarm_table.c
    query = _query().where(t.cleared_at.is_not(None)).order_by(t.cleared_at.desc(), t.alarm_id)
    if kind is not None:
        query = query.where(t.kind == kind)
    return [_alarm(row) for row in await conn.execute(query.limit(limit).offset(skip))]


async def ended(conn: AsyncConnection, kind: AlarmKind | None = None) -> int:
    """How many alarms have ended."""
    t = alarm_table.c
    query = select(func.count()).select_from(alarm_table).where(t.cleared_at.is_not(None))
    if kind is not None:
        query = query.where(t.kind == kind)
    return int((await conn.execute(query)).scalar_one())


async def unseen(conn: AsyncConnection) -> tuple[int, Severity | None]:
    """How many open alarms nobody has acknowledged, and how bad the worst of them is."""
    t = alarm_table.c
    query = select(func.count(), func.max(t.severity))
    count, worst = (
        await conn.execute(query.where(t.cleared_at.is_(None), t.acknowledged_at.is_(None)))
    ).one()
    return count, Severity(worst) if worst else None


async def find(conn: AsyncConnection, alarm_id: str) -> Alarm:
    """One alarm; UnknownObject where there is none of that id."""
    row = (await conn.execute(_query().where(alarm_table.c.alarm_id == alarm_id))).first()
    if row is None:
        raise UnknownObject(f"there is no alarm {alarm_id[:40]!r}")
    return _alarm(row)


def differ(
    standing: Sequence[Alarm], found: Sequence[Condition], unknown: Collection[AlarmKind] = ()
) -> bool:
    """Whether `reconcile` would write anything."""
    known = {(one.kind, one.subject): one for one in standing}
    for condition in found:
        one = known.pop((condition.kind, condition.subject), None)
        if one is None or _changed(one, condition):
            return True
    return any(kind not in unknown for kind, _ in known)


async def reconcile(
    conn: AsyncConnection,
    found: Sequence[Condition],
    now: datetime,
    unknown: Collection[AlarmKind] = (),
    since: datetime | None = None,
) -> Changes:
    """Make the open alarms those of `found`; alarms of `unknown` kinds, which could not be looked at, stay as
    they are. `since` is when new ones began, if that was not now.
    """
    known = {(one.kind, one.subject): one for one in await open_alarms(conn)}
    raised: list[Alarm] = []
    for condition in found:
        one = known.pop((condition.kind, condition.subject), None)
        if one is None:
            raised.append(await _raise(conn, condition, now, since or now))
        elif _changed(one, condition) and await _change(conn, one, condition, now):
            raised.append(await find(conn, one.alarm_id))
    cleared = [one for one in known.values() if one.kind not in unknown]
    for one in cleared:
        await conn.execute(_of(one.alarm_id).values(cleared_at=now, changed_at=now))
    if raised or cleared:
        after_commit(conn, Changed(Topic.ALARMS))
    return Changes(raised, [await find(conn, one.alarm_id) for one in cleared])


async def acknowledge(conn: AsyncConnection, alarm_id: str, user_id: str, now: datetime) -> Alarm:
    """Note that somebody has seen it, the first who says so. UnknownObject where there is no such alarm."""
    before = await find(conn, alarm_id)
    if before.acknowledged_at is None:
        await conn.execute(_of(alarm_id).values(acknowledged_at=now, acknowledged_by=user_id))
        after_commit(conn, Changed(Topic.ALARMS))
    return await find(conn, alarm_id)


async def overdue(conn: AsyncConnection, begun_by: datetime, least: Severity) -> list[Alarm]:
    """Open alarms of that severity that began or got worse by then, and that nobody has acknowledged nor been
    told of a second time.
    """
    t = alarm_table.c
    waits = t.cleared_at.is_(None) & t.acknowledged_at.is_(None) & t.escalated_at.is_(None)
    query = _query().where(waits, t.changed_at <= begun_by, t.severity >= least).order_by(t.changed_at)
    return [_alarm(row) for row in await conn.execute(query)]


async def escalated(conn: AsyncConnection, alarm_id: str, now: datetime) -> None:
    """Note that it was told a second time."""
    await conn.execute(_of(alarm_id).values(escalated_at=now))


async def forget(conn: AsyncConnection, before: datetime) -> int:
    """Delete alarms that ended before; how many."""
    t = alarm_table.c
    return (await conn.execute(delete(alarm_table).where(t.cleared_at < before))).rowcount


def _query() -> Any:
    name = user_table.c.name.label("acknowledged_name")
    person = user_table.c.user_id == alarm_table.c.acknowledged_by
    return select(alarm_table, name).select_from(alarm_table.outerjoin(user_table, person))


def _of(alarm_id: str) -> Any:
    return update(alarm_table).where(alarm_table.c.alarm_id == alarm_id)


def _changed(alarm: Alarm, condition: Condition) -> bool:
    return alarm.severity != condition.severity or dict(alarm.detail) != dict(condition.detail)


async def _raise(conn: AsyncConnection, condition: Condition, now: datetime, since: datetime) -> Alarm:
    alarm_id = new_id("al")
    values = {
        "alarm_id": alarm_id,
        "kind": str(condition.kind),
        "subject": condition.subject,
        "severity": int(condition.severity),
        "detail": _text(condition.detail),
        "since": since,
        "changed_at": now,
    }
    await conn.execute(insert(alarm_table).values(values))
    return await find(conn, alarm_id)


async def _change(conn: AsyncConnection, alarm: Alarm, condition: Condition, now: datetime) -> bool:
    """Whether it got worse: then it is to be seen, and told, as if it were new."""
    worse = condition.severity > alarm.severity
    values: dict[str, Any] = {"severity": int(condition.severity), "detail": _text(condition.detail)}
    if worse:
        values |= {
            "changed_at": now,
            "acknowledged_at": None,
            "acknowledged_by": None,
            "escalated_at": None,
        }
    await conn.execute(_of(alarm.alarm_id).values(values))
    after_commit(conn, Changed(Topic.ALARMS))
    return worse


def _text(detail: Mapping[str, Any]) -> str:
    return json.dumps(detail, ensure_ascii=False, sort_keys=True)


def _alarm(row: Row[Any]) -> Alarm:
    columns = dict(row._mapping)
    return Alarm(
        **columns
        | {
            "kind": AlarmKind(row.kind),
            "severity": Severity(row.severity),
            "detail": json.loads(row.detail),
        }
    )
