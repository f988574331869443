"""What others do: one transaction for each hash, on the same chain in the same run."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp

from benchmarks.ledger_flow import Chain
from ledger.chain_key import ChainKey
from ledger.node import publish_transaction
from ledger.state import keccak256

AT_ONCE = 20
GAS = 60_000
PATIENCE_S = 60


async def one_by_one(directory: Path, chain: Chain, count: int) -> float:
    """Hashes a second that are mined when each has a transaction of its own, which carries it as its data;
    a plain transfer's cost and the data's, no contract. So little does nobody's registry do.
    """
    key, _ = await chain.publisher(directory / "peer.key")
    fee = 2 * int((await chain.ask("eth_getBlockByNumber", "latest", False))["baseFeePerGas"], 16)
    async with aiohttp.ClientSession() as session:
        begun = time.perf_counter()
        for first in range(1, count + 1, AT_ONCE):
            nonces = range(first, min(first + AT_ONCE, count + 1))
            if chain.pays:
                await asyncio.gather(*(send(session, chain, key, nonce, fee) for nonce in nonces))
            else:  # the embedded chain takes them in their order
                for nonce in nonces:
                    await send(session, chain, key, nonce, fee)
        async with asyncio.timeout(PATIENCE_S):  # a node may answer before it mines
            while await mined(chain, key) < count:
                pass
        spent = time.perf_counter() - begun
    return count / spent


async def mined(chain: Chain, key: ChainKey) -> int:
    """How many hashes are on the chain; the first transaction of the key made a contract."""
    return int(await chain.ask("eth_getTransactionCount", f"0x{key.address.hex()}", "latest"), 16) - 1


async def send(session: aiohttp.ClientSession, chain: Chain, key: ChainKey, nonce: int, fee: int) -> None:
    """Sign and send one hash."""
    made = publish_transaction(
        chain.chain_id,
        bytes(19) + b"\xff",
        nonce=nonce,
        gas=GAS,
        fees={"maxFeePerGas": fee, "maxPriorityFeePerGas": 0},  # type: ignore[dict-item] # numbers
        data=keccak256(nonce.to_bytes(8, "big")),
    )
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "eth_sendRawTransaction",
        "params": ["0x" + key.sign(made).hex()],
    }
    async with session.post(chain.url, json=body) as response:
        answer = await response.json()
    if "error" in answer:
        raise SystemExit(f"the chain refuses: {answer['error']}")
