"""The whole business behind a real VTN: from offers to sealed statements, and through restarts."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aggregator.server import Aggregator
from ledger.record import Record
from openadr import CreateOpt, DistributeEvent, Target
from openadr.enums import OptType
from tests.aggregator.conftest import (
    END,
    EVENING,
    START,
    Platform,
    Prepared,
    make_boxes,
    node_settings,
    running,
    write_settings,
)


def by_name(statements: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The newest revision by node."""
    return {statement["ven_name"]: statement for statement in statements}


async def test_a_request_becomes_events_reductions_statements_and_leaves(platform: Platform) -> None:
    answer = await platform.ask(5)
    assert [(node["ven_name"], node["power_kw"]) for node in answer["nodes"]] == [
        ("node-1", 2.0),
        ("node-2", 3.0),
    ]
    await platform.jump(END)
    statements = by_name(await platform.settled(2))
    told = [
        (s["outcome"], s["requested_wh"], s["delivered_wh"], s["incentive_minor"])
        for s in statements.values()
    ]
    assert sorted(told) == [("measured", 4000, 4000, 124), ("measured", 6000, 6000, 192)]
    sealed = await platform.post("/seal", {"timeout_s": 1})
    assert sealed["complete"] is False  # no chain here
    summary = await platform.get("/summary")
    assert (summary["events"], summary["delivered"], summary["opted_in"], summary["statements"]) == (
        1,
        2,
        2,
        2,
    )
    assert (summary["requested_kwh"], summary["delivered_kwh"], summary["incentive_total"]) == (
        10.0,
        10.0,
        "3.16",
    )


async def test_shares_of_homes_add_up_to_the_amount(platform: Platform) -> None:
    await platform.ask(5)
    await platform.jump(END)
    for statement in await platform.settled(2):
        shares = statement["detail"]["shares_minor"]
        assert sorted(shares) == ["home-01", "home-02", "home-03"]
        assert sum(shares.values()) == statement["amount_minor"]
        assert shares["home-01"] > shares["home-02"] > shares["home-03"] > 0


async def test_a_node_that_does_nothing_pays_the_penalty(platform: Platform) -> None:
    platform.boxes["node-1"].obedience = 0.0
    await platform.ask(2)
    await platform.jump(END)
    (statement,) = await platform.settled(1)
    assert (statement["incentive_minor"], statement["penalty_minor"]) == (0, 64)  # 20 x 0.8 x 4 kWh


async def test_an_opt_out_in_the_free_period_costs_nothing(platform: Platform) -> None:
    platform.boxes["node-1"].opt = OptType.OPT_OUT
    await platform.ask(2)
    await platform.jump(END)
    (statement,) = await platform.settled(1)
    assert (statement["outcome"], statement["amount_minor"]) == ("opted_out", 0)


async def test_an_opt_out_of_one_resource_is_none_of_the_node(platform: Platform) -> None:
    await platform.ask(2)
    box = platform.boxes["node-1"]
    (event,) = box.events.values()
    now = START + timedelta(hours=16)
    await platform.clock.move(now)
    part = CreateOpt(
        opt_id="o", opt_type=OptType.OPT_OUT, opt_reason="mustRun", ven_id=box.ven_id, created_date_time=now,
        request_id="r", event_id=event.event_id, modification_number=0,
        target=Target(resource_id=("home-03",)),
    )  # fmt: skip
    await box.say(part)
    await platform.clock.move(START + timedelta(hours=14))
    await platform.jump(END)
    (statement,) = await platform.settled(1)
    assert (statement["outcome"], statement["incentive_minor"]) == ("measured", 124)


async def test_an_answer_after_the_end_changes_no_money(platform: Platform) -> None:
    await platform.ask(2)
    await platform.clock.move(END)
    box = platform.boxes["node-1"]
    box.opt = OptType.OPT_OUT
    await box.answer_events(DistributeEvent(request_id="q", vtn_id="v", events=tuple(box.events.values())))
    box.opt = OptType.OPT_IN
    await platform.clock.move(START + timedelta(hours=14))
    await platform.jump(END)
    (statement,) = await platform.settled(1)
    assert (statement["outcome"], statement["incentive_minor"]) == ("measured", 124)
    assert (await platform.get("/summary"))["opted_in"] == 1


async def test_a_node_that_the_event_never_reached_owes_nothing(platform: Platform) -> None:
    await platform.jump(START + timedelta(hours=14))
    await platform.post("/requests", {**EVENING, "nodes": {"node-1": 2}}, status=201)
    await platform.clock.move(END)
    box = platform.boxes["node-1"]
    await box.report("telemetry", START + timedelta(hours=14), END, END)
    (statement,) = await platform.settled(1)
    assert (statement["outcome"], statement["penalty_minor"]) == ("not_delivered", 0)


async def test_a_test_event_pays_nothing_and_is_marked_on_the_wire(platform: Platform) -> None:
    answer = await platform.ask(2, test_event=True)
    assert platform.boxes["node-1"].events[answer["event_id"]].is_test
    await platform.jump(END)
    (statement,) = await platform.settled(1)
    assert (statement["outcome"], statement["delivered_wh"], statement["amount_minor"]) == ("test", 4000, 0)


async def test_the_events_carry_simple_and_each_nodes_own_power(platform: Platform) -> None:
    answer = await platform.ask(5)
    event_id = answer["event_id"]
    powers = {}
    for name in ("node-1", "node-2"):
        simple, dispatch = platform.boxes[name].events[event_id].signals
        assert (simple.signal_name, simple.intervals[0].payload_float) == ("SIMPLE", 1.0)
        assert (dispatch.signal_name, dispatch.signal_type) == ("LOAD_DISPATCH", "delta")
        assert dispatch.item_base is not None and dispatch.item_base.item_units == "W"
        powers[name] = dispatch.intervals[0].payload_float
    assert powers == {"node-1": -2000.0, "node-2": -3000.0}
    assert platform.boxes["node-3"].events == {}


async def test_late_readings_make_a_new_revision_and_leave_the_old_one(platform: Platform) -> None:
    await platform.ask(2)
    await platform.jump(START + timedelta(hours=18))
    box = platform.boxes["node-1"]
    await platform.clock.move(END + timedelta(hours=2))
    (first,) = await platform.settled(1)
    assert (first["revision"], first["delivered_wh"]) == (1, 2000)  # the second hour is missing
    await box.report("telemetry", START + timedelta(hours=18), END, platform.clock.now)
    revisions = await platform.settled(2)
    assert [(s["revision"], s["delivered_wh"]) for s in revisions] == [(1, 2000), (2, 4000)]
    assert (await platform.get("/summary"))["statements"] == 1


async def test_the_same_late_readings_again_make_no_new_revision(platform: Platform) -> None:
    await platform.ask(2)
    await platform.jump(END)
    await platform.settled(1)
    box = platform.boxes["node-1"]
    await box.report("telemetry", START + timedelta(hours=18), END, END + timedelta(minutes=1))
    await platform.jump(END + timedelta(hours=1))
    await platform.post("/seal", {"timeout_s": 1})
    assert len((await platform.get("/statements"))["statements"]) == 1


async def test_a_settlement_waits_for_readings_until_its_deadline(platform: Platform) -> None:
    await platform.ask(2)
    await platform.jump(START + timedelta(hours=18))
    await platform.clock.move(END + timedelta(hours=2) - timedelta(seconds=1))
    await platform.post("/seal", {"timeout_s": 1})
    assert (await platform.get("/statements"))["statements"] == []


async def test_after_a_restart_an_open_settlement_is_made_once(platform: Platform) -> None:
    await platform.ask(5)
    await platform.stop()
    await platform.start()
    await platform.jump(END)
    await platform.settled(2)
    await platform.stop()
    await platform.start()
    await platform.post("/seal", {"timeout_s": 1})
    assert len((await platform.get("/statements"))["statements"]) == 2


async def test_statements_do_not_depend_on_the_order_of_arrival(prepared: Prepared, tmp_path: Path) -> None:
    bodies = []
    for run, order in enumerate([(0, 1, 2, 3), (3, 1, 0, 2)]):
        folder = tmp_path / str(run)
        folder.mkdir()
        boxes = prepared.copy(folder)
        async with running(write_settings(folder, [node_settings(n) for n in (1, 2, 3)]), boxes) as platform:
            await platform.ask(5)
            await platform.clock.move(END)
            for box in platform.boxes.values():
                for part in order:
                    start = START + timedelta(hours=14) + part * timedelta(hours=1, minutes=15)
                    await box.report("telemetry", start, start + timedelta(hours=1, minutes=15), END)
            statements = by_name(await platform.settled(2))
            bodies.append({name: {**s, "made_at": ""} for name, s in statements.items()})
    assert bodies[0] == bodies[1]


async def test_history_is_asked_once_and_telemetry_goes_on_under_the_same_name(platform: Platform) -> None:
    box = platform.boxes["node-1"]
    before = dict(box.asked)
    await platform.clock.move(START + timedelta(hours=3))
    await box.offer_reports(platform.clock.now)
    assert "history" in before and "history" not in box.asked
    assert box.asked["telemetry"].report_request_id == before["telemetry"].report_request_id


async def test_the_portfolio_is_forecast_for_the_day_when_all_history_is_in(platform: Platform) -> None:
    await platform.jump(START + timedelta(hours=1))
    status = await platform.until("/status", lambda s: s["portfolio"]["forecast_kw"][0] is not None)
    portfolio = status["portfolio"]
    assert len(portfolio["forecast_kw"]) == 96
    assert portfolio["metered_kw"][:4] == pytest.approx(portfolio["baseline_kw"][:4], rel=0.01)
    assert portfolio["metered_kw"][:4] == pytest.approx(portfolio["forecast_kw"][:4], rel=0.1)
    forecasts = await platform.get("/forecasts?day=2026-01-20")
    assert forecasts["portfolio"]["forecast_kw"] == portfolio["forecast_kw"]
    node = forecasts["nodes"][0]
    assert node["issued_at"] == "2026-01-20T00:00:00+00:00"
    assert node["offer_kw"] == [2.0] * 96
    assert node["load_forecast_kw"][:4] == node["metered_kw"][:4]


async def test_status_shows_nodes_event_and_counts(platform: Platform) -> None:
    await platform.ask(5)
    await platform.jump(START + timedelta(hours=18))
    status = await platform.get("/status")
    node = {row["ven_name"]: row for row in status["nodes"]}["node-1"]
    assert (node["registered"], node["target_kw"], node["opt"], node["event_status"]) == (
        True,
        2.0,
        "optIn",
        "active",
    )
    assert node["baseline_kw"] - node["load_kw"] == pytest.approx(2.0, abs=0.01)
    assert (node["offer_kw"], node["history_days"]) == (2.0, 14)
    assert status["event"]["status"] == "active"
    assert status["chain"] == {
        "ok": False,
        "status": "not asked yet",
        "text": "",
        "last_anchor_at": None,
        "head": 0,
        "behind_since": None,
        "alarm": False,
    }
    counts = status["counts"]
    assert (counts["vens"], counts["history_days"], counts["history_reports"]) == (3, 42, 42)
    assert counts["readings"] == 3 * 4 * 72  # three nodes, four meters, 18 hours


async def test_checkpoints_are_signed_on_the_clocks_grid(platform: Platform) -> None:
    await platform.jump(START + timedelta(minutes=15))
    before = (await platform.get("/summary"))["checkpoints"]
    await platform.clock.move(START + timedelta(minutes=30))
    summary = await platform.until("/summary", lambda s: s["checkpoints"] > before)
    assert summary["leaves"] > 0
    assert summary["anchored"] == 0
    refused = await platform.get("/receipts/0", status=404)
    assert refused["error"] == "leaf 0 is not anchored yet: 0 leaves are"


async def test_every_fact_and_statement_is_one_leaf(platform: Platform) -> None:
    await platform.ask(5)
    await platform.jump(END)
    await platform.settled(2)
    await platform.post("/seal", {"timeout_s": 1})
    kinds = [record.kind for record in await leaves(platform)]
    assert kinds.count("statement") == 2
    assert kinds.count("signal") == 2
    assert kinds.count("opt") == 2
    assert kinds.count("registration") == 3
    assert kinds.count("report") == 3 * (
        14 + 1 + 2 * 2
    )  # history, first offer, then telemetry and offer twice
    await platform.post("/seal", {"timeout_s": 1})
    assert len(await leaves(platform)) == len(kinds)


async def leaves(platform: Platform) -> list[Record]:
    """All records in the log, read from the database."""
    from ledger import store as ledger_store  # noqa: PLC0415

    assert platform.aggregator is not None
    db = platform.aggregator._db
    assert db is not None
    found = []
    async with db.read() as conn:
        for index in range(await ledger_store.log_size(conn)):
            leaf = await ledger_store.leaf(conn, index)
            assert leaf is not None and leaf.canonical is not None and leaf.salt is not None
            found.append(Record.from_canonical(leaf.canonical, leaf.salt))
    return found


async def test_an_event_of_two_minutes_is_neither_paid_nor_charged(platform: Platform) -> None:
    await platform.jump(START + timedelta(hours=14))
    body = {"start": "2026-01-20T15:20:00Z", "end": "2026-01-20T15:22:00Z", "nodes": {"node-1": 1}}
    await platform.post("/requests", body, status=201)
    await platform.boxes["node-1"].poll_for_event()
    await platform.jump(START + timedelta(hours=17, minutes=30))
    (statement,) = await platform.settled(1)
    assert (statement["outcome"], statement["baseline_method"], statement["amount_minor"]) == (
        "unmeasured",
        "none",
        0,
    )
    assert statement["requested_wh"] == 0  # no quarter hour of it can be measured


async def test_an_event_off_the_grid_is_asked_and_paid_for_its_whole_quarter_hours(
    platform: Platform,
) -> None:
    await platform.jump(START + timedelta(hours=14))
    body = {"start": "2026-01-20T17:05:00Z", "end": "2026-01-20T18:05:00Z", "nodes": {"node-1": 2}}
    asked = await platform.post("/requests", body, status=201)
    assert (asked["expected_kwh"], asked["cost_minor"]) == (1.5, "46.5")  # 17:15 to 18:00 at 31
    await platform.boxes["node-1"].poll_for_event()
    await platform.jump(END)
    (statement,) = await platform.settled(1)
    assert (statement["requested_wh"], statement["delivered_wh"], statement["penalty_minor"]) == (
        1500,
        1500,
        0,
    )
    assert statement["incentive_minor"] == 46  # 46.5, half-even


async def test_a_node_without_any_history_is_neither_paid_nor_charged(state: Path) -> None:
    boxes = make_boxes()[:1]
    settings = write_settings(state, [node_settings(1)], history_days=0)
    async with running(settings, boxes) as platform:
        await boxes[0].register(platform.clock.now)
        assert "history" not in boxes[0].asked
        await platform.offer(boxes[0])
        await platform.until("/status", lambda status: status["nodes"][0]["offer_kw"] is not None)
        await platform.ask(2)
        await platform.jump(END)
        await platform.clock.move(END + timedelta(hours=2))
        (statement,) = await platform.settled(1)
    assert (statement["outcome"], statement["amount_minor"]) == ("unmeasured", 0)


async def test_without_a_port_there_is_none(prepared: Prepared, tmp_path: Path) -> None:
    prepared.copy(tmp_path)
    settings = write_settings(tmp_path, [node_settings(1)])
    with pytest.raises(RuntimeError, match="the aggregator is not running"):
        _ = Aggregator(settings, lambda: START, asyncio.sleep).port


async def test_new_terms_hold_for_new_calls_only(platform: Platform) -> None:
    await platform.ask(2)
    await platform.stop()
    nodes = [node_settings(n, price_minor_per_kwh=100) for n in (1, 2, 3)]
    platform.settings = write_settings(platform.settings.state, nodes)
    await platform.start()
    await platform.jump(END)
    (statement,) = await platform.settled(1)
    assert statement["incentive_minor"] == 124  # by the price of 31 at which it was called
    assert (await platform.get("/nodes"))["nodes"][0]["agreement"]["price_minor_per_kwh"] == "100"
