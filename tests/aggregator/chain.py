"""A chain of the tests' own, which can be switched off."""

from pathlib import Path
from typing import Any

from ledger.chain import EmbeddedChain
from ledger.chain_key import ChainKey
from ledger.node import Node
from ledger.rpc import RpcServer
from ledger.token_uri import TokenUri
from tests.aggregator.conftest import START


class Chain:
    """The embedded chain with the contract on it, on a port that stays when it is switched off."""

    def __init__(self, folder: Path) -> None:
        self._chain = EmbeddedChain(folder, lambda: START)
        self._server = RpcServer(self._chain)
        self.key_file = folder / "chain.key"

    async def start(self, uri: TokenUri | None = None) -> dict[str, Any]:
        """Deploy the contract and give the settings for it; with a key in a token, all but the key."""
        await self._server.start()
        self.url = self._server.url
        key = ChainKey.load(uri) if uri else ChainKey.create(self.key_file)
        async with Node.open(self.url, 10) as node:
            contract = await node.deploy(key, key.address)
        where = {"rpc_url": self.url, "contract": f"0x{contract.hex()}"}
        return where if uri else {**where, "key_file": self.key_file}

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
