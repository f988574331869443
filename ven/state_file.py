"""The file in which a VEN's state lies: opened, checked, brought up to date."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from ven import state_rows
from ven.errors import StateError
from ven.schema import MIGRATIONS


def copy_path(path: Path) -> Path:
    """Where the last good copy of a state file lies."""
    return path.with_name(path.name + ".good")


def copies_of(path: Path) -> int:
    """The number of a copy; 0 where it cannot be read, or is of an earlier program."""
    try:
        with closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        ) as connection:
            return state_rows.copies(connection)
    except (sqlite3.DatabaseError, TypeError, ValueError):
        return 0


def hopeless(path: Path) -> str:
    """What is said where neither the file nor its copy can be used."""
    return (
        f"the state file {path} is damaged and there is no good copy: move it away and start again,"
        " the VEN then registers anew"
    )


def sync_directory(directory: Path) -> None:
    """Makes a renaming in `directory` last."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def connect(path: Path) -> sqlite3.Connection:
    """The file opened; ValueError or sqlite3.DatabaseError where it is damaged."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        # each page that a commit changes is written whole, and a card in a small box wears out by that
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -512")
        verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if verdict != "ok":
            raise ValueError(f"integrity check says: {verdict}")
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Brings its tables up to date; StateError where a newer program has written it."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StateError(
            f"the state file {path} has version {version}, this program knows up to {len(MIGRATIONS)}"
        )
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
