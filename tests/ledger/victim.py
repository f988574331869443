"""An anchorer or a settler that is killed: `python -m tests.ledger.victim` is the process from which victims
are forked.

Each line on its standard input is a list of lives that run at the same time; each is a process of its own,
which ends by SIGKILL when it comes to its last point, or by itself after its steps. The answer is a line
with what became of each. The product knows nothing of this: what wraps the database and the node counts the
points around each effect that lasts.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection
from web3 import AsyncWeb3

from ledger import anchor, call_store, settler, store
from ledger.anchor import Anchorer, Database
from ledger.call_store import SignedCall
from ledger.checkpoint import Checkpoint
from ledger.contract_node import ContractNode
from ledger.in_flight import InFlight
from ledger.node import Node, transaction_fees
from ledger.settings import AnchorSettings, SettlerSettings
from ledger.settler import Settler
from ledger.store import Transition
from vtn.store import Database as FileDatabase

BETWEEN_STEPS = timedelta(hours=2)  # longer than the anchorer takes a look at the chain to be good for


@dataclass
class Life:
    """One process: what it works with, how often it steps, and the point at which it dies (0: never)."""

    settings: dict[str, Any]
    database: str
    now: str
    dies_at: int = 0
    steps: int = 1
    gas: int = 0
    mutant: str = ""
    settles: bool = False


@dataclass
class Fate:
    """The points that a process has come to."""

    dies_at: int
    passed: list[str] = field(default_factory=list)

    def point(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalDatabase:
    """A database with a point before, within and after each transaction."""

    def __init__(self, database: FileDatabase, fate: Fate) -> None:
        self._database, self._fate = database, fate

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        self._fate.point("before a write")
        async with self._database.write() as conn:
            yield conn
            self._fate.point("before its commit")
        self._fate.point("after its commit")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        async with self._database.read() as conn:
            yield conn


NodeKind = TypeVar("NodeKind", bound=Node)


def mortal(fate: Fate, kind: type[NodeKind]) -> type[NodeKind]:
    send = kind.send

    class MortalNode(kind):  # type: ignore[misc,valid-type] # a class that is given
        async def send(self, raw: bytes) -> None:
            fate.point("before sending")
            await send(self, raw)
            fate.point("after sending")

    return MortalNode


class SendsFirst(Anchorer):
    """Mutant: the transaction is kept only when it was sent."""

    async def _prepare(
        self, db: Database, node: Node, newest: Checkpoint, seen: Any, now: datetime
    ) -> Transition | None:
        signed = await self._sign(node, seen.head, seen.held, newest)
        await node.send(signed.raw_transaction)
        async with db.write() as conn:
            return await store.add_transition(conn, signed, now)


class BelievesAnswers(Anchorer):
    """Mutant: what was sent and answered is anchored, whatever the answer said and the chain shows."""

    async def _prepare(
        self, db: Database, node: Node, newest: Checkpoint, seen: Any, now: datetime
    ) -> Transition | None:
        kept = await super()._prepare(db, node, newest, seen, now)
        if kept is not None:
            await node.send(kept.raw_transaction)
            async with db.write() as conn:
                await store.set_anchors(conn, seen.held.size, [(kept.size, seen.final.anchor)], now)
        return kept

    async def _note(self, db: Database, node: Node, kept: Any, seen: Any, **more: Any) -> bool:
        return False if kept.anchored >= seen.held.size else await super()._note(db, node, kept, seen, **more)


class NewNonce(Anchorer):
    """Mutant: a transaction whose outcome is unknown after a restart is signed anew, behind it."""

    def __init__(self, settings: AnchorSettings) -> None:
        super().__init__(settings)
        self._sent: set[int] = set()

    async def _may_still_come(self, node: Node, transition: Transition, seen: Any) -> bool:
        known = transition.anchor_id in self._sent
        return known and await super()._may_still_come(node, transition, seen)

    async def _prepare(
        self, db: Database, node: Node, newest: Checkpoint, seen: Any, now: datetime
    ) -> Transition | None:
        address = AsyncWeb3.to_checksum_address(self._key.address)
        pending = await node._web3.eth.get_transaction_count(address, "pending")
        node.nonce = lambda *_: asyncio.sleep(0, pending)  # type: ignore[method-assign]
        kept = await super()._prepare(db, node, newest, seen, now)
        del node.nonce
        if kept is not None:
            self._sent.add(kept.anchor_id)
        return kept


MUTANTS: dict[str, type[Anchorer]] = {
    "": Anchorer,
    "sends before it keeps": SendsFirst,
    "believes answers": BelievesAnswers,
    "new nonce for an unknown outcome": NewNonce,
}


class SettlerSendsFirst(InFlight):
    """Mutant: calls are kept only when they were sent."""

    async def sign(self, db: Database, calls: Any, goals: Any, **more: Any) -> list[SignedCall]:
        async with ContractNode.open(self._settings.rpc_url, 5) as node:
            for place, goal in enumerate(goals, more["nonce"] + len(calls)):
                await node.send(self._signed(place, goal.data, transaction_fees(more["base_fee"])))
        return await super().sign(db, calls, goals, **more)


class SettlerForgets(InFlight):
    """Mutant: calls whose outcome is unknown after a restart are signed anew, behind them and unrehearsed."""

    _first = True

    async def calls(self, db: Database, node: Any, *rest: Any) -> tuple[int, list[SignedCall]]:
        nonce, calls = await super().calls(db, node, *rest)
        first, self._first = self._first, False
        if first and calls:
            async with db.write() as conn:
                await call_store.set_calls(conn, calls, "dropped", rest[1])
            node.rehearse_call = lambda *_: asyncio.sleep(0)
            return nonce + len(calls), []
        return nonce, calls


SETTLERS: dict[str, type[InFlight]] = {
    "": InFlight,
    "sends before it keeps": SettlerSendsFirst,
    "forgets what is on its way": SettlerForgets,
}


def anchoring(life: Life, fate: Fate) -> Anchorer:
    anchor.Node = mortal(fate, Node)  # type: ignore[misc] # in this process alone
    settings = AnchorSettings.model_validate(life.settings)
    if life.gas:
        settings = settings.model_copy(update={"gas": life.gas})
    return MUTANTS[life.mutant](settings)


def settling(life: Life, fate: Fate) -> Settler:
    settler.ContractNode = mortal(fate, ContractNode)  # type: ignore[misc] # in this process alone
    settler.InFlight = SETTLERS[life.mutant]  # type: ignore[misc]
    return Settler(SettlerSettings.model_validate(life.settings))


async def live(life: Life) -> dict[str, Any]:
    fate = Fate(life.dies_at)
    actor = settling(life, fate) if life.settles else anchoring(life, fate)
    database = await FileDatabase.open(life.database)
    states = []
    try:
        for step in range(life.steps):
            now = datetime.fromisoformat(life.now) + step * (not life.settles) * BETWEEN_STEPS
            states.append(asdict(await actor.step(MortalDatabase(database, fate), now)))
    finally:
        await actor.close()
        await database.close()
    return {"states": states, "points": fate.passed}


def run(life: Life, report: int) -> None:
    """Live in this process and do not return."""
    with os.fdopen(report, "w") as file:
        try:
            outcome = asyncio.run(live(life))
        except Exception as error:  # the other side says what it thinks of it
            outcome = {"error": repr(error)}
        json.dump(outcome, file, default=str)
    os._exit(0)


def together(lives: list[Life]) -> list[dict[str, Any]]:
    """What became of processes that ran at the same time; {"killed": True} of those that died."""
    born = []
    for life in lives:
        ours, theirs = os.pipe()
        child = os.fork()
        if not child:
            os.close(ours)
            run(life, theirs)
        os.close(theirs)
        born.append((child, ours))
    outcomes = []
    for child, ours in born:
        with os.fdopen(ours) as file:
            said = file.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        outcomes.append({"killed": True} if killed else json.loads(said))
    return outcomes


class Zygote:
    """The process that forks victims, from where they are wanted."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Zygote]:
        pipe, root = subprocess.PIPE, Path(__file__).parents[2]
        command = [sys.executable, "-m", "tests.ledger.victim"]
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=root, text=True) as process:
            yield cls(process)

    async def run(self, *lives: Life) -> list[dict[str, Any]]:
        """What became of each of these lives, led at the same time."""
        return await asyncio.to_thread(self._run, lives)

    def _run(self, lives: Sequence[Life]) -> list[dict[str, Any]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([asdict(life) for life in lives]) + "\n")
        self._process.stdin.flush()
        answer: list[dict[str, Any]] = json.loads(self._process.stdout.readline())
        return answer


if __name__ == "__main__":
    gc.collect()
    gc.freeze()  # what every victim is born with is not worth looking through
    for line in sys.stdin:
        sys.stdout.write(json.dumps(together([Life(**life) for life in json.loads(line)])) + "\n")
        sys.stdout.flush()
