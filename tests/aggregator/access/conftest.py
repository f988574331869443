"""A running aggregator with its dashboard, and people of every role before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from aggregator.access import user as users
from aggregator.access.access import Access
from aggregator.access.permission import Role
from aggregator.dashboard.page import Desk
from aggregator.dashboard.pages import PAGES
from aggregator.dashboard.rendering import Rendering
from aggregator.dashboard.static_files import StaticFiles
from aggregator.server import Aggregator
from aggregator.settings import AggregatorSettings
from aggregator.web_settings import WebSettings
from tests.aggregator.access.people import PASSWORD, Person, WallClock, sign_in
from tests.aggregator.conftest import START, HandClock, node_settings, write_settings


@dataclass
class House:
    """The aggregator, its clocks, and a browser without a cookie jar."""

    settings: AggregatorSettings
    aggregator: Aggregator
    http: aiohttp.ClientSession
    wall: WallClock
    clock: HandClock

    @property
    def desk(self) -> Desk:
        """What the pages know."""
        assert self.aggregator.web is not None
        return self.aggregator.web.desk

    @property
    def access(self) -> Access:
        """Who may do what."""
        return self.desk.access

    @property
    def address(self) -> str:
        """Where the dashboard is."""
        assert self.aggregator.web is not None
        return self.aggregator.web.address

    def stranger(self) -> Person:
        """Somebody who has not signed in."""
        return Person(self.http, self.address)

    async def person(self, role: Role, **more: Any) -> Person:
        """Somebody of this role who has signed in, with a second factor where the role needs one."""
        return await sign_in(self.access, self.http, self.address, role, **more)

    async def give_password(self, person: Person) -> None:
        """He can sign in with the tests' password."""
        hashed = await self.access.passwords.hash(PASSWORD)
        async with self.access.db.write() as conn:
            await users.change(conn, person.user_id, password=hashed)


@asynccontextmanager
async def open_house(folder: Path, **web: Any) -> AsyncIterator[House]:
    """A running aggregator over the database in the folder."""
    plain = write_settings(folder, [node_settings(1)])
    settings = plain.model_copy(
        update={"web": WebSettings.model_validate({"port": 0, "insecure_dev": True, **web})}
    )
    wall, clock = WallClock(), HandClock(START)
    aggregator = Aggregator(settings, clock, clock.sleep, wall)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        try:
            await aggregator.start()
            yield House(settings, aggregator, http, wall, clock)
        finally:
            await aggregator.stop()


@pytest.fixture(scope="session", autouse=True)
def _once() -> Iterator[None]:
    """Files are packed and templates compiled once for all these tests: half of what a start costs."""
    static = StaticFiles.load()
    rendering = Rendering(static, PAGES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aggregator.front.StaticFiles", SimpleNamespace(load=lambda: static))
        patch.setattr("aggregator.front.Rendering", lambda *_: rendering)
        yield


@pytest.fixture
async def house(state: Path) -> AsyncIterator[House]:
    """A dashboard on loopback."""
    async with open_house(state) as opened:
        yield opened
