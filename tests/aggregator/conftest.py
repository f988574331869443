"""A running aggregator with nodes of the test's own, on a clock that the test moves."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import cos, pi
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aggregator.server import Aggregator
from aggregator.settings import AggregatorSettings
from aggregator.web_settings import WebSettings
from ledger.chain import EmbeddedChain
from ledger.chain_key import ChainKey
from ledger.checkpoint import SigningKey
from ledger.contract_node import ContractNode
from ledger.rpc import RpcServer
from ledger.setup import Deployed
from tests.aggregator.agreed import Agreed
from tests.aggregator.box import Box
from tests.ledger.parties import copy_chain, make_programme

START = datetime(2026, 1, 20, tzinfo=UTC)  # a Tuesday
ORIGIN = "test.example/log"
EVENING = {"start": "2026-01-20T17:00:00Z", "end": "2026-01-20T19:00:00Z"}
END = START + timedelta(hours=19)


class HandClock:
    """A clock that stands still until the test moves it."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._moved = asyncio.Condition()

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Return when the test has moved the clock that far."""
        until = self.now + timedelta(seconds=seconds)
        async with self._moved:
            await self._moved.wait_for(lambda: self.now >= until)

    async def move(self, to: datetime) -> None:
        """Set the time and wake all who wait for it."""
        self.now = to
        async with self._moved:
            self._moved.notify_all()


def load_of(level_kw: float) -> Callable[[datetime], float]:
    """A daily curve around a level, a little higher on the weekend."""

    def load(instant: datetime) -> float:
        hour = instant.hour + instant.minute / 60
        weekend = 1.1 if instant.weekday() >= 5 else 1.0
        return level_kw * weekend * (1 - 0.4 * cos(2 * pi * (hour - 5) / 24))

    return load


@dataclass
class Platform:
    """One aggregator, its nodes, and the operator's end of the control socket."""

    settings: AggregatorSettings
    clock: HandClock
    boxes: dict[str, Box]
    http: aiohttp.ClientSession
    control: aiohttp.ClientSession
    aggregator: Aggregator | None = None

    async def start(self) -> None:
        """Start, or start again on the same database."""
        self.aggregator = Aggregator(self.settings, self.clock, self.clock.sleep)
        await self.aggregator.start()
        for box in self.boxes.values():
            box.connect(self.http, self.aggregator.port)

    async def stop(self) -> None:
        """Stop as on SIGTERM."""
        if self.aggregator is not None:
            await self.aggregator.stop()
            self.aggregator = None

    async def get(self, path: str, status: int = 200) -> Any:
        """The answer to GET."""
        async with self.control.get(path) as answer:
            body = await answer.json()
            assert answer.status == status, body
            return body

    async def post(self, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        """The answer to POST."""
        async with self.control.post(path, json=body, headers=headers) as answer:
            said = await answer.json()
            assert answer.status == status, said
            return said

    async def until(self, path: str, condition: Callable[[Any], bool]) -> Any:
        """Ask until the answer is as wanted; the tasks behind it need turns of the loop, not time."""
        async with asyncio.timeout(60):
            while not condition(answer := await self.get(path)):
                pass
        return answer

    async def settled(self, count: int) -> list[dict[str, Any]]:
        """The statements once there are so many."""
        return (await self.until("/statements", lambda answer: len(answer["statements"]) >= count))[
            "statements"
        ]

    async def begin(self) -> None:
        """Register all nodes and send their history and first offers."""
        for box in self.boxes.values():
            await box.register(self.clock.now)
            await box.send_history(self.clock.now)
            await self.offer(box)
        names = self.boxes.keys()
        await self.until("/status", lambda status: _offers_kept(status) >= names)

    async def offer(self, box: Box) -> None:
        """Send an hourly offer of 36 hours."""
        now = self.clock.now
        await box.report("offers", now, now + timedelta(hours=36), now)

    async def jump(self, to: datetime, *, silent: frozenset[str] = frozenset()) -> None:
        """Let time pass, then have all nodes poll, report the time that passed in one message, and offer
        anew.
        """
        before = self.clock.now
        await self.clock.move(to)
        for box in self.boxes.values():
            if box.name not in silent:
                await box.poll()
                await box.report("telemetry", before, to, to)
                await self.offer(box)

    async def ask(self, power_kw: float, **more: Any) -> dict[str, Any]:
        """Jump to 14:07, ask for a reduction from 17:00 to 19:00, and let all nodes take their event."""
        await self.jump(START + timedelta(hours=14))
        await self.clock.move(START + timedelta(hours=14, minutes=7))
        answer: dict[str, Any] = await self.post(
            "/requests", {**EVENING, "power_kw": power_kw, **more}, status=201
        )
        for node in answer["nodes"]:
            await self.boxes[node["ven_name"]].poll_for_event()
        await self.clock.move(START + timedelta(hours=14))  # the meters' grid
        return answer


def node_settings(number: int, **changes: Any) -> dict[str, Any]:
    """Settings of the node with this number; later ones cost more."""
    agreement = {
        "capacity_kw": 50,
        "price_minor_per_kwh": 30 + number,
        "penalty_minor_per_kwh": 20,
        "threshold": "0.8",
        "max_calls_per_day": 1,
        "notice_min": 60,
        "currency": "EUR",
    }
    return {
        "ven_name": f"node-{number}",
        "fingerprint": f"{number:064x}",
        "agreement": {**agreement, **changes},
    }


def write_settings(
    folder: Path,
    nodes: list[dict[str, Any]],
    chain: dict[str, Any] | None = None,
    agreements: dict[str, Any] | None = None,
    log_uri: str | None = None,
    **programme: Any,
) -> AggregatorSettings:
    """Settings of a platform in a folder, with a key for its log."""
    key = folder / "log.key"
    if log_uri is None and not key.exists():
        SigningKey.generate(ORIGIN).save(key)
    content = {
        "state": folder,
        "socket": folder / "control",
        "vtn": {"port": 0, "insecure_dev": True},
        "log": {"origin": ORIGIN, "key_uri": log_uri, "key_file": None if log_uri else key},
        "chain": chain,
        "agreements": agreements,
        "programme": {"history_days": 14, **programme},
        "nodes": nodes,
    }
    return AggregatorSettings.model_validate(content)


@asynccontextmanager
async def running(
    settings: AggregatorSettings, boxes: list[Box], start: datetime = START
) -> AsyncIterator[Platform]:
    """A started platform."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        connector = aiohttp.UnixConnector(str(settings.socket))
        control = await stack.enter_async_context(
            aiohttp.ClientSession("http://control", connector=connector)
        )
        platform = Platform(settings, HandClock(start), {box.name: box for box in boxes}, http, control)
        stack.push_async_callback(platform.stop)
        await platform.start()
        yield platform


@pytest.fixture
def state(database_path: Path) -> Path:
    """A folder with a migrated database where the aggregator looks for it."""
    database_path.rename(database_path.with_name("aggregator.sqlite"))
    return database_path.parent


@dataclass(frozen=True)
class Prepared:
    """A stopped platform whose nodes are registered, with history and first offers: copied for each test."""

    folder: Path
    boxes: dict[str, Box]

    def copy(self, folder: Path) -> list[Box]:
        """Lay the state into a test's folder; the nodes remember what they were asked for."""
        for file in self.folder.iterdir():
            shutil.copy(file, folder / file.name)
        return [replace(box, events={}) for box in self.boxes.values()]


def make_boxes() -> list[Box]:
    """Nodes of 10, 20 and 30 kW that offer 2, 4 and 6 kW."""
    return [Box(f"node-{n}", f"{n:064x}", load_of(10.0 * n), 2.0 * n) for n in (1, 2, 3)]


@pytest.fixture(scope="session")
def prepared(database_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Made once: the history of a fleet takes seconds."""
    folder = tmp_path_factory.mktemp("aggregator")
    shutil.copy(database_template, folder / "aggregator.sqlite")
    return make_prepared(folder)


def make_prepared(folder: Path) -> Prepared:
    """The same in a folder with an empty database."""
    settings = write_settings(folder, [node_settings(n) for n in (1, 2, 3)])

    async def prepare() -> Prepared:
        async with running(settings, make_boxes()) as platform:
            await platform.begin()
            return Prepared(folder, platform.boxes)

    return asyncio.run(prepare())


@pytest.fixture
async def platform(prepared: Prepared, tmp_path: Path) -> AsyncIterator[Platform]:
    """Three nodes, registered, with history and offers, at midnight."""
    boxes = prepared.copy(tmp_path)
    settings = write_settings(tmp_path, [node_settings(n) for n in (1, 2, 3)])
    async with running(settings, boxes) as started:
        yield started


@pytest.fixture(scope="module")
def programme(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Deployed]:
    """The contracts on a chain of its own, with the accounts that act there."""
    folder = tmp_path_factory.mktemp("programme")
    return folder, asyncio.run(make_programme(folder))


@pytest.fixture
async def agreed(
    prepared: Prepared, programme: tuple[Path, Deployed], tmp_path: Path
) -> AsyncIterator[Agreed]:
    """A platform whose statements are settled on that chain."""
    async with agreed_platform(prepared, programme, tmp_path) as made:
        yield made


@asynccontextmanager
async def agreed_platform(
    prepared: Prepared,
    programme: tuple[Path, Deployed],
    folder: Path,
    wire: Callable[[str], AbstractAsyncContextManager[str]] = nullcontext,
    timeout_s: float = 5,
    *,
    web: WebSettings | None = None,
    **terms: Any,
) -> AsyncIterator[Agreed]:
    """The same in a folder, with a wire to the chain, with a dashboard, and with other terms of the nodes."""
    copy_chain(programme[0], folder, ["*.key"])
    boxes = prepared.copy(folder)
    holder: list[Platform] = []
    async with AsyncExitStack() as stack:
        chain = EmbeddedChain(folder, lambda: holder[0].clock() if holder else START)
        stack.callback(chain.close)
        server = RpcServer(chain)
        await server.start()
        stack.push_async_callback(server.stop)
        anchors = ChainKey.create(folder / "chain.key")
        async with ContractNode.open(server.url, 30) as node:
            contract = f"0x{(await node.deploy(anchors, anchors.address)).hex()}"
        url = await stack.enter_async_context(wire(server.url))
        where = {"rpc_url": url, "timeout_s": timeout_s, "contract": contract}
        agreements = {
            "contract": f"0x{programme[1].agreement.hex()}",
            "key_file": folder / "aggregator.key",
        }
        settings = write_settings(
            folder,
            [node_settings(n, **terms) for n in (1, 2, 3)],
            chain={**where, "key_file": folder / "chain.key"},
            agreements=agreements,
        ).model_copy(update={"web": web})
        started = running(settings, boxes, START + timedelta(minutes=1))
        platform = await stack.enter_async_context(started)
        holder.append(platform)
        yield Agreed(platform, folder, server.url, programme[1], chain, server)


def _offers_kept(status: dict[str, Any]) -> set[str]:
    """The names of the nodes whose offers are kept; a newer one would replace an offer that is not."""
    return {node["ven_name"] for node in status["nodes"] if node["offer_kw"] is not None}
