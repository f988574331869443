"""Twelve tabs of one browser at once: each is connected, and each is right."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, expect

from tests.aggregator.conftest import START
from tests.aggregator.dashboard.site import Site, settled

TABS = 12


@pytest.mark.long
async def test_twelve_tabs_hear_of_the_same_event(site: Site, operator: Page) -> None:
    tabs = [operator, *[await operator.context.new_page() for _ in range(TABS - 1)]]
    await asyncio.gather(*(tab.goto("/") for tab in tabs))
    for tab in tabs:
        await settled(tab)
    day = f"{START:%Y-%m-%d}"
    body = {"start": f"{day}T20:00:00Z", "end": f"{day}T21:00:00Z", "nodes": {"node-1": 1}}
    await site.platform.post("/requests", body, status=201)
    for tab in tabs:
        await expect(tab.locator("#overview-events tbody tr")).to_have_count(1)
        await expect(tab.locator("#stale")).to_be_hidden()
