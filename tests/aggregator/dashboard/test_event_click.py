"""The click that sends an event: it is not lost, and sends nothing but what is typed and shown."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, Route, expect

from tests.aggregator.dashboard.site import Site, settled
from tests.aggregator.dashboard.test_events import afternoon, tile


async def test_the_click_that_leaves_a_field_finds_its_button(site: Site, operator: Page) -> None:
    await afternoon(site)
    await operator.goto("/events/new?day=2026-01-21&start=06:00&end=07:00")
    await operator.get_by_label("Reduction").fill("5")
    await expect(operator.get_by_text("of 5.00 kW wanted")).to_be_visible()
    asked: list[str] = []
    operator.on("request", lambda request: asked.append(request.url))
    await operator.get_by_role("button", name="Send to").hover()
    await operator.mouse.down()  # the field is left, and says that it has changed
    assert await operator.evaluate("document.activeElement.id") != "power_kw"
    assert [address for address in asked if "preview" in address] == []
    await operator.mouse.up()
    await operator.wait_for_url("**/events/event-*")


async def test_nothing_is_sent_while_the_preview_of_what_is_typed_is_due(site: Site, operator: Page) -> None:
    await afternoon(site)
    await operator.goto("/events/new?day=2026-01-21&start=09:00&end=10:00&power_kw=5")
    await settled(operator)
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        await released.wait()
        await route.continue_()

    await operator.route("**/preview?*", hold)
    await operator.get_by_label("Reduction").fill("6")
    await operator.get_by_role("button", name="Send to").click()
    await expect(operator.locator("#event-preview")).to_have_attribute("aria-busy", "true")
    await operator.get_by_role("button", name="Send to").click()
    assert operator.url.endswith("power_kw=5")
    released.set()
    await expect(operator.get_by_text("of 6.00 kW wanted")).to_be_visible()
    await operator.get_by_role("button", name="Send to").click()
    await operator.wait_for_url("**/events/event-*")
    await expect(tile(operator, "Asked")).to_contain_text("6.00")


@pytest.mark.parametrize(("status", "hour"), [(401, 18), (502, 20)])
async def test_a_preview_that_failed_is_asked_for_again_by_the_click(
    site: Site, operator: Page, status: int, hour: int
) -> None:
    await afternoon(site)
    await operator.goto(f"/events/new?day=2026-01-20&start={hour}:00&end={hour + 1}:00&power_kw=3")
    await settled(operator)

    async def fail(route: Route) -> None:
        await route.fulfill(status=status)

    await operator.route("**/preview?*", fail, times=1)
    async with operator.expect_response("**/preview?*") as failed:
        await operator.get_by_label("Reduction").fill("4")
        await operator.keyboard.press("Tab")  # so that the click leaves no field that would ask
    assert (await failed.value).status == status
    await operator.get_by_role("button", name="Send to").click()
    await expect(operator.get_by_text("of 4.00 kW wanted")).to_be_visible()
    await operator.get_by_role("button", name="Send to").click()
    await operator.wait_for_url("**/events/event-*")
    await expect(tile(operator, "Asked")).to_contain_text("4.00")
    assert all(f"{status}" in said for said in site.problems)  # htmx says so on the console
    site.problems.clear()


async def test_enter_shows_the_preview_of_what_is_typed(site: Site, operator: Page) -> None:
    await afternoon(site)
    await operator.goto("/events/new?day=2026-01-20&start=21:00&end=22:00")
    await operator.get_by_label("Reduction").fill("2")
    await operator.get_by_label("Reduction").press("Enter")
    await operator.wait_for_url("**/events/new?*power_kw=2*")
    await expect(operator.get_by_text("of 2.00 kW wanted")).to_be_visible()
