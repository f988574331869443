"""The pages of events as somebody in Seoul reads them: warnings before anything is sent, and no English."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser
from sqlalchemy import update

from aggregator.access import cookie, session
from aggregator.access.access import wall_clock
from aggregator.access.permission import Role
from aggregator.limit_settings import LimitSettings
from aggregator.web_settings import WebSettings
from tests.aggregator.conftest import Prepared, node_settings, running, write_settings
from tests.aggregator.dashboard.site import Site
from tests.aggregator.dashboard.test_events import afternoon
from vtn.schema import ven_table

ENGLISH = re.compile(r"[A-Za-z]{2,} [a-z]{2,}")
ALL = urlencode({"nodes": "node-1 = 1\nnode-2 = 1\nnode-3 = 1"})
FREE = f"day=2026-01-22&start=06:00&end=07:00&{ALL}"
IN_SEOUL = "day=2026-01-21&start=18:00&end=19:00"  # 09:00 to 10:00 UTC


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def module_site(
    prepared: Prepared, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """A platform with a budget."""
    folder = tmp_path_factory.mktemp("site")
    boxes = prepared.copy(folder)
    limits = LimitSettings(max_concurrent_kw=Decimal(6), max_events_per_day=6)
    settings = write_settings(folder, [node_settings(n) for n in (1, 2, 3)]).model_copy(
        update={"web": WebSettings(port=0, insecure_dev=True), "limits": limits}
    )
    async with running(settings, boxes) as platform:
        aggregator = platform.aggregator
        assert aggregator is not None and aggregator.web is not None and aggregator._db is not None
        yield Site(platform, aggregator._db, aggregator.web.address, browser)


class _Texts(HTMLParser):
    """The texts between the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        """Keep it."""
        if text := " ".join(data.split()):
            self.found.append(text)


async def texts(site: Site, path: str, language: str) -> list[str]:
    """What a page says to an operator in Seoul."""
    parser = _Texts()
    parser.feed(await html(site, path, language, "Asia/Seoul"))
    return parser.found


async def html(site: Site, path: str, language: str, zone: str) -> str:
    """A page as an operator of this zone gets it."""
    user = await site.user(Role.OPERATOR, f"{zone}-{language}", language=language, time_zone=zone)
    now = wall_clock()
    async with site.db.write() as conn:
        token = await session.begin(conn, user.user_id, "a test", now, factor_at=now)
    headers = {"Cookie": f"{cookie.SESSION}={token}"}
    async with aiohttp.ClientSession() as http, http.get(site.address + path, headers=headers) as answer:
        assert answer.status == 200, path
        return await answer.text()


async def called(site: Site) -> None:
    """The first node is called from 09:00 to 10:00 UTC of the next day."""
    day = "2026-01-21"
    body = {"start": f"{day}T09:00:00Z", "end": f"{day}T10:00:00Z", "nodes": {"node-1": 1}}
    await site.platform.post("/requests", body, status=201, **{"Idempotency-Key": "called"})


async def missed(site: Site, polls: int) -> None:
    """The third node misses so many polls, all others none."""
    boxes, clock = site.platform.boxes, site.platform.clock
    for box in boxes.values():
        await box.poll()
    await clock.move(clock.now + polls * timedelta(seconds=site.platform.settings.vtn.poll_period_s))
    for name in ("node-1", "node-2"):
        await boxes[name].poll()


async def seldom(site: Site) -> None:
    """The third node polls every two days."""
    await missed(site, 0)
    ven = ven_table.c.ven_id == site.platform.boxes["node-3"].ven_id
    async with site.db.write() as conn:
        await conn.execute(update(ven_table).where(ven).values(poll_period_s=2 * 86_400))


@pytest.mark.parametrize(
    ("warning", "query", "sentence"),
    [
        ("none", FREE, ""),
        ("overlap", f"{IN_SEOUL}&power_kw=1", "At the same time: event-"),
        ("late", FREE, "Late with their polls, may not hear of it: node-3"),
        ("silent", FREE, "Silent, counted as nothing: node-3"),
        ("seldom", FREE, "Poll too seldom to hear of it before it starts: node-3"),
    ],
    ids=["none", "overlap", "late", "silent", "seldom"],
)
async def test_the_preview_warns_of_what_may_go_wrong(
    site: Site, warning: str, query: str, sentence: str
) -> None:
    await afternoon(site)
    if warning == "overlap":
        await called(site)
    elif warning == "seldom":
        await seldom(site)
    else:
        await missed(site, {"late": 4, "silent": 13}.get(warning, 0))
    found = await texts(site, f"/events/preview?{query}", "en")
    signs = ("At the same time", "Silent, counted", "Late with", "Poll too seldom")
    warned = [text for text in found if text.startswith(signs)]
    assert [text.startswith(sentence) for text in warned] == ([True] if sentence else [])


async def test_who_is_called_already_is_said_in_the_readers_zone(site: Site) -> None:
    await afternoon(site)
    await called(site)
    found = await texts(site, f"/events/preview?{IN_SEOUL}&{urlencode({'nodes': 'node-1 = 1'})}", "de")
    assert "ist schon abgerufen: 21.01.2026, 18:00\u201319:00 KST" in found


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
async def test_the_calendar_has_the_first_and_the_last_hour_of_long_and_short_days(
    site: Site, day: str, hours: int
) -> None:
    await afternoon(site)
    midnight = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=ZoneInfo("Europe/Berlin"))
    paths = []
    for hour in (0, hours - 1):
        start = midnight.astimezone(UTC) + timedelta(hours=hour)
        period = {"start": start.isoformat(), "end": (start + timedelta(hours=1)).isoformat()}
        body = {**period, "nodes": {"node-1": 1}}
        paths.append((await site.platform.post("/requests", body, status=201))["event_id"])
    page = await html(site, f"/events/calendar?month={day[:7]}", "en", "Europe/Berlin")
    events = [
        re.findall(r'href="/events/(event-[^"]+)"[^>]*><time [^>]*>([0-9:]+)<', cell)
        for cell in page.split("<td")
    ]
    assert [found for found in events if found] == [[(paths[0], "00:00"), (paths[1], "23:00")]]


async def test_no_page_of_events_speaks_english_to_who_reads_another_language(site: Site) -> None:
    """Also where everything stands against an event: clauses, budget, breaker."""
    await afternoon(site)
    await called(site)
    parts = {"node-1": 2.5, "node-2": 2.5, "node-3": 2.5}
    large = {"start": "2026-01-23T06:00:00Z", "end": "2026-01-23T07:00:00Z", "nodes": parts}
    await site.platform.post("/requests", large, status=409)  # opens the breaker
    nodes = urlencode({"nodes": "node-1 = 900\nnode-2 = 3\nnode-3 = 3.5"})
    pages = (
        *("/events", "/events/limits", "/events/approvals", "/events/templates", "/events/calendar"),
        *(f"/events/new?{IN_SEOUL}&{nodes}", "/events/new?day=x&start=y&end=z&power_kw=many"),
        f"/events/preview?{IN_SEOUL}&{urlencode({'nodes': 'nobody = 1'})}",
    )
    for path in pages:
        english = {text for text in await texts(site, path, "en") if ENGLISH.search(text)}
        for language in ("de", "ko"):
            same = english & set(await texts(site, path, language))
            assert same == set(), (language, path)
    said = await texts(site, pages[5], "en")
    for words in ("900 kW asked", "is called already", "7.50 kW at once", "nothing is sent"):
        assert any(words in text for text in said), words
