"""The live connection: one WebSocket for each tab, on which it hears what has changed and that we live.

Rules: a message says which topics changed, never what they are now, so a tab that misses some or is slow
needs only the next one; the first says what changed while the page was on its way; whose account is for some
nodes hears of these alone, and of the time; a tab whose session has ended is closed at the next beat; nothing
is looked up while nobody listens.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from aiohttp import WSCloseCode, hdrs, web
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.permission import Permission
from aggregator.dashboard.page import Page, Visit
from aggregator.schema import statement_table
from aggregator.topic import Changed, Topic
from ledger import store as ledger_store
from vtn import journal
from vtn.registration import VenChanged
from vtn.schema import journal_table
from vtn.store import Database, Notice

log = structlog.get_logger(__name__)

BEAT_S = 2.0
LATE_S = 10.0  # statements and leaves come so much later, at most, than the facts that they are made of
GATHER_S = 0.1  # facts of so many seconds are one message
PASSING = timedelta(seconds=10)
"""By the aggregator's clock: so often pages ask again for what time alone changes, such as who has fallen
silent and which event has begun.
"""
_OF_TIME = frozenset({(Topic.NODES, None), (Topic.EVENTS, None), (Topic.ALARMS, None)})
_OF_HOMES = frozenset({(Topic.EVENTS, None)})  # what time changes for those who may not see the fleet
PATIENCE_S = 10.0  # for a tab that does not take what is sent
TABS_AT_MOST = 500
TABS_OF_ONE = 20  # of one user, so that nobody takes the places of all others
SESSION_ENDED = 4401
TOO_MANY_TABS = 4429
_OF_KIND: Mapping[str, frozenset[Topic]] = {
    "registration": frozenset({Topic.NODES}),
    "signal": frozenset({Topic.EVENTS}),
    "opt": frozenset({Topic.EVENTS}),
    "report": frozenset({Topic.REPORTS, Topic.PORTFOLIO, Topic.NODES}),
}
_OF_FACTS = frozenset[Topic]().union(*_OF_KIND.values())
_AFTER_FACTS = (Topic.STATEMENTS, Topic.LEDGER)
EVERYBODY = None  # who may see the fleet
Change = tuple[Topic, str | None]  # and the ven_id that it is about


@dataclass(slots=True, eq=False)
class _Tab:
    """One open page."""

    visit: Visit
    socket: web.WebSocketResponse
    topics: set[Topic] = field(default_factory=set)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, changes: Iterable[Change]) -> None:
        """Remember what of this the user may know, for the next message."""
        scope = self.visit.principal.scope
        seen = {
            topic
            for topic, ven_id in changes
            if scope is None or ven_id in scope or (topic, ven_id) in _OF_HOMES
        }
        if not seen <= self.topics:
            self.topics |= seen
            self.news.set()


@dataclass(frozen=True, slots=True)
class _Marks:
    """How far everything had come at the last look."""

    journal: int
    statements: int
    ledger: tuple[int, int, int]  # leaves, checkpoints, anchored leaves


class Live:
    """All open tabs. `clock` is the aggregator's, whose time the pages show."""

    def __init__(self, db: Database, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._clock = clock
        self._process = secrets.token_hex(6)  # tells tabs that the server was started anew
        self._tabs: set[_Tab] = set()
        self._news = asyncio.Event()
        self._told: set[Change] = set()
        self._began_s = time.time()
        self._changed_s: dict[Topic, float] = {}  # when each was last heard of, whether a tab was open or not
        self._marks: _Marks | None = None
        self._looking = asyncio.Lock()
        self._work = asyncio.create_task(self._keep_telling(), name="aggregator live")
        db.listen(self._hear)

    def pages(self) -> tuple[Page, ...]:
        """Where tabs connect."""
        return (
            Page(
                method=hdrs.METH_GET,
                path="/live",
                name="live",
                permission=Permission.OWN_ACCOUNT,
                handle=self.serve,
            ),
        )

    async def close(self) -> None:
        """Say goodbye to all tabs; they come back by themselves."""
        self._work.cancel()
        with suppress(asyncio.CancelledError):
            await self._work
        for tab in list(self._tabs):
            await tab.socket.close(code=WSCloseCode.GOING_AWAY)

    async def serve(self, visit: Visit) -> web.StreamResponse:
        """One tab, until it goes or its session ends."""
        socket = web.WebSocketResponse(max_msg_size=1024, timeout=PATIENCE_S)
        if len(self._tabs) >= TABS_AT_MOST:
            return web.Response(status=503, text="Too many pages are open.")
        await socket.prepare(visit.request)
        user_id = visit.principal.user_id
        if sum(tab.visit.principal.user_id == user_id for tab in self._tabs) >= TABS_OF_ONE:
            await socket.close(code=TOO_MANY_TABS, message=b"You have too many pages open.")
            return socket
        tab = _Tab(visit, socket, self._changed_since(visit))
        self._tabs.add(tab)
        try:
            if self._marks is None:  # nobody listened: from the first message on nothing is missed
                await self._look()
            await self._talk(tab)
        finally:
            self._tabs.discard(tab)
        return socket

    def _changed_since(self, visit: Visit) -> set[Topic]:
        """What may have changed since the page was drawn that now connects: all, where we do not know."""
        if "drawn" not in visit.request.query:
            return set()
        try:
            drawn_s = float(visit.request.query["drawn"])
        except ValueError:
            drawn_s = 0.0
        if not drawn_s >= self._began_s or visit.principal.scope is not None:
            return set(Topic)
        return {topic for topic, changed_s in self._changed_s.items() if changed_s >= drawn_s}

    async def _talk(self, tab: _Tab) -> None:
        sender = asyncio.create_task(self._send(tab))
        try:
            async for _ in tab.socket:
                pass  # a tab has nothing to say; reading notices that it has gone
        finally:
            sender.cancel()
            with suppress(asyncio.CancelledError):
                await sender

    def _hear(self, notices: Sequence[Notice]) -> None:
        """What is durable now."""
        now_s = time.time()
        for notice in notices:
            if isinstance(notice, Changed):
                self._told.add((notice.topic, notice.ven_id))
                self._changed_s[notice.topic] = now_s
            elif isinstance(notice, VenChanged):
                self._told.add((Topic.NODES, notice.ven_id))
                self._changed_s[Topic.NODES] = now_s
            elif notice == journal.FACT:
                self._changed_s |= dict.fromkeys(_OF_FACTS, now_s) | dict.fromkeys(
                    _AFTER_FACTS, now_s + LATE_S
                )
            else:
                continue
            self._news.set()

    async def _keep_telling(self) -> None:
        looked_at = self._clock()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._news.wait()
            await asyncio.sleep(GATHER_S)
            self._news.clear()
            changes, self._told = self._told, set()
            if not self._tabs:
                self._marks = None
                continue
            if abs(self._clock() - looked_at) >= PASSING:
                looked_at, changes = self._clock(), changes | _OF_TIME
            try:
                changes |= await self._look()
            except Exception:
                log.exception("the live connection could not look for changes")
            for tab in self._tabs:
                tab.tell(changes)

    async def _look(self) -> set[Change]:
        """What has changed since the last look; nothing at the first, whose pages are fresh."""
        async with self._looking, self._db.read() as conn:
            before, self._marks = self._marks, await _marks(conn)
            if before is None or before == self._marks:
                return set()
            changes = await _facts_since(conn, before.journal)
            changes |= await _statements_since(conn, before.statements)
        if self._marks.ledger != before.ledger:
            changes.add((Topic.LEDGER, EVERYBODY))
        return changes

    async def _send(self, tab: _Tab) -> None:
        """Messages to a tab: at changes, and at each beat; what a slow one misses is one message later."""
        asked_at = time.monotonic()
        more = {"csrf": tab.visit.principal.csrf}  # once: the page may be of a session before this one
        while True:
            message: dict[str, object] = {
                "now": self._clock().isoformat(),
                "process": self._process,
                "topics": sorted(tab.topics),
                **more,
            }
            more = {}
            tab.topics.clear()
            tab.news.clear()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await tab.socket.send_str(json.dumps(message))
            except (ConnectionError, TimeoutError):
                await tab.socket.close(code=WSCloseCode.TRY_AGAIN_LATER)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await tab.news.wait()
            if time.monotonic() - asked_at >= BEAT_S:
                asked_at = time.monotonic()
                if not await tab.visit.desk.access.stands(tab.visit.principal):
                    await tab.socket.close(code=SESSION_ENDED)
                    return


async def _marks(conn: AsyncConnection) -> _Marks:
    newest = select(func.max(journal_table.c.seq))
    statements = select(func.max(statement_table.c.seq))
    return _Marks(
        (await conn.execute(newest)).scalar() or 0,
        (await conn.execute(statements)).scalar() or 0,
        (
            await ledger_store.log_size(conn),
            await ledger_store.checkpoint_count(conn),
            await ledger_store.anchored_size(conn),
        ),
    )


async def _statements_since(conn: AsyncConnection, seq: int) -> set[Change]:
    t = statement_table
    rows = await conn.execute(select(t.c.ven_id).where(t.c.seq > seq).distinct())
    return {(Topic.STATEMENTS, ven_id) for (ven_id,) in rows}


async def _facts_since(conn: AsyncConnection, seq: int) -> set[Change]:
    t = journal_table
    rows = await conn.execute(select(t.c.kind, t.c.ven_id).where(t.c.seq > seq).distinct())
    return {(topic, ven_id) for kind, ven_id in rows for topic in _OF_KIND.get(kind, ())}
