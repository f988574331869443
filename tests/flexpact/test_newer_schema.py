"""An older program on the database of a newer one: it refuses, and leaves the database as it is."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from ledger.checkpoint import SigningKey
from tests.aggregator.conftest import ORIGIN
from tests.aggregator.sealed import write_config


def test_a_newer_schema_is_refused_in_a_sentence_and_not_touched(
    database_template: Path, tmp_path: Path
) -> None:
    database = Path(shutil.copy(database_template, tmp_path / "aggregator.sqlite"))
    with closing(sqlite3.connect(database)) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
        conn.commit()
    SigningKey.generate(ORIGIN).save(tmp_path / "log.key")
    command = [
        sys.executable,
        "-m",
        "flexpact",
        "aggregator",
        "serve",
        "--config",
        str(write_config(tmp_path)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"flexpact aggregator: the database {database} has a schema"), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    with closing(sqlite3.connect(database)) as conn:
        assert conn.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
