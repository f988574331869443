"""A node that is erased is gone from the file, byte for byte; the log of all others still verifies."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aggregator.check import check_rows
from aggregator.erase import Plan, plan
from aggregator.erase import erase as really_erase
from aggregator.errors import RequestRefusedError
from flexpact.commands import ledger_check
from ledger import offline
from ledger.check import check_log
from ledger.checkpoint import SigningKey
from ledger.erasure import erase_leaves, is_authorised
from ledger.errors import TamperedError
from ledger.log import Log
from ledger.tombstone import path_beside
from ledger.trust import Trust
from ledger.verify import Step
from tests.aggregator import record_table
from tests.aggregator.conftest import ORIGIN, Prepared, node_settings, running, write_settings
from tests.aggregator.sealed import LATER, SealedRun, make_sealed_run, write_config
from vtn.store import Database

NOW = datetime(2026, 2, 1, tzinfo=UTC)

Erase = Callable[[Path, str], Plan]


@pytest.fixture(scope="module")
def run(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> SealedRun:
    """One run for all tests; they copy its database."""
    return make_sealed_run(prepared, tmp_path_factory)


@pytest.fixture
def copy(run: SealedRun, tmp_path: Path) -> Path:
    """A database of the test's own."""
    return run.copy(tmp_path)


def checked(path: Path, run: SealedRun) -> list[Step]:
    """What a check of log and rows says."""
    trust = Trust.from_file(run.trust.read_bytes())
    with offline.reading(path) as conn:
        return [*check_log(conn, trust, lambda *_: None), *check_rows(conn, lambda *_: None)]


def ven_id_of(path: Path, name: str) -> str:
    with closing(sqlite3.connect(path)) as conn:
        return str(conn.execute("SELECT ven_id FROM vtn_ven WHERE ven_name = ?", (name,)).fetchone()[0])


def salts_of(path: Path, ven_id: str) -> list[bytes]:
    with closing(sqlite3.connect(path)) as conn:
        rows = conn.execute("SELECT salt FROM ledger_leaf WHERE key LIKE ?", (f"%/{ven_id}/%",))
        return [row[0] for row in rows]


def sign(path: Path, run: SealedRun) -> None:
    """Sign the log as it is, as the aggregator's next checkpoint does."""

    async def publish() -> None:
        database = await Database.open(path)
        try:
            async with database.write() as conn:
                assert await Log(ORIGIN, SigningKey.load(run.log_key)).publish(conn, NOW)
        finally:
            await database.close()

    asyncio.run(publish())


def check_command(path: Path, run: SealedRun) -> Result:
    """`flexpact ledger check` with all that is known from elsewhere."""
    receipts = [word for receipt in run.receipts for word in ("--receipt", str(receipt))]
    words = ["check", "--database", str(path), "--trust", str(run.trust), *receipts]
    return CliRunner().invoke(ledger_check.app, words)


def command(*arguments: object) -> Result:
    return CliRunner().invoke(ledger_check.app, ["erase", *map(str, arguments)])


@pytest.fixture
def erase(run: SealedRun) -> Erase:
    """Erase a node, with the log's key."""
    key = SigningKey.load(run.log_key)
    return lambda path, subject: really_erase(path, subject, NOW, key)


@pytest.mark.goal(86)
def test_no_byte_of_an_erased_node_is_left_in_the_file(erase: Erase, copy: Path) -> None:
    ven_id, other = ven_id_of(copy, "node-1"), ven_id_of(copy, "node-2")
    with closing(sqlite3.connect(copy)) as conn:
        (fingerprint,) = conn.execute(
            "SELECT fingerprint FROM vtn_certificate WHERE ven_id = ?", (ven_id,)
        ).fetchone()
    secrets = [ven_id.encode(), b"node-1", fingerprint.encode(), *salts_of(copy, ven_id)]
    assert len(secrets) > 10
    assert all(secret in copy.read_bytes() for secret in secrets)
    done = erase(copy, "node-1")
    assert done.leaves
    assert {"vtn_reading", "vtn_journal", "agg_statement", "vtn_certificate", "vtn_ven"} <= done.rows.keys()
    for file in copy.parent.glob(f"{copy.name}*"):
        content = file.read_bytes()
        assert not [secret for secret in secrets if secret in content]
        assert other.encode() in content or file != copy


@pytest.mark.goal(86)
def test_the_log_still_verifies_and_says_what_was_erased(erase: Erase, copy: Path, run: SealedRun) -> None:
    before = checked(copy, run)
    done = erase(copy, ven_id_of(copy, "node-2"))
    assert check_command(copy, run).exit_code == 3  # nobody has signed the record yet
    sign(copy, run)
    after = checked(copy, run)
    assert [step.status for step in after] == [step.status for step in before]
    assert f"{len(done.leaves)} of them were erased" in after[0].text
    again = erase(copy, "node-1")
    sign(copy, run)
    assert f"{len(done.leaves) + len(again.leaves)} of them were erased" in checked(copy, run)[0].text
    assert check_command(copy, run).exit_code == 0


def erase_like_a_stranger(path: Path) -> int:
    """As one who can write the file and has no key of the log: a leaf is destroyed and such a record added,
    and its row is gone as well; the leaf's index.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        index, key = conn.execute(
            "SELECT leaf_index, key FROM ledger_leaf WHERE key LIKE 'opt/%' ORDER BY leaf_index DESC LIMIT 1"
        ).fetchone()
        conn.execute("DELETE FROM vtn_journal WHERE key = ?", (key,))
        erase_leaves(conn, [index], NOW, SigningKey.generate(ORIGIN))
    return int(index)


def test_an_erasure_that_the_logs_key_did_not_sign_is_found_and_never_signed_over(
    erase: Erase, copy: Path, run: SealedRun
) -> None:
    erase(copy, "node-2")
    sign(copy, run)
    index = erase_like_a_stranger(copy)
    said = f"ledger_leaf {index}: payload or salt is gone, and no record that the log's key signed says"
    with pytest.raises(TamperedError, match=said):
        checked(copy, run)
    with pytest.raises(TamperedError, match="it tells of an erasure that the log's key did not sign"):
        sign(copy, run)


def test_the_record_of_an_erasure_cannot_be_made_to_tell_of_more(
    erase: Erase, copy: Path, run: SealedRun
) -> None:
    erase(copy, "node-2")
    with closing(sqlite3.connect(copy, isolation_level=None)) as conn:
        index, canonical = conn.execute(
            "SELECT leaf_index, canonical FROM ledger_leaf WHERE key LIKE 'erasure/%'"
        ).fetchone()
    keys = [SigningKey.load(run.log_key).verifier]
    assert is_authorised(index, canonical, keys)
    assert not is_authorised(index + 1, canonical, keys)
    assert not is_authorised(index, canonical.replace(b'"leaves":[[', b'"leaves":[[0,1],['), keys)
    assert not is_authorised(index, canonical, [SigningKey.generate(ORIGIN).verifier])
    for broken in (b"", b"{", b'{"body":[]}', b'{"body":{"signature":1}}', b"[" * 5000):
        assert not is_authorised(index, broken, keys)


def test_a_leaf_without_payload_is_erased_only_if_a_record_says_so(copy: Path, run: SealedRun) -> None:
    with closing(sqlite3.connect(copy, isolation_level=None)) as conn:
        conn.execute(
            "UPDATE ledger_leaf SET key = 'erased/5', salt = NULL, canonical = NULL WHERE leaf_index = 5"
        )
    with pytest.raises(
        TamperedError, match="no record that the log's key signed says that it was erased"
    ) as caught:
        checked(copy, run)
    assert caught.value.record == "ledger_leaf 5"


def test_an_erased_leaf_that_is_put_back_is_found(erase: Erase, copy: Path, run: SealedRun) -> None:
    done = erase(copy, "node-1")
    with closing(sqlite3.connect(copy, isolation_level=None)) as conn:
        conn.execute("UPDATE ledger_leaf SET key = 'x' WHERE leaf_index = ?", (done.leaves[0],))
    with pytest.raises(TamperedError, match="it is not erased, and a record says that it was"):
        checked(copy, run)


def test_a_changed_hash_of_an_erased_leaf_is_found(erase: Erase, copy: Path, run: SealedRun) -> None:
    done = erase(copy, "node-1")
    with closing(sqlite3.connect(copy, isolation_level=None)) as conn:
        (content,) = conn.execute(
            "SELECT hashes FROM ledger_tile WHERE level = 0 AND tile_index = 0"
        ).fetchone()
        at = done.leaves[0] * 32
        content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        conn.execute("UPDATE ledger_tile SET hashes = ? WHERE level = 0 AND tile_index = 0", (content,))
    with pytest.raises(TamperedError):
        checked(copy, run)


def test_a_node_with_an_open_account_is_not_erased(erase: Erase, copy: Path) -> None:
    with closing(sqlite3.connect(copy, isolation_level=None)) as conn:
        conn.execute("UPDATE agg_call SET settled_revision = 0")
    before = copy.read_bytes()
    with pytest.raises(RequestRefusedError, match="node-1 still has 1 calls without a statement"):
        erase(copy, "node-1")
    assert copy.read_bytes() == before


def test_a_database_in_use_is_not_touched(erase: Erase, copy: Path) -> None:
    with closing(sqlite3.connect(copy, isolation_level=None)) as conn:
        conn.execute("SELECT count(*) FROM vtn_ven").fetchone()
        with pytest.raises(RequestRefusedError, match="is in use; stop the aggregator first"):
            erase(copy, "node-1")
        assert conn.execute("SELECT count(*) FROM vtn_ven WHERE ven_name = 'node-1'").fetchone() == (1,)


def test_a_failure_in_the_middle_leaves_everything(erase: Erase, copy: Path) -> None:
    with closing(sqlite3.connect(copy, isolation_level=None)) as conn:
        conn.execute("CREATE TRIGGER no BEFORE DELETE ON vtn_ven BEGIN SELECT RAISE(ABORT, 'no'); END")
        leaves = conn.execute("SELECT count(*) FROM ledger_leaf WHERE salt IS NOT NULL").fetchone()
    with pytest.raises(sqlite3.IntegrityError):
        erase(copy, "node-1")
    with closing(sqlite3.connect(copy, isolation_level=None)) as conn:
        assert conn.execute("SELECT count(*) FROM ledger_leaf WHERE salt IS NOT NULL").fetchone() == leaves


def test_the_command_shows_first_and_does_it_when_told(copy: Path, run: SealedRun) -> None:
    database = copy.rename(copy.with_name("aggregator.sqlite"))
    shutil.copy(run.log_key, copy.with_name("log.key"))
    config = write_config(copy.parent)
    before = database.read_bytes()
    shown = command("node-1", "--config", config)
    assert (shown.exit_code, database.read_bytes()) == (0, before)
    assert "nothing was changed" in shown.output
    assert not path_beside(database).exists()
    with offline.reading(database) as conn:
        expected = plan(conn, "node-1")
    assert f"payload and salt of {len(expected.leaves)} leaves" in shown.output
    done = command("node-1", "--config", config, "--yes")
    assert (done.exit_code, done.output.split()[0]) == (0, "erased")
    assert "the aggregator's next checkpoint signs the record of it" in done.output
    again = command("node-1", "--config", config, "--yes")
    assert (again.exit_code, "no VEN has the venID or the name 'node-1'" in str(again.exception)) == (1, True)


async def test_the_aggregator_goes_on_without_the_erased_node(
    erase: Erase, prepared: Prepared, run: SealedRun, tmp_path: Path
) -> None:
    boxes = prepared.copy(tmp_path)
    run.copy(tmp_path).rename(tmp_path / "aggregator.sqlite")
    (tmp_path / "log.key").unlink(missing_ok=True)
    shutil.copy(run.log_key, tmp_path / "log.key")
    erase(tmp_path / "aggregator.sqlite", "node-1")
    settings = write_settings(tmp_path, [node_settings(n) for n in (2, 3)])
    async with running(settings, boxes[1:], LATER + timedelta(days=1)) as platform:
        await platform.offer(platform.boxes["node-2"])
        assert {s["ven_name"] for s in (await platform.get("/statements"))["statements"]} == {"node-2"}
        await platform.post("/seal", {"timeout_s": 1})
    assert "of them were erased" in checked(settings.database, run)[0].text


async def test_every_kind_and_field_of_a_sealed_run_is_in_the_table_of_the_docs(
    run: SealedRun, copy: Path
) -> None:
    await record_table.add_the_rest(copy, SigningKey.load(run.log_key))
    found, told = record_table.sealed(copy), record_table.documented()
    assert found.keys() == told.keys()
    assert {(kind, field) for kind in found for field in found[kind] - told[kind]} == set()
    never = {(kind, field) for kind in told for field in told[kind] - found[kind]}
    assert never == record_table.NOT_IN_THIS_RUN
