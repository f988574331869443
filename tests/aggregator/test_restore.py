"""A backup that is put back: nodes go on, nothing published forks, and what was erased stays gone."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

import aiohttp
import pytest
from typer.testing import CliRunner

from aggregator.backup import make
from aggregator.errors import BackupError
from aggregator.restore import Wishes, restore
from aggregator.settings import AggregatorSettings
from flexpact.commands import backup
from flexpact.migrations import upgrade
from ledger import offline
from ledger.checkpoint import SigningKey
from ledger.witness import Witness, make_witness, request_text
from ledger.witness_server import WitnessServer
from tests.aggregator.chain import Chain
from tests.aggregator.conftest import END, Prepared, node_settings, running, write_settings
from tests.aggregator.sealed import SealedRun, make_sealed_run
from tests.aggregator.test_backup import aggregator, cut
from tests.aggregator.test_process import Process
from tests.aggregator.test_witnessing import asking
from tests.ven.site import Site
from tests.ven.wire import Proxy, eventually, plain
from ven.client import run as run_ven
from ven.store import Store

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def run(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> SealedRun:
    """One run for all tests; they copy its database."""
    return make_sealed_run(prepared, tmp_path_factory)


def put_back(file: Path, settings: AggregatorSettings, wishes: Wishes = Wishes()) -> None:  # noqa: B008 - frozen
    restore(file, settings, wishes, NOW, migrate=upgrade)


def moved(settings: AggregatorSettings, folder: Path) -> AggregatorSettings:
    """The same aggregator on another machine, without a database."""
    folder.mkdir()
    return settings.model_copy(update={"state": folder, "socket": folder / "control"})


async def test_chain_and_database_say_what_a_backup_is_too_old_for(
    prepared: Prepared, tmp_path: Path
) -> None:
    boxes = prepared.copy(tmp_path)
    (tmp_path / "chain").mkdir()
    chain = Chain(tmp_path / "chain")
    settings = write_settings(tmp_path, [node_settings(n) for n in (1, 2, 3)], chain=await chain.start())
    old, new, empty = tmp_path / "old.tar", tmp_path / "new.tar", tmp_path / "empty.tar"
    try:
        await asyncio.to_thread(make, settings, empty, version="1", now=NOW)
        async with running(settings, boxes) as platform:
            await platform.post("/seal", {"timeout_s": 60})
            await asyncio.to_thread(make, settings, old, version="1", now=NOW)
            await platform.jump(END)
            sealed = await platform.post("/seal", {"timeout_s": 60})
            assert sealed["complete"] is True
            await asyncio.to_thread(make, settings, new, version="1", now=NOW)
        said = f"contract 0x.* holds a checkpoint of {sealed['leaves']} leaves, .* a fork"
        for number, file in enumerate((old, empty)):
            with pytest.raises(BackupError, match=said):
                await asyncio.to_thread(put_back, file, moved(settings, tmp_path / str(number)))
        await asyncio.to_thread(put_back, new, moved(settings, tmp_path / "new"))
        SigningKey.generate("test.example/second").save(tmp_path / "second.key")
        log = settings.log.model_copy(
            update={"origin": "test.example/second", "key_file": tmp_path / "second.key"}
        )
        second = moved(settings, tmp_path / "second").model_copy(update={"log": log})
        with pytest.raises(BackupError, match="of another log: deploy a new one"):
            await asyncio.to_thread(put_back, old, second, Wishes(new_log=True))
        await chain.switch_off()
        with pytest.raises(BackupError, match="what was published of the log is not known"):
            await asyncio.to_thread(put_back, old, moved(settings, tmp_path / "dark"))
        await asyncio.to_thread(put_back, old, moved(settings, tmp_path / "asked"), Wishes(ask=False))
        await asyncio.to_thread(put_back, old, second, Wishes(new_log=True, ask=False))
        async with running(second, prepared.copy(tmp_path / "second"), END) as platform:
            again = await platform.post("/seal", {"timeout_s": 0.1})
            assert again["leaves"] > 0
    finally:
        await chain.close()


async def test_a_witness_says_what_a_backup_is_too_old_for(run: SealedRun, tmp_path: Path) -> None:
    key = make_witness(tmp_path / "witness", "dso.example/witness")
    witness = Witness(tmp_path / "witness", [SigningKey.load(run.log_key).verifier])
    server = WitnessServer(witness, lambda: NOW)
    await server.start("127.0.0.1", 0)
    full = asking(aggregator(tmp_path / "full", run, database=True), key, server.url)
    old = asking(aggregator(tmp_path / "old", run, database=True), key, server.url)
    lost = cut(old.database, 1)
    make(full, tmp_path / "full.tar", version="1", now=NOW)
    make(old, tmp_path / "old.tar", version="1", now=NOW)
    try:
        # a witness that does not know the log, then one that has seen the newest checkpoint
        await asyncio.to_thread(put_back, tmp_path / "full.tar", moved(full, tmp_path / "a"))
        witness.add_checkpoint(request_text(0, [], lost.text()).encode(), NOW)
        said = f"the witness dso.example/witness holds a checkpoint of {lost.size} leaves"
        with pytest.raises(BackupError, match=said):
            await asyncio.to_thread(put_back, tmp_path / "old.tar", moved(old, tmp_path / "b"))
        await asyncio.to_thread(put_back, tmp_path / "full.tar", moved(full, tmp_path / "c"))
    finally:
        await server.stop()
        witness.close()
    with pytest.raises(BackupError, match=r"dso.example/witness does not answer"):
        await asyncio.to_thread(put_back, tmp_path / "full.tar", moved(full, tmp_path / "d"))


@contextmanager
def writing(database: Path) -> Iterator[None]:
    """Somebody who writes two rows in each transaction, without a pause."""
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        conn.execute("PRAGMA journal_mode=WAL")
        conn.execute("CREATE TABLE one (n INTEGER)")
        conn.execute("CREATE TABLE two (n INTEGER)")
    stop, begun = Event(), Event()

    def write() -> None:
        with closing(sqlite3.connect(database, isolation_level=None, timeout=30)) as conn:
            while not stop.is_set():
                conn.execute("BEGIN IMMEDIATE")
                conn.execute("INSERT INTO one VALUES (1)")
                conn.execute("INSERT INTO two VALUES (1)")
                conn.execute("COMMIT")
                begun.set()

    thread = Thread(target=write)
    thread.start()
    begun.wait(30)
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.goal(52)
def test_a_backup_of_a_database_in_use_is_one_view_of_it(run: SealedRun, tmp_path: Path) -> None:
    settings = aggregator(tmp_path / "from", run, database=True)
    with writing(settings.database):
        for number in range(3):
            make(settings, tmp_path / f"{number}.tar", version="1", now=NOW)
    counts = []
    for number in range(3):
        target = aggregator(tmp_path / f"to{number}", run)
        put_back(tmp_path / f"{number}.tar", target)
        with closing(sqlite3.connect(target.database)) as conn:
            pair = [conn.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("one", "two")]
        assert pair[0] == pair[1]
        counts.append(pair[0])
    assert 0 < counts[0] < counts[2]


class Aggregator(Process):
    """`flexpact aggregator serve` by the real clock, for one VEN."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        super().__init__(folder, [])
        self.set_clock("2026-01-20T14:07:00Z")
        text = self.config.read_text()
        text = text.replace("insecure_dev = true", "insecure_dev = true\npoll_period_s = 1")
        self.config.write_text(text.replace("history_days = 14", "history_days = 1"))

    def set_clock(self, text: str) -> None:
        """Run with the machine's time."""
        self.clock.write_text(f"{datetime.now(UTC).replace(tzinfo=None).isoformat()}Z@{time.time()}x1")

    async def command(self, *words: object) -> None:
        """A command of `flexpact aggregator` on these settings, which succeeds."""
        called = [*map(str, words), "--config", str(self.config)]
        done = await asyncio.to_thread(CliRunner().invoke, backup.app, called)
        assert done.exit_code == 0, done.exception


@asynccontextmanager
async def ven_behind(proxy: Proxy, folder: Path) -> AsyncIterator[Store]:
    """A VEN at work, as a box runs it."""

    def now() -> datetime:
        return datetime.now(UTC)

    settings = plain(proxy.port, folder / "ven.sqlite", ven_name="node-1", poll_jitter=0.0, backoff_cap_s=0.5)
    store, stop = Store.open(settings.state_path), asyncio.Event()
    site = Site(complete_until=now())
    task = asyncio.create_task(run_ven(settings, site, store, now, asyncio.sleep, stop))
    try:
        yield store
        assert not task.done(), task.exception()
    finally:
        stop.set()
        with suppress(asyncio.CancelledError):
            await task
        store.close()


def registered_as(database: Path) -> tuple[str, str | None]:
    with closing(sqlite3.connect(database)) as conn:
        query = "SELECT ven_id, registration_id FROM vtn_ven WHERE ven_name = 'node-1'"
        ven_id, registration_id = conn.execute(query).fetchone()
        return str(ven_id), registration_id


def asked(proxy: Proxy) -> list[str]:
    """The services that the VEN has called so far."""
    return [service for service, _ in proxy.requests]


@pytest.mark.goal(52)
async def test_a_ven_goes_on_with_what_was_restored_on_an_empty_host_and_does_not_register_again(
    prepared: Prepared, tmp_path: Path
) -> None:
    first = Aggregator(tmp_path / "first")
    shutil.copy(prepared.folder / "log.key", first.folder / "log.key")
    second = Aggregator(tmp_path / "second")
    shutil.copy(prepared.folder / "log.key", second.folder / "log.key")
    async with aiohttp.ClientSession() as http:
        try:
            await asyncio.to_thread(first.start, http)
            proxy = Proxy(first.port, fingerprint=f"{1:064x}")
            async with proxy.serving(), ven_behind(proxy, tmp_path):
                await eventually(lambda: asked(proxy).count("OadrPoll") > 2 and "EiReport" in asked(proxy))
                # its history of a day is on its way meanwhile
                await first.command("backup", "--out", tmp_path / "b.tar")
                first.kill()
                proxy.down = lambda _service: True
                await second.command("restore", tmp_path / "b.tar")
                assert registered_as(second.folder / "aggregator.sqlite") == registered_as(
                    first.folder / "aggregator.sqlite"
                )
                await asyncio.to_thread(second.start, http)
                seen = len(proxy.requests)
                proxy.target, proxy.down = second.port, lambda _service: False
                await eventually(lambda: asked(proxy)[seen:].count("OadrPoll") > 3)
                assert "EiRegisterParty" not in asked(proxy)[seen:]
        finally:
            for process in (first, second):
                if process.child is not None:
                    process.kill()
    assert registered_as(second.folder / "aggregator.sqlite")[1]
    with offline.reading(second.folder / "aggregator.sqlite") as conn:
        facts = conn.execute("SELECT count(*) FROM vtn_journal WHERE kind = 'registration'").fetchone()
    assert facts == (1,)
