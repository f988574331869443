"""How many records a second become leaves, signed checkpoints and anchors, and what proofs and gas cost.

The real parts in their real places: the server's database in a file (WAL, synchronous=FULL), the chain in
a process of its own, sealing and anchoring as two tasks, as the aggregator runs them. Time runs from facts
that are durable in the journal to the proof of the last checkpoint; each batch has its own checkpoint and
anchor. The peer, run before and after, reads the same journal and keeps its facts in a plain table with
JSON, SHA-256 and a unique key: what any log would have to do, without tree, signature and chain. The other
peer gives each hash a transaction of its own on the same chain. The last line is one JSON object; `--write
FILE` keeps it.

    records_per_s_*         from outbox to anchor, in batches, on the embedded chain and on anvil
    bare_inserts_per_s_*    what the same run's database takes where nothing is done but insert such rows
    cpu_ratio_vs_bare_table of all of it on the embedded chain, against the peer
    gas_per_checkpoint      of the costliest step; gas_first_checkpoint of the first
    parse_us_per_leaf, record_..., canonical_...: CPU from a row of the journal to the bytes that are hashed
    append_us_per_leaf      CPU of the tree alone; hashing_us_per_leaf of the hashes that it cannot do without
    proof_ms_at_1e6         to make an inclusion path from the stored tiles, and to check it, in the server;
                            ..._on_the_file: without the pool of connections, whose threads take turns;
                            bare_256_hashes_ms: what the hashes of one tile take in a loop, between them
    catchup_1e6_s           until a million leaves that waited for a chain are anchored, by one transaction;
                            catchup_1e6_from_outbox_s: with making them leaves first
    sealed_receipt_bytes_*  of a receipt from a million leaves with three cosignatures and four seals, by the
                            accounts of the chain; sealed_verify_ms_* to verify it
    poll_ratio_*            a poll's median time beside a chain that answers nobody, against one that is well
    ratio_vs_tx_per_hash    records a second on anvil against one transaction for each hash there
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

# Run as a script, this folder comes first on the path, and this file's name hides the package it measures.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]

from benchmarks.ledger_flow import Chain, flow  # noqa: E402 - see above
from benchmarks.ledger_peer import one_by_one  # noqa: E402 - see above
from benchmarks.ledger_poll import poll_cost  # noqa: E402 - see above
from benchmarks.ledger_tree import making_cost, million, sealed_receipts, tree_cost  # noqa: E402 - see above
from ledger.chain import CHAIN_ID  # noqa: E402 - see above
from tests.ledger.anvil import anvil  # noqa: E402 - see above

ANVIL_CHAIN_ID = 31337


@contextlib.asynccontextmanager
async def embedded(directory: Path) -> AsyncIterator[Chain]:
    """The embedded chain, as the command line serves it."""
    command = [sys.executable, "-m", "flexpact", "ledger", "chain", "serve", "--dir", str(directory)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield Chain((await process.stdout.readline()).decode().strip(), CHAIN_ID)
    finally:
        process.terminate()
        await process.wait()


def place(directory: Path, name: str) -> Path:
    """A folder for one part."""
    made = directory / name
    made.mkdir()
    return made


async def measure(directory: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """All of it, one part after the other."""
    batches, size = arguments.batches, arguments.size
    async with embedded(directory / "chain") as chain:
        result = await flow(place(directory, "embedded"), chain, batches, size)
        result["records_per_s_embedded"] = result.pop("records_per_s")
        result["bare_inserts_per_s_embedded"] = result.pop("bare_inserts_per_s")
        result["tx_per_hash_per_s_embedded"] = round(
            await one_by_one(place(directory, "peer-embedded"), chain, arguments.hashes), 1
        )
        result |= making_cost() | tree_cost() | sealed_receipts()
        if arguments.million:
            result |= await million(place(directory, "million"), chain, arguments.million)
    with anvil(directory) as url:
        chain = Chain(url, ANVIL_CHAIN_ID, pays=True)
        on_anvil = await flow(place(directory, "anvil"), chain, batches, size)
        _, first, *later = await chain.gas()
        rate = await one_by_one(place(directory, "peer-anvil"), chain, arguments.hashes)
    return {
        **result,
        **(await poll_cost(place(directory, "polls"))),
        "gas_per_checkpoint": max([first, *later]),
        "gas_first_checkpoint": first,
        "records_per_s_anvil": on_anvil["records_per_s"],
        "bare_inserts_per_s_anvil": on_anvil["bare_inserts_per_s"],
        "cpu_ratio_vs_bare_table_anvil": on_anvil["cpu_ratio_vs_bare_table"],
        "anchor_ms_anvil": on_anvil["anchor_ms"],
        "tx_per_hash_per_s_anvil": round(rate, 1),
        "ratio_vs_tx_per_hash": round(on_anvil["records_per_s"] / rate, 1),
    }


def main() -> None:
    """Run as asked for on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--hashes", type=int, default=400, help="transactions of the peer")
    parser.add_argument("--million", type=int, default=1_000_000, help="leaves that wait; 0 leaves that out")
    parser.add_argument("--write", type=Path, help="keep the last line in this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = asyncio.run(measure(Path(name), arguments))
    line = json.dumps(result)
    if arguments.write:
        arguments.write.write_text(line + "\n", encoding="utf-8")
    print(line)


if __name__ == "__main__":
    main()
