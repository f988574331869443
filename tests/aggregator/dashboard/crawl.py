"""Every screen that a user can reach: by its address, or by following links, one of each kind."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import urljoin, urlsplit

from playwright.async_api import Page

from aggregator.dashboard.pages import PAGES

_KINDS = {
    page.path: re.compile(re.sub(r"\\\{[^}]*\\\}", r"[^/]+", re.escape(page.path)) + r"\Z")
    for page in PAGES
    if page.method == "GET"
}
_LEFT_OUT = ("/static/", "/link/", "/live")


def kind_of(path: str) -> str | None:
    """The route that serves a path; exact ones before those with names in them."""
    if path in _KINDS:
        return path
    return next((kind for kind, pattern in _KINDS.items() if "{" in kind and pattern.match(path)), None)


async def screens(page: Page) -> AsyncIterator[str]:
    """Open one screen after the other in this tab; gives each one's path once it stands there."""
    waiting = [kind for kind in _KINDS if "{" not in kind and not kind.startswith(_LEFT_OUT)]
    seen = set()
    while waiting:
        path = waiting.pop(0)
        kind = kind_of(urlsplit(path).path)
        if kind is None or kind in seen or path.startswith(_LEFT_OUT):
            continue
        seen.add(kind)
        if not await _is_screen(page, path):
            continue
        await page.goto(path)
        yield path
        links = await page.eval_on_selector_all(
            "a[href]:not([download]):not([target])", "all => all.map(one => one.getAttribute('href'))"
        )
        waiting += [_local(page.url, link) for link in links if link.startswith(("/", "?"))]


def _local(here: str, link: str) -> str:
    parts = urlsplit(urljoin(here, link))
    return parts.path + (f"?{parts.query}" if parts.query else "")


async def _is_screen(page: Page, path: str) -> bool:
    """Whether it answers with a whole document: parts of pages, files and what is forbidden do not."""
    answer = await page.context.request.get(path, max_redirects=0)
    if answer.status != 200 or "text/html" not in answer.headers.get("content-type", ""):
        return False
    return "<html" in await answer.text()
