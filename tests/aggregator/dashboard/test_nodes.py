"""The list of nodes, in a browser: filter, sort, pages, and that it stays right."""

from __future__ import annotations

from datetime import timedelta

from playwright.async_api import Page, expect

from aggregator.access.permission import Role
from tests.aggregator.conftest import START
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, both_themes, settled
from vtn import registration

ROWS = "#node-table tbody tr"


async def test_the_filter_is_kept_in_the_address_and_found_again_after_a_reload(
    site: Site, operator: Page, screens: Screens
) -> None:
    await operator.goto("/nodes")
    await settled(operator)
    await expect(operator.locator(ROWS)).to_have_count(3)
    await screens(operator, "nodes")
    await operator.get_by_label("Name, id or fingerprint").fill("NODE-2")
    await expect(operator.locator(ROWS)).to_have_count(1)
    await expect(operator.locator(ROWS)).to_contain_text("node-2")
    assert "text=NODE-2" in operator.url
    await operator.reload()
    await expect(operator.locator(ROWS)).to_have_count(1)
    await expect(operator.get_by_label("Name, id or fingerprint")).to_have_value("NODE-2")
    await operator.get_by_label("Name, id or fingerprint").fill("nobody")
    await operator.get_by_text("No node fits this filter.").wait_for()
    await operator.get_by_role("button", name="Show all nodes").click()
    await expect(operator.locator(ROWS)).to_have_count(3)


async def test_columns_sort_both_ways(site: Site, operator: Page) -> None:
    await operator.goto("/nodes")
    await operator.get_by_role("link", name="Name", exact=True).click()
    await expect(operator.locator(ROWS).first).to_contain_text("node-3")
    await operator.get_by_role("link", name="Name", exact=True).click()
    await expect(operator.locator(ROWS).first).to_contain_text("node-1")


async def test_a_node_that_falls_silent_is_marked_while_one_looks(site: Site, operator: Page) -> None:
    await operator.goto("/nodes?sort=state")
    await settled(operator)
    await site.platform.jump(START + timedelta(hours=1), silent=frozenset({"node-3"}))
    first = operator.locator(ROWS).first
    await expect(first).to_contain_text("node-3")
    await expect(first).to_contain_text("Silent")
    await expect(operator.locator("a.tile", has_text="Silent")).to_contain_text("1")


async def test_a_filter_that_cannot_be_one_says_so_and_keeps_what_was_typed(
    site: Site, operator: Page
) -> None:
    await operator.goto("/nodes?text=nod&state=odd&page=-1")
    await expect(operator.get_by_role("alert")).to_contain_text("state")
    await expect(operator.get_by_label("Name, id or fingerprint")).to_have_value("nod")
    await expect(operator.locator(ROWS)).to_have_count(3)


async def test_no_barrier_is_found_in_list_and_map(site: Site, operator: Page, screens: Screens) -> None:
    await operator.goto("/nodes/map")
    await settled(operator)
    assert await site.violations(operator) == []
    await screens(operator, "nodes-map")
    await operator.goto("/nodes")
    await settled(operator)

    async def look(theme: str) -> None:
        assert await site.violations(operator) == []

    await both_themes(operator, look)


async def test_the_list_fits_on_a_telephone(site: Site, screens: Screens) -> None:
    tab = await site.sign_in(Role.VIEWER, phone=True)
    await tab.goto("/nodes")
    await settled(tab)
    assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await expect(tab.get_by_role("button", name="Enrol a node")).to_have_count(0)
    await screens(tab, "nodes-phone")


async def test_the_last_of_several_changes_is_shown_though_the_list_asks_seldom(
    site: Site, operator: Page
) -> None:
    await operator.goto("/nodes?size=200&sort=name")
    await settled(operator)
    suspended = operator.locator(ROWS).filter(has_text="Suspended")
    async with site.db.read() as conn:
        ven_ids = [ven.ven_id for ven in await registration.vens(conn)][:2]
    for number, ven_id in enumerate(ven_ids):  # the second comes when the list has just been asked for
        async with site.db.write() as conn:
            await registration.suspend(conn, ven_id, site.platform.clock.now)
        await expect(suspended).to_have_count(number + 1)
    async with site.db.write() as conn:
        for ven_id in ven_ids:
            await registration.resume(conn, ven_id)
    await expect(suspended).to_have_count(0)
