"""A VTN that is away for hours: what is held goes on, and what was missed comes soon (GOALS 75)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

import pytest
from aiohttp import web

from openadr import (
    CreatedEvent,
    DistributeEvent,
    EiResponse,
    Event,
    Message,
    Poll,
    RequestEvent,
    UpdatedReport,
    UpdateReport,
    decode,
    encode,
)
from openadr.enums import EventStatus
from tests.ven.conversation import ready
from tests.ven.messages import HOUR, ask, distribute, make_event, ok
from tests.ven.site import NOW, QUARTER, USAGE, Site
from tests.ven.test_transport import answering, xml
from tests.ven.wire import plain
from ven.client import Client
from ven.store import Store
from ven.transport import Sent, Transport

SOON = timedelta(minutes=2)
TURNS = 30
GONE, BACK = NOW + HOUR + timedelta(minutes=1), NOW + 9 * HOUR


class JumpClock:
    """Time that stands still, and jumps to whoever sleeps shortest when nobody has anything to do."""

    def __init__(self) -> None:
        self.now = NOW
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (self.now + timedelta(seconds=seconds), next(self._numbers), woken))
        await woken

    async def until(self, end: datetime, busy: Callable[[], bool]) -> None:
        """Lets time pass up to `end`; it stands while somebody is `busy` in real time."""
        while True:
            quiet = 0
            while quiet < TURNS:
                await asyncio.sleep(0.0005 if busy() else 0)
                quiet = 0 if busy() else quiet + 1
            if not self._sleepers or self._sleepers[0][0] >= end:
                self.now = end
                return
            at, _, woken = heappop(self._sleepers)
            if not woken.done():
                self.now = max(self.now, at)
                woken.set_result(None)


@dataclass
class Away:
    """A VTN that can be away; its events are listed until they are answered. `heard`: what came, and when."""

    clock: JumpClock
    events: list[Event] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    away: bool = False
    breaks_at: type[Message] | None = None
    """It goes away for ever at the first message of this kind."""
    heard: list[tuple[datetime, Message]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        message = decode(await request.read())
        if self.breaks_at is not None and isinstance(message, self.breaks_at):
            self.away, self.breaks_at = True, None
        if self.away:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        self.heard.append((self.clock(), message))
        return xml(encode(self.answer(message)))

    def answer(self, message: Message) -> Message:
        if isinstance(message, CreatedEvent):
            self.answered |= {each.event_id for each in message.event_responses}
        if isinstance(message, UpdateReport):
            return UpdatedReport(response=EiResponse.ok(message.request_id))
        waits = {event.event_id for event in self.events} - self.answered
        if isinstance(message, RequestEvent) or (isinstance(message, Poll) and waits):
            return distribute(*self.events)
        return ok()

    def told(self, kind: type[Message]) -> list[datetime]:
        return [at for at, message in self.heard if isinstance(message, kind)]


class Busy(Transport):
    """A transport that says whether a request is under way."""

    open = 0

    async def send(self, service: str, body: bytes, *, attested: bool = False) -> Sent:
        self.open += 1
        try:
            return await super().send(service, body, attested=attested)
        finally:
            self.open -= 1


@asynccontextmanager
async def at_work(path: Path, vtn: Away, site: Site) -> AsyncIterator[Callable[[datetime], Awaitable[None]]]:
    """A registered VEN at its VTN; what is given lets time pass."""
    clock = vtn.clock
    async with answering(vtn.handle) as port:
        store = Store.open(path)
        settings = plain(port, path, poll_jitter=0.0)
        async with Busy(settings, clock) as transport:
            client = Client(settings, site, store, transport, clock=clock, sleep=clock.sleep)
            tasks = [asyncio.create_task(loop) for loop in (client.converse(), client.deliver())]
            try:
                yield lambda end: clock.until(end, lambda: transport.open > 0)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        store.close()


class Metered(Site):
    """A site whose meter is complete up to the present."""

    clock: JumpClock

    def watermark(self, report_name: str) -> datetime | None:
        return self.clock() if report_name == USAGE else None


@pytest.mark.goal(75)
@pytest.mark.parametrize("breaks_at", [CreatedEvent, UpdateReport])
async def test_goals_75_eight_hours_without_a_vtn(breaks_at: type[Message], tmp_path: Path) -> None:
    clock, site = JumpClock(), Metered()
    site.clock = clock
    store = Store.open(tmp_path / "ven.db")
    saved = ready(ask(back=QUARTER), site=site).saved
    assert saved.registration is not None
    store.save(replace(saved, registration=replace(saved.registration, poll_period_s=100.0)))
    store.close()
    vtn = Away(clock, events=[make_event(start=NOW + 2 * HOUR)])
    async with at_work(tmp_path / "ven.db", vtn, site) as pass_to:
        await pass_to(GONE - timedelta(minutes=4))
        assert vtn.answered == {"e1"}
        vtn.events.append(make_event("e2", start=NOW + 10 * HOUR))
        vtn.breaks_at = breaks_at
        await pass_to(GONE)
        assert vtn.away, "it broke where it should"
        before = len(site.timelines)
        missed = make_event("e3", start=NOW + 4 * HOUR, status=EventStatus.COMPLETED)
        vtn.events += [missed, make_event("e4", start=BACK + timedelta(minutes=3), length=HOUR / 2)]
        vtn.events.pop(0)
        await pass_to(BACK)
        # e1 ran meanwhile, to the second, and nothing else did
        assert len(site.timelines) == before
        held = site.timelines[-1]
        assert held.at(NOW + 2 * HOUR - timedelta(seconds=1)) is None
        assert held.at(NOW + 2 * HOUR) is not None
        assert held.at(NOW + 3 * HOUR) is None
        vtn.away = False
        heard = len(vtn.heard)
        await pass_to(BACK + SOON)
    assert {"e2", "e3", "e4"} <= vtn.answered
    assert site.timelines[-1].at(BACK + timedelta(minutes=4)) is not None  # in time for what begins soon
    assert not any(each.at(NOW + 4 * HOUR) for each in site.timelines)  # what is over is not executed
    reports = [message for _, message in vtn.heard if isinstance(message, UpdateReport)]
    starts = [report.reports[0].dtstart for report in reports]
    quarters = (BACK - NOW) // QUARTER
    assert starts == [NOW + QUARTER * number for number in range(quarters)]  # all, once, in order
    assert len(vtn.heard) > heard


async def test_goals_77_a_list_with_a_leap_second_is_followed(tmp_path: Path) -> None:
    clock, site = JumpClock(), Metered()
    site.clock = clock
    vtn = Away(clock, events=[make_event(start=NOW + 2 * HOUR), make_event("e2", start=NOW + 4 * HOUR)])

    class Leaping(Away):
        async def handle(self, request: web.Request) -> web.Response:
            answer = await super().handle(request)
            begin = (NOW + 2 * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
            assert isinstance(answer.body, bytes)
            return xml(answer.body.replace(begin, begin.replace(b"14:00:00", b"13:59:60")))

    vtn = Leaping(clock, events=vtn.events)
    store = Store.open(tmp_path / "ven.db")
    store.save(ready(site=site).saved)
    store.close()
    async with at_work(tmp_path / "ven.db", vtn, site) as pass_to:
        await pass_to(NOW + SOON)
    assert vtn.answered == {"e1", "e2"}
    assert site.timelines[-1].at(NOW + 2 * HOUR) is not None
    assert isinstance(vtn.answer(RequestEvent(request_id="x", ven_id="ven-1")), DistributeEvent)
