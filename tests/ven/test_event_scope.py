"""Which events are for this VEN (criteria of VEX, TGT and SGN): targets, signals, units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from openadr import Event, ItemBase, ServiceArea, Signal, Target, TransportInterface
from openadr.enums import EventStatus, OptType, SignalType, SiScaleCode
from tests.ven.listener import SCOPE, Listener
from tests.ven.messages import HOUR, VEN, distribute, make_event, signal
from tests.ven.site import NOW
from ven.scope import fault

LINK = TransportInterface(point_of_receipt="bus-1", point_of_delivery="bus-2")
LINE = ServiceArea(positions=(10.0, 18.0, 12.0, 19.0))
HALF = ServiceArea(positions=(10.0, 18.0, 12.0, 18.0, 12.0, 19.0, 10.0))
EURO = ItemBase.of("currencyPerKWh", "EUR")
WATTS = ItemBase.power()
HOUR_AND_A_HALF = signal(length=timedelta(minutes=90)).intervals[0]
BACK = signal(values=(2.0,), length=-timedelta(minutes=30)).intervals[0]
BACK_AND_FORTH = replace(signal(), intervals=(HOUR_AND_A_HALF, replace(BACK, uid="1")))


def area(west: float) -> ServiceArea:
    """A square of two degrees."""
    east = west + 2
    return ServiceArea(positions=(west, 17.0, east, 17.0, east, 19.0, west, 19.0, west, 17.0))


def in_watts(*values: float, unit: ItemBase | None = WATTS) -> Signal:
    """A LOAD_DISPATCH by so much."""
    return replace(signal("LOAD_DISPATCH", SignalType.DELTA, values), item_base=unit)


REFUSED = {
    "VEX-13 a market context that is not configured": (make_event(market_context="http://x.test/"), "462"),
    "VEX-14 a target that is nothing of ours": (make_event(target=Target(resource_id=("home-99",))), "462"),
    "GEN-12 a venID in another case": (make_event(target=Target(ven_id=("VEN-1",))), "462"),
    "VEX-15 a signal that is not supported": (
        make_event(signals=(signal(), signal("BID_LOAD", SignalType.SETPOINT))),
        "460",
    ),
    "VEX-15 a type that is not supported": (make_event(signals=(signal(kind=SignalType.DELTA),)), "460"),
    "VEX-16 a device class that is not here": (make_event(signals=(signal(classes=("Sauna",)),)), "469"),
    "TGT-04 a device class that the event leaves out": (
        make_event(
            target=Target(end_device_asset=("Thermostat",)), signals=(signal(classes=("Water_Heater",)),)
        ),
        "469",
    ),
    "VEX-13 a market context that is no URI": (make_event(market_context="http://[bad"), "462"),
    "VEX-14 a meter of somebody else": (make_event(target=Target(meter_asset=("m-9",))), "462"),
    "VEX-14 an area elsewhere": (make_event(target=Target(service_area=(area(30.0),))), "462"),
    "VEX-14 an area that is a line": (make_event(target=Target(service_area=(LINE,))), "462"),
    "VEX-14 an area with half a corner": (make_event(target=Target(service_area=(HALF,))), "462"),
    "VEX-15 a price in a unit of power": (
        make_event(signals=(replace(signal("ELECTRICITY_PRICE", SignalType.PRICE), item_base=WATTS),)),
        "460",
    ),
    "VEX-15 watts that are no watts": (make_event(signals=(in_watts(1.0, unit=None),)), "460"),
    "VEX-15 energy dispatched": (make_event(signals=(in_watts(1.0, unit=ItemBase.energy_real()),)), "460"),
    "VEX-15 SIMPLE in watts": (make_event(signals=(replace(signal(), item_base=WATTS),)), "460"),
    "SGN-08 a signal of somebody's own": (make_event(signals=(signal("x-simple"),)), "460"),
    "SGN-01 a SIMPLE level of four": (make_event(signals=(signal(values=(4.0,)),)), "454"),
    "VEX-11 an interval that goes back": (make_event(signals=(BACK_AND_FORTH,)), "454"),
    "VEX-11 intervals that do not add up": (make_event(signals=(signal(length=2 * HOUR),)), "454"),
    "EVT-23 a value that is no number": (
        make_event(signals=(in_watts(float("nan")),)),
        "454",
    ),
    "VEX-27 an event that is over": (make_event(start=NOW - 2 * HOUR), "454"),
}


def rows(table: Mapping[str, tuple[object, ...]]) -> list[object]:
    """The rows of a table, each proof of the criterion that its name begins with."""
    return [
        pytest.param(*row, id=name, marks=pytest.mark.criterion(name.partition(" ")[0], who="ven"))
        for name, row in table.items()
    ]


@pytest.mark.criterion("VEX-12")
@pytest.mark.parametrize(("event", "code"), rows(REFUSED))
def test_an_event_that_cannot_be_followed_is_refused_and_not_decided(event: Event, code: str) -> None:
    listener = Listener()
    answer = listener.told(event)
    assert (answer.code, answer.opt_type) == (code, OptType.OPT_OUT)
    assert listener.told(event) == answer
    assert not listener.decided
    assert not listener.timeline.setpoints()


ACCEPTED = {
    "VEX-14 an empty target is the whole VEN": make_event(),
    "VEX-14 our venID": make_event(target=Target(ven_id=(VEN,))),
    "VEX-14 members of a target are joined by OR": make_event(
        target=Target(ven_id=("another",), resource_id=("home-01",))
    ),
    "VEX-14 a group": make_event(target=Target(group_name=("north",))),
    "VEX-14 a party": make_event(target=Target(party_id=("party-7",))),
    "TGT-04 a device class": make_event(signals=(signal(classes=("Sauna", "Water_Heater")),)),
    "TGT-04 a device class of event and signal": make_event(
        target=Target(end_device_asset=("Sauna", "Thermostat")), signals=(signal(classes=("Thermostat",)),)
    ),
    "TGT-04 a device class below our venID": make_event(
        target=Target(ven_id=(VEN,), end_device_asset=("Sauna",)), signals=(signal(classes=("Thermostat",)),)
    ),
    "VEX-14 a meter": make_event(target=Target(meter_asset=("m-1",))),
    "VEX-14 a pricing node": make_event(target=Target(pnode=("node-1",))),
    "VEX-14 an aggregated pricing node": make_event(target=Target(aggregated_pnode=("node-1",))),
    "VEX-14 a service delivery point": make_event(target=Target(service_delivery_point=("node-1",))),
    "VEX-14 a transport interface": make_event(target=Target(transport_interface=(LINK,))),
    "VEX-14 a group id": make_event(target=Target(group_id=("north",))),
    "VEX-14 an area around us": make_event(target=Target(service_area=(area(30.0), area(10.0)))),
    "VEX-14 a location around us": make_event(target=Target(service_location=(area(10.0),))),
    "SGN-01 a dispatch in watts": make_event(
        signals=(replace(signal("LOAD_DISPATCH", SignalType.SETPOINT), item_base=WATTS),)
    ),
    "SGN-01 a price": make_event(
        signals=(replace(signal("ELECTRICITY_PRICE", SignalType.PRICE), item_base=EURO),)
    ),
    "VEX-22 far, although it runs by the clock": make_event(start=NOW - HOUR / 2, length=4 * HOUR),
    "GEN-13 a market context in another case": make_event(market_context="HTTP://Programme.TEST/%61"),
    "SGN-01 SIMPLE in lower case": make_event(signals=(signal("simple"),)),
    "VEX-24 an open-ended event": make_event(length=timedelta(0)),
    "VEX-20 completed says nothing about the clock": make_event(status=EventStatus.COMPLETED),
}


@pytest.mark.parametrize("event", rows({name: (event,) for name, event in ACCEPTED.items()}))
def test_an_event_for_us_is_followed(event: Event) -> None:
    listener = Listener()
    assert listener.told(event).code == "200"
    assert listener.timeline.at(NOW + HOUR) is not None


def test_vex_17_a_wrong_vtn_id_is_refused_for_the_whole_message() -> None:
    listener = Listener()
    answer = listener.hear(replace(distribute(make_event()), vtn_id="vtn-2"))
    assert answer is not None
    assert (answer.response.code, answer.response.request_id, answer.event_responses) == ("452", "d1", ())
    assert not listener.held


@pytest.mark.criterion("SGN-03", who="ven")
def test_a_value_is_followed_in_its_plain_unit() -> None:
    listener = Listener()
    listener.told(make_event(signals=(in_watts(-2.5, unit=ItemBase.power(scale=SiScaleCode.KILO)),)))
    setpoint = listener.timeline.at(NOW + HOUR)
    assert setpoint is not None
    assert setpoint.value("LOAD_DISPATCH") == -2500.0


@pytest.mark.criterion("SGN-02", who="ven")
def test_a_site_takes_the_signals_that_it_is_set_up_for() -> None:
    listener = Listener()
    bid = make_event(signals=(replace(signal("BID_LOAD", SignalType.SETPOINT), item_base=WATTS),))
    assert listener.told(bid).code == "460"
    wider = replace(SCOPE, signals=SCOPE.signals | {("BID_LOAD", "setpoint"), ("x-comfort", "level")})
    assert fault(bid, timedelta(0), wider, NOW) is None
    assert fault(make_event(signals=(signal("x-comfort"),)), timedelta(0), wider, NOW) is None
