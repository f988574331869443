"""What ends a VEN, in one sentence, and what does not: its own state, certificates and site."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.ven.site import Site
from tests.ven.test_client import desk_has_an_event
from tests.ven.wire import FastClock, Proxy, eventually, plain, running
from tests.vtn.desk import Desk
from ven.client import run
from ven.errors import SettingsError, StateError
from ven.settings import VenSettings
from ven.store import Store
from vtn.store import Database


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    async with aiohttp.ClientSession() as http:
        opened = await Desk.open(database, http, poll_period_s=60)
        await opened.enrol()
        yield opened
        await opened.server.stop()


async def test_a_state_that_cannot_be_written_ends_the_ven_with_one_sentence(
    desk: Desk, tmp_path: Path
) -> None:
    clock = FastClock(speed=10_000.0)
    settings = plain(desk.server.port, tmp_path / "ven.db")
    store = Store.open(settings.state_path)
    store._connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON ven_state BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    async with Proxy(desk.server.port).serving() as proxy:
        settings = plain(proxy.port, tmp_path / "ven.db")
        with pytest.raises(StateError, match="cannot be written: disk full"):
            async with asyncio.timeout(30):
                await run(settings, Site(), store, clock, clock.sleep, asyncio.Event())
    store.close()


async def test_certificates_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    settings = VenSettings(
        vtn_url="https://127.0.0.1:1",
        ven_name="alice",
        state_path=tmp_path / "ven.db",
        cert=tmp_path / "missing.pem",
    )
    clock = FastClock()
    store = Store.open(settings.state_path)
    with pytest.raises(SettingsError, match="cannot be read"):
        await run(settings, Site(), store, clock, clock.sleep, asyncio.Event())
    store.close()


async def test_a_site_that_cannot_take_a_timeline_does_not_end_the_ven(desk: Desk, tmp_path: Path) -> None:
    class Deaf(Site):
        def follow(self, timeline: object) -> None:
            raise RuntimeError("not now")

    clock = FastClock(speed=10_000.0)
    async with (
        Proxy(desk.server.port).serving() as proxy,
        running(plain(proxy.port, tmp_path / "ven.db"), Deaf(offered=[]), clock) as store,
    ):
        await desk_has_an_event(desk, store)
        asked = len(proxy.requests)
        await eventually(lambda: len(proxy.requests) > asked)
        assert [held.opt_type for held in store.load().events.values()] == ["optIn"]
