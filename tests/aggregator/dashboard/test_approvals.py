"""Two people, the budget and its breaker, in browsers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from playwright.async_api import Page, expect
from sqlalchemy import update

from aggregator.access import second_factor
from aggregator.access import user as users
from aggregator.access.access import wall_clock
from aggregator.access.permission import Role
from aggregator.access.schema import session_table
from aggregator.clearance import Rules
from aggregator.limit_settings import LimitSettings
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, both_themes, settled
from tests.aggregator.dashboard.test_events import afternoon

FORM = "/events/new?day=2026-01-20&start=17:00&end=18:00&power_kw=7"


@pytest.fixture
def limits(site: Site) -> Iterator[Any]:
    """Sets the limits of the running platform, as its settings would."""
    aggregator = site.platform.aggregator
    assert aggregator is not None
    portfolio = aggregator._portfolio
    before = portfolio.rules

    def to(**values: Any) -> None:
        portfolio.rules = Rules(LimitSettings.model_validate(values), portfolio.calendar)

    yield to
    portfolio.rules = before


async def test_a_large_event_is_proposed_by_one_and_sent_by_another(
    site: Site, limits: Any, screens: Screens
) -> None:
    await afternoon(site)
    limits(approval_above_kw=5, max_concurrent_kw=100)
    anna, bert = await site.sign_in(name="anna"), await site.sign_in(name="bert")
    await bert.goto("/events/approvals")
    await settled(bert)
    await expect(bert.get_by_text("Nothing waits for a second person")).to_be_visible()
    await anna.goto(FORM)
    await settled(anna)
    await screens(anna, "event-for-two")
    await anna.get_by_role("button", name="Propose it to a second person").click()
    await anna.wait_for_url("**/events/approvals/p*")
    await expect(anna.get_by_text("You have proposed this")).to_be_visible()
    await expect(anna.get_by_role("button", name="Approve and send")).to_have_count(0)
    await expect(bert.get_by_role("cell", name="anna")).to_be_visible()
    await screens(bert, "approvals")
    await bert.get_by_role("link", name="Look").click()
    await settled(bert)
    assert await site.violations(bert) == []
    for shown in ("Cost", "Load with and without the event", "Not asked, and why", "in contact"):
        await expect(bert.get_by_text(shown, exact=True).first).to_be_visible()
    await screens(bert, "approval")
    await bert.get_by_role("button", name="Approve and send to 3 nodes").click()
    await bert.wait_for_url("**/events/event-*")
    await anna.reload()
    await expect(anna.get_by_text("sent", exact=True)).to_be_visible()
    await _taken_back_with_a_code(site, bert, screens)


async def test_the_second_person_sees_on_every_page_that_an_event_waits(site: Site, limits: Any) -> None:
    await afternoon(site)
    limits(approval_above_kw=5, max_concurrent_kw=100)
    anna, bert = await site.sign_in(name="anna"), await site.sign_in(name="bert")
    await bert.goto("/nodes")
    await settled(bert)
    events = bert.get_by_role("link", name="Events")
    await expect(events).to_have_text("Events")
    await anna.goto(FORM)
    await settled(anna)
    await anna.get_by_role("button", name="Propose it to a second person").click()
    await anna.wait_for_url("**/events/approvals/p*")
    await expect(events).to_have_text("Events1 waiting")
    await settled(anna)
    await expect(anna.locator("#nav").get_by_role("link", name="Events")).to_have_text("Events")
    await bert.goto("/events")
    await expect(bert.get_by_role("button", name="Approvals")).to_have_text("Approvals1 waiting")
    assert await site.violations(bert) == []
    await anna.get_by_role("button", name="Take it back").click()
    await expect(bert.get_by_role("button", name="Approvals")).to_have_text("Approvals")


async def _taken_back_with_a_code(site: Site, bert: Page, screens: Screens) -> None:
    """What two people have sent: the dialog names them, and wants to know who takes it back."""
    long_ago = wall_clock() - timedelta(minutes=6)
    async with site.db.write() as conn:
        user = await users.named(conn, "bert")
        assert user is not None
        code, *_ = await second_factor.renew_recovery(conn, user.user_id)
        mine = update(session_table).where(session_table.c.user_id == user.user_id)
        await conn.execute(mine.values(factor_at=long_ago))
    await bert.get_by_role("button", name="Cancel the event").click()
    dialog = bert.get_by_role("dialog")
    await expect(dialog).to_contain_text("anna proposed it, bert approved it")
    await screens(bert, "event-cancel-two")
    take_back = dialog.get_by_role("button", name="Take the event back")
    await dialog.get_by_label("Reason").fill("a mistake")
    await take_back.click()
    await expect(dialog).to_contain_text("taking it back needs a code")
    await expect(dialog.get_by_label("Reason")).to_have_value("a mistake")
    await dialog.get_by_label("Code").fill(code)
    await take_back.click()
    await expect(bert.get_by_text("This event was taken back")).to_be_visible()


async def test_who_asks_for_more_than_the_budget_opens_the_breaker_and_an_admin_closes_it(
    site: Site, limits: Any, screens: Screens
) -> None:
    await afternoon(site)
    limits(max_concurrent_kw=2, max_events_per_day=20)
    operator = await site.sign_in(name="anna")
    await operator.goto(FORM.replace("01-20", "01-21").replace("17:00", "09:00").replace("18:00", "10:00"))
    await expect(operator.get_by_text("Over the budget")).to_be_visible()
    await expect(operator.get_by_role("button", name="Send")).to_have_count(0)
    body = {"start": "2026-01-21T09:00:00Z", "end": "2026-01-21T10:00:00Z", "power_kw": 7}
    await site.platform.post("/requests", body, status=409)
    await operator.goto("/events/limits")
    await expect(operator.get_by_text("An admin closes it.")).to_be_visible()
    admin = await site.sign_in(Role.ADMIN, name="root")
    await admin.goto("/events/limits")
    await settled(admin)

    async def look(theme: str) -> None:
        assert await site.violations(admin) == []

    await both_themes(admin, look)
    await screens(admin, "limits")
    await admin.get_by_role("button", name="Close the breaker").click()
    await expect(admin.get_by_text("The breaker is closed")).to_be_visible()
    limits()
    await site.platform.post("/requests", body, status=201)
