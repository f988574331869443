"""Baselines and performance in a browser: methods on a node's own past, one event interval by interval."""

from __future__ import annotations

from datetime import timedelta

from playwright.async_api import Page, expect

from aggregator.access.permission import Role
from tests.aggregator.conftest import START
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, both_themes, settled


async def test_methods_are_held_against_the_nodes_own_past_and_the_rule_is_marked(
    site: Site, operator: Page, screens: Screens
) -> None:
    await operator.goto("/baselines")
    await settled(operator)
    rows = operator.locator(".card").first.locator("tbody tr")
    await expect(rows).to_have_count(4)
    await expect(rows.first).to_contain_text("10-of-10")
    await expect(rows.first).to_contain_text("the programme's rule")
    await expect(rows.first.locator("td").nth(4)).to_have_text("0.0\u00a0%")  # its days are alike
    await expect(operator.locator(".u-series")).to_have_count(6)
    await screens(operator, "baselines", whole=True)
    node = site.platform.boxes["node-1"].ven_id
    times = "start=2026-01-19T17:00:00Z&end=2026-01-19T19:00:00Z"
    told = await operator.request.get(f"/api/v1/vens/{node}/baselines?{times}")
    methods = (await told.json())["methods"]
    assert [(one["days"], one["is_rule"], len(one["baseline_kw"])) for one in methods] == [
        (4, True, 8),
        (4, False, 8),
        (4, False, 8),
        (4, False, 8),
    ]


async def test_what_cannot_be_compared_is_said_beside_the_field(site: Site, operator: Page) -> None:
    await operator.goto("/baselines?node=node-9%E2%80%AE&day=2026-01-19&start=25:00&end=19:00")
    await expect(operator.locator("#node-error")).to_contain_text("no such node")
    await expect(operator.locator("#start-error")).to_contain_text("24 hours")
    await expect(operator.get_by_label("Event from")).to_have_value("25:00")
    await operator.goto("/baselines?node=node-1&day=9999-12-31&start=17:00&end=17:05")
    await expect(operator.locator("#day-error")).to_contain_text("too far away")
    await operator.goto("/baselines?node=node-1&day=2026-01-07")
    await expect(operator.get_by_text("Too few days are known")).to_be_visible()


async def test_an_event_is_shown_interval_by_interval_while_readings_come(
    site: Site, operator: Page, screens: Screens
) -> None:
    answer = await site.platform.ask(5)
    event_id, node = answer["event_id"], answer["nodes"][0]
    box = site.platform.boxes[node["ven_name"]]
    await site.platform.jump(START + timedelta(hours=18))
    await operator.goto(f"/performance/{event_id}/{box.ven_id}")
    await settled(operator)
    rows = operator.locator("#performance-part .card").first.locator("tbody tr")
    await expect(rows).to_have_count(8)
    await expect(rows.nth(3)).to_contain_text("in time")
    await expect(rows.nth(4)).to_contain_text("not yet")
    await site.platform.clock.move(START + timedelta(hours=20))
    await box.report(
        "telemetry", START + timedelta(hours=18), START + timedelta(hours=18.5), START + timedelta(hours=20)
    )
    await expect(rows.nth(4)).to_contain_text("late")
    await expect(rows.nth(4)).to_contain_text("1 h 45 min")
    await expect(rows.nth(6)).to_contain_text("missing")
    asked = await rows.nth(6).locator("td").nth(4).inner_text()
    await expect(rows.nth(6).locator("td").nth(5)).to_have_text(asked)  # as the tile counts it
    reduction = rows.nth(4).locator("td").nth(3)
    await expect(reduction).to_have_text(f"+{node['power_kw'] / 4:.2f}\u00a0kWh")
    await expect(operator.locator("#performance-part")).to_contain_text("19 Jan")
    await operator.reload()
    await settled(operator)
    await screens(operator, "performance", whole=True)
    told = await operator.request.get(f"/api/v1/events/{event_id}/performance/{box.ven_id}")
    said = await told.json()
    assert [one["reading"] for one in said["intervals"]] == ["there"] * 4 + ["late"] * 2 + ["missing"] * 2
    assert said["delivered_wh"] == sum(one.get("reduction_wh", 0) for one in said["intervals"]) > 0
    await operator.goto(f"/events/{event_id}")  # what is over leads on to both
    settlement = operator.get_by_role("button", name="Settlement of this event")
    await expect(settlement).to_have_attribute("href", f"/settlement?event={event_id}")
    await operator.locator("#event-nodes tr", has_text=box.name).get_by_role("link", name="Look").click()
    await operator.wait_for_url(f"**/performance/{event_id}/{box.ven_id}")


async def test_no_barrier_is_found_and_a_telephone_shows_all_of_it(site: Site, screens: Screens) -> None:
    tab = await site.sign_in(Role.VIEWER, phone=True)
    event = await tab.request.get(f"{site.address}/baselines")
    assert event.ok
    await tab.goto("/baselines")
    await settled(tab)
    assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")

    async def look(theme: str) -> None:
        assert await site.violations(tab) == [], theme

    await both_themes(tab, look)
    await tab.locator(".card a[href^='/performance/']").first.click()
    await settled(tab)
    assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await both_themes(tab, look)
    await tab.goto("/performance/none/none")
    await expect(tab.get_by_text("has no part in an event")).to_be_visible()
