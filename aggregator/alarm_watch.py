"""Looks every half minute at everything that can be wrong, and keeps the alarms in step with it.

Rules: nothing is remembered but in the database; only a difference is written, together with the notices
about it. What the database itself cannot keep, because it takes nothing, is held here until it can.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import alarm, store
from aggregator.access.secret import new_id
from aggregator.alarm import Alarm, AlarmKind, Condition, Severity
from aggregator.alarm_fleet import Fleet, fleet_conditions
from aggregator.alarm_platform import Machine, platform_conditions, unknown_kinds
from aggregator.notifier import Notifier
from vtn.errors import StoreError
from vtn.store import Database

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 30.0
LEAST_PAUSE_S = 2.0  # real seconds between two looks, however fast the clock runs
CLEAN_EVERY = timedelta(hours=6)
LOOKED = "alarms-looked"
SHOWN = 200
Source = Callable[[AsyncConnection, datetime], Awaitable[Sequence[Condition]]]


class AlarmWatch:
    """Keeps the alarms. `fleet` is asked anew at each look; `sources` are further conditions, by whoever
    knows them.
    """

    def __init__(
        self,
        machine: Machine,
        fleet: Callable[[], Fleet],
        notifier: Notifier,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
        sources: Sequence[Source] = (),
    ) -> None:
        self.notifier = notifier
        self._machine = machine
        self._fleet = fleet
        self._clock = clock
        self._sleep = sleep
        self._sources = tuple(sources)
        self._refusal: Alarm | None = None
        self._cleaned_at: datetime | None = None
        self._looked_at = -LEAST_PAUSE_S

    @property
    def refusal(self) -> Alarm | None:
        """The alarm that the database cannot keep: it takes no changes now."""
        return self._refusal

    async def close(self) -> None:
        """Close the connections of notices."""
        await self.notifier.close()

    async def work(self, db: Database) -> None:
        """Look, send what is due, and wait."""
        await asyncio.sleep(max(0.0, self._looked_at + LEAST_PAUSE_S - time.monotonic()))
        self._looked_at = time.monotonic()
        await self.look(db)
        await self._sleep(LOOK_EVERY_S)

    async def send(self, db: Database) -> None:
        """Begin to send what is due, and wait; a slow target holds up no other."""
        await self.notifier.begin(db)
        await asyncio.sleep(LEAST_PAUSE_S)

    async def look(self, db: Database) -> None:
        """One look at everything."""
        now = self._clock()
        try:
            await self._note_look(db, now)
        except (StoreError, DBAPIError) as error:
            await self._refused(str(error)[:SHOWN], now)
            return
        async with db.read() as conn:
            found = await self._conditions(conn, now)
            standing = await alarm.open_alarms(conn)
            second = await self.notifier.overdue(conn, now)
        unknown = unknown_kinds(self._machine, now)
        if alarm.differ(standing, found, unknown) or second:
            async with db.write() as conn:
                changes = await alarm.reconcile(conn, found, now, unknown)
                await self.notifier.changed(conn, changes, now)
                await self.notifier.escalate(conn, now)
            _say(changes)
        await self.notifier.tell_events(db, now)

    async def _note_look(self, db: Database, now: datetime) -> None:
        """Write that somebody looked, which shows whether the database takes anything; what it did not take
        before becomes part of the history now.
        """
        async with db.write() as conn:
            await store.move(conn, LOOKED, int(now.timestamp()))
            if self._refusal is not None:
                gone = self._refusal
                condition = Condition(gone.kind, gone.subject, gone.severity, gone.detail)
                standing = await _as_conditions(conn)
                await alarm.reconcile(conn, [*standing, condition], now, since=gone.since)
                cleared = await alarm.reconcile(conn, standing, now)
                await self.notifier.changed(conn, cleared, now)
            if self._cleaned_at is None or now - self._cleaned_at >= CLEAN_EVERY:
                await self.notifier.clean(conn, now)
                self._cleaned_at = now
        self._refusal = None

    async def _conditions(self, conn: AsyncConnection, now: datetime) -> list[Condition]:
        found = [
            *await platform_conditions(conn, self._machine, now),
            *await fleet_conditions(conn, self._fleet(), now),
        ]
        for source in self._sources:
            found += await source(conn, now)
        return found

    async def _refused(self, text: str, now: datetime) -> None:
        """The database takes nothing: said once to everybody, and shown until it does."""
        if self._refusal is None:
            self._refusal = Alarm(
                alarm_id=new_id("al"),
                kind=AlarmKind.DATABASE_REFUSES,
                subject="",
                severity=Severity.CRITICAL,
                detail={"text": text},
                since=now,
                changed_at=now,
            )
            log.error("alarm", kind=str(AlarmKind.DATABASE_REFUSES), text=text)
            await self.notifier.at_once(self._refusal, now)


async def _as_conditions(conn: AsyncConnection) -> list[Condition]:
    return [
        Condition(one.kind, one.subject, one.severity, one.detail) for one in await alarm.open_alarms(conn)
    ]


def _say(changes: alarm.Changes) -> None:
    for one in changes.raised:
        tell = log.error if one.severity is Severity.CRITICAL else log.warning
        tell(
            "alarm", kind=str(one.kind), subject=one.subject, **{f"at_{k}": v for k, v in one.detail.items()}
        )
    for one in changes.cleared:
        log.info("alarm is over", kind=str(one.kind), subject=one.subject)
