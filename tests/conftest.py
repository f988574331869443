"""What every test may use: a real database, cloned from a template that the migrations made once."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from flexpact.migrations import upgrade
from vtn.store import Database

# The gate says the same of the same commit, whoever runs it; `--hypothesis-profile random` searches further.
settings.register_profile("gate", derandomize=True, deadline=None, database=None)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile("gate")


def pytest_addoption(parser: pytest.Parser) -> None:
    """A chain to test against."""
    parser.addoption("--rpc-url", metavar="URL", help="run the tests of any chain against the one there")


@pytest.fixture(scope="session")
def database_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty database file; copy it, never write to it."""
    path = tmp_path_factory.mktemp("template") / "flexpact.db"
    upgrade(path)
    return path


@pytest.fixture
def database_path(database_template: Path, tmp_path: Path) -> Path:
    """A database file of this test's own."""
    return Path(shutil.copy(database_template, tmp_path / "flexpact.db"))


@pytest.fixture
async def database(database_path: Path) -> AsyncIterator[Database]:
    """A database of this test's own."""
    opened = await Database.open(database_path)
    yield opened
    await opened.close()
