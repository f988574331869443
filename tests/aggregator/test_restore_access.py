"""A backup that is put back opens no door that was shut since, and nobody opens the database meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aggregator.backup import make
from aggregator.errors import BackupError
from aggregator.restore import Wishes, restore
from aggregator.settings import AggregatorSettings
from flexpact.commands import backup
from flexpact.migrations import upgrade
from tests.aggregator.conftest import Prepared
from tests.aggregator.sealed import SealedRun, make_sealed_run, write_config
from tests.aggregator.test_backup import aggregator
from vtn.schema import micros

NOW = datetime(2026, 2, 1, tzinfo=UTC)
BEFORE = micros(NOW) - 60_000_000
LATER = micros(NOW) + 3_600_000_000


@pytest.fixture(scope="module")
def run(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> SealedRun:
    """One run for all tests; they copy its database."""
    return make_sealed_run(prepared, tmp_path_factory)


def backup_with_access(run: SealedRun, folder: Path) -> Path:
    """A backup from a moment when an operator was signed in, had a token and a link, and had proposed an
    event.
    """
    settings = aggregator(folder / "from", run, database=True)
    with closing(sqlite3.connect(settings.database, isolation_level=None)) as conn:
        conn.execute(
            "INSERT INTO agg_user (user_id, name, name_key, role, password, totp_secret, totp_step,"
            " created_at) VALUES ('u1', 'Operator', 'operator', 'operator', 'hash', 'v1.k.s', 0, ?)",
            (BEFORE,),
        )
        conn.execute(
            "INSERT INTO agg_session (session_id, token_hash, user_id, agent, created_at, seen_at)"
            " VALUES ('s1', 'a', 'u1', '', ?, ?)",
            (BEFORE, BEFORE),
        )
        for link_id, user_id in (("l1", "u1"), ("l2", None)):
            conn.execute(
                "INSERT INTO agg_link (link_id, token_hash, user_id, created_at, expires_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (link_id, link_id, user_id, BEFORE, LATER),
            )
        conn.execute(
            "INSERT INTO agg_token (token_id, token_hash, user_id, name, scopes, created_at, expires_at)"
            " VALUES ('t1', 'c', 'u1', 'script', '[]', ?, ?)",
            (BEFORE, LATER),
        )
        for approval_id, state in (("p1", "waiting"), ("p2", "sent")):
            conn.execute(
                "INSERT INTO agg_approval (approval_id, asked, digest, power_w, nodes, proposed_by,"
                " proposed_at, expires_at, state) VALUES (?, '{}', '', 1, 1, 'u1', ?, ?, ?)",
                (approval_id, BEFORE, LATER, state),
            )
    make(settings, folder / "b.tar", version="1", now=NOW)
    return folder / "b.tar"


def test_sessions_links_tokens_and_waiting_approvals_of_a_backup_open_nothing(
    run: SealedRun, tmp_path: Path
) -> None:
    file = backup_with_access(run, tmp_path)
    target = aggregator(tmp_path / "to", run)
    config = write_config(tmp_path / "to")
    words = ["restore", str(file), "--config", str(config)]
    done = CliRunner().invoke(backup.app, words)
    assert done.exit_code == 0, done.output
    assert "sessions, one-time links and API tokens are revoked" in done.output
    assert "second factors of 1 users open with sealing.key alone" in done.output
    assert (
        "users, roles, passwords, second factors and VENs' certificates are as of the backup" in done.output
    )
    with closing(sqlite3.connect(target.database)) as conn:
        for table, column in (
            ("agg_session", "ended_at"),
            ("agg_link", "used_at"),
            ("agg_token", "revoked_at"),
        ):
            ended = [row[0] for row in conn.execute(f"SELECT {column} FROM {table}")]
            assert ended
            assert None not in ended
        states = dict(conn.execute("SELECT approval_id, state FROM agg_approval"))
        assert conn.execute("SELECT password FROM agg_user").fetchone() == ("hash",)
    assert states == {"p1": "void", "p2": "sent"}


def made(run: SealedRun, folder: Path) -> Path:
    make(aggregator(folder / "from", run, database=True), folder / "b.tar", version="1", now=NOW)
    return folder / "b.tar"


def test_nobody_opens_the_database_while_another_takes_its_place(run: SealedRun, tmp_path: Path) -> None:
    file = made(run, tmp_path)
    settings: AggregatorSettings = aggregator(tmp_path / "to", run, database=True)
    with closing(sqlite3.connect(settings.database, isolation_level=None, timeout=0)) as early:

        def migrate(staged: Path) -> None:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                early.execute("SELECT count(*) FROM vtn_ven").fetchone()
            upgrade(staged)

        restore(file, settings, Wishes(replace=True), NOW, migrate=migrate)
        with pytest.raises(sqlite3.DatabaseError, match="not a database"):
            early.execute("SELECT count(*) FROM vtn_ven").fetchone()
    with closing(sqlite3.connect(settings.database)) as conn:
        assert conn.execute("SELECT count(*) FROM vtn_ven").fetchone() == (3,)
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_database_that_is_made_meanwhile_is_not_overwritten(run: SealedRun, tmp_path: Path) -> None:
    file = made(run, tmp_path)
    settings = aggregator(tmp_path / "to", run)

    def migrate(staged: Path) -> None:
        upgrade(staged)
        upgrade(settings.database)

    with pytest.raises(BackupError, match="was made meanwhile"):
        restore(file, settings, Wishes(), NOW, migrate=migrate)
    with closing(sqlite3.connect(settings.database)) as conn:
        assert conn.execute("SELECT count(*) FROM vtn_ven").fetchone() == (0,)
