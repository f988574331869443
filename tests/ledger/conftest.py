"""A real log, a real chain and the contract on it, in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from ledger import store
from ledger.anchor import Anchorer, AnchorState
from ledger.chain import CHAIN_ID, EmbeddedChain
from ledger.checkpoint import Checkpoint, SigningKey
from ledger.log import Log
from ledger.node import ChainKey, Node
from ledger.record import Record
from ledger.rpc import RpcServer
from ledger.settings import AnchorSettings
from tests.ledger.line import Line
from vtn.store import Database

ORIGIN = "example.org/log"
START = datetime(2026, 1, 20, tzinfo=UTC)


@dataclass
class SteppedClock:
    """A clock that the test moves."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Site:
    """All that belongs to one aggregator's evidence."""

    directory: Path
    database: Database
    chain: EmbeddedChain
    server: RpcServer
    contract: bytes
    clock: SteppedClock
    log: Log
    anchorers: list[Anchorer] = field(default_factory=list)

    def settings(self, **changes: object) -> AnchorSettings:
        values: dict[str, object] = {
            "rpc_url": self.server.url,
            "chain_id": CHAIN_ID,
            "contract": f"0x{self.contract.hex()}",
            "key_file": self.directory / "chain.key",
        }
        return AnchorSettings.model_validate({**values, **changes})

    def anchorer(self, **changes: object) -> Anchorer:
        """A fresh anchorer, as after a restart."""
        anchorer = Anchorer(self.settings(**changes))
        self.anchorers.append(anchorer)
        return anchorer

    async def append(self, *keys: str) -> list[int]:
        async with self.database.write() as conn:
            return await self.log.append([record(key, at=self.clock()) for key in keys], conn)

    async def publish(self) -> Checkpoint | None:
        async with self.database.write() as conn:
            return await self.log.publish(conn, self.clock())

    async def step(self, anchorer: Anchorer | None = None) -> AnchorState:
        return await (anchorer or self.anchorer()).step(self.database, self.clock())

    async def anchored(self) -> int:
        async with self.database.read() as conn:
            return await store.anchored_size(conn)

    def blocks(self) -> int:
        """Blocks since the contract was made: one for each transaction that was mined."""
        return self.chain.head().block_number - 1


def record(key: str, **changes: object) -> Record:
    """A record with that natural key."""
    values: dict[str, object] = {"kind": "report", "key": key, "at": START, "body": {"energy_wh": 250}}
    return Record(**{**values, **changes})  # type: ignore[arg-type] # fields by name


async def nothing_is_signed(site: Site) -> bool:
    async with site.database.read() as conn:
        return await store.signed_transition(conn) is None


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def chain(tmp_path: Path, clock: SteppedClock) -> Iterator[EmbeddedChain]:
    opened = EmbeddedChain(tmp_path, clock)
    yield opened
    opened.close()


@pytest.fixture
async def server(chain: EmbeddedChain) -> AsyncIterator[RpcServer]:
    started = RpcServer(chain)
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
async def site(
    tmp_path: Path, database: Database, chain: EmbeddedChain, server: RpcServer, clock: SteppedClock
) -> AsyncIterator[Site]:
    key = ChainKey.create(tmp_path / "chain.key")
    async with Node.open(server.url, 5) as node:
        contract = await node.deploy(key, key.address)
    log = Log(ORIGIN, SigningKey.generate(ORIGIN))
    made = Site(tmp_path, database, chain, server, contract, clock, log)
    yield made
    for anchorer in made.anchorers:
        await anchorer.close()


@pytest.fixture
async def line(site: Site) -> AsyncIterator[Line]:
    made = Line(site.server.url)
    app = web.Application()
    app.router.add_post("/", made.forward)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()
