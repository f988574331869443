"""The chains on which anchoring is tried, with what can befall each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from ledger.chain import CHAIN_ID, EmbeddedChain
from ledger.rpc import RpcServer
from tests.ledger.conftest import SteppedClock

ANVIL_CHAIN_ID = 31337
RICH = hex(10**21)


class Ground(Protocol):
    """One chain under trial. `can` names what it can do beside being saved and restored;
    `pays` says whether gas costs something."""

    url: str
    chain_id: int
    can: tuple[str, ...]
    pays: bool

    async def open(self) -> None:
        """Begin."""

    async def close(self) -> None:
        """End."""

    async def fund(self, account: bytes) -> None:
        """Make an account able to pay."""

    async def save(self) -> None:
        """Keep the state as it is."""

    async def restore(self) -> None:
        """Go back to the state that was kept last."""

    async def do(self, act: str, value: int = 0) -> None:
        """One of the things that it can."""


class EmbeddedGround:
    """The embedded chain in a directory."""

    chain_id = CHAIN_ID
    can = ()
    pays = False

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._clock = SteppedClock()
        self._saved: dict[str, bytes] = {}
        self._copies = 0
        self.url = ""

    async def open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._chain = EmbeddedChain(self._directory, self._clock)
        self._server = RpcServer(self._chain)
        await self._server.start()
        self.url = self._server.url

    async def close(self) -> None:
        await self._server.stop()
        self._chain.close()

    async def fund(self, account: bytes) -> None:
        """Gas is free here."""

    async def save(self) -> None:
        self._saved = {path.name: path.read_bytes() for path in self._directory.glob("chain.db*")}

    async def restore(self) -> None:
        await self.close()
        self._copies += 1
        self._directory = self._directory.parent / f"older-{self._copies}"
        self._directory.mkdir()
        for name, content in self._saved.items():
            (self._directory / name).write_bytes(content)
        # A fork's blocks are not those that were: the time is another.
        self._clock.advance(1000)
        await self.open()

    async def do(self, act: str, value: int = 0) -> None:
        raise ValueError(f"the embedded chain cannot {act}")


class AnvilGround:
    """A running anvil."""

    chain_id = ANVIL_CHAIN_ID
    can = ("reorg", "hold", "mine", "drop")
    pays = True

    def __init__(self, url: str) -> None:
        self.url = url
        self._saved = ""

    async def open(self) -> None:
        self._session = aiohttp.ClientSession()

    async def close(self) -> None:
        await self._ask("evm_setAutomine", True)
        await self._ask("anvil_dropAllTransactions")
        await self._session.close()

    async def fund(self, account: bytes) -> None:
        await self._ask("anvil_setBalance", f"0x{account.hex()}", RICH)

    async def save(self) -> None:
        self._saved = await self._ask("evm_snapshot")

    async def restore(self) -> None:
        await self._ask("evm_revert", self._saved)
        await self.save()  # a state can be gone back to once

    async def do(self, act: str, value: int = 0) -> None:
        """Undo the last `value` blocks; gather transactions; make a block of those that pay enough; make a
        block of them (and of all that follow, each its own again); forget them.
        """
        if act == "reorg":
            await self._ask("anvil_reorg", value, [])
        elif act == "hold":
            await self._ask("evm_setAutomine", False)
        elif act == "empty":
            await self._ask("evm_mine")
        elif act == "mine":
            await self._ask("evm_mine")
            await self._ask("evm_setAutomine", True)
        else:
            await self._ask("anvil_dropAllTransactions")

    async def set_price(self, base_fee: int) -> None:
        """What the next block asks of a unit of gas, in wei."""
        await self._ask("anvil_setNextBlockBaseFeePerGas", hex(base_fee))

    async def let_pass(self, seconds: int) -> None:
        """A block, so many seconds later."""
        await self._ask("evm_increaseTime", seconds)
        await self._ask("evm_mine")

    async def every(self, seconds: int) -> None:
        """A block so often from now on."""
        await self._ask("evm_setAutomine", False)
        await self._ask("evm_setIntervalMining", seconds)

    async def undo(self, depth: int) -> None:
        """Undo the last blocks, and go on from the time that it was: anvil's would go back with them."""
        newest = await self._ask("eth_getBlockByNumber", "latest", False)
        await self.do("reorg", depth)
        await self._ask("evm_setNextBlockTimestamp", int(newest["timestamp"], 16) + 1)
        await self._ask("evm_mine")

    async def mine_again(self, depth: int) -> None:
        """Replace the last blocks by others with the same transactions."""
        newest, moved = int(await self._ask("eth_blockNumber"), 16), []
        for place, number in enumerate(range(newest - depth + 1, newest + 1)):
            block = await self._ask("eth_getBlockByNumber", hex(number), False)
            moved += [
                [await self._ask("eth_getRawTransactionByHash", digest), place]
                for digest in block["transactions"]
            ]
        await self._ask("evm_increaseTime", 100)
        await self._ask("anvil_reorg", depth, moved)

    async def _ask(self, method: str, *params: object) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self._session.post(self.url, json=body) as response:
            answer = json.loads(await response.read())
        assert "error" not in answer, answer
        return answer["result"]
