"""Rules for events, one table row or test for each criterion of group VEX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from openadr import (
    CreatedEvent,
    DistributeEvent,
    Event,
    EventResponse,
    ItemBase,
    ServiceArea,
    Signal,
    Target,
    TransportInterface,
    UnreadableEvent,
)
from openadr.enums import EventStatus, OptType, ResponseRequired, SignalType, SiScaleCode
from openadr.interval import END_OF_TIME, Duration
from openadr.timeline import Timeline
from tests.ven.messages import HOUR, VEN, VTN, cancelled, distribute, make_event, signal
from tests.ven.site import NOW
from ven import opt
from ven.event import Desk, HeldEvent, followed, prune, take
from ven.scope import Scope, fault
from ven.settings import SIGNALS

SCOPE = Scope(
    ven_id=VEN,
    vtn_id=VTN,
    signals=SIGNALS,
    market_contexts=frozenset({"http://programme.test/a"}),
    groups=frozenset({"north"}),
    parties=frozenset({"party-7"}),
    resources=frozenset({"home-01"}),
    device_classes=frozenset({"Water_Heater", "Thermostat"}),
    meters=frozenset({"m-1"}),
    grid_nodes=frozenset({"node-1"}),
    links=frozenset({("bus-1", "bus-2")}),
    position=(11.0, 18.5),
)
LINK = TransportInterface(point_of_receipt="bus-1", point_of_delivery="bus-2")
LINE = ServiceArea(positions=(10.0, 18.0, 12.0, 19.0))
HALF = ServiceArea(positions=(10.0, 18.0, 12.0, 18.0, 12.0, 19.0, 10.0))
EURO = ItemBase.of("currencyPerKWh", "EUR")
WATTS = ItemBase.power()
Held = dict[str, HeldEvent]


class Listener:
    """A VEN's event desk over time: what it holds, what it answered, what the site was asked."""

    def __init__(self, opt: OptType = OptType.OPT_IN, draw: Callable[[], float] = lambda: 0.5) -> None:
        self.held: Held = {}
        self.opt = opt
        self.draw = draw
        self.decided: list[int] = []

    def decide(self, event: Event, now: datetime) -> OptType:
        self.decided.append(event.modification_number)
        return self.opt

    def hear(
        self, message: DistributeEvent, now: datetime = NOW, *, complete: bool = True
    ) -> CreatedEvent | None:
        desk = Desk(SCOPE, self.decide, self.draw, now)
        taken = take(self.held, message, desk, complete=complete)
        self.held = taken.held
        return taken.answer

    def told(self, *events: Event, now: datetime = NOW) -> EventResponse:
        """The answer to the last of the events."""
        answer = self.hear(distribute(*events), now)
        assert answer is not None
        return answer.event_responses[-1]

    @property
    def timeline(self) -> Timeline:
        return Timeline.from_events(followed(self.held.values()))


def test_vex_01_an_event_is_answered_each_time_it_comes_and_decided_once() -> None:
    listener = Listener()
    first = listener.told(make_event())
    again = listener.told(make_event())
    assert first == again
    assert (first.code, first.opt_type) == ("200", OptType.OPT_IN)
    assert listener.decided == [0]


def test_vex_01_an_event_that_wants_no_response_gets_none_and_is_followed() -> None:
    listener = Listener()
    quiet = make_event(response_required=ResponseRequired.NEVER)
    assert listener.hear(distribute(quiet)) is None
    assert listener.timeline.at(NOW + HOUR) is not None


def test_vex_02_answers_carry_the_request_id_of_the_delivery_and_none_above() -> None:
    listener = Listener()
    answer = listener.hear(distribute(make_event(), request_id="d7"))
    assert answer is not None
    assert answer.event_responses[0].request_id == "d7"
    assert answer.response.request_id == ""
    again = listener.hear(distribute(make_event(), request_id="d8"))
    assert again is not None
    assert again.event_responses[0].request_id == "d8"


def test_vex_06_a_newer_modification_replaces_the_event_and_is_decided_anew() -> None:
    listener = Listener()
    listener.told(make_event())
    listener.told(make_event(modification=3, start=NOW + 3 * HOUR))
    assert listener.decided == [0, 3]
    assert listener.timeline.at(NOW + HOUR) is None
    assert listener.timeline.at(NOW + 3 * HOUR) is not None


@pytest.mark.parametrize(
    "late", [make_event(modification=1), cancelled(make_event(), 1)], ids=["event", "cancel"]
)
def test_vex_06_a_lower_modification_is_out_of_sequence_and_changes_nothing(late: Event) -> None:
    listener = Listener()
    listener.told(make_event(modification=2))
    before = listener.held
    answer = listener.told(late)
    assert (answer.code, answer.opt_type, answer.modification_number) == ("450", OptType.OPT_OUT, 1)
    assert listener.held == before


def test_vex_07_a_cancelled_event_stops_and_is_confirmed() -> None:
    listener = Listener()
    event = make_event(start=NOW - HOUR / 2)
    listener.told(event, now=NOW - HOUR / 2)
    answer = listener.told(cancelled(event))
    assert (answer.code, answer.opt_type, answer.modification_number) == ("200", OptType.OPT_IN, 1)
    assert listener.timeline.at(NOW) is None


def test_vex_07_an_unknown_cancelled_event_is_no_error() -> None:
    listener = Listener()
    answer = listener.told(cancelled(make_event()))
    assert (answer.code, answer.opt_type) == ("200", OptType.OPT_IN)
    assert not listener.decided
    assert listener.timeline.at(NOW + HOUR) is None


def test_vex_06_a_cancelled_event_is_not_revived_by_its_own_number_but_by_a_higher_one() -> None:
    listener = Listener()
    listener.told(make_event())
    listener.told(cancelled(make_event()))
    assert listener.told(make_event(modification=1)).code == "450"
    assert listener.told(make_event(modification=2)).code == "200"
    assert listener.timeline.at(NOW + HOUR) is not None


def test_a_cancellation_with_an_unchanged_number_is_taken() -> None:
    listener = Listener()
    listener.told(make_event())
    answer = listener.told(cancelled(make_event(), 0))
    assert (answer.code, answer.opt_type) == ("200", OptType.OPT_IN)
    assert listener.timeline.at(NOW + HOUR) is None


def test_a_cancellation_that_comes_before_its_event_wins_over_it() -> None:
    listener = Listener()
    listener.told(cancelled(make_event(), 1))
    assert listener.told(make_event()).code == "450"
    assert not listener.decided


def test_vex_09_an_event_left_out_of_a_list_is_cancelled_without_an_answer() -> None:
    listener = Listener()
    listener.told(make_event("e1"), make_event("e2", start=NOW + 5 * HOUR))
    answer = listener.hear(distribute(make_event("e2", start=NOW + 5 * HOUR)))
    assert answer is not None
    assert [each.event_id for each in answer.event_responses] == ["e2"]
    assert set(listener.held) == {"e2"}


@pytest.mark.parametrize(
    ("message", "complete"),
    [(distribute(code="463"), True), (distribute(make_event("e2")), False)],
    ids=["error", "replyLimit"],
)
def test_vex_10_an_error_or_a_limited_list_cancels_nothing(message: DistributeEvent, complete: bool) -> None:
    listener = Listener()
    listener.told(make_event("e1"))
    listener.hear(message, complete=complete)
    assert "e1" in listener.held


def test_vex_11_valid_events_beside_invalid_ones_are_followed() -> None:
    listener = Listener()
    wrong = make_event("e2", market_context="http://programme.test/b")
    answer = listener.hear(distribute(make_event("e1"), wrong))
    assert answer is not None
    assert answer.response.code == "200"
    assert [(each.event_id, each.code) for each in answer.event_responses] == [("e1", "200"), ("e2", "462")]
    assert answer.event_responses[1].opt_type is OptType.OPT_OUT
    assert len(listener.timeline.setpoints()) == 1


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


def test_vex_18_the_random_start_is_drawn_once_and_kept_over_modifications() -> None:
    draws = iter((0.5, 0.25))
    listener = Listener(draw=lambda: next(draws))
    wide = timedelta(minutes=10)
    listener.told(make_event(start_after=wide))
    listener.told(make_event(modification=1, start=NOW + 2 * HOUR, start_after=wide))
    held = listener.held["e1"]
    assert held.offset == timedelta(minutes=5)
    assert held.start == NOW + 2 * HOUR + timedelta(minutes=5)
    assert listener.timeline.at(NOW + 2 * HOUR + timedelta(minutes=4)) is None
    assert listener.timeline.at(NOW + 3 * HOUR + timedelta(minutes=4)) is not None
    listener.told(make_event(modification=2, start_after=timedelta(minutes=40)))
    assert listener.held["e1"].offset == timedelta(minutes=10)  # drawn anew


@pytest.mark.parametrize(("draw", "offset_s"), [(0.0, 0), (0.9999999, 600)])
def test_vex_18_the_random_start_reaches_both_ends(draw: float, offset_s: int) -> None:
    listener = Listener(draw=lambda: draw)
    listener.told(make_event(start_after=timedelta(minutes=10)))
    assert listener.held["e1"].offset == timedelta(seconds=offset_s)


@pytest.mark.parametrize("explicit", [True, False], ids=["cancelled", "left out"])
def test_vex_19_a_running_randomised_event_ends_spread_over_its_tolerance(explicit: bool) -> None:
    listener = Listener()
    event = make_event(start=NOW - HOUR / 2, start_after=timedelta(minutes=10))
    listener.told(event, now=NOW - HOUR)
    listener.hear(distribute(cancelled(event)) if explicit else distribute())
    timeline = listener.timeline
    assert timeline.at(NOW + timedelta(minutes=4, seconds=59)) is not None
    assert timeline.at(NOW + timedelta(minutes=5)) is None


def test_vex_19_a_randomised_event_that_returns_after_it_was_left_out_runs_on() -> None:
    listener = Listener()
    event = make_event(start=NOW - HOUR / 2, start_after=timedelta(minutes=10))
    listener.told(event, now=NOW - HOUR)
    listener.hear(distribute())
    listener.told(event)
    assert listener.held["e1"].offset == timedelta(minutes=5)
    assert listener.timeline.at(NOW + timedelta(minutes=30)) is not None


def test_vex_23_a_test_event_is_answered_and_not_followed() -> None:
    listener = Listener()
    assert listener.told(make_event(test_event="true")).code == "200"
    assert not followed(listener.held.values())
    assert listener.told(make_event("e2", test_event="false")).code == "200"
    assert len(followed(listener.held.values())) == 1


def test_an_event_that_the_site_opts_out_of_is_not_followed() -> None:
    listener = Listener(opt=OptType.OPT_OUT)
    answer = listener.told(make_event())
    assert (answer.code, answer.opt_type) == ("200", OptType.OPT_OUT)
    assert not followed(listener.held.values())


def test_vex_24_an_open_ended_event_runs_until_it_is_cancelled() -> None:
    listener = Listener()
    event = make_event(length=timedelta(0))
    listener.told(event)
    assert listener.timeline.at(NOW + timedelta(days=400)) is not None
    listener.told(cancelled(event), now=NOW + timedelta(days=2))
    assert listener.timeline.at(NOW + timedelta(days=3)) is None


def test_vex_25_at_the_edge_of_two_events_the_later_one_rules() -> None:
    listener = Listener()
    listener.told(make_event("e1"), make_event("e2", start=NOW + 2 * HOUR, signals=(signal(values=(2.0,)),)))
    setpoint = listener.timeline.at(NOW + 2 * HOUR)
    assert setpoint is not None
    assert setpoint.event.event_id == "e2"


def test_an_event_is_kept_for_a_day_after_its_end_and_an_open_one_for_ever() -> None:
    listener = Listener()
    listener.told(make_event("e1"), make_event("e2", length=timedelta(0)))
    end = NOW + 2 * HOUR
    assert set(prune(listener.held, end + timedelta(hours=23))) == {"e1", "e2"}
    assert set(prune(listener.held, end + timedelta(days=1))) == {"e2"}


@pytest.mark.criterion("VEX-04")
def test_vex_03_request_ids_need_not_differ() -> None:
    listener = Listener()
    first = listener.hear(distribute(make_event(), request_id="same"))
    second = listener.hear(distribute(make_event(modification=1), request_id="same"))
    assert first is not None
    assert second is not None
    answers = (*first.event_responses, *second.event_responses)
    assert [(each.event_id, each.modification_number, each.request_id) for each in answers] == [
        ("e1", 0, "same"),
        ("e1", 1, "same"),
    ]


def test_vex_05_no_event_wants_an_answer_no_answer_is_sent() -> None:
    listener = Listener()
    assert listener.hear(distribute()) is None
    assert listener.hear(distribute(make_event(response_required=ResponseRequired.NEVER))) is None
    answer = listener.hear(distribute(make_event("e2")))
    assert answer is not None
    assert answer.event_responses


def test_vex_07_an_unknown_cancelled_event_that_wants_no_answer_gets_none() -> None:
    listener = Listener()
    gone = cancelled(make_event(response_required=ResponseRequired.NEVER))
    assert listener.hear(distribute(gone)) is None


def test_vex_08_a_confirmed_cancellation_is_confirmed_again_only_where_it_comes_again() -> None:
    listener = Listener()
    event, other = make_event(), make_event("e2")
    listener.told(event)
    listener.told(cancelled(event))
    answer = listener.hear(distribute(other))
    assert answer is not None
    assert [each.event_id for each in answer.event_responses] == ["e2"]
    assert listener.told(other, cancelled(event)).modification_number == 1


def test_vex_08_a_change_of_mind_about_a_cancelled_event_is_not_told() -> None:
    listener = Listener()
    listener.told(make_event())
    assert opt.change(listener.held["e1"], VEN) is not None
    listener.told(cancelled(make_event()))
    assert opt.change(listener.held["e1"], VEN) is None


def test_vex_12_a_refused_event_is_not_opted_into_later() -> None:
    listener = Listener()
    listener.told(make_event(market_context="http://x.test/"))
    assert opt.change(replace(listener.held["e1"], opt_type=OptType.OPT_IN), VEN) is None


def test_vex_09_a_refused_event_that_vanishes_is_forgotten() -> None:
    listener = Listener()
    listener.told(make_event(market_context="http://x.test/"))
    assert listener.hear(distribute()) is None
    assert not listener.held


def unreadable(number: int, want: ResponseRequired = ResponseRequired.ALWAYS) -> UnreadableEvent:
    return UnreadableEvent(
        event_id="e1",
        modification_number=number,
        response_required=want,
        code="454",
        description="duration without a number",
        rule="GEN-07",
    )


def test_vex_11_an_event_that_cannot_be_read_is_refused_for_itself() -> None:
    listener = Listener()
    message = replace(distribute(make_event("e2"), request_id="d5"), unreadable=(unreadable(3),))
    answer = listener.hear(message)
    assert answer is not None
    assert answer.response.code == "200"
    assert [(each.event_id, each.code, each.opt_type) for each in answer.event_responses] == [
        ("e2", "200", OptType.OPT_IN),
        ("e1", "454", OptType.OPT_OUT),
    ]
    assert (answer.event_responses[1].modification_number, answer.event_responses[1].request_id) == (3, "d5")
    quiet = replace(distribute(), unreadable=(unreadable(3, ResponseRequired.NEVER),))
    assert listener.hear(quiet) is None


def test_vex_11_a_modification_that_cannot_be_read_ends_the_version_before() -> None:
    listener = Listener()
    listener.told(make_event())
    listener.hear(replace(distribute(), unreadable=(unreadable(0),)))
    assert listener.timeline.setpoints()  # the version that we have is readable
    listener.hear(replace(distribute(), unreadable=(unreadable(1),)))
    assert "e1" in listener.held
    assert not listener.timeline.setpoints()
    assert listener.told(make_event(modification=2)).code == "200"
    assert listener.timeline.setpoints()


def test_vex_20_completed_does_not_end_an_event() -> None:
    listener = Listener()
    event = make_event(start=NOW - HOUR / 2, start_after=timedelta(minutes=40))
    listener.told(event, now=NOW - HOUR)
    done = replace(event, descriptor=replace(event.descriptor, event_status=EventStatus.COMPLETED))
    listener.told(done, now=NOW + HOUR / 2)  # over for the VTN, 20 minutes are left here
    assert listener.timeline.at(NOW + HOUR / 2 + timedelta(minutes=19)) is not None
    assert listener.timeline.at(NOW + HOUR / 2 + timedelta(minutes=20)) is None


def test_vex_21_the_site_follows_intervals_values_and_ramps() -> None:
    listener = Listener()
    event = make_event(signals=(signal(values=(1.0, 3.0)),))
    period = replace(event.active_period, ramp_up=Duration(600), recovery=Duration(-600))
    listener.told(replace(event, active_period=period))
    start = NOW + HOUR
    seen = [listener.timeline.at(start + timedelta(minutes=minute)) for minute in (-1, 0, 29, 30, 59, 60)]
    assert [setpoint and setpoint.value("SIMPLE") for setpoint in seen] == [None, 1.0, 1.0, 3.0, 3.0, None]
    up = listener.timeline.ramp(start - timedelta(minutes=5))
    down = listener.timeline.ramp(start + timedelta(minutes=55))
    assert up is not None
    assert down is not None
    assert (up.rising, up.share(start - timedelta(minutes=5))) == (True, 0.5)
    assert (down.rising, down.share(start + timedelta(minutes=55))) == (False, 0.5)


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


FAR_AWAY = END_OF_TIME - timedelta(hours=1)
TWO_CENTURIES = replace(make_event().active_period, start_after=Duration(36_600 * 86_400, months=1200))


@pytest.mark.parametrize(
    "event",
    [
        make_event(start=FAR_AWAY, start_after=timedelta(hours=3)),
        make_event(start=FAR_AWAY, length=timedelta(days=9000)),
        make_event(start=datetime(1000, 1, 1, tzinfo=UTC), length=timedelta(0)),
        make_event(start_after=timedelta(days=36_000)),
        replace(make_event(), active_period=TWO_CENTURIES),
    ],
    ids=["random start", "length", "open-ended since long ago", "a century of random start", "two of them"],
)
def test_no_event_makes_the_calendar_overflow(event: Event) -> None:
    listener = Listener(draw=lambda: 0.999)
    for told in (event, cancelled(event)):
        listener.told(told)
        assert followed(listener.held.values()) is not None
        listener.held = prune(listener.held, NOW)
        assert list(listener.held) == ["e1"]
