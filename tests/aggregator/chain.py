"""A chain of the tests' own, which can be switched off."""

from pathlib import Path
from typing import Any

from ledger.chain import EmbeddedChain
from ledger.node import ChainKey, Node
from ledger.rpc import RpcServer
from tests.aggregator.conftest import START


class Chain:
    """The embedded chain with the contract on it, on a port that stays when it is switched off."""

    def __init__(self, folder: Path) -> None:
        self._chain = EmbeddedChain(folder, lambda: START)
        self._server = RpcServer(self._chain)
        self.key_file = folder / "chain.key"

    async def start(self) -> dict[str, Any]:
        """Deploy the contract and give the settings for it."""
        await self._server.start()
        self.url = self._server.url
        key = ChainKey.create(self.key_file)
        async with Node.open(self.url, 10) as node:
            contract = await node.deploy(key, key.address)
        return {"rpc_url": self.url, "contract": f"0x{contract.hex()}", "key_file": self.key_file}

    async def switch_off(self) -> None:
        """Answer nobody any more."""
        await self._server.stop()

    async def switch_on(self) -> None:
        """Answer again at the same address."""
        self._server = RpcServer(self._chain, int(self.url.rstrip("/").rpartition(":")[2]))
        await self._server.start()

    async def close(self) -> None:
        """End."""
        await self._server.stop()
        self._chain.close()
