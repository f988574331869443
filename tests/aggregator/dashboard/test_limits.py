"""Limits that admins set stricter than the settings file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from aggregator.access.permission import Role
from aggregator.limit_rules import beyond, loosened, stricter
from aggregator.limit_settings import LimitSettings
from aggregator.operator_choice import LimitChoice
from aggregator.web_settings import WebSettings
from tests.aggregator.conftest import Prepared, node_settings, running, write_settings
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, settled
from tests.aggregator.dashboard.test_events import afternoon

FILE = LimitSettings(max_concurrent_kw=Decimal(10), max_events_per_day=6)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def module_site(
    prepared: Prepared, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """A platform whose settings file has limits."""
    folder = tmp_path_factory.mktemp("site")
    boxes = prepared.copy(folder)
    settings = write_settings(folder, [node_settings(n) for n in (1, 2, 3)]).model_copy(
        update={"web": WebSettings(port=0, insecure_dev=True), "limits": FILE}
    )
    async with running(settings, boxes) as platform:
        aggregator = platform.aggregator
        assert aggregator is not None and aggregator.web is not None and aggregator._db is not None
        yield Site(platform, aggregator._db, aggregator.web.address, browser)


def test_of_file_and_choice_the_stricter_one_binds() -> None:
    own = LimitChoice(max_concurrent_kw=Decimal(12), max_ramp_kw_per_min=Decimal(3))
    found = stricter(FILE, own)
    assert (found.max_concurrent_kw, found.max_ramp_kw_per_min, found.max_events_per_day) == (10, 3, 6)
    assert found.approval_expires_s == 3600
    assert beyond(FILE, own) == {"max_concurrent_kw": Decimal(10)}
    assert loosened(found, FILE) == ["max_ramp_kw_per_min"]
    assert loosened(FILE, found) == []


async def test_an_admin_is_stricter_than_the_file_and_not_laxer(
    site: Site, operator: Page, screens: Screens
) -> None:
    await afternoon(site)
    admin = await site.sign_in(Role.ADMIN, name="root")
    await admin.goto("/events/limits")
    await settled(admin)
    assert await site.violations(admin) == []
    await admin.get_by_label("Power at once").fill("11")
    await admin.get_by_label("Events of a day").fill("many")
    await admin.get_by_role("button", name="Save").click()
    await expect(admin.locator("#max_events_per_day-error")).to_be_visible()
    await expect(admin.get_by_label("Power at once")).to_have_value("11")
    await admin.get_by_label("Events of a day").fill("5")
    await admin.get_by_role("button", name="Save").click()
    await expect(admin.get_by_text("The settings file allows at most 10.")).to_be_visible()
    await screens(admin, "limits-beyond", whole=True)
    await admin.get_by_label("Power at once").fill("2.5")
    other = await site.sign_in(Role.ADMIN, name="toor")
    await other.goto("/events/limits")
    await admin.get_by_role("button", name="Save").click()
    await admin.wait_for_url("**/events/limits")
    await expect(admin.get_by_role("row", name="Power at once")).to_contain_text("2.50")
    await other.get_by_label("Power at once").fill("3")
    await other.get_by_role("button", name="Save").click()
    await expect(other.get_by_text("Somebody else has changed this to: 2.5")).to_be_visible()
    await expect(other.get_by_label("Power at once")).to_have_value("3")
    await operator.goto("/events/limits")
    await expect(operator.get_by_label("Power at once")).to_have_count(0)
    body = {"start": "2026-01-21T09:00:00Z", "end": "2026-01-21T10:00:00Z", "power_kw": 3}
    refused = await site.platform.post("/requests", body, status=409)
    assert "the budget is 2.5 kW" in refused["error"]
    assert site.platform.aggregator is not None
    portfolio = site.platform.aggregator._portfolio
    async with site.db.read() as conn:
        portfolio.rules = portfolio.rules.__class__(FILE, portfolio.calendar)
        await portfolio.follow_limits(conn)  # as at a start
    assert portfolio.rules.limits.max_concurrent_kw == Decimal("2.5")
