"""Notices: what is to be told to whom, kept until it was taken. At least once, with the same id at each try,
so that a receiver can leave out what it has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.secret import new_id
from aggregator.alarm_schema import notice_table

AT_A_TIME = 10  # to each target
WAITS = tuple(
    timedelta(seconds=s) for s in (10, 30, 60, 300, 900, 1800, 3600, 3600, 3600, 7200, 7200, 14_400, 14_400)
)
"""Before each further try; about 17 hours in all, then it is given up."""
REST = timedelta(minutes=5)
"""So long at most one notice that was not taken holds up the others to its target."""


class Channel(StrEnum):
    """By which way."""

    WEBHOOK = "webhook"
    MAIL = "mail"


@dataclass(frozen=True, slots=True)
class Target:
    """Who is told."""

    channel: Channel
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message to one target, and how far it has come."""

    notice_id: str
    target: Target
    body: Mapping[str, Any]
    queued_at: datetime
    due_at: datetime
    tries: int
    sent_at: datetime | None
    given_up_at: datetime | None
    error: str


async def queue(
    conn: AsyncConnection, targets: Sequence[Target], body: Mapping[str, Any], now: datetime
) -> list[str]:
    """Lay the same message down for each target; the ids."""
    rows = [
        {
            "notice_id": new_id("n"),
            "channel": str(target.channel),
            "target": target.address,
            "body": json.dumps(body, ensure_ascii=False),
            "queued_at": now,
            "due_at": now,
            "tries": 0,
            "error": "",
        }
        for target in targets
    ]
    if rows:
        await conn.execute(insert(notice_table), rows)
    return [str(row["notice_id"]) for row in rows]


async def due(conn: AsyncConnection, now: datetime) -> dict[Target, list[Notice]]:
    """What is to be sent by now, to each target its oldest: none takes the turn of another."""
    t = notice_table
    turn = func.row_number().over(
        partition_by=(t.c.channel, t.c.target), order_by=(t.c.queued_at, t.c.notice_id)
    )
    waiting = select(t, turn.label("turn")).where(_waits(), t.c.due_at <= now).subquery()
    rows = await conn.execute(select(waiting).where(waiting.c.turn <= AT_A_TIME).order_by(waiting.c.turn))
    found: dict[Target, list[Notice]] = {}
    for row in rows:
        one = _notice(row)
        found.setdefault(one.target, []).append(one)
    return found


async def newest(conn: AsyncConnection, limit: int) -> list[Notice]:
    """The newest notices, whatever came of them."""
    t = notice_table
    rows = await conn.execute(select(t).order_by(t.c.queued_at.desc(), t.c.notice_id).limit(limit))
    return [_notice(row) for row in rows]


async def taken(conn: AsyncConnection, notice_id: str, now: datetime) -> None:
    """It has arrived."""
    values = {"sent_at": now, "error": "", "tries": notice_table.c.tries + 1}
    await conn.execute(_of(notice_id).values(values))


async def failed(conn: AsyncConnection, one: Notice, error: str, now: datetime, *, final: bool) -> None:
    """It was not taken: it is tried again later, or given up where that would not help. Unless only this one
    is at fault, the others to its target wait too.
    """
    values: dict[str, Any] = {"tries": one.tries + 1, "error": error}
    if final or one.tries >= len(WAITS):
        values["given_up_at"] = now
    else:
        values["due_at"] = now + WAITS[one.tries]
    await conn.execute(_of(one.notice_id).values(values))
    if not final:
        t = notice_table.c
        again = now + min(WAITS[min(one.tries, len(WAITS) - 1)], REST)
        same = (t.channel == str(one.target.channel)) & (t.target == one.target.address)
        await conn.execute(update(notice_table).where(_waits(), same, t.due_at < again).values(due_at=again))


async def forget(conn: AsyncConnection, before: datetime) -> int:
    """Delete what was queued before and does not wait any more; how many."""
    t = notice_table.c
    ended = t.sent_at.is_not(None) | t.given_up_at.is_not(None)
    return (await conn.execute(delete(notice_table).where(ended, t.queued_at < before))).rowcount


def _waits() -> Any:
    return notice_table.c.sent_at.is_(None) & notice_table.c.given_up_at.is_(None)


def _of(notice_id: str) -> Any:
    return update(notice_table).where(notice_table.c.notice_id == notice_id)


def _notice(row: Any) -> Notice:
    return Notice(
        notice_id=row.notice_id,
        target=Target(Channel(row.channel), row.target),
        body=json.loads(row.body),
        queued_at=row.queued_at,
        due_at=row.due_at,
        tries=row.tries,
        sent_at=row.sent_at,
        given_up_at=row.given_up_at,
        error=row.error,
    )
