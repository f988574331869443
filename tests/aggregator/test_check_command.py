"""`flexpact ledger check`, as a person types it, and the files that it reads."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flexpact.commands import ledger_check
from ledger import offline
from ledger.checkpoint import Checkpoint, SigningKey
from ledger.errors import LedgerError
from tests.aggregator.conftest import ORIGIN, Prepared, node_settings, write_settings
from tests.aggregator.sealed import SealedRun, make_sealed_run


@pytest.fixture(scope="module")
def run(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> SealedRun:
    """One run for all tests; they copy its database."""
    return make_sealed_run(prepared, tmp_path_factory)


def command(*arguments: object) -> Result:
    """What the command says, as a person types it."""
    return CliRunner().invoke(ledger_check.app, ["check", *map(str, arguments)])


def test_the_command_exits_zero_where_all_was_checked(run: SealedRun) -> None:
    receipts = [word for receipt in run.receipts for word in ("--receipt", receipt)]
    done = command("--database", run.database, "--trust", run.trust, *receipts)
    assert done.exit_code == 0
    assert done.output.count("the log still holds its") == len(receipts) // 2


def test_without_trust_the_command_exits_three_and_says_what_is_not_known(run: SealedRun) -> None:
    done = command("--database", run.database, "--json", "--receipt", run.receipts[0])
    assert done.exit_code == 3
    unknown = [step["name"] for step in json.loads(done.output)["steps"] if step["status"] != "checked"]
    assert unknown == ["checkpoint", "anchor", "receipt"]


def test_the_command_exits_one_and_names_the_row(run: SealedRun, tmp_path: Path) -> None:
    copy = run.copy(tmp_path)
    with closing(sqlite3.connect(copy, isolation_level=None)) as conn:
        conn.execute("UPDATE vtn_journal SET at = at + 1 WHERE seq = 7")
    done = command("--database", copy, "--trust", run.trust)
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].startswith("FAILED       vtn_journal 7  at is not what was sealed")


def test_a_receipt_of_another_log_is_refused(run: SealedRun, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(Checkpoint.sign(3, bytes(32), SigningKey.generate(ORIGIN)).text(), encoding="utf-8")
    done = command("--database", run.database, "--trust", run.trust, "--receipt", other)
    assert (done.exit_code, "signed by another key" in done.output) == (1, True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "is no database file", id="not there"),
        pytest.param(b"x" * 4096, "cannot be read: file is not a database", id="other file"),
        pytest.param(b"", "cannot be read: no such table", id="empty file"),
    ],
)
def test_what_is_no_database_of_ours_is_said_in_one_sentence(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "some.sqlite"
    if content is not None:
        path.write_bytes(content)
    done = command("--database", path)
    assert (done.exit_code, said in str(done.exception)) == (1, True)


SCHEMAS = (
    pytest.param("UPDATE alembic_version SET version_num = '0009'", "starting the aggregator once", id="old"),
    pytest.param("DELETE FROM alembic_version", "has the schema none", id="unknown"),
    pytest.param("UPDATE alembic_version SET version_num = '9999'", "of a newer version", id="newer"),
    pytest.param("DROP TABLE alembic_version", "is no database of an aggregator", id="none"),
)


@pytest.mark.parametrize(("change", "said"), SCHEMAS)
def test_a_database_of_another_schema_is_not_judged_and_the_way_on_is_said(
    run: SealedRun, tmp_path: Path, change: str, said: str
) -> None:
    copy = run.copy(tmp_path)
    with closing(sqlite3.connect(copy, isolation_level=None)) as conn:
        conn.execute(change)
    done = command("--database", copy)
    assert (done.exit_code, said in str(done.exception)) == (1, True), done.exception
    assert "damaged" not in done.output


@pytest.mark.parametrize(("change", "said"), SCHEMAS[:1])
@pytest.mark.parametrize("wish", [[], ["--yes"]], ids=["shown", "done"])
def test_nothing_is_erased_in_a_database_of_another_schema(
    run: SealedRun, tmp_path: Path, change: str, said: str, wish: list[str]
) -> None:
    settings = write_settings(tmp_path, [node_settings(1)])
    settings.database.unlink(missing_ok=True)
    run.copy(tmp_path).rename(settings.database)
    with closing(sqlite3.connect(settings.database, isolation_level=None)) as conn:
        conn.execute(change)
    before = settings.database.read_bytes()
    config = tmp_path / "aggregator.toml"
    config.write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aggregator.settings.AggregatorSettings.load", lambda _path: settings)
        done = CliRunner().invoke(ledger_check.app, ["erase", "node-1", "--config", str(config), *wish])
    assert (done.exit_code, said in str(done.exception)) == (1, True), done.exception
    assert settings.database.read_bytes() == before


def test_a_damaged_file_is_a_finding(run: SealedRun, tmp_path: Path) -> None:
    copy = run.copy(tmp_path)
    with closing(sqlite3.connect(copy)) as conn:
        (page,) = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ledger_leaf'").fetchone()
        (size,) = conn.execute("PRAGMA page_size").fetchone()
    with copy.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 64)
    done = command("--database", copy)
    assert done.exit_code == 1


def test_nothing_is_written_beside_a_file_that_no_process_has_open(run: SealedRun, tmp_path: Path) -> None:
    copy = run.copy(tmp_path)
    before = copy.read_bytes()
    assert command("--database", copy, "--trust", run.trust).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == [copy.name]
    assert copy.read_bytes() == before


def test_a_database_in_use_is_read_as_it_is_now(run: SealedRun, tmp_path: Path) -> None:
    copy = run.copy(tmp_path)
    with closing(sqlite3.connect(copy, isolation_level=None)) as conn:
        conn.execute("DELETE FROM vtn_journal WHERE seq = 5")  # in the -wal, not in the file yet
        assert copy.with_name(copy.name + "-wal").stat().st_size > 0
        done = command("--database", copy)
    assert (done.exit_code, "vtn_journal" in done.output.splitlines()[-1]) == (1, True)


def test_a_file_that_a_process_opens_meanwhile_is_not_judged(run: SealedRun, tmp_path: Path) -> None:
    copy = run.copy(tmp_path)
    with pytest.raises(LedgerError, match="was opened by a process while it was read"), offline.reading(copy):
        copy.with_name(copy.name + "-wal").touch()
