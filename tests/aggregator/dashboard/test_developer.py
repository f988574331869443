"""The page that says what the API can do."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from aggregator.access.permission import Role
from aggregator.api_operations import OPERATIONS
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, both_themes


@pytest.mark.long
async def test_every_operation_can_be_looked_up_without_another_host(
    site: Site, operator: Page, screens: Screens
) -> None:
    await operator.goto("/account/tokens")
    await operator.get_by_role("button", name="What the API can do").click()
    await expect(operator.locator("details")).to_have_count(len(OPERATIONS))
    await operator.locator("#enrolVen summary").click()
    await expect(operator.locator("#enrolVen")).to_contain_text("node:write")
    await expect(operator.locator("#enrolVen")).to_contain_text("Idempotency-Key")

    async def look(_theme: str) -> None:
        assert await site.violations(operator) == []

    await both_themes(operator, look)
    await operator.evaluate("document.querySelector('#enrolVen').scrollIntoView({block: 'start'})")
    await operator.mouse.wheel(0, -80)
    await screens(operator, "developer")


async def test_it_fits_a_telephone(site: Site, screens: Screens) -> None:
    phone = await site.sign_in(Role.VIEWER, phone=True)
    await phone.goto("/developer")
    await phone.locator("#createEvent summary").click()
    width = await phone.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    await phone.evaluate("document.querySelector('#createEvent').scrollIntoView({block: 'start'})")
    await phone.mouse.wheel(0, -80)
    await screens(phone, "developer-phone")
