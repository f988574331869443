"""Conformance rules of events and signals (groups EVT, SGN, TGT, VEX), on one message."""

from collections.abc import Iterator, Sequence

from openadr.enums import EventStatus, OptType, SignalName, SignalType
from openadr.event import Baseline, CreatedEvent, DistributeEvent, Event, Signal, SignalInterval
from openadr.finding import Finding
from openadr.interval import Duration
from openadr.target import Target

_POWER = frozenset({"powerReal", "powerApparent", "powerReactive"})
_ENERGY = frozenset({"energyReal", "energyApparent", "energyReactive"})
_NO_UNIT: frozenset[str] = frozenset()
_CURRENCY = frozenset({"currency", "currencyPerKWh", "currencyPerKW"})

_ENERGY_PRICES = {
    SignalType.PRICE: frozenset({"currencyPerKWh"}),
    SignalType.PRICE_RELATIVE: frozenset({"currencyPerKWh"}),
    SignalType.PRICE_MULTIPLIER: _NO_UNIT,
}
# Appendix B: signal name -> signal type -> kinds of unit (none: the signal has no itemBase)
SIGNALS: dict[str, dict[SignalType, frozenset[str]]] = {
    SignalName.SIMPLE: {SignalType.LEVEL: _NO_UNIT},
    SignalName.SIMPLE_LOWER: {SignalType.LEVEL: _NO_UNIT},
    SignalName.ELECTRICITY_PRICE: _ENERGY_PRICES,
    SignalName.ENERGY_PRICE: _ENERGY_PRICES,
    SignalName.DEMAND_CHARGE: {
        SignalType.PRICE: frozenset({"currencyPerKW"}),
        SignalType.PRICE_RELATIVE: frozenset({"currencyPerKW"}),
        SignalType.PRICE_MULTIPLIER: _NO_UNIT,
    },
    SignalName.BID_PRICE: {SignalType.PRICE: _CURRENCY},
    SignalName.BID_LOAD: {SignalType.SETPOINT: _POWER},
    SignalName.BID_ENERGY: {SignalType.SETPOINT: _ENERGY},
    SignalName.CHARGE_STATE: {
        SignalType.SETPOINT: _ENERGY,
        SignalType.DELTA: _ENERGY,
        SignalType.MULTIPLIER: _NO_UNIT,
    },
    SignalName.LOAD_DISPATCH: {
        SignalType.SETPOINT: _POWER,
        SignalType.DELTA: _POWER,
        SignalType.MULTIPLIER: _NO_UNIT,
        SignalType.LEVEL: _POWER,
    },
    SignalName.LOAD_CONTROL: {
        SignalType.LOAD_CONTROL_CAPACITY: _NO_UNIT,
        SignalType.LOAD_CONTROL_LEVEL_OFFSET: _NO_UNIT,
        SignalType.LOAD_CONTROL_SETPOINT: _NO_UNIT,
        SignalType.LOAD_CONTROL_PERCENT_OFFSET: _NO_UNIT,
    },
}

DEVICE_CLASSES = frozenset(
    {
        "Thermostat",
        "Strip_Heater",
        "Baseboard_Heater",
        "Water_Heater",
        "Pool_Pump",
        "Sauna",
        "Hot_tub",
        "Smart_Appliance",
        "Irrigation_Pump",
        "Managed_Commercial_and_Industrial_Loads",
        "Simple_Residential_On_Off_Loads",
        "Exterior_Lighting",
        "Interior_Lighting",
        "Electric_Vehicle",
        "Generation_Systems",
        "Load_Control_Switch",
        "Smart_Inverter",
        "EVSE",
        "RESU",
        "Energy_Management_System",
        "Smart_Energy_Module",
        "Storage",
    }
)


def distribute_event(message: DistributeEvent) -> Iterator[Finding]:
    """Rules of a list of events."""
    if not message.request_id:
        yield Finding("EVT-06", "requestID of oadrDistributeEvent is empty")
    if len({event.descriptor.created_date_time for event in message.events}) > 1:
        yield Finding("EVT-03", "createdDateTime differs between the events of one message", warning=True)
    for broken in message.unreadable:
        yield Finding(broken.rule, f"event {broken.event_id}: {broken.description}")
    for event in message.events:
        yield from _event(event)


def created_event(message: CreatedEvent) -> Iterator[Finding]:
    """Rules of a VEN's answers."""
    if message.event_responses and message.response.request_id:
        yield Finding("VEX-02", "requestID of the top eiResponse is not empty beside eventResponses")
    if not message.event_responses and message.response.is_success:
        yield Finding("VEX-05", "no eventResponses, although the top eiResponse is no error")
    for answer in message.event_responses:
        if answer.code.startswith(("4", "5")) and answer.opt_type is not OptType.OPT_OUT:
            yield Finding("VEX-12", f"event {answer.event_id}: error {answer.code} without optOut")


def device_classes(target: Target | None, rule: str, where: str) -> Iterator[Finding]:
    """A target that may name device classes only, and is left out where it names none (TGT-03, TGT-06)."""
    if target is None:
        return
    if target != Target(end_device_asset=target.end_device_asset):
        yield Finding(rule, f"{where}: only endDeviceAsset is allowed")
    elif not target.end_device_asset:
        yield Finding(rule, f"{where}: empty, it must be left out")
    for name in target.end_device_asset:
        if name not in DEVICE_CLASSES and not name.startswith("x-"):
            yield Finding(rule, f"{where}: no device class: {name}")


def _event(event: Event) -> Iterator[Finding]:
    name = f"event {event.event_id}"
    if event.descriptor.event_status is EventStatus.NONE:
        yield Finding("EVT-09", f"{name}: eventStatus none is never sent")
    period = event.active_period
    if period.notification is None:
        yield Finding("EVT-19", f"{name}: x-eiNotification is missing")
    if any(each and each.is_negative for each in (period.duration, period.start_after, period.notification)):
        yield Finding("EVT-19", f"{name}: a negative duration is legal for ramp-up and recovery only")
    if len(event.target.ven_id) > 1:
        yield Finding("EVT-30", f"{name}: more than one venID in eiTarget")
    ids = [signal.signal_id for signal in event.signals]
    if len(set(ids)) < len(ids):
        yield Finding("EVT-26", f"{name}: signalID is not unique")
    for signal in event.signals:
        where = f"{name}, signal {signal.signal_id}"
        yield from _intervals(signal.intervals, period.duration, where)
        yield from _signal(signal, where)
        yield from _current_value(event, signal, where)
    if event.baseline is not None:
        yield from _baseline(event.baseline, name)


def _baseline(baseline: Baseline, name: str) -> Iterator[Finding]:
    yield from _intervals(baseline.intervals, baseline.duration, f"{name}, baseline {baseline.baseline_id}")


def _intervals(intervals: Sequence[SignalInterval], whole: Duration, where: str) -> Iterator[Finding]:
    uids = [interval.uid for interval in intervals]
    if uids != [str(number) for number in range(len(intervals))]:
        yield Finding("EVT-20", f"{where}: uid must count 0, 1, 2, ...")
    if any(interval.dtstart is not None for interval in intervals):
        yield Finding("EVT-21", f"{where}: dtstart is forbidden in an interval")
    durations = [interval.duration for interval in intervals]
    if None in durations:
        yield Finding("EVT-21", f"{where}: an interval has no duration")
        return
    known = [duration for duration in durations if duration is not None]
    if any(duration.is_negative for duration in known) and not whole.is_negative:
        yield Finding("EVT-21", f"{where}: an interval has a negative duration")
    if not whole:
        if any(known) or len(known) != 1:
            yield Finding("EVT-22", f"{where}: an open-ended event has exactly one interval of duration 0")
        return
    seconds, months = sum(item.seconds for item in known), sum(item.months for item in known)
    if (seconds, months) != (whole.seconds, whole.months):
        yield Finding(
            "EVT-21", f"{where}: intervals last {seconds} s and {months} months, the whole is {whole}"
        )


def _signal(signal: Signal, where: str) -> Iterator[Finding]:
    yield from device_classes(signal.target, "TGT-03", f"{where}, eiTarget")
    allowed = SIGNALS.get(signal.signal_name)
    if allowed is None:
        return
    name = f"{signal.signal_name} {signal.signal_type}"
    if signal.signal_type not in allowed:
        simple = signal.signal_name in (SignalName.SIMPLE, SignalName.SIMPLE_LOWER)
        yield Finding("EVT-28" if simple else "EVT-27", f"{where}: {name} is no combination of the standard")
        if simple:
            yield from _values(signal, where)
        return
    units = allowed[signal.signal_type]
    kind = signal.item_base.kind if signal.item_base else None
    if not units and kind is not None:
        yield Finding("SGN-04", f"{where}: {name} has no itemBase, found {kind}")
    if units and kind not in units:
        yield Finding("EVT-27", f"{where}: {name} is in {' or '.join(sorted(units))}, found {kind}")
    yield from _values(signal, where)


def _values(signal: Signal, where: str) -> Iterator[Finding]:
    values = [interval.payload_float for interval in signal.intervals]
    name, kind = signal.signal_name, signal.signal_type
    if name in (SignalName.SIMPLE, SignalName.SIMPLE_LOWER):
        if any(value not in (0, 1, 2, 3) for value in values):
            yield Finding("EVT-24", f"{where}: a SIMPLE value is 0, 1, 2 or 3")
    elif name == SignalName.LOAD_DISPATCH and kind is SignalType.LEVEL:
        if any(not (value.is_integer() and -10 <= value <= 10) for value in map(float, values)):
            yield Finding("SGN-06", f"{where}: a LOAD_DISPATCH level is a whole number from -10 to 10")
    elif (name == SignalName.CHARGE_STATE and kind is SignalType.MULTIPLIER) or (
        kind is SignalType.LOAD_CONTROL_CAPACITY
    ):
        if any(not 0 <= value <= 1 for value in values):
            rule = "SGN-06" if name == SignalName.CHARGE_STATE else "SGN-05"
            yield Finding(rule, f"{where}: {name} {kind} is from 0 to 1")
    elif kind is SignalType.LOAD_CONTROL_LEVEL_OFFSET and any(
        not float(value).is_integer() for value in values
    ):
        yield Finding("SGN-05", f"{where}: a level offset is a whole number")


def _current_value(event: Event, signal: Signal, where: str) -> Iterator[Finding]:
    if signal.signal_name not in (SignalName.SIMPLE, SignalName.SIMPLE_LOWER) or signal.current_value is None:
        return
    active = event.descriptor.event_status is EventStatus.ACTIVE
    values = [interval.payload_float for interval in signal.intervals]
    if not active and signal.current_value != 0:
        yield Finding("EVT-25", f"{where}: currentValue of SIMPLE is 0 while the event is not active")
    if active and signal.current_value not in values:
        yield Finding("EVT-25", f"{where}: currentValue is the value of no interval")
