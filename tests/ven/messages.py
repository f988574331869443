"""What a VTN says in tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from openadr import (
    ActivePeriod,
    CreatedPartyRegistration,
    CreateReport,
    DistributeEvent,
    Duration,
    EiResponse,
    Event,
    EventDescriptor,
    Profile,
    RegisteredReport,
    ReportRequest,
    ReportSpecifier,
    Response,
    Signal,
    SignalInterval,
    SpecifierPayload,
    Target,
)
from openadr.enums import EventStatus, ProfileName, SignalType, TransportName
from tests.ven.site import NOW, USAGE

VTN, VEN, REGISTRATION = "vtn-1", "ven-1", "reg-1"
HOUR = timedelta(hours=1)


def signal(
    name: str = "SIMPLE",
    kind: SignalType = SignalType.LEVEL,
    values: Sequence[float] = (1.0,),
    length: timedelta = HOUR,
    classes: tuple[str, ...] = (),
) -> Signal:
    step = Duration.of(length / len(values))
    return Signal(
        intervals=tuple(
            SignalInterval(duration=step, uid=str(index), payload_float=value)
            for index, value in enumerate(values)
        ),
        target=Target(end_device_asset=classes) if classes else None,
        signal_name=name,
        signal_type=kind,
        signal_id=f"s-{name}",
    )


def make_event(
    event_id: str = "e1",
    modification: int = 0,
    start: datetime = NOW + HOUR,
    length: timedelta = HOUR,
    start_after: timedelta | None = None,
    **changes: object,
) -> Event:
    descriptor = EventDescriptor(
        event_id=event_id,
        modification_number=modification,
        market_context=str(changes.pop("market_context", "http://programme.test/a")),
        created_date_time=NOW,
        event_status=changes.pop("status", EventStatus.FAR),  # type: ignore[arg-type] - a test's status
        test_event=changes.pop("test_event", None),  # type: ignore[arg-type] - a test's text
    )
    values: dict[str, object] = {
        "descriptor": descriptor,
        "active_period": ActivePeriod(
            dtstart=start,
            duration=Duration.of(length),
            start_after=None if start_after is None else Duration.of(start_after),
        ),
        "signals": (signal(length=length or HOUR),),
    }
    return Event(**(values | changes))  # type: ignore[arg-type] - fields by name


def cancelled(event: Event, modification: int | None = None) -> Event:
    number = event.modification_number + 1 if modification is None else modification
    return replace(
        event,
        descriptor=replace(event.descriptor, event_status=EventStatus.CANCELLED, modification_number=number),
    )


def distribute(*events: Event, request_id: str = "d1", code: str | None = None) -> DistributeEvent:
    response = None if code is None else EiResponse(code, "text")
    return DistributeEvent(response=response, request_id=request_id, vtn_id=VTN, events=events)


def ok() -> Response:
    return Response(response=EiResponse.ok())


def no(code: str) -> Response:
    return Response(response=EiResponse(code, "no"))


def registered(code: str = "200", period_s: int = 300, ven_id: str | None = VEN) -> CreatedPartyRegistration:
    return CreatedPartyRegistration(
        response=EiResponse(code, "text"),
        registration_id=REGISTRATION if ven_id else None,
        ven_id=ven_id,
        vtn_id=VTN,
        profiles=(Profile(profile_name=ProfileName.B, transports=(TransportName.SIMPLE_HTTP,)),),
        requested_poll_freq=Duration(period_s),
    )


def ask(
    name: str = USAGE,
    *,
    start: datetime | None = NOW,
    length: timedelta = timedelta(0),
    back: timedelta = timedelta(minutes=15),
    granularity: timedelta = timedelta(minutes=15),
    r_ids: Sequence[str] = ("load",),
    request_id: str = "",
) -> ReportRequest:
    return ReportRequest(
        report_request_id=request_id or f"ask-{name}",
        report_specifier=ReportSpecifier(
            report_specifier_id=name if name == "METADATA" else f"spec-{name}",
            granularity=Duration.of(granularity),
            report_back_duration=Duration.of(back),
            report_interval=None
            if start is None
            else ActivePeriod(dtstart=start, duration=Duration.of(length)),
            specifier_payloads=tuple(SpecifierPayload(r_id=r_id) for r_id in r_ids),
        ),
    )


def create_report(*requests: ReportRequest, ven_id: str | None = None) -> CreateReport:
    return CreateReport(request_id="c1", report_requests=requests, ven_id=ven_id)


def metadata_taken(*requests: ReportRequest, code: str = "200") -> RegisteredReport:
    return RegisteredReport(response=EiResponse(code, "text", "m1"), report_requests=requests)
