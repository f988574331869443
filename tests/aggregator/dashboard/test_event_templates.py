"""Templates of events in a browser, and over the network."""

from __future__ import annotations

from datetime import date, time
from zoneinfo import ZoneInfo

from playwright.async_api import Page, expect

from aggregator.dashboard.event_entry import typed_of
from aggregator.event_template import Content
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, settled
from tests.aggregator.dashboard.test_events import afternoon


def test_a_template_means_the_same_instant_in_every_zone() -> None:
    content = Content(time(17), time(19), "Europe/Berlin", 5000, None)
    there = typed_of(content, ZoneInfo("Asia/Seoul"), date(2026, 1, 20))
    assert (there["day"], there["start"], there["end"]) == ("2026-01-21", "01:00", "03:00")
    assert (there["power_kw"], there["nodes"], there["test_event"]) == ("5", "", "")
    assert Content.read(content.text()) == content


async def test_a_form_is_kept_as_a_template_and_an_event_made_of_it(
    site: Site, operator: Page, screens: Screens
) -> None:
    await afternoon(site)
    await operator.goto("/events/templates")
    await expect(operator.get_by_text("There is no template yet")).to_be_visible()
    await operator.goto("/events/new?day=2026-01-21&start=06:00&end=07:30&power_kw=4")
    await operator.get_by_role("button", name="Save as a template").click()
    await operator.get_by_label("Name").fill("  ")
    await operator.get_by_role("button", name="Save the template").click()
    await expect(operator.get_by_text("it is empty")).to_be_visible()
    await expect(operator.get_by_label("Until")).to_have_value("07:30")
    await operator.get_by_label("Name").fill("morning <b>peak</b>")
    await operator.get_by_role("button", name="Save the template").dblclick()
    await operator.wait_for_url("**/events/templates")
    await expect(operator.get_by_role("main").locator("tbody tr")).to_have_count(1)
    await expect(operator.get_by_role("link", name="morning <b>peak</b>")).to_be_visible()
    await settled(operator)
    assert await site.violations(operator) == []
    await screens(operator, "event-templates")
    await operator.get_by_role("main").get_by_role("link", name="New event").click()
    await settled(operator)
    assert await site.violations(operator) == []
    await expect(operator.get_by_label("Day")).to_have_value("2026-01-21")  # 06:00 of today has passed
    await expect(operator.get_by_label("From")).to_have_value("06:00")
    await operator.get_by_role("button", name="Send to").click()
    await operator.wait_for_url("**/events/event-*")


async def test_a_template_that_somebody_else_saved_meanwhile_is_not_overwritten_unseen(
    site: Site, operator: Page
) -> None:
    await operator.goto("/events/templates/new?start=17:00&end=19:00&power_kw=5")
    await operator.get_by_label("Name").fill("evening")
    await operator.get_by_role("button", name="Save the template").click()
    await operator.get_by_role("link", name="evening").click()
    other = await site.sign_in(name="bert")
    await other.goto(operator.url)
    await other.get_by_label("Reduction").fill("6")
    await other.get_by_role("button", name="Save the template").click()
    await other.wait_for_url("**/events/templates")
    await operator.get_by_label("Until").fill("20:00")
    async with operator.expect_response("**/events/templates/t_*") as answered:
        await operator.get_by_role("button", name="Save the template").click()
    assert (await answered.value).status == 409
    await expect(operator.get_by_text("Somebody else has changed this to: 6")).to_be_visible()
    await expect(operator.get_by_label("Until")).to_have_value("20:00")
    await operator.get_by_role("button", name="Save the template").click()
    await operator.wait_for_url("**/events/templates")
    await operator.goto("/events/templates/new?start=17:00&end=19:00&power_kw=5")
    await operator.get_by_label("Name").fill("EVENING")
    await operator.get_by_role("button", name="Save the template").click()
    await expect(operator.get_by_text("Another template has this name")).to_be_visible()
    await operator.goto("/events/templates")
    await operator.get_by_role("link", name="evening").click()
    await operator.get_by_role("button", name="Delete the template").click()
    await operator.wait_for_url("**/events/templates")
    await expect(operator.get_by_role("link", name="evening")).to_have_count(0)
