"""State files of earlier programs are brought up to date."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.ven.site import NOW
from ven.schema import MIGRATIONS
from ven.store import Store


def test_a_file_from_before_opts_were_kept_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ven.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(MIGRATIONS[0])
        connection.execute("INSERT INTO ven_state VALUES (1, 'ven-1', 'reg-1', 'vtn-1', 60.0, 'm', 1, NULL)")
        connection.execute("PRAGMA user_version = 1")
    store = Store.open(path)
    saved = store.load()
    store.close()
    assert saved.registration is not None
    assert (saved.registration.ven_id, saved.synced, saved.opts) == ("ven-1", True, ())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_nonces_of_an_earlier_program_are_not_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "ven.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for script in MIGRATIONS[:6]:
            connection.executescript(script)
        connection.execute("INSERT INTO ven_nonce VALUES ('vtn', 'n', ?)", (NOW.isoformat(),))
        connection.execute("PRAGMA user_version = 6")
    store = Store.open(path)
    assert not store.spend("vtn", "n", NOW)
    assert store.spend("vtn", "another", NOW)
    store.close()
