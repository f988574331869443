"""Messages of every class, with every field used at least once; the values of tests/vectors/*.xml."""

from datetime import UTC, datetime
from decimal import Decimal

from openadr import (
    ActivePeriod,
    Baseline,
    CanceledOpt,
    CanceledPartyRegistration,
    CanceledReport,
    CancelOpt,
    CancelPartyRegistration,
    CancelReport,
    CreatedEvent,
    CreatedOpt,
    CreatedPartyRegistration,
    CreatedReport,
    CreateOpt,
    CreatePartyRegistration,
    CreateReport,
    DistributeEvent,
    Duration,
    EiResponse,
    Event,
    EventDescriptor,
    EventResponse,
    Extension,
    Info,
    ItemBase,
    LoadControlState,
    LoadControlValue,
    Message,
    Poll,
    Profile,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportDescription,
    ReportInterval,
    ReportPayload,
    ReportRequest,
    ReportSpecifier,
    RequestEvent,
    RequestReregistration,
    ResourceStatus,
    Response,
    SamplingRate,
    ServiceArea,
    ServiceInfo,
    Signal,
    SignalInterval,
    SpecifierPayload,
    Target,
    TransportInterface,
    UpdatedReport,
    UpdateReport,
    XmlNode,
)
from openadr.enums import (
    DataQuality,
    EventStatus,
    OptReason,
    OptType,
    ProfileName,
    ReadingType,
    ReportName,
    ReportType,
    ResponseRequired,
    ServiceName,
    SignalName,
    SignalType,
    SiScaleCode,
    TransportName,
)

ATOM = "{http://www.w3.org/2005/Atom}"
ESPI = "{http://naesb.org/espi}"
XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 7, 1, hour, minute, tzinfo=UTC)


def minutes(count: int) -> Duration:
    return Duration(count * 60)


HOUR = minutes(60)

OK = EiResponse("200", "OK", "req-1")
REFUSED = EiResponse("452", 'unknown <id> & "more"', "req-1")


def steps(*values: float, length: Duration) -> tuple[SignalInterval, ...]:
    return tuple(
        SignalInterval(duration=length, uid=str(number), payload_float=value)
        for number, value in enumerate(values)
    )


AREA = ServiceArea(
    feature_id="area-1", polygon_id="polygon-1", positions=(59.3, 18.0, 59.4, 18.0, 59.4, 18.2, 59.3, 18.0)
)

FULL_TARGET = Target(
    aggregated_pnode=("pnode-a",),
    end_device_asset=("Water_Heater", "EVSE"),
    meter_asset=("meter-1",),
    pnode=("pnode-b",),
    service_area=(AREA,),
    service_delivery_point=("sdp-1",),
    service_location=(ServiceArea(positions=(1.5, -2.25)),),
    transport_interface=(TransportInterface(point_of_receipt="bus-1", point_of_delivery="bus-2"),),
    group_id=("group-1",),
    group_name=("a & b",),
    resource_id=("home-01", "0012"),
    ven_id=("ven-1",),
    party_id=("party-1",),
)


def event(
    event_id: str = "event-1",
    *,
    start: datetime | None = None,
    length: Duration = HOUR,
    signals: tuple[Signal, ...] | None = None,
    status: EventStatus = EventStatus.FAR,
    priority: int | None = None,
    period: ActivePeriod | None = None,
    test_event: str | None = None,
    baseline: Baseline | None = None,
    target: Target | None = None,
    response_required: ResponseRequired = ResponseRequired.ALWAYS,
) -> Event:
    """An event that breaks no rule unless a part is given that does."""
    simple = Signal(
        intervals=steps(1.0, length=length),
        signal_name=SignalName.SIMPLE,
        signal_type=SignalType.LEVEL,
        signal_id="signal-1",
    )
    return Event(
        descriptor=EventDescriptor(
            event_id=event_id,
            modification_number=0,
            priority=priority,
            market_context="http://programme.example/peak",
            created_date_time=at(9),
            event_status=status,
            test_event=test_event,
        ),
        active_period=period
        or ActivePeriod(dtstart=start or at(17), duration=length, notification=minutes(120)),
        signals=signals or (simple,),
        baseline=baseline,
        target=target or Target(ven_id=("ven-1",)),
        response_required=response_required,
    )


DISPATCH = Signal(
    intervals=steps(-2.5, -3.0, length=minutes(30)),
    target=Target(end_device_asset=("Electric_Vehicle", "x-heat-pump")),
    signal_name=SignalName.LOAD_DISPATCH,
    signal_type=SignalType.DELTA,
    signal_id="signal-2",
    item_base=ItemBase.power(scale=SiScaleCode.KILO, hertz=50, voltage=Decimal("229.5")),
)

FULL_EVENT = Event(
    descriptor=EventDescriptor(
        event_id="event-2",
        modification_number=3,
        modification_date_time=at(10),
        modification_reason="more is needed",
        priority=1,
        market_context="http://programme.example/peak",
        created_date_time=at(9),
        event_status=EventStatus.ACTIVE,
        test_event="false",
        vtn_comment="peak of the évening",
    ),
    active_period=ActivePeriod(
        dtstart=at(17),
        duration=minutes(60),
        start_after=minutes(5),
        notification=minutes(120),
        ramp_up=minutes(10),
        recovery=Duration(-300),
    ),
    signals=(
        Signal(
            intervals=steps(2.0, 1.0, length=minutes(30)),
            signal_name=SignalName.SIMPLE,
            signal_type=SignalType.LEVEL,
            signal_id="signal-1",
            current_value=2.0,
        ),
        DISPATCH,
    ),
    baseline=Baseline(
        dtstart=at(17),
        duration=minutes(60),
        intervals=steps(4000.0, 4200.5, length=minutes(30)),
        baseline_id="baseline-1",
        resource_id=("home-01",),
        baseline_name="ten of ten",
        item_base=ItemBase.power(),
    ),
    target=FULL_TARGET,
    response_required=ResponseRequired.NEVER,
)


def _unit_signal(number: int, item_base: ItemBase) -> Signal:
    return Signal(
        intervals=(SignalInterval(dtstart=at(17), duration=minutes(60), uid="0", payload_float=1.5),),
        signal_name="x-units",
        signal_type=SignalType.SETPOINT,
        signal_id=f"signal-{number}",
        item_base=item_base,
    )


FEED = XmlNode(
    tag=f"{ATOM}feed",
    children=(
        XmlNode(tag=f"{ATOM}id", text="urn:uuid:7b1c6f0a-1111-4c4e-8f10-000000000001"),
        XmlNode(
            tag=f"{ATOM}entry",
            children=(
                XmlNode(tag=f"{ATOM}id", text="urn:uuid:7b1c6f0a-1111-4c4e-8f10-000000000002"),
                XmlNode(tag=f"{ATOM}link", attributes=(("href", "UsagePoint/1?a=1&b=2"), ("rel", "self"))),
                XmlNode(tag=f"{ATOM}title", text="Front <meter>"),
                XmlNode(
                    tag=f"{ATOM}content",
                    children=(
                        XmlNode(
                            tag=f"{ESPI}IntervalBlock",
                            children=(
                                XmlNode(
                                    tag=f"{ESPI}interval",
                                    children=(
                                        XmlNode(tag=f"{ESPI}duration", text="900"),
                                        XmlNode(tag=f"{ESPI}start", text="1330578000"),
                                    ),
                                ),
                            ),
                        ),
                    ),
                ),
                XmlNode(tag=f"{ATOM}published", text="2026-07-01T00:00:00Z"),
                XmlNode(tag=f"{ATOM}updated", text="2026-07-01T00:00:00Z"),
            ),
        ),
    ),
)

UNITS = (
    ItemBase.power("powerReal"),
    ItemBase.power("powerApparent", SiScaleCode.MEGA, ac=False),
    ItemBase.power("powerReactive"),
    ItemBase.energy_real(SiScaleCode.KILO),
    ItemBase.of("energyApparent"),
    ItemBase.of("energyReactive"),
    ItemBase.of("voltage", scale=SiScaleCode.MILLI),
    ItemBase.of("current", scale=SiScaleCode.MICRO),
    ItemBase.of("frequency"),
    ItemBase.of("Therm"),
    ItemBase.of("temperature", "fahrenheit"),
    ItemBase.of("currency", "SEK", SiScaleCode.CENTI),
    ItemBase.of("currencyPerKWh", "EUR"),
    ItemBase.of("currencyPerKW", "USD"),
    ItemBase.of("currencyPerThm", "GBP"),
    ItemBase.pulse_count(0.001),
    ItemBase.custom("comfort", "x-degree-hours", SiScaleCode.GIGA),
    ItemBase(kind="oadrGBDataDescription", feed=FEED),
)

METADATA_USAGE = Report(
    duration=Duration(7 * 86_400),
    report_descriptions=(
        ReportDescription(
            r_id="load",
            report_data_source=Target(resource_id=("home-01",)),
            report_type=ReportType.USAGE,
            item_base=ItemBase.energy_real(),
            reading_type=ReadingType.DIRECT_READ,
            market_context="http://programme.example/peak",
            sampling_rate=SamplingRate(min_period=minutes(1), max_period=minutes(15), on_change=True),
        ),
        ReportDescription(
            r_id="flexible",
            report_subject=Target(end_device_asset=("Water_Heater",)),
            report_type="x-flexible",
            item_base=ItemBase.power(),
            reading_type="x-forecast",
            sampling_rate=SamplingRate(min_period=minutes(15), max_period=minutes(15)),
        ),
    ),
    report_request_id="0",
    report_specifier_id="usage",
    report_name=ReportName.METADATA_TELEMETRY_USAGE,
    created_date_time=at(8),
)

USAGE = Report(
    dtstart=at(8),
    duration=minutes(30),
    intervals=tuple(
        ReportInterval(
            dtstart=at(8, 15 * number),
            duration=minutes(15),
            uid=str(number),
            payloads=(
                ReportPayload(
                    r_id="load",
                    confidence=95,
                    accuracy=0.5,
                    payload_float=value,
                    data_quality=DataQuality.GOOD,
                ),
                ReportPayload(r_id="0012", payload_float=-1e-07, data_quality="x-corrected"),
            ),
        )
        for number, value in enumerate((412.0, 398.25))
    ),
    report_id="report-1",
    report_request_id="request-1",
    report_specifier_id="usage",
    report_name=ReportName.TELEMETRY_USAGE,
    created_date_time=at(8, 31),
)

STATUS = Report(
    dtstart=at(8),
    intervals=(
        ReportInterval(
            dtstart=at(8),
            payloads=(
                ReportPayload(
                    r_id="home-01",
                    resource_status=ResourceStatus(
                        online=True,
                        manual_override=False,
                        load_control_state=LoadControlState(
                            capacity=LoadControlValue(minimum=0.0, maximum=1.0, current=0.5, normal=1.0),
                            level_offset=LoadControlValue(current=2.0),
                            percent_offset=LoadControlValue(current=-10.0),
                            set_point=LoadControlValue(current=21.5),
                        ),
                    ),
                ),
            ),
        ),
    ),
    report_request_id="request-2",
    report_specifier_id="status",
    report_name=ReportName.TELEMETRY_STATUS,
    created_date_time=at(8, 1),
)

GREEN_BUTTON = Report(
    dtstart=at(8),
    intervals=(ReportInterval(dtstart=at(8), duration=minutes(15), feeds=(FEED,)),),
    report_request_id="request-3",
    report_specifier_id="green",
    report_name=ReportName.HISTORY_GREENBUTTON,
    created_date_time=at(8, 31),
)

REQUESTS = (
    ReportRequest(
        report_request_id="request-1",
        report_specifier=ReportSpecifier(
            report_specifier_id="usage",
            granularity=minutes(15),
            report_back_duration=minutes(15),
            report_interval=ActivePeriod(dtstart=at(8), duration=Duration(0)),
            specifier_payloads=(SpecifierPayload(r_id="load"), SpecifierPayload(r_id="0012")),
        ),
    ),
    ReportRequest(
        report_request_id="request-2",
        report_specifier=ReportSpecifier(
            report_specifier_id="METADATA",
            granularity=Duration(0),
            report_back_duration=Duration(0),
            specifier_payloads=(SpecifierPayload(r_id="0"),),
        ),
    ),
)

CANCEL_REPORT = CancelReport(
    request_id="req-1", report_request_ids=("request-1", "request-2"), report_to_follow=True, ven_id="ven-1"
)

# name of the file in tests/vectors -> its message
MESSAGES: dict[str, Message] = {
    "query_registration": QueryRegistration(request_id="req-1"),
    "create_party_registration_pull": CreatePartyRegistration(
        request_id="req-1", ven_name="FEID of node 1", http_pull_model=True
    ),
    "create_party_registration_push": CreatePartyRegistration(
        request_id="req-1",
        registration_id="reg-1",
        ven_id="0012",
        profile_name=ProfileName.A,
        transport_name=TransportName.XMPP,
        transport_address="ven@host.example/resource",
        report_only=True,
        xml_signature=True,
        http_pull_model=False,
    ),
    "created_party_registration_query": CreatedPartyRegistration(
        response=OK,
        vtn_id="vtn-1",
        profiles=(Profile(profile_name=ProfileName.B, transports=(TransportName.SIMPLE_HTTP,)),),
    ),
    "created_party_registration": CreatedPartyRegistration(
        response=OK,
        registration_id="reg-1",
        ven_id="ven-1",
        vtn_id="vtn-1",
        profiles=(
            Profile(profile_name=ProfileName.A, transports=(TransportName.SIMPLE_HTTP,)),
            Profile(profile_name=ProfileName.B, transports=(TransportName.SIMPLE_HTTP, TransportName.XMPP)),
        ),
        requested_poll_freq=minutes(5),
        services=(ServiceInfo(service_name=ServiceName.EI_EVENT, infos=(Info(key="limit", value="10"),)),),
        extensions=(
            Extension(extension_name="x-offer", infos=(Info(key="a", value="<&>"),)),
            Extension(extension_name="x-plain"),
        ),
    ),
    "cancel_party_registration": CancelPartyRegistration(
        request_id="req-1", registration_id="reg-1", ven_id="ven-1"
    ),
    "canceled_party_registration": CanceledPartyRegistration(
        response=OK, registration_id="reg-1", ven_id="ven-1"
    ),
    "request_reregistration": RequestReregistration(ven_id="ven-1"),
    "poll": Poll("ven-1"),
    "response": Response(response=OK, ven_id="ven-1"),
    "response_error": Response(response=REFUSED),
    "request_event": RequestEvent(request_id="req-1", ven_id="ven-1", reply_limit=2),
    "distribute_event_empty": DistributeEvent(response=OK, request_id="req-1", vtn_id="vtn-1"),
    "distribute_event": DistributeEvent(request_id="req-1", vtn_id="vtn-1", events=(event(), FULL_EVENT)),
    "distribute_event_units": DistributeEvent(
        request_id="req-1",
        vtn_id="vtn-1",
        events=(
            event("event-3", signals=tuple(_unit_signal(number, unit) for number, unit in enumerate(UNITS))),
        ),
    ),
    "created_event": CreatedEvent(
        response=EiResponse("200", "OK"),
        event_responses=(
            EventResponse(
                code="200",
                description="OK",
                request_id="req-1",
                event_id="event-1",
                modification_number=0,
                opt_type=OptType.OPT_IN,
            ),
            EventResponse(
                code="460",
                request_id="req-1",
                event_id="event-2",
                modification_number=3,
                opt_type=OptType.OPT_OUT,
            ),
        ),
        ven_id="ven-1",
    ),
    "register_report": RegisterReport(
        request_id="req-1", reports=(METADATA_USAGE,), ven_id="ven-1", report_request_id="request-2"
    ),
    "register_report_empty": RegisterReport(request_id="req-1"),
    "registered_report": RegisteredReport(response=OK, report_requests=REQUESTS, ven_id="ven-1"),
    "create_report": CreateReport(request_id="req-1", report_requests=REQUESTS, ven_id="ven-1"),
    "created_report": CreatedReport(response=OK, pending_reports=("request-1",), ven_id="ven-1"),
    "created_report_none": CreatedReport(response=REFUSED),
    "update_report": UpdateReport(request_id="req-1", reports=(USAGE, STATUS), ven_id="ven-1"),
    "update_report_green_button": UpdateReport(request_id="req-1", reports=(GREEN_BUTTON,), ven_id="ven-1"),
    "updated_report": UpdatedReport(response=OK, cancel_report=CANCEL_REPORT, ven_id="ven-1"),
    "cancel_report": CANCEL_REPORT,
    "canceled_report": CanceledReport(response=OK, pending_reports=("request-2",), ven_id="ven-1"),
    "create_opt_schedule": CreateOpt(
        opt_id="opt-1",
        opt_type=OptType.OPT_OUT,
        opt_reason=OptReason.SCHEDULE,
        market_context="http://programme.example/peak",
        ven_id="ven-1",
        availability=(
            ActivePeriod(dtstart=at(17), duration=minutes(60)),
            ActivePeriod(dtstart=at(20), duration=Duration(0, months=1)),
        ),
        created_date_time=at(9),
        request_id="req-1",
        target=Target(ven_id=("ven-1",)),
        device_class=Target(end_device_asset=("Thermostat",)),
    ),
    "create_opt_event": CreateOpt(
        opt_id="opt-2",
        opt_type=OptType.OPT_IN,
        opt_reason="x-manual",
        ven_id="ven-1",
        created_date_time=at(9),
        request_id="",
        event_id="event-1",
        modification_number=0,
        target=FULL_TARGET,
    ),
    "created_opt": CreatedOpt(response=OK, opt_id="opt-1"),
    "cancel_opt": CancelOpt(request_id="req-1", opt_id="opt-1", ven_id="ven-1"),
    "canceled_opt": CanceledOpt(response=OK, opt_id="opt-1"),
}
