"""The whole business behind a real VTN: from offers to sealed statements, and through restarts."""

from datetime import timedelta

from tests.aggregator.conftest import START, Platform

EVENING = {"start": "2026-01-20T17:00:00Z", "end": "2026-01-20T19:00:00Z"}


async def test_a_request_becomes_events_reductions_statements_and_leaves(platform: Platform) -> None:
    await platform.run_to(START + timedelta(hours=14))
    answer = await platform.post("/requests", {**EVENING, "power_kw": 5}, status=201)
    assert [(node["ven_name"], node["power_kw"]) for node in answer["nodes"]] == [
        ("node-1", 2.0),
        ("node-2", 3.0),
    ]
    await platform.run_to(START + timedelta(hours=19))
    statements = await platform.settled(2)
    statements.sort(key=lambda s: s["ven_name"])
    assert [(s["ven_name"], s["outcome"], s["requested_wh"], s["delivered_wh"]) for s in statements] == [
        ("node-1", "measured", 4000, 4000),
        ("node-2", "measured", 6000, 6000),
    ]
    assert [s["incentive_minor"] for s in statements] == [124, 192]
    summary = await platform.until("/summary", lambda s: s["leaves"] > 0)
    assert (summary["events"], summary["delivered"], summary["opted_in"], summary["statements"]) == (
        1,
        2,
        2,
        2,
    )
    assert summary["incentive_total"] == "3.16"
