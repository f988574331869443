"""A VEN at work: one task talks with the VTN, one delivers reports; both over one pool of connections.

Rule: what an answer changes is saved before the next request leaves. Between an answer and its saving nothing
waits, so the tasks may be ended at any time, by `stop` or by a power cut, and go on from the file.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from random import SystemRandom
from uuid import uuid4

from openadr import (
    CancelPartyRegistration,
    EiResponse,
    Event,
    Message,
    Poll,
    ProtocolError,
    Response,
    UpdateReport,
    lenient,
)
from openadr.codec import decode, encode
from openadr.finding import Finding
from openadr.leap import without_leap_seconds
from openadr.parser import DEFAULT_LIMITS, Limits
from openadr.timeline import Timeline
from ven import deed
from ven.deed import Deed
from ven.errors import BadAnswerError, ExchangeError, UnreachableError, WrongStatusError
from ven.event import followed
from ven.facility import Facility
from ven.session import Delivery, Session
from ven.settings import VenSettings
from ven.states import ANSWERS, State
from ven.store import Queued, Store
from ven.transport import ANSWER_NODES, Backoff, Transport, service_of
from ven.verdict import response_of
from ven.voice import Voice

log = logging.getLogger(__name__)

TRIES = 3
"""Answers of one request that make no sense, or say 500, before it is dropped."""
QUEUE_LIMIT = 4
"""Unsent reports of one request before it makes no more (a history comes in many parts)."""
DATA_RETRY_S = 60.0
"""Pause while a report waits for its data."""
IDLE_S = 300.0

Clock = Callable[[], datetime]
Sleep = Callable[[float], Awaitable[None]]


async def run(  # noqa: PLR0917 - the order is the contract with the box
    settings: VenSettings,
    facility: Facility,
    store: Store,
    clock: Clock,
    sleep: Sleep,
    stop: asyncio.Event,
    *,
    speak: Callable[[Voice], None] | None = None,
) -> None:
    """Keeps the VEN registered, its events followed and its reports delivered until `stop` is set.

    `clock` gives aware UTC, `sleep` waits seconds of that clock. `speak` gets the voice with which the site
    says something by itself. Raises SettingsError where the certificates cannot be used and StateError where
    the state cannot be written; the VTN's faults never end it.
    """
    async with Transport(settings, clock, store.spend) as transport:
        client = Client(settings, facility, store, transport, clock=clock, sleep=sleep)
        if speak is not None:
            speak(client.voice)
        tasks = [
            asyncio.create_task(client.converse(), name="ven converse"),
            asyncio.create_task(client.deliver(), name="ven deliver"),
            asyncio.create_task(stop.wait(), name="ven stop"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()


class Client:
    """The two loops of a VEN around its session."""

    def __init__(
        self,
        settings: VenSettings,
        facility: Facility,
        store: Store,
        transport: Transport,
        *,
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        """Goes on from what `store` holds."""
        self._settings = settings
        self._facility = facility
        self._store = store
        self._transport = transport
        self._clock = clock
        self._sleep = sleep
        self._draw = SystemRandom().random
        self._followed: tuple[Event, ...] | None = None
        self._forgiven: set[Finding] = set()
        self._answers = 0  # of the VTN in the conversation, however often
        self._answers_at_strike = -1
        self._talk = asyncio.Event()
        self._report = asyncio.Event()
        self.session = Session(settings, facility, store.load(), new_id=_new_id, draw=self._draw)
        self.voice = Voice(self.session, _new_id, clock, self._said)

    async def converse(self) -> None:
        """Registers, polls and answers, for ever."""
        backoff = Backoff(self._draw)
        while True:
            due = self.session.due(self._clock())
            self._save()
            self._follow()
            if not due:
                await self._pause(self._until(self.session.waits_until), self._talk)
                continue
            try:
                self._received(await self._ask(due[0]), due[0])
            except ExchangeError as error:
                await self._failed(due[0], error, backoff)
            else:
                backoff.reset()

    def _said(self) -> None:
        """The site has said something: it lasts and holds before the VTN hears of it, which may take days."""
        self._save()
        self._follow()
        self._talk.set()

    def _received(self, answer: Message, asked: Message) -> None:
        before, now = self.session.saved.events, self._clock()
        self.session.receive(answer, now)
        self._answers += 1
        response = response_of(answer)
        taken = response is not None and response.is_success
        deeds = [*deed.received(answer, before, self.session.saved.events, now)]
        self._save(deeds=[*deeds, *(deed.acknowledged(asked, now) if taken else ())])
        self._follow()
        self._report.set()

    async def _ask(self, message: Message) -> Message:
        body = await self._transport.post(service_of(message), encode(message))
        if not body and isinstance(message, ANSWERS):
            return Response(response=EiResponse.ok())  # nothing is left to say to an answer
        return self._decoded(body)

    def _decoded(self, body: bytes) -> Message:
        body = without_leap_seconds(body)
        try:
            if not self._settings.lenient:
                return decode(body, self._limits_of(body), bare=False)
            message, findings = lenient.decode(body, self._limits_of(body))
        except ProtocolError as error:
            raise BadAnswerError(f"the VTN's answer is no OpenADR message: {error}") from error
        for finding in findings:
            if finding not in self._forgiven:
                log.warning("forgiven to the VTN: %s, %s", finding.rule, finding.text)
                self._forgiven.add(finding)
        return message

    def _limits_of(self, body: bytes) -> Limits:
        """A list of events may be as long as a report: 24 hours of 5 minutes are 70 kB for each signal."""
        longest = self._settings.response_limit_bytes
        small = len(body) <= DEFAULT_LIMITS.max_bytes
        if small:
            return DEFAULT_LIMITS
        return Limits(max_bytes=longest, max_report_bytes=longest, max_nodes=ANSWER_NODES)

    async def _failed(self, message: Message, error: ExchangeError, backoff: Backoff) -> None:
        name = type(message).__name__
        pause_s = backoff.pause_s(self._cap_s(message))
        if _is_final(error, backoff) and not _must_be_heard(message, error):
            if _is_broken(error) and self.session.put_off():
                log.warning("%s waits until the VTN answers again: %s", name, error)
            else:
                log.error("%s is dropped: %s", name, error)
                self.session.give_up(self._clock())
            self._save()
            backoff.reset()
            return
        log.warning("%s is sent again in %.0f s: %s", name, pause_s, error)
        await self._sleep(max(pause_s, _asked_pause_s(error, self._settings.backoff_cap_s)))

    def _cap_s(self, message: Message) -> float:
        cap_s = self._settings.backoff_cap_s
        return min(cap_s, self.session.poll_period_s) if isinstance(message, Poll) else cap_s

    async def deliver(self) -> None:
        """Makes the reports that fall due and sends them, oldest first, for ever."""
        backoff = Backoff(self._draw)
        while True:
            await asyncio.sleep(0)  # however many reports are made in a row, the conversation goes on
            made = self._make_reports()
            queued = self._store.next_queued() if self.session.state is State.READY else None
            if queued is not None:
                await self._send(queued, backoff)
            elif not made:
                await self._pause(self._until_next_report(), self._report)

    def _make_reports(self) -> bool:
        waiting = self._store.waiting()
        busy = {request_id for request_id, count in waiting.items() if count >= QUEUE_LIMIT}
        before = self.session.saved
        reports = self.session.reports_due(self._clock(), busy)
        self._save(reports)
        return self.session.saved is not before

    async def _send(self, queued: Queued, backoff: Backoff) -> None:
        try:
            sent = await self._transport.send("EiReport", queued.body, attested=True)
            answer = self._decoded(sent.answer)
            outcome = self.session.reported(answer, queued.report_request_id)
        except ExchangeError as error:
            await self._not_sent(queued, error, backoff)
            return
        self._save()
        if outcome is Delivery.LATER:
            self._talk.set()
            await self._sleep(backoff.pause_s(self._settings.backoff_cap_s))
            return
        if outcome is Delivery.DONE:
            self._store.delivered(queued.seq, queued.delivered(sent.sha256, self._clock()))
        else:
            self._store.refuse(queued.seq, "the VTN refused it")
        backoff.reset()

    async def _not_sent(self, queued: Queued, error: ExchangeError, backoff: Backoff) -> None:
        pause_s = backoff.pause_s(self._settings.backoff_cap_s)
        request_id = queued.report_request_id
        if self._is_the_reports_fault(error) and _is_final(error, backoff):
            log.error("a report of %s is set aside: %s", request_id, error)
            self._store.refuse(queued.seq, str(error))
            backoff.reset()
            return
        log.warning("a report of %s is sent again in %.0f s: %s", request_id, pause_s, error)
        await self._sleep(max(pause_s, _asked_pause_s(error, self._settings.backoff_cap_s)))

    def _is_the_reports_fault(self, error: ExchangeError) -> bool:
        """Where the VTN breaks at a report: whether it has answered polls since it did so before."""
        if not _is_broken(error):
            return True
        before, self._answers_at_strike = self._answers_at_strike, self._answers
        return before != self._answers

    def _until_next_report(self) -> float:
        due_at = self.session.next_report_at()
        if due_at is None:
            return IDLE_S
        seconds = (due_at - self._clock()).total_seconds()
        return min(IDLE_S, seconds) if seconds > 0 else DATA_RETRY_S

    def _until(self, instant: datetime | None) -> float:
        if instant is None:
            return 0.0
        return min(IDLE_S, max(0.0, (instant - self._clock()).total_seconds()))

    async def _pause(self, seconds: float, wake: asyncio.Event) -> None:
        """Waits that long, or until `wake` is set."""
        tasks = [asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(wake.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        wake.clear()

    def _save(self, reports: Sequence[UpdateReport] = (), deeds: Sequence[Deed] = ()) -> None:
        saved = self.session.saved
        # before it is sent: the VTN may take it, and the answer be lost
        said = deed.said(saved.answers, self._clock())
        self._store.save(saved, reports, self.session.revoked, (*deeds, *said))
        self.session.revoked.clear()

    def _follow(self) -> None:
        events = followed(self.session.saved.events.values())
        if events == self._followed:
            return
        try:
            self._facility.follow(Timeline.from_events(events, self._settings.overlap))
        except Exception:
            log.exception("the site could not take its new timeline: it is given it again")
        else:
            self._followed = events


def _new_id() -> str:
    return uuid4().hex


def _is_final(error: ExchangeError, backoff: Backoff) -> bool:
    """Whether the request must not be sent again: refused for good, or answered with nonsense too often."""
    if isinstance(error, UnreachableError):
        return False
    if isinstance(error, WrongStatusError) and not _is_broken(error):
        return error.refused
    backoff.strikes += 1
    return backoff.strikes >= TRIES


def _must_be_heard(message: Message, error: ExchangeError) -> bool:
    """Whether it is repeated until the VTN answers, however often it breaks: the wish to leave (REG-18)."""
    refused = isinstance(error, WrongStatusError) and error.refused
    return isinstance(message, CancelPartyRegistration) and not refused


def _is_broken(error: ExchangeError) -> bool:
    """Whether the VTN has failed: at this message, or altogether."""
    return isinstance(error, WrongStatusError) and error.status == 500


def _asked_pause_s(error: ExchangeError, cap_s: float) -> float:
    return min(error.retry_after_s, cap_s) if isinstance(error, WrongStatusError) else 0.0
