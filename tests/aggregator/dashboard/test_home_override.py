"""A prosumer does not want this time: he says so in his browser, and his box leaves his home alone."""

from __future__ import annotations

from datetime import timedelta

import aiohttp
from playwright.async_api import Page, expect

from aggregator.access import session
from aggregator.access.access import wall_clock
from aggregator.access.cookie import SESSION
from aggregator.access.permission import Role
from aggregator.access.secret import csrf_of
from openadr import Target
from tests.aggregator.box import QUARTER, SHARES
from tests.aggregator.conftest import END, START
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, both_themes, settled

HOME, NAME = "home-01", "the first home"
BEGIN = START + timedelta(hours=17)


async def prosumer(site: Site) -> Page:
    """A tab on his telephone."""
    scope = frozenset({site.platform.boxes["node-1"].ven_id})
    return await site.sign_in(Role.PROSUMER, NAME, phone=True, scope=scope, home=HOME)


async def test_not_this_time(site: Site, screens: Screens) -> None:
    asked = await site.platform.ask(5)
    tab, box = await prosumer(site), site.platform.boxes["node-1"]

    async def no_barrier(theme: str) -> None:
        assert await site.violations(tab) == []

    await tab.goto("/home")
    await settled(tab)
    await tab.get_by_role("button", name="Not this time").click()
    await settled(tab)
    await expect(tab.get_by_text("gets no share of the money for it")).to_be_visible()
    await expect(tab.get_by_text("You can take this back until the event starts")).to_be_visible()
    await both_themes(tab, no_barrier)
    await screens(tab, "home-override-phone", whole=True)
    await tab.get_by_role("button", name="Not this time").click()
    await expect(tab.get_by_text("You said: not this time")).to_be_visible()
    assert (await box.poll_for_event()).events[0].target == Target(resource_id=("home-02", "home-03"))

    await tab.get_by_role("button", name="Take part after all").click()
    await expect(tab.get_by_role("button", name="Take part after all")).to_have_count(0)
    assert (await box.poll_for_event()).events[0].target == Target(ven_id=(box.ven_id,))
    await tab.get_by_role("button", name="Not this time").click()
    await tab.get_by_role("button", name="Not this time").click()
    await settled(tab)
    await both_themes(tab, no_barrier)
    await screens(tab, "home-out-phone", whole=True)
    await box.poll_for_event()

    operator = await site.sign_in()
    await operator.goto(f"/events/{asked['event_id']}")
    await settled(operator)
    await expect(operator.locator("#event-nodes")).to_contain_text("1 home stays out: home-01")

    await site.platform.jump(END)
    at = BEGIN
    while at < END:
        assert box.value(HOME, at) == round(box.load_kw(at) * SHARES[HOME] * 250), (
            "it uses what it always does"
        )
        assert box.value("home-02", at) < round(box.load_kw(at) * SHARES["home-02"] * 250)
        at += QUARTER
    await site.platform.settled(2)
    await tab.reload()
    await settled(tab)
    await expect(tab.get_by_text("No share: your home did not take part.")).to_be_visible()
    await tab.goto("/home/money")
    await settled(tab)
    await expect(tab.get_by_role("main")).to_contain_text("There is no money yet")


async def test_the_same_as_operations_and_what_cannot_be_is_named(site: Site) -> None:
    await prosumer(site)
    user = await site.user(Role.PROSUMER, NAME)
    async with site.db.write() as conn:
        token = await session.begin(conn, user.user_id, "a test", wall_clock())
    headers = {"Cookie": f"{SESSION}={token}", "Origin": site.address}
    csrf = {"X-CSRF-Token": csrf_of(token)}
    async with aiohttp.ClientSession(headers=headers) as http:
        (over, *_) = (await (await http.get(f"{site.address}/api/v1/home/events")).json())["events"]
        for event_id, ven_id, status in (
            (over["event_id"], over["ven_id"], 200),
            ("event-none", over["ven_id"], 404),
            (over["event_id"], site.platform.boxes["node-2"].ven_id, 404),
        ):
            place = f"{site.address}/api/v1/home/events/{event_id}/{ven_id}/override"
            async with http.post(place, headers=csrf) as answer:
                said = await answer.json()
                assert answer.status == status, said
                assert status == 200 or said["errors"][0]["field"] == "event_id"
        assert over["out_since"]
        place = f"{site.address}/api/v1/home/events/{over['event_id']}/{over['ven_id']}/override"
        async with http.delete(place, headers=csrf) as answer:
            said = await answer.json()
            assert (answer.status, said["errors"][0]["field"]) == (409, "event_id")
            assert answer.content_type == "application/problem+json"
