"""What an operator does, done without a mouse."""

from __future__ import annotations

from decimal import Decimal

import pytest
from playwright.async_api import Page, expect

from aggregator.clearance import Rules
from aggregator.limit_settings import LimitSettings
from tests.aggregator.dashboard.site import Site, settled
from tests.aggregator.dashboard.test_events import afternoon


async def keys_to(page: Page, name: str) -> None:
    """Press Tab until what is called so has the focus."""
    has_focus = """name => {
        const one = document.activeElement;
        return (one.labels?.[0] ?? one).innerText.trim().startsWith(name);
    }"""
    for _ in range(100):
        await page.keyboard.press("Tab")
        if await page.evaluate(has_focus, name):
            return
    raise AssertionError(f"no key leads to {name!r} on {page.url}")


async def press(page: Page, name: str) -> None:
    """Go to a button by keys, and press it; it keeps the focus although its part of the page comes anew."""
    button = page.get_by_role("button", name=name)
    await expect(button.first).to_be_visible()
    await keys_to(page, name)
    await page.wait_for_function("() => !document.querySelector('.htmx-request')")
    await page.keyboard.press("Enter")


async def write(page: Page, name: str, text: str) -> None:
    """Go to a field by keys, and write into it."""
    await keys_to(page, name)
    await page.keyboard.type(text)


@pytest.mark.long
async def test_events_are_sent_taken_back_and_approved_and_nodes_suspended_by_keys_alone(
    site: Site,
) -> None:
    await afternoon(site)
    assert site.platform.aggregator is not None
    portfolio = site.platform.aggregator._portfolio
    portfolio.rules = Rules(LimitSettings(approval_above_kw=Decimal(5)), portfolio.calendar)
    anna, bert = await site.sign_in(name="anna"), await site.sign_in(name="bert")
    await anna.goto("/events/new?day=2026-01-22&start=09:00&end=10:00")
    await settled(anna)
    await keys_to(anna, "Name the nodes instead")
    await anna.keyboard.press("Enter")
    await write(anna, "Nodes and kW", "node-1 = 1")
    await press(anna, "Send to 1 node")
    await anna.wait_for_url("**/events/event-*")
    await settled(anna)
    await press(anna, "Cancel the event")
    await expect(anna.get_by_role("dialog")).to_be_visible()
    await write(anna, "Reason", "storm")
    await press(anna, "Take the event back")
    await expect(anna.get_by_text("This event was taken back")).to_be_visible()
    await anna.goto("/events/new?day=2026-01-22&start=11:00&end=12:00")
    await settled(anna)
    await keys_to(anna, "Name the nodes instead")
    await anna.keyboard.press("Enter")
    await write(anna, "Nodes and kW", "node-1 = 3\nnode-2 = 3")
    await press(anna, "Propose it to a second person")
    await anna.wait_for_url("**/events/approvals/p*")
    await bert.goto(anna.url)
    await press(bert, "Approve and send to 2 nodes")
    await bert.wait_for_url("**/events/event-*")
    await bert.goto(f"/nodes/{site.platform.boxes['node-3'].ven_id}")
    await settled(bert)
    await press(bert, "Suspend")
    await expect(bert.get_by_role("dialog")).to_be_visible()
    await write(bert, "Why", "meter broken")
    await press(bert, "Suspend")
    await expect(bert.locator("#node-facts")).to_contain_text("Suspended since")
