"""One node's pages, in a browser."""

from __future__ import annotations

from datetime import timedelta

from playwright.async_api import Page, expect

from aggregator.access.permission import Role
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, both_themes, settled
from vtn import finding, registration


async def _ven_id(site: Site, name: str) -> str:
    async with site.db.read() as conn:
        return next(ven.ven_id for ven in await registration.vens(conn) if ven.ven_name == name)


async def test_a_node_shows_how_it_is_doing_and_what_was_agreed(
    site: Site, operator: Page, screens: Screens
) -> None:
    await site.platform.ask(5)
    await site.platform.boxes["node-1"].poll()  # its last word is of now again
    await operator.goto("/nodes")
    await operator.get_by_role("link", name="node-1").click()
    await settled(operator)
    facts = operator.locator("#node-facts")
    await expect(facts).to_contain_text("In contact")
    await expect(facts.locator("dl")).to_contain_text("10 s")
    await expect(facts.locator("dl > div", has_text="Offers now")).to_contain_text("2.00")
    agreement = operator.locator(".card", has=operator.get_by_role("heading", name="Agreement"))
    await expect(agreement).to_contain_text("50.0")
    await expect(agreement).to_contain_text("1 h")
    homes = operator.get_by_role("region", name="Homes behind it").get_by_role("row")
    await expect(homes).to_have_count(4)
    await expect(homes.nth(1)).to_contain_text("home-01")
    await expect(homes.nth(1)).to_contain_text("kWh")
    await screens(operator, "node", whole=True)


async def test_its_events_stand_with_its_answers(site: Site, operator: Page, screens: Screens) -> None:
    here = f"/nodes/{await _ven_id(site, 'node-1')}"
    await operator.goto(f"{here}/events")
    row = operator.locator("#node-events tbody tr")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text("takes part")
    await expect(row).to_contain_text("coming")
    await screens(operator, "node-events")
    await operator.goto(f"/nodes/{await _ven_id(site, 'node-3')}/events")
    await expect(operator.get_by_text("It was not called yet.")).to_be_visible()


async def test_what_it_reports_stands_beside_what_it_was_asked_for(
    site: Site, operator: Page, screens: Screens
) -> None:
    await operator.goto(f"/nodes/{await _ven_id(site, 'node-2')}/reports")
    asked = operator.get_by_role("region", name="What it was asked for")
    await expect(asked.get_by_role("row", name="TELEMETRY_USAGE")).to_contain_text("reports come")
    await expect(asked.get_by_role("row", name="TELEMETRY_USAGE")).to_contain_text("15 min")
    await expect(operator.get_by_role("region", name="What it can report").get_by_role("row")).to_have_count(
        11
    )
    await screens(operator, "node-reports", whole=True)
    box, now = site.platform.boxes["node-2"], site.platform.clock.now
    await box.report("telemetry", now - timedelta(minutes=15), now, now)
    await expect(asked.get_by_role("row", name="TELEMETRY_USAGE")).to_contain_text("reports come")


async def test_messages_are_kept_on_request_and_judged(site: Site, operator: Page, screens: Screens) -> None:
    ven_id, box = await _ven_id(site, "node-2"), site.platform.boxes["node-2"]
    await operator.goto(f"/nodes/{ven_id}/messages")
    await settled(operator)
    await expect(operator.get_by_text("No message is kept.")).to_be_visible()
    await operator.get_by_role("button", name="Keep its messages").click()
    await expect(operator.get_by_role("dialog")).to_contain_text("readings of its homes")
    await operator.get_by_role("button", name="Keep them").click()
    await expect(operator.get_by_text("Kept since")).to_be_visible()
    await box.poll()
    found = finding.Found(
        ven_id, "GEN-10", "oadrPoll", "an odd schemaVersion", site.platform.clock(), site.platform.clock(), 3
    )
    async with site.db.write() as conn:
        await finding.keep(conn, [found])
    await operator.reload()
    messages = operator.get_by_role("region", name="Messages", exact=True)
    await expect(messages.get_by_role("row")).to_have_count(2)
    await expect(operator.get_by_role("region", name="Rules that were broken")).to_contain_text("GEN-10")
    await screens(operator, "node-messages")
    await messages.get_by_role("button", name="Show").click()
    await expect(operator.get_by_role("dialog")).to_contain_text("<oadr:oadrPoll")
    await screens(operator, "node-message")


async def test_no_barrier_is_found_on_a_nodes_pages(site: Site, operator: Page) -> None:
    here = f"/nodes/{await _ven_id(site, 'node-2')}"
    for path in ("/events", "/reports", "/messages"):
        await operator.goto(here + path)
        await settled(operator)
        assert await site.violations(operator) == []
    await operator.goto(here)
    await settled(operator)

    async def look(theme: str) -> None:
        assert await site.violations(operator) == []

    await both_themes(operator, look)


async def test_a_node_fits_on_a_telephone_and_a_viewer_changes_nothing(site: Site, screens: Screens) -> None:
    tab = await site.sign_in(Role.VIEWER, phone=True)
    ven_id = await _ven_id(site, "node-1")
    await tab.goto(f"/nodes/{ven_id}")
    await settled(tab)
    assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await expect(tab.get_by_role("button", name="Suspend")).to_have_count(0)
    await screens(tab, "node-phone")
    answer = await tab.request.get(f"/nodes/{ven_id}/do/suspend")
    assert answer.status == 403


async def test_who_is_not_there_is_told_so(site: Site, operator: Page) -> None:
    for path in (
        "/nodes/nobody",
        "/nodes/%F0%9F%92%A5%E2%80%AE",
        "/nodes/nobody/messages/99999999999999999999",
    ):
        answer = await operator.request.get(path)
        assert answer.status == 404, path


async def test_the_api_says_what_the_pages_show(site: Site, operator: Page) -> None:
    listed = await (await operator.request.get("/api/v1/fleet?text=node-1&programme=in")).json()
    (row,) = listed["nodes"]
    assert (row["ven_name"], row["state"], row["certificate_urgency"]) == ("node-1", "ok", "none")
    assert (listed["found"], listed["pages"], sum(listed["states"].values())) == (1, 1, 3)
    one = await (await operator.request.get("/api/v1/fleet/node-1")).json()
    assert one["ven_id"] == row["ven_id"]
    assert one["offer_kw"] == 2.0
    assert one["agreement"]["capacity_kw"] == "50"
    assert [home["name"] for home in one["homes"]] == ["home-01", "home-02", "home-03"]
    assert one["certificates"][0]["taken"]
    events = await (await operator.request.get(f"/api/v1/fleet/{one['ven_id']}/events")).json()
    assert [event["opt"] for event in events["events"]] == ["optIn"]
    assert one["open_events"] == [events["events"][0]["event_id"]]
    refused = await operator.request.get("/api/v1/fleet?page=0&state=odd")
    assert {error["field"] for error in (await refused.json())["errors"]} == {"page", "state"}
    assert (await operator.request.get("/api/v1/fleet/nobody")).status == 404
