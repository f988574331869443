"""A node of the test's own: it speaks real OpenADR over a real socket, and its meter is a formula.

`load_kw(instant)` is what the node would use; from the opt-in on it uses less by what the event asks, times
`obedience`. Homes that the event does not name use what they always do, the others give it all.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import aiohttp

from openadr import (
    CreatedEvent,
    CreateOpt,
    CreatePartyRegistration,
    DistributeEvent,
    Duration,
    EiResponse,
    Event,
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
    SamplingRate,
    UpdatedReport,
    UpdateReport,
    decode,
    encode,
)
from openadr.enums import OptType

QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)
BASE = "/OpenADR2/Simple/2.0b/"
SHARES = {"home-01": 0.5, "home-02": 0.3, "home-03": 0.2}
REPORTS = {
    "history": ("METADATA_HISTORY_USAGE", ("load", *SHARES)),
    "telemetry": ("METADATA_TELEMETRY_USAGE", ("load", *SHARES)),
    "offers": ("x-FLEXIBILITY_OFFER", ("load_forecast", "offer")),
}
SERVICES = {
    CreateOpt: "EiOpt",
    CreatePartyRegistration: "EiRegisterParty",
    RegisterReport: "EiReport",
    UpdateReport: "EiReport",
    CreatedEvent: "EiEvent",
    Poll: "OadrPoll",
}


@dataclass
class Box:
    """One node."""

    name: str
    fingerprint: str
    load_kw: Callable[[datetime], float]
    offer_kw: float
    obedience: float = 1.0
    opt: OptType = OptType.OPT_IN
    ven_id: str = ""
    asked: dict[str, ReportRequest] = field(default_factory=dict)
    events: dict[str, Event] = field(default_factory=dict)
    counter: int = 0

    def connect(self, http: aiohttp.ClientSession, port: int) -> None:
        """Where the VTN is."""
        self.http = http
        self.url = f"http://127.0.0.1:{port}{BASE}"

    async def say(self, message: Message) -> Message:
        """Send a message and give the reply."""
        headers = {"Content-Type": "application/xml", "X-Client-Fingerprint": self.fingerprint}
        url = self.url + SERVICES[type(message)]
        async with self.http.post(url, data=encode(message), headers=headers) as answer:
            assert answer.status == 200, answer.status
            return decode(await answer.read())

    async def register(self, now: datetime) -> None:
        """Register, send metadata, take what is asked for."""
        created = await self.say(
            CreatePartyRegistration(request_id="r", ven_name=self.name, http_pull_model=True)
        )
        assert created.response.code == "200", created
        self.ven_id = created.ven_id
        await self.offer_reports(now)

    async def offer_reports(self, now: datetime) -> None:
        """Send the metadata and note the requests."""
        rate = SamplingRate(min_period=Duration.of(QUARTER), max_period=Duration.of(HOUR))
        reports = tuple(
            Report(
                duration=Duration.of(timedelta(days=28)),
                report_specifier_id=specifier,
                report_name=name,
                created_date_time=now,
                report_descriptions=tuple(
                    ReportDescription(
                        r_id=r_id,
                        report_type="usage",
                        item_base=ItemBase.energy_real(),
                        reading_type="Direct Read",
                        sampling_rate=rate,
                    )
                    for r_id in r_ids
                ),
            )
            for specifier, (name, r_ids) in REPORTS.items()
        )
        answer = await self.say(RegisterReport(request_id="m", reports=reports, ven_id=self.ven_id))
        assert isinstance(answer, RegisteredReport)
        self.asked = {
            request.report_specifier.report_specifier_id: request for request in answer.report_requests
        }

    def given_kw(self, instant: datetime, home: str | None = None) -> float:
        """By how much less the node, or one of its homes, uses than it would."""
        given = 0.0
        for event in self.events.values():
            if event.dtstart <= instant < event.end and not event.is_cancelled and self.opt is OptType.OPT_IN:
                meant = event.target.resources_alone or frozenset(SHARES)
                whole = sum(share for name, share in SHARES.items() if name in meant)
                part = 1.0 if home is None else SHARES[home] / whole if home in meant else 0.0
                given -= event.signals[1].intervals[0].payload_float / 1000 * self.obedience * part
        return given

    def used_kw(self, instant: datetime) -> float:
        """Load less what an event that was opted into asks for."""
        return self.load_kw(instant) - self.given_kw(instant)

    def value(self, r_id: str, instant: datetime) -> float:
        """Wh of the quarter hour from `instant` on."""
        if r_id == "offer":
            return self.offer_kw * 250
        if r_id == "load_forecast":
            return round(self.load_kw(instant) * 250)
        if r_id not in SHARES:
            return round(self.used_kw(instant) * 250)
        return round((self.load_kw(instant) * SHARES[r_id] - self.given_kw(instant, r_id)) * 250)

    async def report(
        self,
        specifier: str,
        start: datetime,
        end: datetime,
        now: datetime,
        values: Callable[[str, datetime], float] | None = None,
    ) -> None:
        """Send what was asked for of [start, end)."""
        request = self.asked[specifier]
        intervals, at = [], start
        while at < end:
            payloads = tuple(
                ReportPayload(r_id=point.r_id, payload_float=(values or self.value)(point.r_id, at))
                for point in request.report_specifier.specifier_payloads
            )
            intervals.append(
                ReportInterval(
                    dtstart=at, duration=Duration.of(QUARTER), uid=str(len(intervals)), payloads=payloads
                )
            )
            at += QUARTER
        self.counter += 1
        report = Report(
            dtstart=start,
            duration=Duration.of(end - start),
            intervals=tuple(intervals),
            report_id=str(self.counter),
            report_request_id=request.report_request_id,
            report_specifier_id=specifier,
            report_name=REPORTS[specifier][0].removeprefix("METADATA_"),
            created_date_time=now,
        )
        answer = await self.say(
            UpdateReport(request_id=str(self.counter), reports=(report,), ven_id=self.ven_id)
        )
        assert isinstance(answer, UpdatedReport)
        assert answer.response.code == "200", answer

    async def send_history(self, now: datetime) -> None:
        """Answer the history request, day by day."""
        interval = self.asked["history"].report_specifier.report_interval
        start = interval.dtstart
        while start < interval.end:
            end = min(start + timedelta(days=1), interval.end)
            await self.report("history", start, end, now)
            start = end

    async def poll(self) -> Message:
        """Poll once; take events and answer them."""
        answer = await self.say(Poll(ven_id=self.ven_id))
        if isinstance(answer, DistributeEvent):
            for event in answer.events:
                self.events[event.event_id] = event
            await self.answer_events(answer)
        return answer

    async def poll_for_event(self) -> DistributeEvent:
        """Poll until the events come: other payloads may be first."""
        for _ in range(5):
            answer = await self.poll()
            if isinstance(answer, DistributeEvent):
                return answer
        raise AssertionError("no event was offered")

    async def answer_events(self, distributed: DistributeEvent) -> None:
        """Opt in or out of all of them."""
        responses = tuple(
            EventResponse(
                code="200",
                request_id=distributed.request_id,
                event_id=event.event_id,
                modification_number=event.modification_number,
                opt_type=self.opt,
            )
            for event in distributed.events
        )
        await self.say(
            CreatedEvent(
                response=EiResponse.ok(distributed.request_id), event_responses=responses, ven_id=self.ven_id
            )
        )
