"""Signing in at an identity provider, in a browser: by invitation, again, in vain, and while it is gone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from aggregator.access import administration
from aggregator.access.access import wall_clock
from aggregator.access.permission import Role
from aggregator.web_settings import WebSettings
from tests.aggregator.access.identity_provider import IdentityProvider, oidc_settings, running_provider
from tests.aggregator.conftest import Prepared, node_settings, running, write_settings
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site
from tests.aggregator.dashboard.test_sign_in import PASSWORD, no_barrier

OVERVIEW = re.compile("/$")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def provider() -> AsyncIterator[IdentityProvider]:
    """A provider that asks people whether to go on."""
    async with running_provider(wall_clock) as provider:
        provider.asks = True
        yield provider


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def module_site(
    prepared: Prepared,
    browser: Browser,
    provider: IdentityProvider,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Site]:
    """One node, and the provider."""
    folder = tmp_path_factory.mktemp("site")
    boxes = prepared.copy(folder)
    web = WebSettings.model_validate(
        {"port": 0, "insecure_dev": True, "oidc": oidc_settings(provider, folder)}
    )
    settings = write_settings(folder, [node_settings(1)]).model_copy(update={"web": web})
    async with running(settings, boxes[:1]) as platform:
        aggregator = platform.aggregator
        assert aggregator is not None and aggregator.web is not None and aggregator._db is not None
        yield Site(platform, aggregator._db, aggregator.web.address, browser)


async def go_on(tab: Page, site: Site, provider: IdentityProvider, button: str) -> None:
    """Press our button and the provider's."""
    await tab.get_by_role("button", name=button).click()
    await tab.get_by_role("link", name="Go on as Cleo").click()
    forgive(site, provider)


def forgive(site: Site, provider: IdentityProvider) -> None:
    """That its host is asked is what this is about."""
    host = f"http://127.0.0.1:{provider.port}/"
    site.problems[:] = [problem for problem in site.problems if host not in problem]


async def test_from_an_invitation_to_signing_in_at_the_provider(
    site: Site, provider: IdentityProvider, screens: Screens
) -> None:
    async with site.db.write() as conn:
        _, token = await administration.invite(conn, "Cleo", Role.VIEWER, wall_clock())
    tab = await (await site.context()).new_page()
    await tab.goto(f"/link/{token}")
    await no_barrier(site, tab)
    await go_on(tab, site, provider, "Sign in from now on with Grid login")
    await expect(tab).to_have_url(OVERVIEW)
    await expect(tab.get_by_role("link", name="Cleo")).to_be_visible()
    await tab.get_by_role("button", name="Sign out").click()

    await tab.goto("/account/tokens")  # what was asked for is shown after signing in
    await expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    await no_barrier(site, tab)
    await screens(tab, "sign-in-provider")
    await go_on(tab, site, provider, "Sign in with Grid login")
    await expect(tab).to_have_url(re.compile("/account/tokens$"))
    await tab.go_back()  # and no answer of the provider is in the browser's history
    assert tab.url.startswith(f"{provider.issuer}/authorize")
    forgive(site, provider)


@pytest.mark.long
async def test_who_is_not_known_here_and_whose_provider_is_gone_reads_what_to_do(
    site: Site, provider: IdentityProvider
) -> None:
    aggregator = site.platform.aggregator
    assert aggregator is not None and aggregator.web is not None
    hashed = await aggregator.web.desk.access.passwords.hash(PASSWORD)
    await site.user(Role.VIEWER, "Dora", password=hashed)
    provider.subject = "sub-of-nobody"
    tab = await (await site.context(phone=True)).new_page()
    await tab.goto("/login")
    await go_on(tab, site, provider, "Sign in with Grid login")
    await expect(tab.locator("#subject")).to_have_text("sub-of-nobody")
    await no_barrier(site, tab)
    assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    provider.down = True
    await aggregator_forgets(site)
    await tab.get_by_role("button", name="Sign in with Grid login").click()
    await expect(tab.get_by_role("alert")).to_contain_text("cannot be reached now: use your password")
    await tab.get_by_label("Name").fill("Dora")
    await tab.get_by_label("Password").fill(PASSWORD)
    await tab.get_by_role("button", name="Sign in", exact=True).click()
    await expect(tab).to_have_url(OVERVIEW)


async def aggregator_forgets(site: Site) -> None:
    """What the provider said of itself is asked for anew, as after a minute."""
    aggregator = site.platform.aggregator
    assert aggregator is not None and aggregator.web is not None
    provider = aggregator.web.desk.access.provider
    assert provider is not None
    provider._metadata = None
