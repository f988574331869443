"""Fixtures of the server's tests."""

from __future__ import annotations

import resource
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from flexpact.pki import issue, make_authority
from openadr.certificate import KeyKind
from tests.vtn.desk import Desk
from tests.vtn.office import Clerk, opened
from tests.vtn.secure import NOW, make_pki
from tests.vtn.table import Table
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


@pytest.fixture(scope="session")
def signing_pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One authority with a server that has both kinds of keys, and two VENs."""
    directory = tmp_path_factory.mktemp("pki")
    now = datetime.now(UTC)
    make_authority(directory, now, (KeyKind.EC, KeyKind.RSA))
    issue(directory, "vtn", now, server=True)
    issue(directory, "vtn", now, server=True, kind=KeyKind.RSA)
    for name in ("alice", "bob"):
        issue(directory, name, now, server=False)
    return directory


@pytest.fixture
async def table(signing_pki: Path, database_path: Path) -> AsyncIterator[Table]:
    async with aiohttp.ClientSession() as http:
        opened = Table(signing_pki, database_path, http)
        await opened.worker()
        yield opened
        await opened.close()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificates of `tests.vtn.secure`, to be read only."""
    directory = tmp_path_factory.mktemp("pki")
    make_pki(directory, NOW)
    return directory


@pytest.fixture
def pki(made: Path, tmp_path: Path) -> Path:
    """The same for a test that changes them; `clients.pem` are the authorities of VENs."""
    directory = Path(shutil.copytree(made, tmp_path / "pki"))
    shutil.copy(directory / "ca.pem", directory / "clients.pem")
    return directory


@pytest.fixture
def files() -> Iterator[int]:
    """The limit of open files, as high as it may be here; another one is put back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    yield most
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
