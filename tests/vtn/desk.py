"""A running VTN for tests: real listener on loopback, real database, a clock that the test moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import aiohttp
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import (
    ActivePeriod,
    CreatedEvent,
    CreatePartyRegistration,
    Duration,
    EiResponse,
    Event,
    EventDescriptor,
    EventResponse,
    ItemBase,
    Message,
    Poll,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportDescription,
    ReportInterval,
    ReportPayload,
    ReportRequest,
    ReportSpecifier,
    Signal,
    SignalInterval,
    SpecifierPayload,
    UpdateReport,
    decode,
    encode,
)
from openadr.enums import EventStatus, OptType, SignalType
from vtn import event, journal, registration
from vtn.exchange import ROUTES
from vtn.registration import Ven
from vtn.server import BASE, DEV_FINGERPRINT, Server
from vtn.settings import VtnSettings
from vtn.store import Database

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
ALICE = "a1" * 32
BOB = "b2" * 32
STRANGER = "c3" * 32
USAGE, HISTORY, OFFER = "TELEMETRY_USAGE", "HISTORY_USAGE", "x-FLEXIBILITY_OFFER"


async def anything_goes(_conn: AsyncConnection, _event: Event, _ven_id: str, _now: datetime) -> None:
    """Admit every event."""


def request_all(_ven: Ven, reports: Sequence[Report], now: datetime) -> list[ReportRequest]:
    """Ask for every report that is offered: a history of 28 days, the others periodically."""
    requests = []
    for report in reports:
        name = str(report.report_name).removeprefix("METADATA_")
        history = name.startswith("HISTORY")
        specifier = ReportSpecifier(
            report_specifier_id=report.report_specifier_id,
            granularity=Duration(0 if history else 900),
            report_back_duration=Duration(0 if history else 900),
            report_interval=ActivePeriod(
                dtstart=now - timedelta(days=28) if history else now,
                duration=Duration(28 * 86_400 if history else 0),
            ),
            specifier_payloads=tuple(SpecifierPayload(r_id=d.r_id) for d in report.report_descriptions),
        )
        requests.append(ReportRequest(report_request_id=f"ask-{name}", report_specifier=specifier))
    return requests


@dataclass
class Desk:
    """One VTN and the means to speak to it as anybody."""

    server: Server
    db: Database
    http: aiohttp.ClientSession
    now: datetime = NOW
    ids: dict[str, str] = field(default_factory=dict)

    @classmethod
    async def open(cls, db: Database, http: aiohttp.ClientSession, **settings: object) -> Desk:
        """Start a VTN on a port of the system's choice."""
        chosen = VtnSettings.model_validate({"port": 0, "insecure_dev": True, **settings})
        desk = cls.__new__(cls)
        server = Server(chosen, db, lambda: desk.now, request_all)
        desk.__init__(server, db, http)  # type: ignore[misc] - the server needs the desk's clock
        await server.start()
        return desk

    async def restart(self) -> None:
        """The same database behind a new process."""
        await self.server.stop()
        self.server = Server(VtnSettings(port=0, insecure_dev=True), self.db, lambda: self.now, request_all)
        await self.server.start()

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.server.port}{BASE}{service}"

    async def post(self, service: str, body: bytes, who: str = ALICE, **headers: str) -> tuple[int, bytes]:
        """Status and body of the answer to raw bytes."""
        sent = {"Content-Type": "application/xml", DEV_FINGERPRINT: who, **headers}
        async with self.http.post(self.url(service), data=body, headers=sent) as response:
            return response.status, await response.read()

    async def say(self, message: Message, who: str = ALICE, service: str | None = None) -> Message:
        """The reply to a message, which is an OpenADR payload with status 200."""
        chosen = service or sorted(ROUTES[type(message)].services)[0]
        status, body = await self.post(chosen, encode(message), who)
        assert status == 200, (status, body)
        return decode(body)

    async def enrol(self, fingerprint: str = ALICE, name: str = "alice") -> str:
        async with self.db.write() as conn:
            self.ids[fingerprint] = await registration.enrol(conn, name, fingerprint, self.now)
        return self.ids[fingerprint]

    async def register(self, fingerprint: str = ALICE, name: str = "alice") -> str:
        """An enrolled VEN that has registered; gives its id."""
        await self.enrol(fingerprint, name)
        await self.say(
            CreatePartyRegistration(request_id="r1", ven_name=name, http_pull_model=True), fingerprint
        )
        return self.ids[fingerprint]

    async def settle_in(self, fingerprint: str = ALICE, name: str = "alice") -> str:
        """A registered VEN that has answered the VTN's own metadata: nothing waits for it."""
        ven_id = await self.register(fingerprint, name)
        own = await self.poll(fingerprint)
        assert isinstance(own, RegisterReport)
        await self.say(RegisteredReport(response=EiResponse.ok(own.request_id), ven_id=ven_id), fingerprint)
        return ven_id

    async def poll(self, who: str = ALICE) -> Message:
        return await self.say(Poll(ven_id=self.ids[who]), who)

    async def answer(
        self, told: Event, opt: OptType = OptType.OPT_IN, who: str = ALICE, code: str = "200"
    ) -> Message:
        return await self.say(created_event(self.ids[who], told, opt, code), who)

    async def publish(self, made: Event, who: str = ALICE) -> None:
        async with self.db.write() as conn:
            await event.publish(conn, made, self.ids[who], self.now, anything_goes)

    async def modify(self, made: Event, who: str = ALICE) -> None:
        async with self.db.write() as conn:
            await event.modify(conn, made, self.ids[who], self.now, anything_goes)

    async def cancel(self, event_id: str, who: str = ALICE) -> None:
        async with self.db.write() as conn:
            await event.cancel(conn, event_id, self.ids[who], self.now)

    async def facts(self, kind: str) -> list[journal.Fact]:
        async with self.db.read() as conn:
            return [fact for fact in await journal.facts_after(conn, 0, 10_000) if fact.kind == kind]


def make_event(
    event_id: str = "e1",
    start: datetime = NOW + timedelta(hours=1),
    length: timedelta = timedelta(hours=1),
    **more: object,
) -> Event:
    """A reduction by 500 W, as SIMPLE and as LOAD_DISPATCH."""
    steps = (SignalInterval(duration=Duration.of(length), uid="0", payload_float=1.0),)
    power = (SignalInterval(duration=Duration.of(length), uid="0", payload_float=-500.0),)
    descriptor = EventDescriptor(
        event_id=event_id,
        market_context="http://market.test",
        created_date_time=NOW,
        event_status=EventStatus.FAR,
        priority=more.pop("priority", None),  # type: ignore[arg-type] - a test's number
    )
    values: dict[str, object] = {
        "descriptor": descriptor,
        "active_period": ActivePeriod(dtstart=start, duration=Duration.of(length), notification=Duration(0)),
        "signals": (
            Signal(intervals=steps, signal_name="SIMPLE", signal_type=SignalType.LEVEL, signal_id="s1"),
            Signal(
                intervals=power,
                signal_name="LOAD_DISPATCH",
                signal_type=SignalType.DELTA,
                signal_id="s2",
                item_base=ItemBase.power(),
            ),
        ),
    }
    return Event(**(values | more))  # type: ignore[arg-type] - fields by name


def with_period(made: Event, **changes: object) -> Event:
    return replace(made, active_period=replace(made.active_period, **changes))  # type: ignore[arg-type] - fields by name


def created_event(ven_id: str, told: Event, opt: OptType = OptType.OPT_IN, code: str = "200") -> CreatedEvent:
    response = EventResponse(
        code=code,
        request_id="d1",
        event_id=told.event_id,
        modification_number=told.modification_number,
        opt_type=opt,
    )
    return CreatedEvent(response=EiResponse.ok(), event_responses=(response,), ven_id=ven_id)


def metadata(ven_id: str, request_id: str = "m1") -> RegisterReport:
    """What a node can report: telemetry and history of its load, offers for the next days."""
    reports = tuple(
        Report(
            duration=Duration(28 * 86_400),
            report_descriptions=tuple(
                ReportDescription(
                    r_id=r_id,
                    report_type="usage",
                    reading_type="Direct Read",
                    item_base=ItemBase.energy_real(),
                )
                for r_id in ("load", "home-01")
            ),
            report_specifier_id=f"spec-{name}",
            report_name=f"METADATA_{name}" if not name.startswith("x-") else name,
            created_date_time=NOW,
        )
        for name in (USAGE, HISTORY, OFFER)
    )
    return RegisterReport(request_id=request_id, reports=reports, ven_id=ven_id)


def usage(
    ven_id: str,
    values: Sequence[tuple[datetime, float]],
    *,
    name: str = USAGE,
    created: datetime = NOW,
    r_id: str = "load",
    request_id: str = "u1",
) -> UpdateReport:
    """Quarter-hour values of one data point."""
    intervals = tuple(
        ReportInterval(
            dtstart=start,
            duration=Duration.of(QUARTER),
            payloads=(ReportPayload(r_id=r_id, payload_float=value),),
        )
        for start, value in values
    )
    report = Report(
        dtstart=values[0][0] if values else None,
        intervals=intervals,
        report_request_id=f"ask-{name}",
        report_specifier_id=f"spec-{name}",
        report_name=name,
        created_date_time=created,
    )
    return UpdateReport(request_id=request_id, reports=(report,), ven_id=ven_id)
