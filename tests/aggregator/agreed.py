"""A platform that settles under agreements on a chain of its own, and the accounts that act there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.agreement_contract import AgreementContract, call
from ledger.chain import EmbeddedChain
from ledger.chain_key import ChainKey
from ledger.contract_node import ContractNode
from ledger.rpc import RpcServer
from ledger.setup import Deployed

if TYPE_CHECKING:
    from tests.aggregator.conftest import Platform

WINDOW_S, TERM_S = 600, 3600


@dataclass
class Agreed:
    """A platform, its chain, and the accounts that act on it."""

    platform: Platform
    folder: Path
    url: str
    deployed: Deployed
    chain: EmbeddedChain
    server: RpcServer

    def account(self, name: str) -> str:
        return f"0x{ChainKey.load(self.folder / f'{name}.key').address.hex()}"

    async def offer(self, status: int = 201, **changes: Any) -> Any:
        body = {
            "ven_name": "node-1",
            "account": self.account("node"),
            "arbiter": self.account("arbiter"),
            "starts_at": "2026-01-20T00:00:00Z",
            "expires_at": "2026-02-20T00:00:00Z",
            "payment_term_s": TERM_S,
            "dispute_window_s": WINDOW_S,
            **changes,
        }
        return await self.platform.post("/agreements", body, status=status)

    async def act(self, who: str, function: str, *arguments: object) -> None:
        key = ChainKey.load(self.folder / f"{who}.key")
        async with ContractNode.open(self.url, 30) as node:
            await node.transact(key, self.deployed.agreement, call(function, *arguments))

    async def agree(self, **changes: Any) -> str:
        """An agreement with the first node that is active on the chain and in the mirror."""
        offered = await self.offer(**changes)
        agreement_id: str = offered["id"]
        async with ContractNode.open(self.url, 30) as node:
            contract = AgreementContract(node, self.deployed.agreement)
            terms_hash = await contract.terms_hash(bytes.fromhex(agreement_id))
        await self.act("node", "accept", bytes.fromhex(agreement_id), terms_hash)
        (seen,) = (await self.platform.post("/agreements/look"))["agreements"]
        assert (offered["state"], seen["state"]) == ("proposed", "active")
        return agreement_id

    async def balance(self) -> int:
        async with ContractNode.open(self.url, 30) as node:
            contract = AgreementContract(node, self.deployed.agreement)
            return await contract.token_balance(bytes.fromhex(self.account("node")[2:]))
