"""A backup is one view of a database in use, and comes back whole, checked, and no older than what was
published.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aggregator import backup
from aggregator.backup import MANIFEST, Secrets, make, opened
from aggregator.errors import BackupError, RequestRefusedError
from aggregator.restore import Restored, Wishes, restore, standing
from aggregator.settings import AggregatorSettings, LogSettings
from flexpact.commands import backup as command
from flexpact.migrations import upgrade
from ledger import offline
from ledger.check import Head
from ledger.checkpoint import Checkpoint, SigningKey
from ledger.errors import TamperedError
from tests.aggregator.conftest import ORIGIN, Prepared, node_settings, write_settings
from tests.aggregator.sealed import SealedRun, make_sealed_run, write_config
from vtn.schema import micros

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def run(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> SealedRun:
    """One run for all tests; they copy its database."""
    return make_sealed_run(prepared, tmp_path_factory)


@pytest.fixture(scope="module")
def made(run: SealedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of the whole run."""
    folder = tmp_path_factory.mktemp("backup")
    make(aggregator(folder / "from", run, database=True), folder / "b.tar", version="1", now=NOW)
    return folder / "b.tar"


def aggregator(
    folder: Path, run: SealedRun, *, database: bool = False, origin: str = ORIGIN
) -> AggregatorSettings:
    """Settings in a new folder, with the run's log key (or one of another log) and perhaps its database."""
    folder.mkdir()
    if origin == ORIGIN:
        shutil.copy(run.log_key, folder / "log.key")
    else:
        SigningKey.generate(origin).save(folder / "log.key")
    settings = write_settings(folder, [node_settings(n) for n in (1, 2, 3)])
    if database:
        shutil.copy(run.database, settings.database)
    log = LogSettings.model_validate({**settings.log.model_dump(), "origin": origin})
    return settings.model_copy(update={"log": log})


def put_back(file: Path, settings: AggregatorSettings, wishes: Wishes = Wishes()) -> Restored:  # noqa: B008 - frozen
    return restore(file, settings, wishes, NOW, migrate=upgrade)


def newest(database: Path) -> Checkpoint:
    with offline.reading(database) as conn:
        return Checkpoint.parse([row[2] for row in offline.checkpoints(conn)][-1])


def rows(database: Path) -> dict[str, list[Any]]:
    """Every row of every table but the nonces."""
    with closing(sqlite3.connect(database)) as conn:
        tables = [row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: sorted(conn.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
            for table in tables
            if table != "vtn_nonce"
        }


def cut(database: Path, checkpoints: int) -> Checkpoint:
    """Make the database one that is older by so many checkpoints; the newest of the lost ones."""
    lost = newest(database)
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        sizes = [row[0] for row in conn.execute("SELECT size FROM ledger_checkpoint ORDER BY size DESC")]
        kept = sizes[checkpoints]
        conn.execute("DELETE FROM ledger_checkpoint WHERE size > ?", (kept,))
        conn.execute("DELETE FROM ledger_anchor WHERE size > ?", (kept,))
        conn.execute("DELETE FROM ledger_leaf WHERE leaf_index >= ?", (kept,))
    return lost


def test_what_comes_back_is_what_was_there_row_by_row(made: Path, run: SealedRun, tmp_path: Path) -> None:
    settings = aggregator(tmp_path / "to", run)
    done = put_back(made, settings)
    assert rows(settings.database) == rows(run.database)
    assert (done.manifest.origin, done.manifest.made_at) == (ORIGIN, NOW)
    assert done.refused_before == NOW + timedelta(seconds=settings.vtn.signature_window_s)
    with closing(sqlite3.connect(settings.database)) as conn:
        nonces = conn.execute("SELECT signed_at FROM vtn_nonce WHERE fingerprint = ''").fetchall()
    assert nonces == [(micros(done.refused_before),)]
    assert done.manifest.log_size == newest(run.database).size
    names = [step.name for step in done.steps]
    assert {"leaves", "checkpoint", "vtn_journal", "agg_statement", "anchor"} <= set(names)
    assert sorted(file.name for file in settings.state.iterdir()) == ["aggregator.sqlite", "log.key"]


def test_a_backup_is_for_its_owner_alone_and_holds_no_key_unasked(made: Path, run: SealedRun) -> None:
    assert made.stat().st_mode & 0o777 == 0o600
    assert run.log_key.read_bytes().split(b"+")[-1].strip() not in made.read_bytes()
    with tarfile.open(made) as archive:
        assert sorted(archive.getnames()) == ["aggregator.sqlite", MANIFEST]
    assert sorted(path.name for path in made.parent.iterdir()) == [made.name, "from"]


def test_keys_come_along_when_asked_for_and_go_back_where_they_lay(run: SealedRun, tmp_path: Path) -> None:
    settings = aggregator(tmp_path / "from", run, database=True)
    config, elsewhere = tmp_path / "from" / "aggregator.toml", tmp_path / "crl.pem"
    config.write_text("# settings")
    elsewhere.write_text("outside")
    vtn = settings.vtn.model_copy(update={"crl": elsewhere})
    settings = settings.model_copy(update={"vtn": vtn})
    manifest = make(settings, tmp_path / "b.tar", version="1", now=NOW, secrets=Secrets.of(config, settings))
    assert "guard it as you guard these" in "\n".join(manifest.lines())
    lines = backup.unpack_secrets(tmp_path / "b.tar", tmp_path / "out")
    assert (tmp_path / "out" / "log.key").read_bytes() == run.log_key.read_bytes()
    assert (tmp_path / "out" / "log.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "out" / "aggregator.toml").read_text() == "# settings"
    assert any(line.endswith(f"belongs to {elsewhere}") for line in lines)
    assert "outside" in {path.read_text() for path in (tmp_path / "out").glob("*-crl.pem")}


def test_a_file_that_is_no_database_is_not_given_up_unseen(
    made: Path, run: SealedRun, tmp_path: Path
) -> None:
    settings = aggregator(tmp_path / "to", run)
    settings.database.write_bytes(content := b"my notes " * 1000)
    with pytest.raises(RequestRefusedError, match="is no SQLite database: move it away first"):
        put_back(made, settings, Wishes(replace=True))
    assert settings.database.read_bytes() == content


def test_a_medium_without_links_takes_a_backup_too(
    run: SealedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    told: list[tuple[str, int, int]] = []
    settings = aggregator(tmp_path / "from", run, database=True)
    make(settings, tmp_path / "b.tar", version="1", now=NOW, tell=lambda *how_far: told.append(how_far))
    with opened(tmp_path / "b.tar") as (manifest, _):
        assert manifest.made_at == NOW
    copied = [done for what, done, _ in told if what == "copied"]
    assert copied == sorted(copied)
    assert copied[-1] > copied[0]
    assert told[-1] == ("packed", manifest.files["aggregator.sqlite"].bytes, told[-1][1])


def test_a_backup_without_keys_unpacks_none(made: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="holds no keys: it was made without --with-keys"):
        backup.unpack_secrets(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_there_is_not_overwritten(made: Path, run: SealedRun, tmp_path: Path) -> None:
    before = made.read_bytes()
    with pytest.raises(BackupError, match="exists already; a backup is never overwritten"):
        make(aggregator(tmp_path / "from", run, database=True), made, version="1", now=NOW)
    assert made.read_bytes() == before


def test_a_database_with_a_fault_is_not_backed_up(run: SealedRun, tmp_path: Path) -> None:
    settings = aggregator(tmp_path / "from", run, database=True)
    raw = bytearray(settings.database.read_bytes())
    raw[4096 * 3 : 4096 * 12] = os.urandom(4096 * 9)
    settings.database.write_bytes(raw)
    with pytest.raises(BackupError, match=r"cannot be copied|is damaged"):
        make(settings, tmp_path / "b.tar", version="1", now=NOW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["from"]


def test_the_target_is_not_touched_unless_it_is_given_up(made: Path, run: SealedRun, tmp_path: Path) -> None:
    settings = aggregator(tmp_path / "to", run, database=True)
    with closing(sqlite3.connect(settings.database, isolation_level=None)) as conn:
        conn.execute("UPDATE vtn_ven SET lenient = 1")
    before = settings.database.read_bytes()
    with pytest.raises(BackupError, match="--replace gives it up for ever"):
        put_back(made, settings)
    assert settings.database.read_bytes() == before
    assert "3 nodes" in standing(settings.database)[0]
    put_back(made, settings, Wishes(replace=True))
    assert rows(settings.database) == rows(run.database)


def test_a_database_in_use_is_not_replaced(made: Path, run: SealedRun, tmp_path: Path) -> None:
    settings = aggregator(tmp_path / "to", run, database=True)
    with closing(sqlite3.connect(settings.database, isolation_level=None)) as conn:
        conn.execute("SELECT count(*) FROM vtn_ven").fetchone()
        with pytest.raises(RequestRefusedError, match="is in use; stop the aggregator first"):
            put_back(made, settings, Wishes(replace=True))


def _flip(raw: bytearray) -> None:
    raw[len(raw) // 2] ^= 1


def _cut(raw: bytearray) -> None:
    del raw[len(raw) // 2 :]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_flip, "aggregator.sqlite in the backup is damaged: its SHA-256 is"),
        (_cut, "is no backup, or a part of one"),
        (bytearray.clear, "is no backup"),
    ],
    ids=["a bit", "half of it", "all of it"],
)
def test_a_damaged_backup_is_refused(
    made: Path, run: SealedRun, tmp_path: Path, harm: Callable[[bytearray], None], said: str
) -> None:
    raw = bytearray(made.read_bytes())
    harm(raw)
    (tmp_path / "b.tar").write_bytes(raw)
    settings = aggregator(tmp_path / "to", run)
    with pytest.raises(BackupError, match=said):
        put_back(tmp_path / "b.tar", settings)
    assert [path.name for path in settings.state.iterdir()] == ["log.key"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "flexpact-backup/v2"}, "format: String should match pattern"),
        ({"log_size": -1}, "log_size: Input should be greater than or equal to 0"),
        ({"files": {}}, "does not hold what its manifest says"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
    ],
)
def test_a_manifest_that_is_none_is_told_by_field(
    made: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with tarfile.open(made) as archive:
        archive.extractall(tmp_path, filter="data")
    manifest = {**json.loads((tmp_path / MANIFEST).read_text()), **change}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        for name in (MANIFEST, "aggregator.sqlite"):
            archive.add(tmp_path / name, arcname=name)
    with pytest.raises(BackupError, match=said), opened(tmp_path / "b.tar"):
        pass


def test_a_backup_with_a_changed_row_is_refused_by_its_name(run: SealedRun, tmp_path: Path) -> None:
    settings = aggregator(tmp_path / "from", run, database=True)
    with closing(sqlite3.connect(settings.database, isolation_level=None)) as conn:
        conn.execute("UPDATE vtn_journal SET at = at + 1 WHERE seq = 7")
    make(settings, tmp_path / "b.tar", version="1", now=NOW)
    target = aggregator(tmp_path / "to", run)
    with pytest.raises(TamperedError, match="vtn_journal 7: at is not what was sealed"):
        put_back(tmp_path / "b.tar", target)
    assert not target.database.exists()


def test_a_backup_older_than_a_published_checkpoint_would_fork_the_log(
    run: SealedRun, tmp_path: Path
) -> None:
    settings = aggregator(tmp_path / "from", run, database=True)
    lost = cut(settings.database, 1)
    make(settings, tmp_path / "b.tar", version="1", now=NOW)
    target = aggregator(tmp_path / "to", run)
    known = Wishes(heads=(Head(lost.size, lost.root, "kept.txt"),))
    said = f"kept.txt holds a checkpoint of {lost.size} leaves, and the log in this backup ends at .* a fork"
    with pytest.raises(BackupError, match=said):
        put_back(tmp_path / "b.tar", target, known)
    assert not target.database.exists()
    shutil.copy(run.database, target.database)
    with pytest.raises(BackupError, match="the database that would be replaced holds a checkpoint"):
        put_back(tmp_path / "b.tar", target, Wishes(replace=True))


def test_a_backup_of_another_tree_is_refused(made: Path, run: SealedRun, tmp_path: Path) -> None:
    known = newest(run.database)
    other = Head(known.size - 1, bytes(32), "kept.txt")
    with pytest.raises(TamperedError, match=r"kept.txt: the first .* leaves have another root"):
        put_back(made, aggregator(tmp_path / "to", run), Wishes(heads=(other,)))


def test_under_a_new_name_all_is_sealed_again(made: Path, run: SealedRun, tmp_path: Path) -> None:
    named = aggregator(tmp_path / "named", run)
    with pytest.raises(BackupError, match=r"--new-log begins another log, and .log. still names"):
        put_back(made, named, Wishes(new_log=True))
    target = aggregator(tmp_path / "to", run, origin="test.example/second")
    with pytest.raises(BackupError, match=r"this is a backup of the log test.example/log"):
        put_back(made, target)
    put_back(made, target, Wishes(new_log=True))
    kept, before = rows(target.database), rows(run.database)
    assert not [kept[table] for table in kept if table.startswith("ledger_") if kept[table]]
    sealed = {name: seq for name, seq in kept["agg_position"] if name.startswith("sealed-")}
    assert {"sealed-journal", "sealed-statements", "sealed-checkpoints", "sealed-anchors"} <= sealed.keys()
    assert set(sealed.values()) == {0}
    assert kept["vtn_journal"] == before["vtn_journal"]


def test_who_backs_up_and_restores_is_told_what_is_done(run: SealedRun, tmp_path: Path) -> None:
    settings = aggregator(tmp_path / "from", run, database=True)
    config = write_config(tmp_path / "from")

    def call(*words: object) -> Result:
        return CliRunner().invoke(command.app, [*map(str, words)])

    out = tmp_path / "b.tar"
    told = call("backup", "--config", config, "--out", out).output
    assert f"log {ORIGIN}: {newest(settings.database).size} leaves" in told
    assert "settings and keys: none" in told
    refused = call("restore", out, "--config", config)
    assert refused.exit_code == 1
    assert "would replace" in refused.output
    assert "--replace gives it up for ever" in str(refused.exception)
    done = call("restore", out, "--config", config, "--replace")
    assert done.exit_code == 0, done.exception
    assert "signed messages from before" in done.output
    assert "what came after the backup is lost; start the aggregator" in done.output
    assert call("backup", "--config", tmp_path / "none.toml", "--out", out).exit_code == 1


def test_a_backup_of_a_newer_version_is_one_clear_sentence(run: SealedRun, tmp_path: Path) -> None:
    settings = aggregator(tmp_path / "from", run, database=True)
    with closing(sqlite3.connect(settings.database, isolation_level=None)) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    make(settings, tmp_path / "b.tar", version="99", now=NOW)
    aggregator(tmp_path / "to", run)
    config = write_config(tmp_path / "to")
    words = ["restore", str(tmp_path / "b.tar"), "--config", str(config)]
    refused = CliRunner().invoke(command.app, words)
    assert refused.exit_code == 1
    assert "is of another version, whose schema is not known" in str(refused.exception)
    assert "\n" not in str(refused.exception)
