"""What every test may use: a real database, cloned from a template that the migrations made once."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from sqlalchemy import Connection, Engine
from sqlalchemy.event import listen, remove

from flexpact.migrations import upgrade
from tests.ledger.soft_token import SoftToken, make
from tests.postgresql import Statements, check
from vtn.store import Database

# The gate says the same of the same commit, whoever runs it; `--hypothesis-profile random` searches further.
settings.register_profile("gate", derandomize=True, deadline=None, database=None)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile("gate")


def pytest_addoption(parser: pytest.Parser) -> None:
    """A chain to test against, and whether to keep pictures of the screens."""
    parser.addoption("--rpc-url", metavar="URL", help="run the tests of any chain against the one there")
    parser.addoption("--screens", action="store_true", help="keep pictures of the dashboard in docs/screens")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes comes first: workers beside each other end together then."""
    items.sort(key=lambda item: "walks" not in item.path.parts)


class Compiled(dict[tuple[Any, ...], Any]):
    """What SQLAlchemy has compiled, for all engines of a run: each has its own dialect, all are alike."""

    def get(self, key: tuple[Any, ...], default: Any = None) -> Any:
        return super().get((type(key[0]), *key[1:]), default)

    def __setitem__(self, key: tuple[Any, ...], value: Any) -> None:
        super().__setitem__((type(key[0]), *key[1:]), value)


@pytest.fixture(scope="session", autouse=True)
def statements() -> Iterator[None]:
    """A statement is compiled once: that took each test, with a database of its own, a fifth of its time."""
    compiled = Compiled()

    def share(conn: Connection) -> None:
        conn.execution_options(compiled_cache=compiled)

    listen(Engine, "engine_connect", share)
    yield
    remove(Engine, "engine_connect", share)


@pytest.fixture(scope="session", autouse=True)
def fit_for_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What SQL a run has executed PostgreSQL takes too; with the run's last test stands what it does not."""
    seen = Statements()
    listen(Engine, "before_cursor_execute", seen.take)
    yield
    remove(Engine, "before_cursor_execute", seen.take)
    refused = check(seen, tmp_path_factory.mktemp("postgresql")) if seen else []
    assert not refused, "PostgreSQL does not take\n" + "\n".join(refused)


@pytest.fixture(scope="session")
def database_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty database file; copy it, never write to it."""
    path = tmp_path_factory.mktemp("template") / "flexpact.db"
    upgrade(path)
    return path


@pytest.fixture(scope="session")
def soft_token(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    """PKCS#11 tokens. A module reads once in a process where they are, so there is one folder of them."""
    made = make(tmp_path_factory.mktemp("token"))
    os.environ["SOFTHSM2_CONF"] = str(made.settings)
    return made


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
