"""The embedded chain as a JSON-RPC server on loopback: what web3 needs to deploy, publish and prove, and no
more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web
from eth.abc import BlockAPI, BlockHeaderAPI, ReceiptAPI
from eth_bloom.bloom import BloomFilter
from eth_utils.address import to_checksum_address

from ledger.chain import (
    CHAIN_ID,
    MAX_TRANSACTION_GAS,
    ZERO_ADDRESS,
    EmbeddedChain,
    RefusedError,
    RevertedError,
)
from ledger.state import contract_address

HOST = "127.0.0.1"
MAX_REQUEST_BYTES = 1024 * 1024
# Error codes of JSON-RPC 2.0 and, for -32000 and 3, of Ethereum nodes.
PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602
REFUSED, REVERTED = -32000, 3

Params = list[Any]


class RpcServer:
    """Answers JSON-RPC for a chain; `url` once it is started."""

    def __init__(self, chain: EmbeddedChain, port: int = 0) -> None:
        self._chain = chain
        self._port = port
        self._methods = _methods(chain)
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen; OSError if the port is taken."""
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_post("/", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self._port)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://{HOST}:{port}"

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.Response:
        number: object = None
        try:
            call = _call(await request.text())
            number = call.get("id")
            outcome = {"result": self._result(call["method"], call.get("params", []))}
        except _CallError as error:
            outcome = {"error": error.body}
        return web.json_response({"jsonrpc": "2.0", "id": number, **outcome})

    def _result(self, name: str, params: Params) -> Any:
        method = self._methods.get(name)
        if method is None:
            raise _CallError(NO_METHOD, f"the method {name} is not available")
        try:
            return method(params)
        except RevertedError as error:
            raise _CallError(REVERTED, str(error), data=_hex(error.data)) from error
        except RefusedError as error:
            raise _CallError(REFUSED, str(error)) from error
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise _CallError(INVALID_PARAMS, f"params are not as expected: {error!r}") from error


class _CallError(Exception):
    """A call that ends in an error object."""

    def __init__(self, code: int, message: str, **more: str) -> None:
        super().__init__(message)
        self.body = {"code": code, "message": message, **more}


def _call(text: str) -> dict[str, Any]:
    try:
        call = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _CallError(PARSE_ERROR, "the body is not JSON") from error
    if (
        isinstance(call, dict)
        and isinstance(call.get("method"), str)
        and isinstance(call.get("params", []), list)
    ):
        return call
    raise _CallError(INVALID_REQUEST, "one call with a method and a list of params is expected")


async def serve(chain: EmbeddedChain, port: int, ready: Callable[[str], None], stop: asyncio.Event) -> None:
    """Serve a chain until `stop` is set; `ready` is called once with the URL."""
    server = RpcServer(chain, port)
    await server.start()
    try:
        ready(server.url)
        await stop.wait()
    finally:
        await server.stop()


def _methods(chain: EmbeddedChain) -> dict[str, Callable[[Params], Any]]:
    def at(params: Params, position: int) -> BlockHeaderAPI:
        return _header(chain, params[position] if len(params) > position else "latest")

    return {
        "web3_clientVersion": lambda _: "flexpact/embedded",
        "net_version": lambda _: str(CHAIN_ID),
        "eth_chainId": lambda _: hex(CHAIN_ID),
        "eth_syncing": lambda _: False,
        "eth_accounts": lambda _: [],
        "eth_blockNumber": lambda _: hex(chain.head().block_number),
        "eth_gasPrice": lambda _: hex(chain.head().base_fee_per_gas or 0),
        "eth_maxPriorityFeePerGas": lambda _: hex(0),
        "eth_getBlockByNumber": lambda params: _block_or_none(chain, lambda: chain.block(at(params, 0))),
        "eth_getBlockByHash": lambda params: _block_or_none(
            chain, lambda: chain.block_by_hash(_bytes(params[0]))
        ),
        "eth_getBalance": lambda params: hex(chain.state(at(params, 1)).get_balance(_bytes(params[0]))),
        "eth_getTransactionCount": lambda params: hex(
            chain.state(at(params, 1)).get_nonce(_bytes(params[0]))
        ),
        "eth_getCode": lambda params: _hex(chain.state(at(params, 1)).get_code(_bytes(params[0]))),
        "eth_getStorageAt": lambda params: _word(
            chain.state(at(params, 2)).get_storage(_bytes(params[0]), int(params[1], 16))
        ),
        "eth_call": lambda params: _hex(
            chain.call(_unsigned(chain, params[0], at(params, 1)), at(params, 1))
        ),
        "eth_estimateGas": lambda params: hex(
            chain.estimate(_unsigned(chain, params[0], at(params, 1)), at(params, 1))
        ),
        "eth_sendRawTransaction": lambda params: _hex(chain.send(_bytes(params[0]))),
        "eth_getTransactionReceipt": lambda params: _receipt(chain, _bytes(params[0])),
        "eth_getLogs": lambda params: _logs_between(chain, params[0]),
        "eth_getProof": lambda params: _proof(
            chain, _bytes(params[0]), [int(key, 16) for key in params[1]], at(params, 2)
        ),
    }


def _header(chain: EmbeddedChain, block: str) -> BlockHeaderAPI:
    if block in ("latest", "pending", "safe", "finalized"):
        return chain.head()
    return chain.header(0 if block == "earliest" else int(block, 16))


def _block_or_none(chain: EmbeddedChain, find: Callable[[], BlockAPI]) -> dict[str, Any] | None:
    try:
        block = find()
    except RefusedError:
        return None
    return _block(block)


def _block(block: BlockAPI) -> dict[str, Any]:
    header: Any = block.header  # all fields are there under Cancun rules
    return {
        "number": hex(header.block_number),
        "hash": _hex(header.hash),
        "parentHash": _hex(header.parent_hash),
        "sha3Uncles": _hex(header.uncles_hash),
        "miner": to_checksum_address(header.coinbase),
        "stateRoot": _hex(header.state_root),
        "transactionsRoot": _hex(header.transaction_root),
        "receiptsRoot": _hex(header.receipt_root),
        "logsBloom": _hex(header.bloom.to_bytes(256, "big")),
        "difficulty": hex(header.difficulty),
        "gasLimit": hex(header.gas_limit),
        "gasUsed": hex(header.gas_used),
        "timestamp": hex(header.timestamp),
        "extraData": _hex(header.extra_data),
        "mixHash": _hex(header.mix_hash),
        "nonce": _hex(header.nonce),
        "baseFeePerGas": hex(header.base_fee_per_gas),
        "withdrawalsRoot": _hex(header.withdrawals_root),
        "blobGasUsed": hex(header.blob_gas_used),
        "excessBlobGas": hex(header.excess_blob_gas),
        "parentBeaconBlockRoot": _hex(header.parent_beacon_block_root),
        "size": hex(0),
        "totalDifficulty": hex(0),
        "uncles": [],
        "withdrawals": [],
        "transactions": [_hex(transaction.hash) for transaction in block.transactions],
    }


def _receipt(chain: EmbeddedChain, digest: bytes) -> dict[str, Any] | None:
    found = chain.transaction(digest)
    if found is None:
        return None
    transaction, block, receipt = found
    created = None
    if not transaction.to:
        # The address of a new contract is the hash of its maker and the maker's nonce.
        created = to_checksum_address(contract_address(transaction.sender, transaction.nonce))
    return {
        **_place(block),
        "from": to_checksum_address(transaction.sender),
        "to": to_checksum_address(transaction.to) if transaction.to else None,
        "contractAddress": created,
        "gasUsed": hex(block.header.gas_used),
        "cumulativeGasUsed": hex(receipt.gas_used),
        "effectiveGasPrice": hex(block.header.base_fee_per_gas or 0),
        "status": hex(1 if receipt.state_root == b"\x01" else 0),
        "type": hex(getattr(transaction, "type_id", None) or 0),
        "logsBloom": _hex(receipt.bloom.to_bytes(256, "big")),
        "logs": _logs(block, receipt),
    }


def _logs(block: BlockAPI, receipt: ReceiptAPI) -> list[dict[str, Any]]:
    return [
        {
            **_place(block),
            "address": to_checksum_address(log.address),
            "topics": [_word(topic) for topic in log.topics],
            "data": _hex(log.data),
            "logIndex": hex(number),
            "removed": False,
        }
        for number, log in enumerate(receipt.logs)
    ]


def _place(block: BlockAPI) -> dict[str, Any]:
    """Where a block's one transaction is."""
    return {
        "blockNumber": hex(block.number),
        "blockHash": _hex(block.hash),
        "transactionHash": _hex(block.transactions[0].hash),
        "transactionIndex": hex(0),
    }


def _logs_between(chain: EmbeddedChain, query: dict[str, Any]) -> list[dict[str, Any]]:
    """The logs of some contracts, all or those with one first topic; a query must name the contracts and a
    range of blocks.
    """
    topics, place = query.get("topics") or [], query["address"]
    if len(topics) > 1 or place == []:
        raise ValueError("a contract and at most one topic are expected")
    places = {_bytes(address) for address in (place if isinstance(place, list) else [place])}
    newest = chain.head().block_number
    first, last = (_number(query[end], newest) for end in ("fromBlock", "toBlock"))
    found: list[dict[str, Any]] = []
    for number in range(first, min(last, newest) + 1):
        header = chain.header(number)
        if any(contract in BloomFilter(header.bloom) for contract in places):
            block = chain.block(header)
            found += _logs(block, chain.receipt(block))
    return [
        entry
        for entry in found
        if _bytes(entry["address"]) in places and (not topics or entry["topics"][0] == topics[0])
    ]


def _number(block: str, newest: int) -> int:
    return newest if block == "latest" else int(block, 16)


def _proof(chain: EmbeddedChain, address: bytes, slots: list[int], header: BlockHeaderAPI) -> dict[str, Any]:
    state = chain.state(header)
    root = chain.storage_root(header, address)
    return {
        "address": to_checksum_address(address),
        "balance": hex(state.get_balance(address)),
        "nonce": hex(state.get_nonce(address)),
        "codeHash": _hex(state._account_db.get_code_hash(address)),
        "storageHash": _hex(root),
        "accountProof": [_hex(node) for node in chain.account_proof(header, address)],
        "storageProof": [
            {
                "key": hex(slot),
                "value": hex(state.get_storage(address, slot)),
                "proof": [_hex(node) for node in chain.storage_proof(root, slot)],
            }
            for slot in slots
        ],
    }


def _unsigned(chain: EmbeddedChain, call: dict[str, Any], header: BlockHeaderAPI) -> Any:
    if not isinstance(call, dict):
        raise TypeError("the first parameter is not an object")
    data = _bytes(call.get("data") or call.get("input") or "0x")
    gas = min(int(call["gas"], 16), MAX_TRANSACTION_GAS) if call.get("gas") else MAX_TRANSACTION_GAS
    sender = _bytes(call["from"]) if call.get("from") else ZERO_ADDRESS
    to, value = _bytes(call.get("to") or "0x"), int(call.get("value") or "0x0", 16)
    return chain.unsigned(sender, to, value, data=data, gas=gas, header=header)


def _bytes(text: str) -> bytes:
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError(f"{text!r} does not start with 0x")
    return bytes.fromhex(text[2:])


def _hex(raw: bytes) -> str:
    return "0x" + bytes(raw).hex()


def _word(value: int) -> str:
    return "0x" + value.to_bytes(32, "big").hex()
