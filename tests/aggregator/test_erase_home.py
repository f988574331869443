"""One home behind a node is erased everywhere, byte for byte; its node's and all others' proofs hold."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import zlib
from contextlib import closing
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aggregator.backup import make
from aggregator.check import check_rows
from aggregator.erase_home import erase_home
from aggregator.errors import RequestRefusedError, UnknownObjectError
from aggregator.restore import Restored, Wishes, restore
from aggregator.settings import AggregatorSettings
from flexpact.commands import ledger_check
from flexpact.migrations import upgrade
from ledger import offline
from ledger.check import check_log
from ledger.checkpoint import SigningKey
from ledger.errors import LedgerError, TamperedError
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.tombstone import path_beside, read
from ledger.trust import Trust
from ledger.verify import Status, Step, verify_receipt
from openadr import Message, RegisterReport, UpdateReport, encode
from tests.aggregator.box import Box
from tests.aggregator.chain import Chain
from tests.aggregator.conftest import END, ORIGIN, Prepared, node_settings, running, write_settings
from tests.aggregator.sealed import write_config
from vtn import original
from vtn.schema import micros
from vtn.store import Database

NOW = datetime(2026, 2, 1, tzinfo=UTC)
HOME, CANARY, VALUE = "home-01", "canary-77", 31337.25
"""The home's name as it is everywhere else, its own name, and a value that nobody else has."""


def renamed(value: Any) -> Any:
    """A message in which the home has its own name."""
    if isinstance(value, tuple):
        return tuple(map(renamed, value))
    if is_dataclass(value) and not isinstance(value, type):
        changes = {f.name: renamed(getattr(value, f.name)) for f in fields(value) if f.init}
        return replace(value, **changes)
    return CANARY if value == HOME else value


@dataclass
class CanaryBox(Box):
    """A node with a home that no other node has."""

    async def say(self, message: Message) -> Message:
        return await super().say(renamed(message) if isinstance(message, RegisterReport) else message)

    def value(self, r_id: str, instant: datetime) -> float:
        return VALUE if r_id == CANARY else super().value(r_id, instant)


@dataclass(frozen=True)
class Run:
    """A stopped aggregator that knew the canary, a backup of it, and what an outsider was given."""

    folder: Path
    statements: tuple[int, ...]
    """Leaves of the statements."""
    files: dict[int, dict[str, str]]
    trust: str

    @property
    def backup(self) -> Path:
        return self.folder / "backup.tar"

    def copy(self, folder: Path) -> AggregatorSettings:
        """The aggregator once more, in a folder of the caller's."""
        folder.mkdir(exist_ok=True)
        for name in ("aggregator.sqlite", "log.key"):
            shutil.copy(self.folder / name, folder / name)
        write_config(folder)
        return write_settings(folder, [node_settings(n) for n in (1, 2, 3)])


@pytest.fixture(scope="module")
def run(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An evening with an event, settled, sealed, anchored."""
    made = asyncio.run(_run(prepared, tmp_path_factory.mktemp("canary")))
    assert not list(made.folder.glob("aggregator.sqlite-*")), "the stopped aggregator holds its database"
    return made


async def _run(prepared: Prepared, folder: Path) -> Run:
    boxes = prepared.copy(folder)
    boxes[0] = CanaryBox(**{f.name: getattr(boxes[0], f.name) for f in fields(Box) if f.init})
    with closing(sqlite3.connect(folder / "aggregator.sqlite", isolation_level=None)) as conn:
        conn.execute("INSERT INTO vtn_traced SELECT ven_id, 0 FROM vtn_ven WHERE ven_name = 'node-1'")
    (folder / "chain").mkdir()
    chain = Chain(folder / "chain")
    settings = write_settings(folder, [node_settings(n) for n in (1, 2, 3)], chain=await chain.start())
    try:
        async with running(settings, boxes) as platform:
            await boxes[0].offer_reports(platform.clock.now)
            await platform.ask(5)
            await platform.jump(END)
            await platform.settled(2)
            sealed = await platform.post("/seal", {"timeout_s": 60})
            assert sealed["complete"] is True
            with offline.reading(settings.database) as conn:
                statements = tuple(index for index, _ in offline.leaves_like(conn, "statement/"))
            files = {index: await platform.get(f"/receipts/{index}") for index in statements}
            trust = (await platform.get("/trust"))["trust"]
    finally:
        await chain.close()
    await _keep_a_signed_message(settings, boxes[0])
    made = Run(folder, statements, files, trust)
    make(settings, made.backup, version="1", now=NOW)
    return made


async def _keep_a_signed_message(settings: AggregatorSettings, box: Box) -> None:
    """A report as a VEN that signs would have sent it."""
    request = box.asked["telemetry"]
    message = UpdateReport(request_id="1", reports=(), ven_id=box.ven_id)
    raw = encode(message).replace(b"</", f'<!--"{CANARY}" {request.report_request_id}--></'.encode(), 1)
    database = await Database.open(settings.database)
    async with database.write() as conn:
        await original.keep(conn, sha256(raw).hexdigest(), box.ven_id, raw, NOW)
    await database.close()


def command(*words: object) -> Result:
    return CliRunner().invoke(ledger_check.app, ["erase", *map(str, words)])


def left(folder: Path, *secrets: bytes) -> list[str]:
    """Where a secret still stands: any byte of any file, and any packed value of the database."""
    found = [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and any(secret in path.read_bytes() for secret in secrets)
    ]
    with closing(sqlite3.connect(folder / "aggregator.sqlite")) as conn:
        for (table,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in conn.execute(f"SELECT * FROM {table}"):
                values = [_unpacked(value) for value in row if isinstance(value, bytes)]
                if VALUE in row or any(secret in value for secret in secrets for value in values):
                    found.append(f"{table} {row[:3]}")
    return found


def _unpacked(raw: bytes) -> bytes:
    try:
        return zlib.decompress(raw)
    except zlib.error:
        return raw


def secrets_of(database: Path) -> list[bytes]:
    """The home's name, its value as a message has it, and the salts of its shares."""
    with closing(sqlite3.connect(database)) as conn:
        details = [json.loads(row[0]) for row in conn.execute("SELECT detail FROM agg_statement")]
    salts = [d["share_salts"][CANARY].encode() for d in details if CANARY in d["share_salts"]]
    assert salts
    return [CANARY.encode(), str(VALUE).encode(), *salts]


def checked(settings: AggregatorSettings) -> list[Step]:
    trust = Trust.from_file(Trust((_log_key(settings),)).to_file())
    with offline.reading(settings.database) as conn:
        return [*check_log(conn, trust, lambda *_: None), *check_rows(conn, lambda *_: None)]


def _log_key(settings: AggregatorSettings) -> Any:
    from ledger.trust import LogKey  # noqa: PLC0415 - of this alone

    return LogKey(SigningKey.load(settings.database.with_name("log.key")).verifier)


def put_back(run: Run, target: AggregatorSettings, *erasures: Path) -> Restored:
    target.database.unlink()
    return restore(run.backup, target, Wishes(erasures=erasures), NOW, migrate=upgrade)


@pytest.mark.goal(86)
def test_no_byte_of_an_erased_home_is_left_and_its_node_stays(run: Run, tmp_path: Path) -> None:
    settings = run.copy(tmp_path / "a")
    secrets = secrets_of(settings.database)
    tables = {place.split()[0] for place in left(tmp_path / "a", *secrets)}
    assert {"vtn_trace", "vtn_original", "vtn_reading", "vtn_report_spec"} <= tables
    shown = command("node-1", "--home", CANARY, "--config", tmp_path / "a" / "aggregator.toml")
    assert "nothing was changed" in shown.output
    assert left(tmp_path / "a", *secrets)
    done = command("node-1", "--home", CANARY, "--config", tmp_path / "a" / "aggregator.toml", "--yes")
    assert done.exit_code == 0, done.exception
    assert f"node-1 said that it reports {CANARY}" in done.output
    assert left(tmp_path / "a", *secrets) == []
    with closing(sqlite3.connect(settings.database)) as conn:
        kept = dict(conn.execute(
            "SELECT r_id, count(*) FROM vtn_reading NATURAL JOIN vtn_ven WHERE ven_name = 'node-1'"
            " GROUP BY r_id"
        ))  # fmt: skip
        details = [json.loads(row[0]) for row in conn.execute("SELECT detail FROM agg_statement")]
    assert {"load", "home-02", "home-03"} <= kept.keys()
    assert [sorted(each["shares_minor"]) for each in details].count(["home-02", "home-03"]) == 1


@pytest.mark.goal(86)
def test_the_node_s_statements_still_verify_and_the_log_says_erased(run: Run, tmp_path: Path) -> None:
    settings = run.copy(tmp_path / "a")
    before = checked(settings)
    done = erase_home(settings.database, "node-1", CANARY, NOW, SigningKey.load(tmp_path / "a" / "log.key"))
    assert done.leaves
    assert not set(done.leaves) & set(run.statements)
    after = {step.name: step for step in checked(settings)}
    assert "1 homes' shares were erased from statements" in after["shares"].text
    assert after["agg_statement"].status is Status.CHECKED
    assert [step.name for step in before] == list(after)
    for files in run.files.values():
        record = Record.from_file(files["record"].encode())
        verified = verify_receipt(
            record, Receipt.from_file(files["receipt"].encode()), Trust.from_file(run.trust.encode())
        )
        assert all(step.status is Status.CHECKED for step in verified.steps)


@pytest.mark.goal(86)
def test_no_hash_is_left_that_was_made_of_the_home_s_values(run: Run, tmp_path: Path) -> None:
    """Beside the other homes' values the hash of a report tells an erased one to whoever tries all."""
    settings = run.copy(tmp_path / "a")
    with closing(sqlite3.connect(settings.database)) as conn:
        ven_id, request = conn.execute(
            "SELECT ven_id, report_request_id FROM vtn_report_request WHERE r_ids LIKE ?"
            " AND report_name = 'TELEMETRY_USAGE'",
            (f"%{CANARY}%",),
        ).fetchone()

    def facts() -> list[str]:
        with closing(sqlite3.connect(settings.database)) as conn:
            rows = conn.execute(
                "SELECT ven_id || body FROM vtn_journal UNION ALL SELECT CAST(canonical AS TEXT)"
                " FROM ledger_leaf WHERE canonical IS NOT NULL"
            )
            return [body for (body,) in rows if f'"{request}"' in body and ven_id in body]

    assert [fact for fact in facts() if "values_sha256" in fact]
    erase_home(settings.database, "node-1", CANARY, NOW, SigningKey.load(tmp_path / "a" / "log.key"))
    assert not [fact for fact in facts() if "values_sha256" in fact]


def test_a_share_that_somebody_took_out_is_found(run: Run, tmp_path: Path) -> None:
    settings = run.copy(tmp_path / "a")
    erase_home(settings.database, "node-1", CANARY, NOW, SigningKey.load(tmp_path / "a" / "log.key"))
    with closing(sqlite3.connect(settings.database, isolation_level=None)) as conn:
        for seq, text in conn.execute("SELECT seq, detail FROM agg_statement").fetchall():
            from aggregator import share, store  # noqa: PLC0415 - as the thief would

            rest, _ = share.erased(json.loads(text), "home-02")
            conn.execute("UPDATE agg_statement SET detail = ? WHERE seq = ?", (store.detail_text(rest), seq))
    with pytest.raises(TamperedError, match="a home's share is gone, and no record says that it was erased"):
        checked(settings)


def test_a_share_that_somebody_changed_is_found(run: Run, tmp_path: Path) -> None:
    settings = run.copy(tmp_path / "a")
    with closing(sqlite3.connect(settings.database, isolation_level=None)) as conn:
        seq, text = conn.execute("SELECT seq, detail FROM agg_statement LIMIT 1").fetchone()
        detail = json.loads(text)
        detail["shares_minor"]["home-02"] += 1
        conn.execute(
            "UPDATE agg_statement SET detail = ? WHERE seq = ?", (json.dumps(detail, sort_keys=True), seq)
        )
    with pytest.raises(TamperedError, match="shares is not what was sealed"):
        checked(settings)


@pytest.mark.goal(86)
def test_an_older_backup_brings_no_erased_home_or_node_back(run: Run, tmp_path: Path) -> None:
    settings = run.copy(tmp_path / "a")
    key = SigningKey.load(tmp_path / "a" / "log.key")
    secrets = secrets_of(settings.database)
    with closing(sqlite3.connect(settings.database)) as conn:
        (other,) = conn.execute("SELECT ven_id FROM vtn_ven WHERE ven_name = 'node-3'").fetchone()
    erase_home(settings.database, "node-1", CANARY, NOW, key)
    command("node-3", "--config", tmp_path / "a" / "aggregator.toml", "--yes")
    done = put_back(run, settings)
    assert done.erased == 2
    assert left(tmp_path / "a", *secrets, other.encode(), b"node-3") in ([], [str(tmp_path / "a" / "x")])
    # another machine knows of it by the list alone
    target = run.copy(tmp_path / "b")
    assert put_back(run, target, path_beside(settings.database)).erased == 2
    assert left(tmp_path / "b", *secrets) == []
    assert path_beside(target.database).read_bytes() == path_beside(settings.database).read_bytes()
    # and a later backup knows it by itself
    make(target, tmp_path / "later.tar", version="1", now=NOW)
    assert not any(secret in (tmp_path / "later.tar").read_bytes() for secret in secrets)
    third = run.copy(tmp_path / "c")
    third.database.unlink()
    assert restore(tmp_path / "later.tar", third, Wishes(), NOW, migrate=upgrade).erased == 0
    assert path_beside(third.database).exists()


def test_what_is_the_node_s_own_or_nobody_s_is_refused(run: Run, tmp_path: Path) -> None:
    settings = run.copy(tmp_path / "a")
    key = SigningKey.load(tmp_path / "a" / "log.key")
    with pytest.raises(RequestRefusedError, match="'load' is node-1's own"):
        erase_home(settings.database, "node-1", "load", NOW, key)
    with pytest.raises(UnknownObjectError, match="nothing is kept of a home 'home-99' behind node-1"):
        erase_home(settings.database, "node-1", "home-99", NOW, key)
    assert not path_beside(settings.database).exists()


def test_an_event_for_the_home_that_is_not_over_comes_first(run: Run, tmp_path: Path) -> None:
    settings = run.copy(tmp_path / "a")
    key = SigningKey.load(tmp_path / "a" / "log.key")
    with closing(sqlite3.connect(settings.database, isolation_level=None)) as conn:
        conn.execute(
            "UPDATE vtn_event SET content = CAST(content || ? AS BLOB), ends_at = ?",
            (f'<!--"{CANARY}"-->', micros(NOW) + 1),
        )
    with pytest.raises(RequestRefusedError, match=f"is addressed to '{CANARY}' and not over; cancel it"):
        erase_home(settings.database, "node-1", CANARY, NOW, key)
    erase_home(settings.database, "node-1", CANARY, NOW + timedelta(seconds=1), key)
    with closing(sqlite3.connect(settings.database)) as conn:
        names = conn.execute("SELECT ven_name FROM vtn_event NATURAL JOIN vtn_ven").fetchall()
    assert names == [("node-2",)]


def test_under_a_new_key_the_list_that_the_old_one_signed_is_taken_with_it(run: Run, tmp_path: Path) -> None:
    settings = run.copy(tmp_path / "a")
    old, new = SigningKey.load(tmp_path / "a" / "log.key"), SigningKey.generate(ORIGIN)
    erase_home(settings.database, "node-1", CANARY, NOW, old)
    with pytest.raises(LedgerError, match=r"aggregator.sqlite.erasures: erasures: signed by another key"):
        erase_home(settings.database, "node-2", HOME, NOW, new)
    erase_home(settings.database, "node-2", HOME, NOW, new, known=[old.verifier])
    listed = read(path_beside(settings.database), ORIGIN, [new.verifier])
    assert len(listed.stones) == 2


async def test_the_aggregator_goes_on_with_the_node_without_the_home(
    run: Run, prepared: Prepared, tmp_path: Path
) -> None:
    settings = run.copy(tmp_path / "a")
    boxes = [replace(box, events={}) for box in prepared.boxes.values()]
    erase_home(settings.database, "node-1", CANARY, NOW, SigningKey.load(tmp_path / "a" / "log.key"))
    async with running(settings, boxes, END + timedelta(days=1)) as platform:
        await boxes[0].poll()
        await boxes[0].offer_reports(platform.clock.now)
        await platform.offer(boxes[0])
        statements = (await platform.get("/statements"))["statements"]
        assert {s["ven_name"] for s in statements} == {"node-1", "node-2"}
        assert CANARY not in json.dumps(statements)
        await platform.post("/seal", {"timeout_s": 1})
    assert left(tmp_path / "a", CANARY.encode()) == []
    assert all(step.status is Status.CHECKED for step in checked(settings))
