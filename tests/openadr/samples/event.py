"""Events, from the least to one with every field, and the messages that carry them."""

from datetime import datetime
from decimal import Decimal

from openadr import (
    ActivePeriod,
    Baseline,
    CreatedEvent,
    DistributeEvent,
    Duration,
    EiResponse,
    Event,
    EventDescriptor,
    EventResponse,
    ItemBase,
    Message,
    RequestEvent,
    Signal,
    SignalInterval,
    Target,
)
from openadr.enums import EventStatus, OptType, ResponseRequired, SignalName, SignalType, SiScaleCode
from tests.openadr.samples.feed import FEED
from tests.openadr.samples.parts import FULL_TARGET, HOUR, OK, at, minutes


def steps(*values: float, length: Duration) -> tuple[SignalInterval, ...]:
    return tuple(
        SignalInterval(duration=length, uid=str(number), payload_float=value)
        for number, value in enumerate(values)
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

EVENTS: dict[str, Message] = {
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
}
