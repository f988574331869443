"""How many records a second become leaves, signed checkpoints and anchors on the embedded chain.

The real parts in their real places: the server's database in a file (WAL, synchronous=FULL), the chain in
a process of its own, sealing and anchoring as two tasks, as the aggregator runs them. Time runs from the
first record to the proof of the last checkpoint; each batch has its own checkpoint and anchor. The peer,
run before and after, keeps the same records in a plain table with JSON, SHA-256 and a unique key: what any
log would have to do, without tree, signature and chain. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

# Run as a script, this folder comes first on the path, and this file's name hides the package it measures.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]

from flexpact.migrations import upgrade  # noqa: E402 - see above
from ledger.anchor import Anchorer  # noqa: E402 - see above
from ledger.chain import CHAIN_ID  # noqa: E402 - see above
from ledger.checkpoint import SigningKey  # noqa: E402 - see above
from ledger.log import Log  # noqa: E402 - see above
from ledger.node import ChainKey, Node  # noqa: E402 - see above
from ledger.record import Record  # noqa: E402 - see above
from ledger.settings import AnchorSettings  # noqa: E402 - see above
from ledger.verify import verify_receipt  # noqa: E402 - see above
from vtn.store import Database  # noqa: E402 - see above

ORIGIN = "example.org/log"
START = datetime(2026, 1, 20, tzinfo=UTC)
PEER_BATCHES = 5


@dataclass
class Run:
    """What is asked for, how the two tasks take turns, and seconds of each batch."""

    batches: int
    size: int
    records: list[list[Record]]
    anchored: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    published: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    append_s: list[float] = field(default_factory=list)
    anchor_s: list[float] = field(default_factory=list)


def records(batch: int, count: int) -> list[Record]:
    """Interval readings, as a journal would hold them."""
    made = []
    for number in range(count):
        body = {
            "ven_id": f"ven-{number % 100}",
            "r_id": "load",
            "start": "2026-01-20T17:00:00Z",
            "duration_s": 900,
            "energy_wh": number,
            "quality": "measured",
        }
        made.append(Record("report", f"report/{batch}/{number}", START + timedelta(seconds=number), body))
    return made


async def seal(database: Database, log: Log, run: Run) -> None:
    """Records to leaves and checkpoints; a batch is published once the one before is anchored."""
    for batch in range(run.batches):
        begun = time.perf_counter()
        async with database.write() as conn:
            await log.append(run.records[batch], conn)
        run.append_s.append(time.perf_counter() - begun)
        await run.anchored.acquire()
        async with database.write() as conn:
            await log.publish(conn, START)
        run.published.release()


async def anchor(database: Database, anchorer: Anchorer, run: Run) -> None:
    """Each checkpoint to the chain, while the next batch is appended."""
    for batch in range(1, run.batches + 1):
        await run.published.acquire()
        begun = time.perf_counter()
        state = await anchorer.step(database, START)
        if state.anchored != batch * run.size:
            raise SystemExit(f"not anchored: {state}")
        run.anchor_s.append(time.perf_counter() - begun)
        run.anchored.release()


def bare(path: Path, batches: list[list[Record]]) -> list[float]:
    """CPU seconds of each batch for the least that a log has to do."""
    spent = []
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA journal_mode=WAL")
    conn.execute("PRAGMA synchronous=FULL")
    conn.execute(
        "CREATE TABLE leaf (n INTEGER PRIMARY KEY, key TEXT UNIQUE, salt BLOB, body BLOB, hash BLOB)"
    )
    for batch in batches:
        begun = time.process_time()
        conn.execute("BEGIN IMMEDIATE")
        conn.executemany("INSERT INTO leaf (key, salt, body, hash) VALUES (?, ?, ?, ?)", map(bare_row, batch))
        conn.execute("COMMIT")
        spent.append(time.process_time() - begun)
    conn.close()
    return spent


def bare_row(record: Record) -> tuple[str, bytes, bytes, bytes]:
    """One record, as text that sorts and separates alike, and its hash."""
    fields = {"at": record.at.isoformat(), "body": record.body, "key": record.key, "kind": record.kind}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return record.key, record.salt, text, hashlib.sha256(b"\0" + record.salt + text).digest()


async def measure(directory: Path, batches: int, size: int) -> dict[str, float]:
    """One run in a directory of its own."""
    upgrade(directory / "flexpact.db")
    database = await Database.open(directory / "flexpact.db")
    command = [
        sys.executable,
        "-m",
        "flexpact",
        "ledger",
        "chain",
        "serve",
        "--dir",
        str(directory / "chain"),
    ]
    chain = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert chain.stdout is not None
    url = (await chain.stdout.readline()).decode().strip()
    key = ChainKey.create(directory / "chain.key")
    async with Node.open(url, 30) as node:
        contract = await node.deploy(key, key.address)
    settings = AnchorSettings(
        rpc_url=url, chain_id=CHAIN_ID, contract=f"0x{contract.hex()}", key_file=directory / "chain.key"
    )
    anchorer, log = Anchorer(settings), Log(ORIGIN, SigningKey.generate(ORIGIN))
    run = Run(batches, size, [records(batch, size) for batch in range(batches)])
    gc.collect()
    peer_s = bare(directory / "before.db", run.records[:PEER_BATCHES])
    gc.freeze()  # the input is not what is measured: keep the collector from walking through it
    try:
        cpu, begun = time.process_time(), time.perf_counter()
        await asyncio.gather(seal(database, log, run), anchor(database, anchorer, run))
        wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
        async with database.read() as conn:
            begun = time.perf_counter()
            made, receipt = await log.receipt(conn, size // 2)
            proof_s = time.perf_counter() - begun
            assert verify_receipt(made, receipt, await log.trust(conn)).complete
    finally:
        await anchorer.close()
        chain.terminate()
        await chain.wait()
        await database.close()
    peer_s += bare(directory / "after.db", run.records[:PEER_BATCHES])
    peer_us = statistics.median(peer_s) / size * 1e6
    return {
        "leaves_per_s": round(batches * size / wall),
        "cpu_ratio_vs_bare_table": round(cpu / (batches * size) * 1e6 / peer_us, 2),
        "bare_table_us_per_leaf": round(peer_us, 1),
        "cpu_us_per_leaf": round(cpu / (batches * size) * 1e6, 1),
        "append_us_per_leaf_best": round(min(run.append_s) / size * 1e6, 1),
        "append_ms_per_batch": round(statistics.median(run.append_s) * 1000, 1),
        "anchor_ms": round(statistics.median(run.anchor_s) * 1000, 1),
        "anchors": len(run.anchor_s),
        "receipt_ms": round(proof_s * 1000, 2),
        "receipt_bytes": len(receipt.to_file()),
        "leaves": batches * size,
    }


def main() -> None:
    """Run as asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--size", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = asyncio.run(measure(Path(name), arguments.batches, arguments.size))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
