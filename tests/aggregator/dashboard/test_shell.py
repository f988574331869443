"""What every page has: themes, keyboard, dialogs, what is said when something fails."""

from __future__ import annotations

from playwright.async_api import Page, expect

from aggregator.access.permission import Role
from tests.aggregator.dashboard.site import Site, settled


async def test_the_first_page_is_small_and_its_files_are_asked_for_once(site: Site, operator: Page) -> None:
    await operator.goto("/")
    await settled(operator)
    sizes = "performance.getEntriesByType('resource').map(one => one.transferSize)"
    page = "performance.getEntriesByType('navigation')[0].transferSize"
    assert await operator.evaluate(f"{page} + {sizes}.reduce((a, b) => a + b, 0)") < 150_000
    await operator.goto("/account")
    files = "performance.getEntriesByType('resource').filter(one => one.name.includes('/static/'))"
    assert sum(await operator.evaluate(f"{files}.map(one => one.transferSize)")) == 0


async def test_the_theme_is_kept_and_there_before_the_first_picture(site: Site, operator: Page) -> None:
    await operator.goto("/")
    html = operator.locator("html")
    await expect(html).to_have_attribute("data-theme", "light")
    await operator.get_by_role("button", name="Switch between light and dark").click()
    await expect(html).to_have_attribute("data-theme", "dark")
    await operator.goto("/", wait_until="commit")
    await expect(html).to_have_attribute("data-theme", "dark")
    background = "getComputedStyle(document.body).backgroundColor"
    assert await operator.evaluate(background) == "rgb(13, 19, 23)"


async def test_everything_is_reached_by_the_keyboard(site: Site, operator: Page) -> None:
    await operator.goto("/account")
    await operator.keyboard.press("Tab")
    await expect(operator.get_by_role("link", name="Skip to the content")).to_be_focused()
    await operator.keyboard.press("Enter")
    await expect(operator.locator("#content")).to_be_focused()
    await operator.keyboard.press("?")
    dialog = operator.get_by_role("dialog", name="Keyboard shortcuts")
    await expect(dialog).to_be_visible()
    await operator.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await operator.keyboard.press("g")
    await operator.keyboard.press("o")
    await operator.wait_for_url(f"{site.address}/")


async def test_letters_that_are_typed_into_a_field_are_no_shortcuts(site: Site) -> None:
    tab = await (await site.context()).new_page()
    await tab.goto("/login")
    await tab.get_by_label("Name").fill("")
    await tab.get_by_label("Name").press_sequentially("got?")
    await expect(tab.get_by_label("Name")).to_have_value("got?")
    await expect(tab).to_have_url(f"{site.address}/login")


async def test_a_user_reads_his_language_and_his_time(site: Site) -> None:
    tab = await site.sign_in(Role.VIEWER, "jonas", language="de", time_zone="Asia/Seoul")
    await tab.goto("/")
    await expect(tab.locator("html")).to_have_attribute("lang", "de")
    await settled(tab)
    await expect(tab.locator("#now")).to_have_text("09:00:00")  # midnight UTC
    await expect(tab.locator(".bar .zone")).to_have_text("KST")


async def test_who_may_not_see_the_fleet_is_not_shown_the_way(site: Site) -> None:
    tab = await site.sign_in(Role.AUDITOR)
    await tab.goto("/account")
    await expect(
        tab.get_by_role("navigation", name="Sections").get_by_role("link", name="Overview")
    ).to_have_count(0)
    answer = await tab.goto("/nodes")
    assert answer is not None and answer.status == 403


async def test_the_map_of_nodes_is_walked_with_arrow_keys_and_told_as_a_table(
    site: Site, operator: Page
) -> None:
    await operator.goto("/")
    await settled(operator)
    canvas = operator.locator("#node-health canvas")
    await canvas.focus()
    await operator.keyboard.press("ArrowRight")
    await operator.keyboard.press("ArrowRight")
    await expect(operator.locator("#node-health .tip")).to_contain_text("node-2")
    await operator.locator("#node-health summary").click()
    await expect(operator.locator("#node-health tr")).to_have_count(3)
    await operator.locator("#portfolio-load summary").click()
    await expect(operator.locator("#portfolio-load tbody tr, #portfolio-load .numbers tr")).not_to_have_count(
        0
    )
