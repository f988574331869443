"""Settling exactly once with several calls on their way: killed at every point, sent to a chain that forgets.

In the end each event is booked once, every transaction of the account is one that the database kept before it
was sent, each used its nonce, and none was mined in vain.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ledger import agreement_store as store
from ledger.agreement_contract import AgreementContract
from ledger.contract_node import ContractNode
from ledger.setup import Deployed
from tests.ledger.anvil import anvil
from tests.ledger.anvil_programme import AnvilProgramme
from tests.ledger.ground import ANVIL_CHAIN_ID
from tests.ledger.parties import DAY_S, NODE
from tests.ledger.victim import Life, Zygote
from tests.ledger.wire import SEND, Wire

NODES = 3
POINTS = 20
"""Points of a step that books an event of each node, around the write that keeps, each sending, the write
that ends and the writes that note."""
SAMPLE = (3, 5, 8)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote.started() as started:
        yield started


@pytest.fixture(scope="module")
def own_anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A chain whose time the tests move."""
    with anvil(tmp_path_factory.mktemp("anvil")) as url:
        yield url


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, own_anvil: str) -> tuple[Path, Deployed]:
    return asyncio.run(AnvilProgramme.make(tmp_path_factory.mktemp("programme"), own_anvil))


@dataclass
class Trial:
    """Agreements whose events are settled by processes that die."""

    programme: AnvilProgramme
    wire: Wire
    database_path: Path
    zygote: Zygote
    agreements: list[bytes]
    first: int = 0
    events: int = 0

    async def event(self) -> None:
        """One more event of each node, over and with its statement."""
        self.events += 1
        async with self.programme.database.write() as conn:
            for number, agreement_id in enumerate(self.agreements):
                names = (f"{NODE}-{number}", f"event-{self.events}")
                booking = self.programme.booking()
                await store.add_account(conn, names, agreement_id, booking, self.programme.clock())

    async def live(self, dies_at: int = 0, steps: int = 4, mutant: str = "") -> dict[str, Any]:
        settings = {
            "rpc_url": self.wire.url,
            "chain_id": ANVIL_CHAIN_ID,
            "contract": f"0x{self.programme.deployed.agreement.hex()}",
            "key_file": str(self.programme.folder / "aggregator.key"),
            "timeout_s": 20.0,
        }
        now = self.programme.clock().isoformat()
        life = Life(settings, str(self.database_path), now, dies_at, steps, mutant=mutant, settles=True)
        (outcome,) = await self.zygote.run(life)
        assert "error" not in outcome, outcome
        return outcome

    async def check(self) -> None:
        for _ in range(10):
            if (await self.live())["states"][-1]["status"] == "idle":
                break
        assert self.wire.unknown == [], "it was not kept before it was sent"
        calls = await self.programme.calls()
        assert calls.get("signed", 0) == 0, "transactions are still on their way"
        used = await self.programme.sent() - self.first
        assert used == NODES * self.events, "transactions were mined in vain"
        async with self.programme.database.read() as conn:
            accounts = await store.accounts(conn)
        assert len(accounts) == NODES * self.events
        assert [each.text for each in accounts if each.settled is None or each.text] == []
        async with ContractNode.open(self.programme.url, 30) as node:
            contract = AgreementContract(node, self.programme.deployed.agreement)
            newest = (await node.newest()).number
            booked = [len(await contract.booked(each, newest)) for each in self.agreements]
        assert booked == [self.events] * NODES


@asynccontextmanager
async def opened(
    deployed: tuple[Path, Deployed], database_path: Path, url: str, zygote: Zygote
) -> AsyncIterator[Trial]:
    """A trial on the chain there, whose agreements are active."""
    async with (
        AnvilProgramme.opened(deployed, database_path, url) as programme,
        Wire.laid(url, database_path) as wire,
    ):
        agreements = [await programme.propose(max_calls_per_day=1000) for _ in range(NODES)]
        await programme.mined_step()
        for agreement_id in agreements:
            await programme.accept(agreement_id)
        await programme.wait(DAY_S)
        await programme.step()
        yield Trial(programme, wire, database_path, zygote, agreements, await programme.sent())


@pytest.fixture
async def trial(
    deployed: tuple[Path, Deployed], database_path: Path, own_anvil: str, zygote: Zygote
) -> AsyncIterator[Trial]:
    async with opened(deployed, database_path, own_anvil, zygote) as made:
        yield made


@pytest.mark.goal(48)
@pytest.mark.parametrize(
    "points",
    [pytest.param(SAMPLE, id="some"), pytest.param(range(1, POINTS), id="all", marks=pytest.mark.long)],
)
async def test_a_kill_at_each_point_ends_in_one_booking_for_each_event(
    trial: Trial, points: tuple[int, ...]
) -> None:
    killed = 0
    for point in points:
        await trial.event()
        killed += "killed" in await trial.live(point)
        await trial.live()
    assert killed >= len(points) - 4  # a node may answer before it mines: then a life has fewer points
    await trial.check()


@pytest.mark.goal(48)
async def test_what_a_chain_took_and_forgot_and_took_back_is_booked_once(trial: Trial) -> None:
    await trial.event()
    trial.wire.faults[SEND] = ["taken and dropped", "answer lost"]
    await trial.live()
    await trial.live()
    await trial.programme.ground.do("reorg", 2)
    await trial.live(7)
    await trial.event()
    await trial.check()


@pytest.mark.goal(48)
@pytest.mark.parametrize(
    ("mutant", "said"),
    [
        ("sends before it keeps", "it was not kept before it was sent"),
        ("forgets what is on its way", "transactions were mined in vain"),
    ],
)
async def test_a_mutant_is_caught(trial: Trial, mutant: str, said: str) -> None:
    await trial.event()
    await trial.programme.ground.do("hold")
    await trial.live(steps=1, mutant=mutant)
    await trial.live(steps=1, mutant=mutant)
    await trial.programme.ground.do("mine")
    with pytest.raises(AssertionError, match=said):
        await trial.check()
