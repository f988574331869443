"""An event that is changed after it was sent, in a browser."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Page, Response, expect

from aggregator import sent_event
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, settled
from tests.aggregator.dashboard.test_events import afternoon, tile


async def sent(site: Site, day: str, nodes: dict[str, int]) -> str:
    await afternoon(site)
    body = {"start": f"{day}T09:00:00Z", "end": f"{day}T10:00:00Z", "nodes": nodes}
    return str((await site.platform.post("/requests", body, status=201))["event_id"])


async def typed(page: Page, name: str, text: str) -> None:
    """Type into a field, and wait until the preview is of that."""

    def of_this(answer: Response) -> bool:
        asked = parse_qs(urlsplit(answer.url).query, keep_blank_values=True)
        return "/preview?" in answer.url and asked[name][0].splitlines() == text.splitlines()

    async with page.expect_response(of_this):
        await page.locator(f"#{name}").fill(text)


async def test_what_is_sent_is_what_the_preview_of_the_change_showed_and_once(
    site: Site, operator: Page, screens: Screens
) -> None:
    """Two clicks are one change; who is left out is named before."""
    event_id = await sent(site, "2026-01-21", {"node-1": 1, "node-2": 2})
    await operator.goto(f"/events/{event_id}")
    await operator.get_by_role("button", name="Change the event").click()
    await expect(operator.get_by_label("Nodes and kW")).to_have_value("node-1 = 1\nnode-2 = 2")
    await typed(operator, "end", "10:30")
    await typed(operator, "nodes", "node-2 = 3")
    await typed(operator, "reason", "less wind")
    await expect(operator.get_by_text("Taken out of the event for good: node-1")).to_be_visible()
    await settled(operator)
    assert await site.violations(operator) == []
    await screens(operator, "event-change", whole=True)
    await operator.get_by_role("main").get_by_role("button", name="Change the event").dblclick()
    await operator.wait_for_url(f"**/events/{event_id}")
    await expect(tile(operator, "Asked")).to_have_text("3.00\u00a0kW")
    await expect(operator.locator("#event-nodes tbody tr")).to_have_count(1)
    box = site.platform.boxes["node-2"]
    await box.poll_for_event()
    event = box.events[event_id]
    assert (event.modification_number, event.descriptor.modification_reason) == (1, "less wind")
    await expect(operator.get_by_text("09:00–10:30").first).to_be_visible()  # noqa: RUF001 - as it is shown


async def test_a_change_of_what_somebody_else_changed_meanwhile_is_refused_and_says_what(
    site: Site, operator: Page
) -> None:
    event_id = await sent(site, "2026-01-22", {"node-1": 1, "node-2": 2})
    await operator.goto(f"/events/{event_id}/change")
    await typed(operator, "nodes", "node-1 = 1.5\nnode-2 = 2")
    await typed(operator, "reason", "more sun")
    button = operator.get_by_role("main").get_by_role("button", name="Change the event")
    await expect(operator.get_by_text("1.00\u00a0kW →")).to_be_visible()
    other = await site.sign_in(name="bert")
    await other.goto(f"/events/{event_id}/change")
    await typed(other, "start", "08:30")
    what = other.get_by_role("region", name="What changes")
    await expect(what).to_contain_text("08:30–10:00")  # noqa: RUF001 - as it is shown
    await other.get_by_role("main").get_by_role("button", name="Change the event").click()
    await other.wait_for_url(f"**/events/{event_id}")
    async with operator.expect_response("**/change") as answered:
        await button.click()
    assert (await answered.value).status == 409
    await expect(operator.get_by_text("Nothing was sent, because this has changed")).to_be_visible()
    await expect(operator.get_by_text("09:00–10:00 UTC, 3.00\u00a0kW before")).to_be_visible()  # noqa: RUF001
    await expect(operator.get_by_label("Nodes and kW")).to_have_value("node-1 = 1.5\nnode-2 = 2")
    await expect(operator.get_by_label("Reason")).to_have_value("more sun")
    await button.click()
    await operator.wait_for_url(f"**/events/{event_id}")
    await expect(tile(operator, "Asked")).to_have_text("3.50\u00a0kW")


async def test_what_cannot_be_a_change_is_said_and_nothing_typed_is_lost(site: Site, operator: Page) -> None:
    event_id = await sent(site, "2026-01-23", {"node-3": 3})
    await operator.goto(f"/events/{event_id}/change")
    await typed(operator, "reason", "storm \u202eover")
    await expect(operator.get_by_text("characters that cannot be seen")).to_be_visible()
    await typed(operator, "reason", "")
    await typed(operator, "nodes", "node-3 = 60")
    await expect(operator.get_by_text("More than agreed")).to_be_visible()
    await expect(operator.get_by_text("No node can be asked for this")).to_be_visible()
    await site.platform.post(f"/requests/{event_id}/cancel")
    await typed(operator, "nodes", "node-3 = 4")
    await expect(operator.get_by_text("was taken back")).to_be_visible()
    await operator.goto(f"/events/{event_id}")
    await expect(operator.get_by_role("button", name="Change the event")).to_have_count(0)


async def test_who_changes_the_power_alone_leaves_the_times_as_they_are_to_the_second(
    site: Site, operator: Page
) -> None:
    await afternoon(site)
    body = {"start": "2026-01-24T09:00:25Z", "end": "2026-01-24T10:00:05Z", "nodes": {"node-1": 1}}
    event_id = str((await site.platform.post("/requests", body, status=201))["event_id"])
    await operator.goto(f"/events/{event_id}/change")
    await typed(operator, "nodes", "node-1 = 2")
    await operator.get_by_role("main").get_by_role("button", name="Change the event").click()
    await operator.wait_for_url(f"**/events/{event_id}")
    async with site.db.read() as conn:
        changed = await sent_event.find(conn, event_id)
    assert (changed.power_w, changed.period.start.second, changed.period.end.second) == (2000, 25, 5)
