"""State files of earlier programs are brought up to date."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.ven.site import NOW
from ven.registration import Registration
from ven.saved import Saved
from ven.schema import MIGRATIONS
from ven.state_file import connect, migrate
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


@pytest.mark.parametrize("is_old", [False, True])
def test_a_restoring_that_was_cut_off_begins_again(tmp_path: Path, is_old: bool) -> None:
    path = tmp_path / "ven.db"
    store = Store.open(path)
    store.save(Saved(registration=Registration("ven-1", "reg-1", "vtn-1", 60.0)))
    store.close()
    if is_old:  # the copies of earlier programs have no numbers
        with closing(sqlite3.connect(tmp_path / "ven.db.good", isolation_level=None)) as connection:
            connection.execute("DELETE FROM ven_copy")
    path.unlink()
    with closing(connect(path)) as connection:
        migrate(connection, path)  # and here the power went
    store = Store.open(path)
    known = store.load().registration
    store.close()
    assert known is not None
    assert known.ven_id == "ven-1"
