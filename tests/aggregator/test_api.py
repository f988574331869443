"""The control socket: what an operator may ask, how he is refused, and that a repeat is one request."""

import asyncio
import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.aggregator.conftest import EVENING, START, Platform

ASKED = {**EVENING, "power_kw": 5}


@pytest.fixture
async def afternoon(platform: Platform) -> Platform:
    """The platform at 14:07."""
    await platform.jump(START + timedelta(hours=14))
    await platform.clock.move(START + timedelta(hours=14, minutes=7))
    return platform


async def test_the_socket_is_its_owners_alone(platform: Platform) -> None:
    assert stat.S_IMODE(platform.settings.socket.stat().st_mode) == 0o600


async def test_a_preview_equals_what_is_sent_and_sends_nothing(afternoon: Platform) -> None:
    preview = await afternoon.post("/requests/preview", ASKED)
    assert (await afternoon.get("/summary"))["events"] == 0
    sent = await afternoon.post("/requests", ASKED, status=201)
    assert {name: sent[name] for name in preview} == preview
    assert (preview["requested_kw"], preview["expected_kwh"], preview["shortfall_kw"]) == (5.0, 10.0, 0.0)
    assert preview["cost_minor"] == "316"  # 31 x 4 kWh + 32 x 6 kWh


async def test_a_preview_shows_shortfall_and_clauses(afternoon: Platform) -> None:
    await afternoon.post("/requests", {**ASKED, "power_kw": 2}, status=201)
    preview = await afternoon.post("/requests/preview", {**ASKED, "power_kw": 100})
    assert (preview["expected_kw"], preview["shortfall_kw"]) == (10.0, 90.0)
    (passed,) = preview["passed"]
    assert passed["ven_name"] == "node-1"
    assert [clause["clause"] for clause in passed["clauses"]] == ["daily_calls", "overlap"]


@pytest.mark.parametrize("place", ["body", "header"])
async def test_the_same_key_is_one_request(afternoon: Platform, place: str) -> None:
    body, headers = {**ASKED}, {}
    if place == "body":
        body["idempotency_key"] = "click"
    else:
        headers["Idempotency-Key"] = "click"
    first = await afternoon.post("/requests", body, status=201, **headers)
    await afternoon.clock.move(START + timedelta(hours=14, minutes=30))
    assert await afternoon.post("/requests", body, status=201, **headers) == first
    assert (await afternoon.get("/summary"))["events"] == 1
    other = await afternoon.post("/requests", {**body, "power_kw": 6}, status=409, **headers)
    assert other["error"].startswith("This idempotency key was used for a different request")


@pytest.mark.parametrize(
    ("header", "in_body", "error"),
    [
        ("", None, "Idempotency-Key: a key has 1 to 128 ASCII characters (given '')"),
        ("x" * 129, None, "a key has 1 to 128 ASCII characters (given 'xxx"),
        ("a", "b", "Idempotency-Key 'a' is not the body's idempotency_key 'b'"),
    ],
    ids=["empty", "long", "two"],
)
async def test_a_key_that_is_none_is_refused(
    afternoon: Platform, header: str, in_body: str | None, error: str
) -> None:
    body = {**ASKED, "idempotency_key": in_body}
    refused = await afternoon.post("/requests", body, status=400, **{"Idempotency-Key": header})
    assert error in refused["error"]


async def test_a_double_click_at_once_is_one_request(afternoon: Platform) -> None:
    body = {**ASKED, "idempotency_key": "click"}
    answers = await asyncio.gather(*(afternoon.post("/requests", body, status=201) for _ in range(4)))
    assert all(answer == answers[0] for answer in answers)
    assert (await afternoon.get("/summary"))["events"] == 1


async def test_two_requests_at_once_cannot_both_take_the_last_call_of_a_day(afternoon: Platform) -> None:
    body = {**EVENING, "nodes": {"node-1": 1}}

    async def send() -> int:
        async with afternoon.control.post("/requests", json=body) as answer:
            return answer.status

    assert sorted(await asyncio.gather(*(send() for _ in range(3)))) == [201, 422, 422]


async def test_the_operators_own_choice_goes_through_the_agreement_too(afternoon: Platform) -> None:
    own = {"node-3": 1.5, "node-1": 0.5}
    chosen = await afternoon.post("/requests", {**EVENING, "nodes": own}, status=201)
    assert [(n["ven_name"], n["power_kw"]) for n in chosen["nodes"]] == [("node-1", 0.5), ("node-3", 1.5)]
    too_much = await afternoon.post("/requests", {**EVENING, "nodes": {"node-2": 51}}, status=422)
    assert too_much["error"] == "no node can give anything; node-2: 51000 W asked, 50000 W agreed"
    unknown = await afternoon.post("/requests", {**EVENING, "nodes": {"node-9": 1}}, status=404)
    assert unknown["error"] == "there is no node node-9"


async def test_offers_made_after_the_quarter_hour_before_are_not_used(afternoon: Platform) -> None:
    for box in afternoon.boxes.values():
        box.offer_kw = 40.0
        await afternoon.offer(box)
    half_past, seven_past = (START + timedelta(hours=14, minutes=minutes) for minutes in (30, 7))
    await afternoon.clock.move(half_past)
    await afternoon.until("/status", lambda s: all(node["offer_kw"] == 40.0 for node in s["nodes"]))
    assert (await afternoon.post("/requests/preview", {**ASKED, "power_kw": 100}))["expected_kw"] == 100.0
    await afternoon.clock.move(seven_past)
    preview = await afternoon.post("/requests/preview", {**ASKED, "power_kw": 100})
    assert preview["expected_kw"] == 12.0  # 2 + 4 + 6, as offered at midnight


TWO_DAYS = {**ASKED, "end": "2026-01-22T17:00:00Z"}
YESTERDAY = {**ASKED, "start": "2026-01-19T17:00:00Z", "end": "2026-01-19T18:00:00Z"}
BAD = [
    ("no JSON", "x", 400, "body: Invalid JSON"),
    ("a list", [], 400, "body: Input should be an object"),
    ("no end", {"start": EVENING["start"], "power_kw": 1}, 400, "end: Field required"),
    ("no zone", {**ASKED, "start": "2026-01-20T17:00:00"}, 400, "start: Input should have timezone info"),
    ("a misspelt field", {**ASKED, "nods": {}}, 400, "nods: Extra inputs are not permitted (given {})"),
    ("negative power", {**ASKED, "power_kw": -1}, 400, "power_kw: Input should be greater than 0 (given -1)"),
    ("not a number", {**ASKED, "power_kw": "NaN"}, 400, "power_kw: Input should be a finite number"),
    ("neither power nor nodes", EVENING, 422, "give either power_kw or nodes"),
    ("both", {**ASKED, "nodes": {"node-1": 1}}, 422, "give either power_kw or nodes"),
    (
        "a node with nothing",
        {**EVENING, "nodes": {"node-1": 0}},
        400,
        "nodes.node-1: Input should be greater than 0 (given 0)",
    ),
    (
        "a node with too much",
        {**EVENING, "nodes": {"node-1": 1e30}},
        400,
        "than or equal to 1000000 (given 1e+30)",
    ),
    (
        "a node past all numbers",
        {**EVENING, "nodes": {"node-1": "1e5000"}},
        400,
        "nodes.node-1: Input should",
    ),
    ("a node past all floats", {**EVENING, "nodes": {"node-1": "1e400"}}, 400, "(given '1e400')"),
    ("a node under a watt", {**EVENING, "nodes": {"node-1": "1e-4"}}, 400, "nodes.node-1: 0.0001 kW is less"),
    (
        "the year 1",
        {**ASKED, "start": "0001-01-01T00:00:00+14:00"},
        400,
        "start: 0001-01-01T00:00:00+14:00 lies",
    ),
    (
        "the year 9999",
        {**ASKED, "end": "9999-12-31T23:00:00-12:00"},
        400,
        "end: 9999-12-31T23:00:00-12:00 lies",
    ),
    ("under a watt", {**ASKED, "power_kw": 0.0001}, 400, "power_kw: 0.0001 kW is less than one watt"),
    ("backwards", {**ASKED, "end": "2026-01-20T16:00:00Z"}, 422, "it must end after it starts"),
    ("two days", TWO_DAYS, 422, "it lasts 2 days, 0:00:00, at most 1 day"),
    (
        "half a second",
        {**ASKED, "end": "2026-01-20T19:00:00.5Z"},
        422,
        "end: 2026-01-20T19:00:00.500000+00:00 is no",
    ),
    ("yesterday", YESTERDAY, 422, "start: 2026-01-19T17:00:00+00:00 has passed, it is 2026-01-20T00"),
]


@pytest.mark.parametrize(("body", "status", "error"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
async def test_a_request_that_cannot_be_is_refused_with_its_reason(
    platform: Platform, body: Any, status: int, error: str
) -> None:
    raw = body if isinstance(body, str) else json.dumps(body)
    for path in ("/requests/preview", "/requests"):
        async with platform.control.post(path, data=raw) as answer:
            said = await answer.json()
        assert answer.status == status
        assert error in said["error"]
    assert (await platform.get("/summary"))["events"] == 0


async def test_a_cancelled_request_is_told_to_its_nodes_and_costs_nothing(afternoon: Platform) -> None:
    sent = await afternoon.post("/requests", {**ASKED, "power_kw": 2}, status=201)
    box = afternoon.boxes["node-1"]
    await box.poll_for_event()
    cancelled = await afternoon.post(f"/requests/{sent['request_id']}/cancel")
    await box.poll_for_event()
    assert box.events[sent["event_id"]].is_cancelled
    assert (await afternoon.get(f"/events/{sent['event_id']}"))["status"] == "cancelled"
    await afternoon.clock.move(START + timedelta(hours=14, minutes=40))
    assert await afternoon.post(f"/requests/{sent['request_id']}/cancel") == cancelled
    await afternoon.clock.move(START + timedelta(hours=14, minutes=15))
    # the call of the day is free again
    await afternoon.post("/requests", {**ASKED, "power_kw": 2}, status=201)
    await afternoon.clock.move(START + timedelta(hours=23))
    statements = await afternoon.settled(1)
    assert [s["event_id"] for s in statements] == ["event-20260120T170000Z-2"]


async def test_a_request_can_be_cancelled_by_its_events_id(afternoon: Platform) -> None:
    sent = await afternoon.post("/requests", {**ASKED, "power_kw": 2}, status=201)
    cancelled = await afternoon.post(f"/requests/{sent['event_id']}/cancel")
    assert cancelled["request_id"] == sent["request_id"]


async def test_what_was_given_before_a_stop_is_settled(platform: Platform) -> None:
    sent = await platform.ask(2)
    await platform.jump(START + timedelta(hours=18))
    await platform.post(f"/requests/{sent['request_id']}/cancel")
    await platform.boxes["node-1"].poll_for_event()
    await platform.jump(START + timedelta(hours=18, minutes=15))
    (statement,) = await platform.settled(1)
    assert (statement["requested_wh"], statement["delivered_wh"]) == (2000, 2000)
    summary = await platform.get("/summary")
    assert (summary["events"], summary["statements"], summary["requested_kwh"]) == (1, 1, 2.0)


async def test_a_request_that_is_over_cannot_be_cancelled(platform: Platform) -> None:
    sent = await platform.ask(2)
    await platform.clock.move(START + timedelta(hours=19))
    refused = await platform.post(f"/requests/{sent['request_id']}/cancel", status=422)
    assert refused["error"] == "it ended at 2026-01-20T19:00:00+00:00"


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/events/none", 404, "there is no event none"),
        ("/nowhere", 404, "Not Found"),
        ("/requests", 405, "Method Not Allowed"),
        ("/receipts/x", 422, "a leaf index is a number, not 'x'"),
        ("/receipts/-1", 422, "a leaf index is a number, not '-1'"),
        ("/receipts/999999", 404, "the log has no leaf 999999"),
        ("/forecasts?day=tomorrow", 422, "day is no date: 'tomorrow'"),
        ("/forecasts?day=0001-01-01", 400, "day: 0001-01-01 lies more than five years from today"),
        ("/forecasts?day=9999-12-31", 400, "day: 9999-12-31 lies more than five years from today"),
        ("/profiles?start=0001-01-01T00:00:00%2B14:00&end=0001-01-02T00:00:00Z", 400, "start: 0001-01-01T00"),
        (
            "/profiles?start=2026-01-20T00:00:00Z&end=9999-12-31T23:00:00Z",
            400,
            "end: 9999-12-31T23:00:00+00:00",
        ),
        (
            "/profiles?start=2026-01-20T00:00:00Z&end=2026-01-20T00:05:00Z",
            400,
            "no whole quarter hour: 2026-01-20",
        ),
        ("/profiles", 422, "start is no time: ''"),
        ("/profiles?start=2026-01-20T00:00:00&end=2026-01-21T00:00:00", 422, "start needs a time zone"),
        ("/profiles?start=2026-01-21T00:00:00Z&end=2026-01-20T00:00:00Z", 422, "end must lie after start"),
    ],
)
async def test_a_question_without_an_answer(platform: Platform, path: str, status: int, error: str) -> None:
    assert error in (await platform.get(path, status=status))["error"]


async def test_an_unknown_request_cannot_be_cancelled(platform: Platform) -> None:
    refused = await platform.post("/requests/none/cancel", status=404)
    assert refused["error"] == "there is no request none"


async def test_nodes_show_their_agreements(platform: Platform) -> None:
    nodes = (await platform.get("/nodes"))["nodes"]
    assert [node["ven_name"] for node in nodes] == ["node-1", "node-2", "node-3"]
    assert nodes[0]["agreement"]["price_minor_per_kwh"] == "31"


async def test_profiles_lay_metered_beside_baseline(platform: Platform) -> None:
    await platform.jump(START + timedelta(hours=2))
    answer = await platform.get("/profiles?start=2026-01-20T00:00:00Z&end=2026-01-20T03:00:00Z")
    assert len(answer["times"]) == 12
    assert answer["metered_kw"][:8] == pytest.approx(answer["baseline_kw"][:8], rel=0.001)
    assert answer["metered_kw"][8:] == [None] * 4


async def test_trust_names_the_log(platform: Platform) -> None:
    trust = (await platform.get("/trust"))["trust"]
    assert 'origin = "test.example/log"' in trust


async def test_a_database_that_takes_no_changes_is_a_503_and_nothing_else(platform: Platform) -> None:
    assert platform.aggregator is not None
    db = platform.aggregator._db
    assert db is not None
    await db.close()
    refused = await platform.post("/requests", {**EVENING, "nodes": {"node-1": 1}}, status=503)
    assert "nothing was kept" in refused["error"]


async def test_a_fault_of_ours_tells_no_details(tmp_path: Path) -> None:
    from aiohttp.test_utils import make_mocked_request  # noqa: PLC0415

    from aggregator.api import answer_errors  # noqa: PLC0415

    async def broken(request: web.Request) -> web.StreamResponse:
        raise RuntimeError("a secret at /some/path")

    answer = await answer_errors(make_mocked_request("GET", "/status"), broken)
    assert isinstance(answer, web.Response)
    assert answer.status == 500
    assert answer.text == '{"error": "this is our mistake; the log says more"}'


POWER = {"kind": "powerReal"}
CALL = {
    "event_id": "by-hand",
    "vens": ["node-1"],
    "start": "2026-01-20T17:00:00Z",
    "duration": "PT1H",
    "signals": [
        {
            "signal_name": "LOAD_DISPATCH",
            "signal_type": "delta",
            "unit": POWER,
            "intervals": [{"value": -4000}],
        }
    ],
}


async def test_the_vtns_own_api_is_on_the_same_socket(afternoon: Platform) -> None:
    vens = (await afternoon.get("/vtn/vens"))["vens"]
    assert {ven["ven_name"]: ven["state"] for ven in vens} == dict.fromkeys(afternoon.boxes, "registered")
    assert "/vtn/events" in (await afternoon.get("/openapi.json"))["paths"]
    made = await afternoon.post("/vtn/events", CALL, status=201)
    assert made["event"]["market_context"] == afternoon.settings.programme.market_context


async def test_an_event_by_hand_counts_against_the_agreement(afternoon: Platform) -> None:
    await afternoon.post("/vtn/events", CALL, status=201)
    preview = await afternoon.post("/requests/preview", {**ASKED, "power_kw": 100})
    (passed,) = preview["passed"]
    assert passed["ven_name"] == "node-1"
    assert [clause["clause"] for clause in passed["clauses"]] == ["daily_calls", "overlap"]
    await afternoon.post("/vtn/events/by-hand/cancel")
    assert (await afternoon.post("/requests/preview", {**ASKED, "power_kw": 100}))["passed"] == []


async def test_an_event_by_hand_passes_the_agreement(afternoon: Platform) -> None:
    signal = {**CALL["signals"][0], "intervals": [{"value": -1_000_000}]}  # type: ignore[index] - a list
    problem = await afternoon.post("/vtn/events", {**CALL, "signals": [signal]}, status=422)
    assert (problem["clause"], problem["errors"][0]["field"]) == ("capacity", "vens[0]")
    soon = {**CALL, "start": "2026-01-20T14:08:00Z"}
    assert (await afternoon.post("/vtn/events", soon, status=422))["clause"] == "notice"
    assert (await afternoon.get("/vtn/events"))["events"] == []


async def test_an_event_of_a_request_is_left_to_the_request(afternoon: Platform) -> None:
    sent = await afternoon.post("/requests", ASKED, status=201)
    path = f"/vtn/events/{sent['event_id']}"
    problem = await afternoon.post(f"{path}/cancel", status=409)
    assert problem["detail"] == f"event_id: is of request '{sent['request_id']}': cancel that"
    assert {ven["status"] for ven in (await afternoon.get(path))["vens"]} == {"far"}
