"""The first screen, in a browser: what it shows, and that it stays right."""

from __future__ import annotations

import re
from datetime import timedelta

from playwright.async_api import Page, expect

from aggregator.access.permission import Role
from tests.aggregator.conftest import START
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, both_themes, settled


async def test_an_answer_of_a_node_is_on_the_screen_without_a_reload(
    site: Site, operator: Page, screens: Screens
) -> None:
    await operator.goto("/")
    await settled(operator)
    await expect(operator.get_by_text("No event runs or comes")).to_be_visible()
    answer = await site.platform.ask(5)
    row = operator.locator("#overview-events tbody tr")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text("5.00")
    await expect(row.locator("td").nth(4)).to_have_text(str(len(answer["nodes"])))
    await site.platform.jump(START + timedelta(hours=17, minutes=45))
    await expect(row).to_contain_text("active")
    await operator.reload()
    await settled(operator)
    await screens(operator, "overview")


async def test_no_barrier_is_found_in_either_theme(site: Site, operator: Page) -> None:
    await operator.goto("/")
    await settled(operator)

    async def look(theme: str) -> None:
        assert await site.violations(operator) == []

    await both_themes(operator, look)


async def test_a_telephone_shows_everything_without_scrolling_sideways(site: Site, screens: Screens) -> None:
    tab = await site.sign_in(Role.VIEWER, phone=True)
    await tab.goto("/")
    await settled(tab)
    assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await tab.get_by_role("button", name="Menu").click()
    await expect(tab.get_by_role("navigation", name="Sections")).to_be_visible()
    await tab.get_by_role("button", name="Menu").click()
    await screens(tab, "overview-phone")


async def test_open_alarms_stand_on_the_first_screen_and_on_the_menu_of_a_telephone(
    site: Site, operator: Page, screens: Screens
) -> None:
    """Time has passed in which no node spoke."""
    tab = await site.sign_in(phone=True)
    await tab.goto("/")
    await settled(tab)
    await operator.goto("/")
    await settled(operator)
    tile = operator.locator("#overview-tiles a.tile", has_text="Open alarms")
    await site.platform.clock.move(site.platform.clock.now + timedelta(hours=3))
    await expect(tile).to_have_class(re.compile("warn|bad"))
    await expect(tile).to_contain_text(re.compile("has not spoken|is not sealed in the log"))
    menu = tab.get_by_role("button", name="Menu")
    await expect(menu).to_contain_text("not acknowledged")
    await expect(tab.locator("#menu-count .badge")).to_be_in_viewport()
    assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await site.violations(tab) == []
    await screens(operator, "overview-alarms")
    await screens(tab, "overview-alarms-phone")
    await tile.click()
    await operator.wait_for_url("**/alarms")
