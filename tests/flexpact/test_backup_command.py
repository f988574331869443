"""`flexpact aggregator backup` and `restore` of a database that is damaged."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flexpact.commands import backup
from ledger.checkpoint import SigningKey
from tests.aggregator.conftest import ORIGIN
from tests.aggregator.sealed import write_config

HEADER_BYTES = 100


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of an aggregator whose database has lost the page that says what is in it."""
    database = tmp_path / "aggregator.sqlite"
    with closing(sqlite3.connect(database)) as conn:
        conn.execute("CREATE TABLE t (x)")
        conn.execute("PRAGMA journal_mode = WAL")
    raw = database.read_bytes()
    database.write_bytes(raw[:HEADER_BYTES] + b"\xff" * (len(raw) - HEADER_BYTES))
    SigningKey.generate(ORIGIN).save(tmp_path / "log.key")
    return write_config(tmp_path)


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_damaged_database_is_said_in_one_sentence(command: str, config: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    words = ["backup", "--out", copy] if command == "backup" else ["restore", copy, "--replace", "--offline"]
    done = CliRunner().invoke(backup.app, [*map(str, words), "--config", str(config)])
    assert (done.exit_code, "damaged" in done.output.splitlines()[-1]) == (1, True), done.output
    assert isinstance(done.exception, SystemExit)
