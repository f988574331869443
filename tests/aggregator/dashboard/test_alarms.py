"""The page of alarms, in a browser: they come and go by themselves, and somebody has them in hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from sqlalchemy import delete

from aggregator import alarm
from aggregator.access.permission import Role
from aggregator.alarm import AlarmKind, Condition, Severity
from aggregator.alarm_schema import alarm_table
from aggregator.dashboard.page import Desk
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import NOON, Site, both_themes, settled
from vtn.store import Database

SHORT = Condition(
    AlarmKind.SHORTFALL,
    "event-20260120T170000Z-1",
    Severity.CRITICAL,
    {"event": "event-20260120T170000Z-1", "missing_w": 4000, "asked_w": 12_000, "nodes": 1},
)
DOWN = Condition(
    AlarmKind.CHAIN_DOWN, "", Severity.WARNING, {"behind_since": (NOON - timedelta(minutes=20)).isoformat()}
)
ENDING = Condition(
    AlarmKind.CERTIFICATE_ENDING,
    "node-2",
    Severity.INFO,
    {"node": "<b>node-2</b>", "ends": (NOON + timedelta(days=20)).isoformat()},
)


async def _are(db: Database, *found: Condition, at: timedelta = timedelta(0)) -> None:
    """These hold, and no others."""
    async with db.write() as conn:
        await alarm.reconcile(conn, found, NOON + at)


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def nobody_looks(site: Site, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The tests say what is wrong; the aggregator's own look is tried elsewhere."""

    async def nothing(_db: Database) -> None:
        return

    monkeypatch.setattr(_desk(site).watch, "look", nothing)
    async with site.db.write() as conn:
        await conn.execute(delete(alarm_table))
    yield


def _desk(site: Site) -> Desk:
    assert site.platform.aggregator is not None and site.platform.aggregator.web is not None
    return site.platform.aggregator.web.desk


async def test_an_alarm_comes_is_acknowledged_and_goes_without_a_reload(
    site: Site, operator: Page, screens: Screens
) -> None:
    await site.platform.clock.move(NOON)
    await operator.goto("/alarms")
    await settled(operator)
    await expect(operator.get_by_text("Nothing is wrong.")).to_be_visible()
    await screens(operator, "alarms-none")
    await _are(site.db, SHORT, DOWN, ENDING, at=timedelta(minutes=-7))
    cards = operator.locator("section.alarm")
    await expect(cards).to_have_count(3)
    await expect(cards.nth(0)).to_contain_text("lacks 4.00")
    await expect(cards.nth(2)).to_contain_text("<b>node-2</b>")
    count = operator.locator("nav .count .badge.bad")
    await expect(count).to_contain_text("3")
    await cards.nth(0).get_by_role("button", name="Acknowledge").focus()
    await operator.keyboard.press("Enter")
    await expect(cards.nth(0)).to_contain_text("in hand")
    await expect(cards.nth(0)).to_contain_text("operator")
    await expect(operator.locator("nav .count .badge.warn")).to_contain_text("2")
    await screens(operator, "alarms")

    async def look(theme: str) -> None:
        assert await site.violations(operator) == []

    await both_themes(operator, look)
    await _are(site.db, DOWN, ENDING)
    await expect(cards).to_have_count(2)


async def test_the_history_says_how_long_it_lasted_and_who_had_it_in_hand(
    site: Site, operator: Page, screens: Screens
) -> None:
    await _are(site.db, SHORT, DOWN, at=timedelta(hours=-3))
    ada = await site.user(Role.OPERATOR)
    async with site.db.write() as conn:
        (first, _) = await alarm.open_alarms(conn)
        await alarm.acknowledge(conn, first.alarm_id, ada.user_id, NOON - timedelta(hours=2))
    await _are(site.db, at=timedelta(hours=-1))
    await operator.goto("/alarms/history")
    await settled(operator)
    rows = operator.locator("#content tbody tr")
    await expect(rows).to_have_count(2)
    await expect(operator.get_by_role("row", name="Event falls short")).to_contain_text("operator")
    await screens(operator, "alarms-history")
    assert await site.violations(operator) == []
    await operator.get_by_label("Kind").select_option("chain_down")
    await operator.get_by_role("button", name="Filter").click()
    await expect(rows).to_have_count(1)
    refused = await operator.goto("/alarms/history?page=-1")
    assert refused is not None and refused.status == 400


async def test_a_viewer_sees_alarms_and_has_no_button_and_a_telephone_shows_them(
    site: Site, screens: Screens
) -> None:
    await _are(site.db, SHORT, DOWN, at=timedelta(minutes=-7))
    tab = await site.sign_in(Role.VIEWER, phone=True)
    await tab.goto("/alarms")
    await settled(tab)
    await expect(tab.locator("section.alarm")).to_have_count(2)
    await expect(tab.get_by_role("button", name="Acknowledge", exact=True)).to_have_count(0)
    assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await screens(tab, "alarms-phone")


async def test_the_api_lists_and_acknowledges_the_same(site: Site, operator: Page) -> None:
    await _are(site.db, SHORT)
    await operator.goto("/alarms")
    listed = await operator.request.get("/api/v1/alarms")
    (one,) = (await listed.json())["alarms"]
    assert (one["kind"], one["severity"], "acknowledged_at" in one) == ("shortfall", "critical", False)
    token = await operator.locator("input[name=csrf]").first.input_value()
    headers = {"X-CSRF-Token": token, "Origin": site.address}
    path = f"/api/v1/alarms/{one['alarm_id']}/acknowledge"
    answered = await operator.request.post(path, headers=headers)
    assert (await answered.json())["acknowledged_by"].startswith("u")
    unknown = await operator.request.post("/api/v1/alarms/al_none/acknowledge", headers=headers)
    assert unknown.status == 404
    await _are(site.db)
    ended = await operator.request.get("/api/v1/alarms?state=ended&limit=1")
    assert [one["kind"] for one in (await ended.json())["alarms"]] == ["shortfall"]
