"""A programme on anvil: blocks come when the test says so, can be taken back, and gas has its price."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ledger.contract_node import ContractNode
from ledger.node import GWEI
from ledger.settler import SettlerState
from ledger.setup import Deployed
from openadr.certificate import KeyKind
from tests.ledger.conftest import SteppedClock
from tests.ledger.ground import ANVIL_CHAIN_ID, AnvilGround
from tests.ledger.parties import AnyProgramme, deploy_programme, make_keys
from vtn.store import Database


@dataclass
class AnvilProgramme(AnyProgramme):
    """The parties' keys, the contracts on a running anvil, and what can befall it."""

    ground: AnvilGround

    @property
    def url(self) -> str:
        return self.ground.url

    @property
    def chain_id(self) -> int:
        return ANVIL_CHAIN_ID

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls, made: tuple[Path, Deployed], database: Path, url: str
    ) -> AsyncIterator[AnvilProgramme]:
        """A database of its own with the contracts and keys that were made there."""
        ground = AnvilGround(url)
        await ground.open()
        folder, deployed = made
        async with ContractNode.open(url, 30) as node:
            at = datetime.fromtimestamp((await node.newest()).timestamp, UTC)
        kept = await Database.open(database)
        programme = cls(folder, kept, SteppedClock(at), deployed, ground)
        yield programme
        await programme.price(GWEI)
        for settler in programme.settlers:
            await settler.close()
        await kept.close()
        await ground.close()

    @staticmethod
    async def make(folder: Path, url: str) -> tuple[Path, Deployed]:
        """Contracts on the chain there, with the parties' keys in the folder."""
        ground = AnvilGround(url)
        await ground.open()
        for account in make_keys(folder):
            await ground.fund(account)
        made = await deploy_programme(folder, url, KeyKind.RSA)
        await ground.close()
        return folder, made

    async def price(self, base_fee: int) -> None:
        """A block after which gas has that price, in wei."""
        await self.ground.set_price(base_fee)
        await self.ground.do("empty")

    async def wait(self, seconds: int) -> None:
        """Let time pass, here and there."""
        await self.ground.let_pass(seconds)
        self.clock.advance(seconds)

    async def sent(self) -> int:
        """How many transactions of the aggregator the chain has."""
        async with ContractNode.open(self.url, 30) as node:
            newest = await node.newest()
            return await node.nonce_after(self.key("aggregator").address, newest.number)

    async def mined_step(self, settler: Any = None) -> SettlerState:
        """Steps until all is mined that was sent; the state after the last."""
        stepping = settler or self.settler()
        await self.step(stepping)
        await self.ground.do("empty")
        return await self.step(stepping)
