"""The tree alone, and a log of a million records: what appending costs, proofs, and catching up at once."""

from __future__ import annotations

import gc
import json
import random
import sqlite3
import statistics
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

from aggregator.audit import fact_record
from benchmarks.ledger_flow import START, Chain, Site, records
from ledger import offline, proof, store, tile
from ledger.merkle import inclusion_ranges, leaf_hash, root_from_inclusion
from ledger.record import new_salts
from ledger.verify import verify_receipt
from tests.ledger.evidence import VALIDATOR_KEYS, WITNESSES, evidence
from vtn.journal import Fact

BATCH = 10_000
ROUNDS = 20
PROOFS = 200
ACCOUNTS = (12, 300, 1000)
TWO_HASHES = bytes(65)


def tree_cost() -> dict[str, float]:
    """CPU of making a record's bytes part of a tree: leaf hash, tiles, inner hashes; best of many rounds."""
    leaves = [(record.salt, record.canonical()) for record in records(0, BATCH)]
    appended, hashed = [], []
    for _ in range(ROUNDS):
        begun = time.process_time()
        tile.extend(0, {}, [leaf_hash(salt, canonical) for salt, canonical in leaves])
        appended.append(time.process_time() - begun)
        # A tree over n leaves is n hashes of leaves and n - 1 of two nodes: what nobody can do without.
        begun = time.process_time()
        for salt, canonical in leaves:
            sha256(b"\x01" + sha256(b"\x00" + salt + canonical).digest() + salt).digest()
        hashed.append(time.process_time() - begun)
    return {
        "append_us_per_leaf": round(min(appended) / BATCH * 1e6, 2),
        "hashing_us_per_leaf": round(min(hashed) / BATCH * 1e6, 2),
    }


def making_cost() -> dict[str, float]:
    """CPU of the steps from a journal row to the bytes that are hashed; best of many rounds."""
    made = records(0, BATCH)
    rows = [json.dumps(dict(record.body)) for record in made]
    facts = [
        Fact(n, START, record.kind, "ven-1", record.key, record.body, None) for n, record in enumerate(made)
    ]
    steps: dict[str, Callable[[], object]] = {
        "parse": lambda: json.loads(f"[{','.join(rows)}]"),
        "record": lambda: list(map(fact_record, facts, new_salts(BATCH))),
        "canonical": lambda: [record.canonical() for record in made],
    }
    told = {}
    for name, step in steps.items():
        spent = []
        for _ in range(ROUNDS):
            begun = time.process_time()
            step()
            spent.append(time.process_time() - begun)
        told[f"{name}_us_per_leaf"] = round(min(spent) / BATCH * 1e6, 2)
    return told


async def million(directory: Path, chain: Chain, count: int) -> dict[str, float]:
    """A log that grew to `count` leaves while no chain was there, until all of them are anchored."""
    site = await Site.made(directory, chain)
    try:
        spent = 0.0
        for batch in range(count // BATCH):
            fresh = records(batch, BATCH)
            begun = time.perf_counter()
            async with site.database.write() as conn:
                await site.log.append(fresh, conn)
            spent += time.perf_counter() - begun
        before, begun = len(await chain.gas()), time.perf_counter()
        async with site.database.write() as conn:
            await site.log.publish(conn, START)
        state = await site.anchorer.step(site.database, START)
        caught_up = time.perf_counter() - begun
        if (state.anchored, len(await chain.gas()) - before) != (count, 1):
            raise SystemExit(f"not anchored in one transaction: {state}")
        proofs, receipts = await proven(site, count), await receipts_of(site, count)
    finally:
        await site.close()
    return {
        **proofs,
        **receipts,
        "catchup_1e6_s": round(caught_up, 3),
        "catchup_1e6_from_outbox_s": round(spent + caught_up, 2),
        "catchup_leaves": count,
    }


async def proven(site: Site, count: int) -> dict[str, float]:
    """Milliseconds to make an inclusion path from what is stored, and to check it: the medians through the
    server's pool of connections, on the file alone, and of a calibration beside them.
    """
    draw = random.Random(1)
    pooled, alone, loops = [], [], []
    async with site.database.read() as conn:
        newest = await store.newest_checkpoint(conn)
        assert newest is not None
        for _ in range(PROOFS):
            index = draw.randrange(count)
            leaf = await proof.visit(conn, partial(leaf_of, index=index))
            begun = time.perf_counter()
            path = await proof.visit(conn, partial(offline.hashes, spans=inclusion_ranges(index, count)))
            assert root_from_inclusion(index, count, leaf, path) == newest.root
            pooled.append(time.perf_counter() - begun)
            index = draw.randrange(count)
            leaf = site.database.look(partial(leaf_of, index=index))
            begun = time.perf_counter()
            path = site.database.look(partial(offline.hashes, spans=inclusion_ranges(index, count)))
            assert root_from_inclusion(index, count, leaf, path) == newest.root
            alone.append(time.perf_counter() - begun)
            loops.append(bare_loop_s())
    return {
        "proof_ms_at_1e6": round(statistics.median(pooled) * 1000, 2),
        "proof_ms_at_1e6_on_the_file": round(statistics.median(alone) * 1000, 2),
        "bare_256_hashes_ms": round(statistics.median(loops) * 1000, 2),
    }


def leaf_of(view: sqlite3.Connection, index: int) -> bytes:
    """The hash of a leaf, from its row."""
    salt, canonical = view.execute(
        "SELECT salt, canonical FROM ledger_leaf WHERE leaf_index = ?", (index,)
    ).fetchone()
    return leaf_hash(salt, canonical)


def bare_loop_s() -> float:
    """Seconds for as many hashes as the inside of one tile has: how fast this machine is just now."""
    begun = time.perf_counter()
    for _ in range(tile.WIDTH):
        sha256(TWO_HASHES).digest()
    return time.perf_counter() - begun


async def receipts_of(site: Site, count: int) -> dict[str, float]:
    """How large receipts are, and how long a verification takes; the median."""
    draw, sizes, made_s, verified_s = random.Random(2), [], [], []
    gc.collect()
    async with site.database.read() as conn:
        trust = await site.log.trust(conn)
        for index in (0, count - 1, *(draw.randrange(count) for _ in range(PROOFS))):
            begun = time.perf_counter()
            record, receipt = await site.log.receipt(conn, index)
            made_s.append(time.perf_counter() - begun)
            sizes.append(len(receipt.to_file()))
            begun = time.perf_counter()
            assert verify_receipt(record, receipt, trust).complete
            verified_s.append(time.perf_counter() - begun)
    return {
        "receipt_bytes_max": max(sizes),
        "verify_ms": round(statistics.median(verified_s) * 1000, 2),
        "receipt_ms_at_1e6": round(statistics.median(made_s) * 1000, 2),
    }


def sealed_receipts() -> dict[str, float]:
    """How large a receipt from a million leaves is with three cosignatures and four seals, and how long its
    verification takes, on chains of more and more accounts; the median.
    """
    told: dict[str, float] = {}
    for accounts in ACCOUNTS:
        case = evidence(777_777, 10**6, witnesses=WITNESSES, sealers=VALIDATOR_KEYS, accounts=accounts)
        spent = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            assert verify_receipt(case.record, case.receipt, case.trust).complete
            spent.append(time.perf_counter() - begun)
        told[f"sealed_receipt_bytes_{accounts}_accounts"] = len(case.receipt.to_file())
        told[f"sealed_verify_ms_{accounts}_accounts"] = round(statistics.median(spent) * 1000, 2)
    return told
