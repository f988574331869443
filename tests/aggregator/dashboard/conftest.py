"""A browser for all tests, a site for each module, and a guard: no page may do what its policy forbids."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from aggregator.web_settings import WebSettings
from tests.aggregator.conftest import Prepared, node_settings, running, write_settings
from tests.aggregator.dashboard.site import Site, keep_screen

CHROMIUM = next(  # the one without a window does the same with half the work
    (path for path in ("/usr/bin/chromium-headless-shell", "/usr/bin/chromium") if Path(path).exists()),
    "chromium",
)
HERE = Path(__file__).parent
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
]
Screens = Callable[..., Awaitable[None]]
expect.set_options(timeout=30_000)  # ms: how long a slow machine may take, not how quick the page is


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all of them: the browser and the sites live longer than a test."""
    for item in items:
        if HERE in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        await started.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def module_site(
    prepared: Prepared, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """Three nodes with history, at noon; what a test changes the next one of its module sees."""
    folder = tmp_path_factory.mktemp("site")
    boxes = prepared.copy(folder)
    settings = write_settings(folder, [node_settings(n) for n in (1, 2, 3)]).model_copy(
        update={"web": WebSettings(port=0, insecure_dev=True)}
    )
    async with running(settings, boxes) as platform:
        aggregator = platform.aggregator
        assert aggregator is not None and aggregator.web is not None and aggregator._db is not None
        yield Site(platform, aggregator._db, aggregator.web.address, browser)


@pytest_asyncio.fixture(loop_scope="session")
async def site(module_site: Site) -> AsyncIterator[Site]:
    """The module's site. A page that asked another host, broke its policy or failed, fails the test."""
    yield module_site
    problems = await module_site.close_tabs()
    assert not problems, problems


@pytest_asyncio.fixture(loop_scope="session")
async def operator(site: Site) -> Page:
    """A tab of an operator."""
    return await site.sign_in()


@pytest.fixture
def screens(request: pytest.FixtureRequest) -> Screens:
    """Keeps pictures of a page in both themes where the tests run with --screens; else does nothing."""

    async def nothing(page: Page, name: str, *, whole: bool = False) -> None:
        return

    return keep_screen if request.config.getoption("--screens") else nothing
