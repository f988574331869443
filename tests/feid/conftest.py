"""A town at two times of its day."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.feid.evening import AFTERNOON
from tests.feid.town import Town, town


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    """A town in the early morning."""
    async with town(tmp_path) as made:
        yield made


@pytest.fixture
async def afternoon(tmp_path: Path) -> AsyncIterator[Town]:
    """A town shortly before the event."""
    async with town(tmp_path, start=AFTERNOON) as made:
        yield made
