"""What a chain node says never makes us ask another address, and no connection is left open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from eth_abi import encode
from web3 import AsyncHTTPProvider

from ledger.contract_node import ContractNode
from ledger.errors import ChainError, ChainUnavailableError
from ledger.node import Node, NodeRefusedError
from ledger.state import keccak256

CONTRACT, PUBLISHER = b"\x11" * 20, b"\x22" * 20
SELECTOR = keccak256(b"OffchainLookup(address,string[],bytes,bytes4,bytes)")[:4]


@dataclass
class World:
    """A chain node that answers as the test wishes, and a place on this machine that nobody should ask."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], web.Response] | None = None

    async def _node(self, request: web.Request) -> web.Response:
        assert self.answer is not None
        return self.answer(await request.json())

    async def _elsewhere(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        return web.json_response({"data": "0x"})

    def app(self) -> web.Application:
        """Both."""
        app = web.Application()
        app.router.add_post("/rpc", self._node)
        app.router.add_route("*", "/internal/{rest:.*}", self._elsewhere)
        return app


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A node on loopback."""
    made = World()
    runner = web.AppRunner(made.app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def reverts_with_lookup(world: World) -> Callable[[dict[str, Any]], web.Response]:
    """A contract that asks its caller to fetch something for it (ERC-3668)."""
    urls = [f"{world.url}/internal/{{sender}}/{{data}}.json", f"{world.url}/internal/post"]
    types = ["address", "string[]", "bytes", "bytes4", "bytes"]
    lookup = SELECTOR + encode(types, [CONTRACT, urls, b"question", b"\xaa" * 4, b""])

    def answer(asked: dict[str, Any]) -> web.Response:
        error = {"code": 3, "message": "execution reverted", "data": f"0x{lookup.hex()}"}
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "error": error})

    return answer


async def anything_goes(*_: object, **_more: object) -> None:
    """web3's own checks of such addresses put aside: what is left is that we look nothing up."""


@pytest.mark.goal(43)
async def test_a_contract_that_wants_something_fetched_gets_nothing_fetched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = "web3.utils.async_exception_handling"
    monkeypatch.setattr(f"{checks}.validate_ccip_url_scheme", lambda *_, **_more: None)
    monkeypatch.setattr(f"{checks}.async_validate_ccip_url_host", anything_goes)
    world.answer = reverts_with_lookup(world)
    async with Node.open(f"{world.url}/rpc", 5) as node:
        with pytest.raises(ChainError):
            await node.rehearse(CONTRACT, PUBLISHER, b"", 100_000)
    assert world.asked == []


@pytest.mark.goal(43)
@pytest.mark.parametrize(
    "ask",
    [
        lambda node: node.chain_id(),
        lambda node: node.block_hash(1),
        lambda node: node.rehearse(CONTRACT, PUBLISHER, b"", 100_000),
        lambda node: node.send(b"\x02"),
    ],
    ids=["number", "block", "call", "transaction"],
)
async def test_a_node_that_sends_us_elsewhere_is_not_followed(
    world: World, ask: Callable[[Node], Awaitable[Any]]
) -> None:
    def answer(_asked: dict[str, Any]) -> web.Response:
        return web.Response(status=307, headers={"Location": f"{world.url}/internal/admin"})

    world.answer = answer
    async with Node.open(f"{world.url}/rpc", 5) as node:
        with pytest.raises(ChainUnavailableError):
            await ask(node)
    assert world.asked == []


UNREAD: list[tuple[str, object, Callable[[ContractNode], Awaitable[Any]]]] = [
    ("eth_chainId", None, lambda node: node.chain_id()),
    ("eth_getBlockByNumber", {}, lambda node: node.newest()),
    ("eth_getProof", {"accountProof": [], "storageProof": []}, lambda node: node.head(1, CONTRACT)),
    ("eth_getTransactionCount", None, lambda node: node.nonce_after(PUBLISHER, 1)),
    ("eth_getTransactionReceipt", {"blockNumber": "0x1"}, lambda node: node.mined(b"\x02")),
    ("eth_getLogs", [{"data": "0x"}], lambda node: node.events(CONTRACT, bytes(32), 0, 1)),
    ("eth_getLogs", [{"data": "0x"}], lambda node: node.named([CONTRACT], 0, 1)),
    (
        "eth_getLogs",
        [{"topics": [], "data": "0x", "blockNumber": "0x1"}],
        lambda n: n.published(CONTRACT, 0, 1),
    ),
    ("eth_call", None, lambda node: node.ask_contract(CONTRACT, b"")),
]


@pytest.mark.parametrize(("method", "result", "ask"), UNREAD)
async def test_an_answer_that_cannot_be_read_is_none(
    method: str, result: object, ask: Callable[[ContractNode], Awaitable[Any]], world: World
) -> None:
    def answer(asked: dict[str, Any]) -> web.Response:
        answers = {"eth_getBlockByNumber": {"number": "0x1"}, method: result}
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "result": answers[asked["method"]]})

    world.answer = answer
    async with ContractNode.open(f"{world.url}/rpc", 5) as node:
        with pytest.raises(ChainUnavailableError, match="cannot be read"):
            await ask(node)


@pytest.mark.parametrize("data", ["0xzzzzzzzzzz", "0x123456789", "0x"])
async def test_a_reason_that_is_no_bytes_is_the_nodes_refusal_and_not_the_contracts(
    data: str, world: World
) -> None:
    def answer(asked: dict[str, Any]) -> web.Response:
        error = {"code": 3, "message": "execution reverted", "data": data}
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "error": error})

    world.answer = answer
    async with ContractNode.open(f"{world.url}/rpc", 5) as node:
        with pytest.raises(NodeRefusedError):
            await node.rehearse_call(CONTRACT, PUBLISHER, b"", 100_000)


async def test_a_connection_that_is_given_up_before_it_stands_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    came: list[aiohttp.ClientSession] = []
    kept = asyncio.Event()

    async def never(_: AsyncHTTPProvider, session: aiohttp.ClientSession) -> None:
        came.append(session)
        kept.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(AsyncHTTPProvider, "cache_async_session", never)
    connecting = asyncio.create_task(Node.connect("http://127.0.0.1:1", 1))
    await kept.wait()
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert [session.closed for session in came] == [True]
