"""What holds for every screen: its policy is kept, it fits a telephone, and anybody can use it.

A screen that breaks the policy, asks another host or writes an error to the console fails `site`.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.async_api import Page, expect

from aggregator.access.permission import Role
from tests.aggregator.conftest import END
from tests.aggregator.dashboard.crawl import kind_of, screens
from tests.aggregator.dashboard.site import Site, in_theme
from vtn import registration

FEWEST = {Role.ADMIN: 18, Role.AUDITOR: 5, Role.PROSUMER: 3}
HOSTILE = "<img src=x onerror=alert(1)>\"'>{{7*7}}"
PLANTED = "() => document.querySelectorAll('img[src=x], [onerror]').length"
TOO_WIDE = (
    "() => { const wide = document.documentElement.scrollWidth - innerWidth; if (wide <= 0) return '';"
    " const most = [...document.querySelectorAll('main *')].filter(one =>"
    " one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('.table, .tabs'))[0];"
    " return `${wide} px: ${most?.outerHTML.slice(0, 120)}`; }"
)


async def a_day_that_is_settled(site: Site) -> None:
    """An event with answers, readings and statements, and one that is to come."""
    platform = site.platform
    if platform.clock.now >= END:
        return
    async with site.db.write() as conn:
        await registration.enrol(conn, HOSTILE, "e" * 64, platform.clock.now)
    await platform.ask(5)
    await platform.jump(END)
    await platform.clock.move(END + timedelta(days=1, hours=3))
    await platform.settled(1)
    start = END + timedelta(days=1, hours=8)
    body = {
        "start": start.isoformat(),
        "end": (start + timedelta(hours=1)).isoformat(),
        "nodes": {"node-3": 1},
    }
    for box in platform.boxes.values():
        await platform.offer(box)
    await platform.post("/requests", body, status=201)


async def tab_of(site: Site, role: Role) -> Page:
    """A tab of a user of this role on a telephone."""
    await a_day_that_is_settled(site)
    columns = {}
    if role is Role.PROSUMER:
        async with site.db.read() as conn:
            ven_id = (await registration.vens(conn))[0].ven_id
        columns = {"scope": frozenset({ven_id}), "home": "home-1"}
    return await site.sign_in(role, phone=True, **columns)


@pytest.mark.goal(28)
@pytest.mark.parametrize(
    "role", [pytest.param(one, marks=pytest.mark.long) if one is Role.ADMIN else one for one in FEWEST]
)
async def test_every_screen_keeps_its_policy_fits_a_telephone_and_takes_names_as_text(
    site: Site, role: Role
) -> None:
    page = await tab_of(site, role)
    found, wide = set(), []
    async for path in screens(page):
        found.add(kind_of(path.partition("?")[0]))
        if problem := await page.evaluate(TOO_WIDE):
            wide.append(f"{path} {problem}")
        assert await page.evaluate(PLANTED) == 0, path
    assert not wide, "\n".join(wide)
    assert len(found) >= FEWEST[role], sorted(map(str, found))


@pytest.mark.goal(28)
async def test_a_name_with_markup_is_shown_as_it_was_given(site: Site) -> None:
    page = await tab_of(site, Role.ADMIN)
    await page.goto("/nodes")
    await page.get_by_role("link", name=HOSTILE, exact=True).click()
    await expect(page.locator("h1")).to_have_text(HOSTILE)


@pytest.mark.long
@pytest.mark.parametrize("role", list(FEWEST))
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_wrong_with_any_screen(site: Site, role: Role, theme: str) -> None:
    page = await tab_of(site, role)
    await page.set_viewport_size({"width": 1280, "height": 800})
    wrong = []
    async for path in screens(page):
        await in_theme(page, theme)
        wrong += [f"{path} {one}" for one in await site.violations(page)]
    assert not wrong, "\n".join(wrong)
