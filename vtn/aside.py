"""A driver connection of a reader: a statement and its rows are one visit to a thread.

aiosqlite takes four hand-overs for each statement, and what is cancelled in the middle of one keeps the file
open after its end. Here whoever is cancelled stops the statement and waits for that, so a connection is never
left at work. For `create_async_engine(..., async_creator=...)`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from vtn import inline

T = TypeVar("T")

FIRST_ROWS = 1000
"""Rows that come with the statement; who streams gets the others by as many at a time as he asks for."""
AGAIN_S = 0.02
"""What is stopped between two statements, or just before its first, is stopped again."""
_AT_ONCE = "BEGIN"  # takes no lock and reads nothing


class Connection(inline.Connection):
    """A connection with the coroutines that SQLAlchemy awaits."""

    def __init__(self, connection: sqlite3.Connection, threads: ThreadPoolExecutor) -> None:
        super().__init__(connection, 0.0)
        self._threads = threads

    def cursor(self) -> Cursor:
        """A new cursor."""
        return Cursor(self._connection.cursor(), self)

    async def visit(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What a function finds by as many statements as it likes, in one hand-over."""
        return await self.hand_over(read, self._connection)

    async def hand_over(self, call: Callable[..., T], *arguments: object) -> T:
        """What a call gives in a thread; on the way out of a cancelled task it is stopped first."""
        job = self._threads.submit(call, *arguments)
        work = asyncio.wrap_future(job)
        cancelled: asyncio.CancelledError | None = None
        while not work.done():
            try:
                await asyncio.wait([work], timeout=None if cancelled is None else AGAIN_S)
            except asyncio.CancelledError as error:
                cancelled = error
            if cancelled is not None and not job.cancel():  # it has begun
                self._connection.interrupt()
        if cancelled is None:
            return work.result()
        if not work.cancelled():
            work.exception()  # that it was stopped is known
        del job, work  # what they hold of a statement would keep the file open behind the connection
        raise cancelled


class Cursor(inline.Cursor):
    """A cursor with the coroutines that SQLAlchemy awaits."""

    def __init__(self, cursor: sqlite3.Cursor, connection: Connection) -> None:
        super().__init__(cursor, 0.0)
        self._connection = connection
        self._rows: deque[Any] = deque()
        self._more = False

    async def execute(self, operation: str, parameters: Sequence[Any] = ()) -> None:
        """Run one statement."""
        if operation == _AT_ONCE:
            self._cursor.execute(operation)
            return
        self._rows = deque(await self._visit(self._run, operation, parameters))
        self._more = len(self._rows) == FIRST_ROWS

    def _run(self, operation: str, parameters: Sequence[Any]) -> list[Any]:
        self._cursor.execute(operation, parameters)
        return self._cursor.fetchmany(FIRST_ROWS)

    async def fetchone(self) -> Any:
        """The next row, None behind the last."""
        return next(iter(await self.fetchmany(1)), None)

    async def fetchmany(self, size: int = 1) -> list[Any]:
        """So many rows; fewer at the end."""
        if self._more and len(self._rows) < size:
            missing = size - len(self._rows)
            came = await self._visit(self._cursor.fetchmany, missing)
            self._rows += came
            self._more = len(came) == missing
        return [self._rows.popleft() for _ in range(min(size, len(self._rows)))]

    async def fetchall(self) -> list[Any]:
        """The rest of the result."""
        if self._more:
            self._rows += await self._visit(self._cursor.fetchall)
            self._more = False
        rows, self._rows = list(self._rows), deque()
        return rows

    async def _visit(self, call: Callable[..., T], *arguments: object) -> T:
        try:
            return await self._connection.hand_over(call, *arguments)
        except asyncio.CancelledError:
            self._cursor.close()  # as above: an open statement keeps the file open
            raise


async def connect(database: str, timeout_s: float, threads: ThreadPoolExecutor) -> Connection:
    """Open an SQLite file, whose statements run in these threads; each waits at most `timeout_s` seconds for
    a lock.
    """
    loop = asyncio.get_running_loop()
    return Connection(await loop.run_in_executor(threads, inline.plain, database, timeout_s), threads)
