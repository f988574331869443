"""The chain's JSON-RPC: what web3 asks for, and one clear error for everything else."""

from __future__ import annotations

import io
from typing import Any

import aiohttp
import pytest
from web3 import Web3

from ledger.chain import CHAIN_ID
from ledger.rpc import RpcServer
from tests.ledger.conftest import Site


async def ask(url: str, body: object) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        assert response.status == 200
        answer = await response.json()
        assert isinstance(answer, dict)
        return answer


async def call(url: str, method: str, *params: object) -> Any:
    answer = await ask(url, {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)})
    assert answer["id"] == 7
    return answer


@pytest.mark.parametrize(
    ("method", "params", "result"),
    [
        ("eth_chainId", [], hex(CHAIN_ID)),
        ("net_version", [], str(CHAIN_ID)),
        ("web3_clientVersion", [], "flexpact/embedded"),
        ("eth_syncing", [], False),
        ("eth_accounts", [], []),
        ("eth_gasPrice", [], "0x0"),
        ("eth_maxPriorityFeePerGas", [], "0x0"),
        ("eth_blockNumber", [], "0x0"),
        ("eth_getBalance", ["0x" + "11" * 20, "latest"], "0x0"),
        ("eth_getTransactionCount", ["0x" + "11" * 20], "0x0"),
        ("eth_getCode", ["0x" + "11" * 20, "earliest"], "0x"),
        ("eth_getStorageAt", ["0x" + "11" * 20, "0x0", "0x0"], "0x" + "00" * 32),
        ("eth_getBlockByNumber", ["0x9", False], None),
        ("eth_getBlockByHash", ["0x" + "00" * 32, False], None),
        ("eth_getTransactionReceipt", ["0x" + "00" * 32], None),
        ("eth_call", [{"to": "0x" + "11" * 20, "data": "0x"}, "latest"], "0x"),
        ("eth_estimateGas", [{"to": "0x" + "11" * 20, "value": "0x0", "gas": "0xffff"}], "0x0"),
    ],
)
async def test_an_empty_chain_answers(
    method: str, params: list[object], result: object, server: RpcServer
) -> None:
    answer = await call(server.url, method, *params)
    if method == "eth_estimateGas":
        assert int(answer["result"], 16) >= 0
    else:
        assert answer["result"] == result


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("eth_mining", [], -32601),
        ("eth_getBalance", [], -32602),
        ("eth_getBalance", ["11"], -32602),
        ("eth_getBalance", ["0xzz"], -32602),
        ("eth_getBalance", ["0x" + "11" * 20, "newest"], -32602),
        ("eth_getBalance", ["0x" + "11" * 20, "0x9"], -32000),
        ("eth_call", ["0x"], -32602),
        ("eth_sendRawTransaction", ["0x00"], -32000),
    ],
)
async def test_what_cannot_be_answered_has_an_error_code(
    method: str, params: list[object], code: int, server: RpcServer
) -> None:
    assert (await call(server.url, method, *params))["error"]["code"] == code


@pytest.mark.parametrize(
    ("body", "code"), [([], -32600), ({}, -32600), ({"method": "x", "params": {}}, -32600)]
)
async def test_what_is_no_call_is_refused(body: object, code: int, server: RpcServer) -> None:
    assert (await ask(server.url, body))["error"]["code"] == code


async def test_a_body_that_is_no_json_is_refused(server: RpcServer) -> None:
    async with aiohttp.ClientSession() as session:
        for body in (b"{", b"[" * 500_000):
            async with session.post(server.url, data=body) as response:
                assert (await response.json())["error"]["code"] == -32700


async def test_a_huge_body_is_refused(server: RpcServer) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.url, data=io.BytesIO(b" " * 2_000_000)) as response,
    ):
        assert response.status == 413


async def test_a_revert_carries_its_reason_and_data(site: Site) -> None:
    selector = Web3.keccak(text="publish(uint64,bytes32,uint64,bytes32)")[:4].hex()
    data = "0x" + selector + "00" * 128
    answer = await call(
        site.server.url, "eth_call", {"to": "0x" + site.contract.hex(), "data": data}, "latest"
    )
    assert answer["error"]["code"] == 3
    assert answer["error"]["message"] == "execution reverted: log: caller is not the publisher"
    assert answer["error"]["data"].startswith("0x08c379a0")


async def test_a_receipt_names_block_and_contract(site: Site) -> None:
    block = (await call(site.server.url, "eth_getBlockByNumber", "latest", False))["result"]
    receipt = (await call(site.server.url, "eth_getTransactionReceipt", block["transactions"][0]))["result"]
    assert receipt["contractAddress"].lower() == "0x" + site.contract.hex()
    assert receipt["blockHash"] == block["hash"]
    assert receipt["status"] == "0x1"
    by_hash = (await call(site.server.url, "eth_getBlockByHash", block["hash"], False))["result"]
    assert by_hash == block


async def test_a_port_in_use_is_an_error(server: RpcServer) -> None:
    second = RpcServer(server._chain, int(server.url.rpartition(":")[2]))
    with pytest.raises(OSError, match="address already in use"):
        await second.start()
    await second.stop()


async def test_events_are_found_in_the_blocks_asked_for(site: Site) -> None:
    await site.append("a")
    await site.publish()
    await site.step()
    topic = "0x" + Web3.keccak(text="Published(uint64,bytes32)").hex()
    query: dict[str, object] = {
        "address": "0x" + site.contract.hex(),
        "topics": [topic],
        "fromBlock": "0x0",
        "toBlock": "latest",
    }
    (event,) = (await call(site.server.url, "eth_getLogs", query))["result"]
    assert (int(event["blockNumber"], 16), int(event["topics"][1], 16)) == (2, 1)
    for changed in (
        {"toBlock": "0x1"},
        {"fromBlock": "0x3", "toBlock": "0xffffff"},
        {"topics": ["0x" + "11" * 32]},
        {"address": ["0x" + "11" * 20]},
    ):
        assert (await call(site.server.url, "eth_getLogs", {**query, **changed}))["result"] == []
    everything = {**query, "topics": []}
    assert (await call(site.server.url, "eth_getLogs", everything))["result"] == [event]
    for missing in ({"topics": ["0x11", "0x22"]}, {"address": []}, {"toBlock": "newest"}):
        assert (await call(site.server.url, "eth_getLogs", {**query, **missing}))["error"]["code"] == -32602
