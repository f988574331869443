"""One trial: a log grows, its anchorer dies again and again, the chain misbehaves; in the end all must agree.

A script is a list of acts, written down or drawn from a seed. In the end everything works again for a while,
and then the chain and the ledger must tell the same story.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from ledger import store
from ledger.chain_key import ChainKey
from ledger.checkpoint import SigningKey
from ledger.errors import VerificationError
from ledger.log import Log
from ledger.merkle import EMPTY_ROOT
from ledger.node import GWEI, PUBLISHED, Node
from ledger.receipt import SLOT, commitment
from ledger.state import Header
from ledger.verify import verify_receipt
from tests.ledger.conftest import ORIGIN, START, record
from tests.ledger.ground import Ground
from tests.ledger.victim import Life, Zygote
from tests.ledger.wire import FAULTS, SEND, Wire
from vtn.store import Database

Act = tuple[Any, ...]
LAST_LIVES = 10
LITTLE_GAS = 25_000
HANGING_S = 0.3
PATIENT_S = 20.0


class WrongError(AssertionError):
    """The chain and the ledger tell different stories."""


@dataclass
class Trial:
    """What is there, and what was done so far."""

    ground: Ground
    wire: Wire
    database: Database
    database_path: Path
    log: Log
    key: ChainKey
    key_file: Path
    contract: bytes
    zygote: Zygote
    mutant: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    leaves: int = 0
    lives: int = 0
    first_block: int = 0
    held: bool = False

    def life(self, *, dies_at: int = 0, steps: int = 1, gas: int = 0) -> Life:
        hangs = any(fault.startswith("hangs") for faults in self.wire.faults.values() for fault in faults)
        settings = {
            "rpc_url": self.wire.url,
            "chain_id": self.ground.chain_id,
            "contract": f"0x{self.contract.hex()}",
            "key_file": str(self.key_file),
            "timeout_s": HANGING_S if hangs else PATIENT_S,
        }
        self.lives += 1
        now = START + self.lives * timedelta(days=1)
        return Life(settings, str(self.database_path), now.isoformat(), dies_at, steps, gas, self.mutant)

    async def act(self, name: str, *values: Any) -> None:
        self.counts[name if name != "fault" else values[1]] += 1
        await getattr(self, f"_{name}")(*values)

    async def _grow(self, count: int = 1) -> None:
        async with self.database.write() as conn:
            fresh = [record(f"key/{self.leaves + number}") for number in range(count)]
            await self.log.append(fresh, conn)
            await self.log.publish(conn, START)
        self.leaves += count

    async def _live(self, dies_at: int = 0, steps: int = 1) -> None:
        await self._lead(self.life(dies_at=dies_at, steps=steps))

    async def _twins(self, one: int, other: int) -> None:
        await self._lead(self.life(dies_at=one, steps=2), self.life(dies_at=other, steps=2))

    async def _out_of_gas(self, dies_at: int = 0) -> None:
        self.wire.faults["eth_call"] = ["taken and dropped"]  # the rehearsal promises what will not be kept
        await self._lead(self.life(dies_at=dies_at, gas=LITTLE_GAS))
        self.wire.faults.pop("eth_call")

    async def _fault(self, method: str, fault: str) -> None:
        self.wire.faults.setdefault(method, []).append(fault)

    async def _late(self) -> None:
        self.counts["delivered late"] += await self.wire.deliver_late()

    async def _save(self) -> None:
        await self.ground.save()

    async def _restore(self) -> None:
        await self.ground.restore()
        self.wire.target = self.ground.url

    async def _reorg(self, depth: int) -> None:
        newest = int(await self.wire.ask("eth_blockNumber"), 16)
        if depth := min(depth, newest - self.first_block):
            await self.ground.do("reorg", depth)

    async def _hold(self) -> None:
        self.held = True
        await self.ground.do("hold")

    async def _mine(self) -> None:
        self.held = False
        await self.ground.do("mine")

    async def _drop(self) -> None:
        await self.ground.do("drop")

    async def _other(self) -> None:
        """Another transaction of the same key takes the next nonce; it pays more than ours, if gas costs."""
        block = await self.wire.ask("eth_getBlockByNumber", "latest", False)
        fee = 20 ** self.counts["other"] * max(int(block["baseFeePerGas"], 16), GWEI) * self.ground.pays
        address = f"0x{self.key.address.hex()}"
        made = {
            "type": 2,
            "chainId": self.ground.chain_id,
            "to": "0x" + "11" * 20,
            "value": 0,
            "nonce": int(await self.wire.ask("eth_getTransactionCount", address, "latest"), 16),
            "gas": 21_000,
            "maxFeePerGas": fee,
            "maxPriorityFeePerGas": fee,
        }
        raw = self.key.sign(made)  # type: ignore[arg-type] # the fields of a transaction
        digest = await self.wire.ask(SEND, f"0x{raw.hex()}")
        while not self.held and await self.wire.ask("eth_getTransactionReceipt", digest) is None:
            pass  # a node may answer before it mines

    async def _lead(self, *lives: Life) -> list[dict[str, Any]]:
        outcomes = await self.zygote.run(*lives)
        for outcome in outcomes:
            self.counts["lives"] += 1
            self.counts["killed"] += "killed" in outcome
            if "error" in outcome and "locked" not in outcome["error"]:
                raise WrongError(f"the anchorer broke: {outcome['error']}")
        return outcomes

    async def finish(self) -> None:
        """All works again; the anchorer must come to rest."""
        self.wire.faults.clear()
        if "mine" in self.ground.can:
            await self._mine()
        for _ in range(LAST_LIVES):
            (outcome,) = await self._lead(self.life(steps=2))
            state = outcome["states"][-1]
            if state["status"] == "idle" and not self.wire.late:
                return
            await self._late()
        raise WrongError(f"the anchorer does not come to rest: {state}")

    async def check(self) -> None:
        """Raise WrongError unless on chain = in the log, without gap or double."""
        async with self.database.read() as conn:
            newest = await store.newest_checkpoint(conn)
            rows = (await conn.execute(select(store.anchor_table).order_by(store.anchor_table.c.size))).all()
            notes = (await conn.execute(select(store.checkpoint_table))).all()
            words = {row.size: row.commitment for row in notes}
            assert newest is not None
            size = newest.size
            kept = await store.newest_anchor(conn)
        events = await self._events()
        anchored = [row.size for row in rows if row.state == "anchored"]
        self._same(
            "sizes that the chain shows and the ledger calls anchored", [e[0] for e in events], anchored
        )
        self._same("each larger than the one before", sorted(set(anchored)), anchored)
        self._same("the newest is anchored", anchored[-1:], [size])
        self._same("all leaves are under it", size, self.leaves)
        self._same("roots", [commitment(*event) for event in events], [words[each] for each in anchored])
        self._same("nothing is left open", [row.anchor_id for row in rows if row.state == "signed"], [])
        self._same("nothing was sent that was not kept before", self.wire.unknown, [])
        slot = await self.wire.ask("eth_getStorageAt", f"0x{self.contract.hex()}", f"0x{SLOT:064x}", "latest")
        self._same("the contract's head", slot, f"0x{words[size].hex()}")
        assert kept is not None
        header = Header.decode(kept[1].header)
        block = await self.wire.ask("eth_getBlockByNumber", hex(header.number), False)
        self._same("the proof's block is the chain's", block["hash"], f"0x{header.hash.hex()}")
        async with self.database.read() as conn:
            made, receipt = await self.log.receipt(conn, self.leaves - 1)
            trust = await self.log.trust(conn)
        try:
            self._same("a receipt's verification", verify_receipt(made, receipt, trust).complete, True)
        except VerificationError as error:
            raise WrongError(f"a receipt does not hold: {error}") from error
        self.counts["anchors"] = len(anchored)
        in_vain = await self._in_vain()
        self.counts["mined in vain"] = in_vain
        if not any(self.counts[act] for act in ("restore", "reorg", "out_of_gas")):
            self._same("transactions that were mined in vain", in_vain, 0)

    def _same(self, what: str, got: object, expected: object) -> None:
        if got != expected:
            raise WrongError(f"{what}: {got} against {expected}")

    async def _events(self) -> list[tuple[int, bytes]]:
        query = {
            "address": f"0x{self.contract.hex()}",
            "topics": [f"0x{PUBLISHED.hex()}"],
            "fromBlock": hex(self.first_block),
            "toBlock": "latest",
        }
        found = await self.wire.ask("eth_getLogs", query)
        return [(int(entry["topics"][1], 16), bytes.fromhex(entry["data"][2:])) for entry in found]

    async def _in_vain(self) -> int:
        newest, failed = int(await self.wire.ask("eth_blockNumber"), 16), 0
        for number in range(self.first_block + 1, newest + 1):
            block = await self.wire.ask("eth_getBlockByNumber", hex(number), False)
            for digest in block["transactions"]:
                receipt = await self.wire.ask("eth_getTransactionReceipt", digest)
                ours = (receipt["to"] or "").lower() == f"0x{self.contract.hex()}"
                failed += ours and receipt["status"] == "0x0"
        return failed


def drawn(seed: int, can: tuple[str, ...]) -> list[Act]:
    """The script of that number, for a chain that can do these things."""
    draw = random.Random(seed)
    script: list[Act] = [("save",)]
    for _ in range(draw.randint(3, 6)):
        if draw.random() < 0.8:
            script.append(("grow", draw.randint(1, 3)))
        for _ in range(draw.choice((0, 1, 1, 2))):
            script.append(_blow(draw, can))
        dies_at = draw.choice((0, *range(1, 10)))
        if draw.random() < 0.2:
            script.append(("twins", dies_at, draw.randint(0, 9)))
        elif draw.random() < 0.15:
            script.append(("out_of_gas", dies_at))
        else:
            script.append(("live", dies_at, draw.randint(1, 2)))
    if not any(act[0] == "grow" for act in script):
        script.append(("grow", 1))
    return script


def _blow(draw: random.Random, can: tuple[str, ...]) -> Act:
    """Something that befalls the chain or the wire."""
    name = draw.choice((*can, "fault", "fault", "fault", "other", "late", "save", "restore"))
    if name == "reorg":
        return name, draw.randint(1, 4)
    if name == "fault":
        fault = draw.choice(FAULTS)
        reads = ("eth_getProof", "eth_getBlockByNumber", "eth_getTransactionCount", "eth_getLogs")
        losses = fault in ("request lost", "answer lost", "hangs", "hangs after")
        return name, draw.choice((SEND, SEND, *reads)) if losses else SEND, fault
    return (name,)


# A contract that takes any publish: it keeps the commitment and emits the event, and compares nothing.
# CALLDATACOPY of size and root to 0; SSTORE(0, KECCAK256(0, 64)); LOG2(32, 32, Published, size); STOP.
_ANY = (
    bytes.fromhex("604060446000376040600020600055600051")
    + b"\x7f"
    + PUBLISHED
    + bytes.fromhex("60206020a200")
)
_START = b"\x7f" + commitment(0, EMPTY_ROOT) + bytes.fromhex("600055")
TAKES_ANYTHING = (
    _START + bytes.fromhex(f"60{len(_ANY):02x}60{len(_START) + 12:02x}60003960{len(_ANY):02x}6000f3") + _ANY
)


async def run(
    script: list[Act],
    ground: Ground,
    zygote: Zygote,
    directory: Path,
    database_path: Path,
    *,
    mutant: str = "",
    bytecode: bytes = b"",
) -> Counter[str]:
    """What happened in a trial; WrongError if the end is not as it must be."""
    key_file = directory / "chain.key"
    key = ChainKey.create(key_file)
    await ground.open()
    database = await Database.open(database_path)
    try:
        await ground.fund(key.address)
        async with Wire.laid(ground.url, database_path) as wire:
            contract = await _deploy(wire, ground, key, bytecode)
            log = Log(ORIGIN, SigningKey.generate(ORIGIN))
            trial = Trial(ground, wire, database, database_path, log, key, key_file, contract, zygote, mutant)
            trial.first_block = int(await wire.ask("eth_blockNumber"), 16)
            for act in script:
                await trial.act(*act)
            await trial.finish()
            await trial.check()
            trial.counts["sent"] = len(wire.sent)
            return trial.counts
    finally:
        await database.close()
        await ground.close()


async def _deploy(wire: Wire, ground: Ground, key: ChainKey, bytecode: bytes) -> bytes:
    if not bytecode:
        async with Node.open(ground.url, PATIENT_S) as node:
            return await node.deploy(key, key.address)
    fee = 2 * int((await wire.ask("eth_getBlockByNumber", "latest", False))["baseFeePerGas"], 16)
    made = {"type": 2, "chainId": ground.chain_id, "value": 0, "nonce": 0, "gas": 300_000}
    made |= {"data": bytecode, "maxFeePerGas": fee, "maxPriorityFeePerGas": 0}
    raw = key.sign(made)  # type: ignore[arg-type] # the fields of a transaction
    digest = await wire.ask(SEND, f"0x{raw.hex()}")
    while (receipt := await wire.ask("eth_getTransactionReceipt", digest)) is None:
        pass
    return bytes.fromhex(receipt["contractAddress"][2:])
