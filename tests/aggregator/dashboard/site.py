"""A running platform with its dashboard, and browsers that look at it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyotp
from PIL import Image
from playwright.async_api import Browser, BrowserContext, Page, ViewportSize

from aggregator.access import cookie, session
from aggregator.access import user as users
from aggregator.access.access import wall_clock
from aggregator.access.permission import SECOND_FACTOR, Role
from aggregator.dashboard import assets
from tests.aggregator.conftest import START, Platform
from vtn.store import Database

SCREENS = Path(__file__).parents[3] / "docs" / "screens"
WIDTH, HEIGHT = 1280, 800
PHONE: ViewportSize = {"width": 390, "height": 844}
LARGEST_SCREEN = 150_000  # bytes
COLOURS = 256
USUAL = (  # what stands on the console though nothing is wrong
    "Failed to load resource",
    "WebSocket",
    "htmx:afterRequest, ",  # followed by what happened
    "htmx:sendAbort, ",  # one went to another page before a part had come
)
NOON = START + timedelta(hours=12)


@dataclass
class Site:
    """One platform; `db` is the running aggregator's own database, `address` where browsers find it."""

    platform: Platform
    db: Database
    address: str
    browser: Browser
    contexts: list[BrowserContext] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    async def user(self, role: Role, name: str = "", **columns: Any) -> users.User:
        """A user of this role, with a second factor where the role needs one."""
        name = name or str(role)
        async with self.db.write() as conn:
            found = await users.named(conn, name)
            if found is None:
                scope = columns.pop("scope", None)
                found = await users.add(conn, name, role, wall_clock(), scope=scope)
                if role in SECOND_FACTOR:
                    columns["totp_secret"] = pyotp.random_base32()
                if columns:
                    await users.change(conn, found.user_id, **columns)
        return found

    async def sign_in(
        self, role: Role = Role.OPERATOR, name: str = "", *, phone: bool = False, **columns: Any
    ) -> Page:
        """An empty tab of a browser of its own, in which a user of this role has signed in.

        `columns` are columns of the user, such as language="de" or time_zone="Europe/Berlin".
        """
        user = await self.user(role, name, **columns)
        now = wall_clock()
        async with self.db.write() as conn:
            token = await session.begin(conn, user.user_id, "a test", now, factor_at=now)
        context = await self.context(phone=phone)
        url = self.address.replace("http:", "https:")  # browsers set such cookies of 127.0.0.1 for both
        await context.add_cookies(
            [{"name": cookie.SESSION, "value": token, "url": url, "secure": True, "httpOnly": True}]
        )
        return await context.new_page()

    async def context(self, *, phone: bool = False) -> BrowserContext:
        """A browser that knows nobody; what it does wrong is in `problems`."""
        size: ViewportSize = PHONE if phone else {"width": WIDTH, "height": HEIGHT}
        context = await self.browser.new_context(
            base_url=self.address,
            viewport=size,
            locale="en-GB",
            color_scheme="light",
            reduced_motion="reduce",
        )
        context.set_default_timeout(30_000)
        host = urlsplit(self.address).netloc
        context.on("request", lambda request: self._seen(request.url, host))
        context.on("console", lambda message: self._said(message.type, message.text))
        context.on("weberror", lambda error: self.problems.append(f"script: {error.error}"))
        self.contexts.append(context)
        return context

    async def close_tabs(self) -> list[str]:
        """Close all browsers; what was wrong with what they showed."""
        for context in self.contexts:
            await context.close()
        self.contexts.clear()
        problems, self.problems = self.problems, []
        return problems

    async def violations(self, page: Page) -> list[str]:
        """What axe-core finds wrong with a page as it is now, each in a line: rule, and where."""
        before = list(self.problems)
        if not await page.evaluate("'axe' in window"):
            await page.evaluate(_axe())
        found = await page.evaluate(
            "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
        )
        # axe tries an inline style, which the policy refuses; messages come late, but in their order
        async with page.expect_console_message(lambda message: message.text == "axe is done"):
            await page.evaluate("console.debug('axe is done')")
        self.problems[:] = before
        return [
            f"{one['id']}: {node['target']} {node.get('failureSummary', '')[:300]}"
            for one in found
            for node in one["nodes"]
        ]

    def _seen(self, url: str, host: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"} and parts.netloc != host:
            self.problems.append(f"asked another host: {url}")

    def _said(self, kind: str, text: str) -> None:
        refused = "Content Security Policy" in text or "violates" in text
        if refused or (kind == "error" and not any(usual in text for usual in USUAL)):
            self.problems.append(f"console: {text}")


@cache
def _axe() -> str:
    return assets.axe(assets.default_cache()).read_text(encoding="utf-8")


async def in_theme(page: Page, theme: str) -> None:
    """Switch the page to `light` or `dark`, and wait until it is drawn so."""
    await page.evaluate("theme => window.flexpactTheme(theme)", theme)
    await page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


async def settled(page: Page) -> None:
    """Wait until the page is connected, and its charts and maps are drawn."""
    await page.wait_for_selector("#link-state.live")
    await page.wait_for_function(
        "() => [...document.querySelectorAll('[data-chart], [data-heatmap]')]"
        ".every(one => one.matches('.drawn, .empty-chart') && !one.matches('[data-unfinished]'))"
    )


async def both_themes(page: Page, look: Callable[[str], Any]) -> None:
    """Await `look(theme)` in both."""
    for theme in ("light", "dark"):
        await in_theme(page, theme)
        await look(theme)


async def keep_screen(page: Page, name: str, *, whole: bool = False) -> None:
    """Write docs/screens/NAME-light.png and -dark.png; `whole` as of a window that shows all of the page."""
    size = page.viewport_size
    assert size is not None
    if whole:
        height = await page.evaluate("() => document.documentElement.scrollHeight")
        await page.set_viewport_size({"width": size["width"], "height": max(height, size["height"])})

    async def look(theme: str) -> None:
        raw = await page.screenshot(animations="disabled", caret="initial")
        small = _packed(raw)
        assert len(small) <= LARGEST_SCREEN, f"{name}-{theme}.png has {len(small)} bytes"
        SCREENS.mkdir(parents=True, exist_ok=True)
        (SCREENS / f"{name}-{theme}.png").write_bytes(small)

    await both_themes(page, look)
    await page.set_viewport_size(size)


def _packed(png: bytes) -> bytes:
    """The picture with a palette: a fifth of the size, and looks the same."""
    packed = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    few = picture.quantize(COLOURS, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)
    few.save(packed, "PNG", optimize=True)
    return packed.getvalue()
