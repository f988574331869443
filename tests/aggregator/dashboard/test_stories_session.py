"""A session that ends under somebody who is typing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.async_api import Page, expect

from aggregator.access import cookie, session
from aggregator.access.access import wall_clock
from aggregator.access.permission import Role
from tests.aggregator.conftest import START
from tests.aggregator.dashboard.site import Site, settled
from vtn import registration

NEW_EVENT = "/events/new?day=2026-01-20&start=09:00&end=10:00"


async def end_sessions(site: Site, role: Role = Role.OPERATOR) -> str:
    """End them all; gives the user's id."""
    user = await site.user(role)
    async with site.db.write() as conn:
        await session.end(conn, user.user_id, wall_clock())
    return user.user_id


async def sign_in_elsewhere(site: Site, page: Page, user_id: str) -> None:
    """As another tab of the same browser does."""
    async with site.db.write() as conn:
        token = await session.begin(conn, user_id, "another tab", wall_clock(), factor_at=wall_clock())
    url = site.address.replace("http:", "https:")
    await page.context.add_cookies(
        [{"name": cookie.SESSION, "value": token, "url": url, "secure": True, "httpOnly": True}]
    )


async def test_what_is_typed_stays_and_is_sent_after_signing_in_in_another_tab(
    site: Site, operator: Page
) -> None:
    await site.platform.clock.move(START + timedelta(hours=1))  # offers have come
    await operator.goto(NEW_EVENT)
    await settled(operator)
    await operator.get_by_label("Reduction").fill("3")
    await expect(operator.get_by_role("button", name="Send to")).to_be_visible()
    await settled(operator)
    user_id = await end_sessions(site)
    banner = operator.get_by_role("alert").filter(has_text="Your session has ended")
    await expect(banner).to_be_visible()
    await expect(operator.get_by_label("Reduction")).to_have_value("3")
    await operator.get_by_label("Reduction").fill("4")  # asks for a preview, which is refused
    await expect(banner.get_by_role("link", name="Sign in in another tab")).to_be_visible()
    await sign_in_elsewhere(site, operator, user_id)
    await expect(banner).to_be_hidden()
    await expect(operator.get_by_label("Reduction")).to_have_value("4")
    await operator.get_by_label("Reduction").press("End")
    await operator.get_by_label("Reduction").fill("5")
    await expect(operator.get_by_text("of 5.00 kW wanted")).to_be_visible()
    await operator.get_by_role("button", name="Send to").click()
    await operator.wait_for_url("**/events/event-*")


async def test_a_part_that_is_refused_before_the_page_hears_of_it_takes_nothing_away(
    site: Site, operator: Page
) -> None:
    await operator.goto(NEW_EVENT)
    await settled(operator)
    await operator.get_by_label("Reduction").fill("3")
    await end_sessions(site)
    async with operator.expect_response("**/alarms/badge") as refused:
        await operator.evaluate("document.body.dispatchEvent(new CustomEvent('live:alarms'))")
    assert (await refused.value).status == 401
    await expect(operator.get_by_role("alert").filter(has_text="Your session has ended")).to_be_visible()
    await expect(operator.get_by_label("Reduction")).to_have_value("3")


@pytest.mark.parametrize("pace", ["live", "live-slow"])
async def test_a_part_that_asks_by_itself_is_not_the_users_doing(
    pace: str, site: Site, operator: Page
) -> None:
    async with site.db.read() as conn:
        ven_id = (await registration.vens(conn))[0].ven_id
    page, part, topic = {
        "live": ("/events", "/alarms/badge", "alarms"),
        "live-slow": (f"/nodes/{ven_id}/messages", f"/nodes/{ven_id}/messages", "nodes"),
    }[pace]
    await operator.goto(page)
    await settled(operator)
    async with operator.expect_request(f"**{part}") as asked:
        await operator.evaluate(f"document.body.dispatchEvent(new CustomEvent('{pace}:{topic}'))")
    headers = await (await asked.value).all_headers()
    assert headers["hx-request"] == "true"
    assert "x-user-active" not in headers


async def test_where_nothing_is_typed_the_sign_in_comes_and_leads_back(site: Site, operator: Page) -> None:
    await operator.goto("/events")
    await settled(operator)
    await end_sessions(site)
    await operator.wait_for_url("**/login?next=%2Fevents")
    assert await operator.locator("input[name=next]").first.input_value() == "/events"
