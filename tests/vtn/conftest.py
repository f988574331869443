"""Fixtures of the server's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.vtn.desk import Desk
from tests.vtn.office import Clerk, opened
from vtn.store import Database


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    async with aiohttp.ClientSession() as http:
        opened = await Desk.open(database, http)
        yield opened
        await opened.server.stop()


@pytest.fixture
async def clerk(database: Database, tmp_path: Path) -> AsyncIterator[Clerk]:
    async with opened(database, tmp_path) as one:
        yield one
