"""From the one-time link of the first day to an invited user, in a browser."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

import pyotp
import pytest
from playwright.async_api import Page, expect

from aggregator.access.access import wall_clock
from aggregator.access.first_link import FILE
from aggregator.access.permission import Role
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, both_themes, settled

PASSWORD = "seven green herons wade"


async def no_barrier(site: Site, page: Page) -> None:
    """axe-core finds nothing in either theme."""

    async def look(theme: str) -> None:
        assert await site.violations(page) == []

    await both_themes(page, look)


async def test_from_the_first_link_to_an_invited_user(site: Site, screens: Screens) -> None:
    """No cookie is set by the test: a browser takes ours over plain HTTP on loopback."""
    file = site.platform.settings.state / FILE
    text = await asyncio.to_thread(file.read_text)
    tab = await (await site.context()).new_page()
    await tab.goto(text.strip())
    await no_barrier(site, tab)
    await screens(tab, "first-link")
    await tab.get_by_label("Name").fill("Ada")
    await tab.get_by_label("Password", exact=True).fill("too short")
    await tab.get_by_role("button", name="Set the password").click()
    await expect(tab.get_by_label("Name")).to_have_value("Ada")
    await tab.get_by_label("Password", exact=True).fill(PASSWORD)
    await tab.get_by_label("The same once more").fill(PASSWORD)
    await tab.get_by_role("button", name="Set the password").click()

    await expect(tab).to_have_url(re.compile("/account/factor$"))
    await tab.get_by_role("button", name="Set it up").click()
    await no_barrier(site, tab)
    await screens(tab, "second-factor")
    picture = tab.get_by_alt_text("QR code")
    assert await picture.evaluate("image => image.naturalWidth") > 100
    secret = await tab.locator("#secret").inner_text()
    await tab.get_by_label("Code").fill(pyotp.TOTP(secret).at(wall_clock()))
    await tab.get_by_role("button", name="Switch it on").click()
    await expect(tab.locator("#recovery-codes li")).to_have_count(10)
    await no_barrier(site, tab)

    await tab.goto("/users")
    await tab.get_by_label("Name", exact=True).fill("Ben")
    await tab.locator("#role").select_option("operator")
    await tab.get_by_role("button", name="Make a link").click()
    link = await tab.locator("#new-link").inner_text()
    await no_barrier(site, tab)
    await screens(tab, "users", whole=True)
    await tab.get_by_role("link", name="Ben").click()
    await no_barrier(site, tab)
    await screens(tab, "user", whole=True)
    for name, path in (("account", "/account"), ("account-sessions", "/account/sessions")):
        await tab.goto(path)
        await settled(tab)
        await screens(tab, name, whole=True)
    await tab.get_by_role("button", name="Sign out").click()
    await expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    await no_barrier(site, tab)
    await screens(tab, "sign-in")

    guest = await (await site.context()).new_page()
    await guest.goto(urlsplit(link).path)
    await expect(guest.get_by_text("Ben")).to_be_visible()


async def test_a_page_that_was_asked_for_is_shown_after_signing_in(site: Site) -> None:
    aggregator = site.platform.aggregator
    assert aggregator is not None and aggregator.web is not None
    hashed = await aggregator.web.desk.access.passwords.hash(PASSWORD)
    await site.user(Role.VIEWER, "Cleo", password=hashed)
    tab = await (await site.context()).new_page()
    await tab.goto("/account/tokens")
    await tab.get_by_label("Name").fill("Cleo")
    await tab.get_by_label("Password").fill(PASSWORD)
    await tab.get_by_role("button", name="Sign in").click()
    await expect(tab).to_have_url(re.compile("/account/tokens$"))


@pytest.mark.parametrize(("role", "first"), [(Role.AUDITOR, "/auditor"), (Role.PROSUMER, "/home")])
async def test_who_types_the_bare_address_comes_to_the_first_page_that_is_his(
    site: Site, role: Role, first: str
) -> None:
    page = await site.sign_in(role, scope=["ven-1"] if role is Role.PROSUMER else None)
    await page.goto("/")
    await page.wait_for_url(f"**{first}")
    await expect(page.get_by_text("Not permitted")).to_have_count(0)


@pytest.mark.long
async def test_account_pages_have_no_barrier_and_fit_a_telephone(site: Site, screens: Screens) -> None:
    tab = await site.sign_in(Role.ADMIN, "Dora", phone=True)
    for path in ("/account", "/account/sessions", "/account/tokens", "/account/factor", "/users"):
        await tab.goto(path)
        await no_barrier(site, tab)
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    await tab.goto("/account/tokens")
    await tab.get_by_label("What it is for").fill("meter import")
    await tab.get_by_label("fleet:read").check()
    await tab.get_by_role("button", name="Make the token").click()
    await expect(tab.locator("#new-token")).to_contain_text("fxp_")
    await screens(tab, "tokens-phone", whole=True)
