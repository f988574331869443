"""What a VTN may publish, and what an event says when it is sent: plain functions, no server."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from openadr import (
    ActivePeriod,
    Baseline,
    DistributeEvent,
    Duration,
    Event,
    ItemBase,
    Signal,
    SignalInterval,
    Target,
    decode,
    encode,
)
from openadr.enums import EventStatus, SignalName, SignalType
from openadr.event_rules import DEVICE_CLASSES, SIGNALS
from openadr.rules import check as findings
from tests.openadr.samples.parts import FULL_TARGET
from tests.openadr.test_rules import BROKEN
from tests.vtn.desk import NOW, make_event, with_period
from vtn.errors import NotAdmitted
from vtn.event_content import as_of, check, check_change, for_ven, read, same_content, write

HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)
# an event cannot carry these: what would break them is written anew for each VEN and each instant
COMPOSED = {"EVT-06", "EVT-09", "EVT-25", "EVT-30"}


def steps(*values: float, step: timedelta = QUARTER) -> tuple[SignalInterval, ...]:
    return tuple(
        SignalInterval(duration=Duration.of(step), uid=str(uid), payload_float=value)
        for uid, value in enumerate(values)
    )


def signal(
    *values: float,
    name: str = SignalName.SIMPLE,
    kind: SignalType = SignalType.LEVEL,
    unit: ItemBase | None = None,
    signal_id: str = "s1",
    **more: object,
) -> Signal:
    made = Signal(
        intervals=steps(*values, step=HOUR / len(values)),
        signal_name=name,
        signal_type=kind,
        signal_id=signal_id,
        item_base=unit,
    )
    return replace(made, **more)  # type: ignore[arg-type] - fields by name


def with_signals(*signals: Signal, start: timedelta = timedelta(0)) -> Event:
    return make_event(start=NOW + start, signals=signals)


def clause(event: Event) -> str:
    with pytest.raises(NotAdmitted) as caught:
        check(for_ven(event, "ven-1", 0, NOW))
    return caught.value.clause


@pytest.mark.parametrize(
    ("rule", "event"),
    [
        pytest.param(
            rule, message.events[0], id=f"{rule} {text}", marks=pytest.mark.criterion(rule, who="vtn")
        )
        for rule, text, message in BROKEN
        if isinstance(message, DistributeEvent) and rule not in COMPOSED and text != "no notification"
    ],
)
def test_an_event_that_breaks_a_rule_is_not_published(rule: str, event: Event) -> None:
    assert clause(event) == rule


def unit_of(kind: str) -> ItemBase:
    if kind.startswith("power"):
        return ItemBase.power(kind)
    return ItemBase.of(kind, "EUR" if kind.startswith("currency") else None)


COMBINATIONS = [
    (name, kind, unit)
    for name, kinds in SIGNALS.items()
    for kind, units in kinds.items()
    for unit in sorted(units) or [None]
]


@pytest.mark.criterion("SGN-01", "SGN-02", "SGN-04", "EVT-27", who="vtn")
@pytest.mark.parametrize(("name", "kind", "unit"), COMBINATIONS, ids=str)
def test_every_signal_of_the_standard_is_published_in_its_units_only(
    name: str, kind: SignalType, unit: str | None
) -> None:
    good = signal(1.0, name=name, kind=kind, unit=unit_of(unit) if unit else None)
    message = DistributeEvent(
        request_id="r", vtn_id="v", events=(for_ven(with_signals(good), "ven-1", 0, NOW),)
    )
    check(message.events[0])
    assert decode(encode(message)) == message
    wrong = replace(good, item_base=ItemBase.of("temperature"))
    assert clause(with_signals(wrong)) == ("SGN-04" if unit is None else "EVT-27")


def test_evt_27_the_table_of_signals_is_that_of_appendix_b() -> None:
    assert set(SIGNALS) == set(SignalName)
    assert {str(kind) for kind in SIGNALS["LOAD_DISPATCH"]} == {"setpoint", "delta", "multiplier", "level"}
    assert SIGNALS["DEMAND_CHARGE"][SignalType.PRICE] == {"currencyPerKW"}
    assert SIGNALS["BID_ENERGY"] == {SignalType.SETPOINT: {"energyReal", "energyApparent", "energyReactive"}}


def test_sgn_07_simple_stands_beside_other_signals() -> None:
    check(for_ven(make_event(), "ven-1", 0, NOW))
    assert [item.signal_name for item in make_event().signals] == ["SIMPLE", "LOAD_DISPATCH"]


@pytest.mark.criterion("SGN-08", who="vtn")
def test_a_signal_of_our_own_starts_with_x() -> None:
    check(for_ven(with_signals(signal(21.5, name="x-comfort")), "ven-1", 0, NOW))
    with pytest.raises(ValueError, match="neither a word of the standard nor x-"):
        write(for_ven(with_signals(signal(21.5, name="COMFORT")), "ven-1", 0, NOW))


@pytest.mark.criterion("SGN-03", who="vtn")
def test_the_scale_is_sent_beside_the_value() -> None:
    from_kw = signal(
        -2.5,
        name="LOAD_DISPATCH",
        kind=SignalType.DELTA,
        unit=ItemBase.power(scale="k"),  # type: ignore[arg-type] - the code's own text
    )
    text = write(for_ven(with_signals(from_kw), "ven-1", 0, NOW)).decode()
    assert "<power:itemUnits>W</power:itemUnits>" in text
    assert "siScaleCode>k<" in text
    assert "<ei:value>-2.5<" in text


@pytest.mark.criterion("EVT-23", who="vtn")
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_a_payload_is_one_number(value: float) -> None:
    dispatch = signal(value, name="LOAD_DISPATCH", kind=SignalType.DELTA, unit=ItemBase.power())
    assert clause(with_signals(dispatch)) == "EVT-23"
    text = write(for_ven(make_event(), "ven-1", 0, NOW)).decode()
    assert text.count("<ei:signalPayload>") == text.count("<ei:payloadFloat>") == text.count("<ei:interval>")


def test_gen_19_an_event_needs_a_name_and_a_signal() -> None:
    assert clause(make_event("")) == "GEN-19"
    assert clause(make_event(signals=())) == "SGN-01"


def test_evt_19_a_period_has_notice_and_may_have_ramps_of_either_sign() -> None:
    silent = for_ven(with_period(make_event(), notification=None), "ven-1", 0, NOW)
    assert silent.active_period.notification == Duration(0)
    period = ActivePeriod(
        dtstart=NOW,
        duration=Duration(3600),
        start_after=Duration(60),
        notification=Duration(1800),
        ramp_up=Duration(-300),
        recovery=Duration(-600),
    )
    full = for_ven(make_event(active_period=period), "ven-1", 0, NOW)
    check(full)
    assert read(write(full)).active_period == period


def test_evt_22_an_open_ended_event_has_one_open_ended_interval() -> None:
    check(for_ven(make_event(length=timedelta(0)), "ven-1", 0, NOW))
    two = make_event(
        length=timedelta(0), signals=(signal(1.0, intervals=steps(1.0, 2.0, step=timedelta(0))),)
    )
    assert clause(two) == "EVT-22"


def baseline(*values: float, length: Duration | None = None) -> Baseline:
    return Baseline(
        dtstart=NOW,
        duration=length or Duration.of(QUARTER * len(values)),
        intervals=steps(*values),
        baseline_id="b1",
        baseline_name="usual",
        resource_id=("home-01", "home-02"),
        item_base=ItemBase.power(),
    )


@pytest.mark.criterion("EVT-20", "EVT-21", who="vtn")
def test_evt_29_one_baseline_for_the_aggregate_of_its_resources() -> None:
    made = for_ven(make_event(baseline=baseline(5.0, 6.0)), "ven-1", 0, NOW)
    check(made)
    text = write(made).decode()
    assert text.count("<ei:eiEventBaseline>") == 1
    assert text.count("<ei:resourceID>") == 2
    assert read(write(made)).baseline == made.baseline
    assert clause(make_event(baseline=baseline(5.0, length=Duration(60)))) == "EVT-21"
    odd = replace(baseline(5.0), intervals=(replace(steps(5.0)[0], uid="7"),))
    assert clause(make_event(baseline=odd)) == "EVT-20"


@pytest.mark.parametrize(
    ("text", "sent"), [(None, None), ("false", "false"), ("true", "true"), ("yes", "true"), ("FALSE", "true")]
)
def test_evt_31_a_test_event_is_true_or_false(text: str | None, sent: str | None) -> None:
    made = make_event()
    made = replace(made, descriptor=replace(made.descriptor, test_event=text))
    assert for_ven(made, "ven-1", 0, NOW).descriptor.test_event == sent


def test_evt_30_the_target_names_one_ven() -> None:
    many = make_event(target=Target(ven_id=("ven-1", "ven-2"), group_id=("north",)))
    assert for_ven(many, "ven-2", 0, NOW).target == Target(ven_id=("ven-2",), group_id=("north",))


def test_tgt_05_resources_stand_alone_for_the_venid_beside_them_would_mean_the_whole_ven() -> None:
    some = Target(resource_id=("home-01", "home-02"))
    for given in (some, replace(some, ven_id=("ven-1",))):
        made = for_ven(make_event(target=given), "ven-2", 0, NOW)
        assert made.target == some
        assert b"venID" not in write(made).split(b"<ei:eiTarget>")[1]
        assert read(write(made)) == made


@pytest.mark.criterion("TGT-02")
def test_tgt_01_targets_of_every_kind_are_sent_in_the_order_of_the_schema() -> None:
    made = for_ven(make_event(target=FULL_TARGET), "ven-1", 0, NOW)
    check(made)
    assert read(write(made)).target == FULL_TARGET
    text = write(made).decode()
    names = [
        *("aggregatedPnode", "endDeviceAsset", "meterAsset", "pnode", "serviceArea", "serviceDeliveryPoint"),
        *("serviceLocation", "transportInterface", "groupID", "groupName", "resourceID", "venID", "partyID"),
    ]
    found = [text.index(f":{name}>") for name in names]
    assert found == sorted(found)


def test_tgt_01_two_events_of_one_list_may_name_the_same_area() -> None:
    target = replace(FULL_TARGET, ven_id=("alice",))
    kept = [for_ven(replace(make_event(name), target=target), "alice", 0, NOW) for name in ("e1", "e2")]
    events = tuple(as_of(event, NOW, cancelled=False) for event in kept)
    told = decode(encode(DistributeEvent(request_id="1", vtn_id="vtn", events=events)))
    assert isinstance(told, DistributeEvent)
    assert [event.target.service_area[0].positions for event in told.events] == [
        FULL_TARGET.service_area[0].positions
    ] * 2
    assert as_of(kept[0], NOW, cancelled=False) == events[0]


def test_tgt_03_a_signal_is_addressed_to_device_classes_of_the_standard() -> None:
    for name in (*DEVICE_CLASSES, "x-sauna-oven"):
        check(for_ven(with_signals(signal(1.0, target=Target(end_device_asset=(name,)))), "v", 0, NOW))
    assert len(DEVICE_CLASSES) == 22


CURRENT = {
    "before": (-1, [0.0, None]),
    "in the first interval": (0, [1.0, -500.0]),
    "in the second interval": (20, [2.0, -500.0]),
    "at the edge": (30, [3.0, -250.0]),
    "after": (60, [0.0, None]),
}


@pytest.mark.parametrize(("minute", "expected"), CURRENT.values(), ids=CURRENT.keys())
def test_evt_25_current_value_is_that_of_the_running_interval(
    minute: int, expected: list[float | None]
) -> None:
    dispatch = signal(
        -500, -250, name="LOAD_DISPATCH", kind=SignalType.DELTA, unit=ItemBase.power(), signal_id="s2"
    )
    made = with_signals(signal(1, 2, 3, 1), dispatch)
    sent = as_of(made, NOW + timedelta(minutes=minute), cancelled=False)
    assert [item.current_value for item in sent.signals] == expected
    message = DistributeEvent(request_id="r", vtn_id="v", events=(sent,))
    assert findings(message) == []


def test_evt_25_a_cancelled_event_has_no_current_value() -> None:
    sent = as_of(make_event(start=NOW), NOW + QUARTER, cancelled=True)
    assert [item.current_value for item in sent.signals] == [0.0, None]
    assert sent.descriptor.event_status is EventStatus.CANCELLED


def test_evt_09_the_status_never_goes_backwards_and_is_never_none() -> None:
    made = with_period(make_event(), ramp_up=Duration(600))
    seen = [
        as_of(made, NOW + timedelta(minutes=minute), cancelled=False).descriptor.event_status
        for minute in range(0, 180, 5)
    ]
    order = [EventStatus.FAR, EventStatus.NEAR, EventStatus.ACTIVE, EventStatus.COMPLETED]
    assert sorted(seen, key=order.index) == seen
    assert list(dict.fromkeys(seen)) == order


CUT = tuple(
    SignalInterval(duration=Duration(60 * minutes), uid=str(uid), payload_float=value)
    for uid, (minutes, value) in enumerate([(15, 1.0), (5, 2.0), (40, 0.0)])
)
CHANGES = {
    "a value to come": (with_signals(signal(1, 2, 3, 1)), None),
    "an interval cut now": (with_signals(signal(1, 2, intervals=CUT)), None),
    "a value that ran": (with_signals(signal(2, 2, 2, 1)), "would change in the past"),
    "a value that runs, from its start": (with_signals(signal(1, 1, 2, 1)), "would change in the past"),
    "another signal": (with_signals(signal(1, 2, 2, 1, signal_id="s9")), "would change in the past"),
    "a later start": (with_signals(signal(1, 2, 2, 1), start=HOUR), "has started"),
    "an end that is past": (
        make_event(start=NOW, length=QUARTER, signals=(signal(1.0, intervals=steps(1)),)),
        "cancel the event",
    ),
}


@pytest.mark.parametrize(("new", "refused"), CHANGES.values(), ids=CHANGES.keys())
def test_evt_04_only_what_is_to_come_may_change(new: Event, refused: str | None) -> None:
    running = with_signals(signal(1, 2, 2, 1))
    now = NOW + timedelta(minutes=20)
    if refused is None:
        check_change(running, new, now)
        return
    with pytest.raises(NotAdmitted, match=refused) as caught:
        check_change(running, new, now)
    assert caught.value.clause == "EVT-04"


def test_evt_04_a_pending_event_is_not_moved_into_the_past() -> None:
    with pytest.raises(NotAdmitted, match="the new start 2026-03-02T11:00:00Z is in the past"):
        check_change(make_event(), make_event(start=NOW - HOUR), NOW)
    check_change(make_event(), make_event(start=NOW), NOW)
    check_change(make_event(), make_event(start=NOW + 9 * HOUR, length=9 * HOUR), NOW)


def test_evt_02_numbers_instants_and_reasons_are_no_content() -> None:
    first, again = for_ven(make_event(), "v", 0, NOW), for_ven(make_event(), "v", 3, NOW + HOUR)
    assert same_content(first, again)
    assert not same_content(first, for_ven(make_event(length=2 * HOUR), "v", 1, NOW))


def test_evt_05_only_a_modification_says_when_and_why() -> None:
    made = make_event()
    made = replace(made, descriptor=replace(made.descriptor, modification_reason="price"))
    new, changed = for_ven(made, "v", 0, NOW).descriptor, for_ven(made, "v", 1, NOW).descriptor
    assert (new.modification_date_time, new.modification_reason) == (None, None)
    assert (changed.modification_date_time, changed.modification_reason) == (NOW, "price")
