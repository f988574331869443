"""Tells people and programs of alarms and events: who is told what, a second time where nobody has looked,
and the sending itself.

Rules: a notice is laid down in the transaction of what it tells; a target that does not answer holds up no
other; while the database takes nothing, each alarm about that is sent once from memory.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import alarm, notice, operator_choice, store
from aggregator.access.secret import new_id
from aggregator.alarm import Alarm, Changes, Severity
from aggregator.mail import Mailer
from aggregator.notice import Channel, Notice, Target
from aggregator.notice_settings import NoticeSettings
from aggregator.operator_choice import NoticeChoice, RetentionChoice
from aggregator.webhook import BarredError, UndeliveredError, Webhooks
from vtn import journal
from vtn.store import Database

log = structlog.get_logger(__name__)

TOLD_FACTS = "told-facts"
FACTS_AT_A_TIME = 1000
SEND_S = 60.0  # for one notice, whatever its target does
Describe = Callable[[Alarm], tuple[str, str]]
"""Title and sentence of an alarm, in English."""


class Notifier:
    """Knows whom to tell. `origin` is the log's name, which says whose alarm it is."""

    def __init__(
        self,
        settings: NoticeSettings | None,
        origin: str,
        describe: Describe,
        address: Callable[[], str],
        clock: Callable[[], datetime],
    ) -> None:
        bounds = settings or NoticeSettings()
        bounds.check()
        self._webhooks = Webhooks(bounds)
        self._mailer = Mailer(bounds.mail)
        self._origin = origin
        self._describe = describe
        self._address = address
        self._clock = clock
        self._last_choice = NoticeChoice()
        self._sending: dict[Target, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Send no more, and close the connections."""
        for task in self._sending.values():
            task.cancel()
        await asyncio.gather(*self._sending.values(), return_exceptions=True)
        self._sending.clear()
        await self._webhooks.close()

    def barred(self, url: str) -> str:
        """Why this address may not be asked; empty where it may."""
        try:
            self._webhooks.bounds.check(url)
        except BarredError as error:
            return str(error)
        return ""

    async def changed(self, conn: AsyncConnection, changes: Changes, now: datetime) -> None:
        """Lay down what is to be told of alarms that began, got worse or ended."""
        choice = await self._choice(conn)
        targets = _targets(choice)
        for kind, alarms in (("alarm.raised", changes.raised), ("alarm.cleared", changes.cleared)):
            for one in alarms:
                if one.severity >= choice.least:
                    await notice.queue(conn, targets, self._of_alarm(kind, one, now), now)

    async def escalate(self, conn: AsyncConnection, now: datetime) -> int:
        """Tell a second time of what nobody has acknowledged; how many alarms that were."""
        choice = await self._choice(conn)
        waiting = await self.overdue(conn, now)
        more = [Target(Channel.MAIL, to) for to in choice.escalate_to]
        targets = list(dict.fromkeys([*_targets(choice), *more]))
        for one in waiting:
            await notice.queue(conn, targets, self._of_alarm("alarm.escalated", one, now), now)
            await alarm.escalated(conn, one.alarm_id, now)
        return len(waiting)

    async def overdue(self, conn: AsyncConnection, now: datetime) -> list[Alarm]:
        """Alarms that are to be told a second time."""
        choice = await self._choice(conn)
        if not choice.escalate_after_min:
            return []
        begun_by = now - timedelta(minutes=choice.escalate_after_min)
        return await alarm.overdue(conn, begun_by, Severity(choice.least))

    async def tell_events(self, db: Database, now: datetime) -> None:
        """Lay down what is to be told of events that were sent or cancelled since the last look; what was
        before the first look is no news.
        """
        async with db.read() as conn:
            before = await store.begun(conn, TOLD_FACTS)
            upto = await journal.newest(conn)
            if before == upto:
                return
            told = [] if before is None else await _events(conn, before, upto)
        async with db.write() as conn:
            if await store.begun(conn, TOLD_FACTS) != before:
                return
            choice = await self._choice(conn)
            if choice.events:
                for body in told:
                    message = {**body, "origin": self._origin, "at": now.isoformat(), "link": self._address()}
                    await notice.queue(conn, _targets(choice), message, now)
            await store.move(conn, TOLD_FACTS, upto)

    async def test(self, conn: AsyncConnection, who: str, now: datetime) -> int:
        """Lay down a message to all targets that says it is a test; how many targets there are."""
        choice = await self._choice(conn)
        more = [Target(Channel.MAIL, to) for to in choice.escalate_to]
        targets = list(dict.fromkeys([*_targets(choice), *more]))
        title = "A test of flexpact's notices"
        body = self._message("test", title, f"{who} has asked for it. Nothing is wrong.", now)
        await notice.queue(conn, targets, body, now)
        return len(targets)

    async def begin(self, db: Database) -> None:
        """Begin to send all that is due, one task for each target; one that is still at work goes on alone.
        What went wrong with a task since the last call is raised here.
        """
        ended = [target for target, task in self._sending.items() if task.done()]
        faults = [self._sending.pop(target).exception() for target in ended]
        busy = set(self._sending)  # before the look, which may show what they are about to write
        async with db.read() as conn:
            waiting = await notice.due(conn, self._clock())
        for target, notices in waiting.items():
            if target not in busy:
                self._sending[target] = asyncio.create_task(self._deliver(db, notices), name="notices")
        for fault in faults:
            if fault is not None:
                raise fault

    async def deliver(self, db: Database) -> None:
        """Send all that is due, and write down what came of it."""
        await self.begin(db)
        await asyncio.gather(*self._sending.values())

    async def at_once(self, found: Alarm, now: datetime) -> None:
        """Send one message to everybody from memory: the database takes nothing."""
        body = self._of_alarm("alarm.raised", found, now)
        for target in _targets(self._last_choice):
            try:
                await self._send(target, new_id("n"), body)
            except UndeliveredError as error:
                log.error("a notice was not taken", **_shown(target), error=str(error))

    async def clean(self, conn: AsyncConnection, now: datetime) -> None:
        """Delete what is older than an admin wants it kept."""
        kept, _ = await operator_choice.read(conn, RetentionChoice)
        await alarm.forget(conn, now - timedelta(days=kept.alarm_days))
        await notice.forget(conn, now - timedelta(days=kept.notice_days))

    async def _choice(self, conn: AsyncConnection) -> NoticeChoice:
        self._last_choice, _ = await operator_choice.read(conn, NoticeChoice)
        return self._last_choice

    async def _deliver(self, db: Database, notices: Sequence[Notice]) -> None:
        """The notices to one target, in order, up to the first that is not taken."""
        for one in notices:
            error, final = "", False
            try:
                await self._send(one.target, one.notice_id, one.body)
            except UndeliveredError as raised:
                error, final = str(raised), isinstance(raised, BarredError)
                log.warning("a notice was not taken", **_shown(one.target), error=error)
            now = self._clock()
            async with db.write() as conn:
                if error:
                    await notice.failed(conn, one, error, now, final=final)
                else:
                    await notice.taken(conn, one.notice_id, now)
            if error and not final:
                return

    async def _send(self, target: Target, notice_id: str, body: Mapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await self._hand_over(target, notice_id, body)
        except TimeoutError as error:
            raise UndeliveredError(f"it took longer than {SEND_S:.0f} s") from error

    async def _hand_over(self, target: Target, notice_id: str, body: Mapping[str, Any]) -> None:
        now = self._clock()
        if target.channel is Channel.WEBHOOK:
            text = json.dumps({"id": notice_id, **body}, ensure_ascii=False)
            await self._webhooks.send(target.address, notice_id, text, now)
        else:
            lines = [body["text"], "", body.get("link", ""), f"{self._origin}, {body['at']}, {notice_id}"]
            await self._mailer.send(
                target.address, notice_id, f"[flexpact] {body['title']}", "\n".join(lines), now
            )

    def _of_alarm(self, kind: str, one: Alarm, now: datetime) -> dict[str, Any]:
        title, sentence = self._describe(one)
        words = {"alarm.cleared": "Over: ", "alarm.escalated": "Nobody has acknowledged: "}
        body = self._message(kind, words.get(kind, "") + title, sentence, now)
        return {
            **body,
            "alarm": {
                "alarm_id": one.alarm_id,
                "kind": str(one.kind),
                "subject": one.subject,
                "severity": one.severity.word,
                "since": one.since.isoformat(),
                "cleared_at": one.cleared_at.isoformat() if one.cleared_at else None,
            },
        }

    def _message(self, kind: str, title: str, text: str, now: datetime) -> dict[str, Any]:
        address = self._address()
        return {
            "type": kind,
            "at": now.isoformat(),
            "origin": self._origin,
            "title": title,
            "text": text,
            "link": f"{address}/alarms" if address else "",
        }


def _targets(choice: NoticeChoice) -> list[Target]:
    hooks = [Target(Channel.WEBHOOK, url) for url in choice.webhooks]
    return hooks + [Target(Channel.MAIL, to) for to in choice.mail_to]


def _shown(target: Target) -> dict[str, str]:
    """What the log may say of a target: the rest of an address may be a secret."""
    if target.channel is Channel.WEBHOOK:
        return {"channel": str(target.channel), "host": urlsplit(target.address).hostname or ""}
    return {"channel": str(target.channel), "host": target.address.rpartition("@")[2]}


async def _events(conn: AsyncConnection, after: int, upto: int) -> list[dict[str, Any]]:
    """One message for each event and what was done with it, however many nodes it has."""
    nodes: dict[tuple[str, str], int] = defaultdict(int)
    while facts := await journal.of_kind(conn, "signal", after, upto, FACTS_AT_A_TIME):
        for fact in facts:
            event_id = fact.key.split("/", 2)[2].rpartition("/")[0]
            nodes[event_id, str(fact.body["action"])] += 1
        after = facts[-1].seq
    return [
        {
            "type": f"event.{action}",
            "title": f"Event {event_id}: {action}",
            "text": f"Event {event_id} was {action}; nodes: {count}.",
            "event_id": event_id,
        }
        for (event_id, action), count in nodes.items()
    ]
