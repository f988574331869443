"""Fixtures of the server's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.vtn.desk import Desk
from vtn.store import Database


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    async with aiohttp.ClientSession() as http:
        opened = await Desk.open(database, http)
        yield opened
        await opened.server.stop()
