"""The database's history: one linear chain of Alembic revisions, table prefixes vtn_, ledger_, agg_."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry


def upgrade(path_or_url: str | Path, revision: str = "head") -> None:
    """Bring the SQLite database at `path_or_url` (made if missing) to `revision`: wholly or not at all."""
    url = _url(path_or_url)
    engine = create_engine(url, connect_args={"isolation_level": None})
    event.listen(engine, "connect", _journal_mode)
    event.listen(engine, "begin", _begin)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


def _url(path_or_url: str | Path) -> URL:
    if isinstance(path_or_url, Path) or "://" not in path_or_url:
        return URL.create("sqlite", database=str(path_or_url))
    return make_url(path_or_url).set(drivername="sqlite")


def _journal_mode(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")  # kept in the file
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin(connection: Connection) -> None:
    # The driver would commit before each DDL statement; with our own BEGIN a killed upgrade
    # leaves the old schema.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
