"""Each conformance rule: a message that breaks it, beside one that does not."""

from dataclasses import replace
from typing import Any

import pytest

from openadr import (
    ActivePeriod,
    Baseline,
    CreatedEvent,
    CreatedPartyRegistration,
    CreateOpt,
    CreatePartyRegistration,
    CreateReport,
    DistributeEvent,
    Duration,
    EiResponse,
    Event,
    ItemBase,
    Message,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportInterval,
    ReportPayload,
    ResourceStatus,
    Response,
    Signal,
    SignalInterval,
    Target,
    UpdateReport,
)
from openadr.enums import EventStatus, OptType, SignalName, SignalType, TransportName
from openadr.event_rules import SIGNALS
from openadr.rules import check
from tests.openadr.samples import MESSAGES
from tests.openadr.samples.event import DISPATCH, FULL_EVENT, event, steps
from tests.openadr.samples.feed import FEED
from tests.openadr.samples.parts import at, minutes
from tests.openadr.samples.report import METADATA_USAGE, REQUESTS, USAGE


def distribute(*events: Event, **changes: Any) -> DistributeEvent:
    return replace(DistributeEvent(request_id="r", vtn_id="vtn-1", events=events), **changes)


def signal(
    name: str, kind: SignalType, unit: ItemBase | None = None, value: float = 1.0, **changes: Any
) -> Signal:
    made = Signal(
        intervals=steps(value, length=minutes(60)),
        signal_name=name,
        signal_type=kind,
        signal_id="s",
        item_base=unit,
    )
    return replace(made, **changes)


def asks(*signals: Signal, **changes: Any) -> DistributeEvent:
    return distribute(event(signals=signals, **changes))


SIMPLE, LEVEL = SignalName.SIMPLE, SignalType.LEVEL
BACKWARDS = signal(SIMPLE, LEVEL, intervals=steps(1.0, length=Duration(-60)))
HALVES = steps(1.0, 2.0, length=minutes(30))
LONGER, BACK = *steps(1.0, length=minutes(90)), *steps(2.0, length=Duration(-1800))
OPEN = Duration(0)
SCHEDULE, QUALIFIED = MESSAGES["create_opt_schedule"], MESSAGES["create_opt_event"]
ANSWERS = MESSAGES["created_event"]
assert isinstance(SCHEDULE, CreateOpt)
assert isinstance(QUALIFIED, CreateOpt)
assert isinstance(ANSWERS, CreatedEvent)
PERIOD = ActivePeriod(dtstart=at(17), duration=minutes(60), notification=minutes(1))
DESCRIPTION = METADATA_USAGE.report_descriptions[0]
RATE = DESCRIPTION.sampling_rate
assert RATE is not None
SPECIFIER = REQUESTS[0].report_specifier
PUSH = CreatePartyRegistration(request_id="r", http_pull_model=False)


def metadata(**changes: Any) -> RegisterReport:
    return RegisterReport(request_id="r", reports=(replace(METADATA_USAGE, **changes),))


def described(**changes: Any) -> RegisterReport:
    return metadata(report_descriptions=(replace(DESCRIPTION, **changes),))


def requested(**changes: Any) -> CreateReport:
    request = replace(REQUESTS[0], report_specifier=replace(SPECIFIER, **changes))
    return CreateReport(request_id="r", report_requests=(request,))


def data(**changes: Any) -> UpdateReport:
    return UpdateReport(request_id="r", reports=(replace(USAGE, **changes),))


def interval(start: int | None, length: int | None, **changes: Any) -> ReportInterval:
    made = ReportInterval(
        dtstart=None if start is None else at(8, start),
        duration=None if length is None else minutes(length),
        payloads=(ReportPayload(r_id="load", payload_float=1.0),),
    )
    return replace(made, **changes)


def timed(*intervals: ReportInterval, **changes: Any) -> UpdateReport:
    return data(intervals=intervals, duration=changes.pop("duration", None), **changes)


BROKEN: list[tuple[str, str, Message]] = [
    ("EVT-06", "no requestID", distribute(event(), request_id="")),
    ("EVT-09", "eventStatus none", distribute(event(status=EventStatus.NONE))),
    ("EVT-19", "no notification", distribute(event(period=replace(PERIOD, notification=None)))),
    ("EVT-19", "negative random start", distribute(event(period=replace(PERIOD, start_after=Duration(-60))))),
    ("EVT-19", "negative duration", asks(BACKWARDS, period=replace(PERIOD, duration=Duration(-60)))),
    ("EVT-19", "negative notice", distribute(event(period=replace(PERIOD, notification=Duration(-60))))),
    ("EVT-20", "uid from 1", asks(signal(SIMPLE, LEVEL, intervals=(replace(HALVES[0], uid="1"), HALVES[1])))),
    ("EVT-20", "no uid", asks(signal(SIMPLE, LEVEL, intervals=(replace(HALVES[0], uid=None), HALVES[1])))),
    (
        "EVT-21",
        "dtstart",
        asks(signal(SIMPLE, LEVEL, intervals=(replace(HALVES[0], dtstart=at(17)), HALVES[1]))),
    ),
    (
        "EVT-21",
        "no duration",
        asks(signal(SIMPLE, LEVEL, intervals=(SignalInterval(uid="0", payload_float=1),))),
    ),
    ("EVT-21", "a step back", asks(signal(SIMPLE, LEVEL, intervals=(LONGER, replace(BACK, uid="1"))))),
    ("EVT-21", "too short", asks(signal(SIMPLE, LEVEL, intervals=HALVES[:1]))),
    (
        "EVT-21",
        "baseline too short",
        distribute(
            event(
                baseline=Baseline(
                    dtstart=at(17),
                    duration=minutes(60),
                    intervals=HALVES[:1],
                    baseline_id="b",
                    baseline_name="b",
                )
            )
        ),
    ),
    (
        "EVT-22",
        "two open-ended intervals",
        asks(signal(SIMPLE, LEVEL, intervals=steps(1, 2, length=OPEN)), length=OPEN),
    ),
    ("EVT-22", "an interval that ends", asks(signal(SIMPLE, LEVEL, intervals=HALVES[:1]), length=OPEN)),
    ("EVT-24", "SIMPLE 4", asks(signal(SIMPLE, LEVEL, value=4.0))),
    ("EVT-24", "SIMPLE 0.5", asks(signal(SIMPLE, LEVEL, value=0.5))),
    ("EVT-25", "a current value before", asks(signal(SIMPLE, LEVEL, current_value=1.0))),
    (
        "EVT-25",
        "a strange current value",
        asks(signal(SIMPLE, LEVEL, current_value=3.0), status=EventStatus.ACTIVE),
    ),
    ("EVT-26", "one signalID twice", asks(signal(SIMPLE, LEVEL), signal(SIMPLE, LEVEL))),
    ("EVT-27", "a price of a setpoint", asks(signal("ELECTRICITY_PRICE", SignalType.SETPOINT))),
    ("EVT-27", "a price without a unit", asks(signal("ELECTRICITY_PRICE", SignalType.PRICE))),
    (
        "EVT-27",
        "a price for power",
        asks(signal("ELECTRICITY_PRICE", SignalType.PRICE, ItemBase.of("currencyPerKW", "EUR"))),
    ),
    (
        "EVT-27",
        "energy dispatched",
        asks(signal("LOAD_DISPATCH", SignalType.SETPOINT, ItemBase.energy_real())),
    ),
    ("EVT-28", "SIMPLE price", asks(signal(SIMPLE, SignalType.PRICE))),
    ("EVT-30", "two VENs", distribute(event(target=Target(ven_id=("a", "b"))))),
    ("SGN-04", "SIMPLE in watts", asks(signal(SIMPLE, LEVEL, ItemBase.power()))),
    ("SGN-05", "capacity 2", asks(signal("LOAD_CONTROL", SignalType.LOAD_CONTROL_CAPACITY, value=2.0))),
    ("SGN-05", "half a level", asks(signal("LOAD_CONTROL", SignalType.LOAD_CONTROL_LEVEL_OFFSET, value=0.5))),
    ("SGN-06", "level 11", asks(signal("LOAD_DISPATCH", LEVEL, ItemBase.power(), 11.0))),
    ("SGN-06", "level 0.5", asks(signal("LOAD_DISPATCH", LEVEL, ItemBase.power(), 0.5))),
    ("SGN-06", "charge 1.5", asks(signal("CHARGE_STATE", SignalType.MULTIPLIER, value=1.5))),
    ("TGT-03", "a resource", asks(signal(SIMPLE, LEVEL, target=Target(resource_id=("a",))))),
    ("TGT-03", "empty", asks(signal(SIMPLE, LEVEL, target=Target()))),
    ("TGT-03", "a strange class", asks(signal(SIMPLE, LEVEL, target=Target(end_device_asset=("Toaster",))))),
    ("VEX-02", "requestID on top", replace(ANSWERS, response=EiResponse.ok("r"))),
    ("VEX-05", "no answers", replace(ANSWERS, event_responses=())),
    (
        "VEX-12",
        "error and optIn",
        replace(ANSWERS, event_responses=(replace(ANSWERS.event_responses[1], opt_type=OptType.OPT_IN),)),
    ),
    ("ERR-01", "an unassigned code", Response(response=EiResponse("464", None, ""))),
    (
        "ERR-01",
        "in an answer",
        replace(ANSWERS, event_responses=(replace(ANSWERS.event_responses[1], code="455"),)),
    ),
    ("OPT-02", "an event and a schedule", replace(QUALIFIED, availability=SCHEDULE.availability)),
    ("OPT-02", "an event and a context", replace(QUALIFIED, market_context="http://a.example")),
    ("OPT-02", "neither", replace(SCHEDULE, availability=())),
    ("OPT-03", "notification", replace(SCHEDULE, availability=(PERIOD,))),
    ("OPT-04", "no optID", replace(SCHEDULE, opt_id="")),
    ("OPT-09", "a VEN as device class", replace(SCHEDULE, device_class=Target(ven_id=("v",)))),
    (
        "OPT-10",
        "negative",
        replace(SCHEDULE, availability=(ActivePeriod(dtstart=at(9), duration=Duration(-1)),)),
    ),
    ("REG-06", "no pull model", replace(PUSH, http_pull_model=None)),
    ("REG-06", "push to nowhere", PUSH),
    ("REG-06", "xmpp to nowhere", replace(PUSH, transport_name=TransportName.XMPP)),
    (
        "REG-08",
        "half of the ids",
        CreatedPartyRegistration(response=EiResponse.ok(), ven_id="v", vtn_id="t", profiles=()),
    ),
    (
        "REG-24",
        "negative poll",
        CreatedPartyRegistration(
            response=EiResponse.ok(), vtn_id="t", profiles=(), requested_poll_freq=Duration(-1)
        ),
    ),
    ("RPT-03", "data's name", metadata(report_name="TELEMETRY_USAGE")),
    ("RPT-03", "a request", metadata(report_request_id="7")),
    ("RPT-03", "no duration", metadata(duration=None)),
    ("RPT-03", "no description", metadata(report_descriptions=())),
    ("RPT-03", "a start", metadata(dtstart=at(8))),
    ("RPT-03", "intervals", metadata(intervals=USAGE.intervals)),
    ("RPT-03", "no unit", described(item_base=None)),
    (
        "RPT-05",
        "one specifier twice",
        RegisterReport(request_id="r", reports=(METADATA_USAGE, METADATA_USAGE)),
    ),
    ("RPT-05", "one rID twice", metadata(report_descriptions=(DESCRIPTION, DESCRIPTION))),
    ("RPT-06", "no rate", described(sampling_rate=None)),
    ("RPT-06", "fastest is slower", described(sampling_rate=replace(RATE, min_period=minutes(60)))),
    ("RPT-06", "slower than the report", metadata(duration=minutes(5))),
    ("RPT-08", "a resource as subject", described(report_subject=Target(resource_id=("a",)))),
    ("RPT-12", "one id twice", CreateReport(request_id="r", report_requests=(REQUESTS[0], REQUESTS[0]))),
    (
        "RPT-12",
        "one id twice on the way",
        RegisteredReport(response=EiResponse.ok(), report_requests=(REQUESTS[0], REQUESTS[0])),
    ),
    (
        "RPT-14",
        "a reading type",
        requested(specifier_payloads=(replace(SPECIFIER.specifier_payloads[0], reading_type="Net"),)),
    ),
    (
        "RPT-14",
        "a unit",
        requested(specifier_payloads=(replace(SPECIFIER.specifier_payloads[0], item_base=ItemBase.power()),)),
    ),
    ("RPT-14", "notification", requested(report_interval=PERIOD)),
    ("RPT-15", "coarser than the rhythm", requested(granularity=minutes(60))),
    ("RPT-15", "negative", requested(granularity=Duration(-1))),
    ("RPT-17", "periodic for ever", requested(report_interval=None)),
    ("RPT-23", "descriptions", data(report_descriptions=(DESCRIPTION,))),
    ("RPT-23", "metadata's name", data(report_name="METADATA_TELEMETRY_USAGE")),
    ("RPT-23", "no name", data(report_name=None)),
    ("RPT-23", "no start", data(dtstart=None)),
    ("RPT-24", "dtstart in one", timed(interval(0, 15), interval(None, 15))),
    ("RPT-24", "duration in one", timed(interval(0, 15), interval(15, None))),
    ("RPT-24", "another start", timed(interval(15, 15), interval(30, 15))),
    ("RPT-24", "not in order", timed(interval(0, 15), interval(30, 15), interval(15, 15))),
    ("RPT-24", "a gap", timed(interval(0, 15), interval(30, 15))),
    ("RPT-25", "no times at all", timed(interval(None, None, uid="0"), interval(None, None, uid="1"))),
    ("RPT-25", "no uid", timed(interval(None, 15), interval(None, 15))),
    ("RPT-27", "a longer whole", timed(interval(0, 15), interval(15, 15), duration=minutes(60))),
    ("RPT-28", "one rID twice", timed(interval(0, 15, payloads=USAGE.intervals[0].payloads[:1] * 2))),
    (
        "RPT-29",
        "accuracy of a status",
        timed(
            interval(
                0,
                None,
                payloads=(
                    ReportPayload(
                        r_id="a",
                        accuracy=1.0,
                        resource_status=ResourceStatus(online=True, manual_override=False),
                    ),
                ),
            )
        ),
    ),
]


@pytest.mark.parametrize(
    ("rule", "message"),
    [pytest.param(rule, message, id=f"{rule} {text}") for rule, text, message in BROKEN],
)
def test_a_broken_rule_is_named(rule: str, message: Message) -> None:
    broken = [finding.rule for finding in check(message) if not finding.warning]
    assert rule in broken
    assert len(set(broken)) == 1, "one fault, one rule"


KEPT: list[tuple[str, Message]] = [
    ("an event with everything", distribute(FULL_EVENT)),
    ("a dispatch by device class", asks(DISPATCH)),
    ("a signal of our own", asks(signal("x-comfort", SignalType.SETPOINT, value=21.5))),
    ("an open-ended event", asks(signal(SIMPLE, LEVEL, intervals=steps(1, length=OPEN)), length=OPEN)),
    ("a negative recovery", distribute(event(period=replace(PERIOD, recovery=Duration(-60))))),
    ("a current value of 0", asks(signal(SIMPLE, LEVEL, current_value=0.0))),
    ("an error without answers", replace(ANSWERS, event_responses=(), response=EiResponse("452", "", ""))),
    ("a metadata request", CreateReport(request_id="r", report_requests=(REQUESTS[1],))),
    ("a report without times of its own", timed(interval(None, None))),
    (
        "intervals that count",
        timed(interval(None, 15, uid="0"), interval(None, 15, uid="1")),
    ),
    ("points", timed(interval(0, None), interval(7, None))),
    (
        "Green Button needs no uid",
        timed(interval(None, 15, payloads=(), feeds=(FEED,)), interval(None, 15, payloads=(), feeds=(FEED,))),
    ),
    ("metadata of status has no unit", metadata(report_name="METADATA_TELEMETRY_STATUS")),
    ("a report of our own", metadata(report_name="x-FLEXIBILITY_OFFER")),
    ("push with an address", replace(PUSH, transport_address="https://ven.example")),
    ("nothing to report", RegisterReport(request_id="r")),
    ("no data", Response(response=EiResponse.ok())),
]


@pytest.mark.parametrize(("text", "message"), KEPT, ids=[text for text, _ in KEPT])
def test_a_message_within_the_rules_is_not_blamed(text: str, message: Message) -> None:
    assert check(message) == []


@pytest.mark.parametrize("name", [name for name in MESSAGES if name != "distribute_event_units"])
def test_our_own_files_keep_the_rules(name: str) -> None:
    assert check(MESSAGES[name]) == []


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, kinds in SIGNALS.items() for kind in kinds], ids=str
)
def test_every_combination_of_the_standard_is_taken(name: str, kind: SignalType) -> None:
    units = sorted(SIGNALS[name][kind])
    for unit in units or [None]:
        item_base = None
        if unit is not None:
            item_base = (
                ItemBase.power(unit)
                if unit.startswith("power")
                else ItemBase.of(unit, "EUR" if "curr" in unit else None)
            )
        assert check(asks(signal(name, kind, item_base))) == []


def test_a_code_that_is_neither_success_nor_error_is_a_warning() -> None:
    (finding,) = check(Response(response=EiResponse("000", None, "")))
    assert (finding.rule, finding.warning) == ("ERR-06", True)


def test_different_creation_times_in_one_message_are_a_warning() -> None:
    later = event("b")
    later = replace(later, descriptor=replace(later.descriptor, created_date_time=at(10)))
    (finding,) = check(distribute(event("a"), later))
    assert (finding.rule, finding.warning) == ("EVT-03", True)


def test_a_report_may_name_its_whole_length() -> None:
    report: Report = USAGE
    assert report.duration == minutes(30)
    assert check(UpdateReport(request_id="r", reports=(report,))) == []
