"""Records from the outbox to the anchor: sealing and anchoring as two tasks, as the aggregator runs them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import json
import os
import sqlite3
import statistics
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from aggregator import audit
from flexpact.migrations import upgrade
from ledger.anchor import Anchorer, AnchorStatus
from ledger.chain_key import ChainKey
from ledger.checkpoint import SigningKey
from ledger.log import Log
from ledger.node import Node
from ledger.record import SALT_BYTES, Record
from ledger.settings import AnchorSettings
from ledger.verify import verify_receipt
from vtn import journal
from vtn.schema import EPOCH, MICROSECOND
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
    anchored: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    published: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    sizes: list[int] = field(default_factory=list)
    seal_s: list[float] = field(default_factory=list)
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


async def fill(database: Database, batch: int, count: int) -> None:
    """These readings as facts of the journal, durable."""
    facts = []
    for made in records(batch, count):
        body = {name: value for name, value in made.body.items() if name != "ven_id"}
        facts.append(journal.New(str(made.body["ven_id"]), made.key, body, None))
    async with database.write() as conn:
        await journal.record_all(conn, "report", facts, START)


async def seal(site: Site, run: Run) -> None:
    """Facts to leaves and checkpoints; a batch is published once the one before is anchored."""
    begun, sealed = time.perf_counter(), 0
    async for made in audit.seal_steps(site.database, site.log):
        sealed += made
        if sealed < (len(run.sizes) + 1) * run.size:
            continue
        run.seal_s.append(time.perf_counter() - begun)
        await run.anchored.acquire()
        async with site.database.write() as conn:
            checkpoint = await site.log.publish(conn, START)
        assert checkpoint is not None
        run.sizes.append(checkpoint.size)
        run.published.release()
        begun = time.perf_counter()


async def anchor(site: Site, run: Run) -> None:
    """Each checkpoint to the chain, while the next batch is sealed."""
    for batch in range(run.batches):
        await run.published.acquire()
        begun = time.perf_counter()
        while (state := await site.anchorer.step(site.database, START)).anchored != run.sizes[batch]:
            if state.status is not AnchorStatus.WAITING:  # a node may answer before it mines
                raise SystemExit(f"not anchored: {state}")
            await asyncio.sleep(0)
        run.anchor_s.append(time.perf_counter() - begun)
        run.anchored.release()


class Bare:
    """A plain table in a file of its own, as durable as the log: microseconds of each row, in batches."""

    def __init__(self, path: Path) -> None:
        self._conn = sqlite3.connect(path, isolation_level=None)
        self._conn.execute("PRAGMA journal_mode=WAL")
        self._conn.execute("PRAGMA synchronous=FULL")
        self._conn.execute(
            "CREATE TABLE leaf (n INTEGER PRIMARY KEY, key TEXT UNIQUE, salt BLOB, body BLOB, hash BLOB)"
        )
        self.cpu_us: list[float] = []
        self.insert_us: list[float] = []

    def keep(self, outbox: Path, batch: int, size: int) -> None:
        """One batch of the journal: the least that a log has to do; how much of it is the insert alone."""
        cpu = time.process_time()
        with contextlib.closing(sqlite3.connect(outbox)) as source:
            rows = [bare_row(row) for row in source.execute(OUTBOX, (batch * size, size))]
        begun = time.perf_counter()
        self._conn.execute("BEGIN IMMEDIATE")
        self._conn.executemany("INSERT INTO leaf (key, salt, body, hash) VALUES (?, ?, ?, ?)", rows)
        self._conn.execute("COMMIT")
        self.insert_us.append((time.perf_counter() - begun) / size * 1e6)
        self.cpu_us.append((time.process_time() - cpu) / size * 1e6)

    @classmethod
    def run(cls, path: Path, outbox: Path, size: int) -> Bare:
        """The first batches."""
        table = cls(path)
        for batch in range(PEER_BATCHES):
            table.keep(outbox, batch, size)
        table._conn.close()
        return table


OUTBOX = "SELECT seq, at, kind, ven_id, key, body FROM vtn_journal WHERE seq > ? ORDER BY seq LIMIT ?"


def bare_row(row: tuple[int, int, str, str, str, str]) -> tuple[str, bytes, bytes, bytes]:
    """One fact, as text that sorts and separates alike, and its hash."""
    seq, at, kind, ven_id, key, body = row
    salt = os.urandom(SALT_BYTES)
    said = {**json.loads(body), "seq": seq, "ven_id": ven_id}
    fields = {"at": (EPOCH + at * MICROSECOND).isoformat(), "body": said, "key": key, "kind": kind}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return key, salt, text, hashlib.sha256(b"\0" + salt + text).digest()


async def flow(directory: Path, chain: Chain, batches: int, size: int) -> dict[str, float]:
    """One run in a directory of its own."""
    site = await Site.made(directory, chain)
    outbox, run = directory / "flexpact.db", Run(batches, size)
    for batch in range(batches):
        await fill(site.database, batch, size)
    gc.collect()
    before = Bare.run(directory / "before.db", outbox, size)
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
    after = Bare.run(directory / "after.db", outbox, size)
    peer_us = statistics.median(before.cpu_us + after.cpu_us)
    insert_us = statistics.median(before.insert_us + after.insert_us)
    return {
        "records_per_s": round(batches * size / wall),
        "bare_inserts_per_s": round(1e6 / insert_us),
        "cpu_ratio_vs_bare_table": round(cpu / (batches * size) * 1e6 / peer_us, 2),
        "bare_table_us_per_leaf": round(peer_us, 1),
        "cpu_us_per_leaf": round(cpu / (batches * size) * 1e6, 1),
        "seal_ms_per_batch": round(statistics.median(run.seal_s) * 1000, 1),
        "anchor_ms": round(statistics.median(run.anchor_s) * 1000, 1),
        "anchors": len(run.anchor_s),
        "receipt_ms": round(proof_s * 1000, 2),
        "receipt_bytes": len(receipt.to_file()),
        "leaves": run.sizes[-1],
    }
