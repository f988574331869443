"""An event from its preview to its end, in a browser."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Locator, Page, Route, expect

from tests.aggregator.conftest import START
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, both_themes, settled

BERLIN = ZoneInfo("Europe/Berlin")


async def afternoon(site: Site) -> None:
    """14:07, with readings and offers up to 14:00."""
    if site.platform.clock.now < START + timedelta(hours=14):
        await site.platform.jump(START + timedelta(hours=14))
        await site.platform.clock.move(START + timedelta(hours=14, minutes=7))
        for box in site.platform.boxes.values():
            await box.poll()


def tile(page: Page, label: str) -> Locator:
    """The number under this label."""
    return page.locator(".tile", has=page.get_by_text(label, exact=True)).locator(".value")


@pytest.mark.goal(38)
async def test_from_the_overview_to_an_acknowledged_event_in_three_clicks(
    site: Site, operator: Page, screens: Screens
) -> None:
    await afternoon(site)
    await operator.goto("/")
    await operator.get_by_role("link", name="Events", exact=True).click()
    await settled(operator)
    await screens(operator, "events-none")
    await operator.get_by_role("main").get_by_role("button", name="New event").first.click()
    await settled(operator)
    await operator.get_by_label("Reduction").fill("7")
    await expect(operator.get_by_text("Expected reduction")).to_be_visible()
    await settled(operator)
    await screens(operator, "event-new", whole=True)
    previewed = await tile(operator, "Asked of nodes").inner_text()
    assert previewed.startswith("7.00")
    await operator.get_by_role("button", name="Send to 3 nodes").click()
    await operator.wait_for_url("**/events/event-*")
    await settled(operator)
    await screens(operator, "event-live", whole=True)
    rows = operator.locator("#event-nodes tbody tr")
    await expect(rows).to_have_count(3)
    await expect(tile(operator, "Asked")).to_have_text(previewed)
    in_kw = [float(text.split()[0]) for text in await rows.locator("td:nth-child(3)").all_inner_texts()]
    assert sum(in_kw) == pytest.approx(7)
    await expect(rows.first).to_contain_text("silent")
    await site.platform.boxes["node-1"].poll_for_event()
    await expect(rows.last).to_contain_text("node-1")
    await expect(rows.last).to_contain_text("in")
    for name in ("node-2", "node-3"):
        await site.platform.boxes[name].poll_for_event()
    silent = operator.locator("#event-tiles .tile", has_text="No answer")
    await expect(silent.locator(".value")).to_have_text("0")
    await expect(silent.locator(".note")).to_have_count(0)  # all have it: "0 have the event" would deny that


@pytest.mark.goal(38)
async def test_what_changed_since_the_preview_is_said_and_nothing_is_sent(
    site: Site, operator: Page, screens: Screens
) -> None:
    """Nodes are taken by another event between the look and the click."""
    await afternoon(site)
    await operator.goto("/events/new?day=2026-01-21&start=09:00&end=10:00&power_kw=5")
    await expect(operator.get_by_role("button", name="Send to")).to_be_visible()
    day = "2026-01-21"
    body = {"start": f"{day}T09:00:00Z", "end": f"{day}T10:00:00Z", "nodes": {"node-1": 1}}
    await site.platform.post("/requests", body, status=201)
    async with operator.expect_response("**/events") as answered:
        await operator.get_by_role("button", name="Send to").click()
    assert (await answered.value).status == 409
    alert = operator.get_by_text("Nothing was sent, because this has changed")
    await expect(alert).to_be_visible()
    await expect(operator.get_by_text("node-1: 2.00 kW before, 0.00 kW now.")).to_be_visible()
    await expect(operator.get_by_text("Called already", exact=True)).to_be_visible()
    await settled(operator)
    await screens(operator, "event-changed")
    counts = await site.platform.get("/status")
    await operator.get_by_role("button", name="Send to").click()
    await operator.wait_for_url("**/events/event-*")
    assert (await site.platform.get("/status"))["counts"]["events"] == counts["counts"]["events"] + 1


async def test_what_takes_its_time_shows_that_it_works(site: Site, operator: Page) -> None:
    """The preview while it is made, and the form until it is answered."""
    await afternoon(site)
    await operator.goto("/events/new?day=2026-01-27&start=09:00&end=10:00&nodes=node-1+%3D+2")
    await settled(operator)
    preview, go_on = operator.locator("#event-preview"), asyncio.Event()

    async def held(route: Route) -> None:
        await go_on.wait()
        await route.continue_()

    await operator.route("**/events/preview?*", held)
    await operator.get_by_label("Nodes and kW").fill("node-1 = 1")
    await expect(preview).to_have_attribute("aria-busy", "true")
    go_on.set()
    await expect(tile(operator, "Asked of nodes")).to_have_text("1.00\u00a0kW")
    await expect(preview).to_have_attribute("aria-busy", "false")
    go_on.clear()
    await operator.route("**/events", held)
    send = operator.get_by_role("button", name="Send to")
    await expect(send.locator(".spinner")).to_be_hidden()
    await operator.evaluate(
        """() => addEventListener("submit", (sent) => requestAnimationFrame(() => {
            const turning = getComputedStyle(sent.submitter.querySelector(".spinner")).display;
            console.debug(`sent ${sent.target.getAttribute("aria-busy")} ${turning}`);
        }))"""
    )
    async with operator.expect_console_message(lambda message: message.text.startswith("sent")) as said:
        await send.click(no_wait_after=True)
    assert (await said.value).text == "sent true block"
    go_on.set()
    await operator.wait_for_url("**/events/event-*")


async def test_taking_an_event_back_names_those_affected_first(
    site: Site, operator: Page, screens: Screens
) -> None:
    await afternoon(site)
    body = {"start": "2026-01-22T17:00:00Z", "end": "2026-01-22T18:00:00Z", "nodes": {"node-2": 1}}
    event_id = (await site.platform.post("/requests", body, status=201))["event_id"]
    await operator.goto(f"/events/{event_id}")
    await operator.get_by_role("button", name="Cancel the event").click()
    dialog = operator.get_by_role("dialog")
    await expect(dialog).to_contain_text("node-2")
    await dialog.get_by_label("Reason").fill("storm \u202eover")
    await dialog.get_by_role("button", name="Take the event back").click()
    await expect(dialog).to_contain_text("cannot be seen")
    await expect(dialog.get_by_label("Reason")).to_have_value("storm \u202eover")
    await dialog.get_by_label("Reason").fill("the storm is over")
    await screens(operator, "event-cancel")
    await dialog.get_by_role("button", name="Take the event back").click()
    await expect(operator.get_by_text("This event was taken back")).to_be_visible()
    await operator.goto("/events?phase=cancelled")
    await expect(operator.locator("#events tbody tr")).to_have_count(1)


async def test_no_barrier_is_found_on_the_pages_of_events(site: Site, operator: Page) -> None:
    await afternoon(site)
    for address in ("/events", "/events/new?day=2026-01-21&start=06:00&end=07:00&power_kw=5"):
        await operator.goto(address)
        await settled(operator)

        async def look(theme: str) -> None:
            assert await site.violations(operator) == []

        await both_themes(operator, look)


async def test_what_cannot_be_asked_is_said_beside_the_field_and_nothing_typed_is_lost(
    site: Site, operator: Page
) -> None:
    await afternoon(site)
    await operator.goto("/events/new?day=2026-01-20&start=13:00&end=18:00&power_kw=many")
    await expect(operator.locator("#power_kw-error")).to_contain_text("no number")
    await expect(operator.get_by_label("Reduction")).to_have_value("many")
    await operator.get_by_label("Reduction").fill("5")
    await expect(operator.get_by_text("This has passed.")).to_be_visible()
    await operator.get_by_label("From").fill("25:00")
    await expect(operator.get_by_text("This is no time")).to_be_visible()


async def test_a_telephone_shows_events_without_scrolling_sideways(site: Site, screens: Screens) -> None:
    await afternoon(site)
    tab = await site.sign_in(phone=True)
    for address in ("/events", "/events/new?day=2026-01-21&start=06:00&end=07:00&power_kw=5"):
        await tab.goto(address)
        await settled(tab)
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await screens(tab, "event-new-phone")


async def test_the_calendar_shows_each_event_on_its_local_day(site: Site, screens: Screens) -> None:
    """An event at 23:00 UTC is on the next day in Seoul."""
    await afternoon(site)
    body = {"start": "2026-01-24T23:00:00Z", "end": "2026-01-25T00:00:00Z", "nodes": {"node-3": 3}}
    await site.platform.post("/requests", body, status=201)
    tab = await site.sign_in(name="seoul", time_zone="Asia/Seoul")
    await tab.goto("/events/calendar?month=2026-01")
    await settled(tab)
    cell = tab.get_by_role("cell", name="25", exact=False).filter(has_text="08:00")
    await expect(cell).to_have_count(1)
    assert await site.violations(tab) == []
    await screens(tab, "event-calendar")


async def test_the_week_shows_each_event_with_its_answers_and_the_month_is_a_click_away(
    site: Site, operator: Page, screens: Screens
) -> None:
    """A Sunday is in the week of the Monday before."""
    await afternoon(site)
    body = {
        "start": "2026-01-25T09:00:00Z",
        "end": "2026-01-25T10:15:00Z",
        "nodes": {"node-1": 2, "node-2": 3},
    }
    event_id = (await site.platform.post("/requests", body, status=201))["event_id"]
    await operator.goto("/events/calendar?week=2026-01-25")
    await settled(operator)
    cell = operator.get_by_role("cell").filter(has=operator.locator(f'a[href="/events/{event_id}"]'))
    await expect(cell).to_contain_text("09:00\u201310:15")
    await expect(cell).to_contain_text("5.00\u00a0kW · 2 nodes")
    await expect(cell).to_contain_text("no answer: 2")
    await expect(operator.get_by_role("columnheader").last).to_contain_text("25")
    assert await site.violations(operator) == []
    await screens(operator, "event-week")
    await operator.get_by_role("button", name="Later").click()
    await expect(operator.get_by_role("columnheader").first).to_contain_text("26")
    await operator.get_by_role("link", name="Month").click()
    await expect(operator.get_by_role("heading", name="January 2026")).to_be_visible()
    await operator.goto("/events/calendar?week=nonsense")
    await expect(operator.get_by_text("today", exact=True)).to_be_visible()


MARKS = (
    ("2026-03-29", 23, 640, "0 3 6 9 12 15 18 21 0"),
    ("2026-03-29", 23, 1600, "0 1 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 0"),
    ("2026-10-25", 25, 640, "0 3 6 9 12 15 18 21 0"),
    ("2026-10-25", 25, 840, "0 2 4 6 8 10 12 14 16 18 20 22 0"),
    ("2026-10-25", 25, 1600, "0 1 2 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 0"),
    ("2026-03-28", 24 + 23 + 24, 320, "28 29 30 31"),
    ("2026-10-24", 24 + 25 + 24 * 4, 320, "24 26 28 30"),
)


async def test_a_charts_marks_are_whole_local_hours_on_days_of_23_and_25_hours(
    site: Site, operator: Page
) -> None:
    await operator.goto("/events/calendar")
    for first, hours, width, marks in MARKS:
        start = int(datetime.fromisoformat(f"{first}T00:00").replace(tzinfo=BERLIN).timestamp())
        found = await operator.evaluate(
            """async ([from, to, width]) => {
                const ours = [...document.scripts].find((one) => one.src.endsWith("/live.js")).src;
                const { clockOf, splits } = await import(ours.replace("live.js", "chart.js"));
                return splits(clockOf({ zone: "Europe/Berlin", language: "en" }), from, to, width);
            }""",
            [start, start + hours * 3600, width],
        )
        local = [datetime.fromtimestamp(at, BERLIN) for at in found]
        assert all(at.minute == 0 for at in local)
        assert " ".join(str(at.day if hours > 25 else at.hour) for at in local) == marks, (first, width)
