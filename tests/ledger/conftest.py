"""A real log, a real chain and the contract on it, in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from web3 import AsyncWeb3
from web3.types import TxParams, Wei

from ledger import store
from ledger.anchor import Anchorer, AnchorState
from ledger.chain import CHAIN_ID, EmbeddedChain
from ledger.chain_key import ChainKey
from ledger.checkpoint import Checkpoint, SigningKey
from ledger.log import Log
from ledger.node import Node
from ledger.record import Record
from ledger.rpc import RpcServer
from ledger.settings import AnchorSettings
from tests.ledger.anvil import anvil
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
class ChainSite:
    """All that belongs to one aggregator's evidence, with a chain somewhere."""

    directory: Path
    database: Database
    url: str
    chain_id: int
    contract: bytes
    clock: SteppedClock
    log: Log
    anchorers: list[Anchorer] = field(default_factory=list)

    def settings(self, **changes: object) -> AnchorSettings:
        values: dict[str, object] = {
            "rpc_url": self.url,
            "chain_id": self.chain_id,
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

    async def close(self) -> None:
        for anchorer in self.anchorers:
            await anchorer.close()


@dataclass
class Site(ChainSite):
    """The same with the embedded chain, in one process."""

    chain: EmbeddedChain = field(kw_only=True)
    server: RpcServer = field(kw_only=True)

    def blocks(self) -> int:
        """Blocks since the contract was made: one for each transaction that was mined."""
        return self.chain.head().block_number - 1


def record(key: str, **changes: object) -> Record:
    """A record with that natural key."""
    values: dict[str, object] = {"kind": "report", "key": key, "at": START, "body": {"energy_wh": 250}}
    return Record(**{**values, **changes})  # type: ignore[arg-type] # fields by name


async def nothing_is_signed(site: ChainSite) -> bool:
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
    made = Site(tmp_path, database, server.url, CHAIN_ID, contract, clock, log, chain=chain, server=server)
    yield made
    await made.close()


@pytest.fixture
async def line(site: Site) -> AsyncIterator[Line]:
    async with laid_line(site.url) as made:
        yield made


@asynccontextmanager
async def laid_line(url: str) -> AsyncIterator[Line]:
    """A wire to the chain there."""
    made = Line(url)
    app = web.Application()
    app.router.add_post("/", made.forward)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture(scope="session")
def anvil_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One anvil for all tests; each makes a contract of its own there."""
    with anvil(tmp_path_factory.mktemp("anvil")) as url:
        yield url


ANYWHERE = ("any_site", "any_programme")
"""The fixtures that need of a chain nothing but its URL."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of one of `ANYWHERE` runs on each chain that we know, or on the one that is given."""
    given = metafunc.config.getoption("--rpc-url")
    for name in ANYWHERE:
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, [given] if given else ["embedded", "anvil"], indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With a chain given, only what can run on any chain is run."""
    if config.getoption("--rpc-url"):
        others = [item for item in items if not {*ANYWHERE} & {*getattr(item, "fixturenames", ())}]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


@pytest.fixture
async def any_site(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    database: Database,
    server: RpcServer,
    clock: SteppedClock,
) -> AsyncIterator[ChainSite]:
    """A site with a chain about which nothing is known but its URL."""
    url = server.url if request.param == "embedded" else request.param
    if request.param == "anvil":
        url = request.getfixturevalue("anvil_url")
    key = ChainKey.create(tmp_path / "chain.key")
    async with Node.open(url, 30) as node:
        chain_id = await node.chain_id()
        await fund(node, key.address)
        contract = await node.deploy(key, key.address)
    log = Log(ORIGIN, SigningKey.generate(ORIGIN))
    made = ChainSite(tmp_path, database, url, chain_id, contract, clock, log)
    yield made
    await made.close()


async def fund(node: Node, account: bytes) -> None:
    """Where gas costs something, an account of the node's own must give some."""
    eth = node._web3.eth
    if not (await eth.get_block("latest")).get("baseFeePerGas"):
        return
    accounts = await eth.accounts
    assert accounts, "gas costs something there, and the node holds no account that could pay"
    to = AsyncWeb3.to_checksum_address(account)
    given: TxParams = {"from": accounts[0], "to": to, "value": Wei(10**18)}
    await eth.wait_for_transaction_receipt(await eth.send_transaction(given))
