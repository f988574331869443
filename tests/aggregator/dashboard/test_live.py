"""The live connection: pages say how old they are, come back by themselves, and end with the session."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, expect

from aggregator.access import cookie, session
from aggregator.access.access import wall_clock
from aggregator.access.permission import Role
from aggregator.dashboard.live import TABS_OF_ONE
from aggregator.topic import Changed, Topic
from tests.aggregator.dashboard.site import Site, settled
from vtn.store import after_commit


async def connected(site: Site, http: aiohttp.ClientSession, role: Role, **columns: Any) -> tuple[Any, str]:
    """A live connection of a user of this role, and his id."""
    user = await site.user(role, **columns)
    return await connected_as(site, http, user.user_id), user.user_id


async def connected_as(site: Site, http: aiohttp.ClientSession, user_id: str) -> Any:
    """Another live connection of this user."""
    now = wall_clock()
    async with site.db.write() as conn:
        token = await session.begin(conn, user_id, "a test", now, factor_at=now)
    headers = {"Cookie": f"{cookie.SESSION}={token}", "Origin": site.address}
    return await http.ws_connect(f"{site.address}/live", headers=headers)


async def told(socket: aiohttp.ClientWebSocketResponse, topic: Topic) -> list[str]:
    """The topics up to the one that is waited for."""
    heard: list[str] = []
    async with asyncio.timeout(20):
        while topic not in heard:
            heard += (await socket.receive_json())["topics"]
    return heard


async def test_what_stands_in_no_journal_is_told_too(site: Site) -> None:
    async with aiohttp.ClientSession() as http:
        socket, _ = await connected(site, http, Role.VIEWER)
        async with socket:
            assert (await socket.receive_json())["topics"] == []
            async with site.db.write() as conn:
                after_commit(conn, Changed(Topic.ALARMS))
            await told(socket, Topic.ALARMS)


async def drawn(http: aiohttp.ClientSession, site: Site, headers: dict[str, str]) -> str:
    """When a page was drawn, as it says to the live connection."""
    async with http.get(f"{site.address}/events", headers=headers) as answer:
        found = re.search(r'data-drawn="([0-9.]+)"', await answer.text())
    assert found
    return found[1]


async def test_what_changes_while_a_page_is_on_its_way_is_told_when_it_connects(site: Site) -> None:
    user, now = await site.user(Role.VIEWER), wall_clock()
    async with site.db.write() as conn:
        token = await session.begin(conn, user.user_id, "a test", now, factor_at=now)
    headers = {"Cookie": f"{cookie.SESSION}={token}", "Origin": site.address}
    async with aiohttp.ClientSession() as http:
        before = await drawn(http, site, headers)
        async with site.db.write() as conn:
            after_commit(conn, Changed(Topic.ALARMS))
        pages = {before: True, await drawn(http, site, headers): False, "1": True, "soon": True, "nan": True}
        for page, is_late in pages.items():
            url = f"{site.address}/live?drawn={page}"
            async with http.ws_connect(url, headers=headers) as socket:
                assert ("alarms" in (await socket.receive_json())["topics"]) is is_late, page


@pytest.mark.goal(25)
async def test_a_prosumer_hears_of_his_own_home_alone(site: Site) -> None:
    async with aiohttp.ClientSession() as http:
        socket, _ = await connected(site, http, Role.PROSUMER, scope=frozenset({"ven-of-mine"}))
        async with socket:
            async with site.db.write() as conn:
                after_commit(conn, Changed(Topic.ALARMS, "ven-of-another"))
                after_commit(conn, Changed(Topic.ALARMS))
                after_commit(conn, Changed(Topic.EVENTS, "ven-of-mine"))
            assert Topic.ALARMS not in await told(socket, Topic.EVENTS)


async def test_a_session_that_ended_is_closed_at_the_next_beat(site: Site) -> None:
    async with aiohttp.ClientSession() as http:
        socket, user_id = await connected(site, http, Role.AUDITOR)
        async with site.db.write() as conn:
            await session.end(conn, user_id, wall_clock())
        async with asyncio.timeout(20):
            async for _ in socket:
                pass
        assert socket.close_code == 4401


async def test_one_account_cannot_take_the_places_of_all_others(site: Site) -> None:
    async with aiohttp.ClientSession() as http:
        first, user_id = await connected(site, http, Role.VIEWER)
        tabs = [first, *[await connected_as(site, http, user_id) for _ in range(TABS_OF_ONE)]]
        async with asyncio.timeout(20):
            kinds = [(await tab.receive()).type for tab in tabs]
            assert kinds == [aiohttp.WSMsgType.TEXT] * TABS_OF_ONE + [aiohttp.WSMsgType.CLOSE]
            assert tabs[-1].close_code == 4429
            another, _ = await connected(site, http, Role.OPERATOR)
            assert (await another.receive()).type is aiohttp.WSMsgType.TEXT


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://evil.example"}], ids=["nobody", "another site"])
async def test_nobody_else_is_connected(site: Site, headers: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{site.address}/live", headers=headers)
        assert refused.value.status in {401, 403}


async def test_a_page_says_that_it_is_old_five_seconds_after_the_last_message(
    site: Site, operator: Page
) -> None:
    """By the page's own clock, which stands still but where the test sets it on; it looks twice a second."""
    message = {"now": "2026-01-20T05:00:00Z", "topics": [], "process": "p"}
    await operator.route_web_socket("**/live*", lambda line: line.send(json.dumps(message)))
    await operator.clock.install(time=datetime(2026, 1, 20, 12, tzinfo=UTC))
    await operator.clock.pause_at(datetime(2026, 1, 20, 12, 1, tzinfo=UTC))
    await operator.goto("/events/calendar")
    await operator.wait_for_selector("#link-state.live")
    banner = operator.locator("#stale")
    await operator.clock.run_for(4_990)
    await expect(banner).to_be_hidden()
    await operator.clock.run_for(510)
    await expect(banner).to_contain_text("these are the data of 05:00:00")


async def test_a_page_says_how_old_it_is_and_is_right_after_the_server_came_back(
    site: Site, operator: Page
) -> None:
    await operator.goto("/")
    await settled(operator)
    port = int(site.address.rsplit(":", 1)[1])
    await site.platform.stop()
    await expect(operator.locator("#stale")).to_contain_text("these are the data of 00:00:00", timeout=15_000)
    assert site.platform.settings.web is not None
    again = site.platform.settings.web.model_copy(update={"port": port})
    site.platform.settings = site.platform.settings.model_copy(update={"web": again})
    await site.platform.clock.move(datetime(2026, 1, 20, 6, 30, tzinfo=UTC))
    await site.platform.start()
    await expect(operator.locator("#stale")).to_contain_text("The server was restarted", timeout=30_000)
    await expect(operator.locator("#now")).to_have_text("06:30:00")
    await expect(operator.locator("#overview-tiles")).to_contain_text("3 silent")
