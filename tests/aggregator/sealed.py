"""A database of a real short run, stopped: exchange, events, statements, sealing, anchoring on a chain."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from aggregator import audit, store
from ledger import cosignature_store
from ledger import store as ledger_store
from ledger.checkpoint import COSIGNATURE, Checkpoint, Cosignature, SigningKey
from ledger.log import Log
from tests.aggregator.chain import Chain
from tests.aggregator.conftest import END, ORIGIN, Prepared, node_settings, running, write_settings
from vtn import journal
from vtn.store import Database

ROUNDS = 4
"""Times that everything is sealed, signed and anchored; each seals the one before."""
MORE_FACTS = 200
"""So that the tree has more than one tile."""
MORE_REVISIONS = 4
LATER = END + timedelta(days=1)
WITNESSES = [
    SigningKey(f"{name}.example/witness", name.encode().ljust(32), COSIGNATURE) for name in ("one", "two")
]


@dataclass(frozen=True)
class SealedRun:
    """What the run left behind: the database, the trust file, and one receipt of each round."""

    database: Path
    trust: Path
    receipts: list[Path]
    log_key: Path

    def copy(self, folder: Path) -> Path:
        """The database once more, in a folder of the caller's."""
        return Path(shutil.copy(self.database, folder / "copy.sqlite"))


def write_config(folder: Path, origin: str = ORIGIN) -> Path:
    """The settings file of an aggregator in that folder, where its database and its log's key lie."""
    config = folder / "aggregator.toml"
    config.write_text(
        f"""
state = "."
socket = "control"
[vtn]
port = 0
insecure_dev = true
[log]
origin = "{origin}"
key_file = "log.key"
[[nodes]]
ven_name = "node-1"
fingerprint = "{"1" * 64}"
[nodes.agreement]
capacity_kw = 5
price_minor_per_kwh = 1
penalty_minor_per_kwh = 1
threshold = 0
max_calls_per_day = 1
notice_min = 0
currency = "EUR"
"""
    )
    return config


_made: dict[Path, SealedRun] = {}


def make_sealed_run(prepared: Prepared, place: pytest.TempPathFactory | Path) -> SealedRun:
    """Run a platform for an evening, stop it, and add to what it recorded; once for all who ask."""
    if prepared.folder not in _made:
        folder = place if isinstance(place, Path) else place.mktemp("sealed")
        run = asyncio.run(_run(prepared, folder))
        asyncio.run(_add(run))
        _made[prepared.folder] = run
    return _made[prepared.folder]


async def _run(prepared: Prepared, folder: Path) -> SealedRun:
    boxes = prepared.copy(folder)
    (folder / "chain").mkdir()
    chain = Chain(folder / "chain")
    settings = write_settings(folder, [node_settings(n) for n in (1, 2, 3)], chain=await chain.start())
    receipts = []
    try:
        async with running(settings, boxes) as platform:
            await platform.ask(5)
            await platform.jump(END)
            await platform.settled(2)
            for number in range(ROUNDS):
                await platform.jump(END + timedelta(hours=number + 1))
                sealed = await platform.post("/seal", {"timeout_s": 60})
                assert sealed["complete"] is True
                files = await platform.get(f"/receipts/{sealed['leaves'] // 2}")
                receipts.append(folder / f"{number}.receipt.txt")
                receipts[-1].write_text(files["receipt"], encoding="utf-8")
            trust = folder / "trust.toml"
            trust.write_text((await platform.get("/trust"))["trust"], encoding="utf-8")
    finally:
        await chain.close()
    return SealedRun(settings.database, trust, receipts, folder / "log.key")


async def _cosign(database: Database) -> None:
    """Two witnesses have signed each checkpoint."""
    async with database.write() as conn:
        for row in await ledger_store.checkpoint_rows(conn, 0, 100):
            checkpoint = Checkpoint.parse(row["note"])
            for key in WITNESSES:
                line = Cosignature.sign(checkpoint, key, LATER)
                await cosignature_store.add(conn, checkpoint.size, str(key.verifier), line, LATER)


async def _add(run: SealedRun) -> None:
    """More facts and revisions, sealed and signed."""
    database = await Database.open(run.database)
    log = Log(ORIGIN, SigningKey.load(run.log_key))
    try:
        async with database.write() as conn:
            for stored in await store.statements(conn):
                for _ in range(MORE_REVISIONS):
                    statement = replace(stored.statement, delivered_wh=stored.statement.delivered_wh + 1)
                    await store.add_statement(conn, statement, stored.detail, LATER)
            for number in range(MORE_FACTS):
                body = {"number": number, "test": number % 2 == 0}
                await journal.record(conn, "opt", "ven-1", str(number), body=body, now=LATER)
        await _cosign(database)
        await audit.seal(database, log)
        async with database.write() as conn:
            await log.publish(conn, LATER)
    finally:
        await database.close()
