"""What was sent, of requests and by hand, in a browser."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.async_api import Page, expect

from aggregator.dashboard.wording import UNKNOWN
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, settled
from tests.aggregator.dashboard.test_events import afternoon

SIMPLE = [{"signal_name": "SIMPLE", "signal_type": "level", "intervals": [{"value": 2}]}]


async def by_hand(site: Site, event_id: str, **content: Any) -> None:
    """Publish an event as the command `flexpact event` does."""
    body = {"event_id": event_id, "vens": ["node-1", "node-2"], "signals": SIMPLE, **content}
    await site.platform.post("/vtn/events", body, status=201)


async def test_events_by_hand_stand_in_the_list_with_their_state_and_have_a_page(
    site: Site, operator: Page, screens: Screens
) -> None:
    await afternoon(site)
    await by_hand(site, "hand-<b>coming", start="2026-02-02T09:00:00Z", duration="PT1H")
    await by_hand(site, "hand-later", start="2026-01-28T15:10:00Z", duration="PT1H")
    body = {"start": "2026-01-29T09:00:00Z", "end": "2026-01-29T10:00:00Z", "nodes": {"node-3": 3}}
    event_id = (await site.platform.post("/requests", body, status=201))["event_id"]
    await operator.goto("/events")
    rows = operator.locator("#events tbody tr")
    await expect(rows).to_have_count(3)
    await expect(rows.filter(has_text="by hand")).to_have_count(2)
    await settled(operator)
    assert await site.violations(operator) == []
    await screens(operator, "event-history")
    for query, found in (
        ("phase=coming", 3),
        ("month=2026-02", 1),
        ("month=2026-01&phase=coming", 2),
        ("text=hand-", 2),
        ("phase=over", 0),
        ("month=nonsense", 3),
    ):
        await operator.goto(f"/events?{query}")
        await expect(rows).to_have_count(found)
    await operator.goto("/events?month=2026-02")
    await operator.get_by_role("link", name="hand-").click()
    await expect(operator.get_by_text("No request has made this event")).to_be_visible()
    await expect(operator.get_by_role("cell", name="SIMPLE")).to_be_visible()
    await expect(operator.get_by_role("link", name="node-2")).to_be_visible()
    assert await site.violations(operator) == []
    await screens(operator, "event-by-hand")
    await operator.goto(f"/events/{event_id}")
    await expect(operator.get_by_role("button", name="Change the event")).to_be_visible()
    answer = await operator.goto("/events/nonsense")
    assert answer is not None and answer.status == 404


async def test_events_by_hand_stand_in_the_calendar_as_all_others(site: Site, operator: Page) -> None:
    await afternoon(site)
    await by_hand(site, "hand-an-hour", start="2026-03-10T09:00:00Z", duration="PT1H")
    await by_hand(site, "hand-over-night", start="2026-03-12T21:00:00Z", duration="PT6H")
    await operator.goto("/events/calendar?month=2026-03")
    cells = operator.locator(".calendar td")
    await expect(cells.filter(has=operator.locator('[href$="hand-an-hour"]'))).to_have_count(1)
    await expect(cells.filter(has=operator.locator('[href$="hand-over-night"]'))).to_have_count(2)
    await operator.goto("/events/calendar?week=2026-03-10")
    await expect(operator.get_by_role("link", name=re.compile("^09:00.10:00$"))).to_be_visible()
    await expect(operator.get_by_text("by hand").first).to_be_visible()
    assert await site.violations(operator) == []
    await operator.goto("/events/calendar?week=2026-03-02")
    await expect(operator.locator('[href*="hand-"]')).to_have_count(0)


async def test_a_node_without_readings_does_not_hide_the_curve_of_the_others(
    site: Site, operator: Page
) -> None:
    """The sums say of how many nodes they are."""
    await site.platform.jump(site.platform.clock.now.replace(hour=15, minute=0), silent=frozenset({"node-3"}))
    nodes = {"node-1": 1, "node-2": 2, "node-3": 3}
    body = {"start": "2026-01-20T17:00:00Z", "end": "2026-01-20T18:00:00Z", "nodes": nodes}
    event_id = (await site.platform.post("/requests", body, status=201))["event_id"]
    await site.platform.jump(site.platform.clock.now.replace(hour=18), silent=frozenset({"node-3"}))
    await operator.goto(f"/events/{event_id}")
    await settled(operator)
    answer = await operator.request.get(f"/events/{event_id}/load.json")
    metered, _, usual = json.loads(await answer.text())["series"]
    assert metered["among"] == 3
    assert metered["name"] == "Metered, unknown nodes as usual"
    pairs = [pair for pair in zip(metered["values"], usual["values"], strict=True) if None not in pair][:3]
    assert pairs
    assert all(abs(used - expected) < 2 for used, expected in pairs)  # no drop before the event
    known = [count for count, value in zip(metered["counts"], metered["values"], strict=True) if value]
    assert known and set(known) == {2}


async def test_a_node_that_opts_in_and_keeps_its_load_stands_as_short_of_target(
    site: Site, operator: Page, screens: Screens
) -> None:
    """Answers alone would look well: all of the nodes that are heard have promised."""
    boxes, clock = site.platform.boxes, site.platform.clock
    boxes["node-2"].obedience = 0.0
    quiet = frozenset({"node-3"})
    await site.platform.jump(clock.now.replace(day=21, hour=14, minute=0), silent=quiet)
    nodes = {"node-1": 1, "node-2": 2, "node-3": 3}
    body = {"start": "2026-01-21T17:00:00Z", "end": "2026-01-21T18:00:00Z", "nodes": nodes}
    event_id = (await site.platform.post("/requests", body, status=201))["event_id"]
    await operator.goto(f"/events/{event_id}")
    missing = operator.locator("#event-tiles .tile", has_text="No answer")
    await expect(missing).not_to_have_class(re.compile("warn|bad"))
    row = operator.locator("#event-nodes tbody tr")
    await expect(row.filter(has_text="node-3")).not_to_have_class(re.compile("warn|bad"))
    for name in ("node-1", "node-2"):
        await boxes[name].poll_for_event()
    await clock.move(clock.now.replace(hour=17, minute=5))
    await operator.reload()
    given = operator.locator("#event-tiles .tile", has_text="Delivered now")
    await expect(given.locator(".value")).to_have_text(UNKNOWN)
    await expect(given).to_contain_text("known of 0 of 3 nodes")
    await expect(row.filter(has_text="node-3")).to_have_class("bad")
    await expect(row.filter(has_text="node-3").locator(".badge")).to_have_class("badge bad")
    before = clock.now.replace(hour=14, minute=0)
    await clock.move(clock.now.replace(hour=17, minute=30))
    for name in ("node-1", "node-2"):
        await boxes[name].report("telemetry", before, clock.now, clock.now)
    await expect(given).to_contain_text("2.00\u00a0kW short of target · until 17:30 · known of 2 of 3 nodes")
    await expect(given.locator(".value")).to_have_text("1.00\u00a0kW")
    await expect(given).to_have_class("tile bad")
    alert = operator.get_by_role("alert").filter(has_text="short of target")
    await expect(alert).to_contain_text("these give less than they were asked for: node-2")
    await expect(row.filter(has_text="node-1")).to_contain_text("1.00\u00a0kW")
    await expect(row.filter(has_text="node-2").locator(".badge").last).to_have_text("0.00\u00a0kW")
    await settled(operator)
    assert await site.violations(operator) == []
    await screens(operator, "event-short")
