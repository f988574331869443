"""The operator's API: events for one VEN or many, all of it or nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from openadr import DistributeEvent, Event, Target
from openadr.enums import OptType
from tests.vtn.desk import ALICE, BOB, NOW
from tests.vtn.office import CONTEXT, POWER, SIMPLE, Clerk, peak


async def polled(clerk: Clerk, who: str = ALICE) -> Event:
    told = await clerk.desk.poll(who)
    assert isinstance(told, DistributeEvent)
    return told.events[0]


async def test_an_event_reaches_its_ven_as_it_was_written(clerk: Clerk) -> None:
    await clerk.desk.settle_in()
    body = peak(
        signals=[SIMPLE, {**POWER, "device_classes": ["Water_Heater"]}],
        priority=2,
        test_event=True,
        vtn_comment="a try",
        response_required="never",
        start_after="PT5M",
        notification="PT30M",
        ramp_up="PT10M",
        recovery="-PT5M",
        target={"resource_id": ["r-1", "r-2"], "group_id": ["north"]},
        baseline={
            "baseline_id": "b",
            "baseline_name": "usual",
            "start": "2026-03-02T14:00:00Z",
            "duration": "PT1H",
            "resource_id": ["r-1"],
            "unit": {"kind": "powerReal", "scale": "k"},
            "intervals": [{"value": 900}],
        },
    )
    await clerk.post("/vtn/events", body)
    told = await polled(clerk)
    period, descriptor = told.active_period, told.descriptor
    assert (descriptor.event_id, descriptor.market_context) == ("peak", CONTEXT)
    assert (descriptor.priority, descriptor.test_event, descriptor.vtn_comment) == (2, "true", "a try")
    lengths = (period.start_after, period.notification, period.ramp_up, period.recovery)
    assert [str(length) for length in lengths] == ["PT5M", "PT30M", "PT10M", "-PT5M"]
    assert str(told.response_required) == "never"
    assert [(s.signal_name, str(s.signal_type), s.signal_id) for s in told.signals] == [
        ("SIMPLE", "level", "0"),
        ("LOAD_DISPATCH", "delta", "1"),
    ]
    power = told.signals[1]
    assert [(str(i.duration), i.uid, i.payload_float) for i in power.intervals] == [
        ("PT30M", "0", -500.0),
        ("PT30M", "1", -250.0),
    ]
    assert power.item_base is not None
    assert (power.item_base.item_units, str(power.item_base.si_scale_code)) == ("W", "k")
    assert power.target is not None
    assert power.target.end_device_asset == ("Water_Heater",)
    assert told.target.resource_id == ("r-1", "r-2")
    assert (told.target.group_id, told.target.ven_id) == (("north",), (clerk.desk.ids[ALICE],))
    assert told.baseline is not None
    assert (told.baseline.baseline_name, told.baseline.intervals[0].payload_float) == ("usual", 900.0)


async def test_what_is_shown_can_be_published_again_and_is_the_same(clerk: Clerk) -> None:
    units: list[dict[str, Any]] = [
        {"kind": "energyReal", "scale": "M"},
        {"kind": "currencyPerKWh", "units": "EUR"},
        {"kind": "powerApparent", "hertz": 60, "voltage": 120.5, "ac": True},
        {"kind": "pulseCount", "pulse_factor": 0.5},
        {"kind": "customUnit", "units": "frogs", "description": "frogs in the pond"},
        {"kind": "temperature"},
    ]
    signals = [
        {"signal_name": f"x-{n}", "signal_type": "setpoint", "unit": unit, "intervals": [{"value": n + 0.5}]}
        for n, unit in enumerate(units)
    ]
    areas = [{"feature_id": "f1", "polygon_id": "p1", "positions": [1.5, 2, 3, 4, 1.5, 2]}]
    target = {
        **{
            name: [f"{name}-1", f"{name}-2"]
            for name in ("group_name", "party_id", "meter_asset", "pnode", "aggregated_pnode")
        },
        "service_delivery_point": ["sdp"],
        "end_device_asset": ["Thermostat"],
        "transport_interface": [{"point_of_receipt": "a", "point_of_delivery": "b"}],
        "service_area": areas,
    }
    first = await clerk.post("/vtn/events", peak(signals=signals, target=target))
    shown = await clerk.get("/vtn/events/peak")
    assert {**first, "warnings": []} == shown
    assert {name: value for name, value in shown["event"]["target"].items() if value} == target
    again = {**shown["event"], "event_id": "second", "vens": ["bob"]}
    assert (await clerk.post("/vtn/events", again))["event"] == shown["event"]


async def test_tgt_05_many_vens_get_each_their_own_resources_in_one_transaction(clerk: Clerk) -> None:
    for who, name in ((ALICE, "alice"), (BOB, "bob")):
        await clerk.desk.settle_in(who, name)
    vens = [{"ven": "alice", "resource_id": ["boiler"]}, clerk.desk.ids[BOB]]
    made = await clerk.post("/vtn/events", peak(vens=vens))
    assert [ven["ven_name"] for ven in sorted(made["vens"], key=lambda ven: ven["ven_name"])] == [
        "alice",
        "bob",
    ]
    assert (await polled(clerk, ALICE)).target == Target(resource_id=("boiler",))
    assert (await polled(clerk, BOB)).target == Target(ven_id=(clerk.desk.ids[BOB],))


async def test_one_ven_that_may_not_be_asked_keeps_the_event_from_all(clerk: Clerk) -> None:
    clerk.forbidden[clerk.desk.ids[BOB]] = "2 calls on 2026-03-02, 2 agreed"
    problem = await clerk.refused(422, "POST", "/vtn/events", peak(vens=["alice", "bob"]))
    assert problem["type"] == "urn:flexpact:problem:not-admitted"
    assert problem["clause"] == "daily_calls"
    assert problem["errors"] == [
        {"field": "vens[1]", "value": '"bob"', "detail": "2 calls on 2026-03-02, 2 agreed"}
    ]
    await clerk.refused(404, "GET", "/vtn/events/peak")
    assert await clerk.desk.facts("signal") == []


async def test_the_same_create_again_is_one_event_even_after_its_start(clerk: Clerk) -> None:
    first = await clerk.post("/vtn/events", peak())
    clerk.desk.now += timedelta(hours=2, minutes=30)
    again = await clerk.post("/vtn/events", peak())
    assert again["event"] == first["event"]
    assert len(await clerk.desk.facts("signal")) == 1
    problem = await clerk.refused(409, "POST", "/vtn/events", peak(priority=1))
    assert problem["errors"][0]["field"] == "event_id"


async def test_an_event_without_an_id_gets_one(clerk: Clerk) -> None:
    made = await clerk.post("/vtn/events", peak(event_id=None))
    assert (await clerk.get(f"/vtn/events/{made['event_id']}"))["event"] == made["event"]


async def test_evt_33_an_overlap_is_refused_and_named(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak(start_after="PT10M"))
    late = peak(event_id="late", start="2026-03-02T15:09:00Z")
    problem = await clerk.refused(409, "POST", "/vtn/events", late)
    (error,) = problem["errors"]
    assert (error["field"], error["value"], error["rule"]) == (
        "start",
        '"2026-03-02T15:09:00+00:00"',
        "EVT-33",
    )
    assert "'peak'" in error["detail"]
    assert "from 2026-03-02T14:00:00+00:00 to 2026-03-02T15:00:00+00:00" in error["detail"]
    warned = await clerk.post("/vtn/events", {**late, "overlap": "warn"})
    assert (warned["warnings"][0]["kind"], warned["warnings"][0]["event_id"]) == ("overlap", "peak")
    apart = await clerk.post("/vtn/events", peak(event_id="next", start="2026-03-02T16:10:00Z"))
    assert "overlap" not in [each["kind"] for each in apart["warnings"]]


@pytest.mark.criterion("EVT-33")
async def test_a_cancelled_event_is_in_the_way_until_its_ven_has_confirmed(clerk: Clerk) -> None:
    await clerk.desk.settle_in()
    await clerk.post("/vtn/events", peak())
    await polled(clerk)
    await clerk.post("/vtn/events/peak/cancel", {})
    problem = await clerk.refused(409, "POST", "/vtn/events", peak(event_id="next"))
    assert problem["detail"].endswith(", cancelled, which the VEN has not confirmed")
    await clerk.desk.answer(await polled(clerk))
    assert (await clerk.post("/vtn/events", peak(event_id="next")))["warnings"] == []


async def test_evt_33_an_overlap_with_another_programme_is_a_warning(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak())
    made = await clerk.post("/vtn/events", peak(event_id="other", market_context="http://other.test"))
    assert [each["event_id"] for each in made["warnings"] if each["kind"] == "overlap"] == ["peak"]


async def test_evt_04_a_start_in_the_past_is_refused_unless_it_is_meant(clerk: Clerk) -> None:
    begun = peak(start="2026-03-02T11:50:00Z")
    problem = await clerk.refused(422, "POST", "/vtn/events", begun)
    assert problem["errors"][0]["field"] == "start"
    assert "2026-03-02T11:50:00" in problem["errors"][0]["value"]
    made = await clerk.post("/vtn/events", {**begun, "past_start": "warn"})
    assert "past_start" in [each["kind"] for each in made["warnings"]]
    assert made["vens"][0]["status"] == "active"
    over = {**peak(event_id="over", start="2026-03-02T10:00:00Z"), "past_start": "warn"}
    problem = await clerk.refused(422, "POST", "/vtn/events", over)
    assert problem["clause"] == "EVT-04"
    assert problem["errors"][0]["field"] == "start"


async def test_a_notice_that_is_not_kept_is_a_warning(clerk: Clerk) -> None:
    made = await clerk.post("/vtn/events", peak(notification="PT3H"))
    assert [each["kind"] for each in made["warnings"]] == ["notice", "not_registered"]


BROKEN = {
    "EVT-24": {"signals": [{**SIMPLE, "intervals": [{"value": 4}]}]},
    "EVT-28": {"signals": [{**SIMPLE, "signal_type": "delta"}]},
    "EVT-27": {"signals": [{**POWER, "unit": {"kind": "energyReal"}}]},
    "SGN-04": {"signals": [{**SIMPLE, "unit": {"kind": "powerReal"}}]},
    "EVT-21": {"signals": [{**POWER, "intervals": POWER["intervals"][:1] * 3}]},
    "EVT-22": {"duration": "PT0S", "signals": [POWER]},
    "EVT-26": {"signals": [{**SIMPLE, "signal_id": "s"}, {**POWER, "signal_id": "s"}]},
    "EVT-19": {"start_after": "-PT5M"},
    "TGT-03": {"signals": [{**SIMPLE, "device_classes": ["Toaster"]}]},
}


async def test_a_broken_rule_of_the_standard_is_named(clerk: Clerk) -> None:
    for rule, change in BROKEN.items():
        problem = await clerk.refused(422, "POST", "/vtn/events", peak(**change))
        (error,) = problem["errors"]
        field = {"EVT-19": "event", "EVT-26": "signals"}.get(rule, "signals[0]")
        assert (problem["clause"], error["rule"], error["field"]) == (rule, rule, field)
    await clerk.refused(404, "GET", "/vtn/events/peak")


BASELINE = {"baseline_id": "b", "baseline_name": "b", "start": "2026-03-02T14:00:00Z", "duration": "PT1H"}
BASELINE |= {"intervals": [{"value": 1}]}
WRONG = {
    "vens[0]": {"vens": ["nobody"]},
    "vens[1]": {"vens": ["alice", "alice"]},
    "vens": {"vens": []},
    "start": {"start": "2026-03-02T14:00:00"},
    "duration": {"duration": "an hour"},
    "priority": {"priority": -1},
    "response_required": {"response_required": "sometimes"},
    "test_event": {"test_event": "yes"},
    "colour": {"colour": "red"},
    "event_id": {"event_id": "a/b"},
    "signals[0].signal_name": {"signals": [{**SIMPLE, "signal_name": "TASTE"}]},
    "signals[0].intervals": {"signals": [{**SIMPLE, "intervals": []}]},
    "signals[0].intervals[0].value": {"signals": [{**SIMPLE, "intervals": [{"value": "1"}]}]},
    "signals[0].unit.kind": {"signals": [{**POWER, "unit": {"kind": "parsec"}}]},
    "signals": {"signals": [{**POWER, "unit": {"kind": "energyReal", "hertz": 50}}]},
    "signals[0].unit": {"signals": [{**POWER, "unit": {"kind": "currencyPerKWh"}}]},
    "target.service_area[0].positions": {"target": {"service_area": [{"positions": [1, 2, 3, 4, 5, 6, 7]}]}},
    "baseline.unit": {"baseline": {**BASELINE, "unit": {"kind": "currency", "units": "EURO"}}},
    "target.ven_id": {"target": {"ven_id": ["bob"]}},
    "body": {"duration": None},
}


async def test_a_field_that_cannot_be_taken_is_named(clerk: Clerk) -> None:
    for field, change in WRONG.items():
        problem = await clerk.refused(422, "POST", "/vtn/events", peak(**change))
        assert field in [error["field"] for error in problem["errors"]], problem
    await clerk.refused(404, "GET", "/vtn/events/peak")


async def test_what_the_schema_does_not_allow_is_named_by_field(clerk: Clerk) -> None:
    euro = {"kind": "currencyPerKWh", "units": "EUX"}
    price = {"signal_name": "ELECTRICITY_PRICE", "signal_type": "price", "intervals": [{"value": 1}]}
    area = {"feature_id": "1 2", "positions": [1, 2, 3, 4, 5, 6]}
    for field, change in (
        ("signals", {"signals": [{**price, "unit": euro}]}),
        ("target", {"target": {"service_area": [area]}}),
    ):
        problem = await clerk.refused(422, "POST", "/vtn/events", peak(**change))
        (error,) = problem["errors"]
        assert (error["field"], "the schema does not allow it" in error["detail"]) == (field, True), problem
    await clerk.refused(404, "GET", "/vtn/events/peak")


async def test_numbers_that_json_does_not_have_are_refused(clerk: Clerk) -> None:
    raw = b'{"event_id": "n", "vens": ["alice"], "start": "2026-03-02T14:00:00Z", "duration": "PT1H",'
    raw += b'"signals": [{"signal_name": "x-n", "signal_type": "level", "intervals": [{"value": NaN}]}]}'
    assert (await clerk.ask("POST", "/vtn/events", raw=raw))[0] in (400, 422)


@pytest.mark.criterion("EVT-40")
async def test_evt_40_a_missing_answer_is_shown_when_its_time_has_passed(clerk: Clerk) -> None:
    await clerk.desk.settle_in()
    await clerk.post("/vtn/events", peak(notification="PT30M"))

    async def response() -> str:
        return str((await clerk.get("/vtn/events/peak"))["vens"][0]["response"])

    told = await polled(clerk)
    assert await response() == "waiting"
    clerk.desk.now = NOW + timedelta(minutes=31)
    assert await response() == "no response"
    await clerk.desk.answer(told, OptType.OPT_OUT)
    assert await response() == "optOut"
    silent = await clerk.post("/vtn/events", peak(event_id="silent", vens=["bob"], response_required="never"))
    assert silent["vens"][0]["response"] == "not expected"


async def test_events_are_listed_page_by_page_with_their_counts(clerk: Clerk) -> None:
    await clerk.desk.settle_in()
    for number in range(3):
        await clerk.post(
            "/vtn/events",
            peak(
                event_id=f"e{number}",
                start=f"2026-03-02T1{4 + number}:00:00Z",
                vens=["alice", "bob"][: number + 1],
            ),
        )
    await clerk.desk.answer(await polled(clerk))
    await clerk.post("/vtn/events/e1/cancel", {"vens": ["bob"]})
    page = await clerk.get("/vtn/events?limit=2")
    assert [event["event_id"] for event in page["events"]] == ["e0", "e1"]
    assert page["events"][0] == {
        "event_id": "e0",
        "market_context": CONTEXT,
        "start": "2026-03-02T14:00:00Z",
        "duration": "PT1H",
        "status": "far",
        "test_event": False,
        "vens": 1,
        "opted_in": 1,
        "opted_out": 0,
        "cancelled": 0,
    }
    assert (page["events"][1]["vens"], page["events"][1]["cancelled"], page["next"]) == (2, 1, "e1")
    rest = await clerk.get("/vtn/events?limit=2&after=e1")
    assert [event["event_id"] for event in rest["events"]] == ["e2"]
    assert "next" not in rest
    of_bob = await clerk.get("/vtn/events?ven=bob&current=true")
    assert [event["event_id"] for event in of_bob["events"]] == ["e2"]


async def test_a_parameter_that_cannot_be_taken_is_named(clerk: Clerk) -> None:
    for query in ("limit=0", "limit=x", "colour=red", "current=perhaps"):
        problem = await clerk.refused(422, "GET", f"/vtn/events?{query}")
        assert problem["errors"][0]["field"] == query.partition("=")[0]


HOSTILE = {
    "a control character": {"vtn_comment": "a\u0000b"},
    "half a character": {"vtn_comment": "\ud800"},
    "a control character in an id": {"event_id": "a\u0001"},
    "a control character in a resource": {"target": {"resource_id": ["\u0007"]}},
    "a context that is no URI": {"market_context": "not a uri %%"},
    "before the calendar": {"start": "0001-01-01T00:00:00+14:00"},
    "after the calendar": {"start": "9999-12-31T23:59:59-14:00"},
    "a value beyond all": {"signals": [{**POWER, "intervals": [{"value": 1e308}]}]},
    "a hundred years and more": {"duration": "P101Y"},
    "a number of many digits": {"duration": "PT" + "9" * 300 + "S"},
    "a large priority": {"priority": 2**40},
    "an area of one corner": {"target": {"service_area": [{"positions": [1, 2]}]}},
    "an area whose id is none": {"target": {"service_area": [{"feature_id": "a b", "positions": [1] * 6}]}},
    "a unit of no name": {"signals": [{**POWER, "signal_name": "x-a", "unit": {"kind": "customUnit"}}]},
    "a fixed unit renamed": {"signals": [{**POWER, "unit": {"kind": "powerReal", "units": "frogs"}}]},
    "pulses without a factor": {"signals": [{**POWER, "signal_name": "x-a", "unit": {"kind": "pulseCount"}}]},
    "a currency without a name": {"signals": [{**POWER, "signal_name": "x-a", "unit": {"kind": "currency"}}]},
}


async def test_what_cannot_go_over_the_wire_is_refused(clerk: Clerk) -> None:
    for what, change in HOSTILE.items():
        status, problem = await clerk.ask("POST", "/vtn/events", peak(**change))
        assert status in (400, 422), (what, status, problem)
    assert (await clerk.get("/vtn/events"))["events"] == []


async def test_many_intervals_are_taken(clerk: Clerk) -> None:
    steps = [{"duration": "PT1M", "value": float(n % 7)} for n in range(3000)]
    signal = {"signal_name": "x-fine", "signal_type": "level", "intervals": steps}
    made = await clerk.post("/vtn/events", peak(duration="PT50H", signals=[signal]))
    assert len(made["event"]["signals"][0]["intervals"]) == 3000
