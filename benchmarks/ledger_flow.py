"""Records from the outbox to the anchor: sealing and anchoring as two tasks, as the aggregator runs them."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import sqlite3
import statistics
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from flexpact.migrations import upgrade
from ledger.anchor import Anchorer
from ledger.checkpoint import SigningKey
from ledger.log import Log
from ledger.node import ChainKey, Node
from ledger.record import Record
from ledger.settings import AnchorSettings
from ledger.verify import verify_receipt
from vtn.store import Database

ORIGIN = "example.org/log"
START = datetime(2026, 1, 20, tzinfo=UTC)
PEER_BATCHES = 5
RICH = hex(10**21)


@dataclass(frozen=True)
class Chain:
    """A chain that is running; `pays` if its accounts need money first."""

    url: str
    chain_id: int
    pays: bool = False

    async def ask(self, method: str, *params: object) -> Any:
        """What it answers."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with aiohttp.ClientSession() as session, session.post(self.url, json=body) as response:
            return (await response.json())["result"]

    async def publisher(self, path: Path) -> tuple[ChainKey, bytes]:
        """A fresh key that can pay, and its contract."""
        key = ChainKey.create(path)
        if self.pays:
            await self.ask("anvil_setBalance", f"0x{key.address.hex()}", RICH)
        async with Node.open(self.url, 30) as node:
            return key, await node.deploy(key, key.address)

    async def gas(self) -> list[int]:
        """What each transaction cost that the chain mined, in its order."""
        newest, used = int(await self.ask("eth_blockNumber"), 16), []
        for number in range(1, newest + 1):
            block = await self.ask("eth_getBlockByNumber", hex(number), False)
            used += [int(block["gasUsed"], 16)] * len(block["transactions"])
        return used


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


@dataclass
class Site:
    """One log with its anchorer."""

    database: Database
    log: Log
    anchorer: Anchorer

    @classmethod
    async def made(cls, directory: Path, chain: Chain) -> Site:
        """In a directory of its own."""
        upgrade(directory / "flexpact.db")
        _, contract = await chain.publisher(directory / "chain.key")
        settings = AnchorSettings(
            rpc_url=chain.url,
            chain_id=chain.chain_id,
            contract=f"0x{contract.hex()}",
            key_file=directory / "chain.key",
        )
        log = Log(ORIGIN, SigningKey.generate(ORIGIN))
        return cls(await Database.open(directory / "flexpact.db"), log, Anchorer(settings))

    async def close(self) -> None:
        """Close files and connections."""
        await self.anchorer.close()
        await self.database.close()


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


async def seal(site: Site, run: Run) -> None:
    """Records to leaves and checkpoints; a batch is published once the one before is anchored."""
    for batch in range(run.batches):
        begun = time.perf_counter()
        async with site.database.write() as conn:
            await site.log.append(run.records[batch], conn)
        run.append_s.append(time.perf_counter() - begun)
        await run.anchored.acquire()
        async with site.database.write() as conn:
            await site.log.publish(conn, START)
        run.published.release()


async def anchor(site: Site, run: Run) -> None:
    """Each checkpoint to the chain, while the next batch is appended."""
    for batch in range(1, run.batches + 1):
        await run.published.acquire()
        begun = time.perf_counter()
        state = await site.anchorer.step(site.database, START)
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


async def flow(directory: Path, chain: Chain, batches: int, size: int) -> dict[str, float]:
    """One run in a directory of its own."""
    site = await Site.made(directory, chain)
    run = Run(batches, size, [records(batch, size) for batch in range(batches)])
    gc.collect()
    peer_s = bare(directory / "before.db", run.records[:PEER_BATCHES])
    gc.freeze()  # the input is not what is measured: keep the collector from walking through it
    try:
        cpu, begun = time.process_time(), time.perf_counter()
        await asyncio.gather(seal(site, run), anchor(site, run))
        wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
        async with site.database.read() as conn:
            begun = time.perf_counter()
            made, receipt = await site.log.receipt(conn, size // 2)
            proof_s = time.perf_counter() - begun
            assert verify_receipt(made, receipt, await site.log.trust(conn)).complete
    finally:
        await site.close()
        gc.unfreeze()
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
