"""Records what openleadr's VEN and VTN say, for the test of the checker.

    python -m tests.interop.record_openleadr DIRECTORY

Both are the released package, untouched, over plain HTTP on loopback, in real time (half a minute):
`DIRECTORY/vtn` holds a VEN of three hands that asks their VTN what an operator's VEN may ask,
`DIRECTORY/ven` their VEN at a scripted VTN that hands out one thing at each poll.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from openleadr import OpenADRClient, OpenADRServer

from openadr import (
    ActivePeriod,
    CancelOpt,
    CancelPartyRegistration,
    CancelReport,
    CreatedEvent,
    CreatedPartyRegistration,
    CreateOpt,
    CreatePartyRegistration,
    CreateReport,
    DistributeEvent,
    Duration,
    EiResponse,
    EventResponse,
    Message,
    Poll,
    Profile,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    ReportRequest,
    ReportSpecifier,
    RequestEvent,
    RequestReregistration,
    Response,
    SpecifierPayload,
    Target,
    UpdatedReport,
    UpdateReport,
    decode,
    encode,
)
from openadr.enums import EventStatus, OptType, ProfileName, ResponseRequired, TransportName
from tests.vtn.desk import make_event, metadata, usage

VEN, REGISTRATION, VTN = "ven-0012", "registration-1", "vtn-1"
VTN_PORT, VEN_PORT = 18080, 18081


class Recorder:
    """Writes exchanges into a directory, numbered from 1."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._count = 0

    def keep(self, asked: bytes, answer: bytes) -> None:
        """Both bodies of an exchange."""
        self._count += 1
        (self._directory / f"{self._count:04d}-request.xml").write_bytes(asked)
        (self._directory / f"{self._count:04d}-response.xml").write_bytes(answer)


def service_of(message: Message) -> str:
    """The service that a request of a VEN belongs to."""
    name = type(message).__name__
    if "Registration" in name:
        return "EiRegisterParty"
    if "Report" in name:
        return "EiReport"
    return "OadrPoll" if name == "Poll" else "EiOpt" if "Opt" in name else "EiEvent"


async def record_their_vtn(recorder: Recorder) -> None:
    """A VEN by hand at openleadr's VTN."""
    server = OpenADRServer(
        vtn_id=VTN, http_port=VTN_PORT, http_host="127.0.0.1", requested_poll_freq=timedelta(seconds=1)
    )
    server.add_handler("on_create_party_registration", lambda _: (VEN, REGISTRATION))
    server.add_handler("on_register_report", _ask_for_all)
    await server.run_async()
    async with aiohttp.ClientSession() as session:

        async def say(message: Message) -> Message | None:
            url = f"http://127.0.0.1:{VTN_PORT}/OpenADR2/Simple/2.0b/{service_of(message)}"
            raw = encode(message)
            async with session.post(url, data=raw, headers={"Content-Type": "application/xml"}) as response:
                answer = await response.read() if response.status == 200 else b""
            recorder.keep(raw, answer)
            try:
                return decode(answer)
            except Exception:
                return None

        await _life_of_a_ven(server, say)
    await server.stop()


async def _ask_for_all(report: dict[str, Any]) -> list[Any]:
    return [
        (point["r_id"], lambda _: None, timedelta(seconds=1), timedelta(seconds=2))
        for point in report["report_descriptions"]
    ]


def add_event(server: OpenADRServer, name: str, start: datetime, minutes: int) -> None:
    """One event of one interval in their server's list."""
    server.add_event(
        ven_id=VEN,
        event_id=name,
        signal_name="LOAD_DISPATCH",
        signal_type="setpoint",
        intervals=[{"dtstart": start, "duration": timedelta(minutes=minutes), "signal_payload": 5.0}],
        callback=lambda ven_id, event_id, opt_type: None,
        market_context="http://example.org/programme",
    )


async def _life_of_a_ven(server: OpenADRServer, say: Any) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    await say(QueryRegistration(request_id="q-1"))
    await say(CreatePartyRegistration(request_id="c-1", ven_name="stranger", http_pull_model=True))
    await say(RequestEvent(request_id="e-1", ven_id=VEN))
    await say(replace(metadata(VEN), reports=metadata(VEN).reports[:1]))
    await say(Poll(VEN))
    add_event(server, "late", now + timedelta(minutes=40), 30)
    add_event(server, "soon", now + timedelta(minutes=20), 10)
    add_event(server, "now", now - timedelta(minutes=1), 10)
    listed = await say(Poll(VEN))
    if isinstance(listed, DistributeEvent):
        await say(_answers(listed))
    await say(RequestEvent(request_id="e-2", ven_id=VEN, reply_limit=1))
    await say(RequestEvent(request_id="e-3", ven_id=VEN))
    await say(
        CreatedEvent(response=EiResponse.ok(), event_responses=(_answer("unknown", 0, "e-3"),), ven_id=VEN)
    )
    await say(
        CreatedEvent(response=EiResponse.ok(), event_responses=(_answer("late", 7, "e-3"),), ven_id=VEN)
    )
    server.cancel_event(VEN, "late")
    await say(Poll(VEN))
    await say(Poll(VEN))
    await say(_opt(now, "opt-1"))
    await say(CancelOpt(request_id="o-2", opt_id="opt-1", ven_id=VEN))
    await say(usage(VEN, [(now, 1.0)], created=now))
    await say(
        CreatePartyRegistration(
            request_id="c-2",
            ven_name="stranger",
            http_pull_model=True,
            registration_id=REGISTRATION,
            ven_id=VEN,
        )
    )
    await say(CancelPartyRegistration(request_id="x-1", registration_id=REGISTRATION, ven_id=VEN))


def _answer(event_id: str, version: int, request_id: str) -> EventResponse:
    return EventResponse(
        code="200",
        request_id=request_id,
        event_id=event_id,
        modification_number=version,
        opt_type=OptType.OPT_IN,
    )


def _answers(listed: DistributeEvent) -> CreatedEvent:
    given = tuple(
        _answer(event.event_id, event.modification_number, listed.request_id) for event in listed.events
    )
    return CreatedEvent(response=EiResponse.ok(), event_responses=given, ven_id=VEN)


def _opt(now: datetime, opt_id: str) -> CreateOpt:
    return CreateOpt(
        opt_id=opt_id,
        opt_type=OptType.OPT_OUT,
        opt_reason="economic",
        ven_id=VEN,
        availability=(ActivePeriod(dtstart=now + timedelta(days=1), duration=Duration(3600)),),
        created_date_time=now,
        request_id="o-1",
        target=Target(ven_id=(VEN,)),
    )


class ScriptedVtn:
    """Answers openleadr's VEN: at each poll it hands out the next message of a list."""

    def __init__(self, recorder: Recorder, handed_out: list[Message]) -> None:
        self._recorder = recorder
        self._handed_out = handed_out
        self._events: tuple[Any, ...] = ()

    async def serve(self, request: web.Request) -> web.Response:
        """One exchange."""
        raw = await request.read()
        answer = encode(self._answer(decode(raw)))
        self._recorder.keep(raw, answer)
        return web.Response(body=answer, content_type="application/xml")

    def _answer(self, message: Message) -> Message:
        ok = EiResponse.ok(getattr(message, "request_id", ""))
        if isinstance(message, QueryRegistration | CreatePartyRegistration):
            return CreatedPartyRegistration(
                response=ok,
                registration_id=REGISTRATION,
                ven_id=VEN,
                vtn_id=VTN,
                profiles=(Profile(profile_name=ProfileName.B, transports=(TransportName.SIMPLE_HTTP,)),),
                requested_poll_freq=Duration(1),
            )
        if isinstance(message, RegisterReport):
            return RegisteredReport(
                response=ok, report_requests=tuple(map(_ask, message.reports)), ven_id=VEN
            )
        if isinstance(message, RequestEvent):
            return DistributeEvent(response=ok, request_id="d-0", vtn_id=VTN)
        if isinstance(message, UpdateReport):
            return UpdatedReport(response=ok, ven_id=VEN)
        if isinstance(message, Poll) and self._handed_out:
            return self._handed_out.pop(0)
        return Response(response=ok, ven_id=VEN)


def _ask(report: Any) -> ReportRequest:
    return ReportRequest(
        report_request_id="r-1",
        report_specifier=ReportSpecifier(
            report_specifier_id=report.report_specifier_id,
            granularity=Duration(1),
            report_back_duration=Duration(2),
            report_interval=ActivePeriod(dtstart=report.created_date_time, duration=Duration(0)),
            specifier_payloads=tuple(SpecifierPayload(r_id=p.r_id) for p in report.report_descriptions),
        ),
    )


def script(now: datetime) -> list[Message]:
    """What the scripted VTN hands out, one thing at each poll."""
    ok = EiResponse.ok()
    event = make_event("event-1", now + timedelta(hours=1))
    quiet = replace(make_event("event-2", now + timedelta(hours=2)), response_required=ResponseRequired.NEVER)
    cancelled = replace(
        event,
        descriptor=replace(event.descriptor, modification_number=1, event_status=EventStatus.CANCELLED),
    )
    metadata_request = ReportRequest(
        report_request_id="metadata-1",
        report_specifier=ReportSpecifier(
            report_specifier_id="METADATA",
            granularity=Duration(0),
            report_back_duration=Duration(0),
            specifier_payloads=(SpecifierPayload(r_id="0"),),
        ),
    )

    def listed(request_id: str, *events: Any) -> DistributeEvent:
        fresh = tuple(replace(e, descriptor=replace(e.descriptor, created_date_time=now)) for e in events)
        return DistributeEvent(response=ok, request_id=request_id, vtn_id=VTN, events=fresh)

    return [
        RegisterReport(request_id="own-metadata", ven_id=VEN),
        listed("d-1", event),
        listed("d-2", event, quiet),
        listed("d-3", cancelled, quiet),
        CreateReport(request_id="ask-metadata", report_requests=(metadata_request,), ven_id=VEN),
        CancelReport(request_id="stop", report_request_ids=("r-1",), report_to_follow=True, ven_id=VEN),
        RequestReregistration(ven_id=VEN),
        CancelPartyRegistration(request_id="bye", registration_id=REGISTRATION, ven_id=VEN),
    ]


async def record_their_ven(recorder: Recorder) -> None:
    """openleadr's VEN at a scripted VTN."""
    app = web.Application()
    vtn = ScriptedVtn(recorder, script(datetime.now(UTC).replace(microsecond=0)))
    app.router.add_post("/OpenADR2/Simple/2.0b/{service}", vtn.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", VEN_PORT).start()
    client = OpenADRClient(ven_name="stranger", vtn_url=f"http://127.0.0.1:{VEN_PORT}/OpenADR2/Simple/2.0b")

    async def opt_in(_event: dict[str, Any]) -> str:
        return "optIn"

    async def meter() -> float:
        return 1.5

    client.add_handler("on_event", opt_in)
    client.add_handler("on_update_event", opt_in)
    client.add_report(
        callback=meter,
        report_specifier_id="usage",
        resource_id="home",
        measurement="REAL_POWER",
        sampling_rate=timedelta(seconds=1),
    )
    await client.run()
    await asyncio.sleep(14)
    await client.stop()
    await runner.cleanup()


async def main(directory: Path) -> None:
    """Both scenes."""
    await record_their_vtn(Recorder(directory / "vtn"))
    await record_their_ven(Recorder(directory / "ven"))


if __name__ == "__main__":
    logging.getLogger("openleadr").setLevel(logging.CRITICAL)
    asyncio.run(main(Path(sys.argv[1])))
