"""A driver connection of the writer: statements run where they are asked for, waits run in a thread.

aiosqlite hands every call to a thread, four hand-overs for each statement, which costs more than the
statement. Inside its transaction the only writer never waits for a lock, so only a BEGIN that must, COMMIT
(which waits for the disk) and a statement that carries much (SQLite works on it without Python's lock) leave
the event loop. For `create_async_engine(..., async_creator=...)`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

MUCH_BYTES = 64 * 1024
"""Parameters of this size make so much work that the hand-over to a thread does not count."""
_MANY = 64  # parameters: to look at each of thousands costs as much as some of the rows
_PRIMARY_CODE = 0xFF  # of SQLite's error codes


class Cursor:
    """A cursor with the coroutines that SQLAlchemy awaits."""

    def __init__(self, cursor: sqlite3.Cursor, timeout_s: float) -> None:
        self._cursor = cursor
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Cursor:
        return self

    @property
    def description(self) -> Any:
        """Columns of the result, None where there is none."""
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        """Row id of the last insert."""
        return self._cursor.lastrowid

    async def execute(self, operation: str, parameters: Sequence[Any] = ()) -> None:
        """Run one statement; a BEGIN may have to wait for another process, much to write takes its time."""
        if operation.startswith("BEGIN"):
            await self._begin(operation)
        elif _bytes(parameters) >= MUCH_BYTES:
            await _in_thread(self._cursor.execute, operation, parameters)
        else:
            self._cursor.execute(operation, parameters)

    async def _begin(self, operation: str) -> None:
        """At once, as nearly always; otherwise in a thread that waits."""
        try:
            self._cursor.execute(operation)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY:
                raise
            await _in_thread(self._wait_and_begin, operation)

    def _wait_and_begin(self, operation: str) -> None:
        self._cursor.execute(f"PRAGMA busy_timeout={round(self._timeout_s * 1000)}")
        try:
            self._cursor.execute(operation)
        finally:
            self._cursor.execute("PRAGMA busy_timeout=0")

    async def executemany(self, operation: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row of parameters."""
        self._cursor.executemany(operation, parameters)

    async def fetchall(self) -> list[Any]:
        """The rest of the result."""
        return self._cursor.fetchall()

    async def close(self) -> None:
        """Free the statement."""
        self._cursor.close()


class Connection:
    """A connection with the coroutines that SQLAlchemy awaits."""

    isolation_level = None  # every BEGIN is ours

    def __init__(self, connection: sqlite3.Connection, timeout_s: float) -> None:
        self._connection = connection  # SQLAlchemy looks at this name, as aiosqlite has it
        self._timeout_s = timeout_s

    def cursor(self) -> Cursor:
        """A new cursor."""
        return Cursor(self._connection.cursor(), self._timeout_s)

    async def visit(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What a function finds by as many statements as it likes."""
        return read(self._connection)

    async def commit(self) -> None:
        """Wait until the transaction is on the disk."""
        await _in_thread(self._connection.commit)

    async def rollback(self) -> None:
        """Undo the transaction."""
        self._connection.rollback()

    async def create_function(self, *arguments: Any, **options: Any) -> None:
        """A function of ours in SQL."""
        self._connection.create_function(*arguments, **options)

    async def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def stop(self) -> None:
        """Close the file at once, on the way out of a cancelled task."""
        self._connection.close()


async def _in_thread(call: Callable[..., object], *arguments: object) -> None:
    """Run a call in a thread. Whoever is cancelled meanwhile hears of it at the next wait: SQLAlchemy gives
    up a connection that is left in the middle of a statement, and with it what others have written.
    """
    work = asyncio.get_running_loop().run_in_executor(None, call, *arguments)
    cancelled = False
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled and (task := asyncio.current_task()) is not None:
        task.uncancel()
        task.cancel()
    work.result()


def _bytes(parameters: Sequence[Any]) -> int:
    """Of texts and bytes; where there are many parameters, they are those of short rows."""
    if len(parameters) > _MANY:
        return 0
    return sum([len(value) for value in parameters if isinstance(value, bytes | str)])


def plain(database: str, timeout_s: float) -> sqlite3.Connection:
    """An SQLite file of which nothing is hidden; every BEGIN is ours, and waits so long for a lock."""
    return sqlite3.connect(database, timeout=timeout_s, isolation_level=None, check_same_thread=False)


async def connect(database: str, timeout_s: float) -> Connection:
    """Open an SQLite file; every BEGIN is ours, and waits at most `timeout_s` seconds for a lock."""
    return Connection(plain(database, 0.0), timeout_s)
