"""The operator's API: events that change or are taken back."""

from __future__ import annotations

from datetime import timedelta

from openadr import DistributeEvent, Event
from openadr.enums import EventStatus
from tests.vtn.desk import ALICE, NOW
from tests.vtn.office import POWER, SIMPLE, Clerk, peak


async def polled(clerk: Clerk, who: str = ALICE) -> Event:
    told = await clerk.desk.poll(who)
    assert isinstance(told, DistributeEvent)
    return told.events[0]


async def test_a_modification_changes_what_it_names_and_no_more(clerk: Clerk) -> None:
    await clerk.desk.settle_in()
    before = await clerk.post("/vtn/events", peak(signals=[SIMPLE, POWER], vtn_comment="first", priority=3))
    change = {"priority": 1, "vtn_comment": None, "reason": "colder than forecast"}
    after = await clerk.patch("/vtn/events/peak", change)
    gone = {name: value for name, value in before["event"].items() if name != "vtn_comment"}
    assert after["event"] == {**gone, "priority": 1}
    told = await polled(clerk)
    assert (told.modification_number, told.descriptor.modification_reason) == (1, "colder than forecast")


async def test_a_signal_that_lasts_all_of_the_event_goes_with_its_duration(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak())
    after = await clerk.patch("/vtn/events/peak", {"duration": "PT2H", "start": "2026-03-02T14:30:00Z"})
    assert after["event"]["signals"][0]["intervals"] == [{"duration": "PT2H", "value": 1.0}]
    assert after["vens"][0]["modification_number"] == 1
    same = await clerk.patch("/vtn/events/peak", {"duration": "PT2H"})
    assert same["vens"][0]["modification_number"] == 1


async def test_several_intervals_do_not_stretch_by_themselves(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak(signals=[POWER]))
    problem = await clerk.refused(422, "PATCH", "/vtn/events/peak", {"duration": "PT2H"})
    assert problem["clause"] == "EVT-21"


async def test_a_modification_of_one_ven_leaves_the_other(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak(vens=["alice", "bob"]))
    after = await clerk.patch("/vtn/events/peak", {"vens": ["bob"], "priority": 1})
    assert {ven["ven_name"]: ven["modification_number"] for ven in after["vens"]} == {"alice": 0, "bob": 1}
    assert (await clerk.get("/vtn/events/peak?ven=bob"))["event"]["priority"] == 1
    assert "priority" not in (await clerk.get("/vtn/events/peak?ven=alice"))["event"]


async def test_evt_04_the_past_of_an_event_cannot_be_changed(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak())
    clerk.desk.now = NOW + timedelta(hours=2, minutes=30)
    moved = await clerk.refused(409, "PATCH", "/vtn/events/peak", {"start": "2026-03-02T14:45:00Z"})
    assert moved["clause"] == "EVT-04"
    clerk.desk.now = NOW + timedelta(hours=4)
    await clerk.refused(409, "PATCH", "/vtn/events/peak", {"priority": 1})
    await clerk.refused(409, "POST", "/vtn/events/peak/cancel", {})


async def test_a_modification_passes_the_agreement_too(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak())
    clerk.forbidden[clerk.desk.ids[ALICE]] = "is away"
    problem = await clerk.refused(422, "PATCH", "/vtn/events/peak", {"priority": 1})
    assert problem["clause"] == "daily_calls"
    assert (await clerk.get("/vtn/events/peak"))["vens"][0]["modification_number"] == 0


async def test_a_modification_that_overlaps_is_refused(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak())
    await clerk.post("/vtn/events", peak(event_id="next", start="2026-03-02T15:00:00Z"))
    problem = await clerk.refused(409, "PATCH", "/vtn/events/peak", {"duration": "PT2H"})
    assert "'next'" in problem["errors"][0]["detail"]
    change = {"duration": "PT2H", "overlap": "warn"}
    assert (await clerk.patch("/vtn/events/peak", change))["warnings"][0]["event_id"] == "next"


async def test_what_must_stay_cannot_be_taken_away(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak())
    problem = await clerk.refused(422, "PATCH", "/vtn/events/peak", {"start": None})
    assert problem["errors"][0]["field"] == "start"


async def test_a_cancelled_event_is_told_with_its_reason(clerk: Clerk) -> None:
    await clerk.desk.settle_in()
    await clerk.post("/vtn/events", peak(vens=["alice", "bob"]))
    clerk.forbidden[clerk.desk.ids[ALICE]] = "cancelling is allowed always"
    shown = await clerk.post("/vtn/events/peak/cancel", {"vens": ["alice"], "reason": "wind"})
    assert {ven["ven_name"]: ven["status"] for ven in shown["vens"]} == {"alice": "cancelled", "bob": "far"}
    told = await polled(clerk)
    assert told.descriptor.event_status is EventStatus.CANCELLED
    assert (told.modification_number, told.descriptor.modification_reason) == (1, "wind")
    again = await clerk.post("/vtn/events/peak/cancel")
    assert [ven["status"] for ven in again["vens"]] == ["cancelled", "cancelled"]
    assert sorted(ven["modification_number"] for ven in again["vens"]) == [1, 1]


async def test_what_does_not_exist_is_unknown(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak())
    for method, path, body, what in (
        ("GET", "/vtn/events/none", None, "event 'none'"),
        ("PATCH", "/vtn/events/none", {"priority": 1}, "event 'none'"),
        ("POST", "/vtn/events/none/cancel", {}, "event 'none'"),
        ("GET", "/vtn/events/peak?ven=bob", None, "event 'peak'"),
        ("GET", "/vtn/events/peak?ven=nobody", None, "'nobody'"),
    ):
        problem = await clerk.refused(404, method, path, body)
        assert what in problem["detail"]


async def test_a_ven_that_does_not_have_the_event_is_named(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak())
    for method, path in (("PATCH", "/vtn/events/peak"), ("POST", "/vtn/events/peak/cancel")):
        problem = await clerk.refused(422, method, path, {"vens": ["bob"]})
        assert problem["errors"][0]["field"] == "vens[0]"


async def test_an_event_of_somebody_else_is_left_to_him(clerk: Clerk) -> None:
    await clerk.post("/vtn/events", peak())
    clerk.owners["peak"] = "is of request 'r1': cancel that"
    for method, path, body in (
        ("POST", "/vtn/events", peak()),
        ("PATCH", "/vtn/events/peak", {"priority": 1}),
        ("POST", "/vtn/events/peak/cancel", {}),
    ):
        problem = await clerk.refused(409, method, path, body)
        assert problem["detail"] == "event_id: is of request 'r1': cancel that"
    assert (await clerk.get("/vtn/events/peak"))["vens"][0]["modification_number"] == 0
