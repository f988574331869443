"""Cuts the power of the real write path, again and again, and counts what was acknowledged and is lost.

Runs under the system's Python, whose SQLite and python3-apsw share one library; prints one JSON object.
Each trial opens the database as the server does (`vtn.store`: its engine, its pragmas, its group commit),
lets clients publish events, write facts, seal them into the log and publish checkpoints, and a VEN answer
events, report and opt out through the exchange of messages, cuts the power at a random write or sync, and
then looks at what is left with an ordinary SQLite.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.exc import DBAPIError

from aggregator import audit
from flexpact.migrations import upgrade
from ledger import merkle
from ledger.checkpoint import Checkpoint, SigningKey
from ledger.log import Log
from openadr import (
    CreatePartyRegistration,
    DistributeEvent,
    EiResponse,
    Message,
    RegisteredReport,
    RequestEvent,
)
from tests.vtn.desk import QUARTER, anything_goes, created_event, make_event, metadata, request_all, usage
from tests.vtn.test_opt import schedule
from tests.walks.crash_disk import CrashVFS, Disk
from ven.transport import service_of
from vtn import event, journal, registration, store
from vtn.errors import StoreError
from vtn.exchange import Peer, Terms, exchange

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PATH = "/crash/flexpact.db"
ORIGIN = "example.org/log"
KEY = SigningKey(ORIGIN, bytes(32))
EVENTS, FACTS, SEALS, REPORTS = 3, 4, 2, 2
FINGERPRINT = "a1" * 32
TERMS = Terms(vtn_id="vtn-1", poll_period_s=60, request_reports=request_all)


@dataclass
class Acknowledged:
    """What the clients were told is kept."""

    events: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    readings: list[float] = field(default_factory=list)
    opts: list[str] = field(default_factory=list)

    def count(self) -> int:
        return sum(len(each) for each in vars(self).values())


@dataclass
class Tally:
    """The outcome of all trials."""

    cuts: int = 0
    acknowledged: int = 0
    lost: int = 0
    broken: list[str] = field(default_factory=list)


async def template(directory: Path) -> tuple[bytes, str]:
    """A migrated database with one VEN in it, which is registered and asked for reports, and the VEN's id."""
    path = directory / "template.db"
    upgrade(path)
    database = await store.Database.open(path)
    async with database.write() as conn:
        ven_id = await registration.enrol(conn, "node-1", FINGERPRINT, NOW)
    for message in (
        CreatePartyRegistration(request_id="r", ven_name="node-1", http_pull_model=True),
        RegisteredReport(response=EiResponse.ok(), ven_id=ven_id),  # it has heard of our own
        metadata(ven_id),
    ):
        await say(database, message)
    await database.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.read_bytes(), ven_id


def prepare_connections(synchronous: str) -> None:
    """Have every connection of this process opened so that the crashing disk can serve it.

    The disk has no shared memory, so the log's index is kept in the process (EXCLUSIVE); a checkpoint every
    few pages makes the trials meet it. Neither changes when SQLite syncs a commit. The mutant is
    `synchronous=NORMAL`.
    """

    def before(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA wal_autocheckpoint=40")

    def at_begin(connection: Connection) -> None:
        if synchronous != "shipped":
            connection.exec_driver_sql(f"PRAGMA synchronous={synchronous}")

    sqlalchemy_event.listen(Engine, "connect", before, insert=True)
    sqlalchemy_event.listen(Engine, "begin", at_begin, insert=True)


async def say(database: store.Database, message: Message) -> Message:
    """The VTN's reply, durable when it is given."""
    async with database.write() as conn:
        peer = Peer(FINGERPRINT, await registration.ven_of(conn, FINGERPRINT, NOW))
        return await exchange(message, service_of(message), peer, conn, NOW, terms=TERMS)


def is_taken(reply: Message) -> bool:
    """Whether the VEN is told that all is well."""
    response = getattr(reply, "response", None)
    return isinstance(response, EiResponse) and response.code == "200"


async def speak(database: store.Database, ven_id: str, told: Acknowledged) -> None:
    """What a VEN says, noted down as soon as it is told that it was taken."""
    for number in range(REPORTS):
        if is_taken(await say(database, usage(ven_id, [(NOW - number * QUARTER, float(number))]))):
            told.readings.append(float(number))
        offered = await say(database, RequestEvent(request_id="q", ven_id=ven_id))
        for each in offered.events if isinstance(offered, DistributeEvent) else ():
            answered = is_taken(await say(database, created_event(ven_id, each)))
            if answered and each.event_id not in told.answers:
                told.answers.append(each.event_id)
        if is_taken(
            await say(database, schedule(ven_id, opt_id=f"o{number}", market_context=f"http://m/{number}"))
        ):
            told.opts.append(f"o{number}")


async def work(disk: Disk, database: store.Database, ven_id: str) -> Acknowledged:
    """What the clients do until the power is gone or they are done."""
    told = Acknowledged()
    log = Log(ORIGIN, KEY)

    async def publish_events() -> None:
        for number in range(EVENTS):
            async with database.write() as conn:
                await event.publish(conn, make_event(f"e{number}"), ven_id, NOW, anything_goes)
            told.events.append(f"e{number}")

    async def write_facts(client: int) -> None:
        for number in range(FACTS):
            body = {"energy_wh": number, "padding": "x" * 700}
            async with database.write() as conn:
                await journal.record(conn, "report", ven_id, f"{client}/{number}", body=body, now=NOW)
            told.facts.append(f"report/{ven_id}/{client}/{number}")

    async def seal() -> None:
        for _ in range(SEALS):
            await audit.seal(database, log)
            async with database.write() as conn:
                checkpoint = await log.publish(conn, NOW)
            if checkpoint is not None:
                told.checkpoints.append(checkpoint.text())

    async def until_dark(client: Callable[[], Awaitable[None]]) -> None:
        with suppress(StoreError, DBAPIError, sqlite3.Error):
            await client()

    await asyncio.gather(
        *(
            until_dark(client)
            for client in (
                publish_events,
                lambda: write_facts(1),
                lambda: write_facts(2),
                seal,
                lambda: speak(database, ven_id, told),
            )
        )
    )
    return told


async def trial(vfs: CrashVFS, disk: Disk, database: store.Database, ven_id: str) -> Acknowledged:
    """One life of a server, to its power cut. Its database object is kept, its connections are not."""
    vfs.insert(disk)
    told = await work(disk, database, ven_id)
    if not disk.dead:
        disk.cut()
    with suppress(Exception):  # closing needs the disk, which is gone
        await database._writer.dispose()
    return told


def examine(left: dict[str, bytes], told: Acknowledged, directory: Path) -> tuple[int, list[str]]:
    """How many acknowledged facts are lost, and what else is wrong with the file."""
    path = directory / "left.db"
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    for suffix in ("", "-wal"):
        if PATH + suffix in left:
            Path(f"{path}{suffix}").write_bytes(left[PATH + suffix])
    connection = sqlite3.connect(f"file:{path}?vfs=unix", uri=True)
    try:
        integrity = connection.execute("PRAGMA integrity_check").fetchall()
        if integrity != [("ok",)]:
            return told.count(), [f"integrity: {integrity[:3]}"]
        return _lost(connection, told), _broken(connection)
    except sqlite3.DatabaseError as error:
        return told.count(), [f"unreadable: {error}"]
    finally:
        connection.close()


def _column(connection: sqlite3.Connection, query: str) -> list[Any]:
    return [row[0] for row in connection.execute(query)]


def _lost(connection: sqlite3.Connection, told: Acknowledged) -> int:
    events = set(_column(connection, "SELECT event_id FROM vtn_event"))
    facts = set(_column(connection, "SELECT key FROM vtn_journal"))
    notes = set(_column(connection, "SELECT note FROM ledger_checkpoint"))
    answers = set(_column(connection, "SELECT event_id FROM vtn_opt WHERE source = 'created_event'"))
    readings = set(_column(connection, "SELECT value FROM vtn_reading"))
    opts = set(_column(connection, "SELECT opt_id FROM vtn_opt WHERE source = 'create_opt'"))
    pairs = (
        (told.events, events),
        (told.facts, facts),
        (told.checkpoints, notes),
        (told.answers, answers),
        (told.readings, readings),
        (told.opts, opts),
    )
    return sum(len(set(acknowledged) - left) for acknowledged, left in pairs)


def _broken(connection: sqlite3.Connection) -> list[str]:
    """What a half-kept transaction would show."""
    faults = []
    events = set(_column(connection, "SELECT event_id FROM vtn_event"))
    offered = set(_column(connection, "SELECT key FROM vtn_outbox WHERE kind = 'event'"))
    signals = {
        key.split("/")[2] for key in _column(connection, "SELECT key FROM vtn_journal WHERE kind = 'signal'")
    }
    answered = set(_column(connection, "SELECT event_id FROM vtn_event WHERE responded_at IS NOT NULL"))
    if not events == offered | answered == signals or offered & answered:
        faults.append(f"events {events}, outbox {offered} and journal {signals} differ")
    leaves = connection.execute(
        "SELECT leaf_index, key, salt, canonical FROM ledger_leaf ORDER BY leaf_index"
    ).fetchall()
    if [row[0] for row in leaves] != list(range(len(leaves))):
        faults.append("leaf indices have gaps")
    sealed = dict(connection.execute("SELECT name, seq FROM agg_position").fetchall())
    keys = [row[1] for row in leaves]
    own = [key for key in keys if key.startswith("checkpoint/")]
    up_to = sealed.get(audit.JOURNAL, 0)
    facts = _column(connection, f"SELECT key FROM vtn_journal WHERE seq <= {up_to} ORDER BY seq")
    if [key for key in keys if not key.startswith("checkpoint/")] != facts:
        faults.append("the log does not hold exactly the facts that are marked as sealed")
    up_to = sealed.get(audit.CHECKPOINTS, 0)
    signed = _column(connection, f"SELECT size FROM ledger_checkpoint WHERE size <= {up_to} ORDER BY size")
    if own != [f"checkpoint/{size}" for size in signed]:
        faults.append("the log does not hold exactly the checkpoints that are marked as sealed")
    hashes = [merkle.leaf_hash(salt, canonical) for _, _, salt, canonical in leaves]
    for note in _column(connection, "SELECT note FROM ledger_checkpoint"):
        checkpoint = Checkpoint.parse(note)
        checkpoint.verify(KEY.verifier)
        if len(hashes) < checkpoint.size or _root(hashes[: checkpoint.size]) != checkpoint.root:
            faults.append(f"the checkpoint of {checkpoint.size} leaves is not of the leaves that are there")
    return faults


def _root(hashes: list[bytes]) -> bytes:
    return merkle.range_hash(
        (0, len(hashes)),
        lambda tree: merkle.complete_root(hashes[tree[1] << tree[0] : (tree[1] + 1) << tree[0]]),
    )


async def run(cuts: int, seed: int, synchronous: str, directory: Path) -> Tally:
    """All trials."""
    tally = Tally()
    chance = random.Random(seed)
    image, ven_id = await template(directory)
    vfs, whole = CrashVFS(), Disk({PATH: image}, -1, seed)
    prepare_connections(synchronous)
    vfs.insert(whole)
    database = await store.Database.open(PATH)
    await database._reader.dispose()  # its own index would not see what the writer does,
    database.read = database.write  # type: ignore[method-assign]  # so the writer reads for it
    await trial(vfs, whole, database, ven_id)
    for _ in range(cuts):
        disk = Disk({PATH: image}, chance.randint(1, whole.steps), chance.getrandbits(32))
        told = await trial(vfs, disk, database, ven_id)
        lost, faults = examine(disk.left, told, directory)
        tally.cuts += 1
        tally.acknowledged += told.count()
        tally.lost += lost
        tally.broken += faults
    return tally


def main() -> None:
    """Run as asked for on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuts", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--synchronous", choices=("shipped", "NORMAL"), default="shipped")
    arguments = parser.parse_args()
    sys.setswitchinterval(0.0002)  # each statement is a hand-over to the database thread and back
    with tempfile.TemporaryDirectory() as directory:
        tally = asyncio.run(run(arguments.cuts, arguments.seed, arguments.synchronous, Path(directory)))
    sys.stdout.write(json.dumps({**vars(tally), "broken": tally.broken[:5]}) + "\n")


if __name__ == "__main__":
    main()
