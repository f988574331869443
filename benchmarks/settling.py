"""How long the events of many nodes take from their statements to their bookings in the contract.

anvil makes a block every two seconds, as a chain of validators does, and the settler steps each second, as
the aggregator lets it. Each node has an agreement of its own and one event. The last line is one JSON object:

    booked, seconds         how many bookings the chain had when all were done, or the patience was at its end
    booked_per_block        so many of them a block
    calls_per_booking       what the node was asked for each: JSON-RPC calls of all kinds
    idle_calls              what it is asked for in a look at a new block that changed nothing
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flexpact.migrations import upgrade
from ledger import agreement_store as store
from ledger.agreement_contract import AgreementContract, call, propose_call
from ledger.contract_node import ContractNode
from ledger.node import Node, publish_transaction
from ledger.settler import SettlerStatus
from tests.ledger.anvil import anvil
from tests.ledger.anvil_programme import AnvilProgramme
from tests.ledger.parties import DAY_S

BLOCK_S = 2
STEP_S = 1.0
AT_ONCE = 100
FEE, GAS = 10**11, 1_000_000

asked = 0
_ask = Node._ask


async def counted(node: Node, answer: Any) -> Any:
    """Count what a node is asked."""
    global asked  # noqa: PLW0603 - one settler in this process
    asked += 1
    return await _ask(node, answer)


Node._ask = counted  # type: ignore[method-assign] # in this process alone


async def send_all(programme: AnvilProgramme, who: str, calls: list[bytes]) -> None:
    """Calls of one party, as fast as the chain takes them."""
    key = programme.key(who)
    async with ContractNode.open(programme.url, 30) as node:
        first = await node.nonce_after(key.address, (await node.newest()).number)
        for place in range(0, len(calls), AT_ONCE):
            signed = []
            for nonce, data in enumerate(calls[place : place + AT_ONCE], first + place):
                transaction = publish_transaction(
                    programme.chain_id,
                    programme.deployed.agreement,
                    nonce=nonce,
                    gas=GAS,
                    fees={"maxFeePerGas": FEE, "maxPriorityFeePerGas": FEE},  # type: ignore[dict-item]
                    data=data,
                )
                signed.append(key.sign(transaction))
            await asyncio.gather(*map(node.send, signed))
        async with asyncio.timeout(60):  # a node may answer before it mines
            while await node.nonce_after(key.address, (await node.newest()).number) < first + len(calls):
                pass


async def agreed(programme: AnvilProgramme, nodes: int) -> list[bytes]:
    """An active agreement for each node."""
    terms, ids = programme.terms(max_calls_per_day=10), []
    async with programme.database.write() as conn:
        for number in range(nodes):
            ids.append(await store.add_agreement(conn, f"ven-{number}", terms, programme.clock()))
    await send_all(programme, "aggregator", [propose_call(each, terms) for each in ids])
    async with ContractNode.open(programme.url, 30) as node:
        terms_hash = await AgreementContract(node, programme.deployed.agreement).terms_hash(ids[0])
    await send_all(programme, "node", [call("accept", each, terms_hash) for each in ids])
    return ids


async def chain_time(programme: AnvilProgramme) -> None:
    """The settler's clock is the chain's."""
    async with ContractNode.open(programme.url, 30) as node:
        programme.clock.now = datetime.fromtimestamp((await node.newest()).timestamp, UTC)


async def measured(programme: AnvilProgramme, nodes: int, patience_s: float) -> dict[str, Any]:
    """Book an event of each node."""
    ids = await agreed(programme, nodes)
    await programme.wait(DAY_S)
    settler = programme.settler()
    await settler.refresh(programme.database, programme.clock())
    before = asked
    await programme.ground.do("empty")
    await settler.refresh(programme.database, programme.clock())
    idle, booking = asked - before, programme.booking()
    async with programme.database.write() as conn:
        for number, each in enumerate(ids):
            names = (f"ven-{number}", "event-1")
            await store.add_account(conn, names, each, booking, programme.clock())
    first, before = await programme.sent(), asked
    await programme.ground.every(BLOCK_S)
    begun = time.perf_counter()
    while time.perf_counter() - begun < patience_s:
        await chain_time(programme)
        state = await programme.step(settler)
        if state.status is SettlerStatus.IDLE:
            break
        await asyncio.sleep(STEP_S)
    spent, booked = time.perf_counter() - begun, await programme.sent() - first
    return {
        "nodes": nodes,
        "booked": booked,
        "seconds": round(spent, 1),
        "booked_per_block": round(booked / (spent / BLOCK_S), 1),
        "calls_per_booking": round((asked - before) / max(booked, 1), 1),
        "idle_calls": idle,
    }


async def main(nodes: int, patience_s: float) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name, anvil(Path(name)) as url:
        folder = Path(name)
        upgrade(folder / "flexpact.db")
        made = await AnvilProgramme.make(folder, url)
        async with AnvilProgramme.opened(made, folder / "flexpact.db", url) as programme:
            print(json.dumps(await measured(programme, nodes, patience_s)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--patience-s", type=float, default=60)
    given = parser.parse_args()
    asyncio.run(main(given.nodes, given.patience_s))
