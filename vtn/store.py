"""The server's database: one writer with group commit, many readers.

Nobody is answered before the COMMIT that holds his change returned, with `synchronous=FULL` (NORMAL loses
acknowledged commits in a power cut).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from vtn import aside, inline
from vtn.errors import StartupError, StoreBusy, StoreError
from vtn.note import Clerk, Note

T = TypeVar("T")

MAX_UNITS_PER_COMMIT = 64
READERS = 4

Notice = Hashable
Listener = Callable[[Sequence[Notice]], None]
Afterwards = Callable[[AsyncConnection], Awaitable[None]]


def after_commit(conn: AsyncConnection, notice: Notice) -> None:
    """Hand `notice` to every listener once the unit of `conn` is durable, never if it is undone."""
    conn.info["notices"].append(notice)


def if_undone(conn: AsyncConnection, work: Afterwards) -> None:
    """Do `work` in place of the unit of `conn` if that is undone: what must be remembered of a refusal."""
    conn.info["afterwards"].append(work)


@asynccontextmanager
async def savepoint(conn: AsyncConnection) -> AsyncIterator[None]:
    """A part of a unit of work that an exception undoes alone, with its notices; the rest stays."""
    notices: list[Notice] = conn.info["notices"]
    kept = len(notices)
    try:
        async with conn.begin_nested():
            yield
    except BaseException:
        del notices[kept:]
        raise


@dataclass(slots=True, eq=False)
class _Unit:
    """One piece of work in a group commit: asked for, granted its turn, finished, made durable."""

    granted: asyncio.Future[AsyncConnection]
    durable: asyncio.Future[None]
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    failed: bool = False
    notices: list[Notice] = field(default_factory=list)
    afterwards: list[Afterwards] = field(default_factory=list)


class Database:
    """An open database. Use `async with db.write() as conn` and `async with db.read() as conn`."""

    def __init__(
        self, writer: AsyncEngine, reader: AsyncEngine, threads: ThreadPoolExecutor, clerk: Clerk
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._threads = threads
        self._clerk = clerk
        self._queue: asyncio.Queue[_Unit | Note | None] = asyncio.Queue()
        self.failures = 0
        """How often a commit failed."""
        self._listeners: list[Listener] = []
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._closed = False
        self._at_work = False  # somebody writes: the writer's task, or the clerk by himself
        self._turn: asyncio.Future[None] | None = None  # the writer's task waits for the clerk
        self._view: sqlite3.Connection | None = None

    @classmethod
    async def open(cls, url_or_path: str | Path, *, busy_timeout_s: float = 5.0) -> Database:
        """Open a database that `flexpact.migrations.upgrade` has made; StartupError says what is missing."""
        url = _url(url_or_path)
        clerk = Clerk(str(url.database), busy_timeout_s)
        threads = ThreadPoolExecutor(READERS, thread_name_prefix="vtn-reader")
        reader = _reader(url, busy_timeout_s, threads)
        database = cls(_writer(url, busy_timeout_s), reader, threads, clerk)
        try:
            async with database.read() as conn:
                await conn.execute(text("SELECT seq FROM vtn_journal LIMIT 1"))
        except DBAPIError as error:
            await database.close()
            raise StartupError(
                f"{url.database} is no flexpact database that can be read: {error.orig}"
            ) from error
        database._task = asyncio.create_task(database._serve(), name="vtn.store writer")
        return database

    async def close(self) -> None:
        """Finish what is queued and close every connection; nothing can be read any more."""
        if self._task is not None:
            self._queue.put_nowait(None)
            await self._task
            self._task = None
        self._clerk.close()
        if self._view is not None:
            self._view.close()
            self._view = None
        self._closed = True
        await self._writer.dispose()
        await self._reader.dispose()
        self._threads.shutdown(wait=False)

    @property
    def waiting(self) -> int:
        """How many units of work wait for the writer."""
        return self._queue.qsize()

    def listen(self, listener: Listener) -> None:
        """Call `listener` with the notices of each commit, in order, from the event loop."""
        self._listeners.append(listener)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view of what is durable; it cannot write. StoreError: the database is closed."""
        if self._closed:
            raise StoreError("the database is closed")
        async with self._reader.connect() as conn:
            yield conn

    def look(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What `read` finds in one consistent view of what is durable, at once: for a few rows by their keys.

        Nothing of a log that is written ahead ever waits for a lock, so the event loop does not; many rows
        are for `read`.
        """
        if self._view is None:
            self._view = _view(self._writer.url)
        try:
            self._view.execute("BEGIN")
            return read(self._view)
        except sqlite3.Error as error:
            raise store_error(error) from error
        finally:
            self._view.rollback()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One unit of work: leaving the block waits for its COMMIT, an exception undoes this unit alone.

        Units share a COMMIT. Keep them short, and never open one inside another: there is one writer.
        StoreError says that nothing was kept.
        """
        if self._task is None or self._task.done():
            raise StoreError("the database is closed")
        loop = asyncio.get_running_loop()
        unit = _Unit(loop.create_future(), loop.create_future())
        self._queue.put_nowait(unit)
        try:
            conn = await unit.granted
            yield conn
        except BaseException:
            unit.failed = True
            raise
        finally:
            unit.granted.cancel()
            unit.finished.set()
        await unit.durable

    async def note(self, sql: str, row: Sequence[Any]) -> int:
        """Run one statement, durable when this returns; how many rows it changed.

        It stands in line with the units of work and costs a tenth of one. StoreError: nothing was kept.
        """
        if self._task is None or self._task.done():
            raise StoreError("the database is closed")
        note = Note(sql, row, asyncio.get_running_loop().create_future())
        if self._at_work or not self._queue.empty():
            self._queue.put_nowait(note)
        else:
            self._at_work = True
            self._clerk.keep([note], self._kept)
        await note.durable
        return note.count

    async def _serve(self) -> None:
        """Run units until the sentinel: those that wait together are committed together."""
        while (unit := await self._queue.get()) is not None:
            await self._take_turn()
            try:
                if isinstance(unit, Note):
                    unit = await self._take_down(unit)
                if unit is not None:
                    async with self._writer.connect() as conn:
                        await self._batch(conn, unit)
            except Exception as error:  # the writer must outlive every fault of one transaction
                self._refuse([unit] if unit is not None else [], error)
            self._at_work = False
            if self._closing:
                return

    async def _take_turn(self) -> None:
        """Wait until nobody writes; then it is the writer's task that does."""
        if self._at_work:
            self._turn = asyncio.get_running_loop().create_future()
            await self._turn
        self._at_work = True

    def _kept(self, notes: Sequence[Note], error: Exception | None) -> None:
        """The clerk has done: whoever waits for it may write now."""
        if error is not None:
            self._refuse(notes, error)
        _tell(notes)
        if self._turn is not None:
            self._turn.set_result(None)
            self._turn = None
        else:
            self._at_work = False

    async def _take_down(self, first: Note) -> _Unit | None:
        """Commit `first` and the notes right behind it; gives the unit that came next, if one did."""
        notes: list[Note] = [first]
        following: _Unit | None = None
        while len(notes) < MAX_UNITS_PER_COMMIT and not self._queue.empty():
            unit = self._queue.get_nowait()
            if isinstance(unit, Note):
                notes.append(unit)
                continue
            following, self._closing = unit, unit is None
            break
        turn = self._turn = asyncio.get_running_loop().create_future()
        self._clerk.keep(notes, self._kept)
        await turn
        return following

    async def _batch(self, conn: AsyncConnection, first: _Unit) -> None:
        """Run `first` and what waits behind it, and COMMIT."""
        done: list[_Unit] = []
        notes: list[Note] = []
        unit: _Unit | Note | None = first
        try:
            await conn.begin()
            while unit is not None:
                if isinstance(unit, Note):
                    notes.append(unit)
                    unit.count = (await conn.exec_driver_sql(unit.sql, tuple(unit.row))).rowcount
                else:
                    done.append(unit)
                    await self._run(conn, unit, first=unit is first)
                unit = None
                if len(done) + len(notes) < MAX_UNITS_PER_COMMIT:
                    with suppress(asyncio.QueueEmpty):
                        unit = self._queue.get_nowait()
                        self._closing = unit is None
            await conn.commit()
        except Exception as error:
            self._refuse([*done, first, *notes], error)
            return
        _tell([*done, *notes])
        if notices := [notice for unit in done for notice in unit.notices]:
            for listener in self._listeners:
                listener(notices)

    def _refuse(self, units: Sequence[_Unit | Note], error: Exception) -> None:
        """Tell every unit of a failed transaction that nothing was kept."""
        self.failures += 1
        for unit in units:
            for future in (unit.durable,) if isinstance(unit, Note) else (unit.granted, unit.durable):
                if not future.done():
                    future.set_exception(store_error(error))
                    future.exception()  # a caller that has gone does not fetch it; no fault of its own

    async def _run(self, conn: AsyncConnection, unit: _Unit, *, first: bool) -> None:
        """One unit in the transaction; the first needs no savepoint, for nothing else is undone with it."""
        if unit.granted.cancelled():
            return
        part = None if first else await conn.begin_nested()
        conn.info["notices"], conn.info["afterwards"] = unit.notices, unit.afterwards
        if not unit.granted.done():  # the caller may have gone while the savepoint was made
            unit.granted.set_result(conn)
            await unit.finished.wait()
        else:
            unit.failed = True
        if part is not None:
            await (part.rollback() if unit.failed else part.commit())
        elif unit.failed:
            await conn.rollback()
            await conn.begin()
        if unit.failed:
            unit.notices.clear()
            for work in list(unit.afterwards):
                await work(conn)


def _tell(units: Sequence[_Unit | Note]) -> None:
    """Tell every one that was not refused that it is durable."""
    for unit in units:
        if not unit.durable.done():
            unit.durable.set_result(None)


def store_error(error: Exception) -> StoreError:
    """The StoreError that fits a database error."""
    orig = error.orig if isinstance(error, DBAPIError) else error
    if "locked" in str(orig) or "busy" in str(orig):
        return StoreBusy(f"the database is locked by another process: {orig}")
    return StoreError(f"the database did not take the change: {orig}")


def _url(url_or_path: str | Path) -> URL:
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        return URL.create("sqlite+aiosqlite", database=str(url_or_path))
    url = make_url(url_or_path)
    if url.get_backend_name() != "sqlite":
        raise StartupError(f"databases of kind {url.get_backend_name()!r} are not supported: use SQLite")
    return url.set(drivername="sqlite+aiosqlite")


def _writer(url: URL, busy_timeout_s: float) -> AsyncEngine:
    async def connect() -> inline.Connection:
        return await inline.connect(str(url.database), busy_timeout_s)

    engine = create_async_engine(url, pool_size=1, max_overflow=0, async_creator=connect)
    return _prepared(engine, "BEGIN IMMEDIATE")


def _view(url: URL) -> sqlite3.Connection:
    connection = sqlite3.connect(str(url.database), isolation_level=None, timeout=0)
    connection.execute("PRAGMA query_only=ON")
    return connection


def _reader(url: URL, busy_timeout_s: float, threads: ThreadPoolExecutor) -> AsyncEngine:
    async def connect() -> aside.Connection:
        return await aside.connect(str(url.database), busy_timeout_s, threads)

    engine = create_async_engine(url, pool_size=READERS, max_overflow=0, async_creator=connect)
    return _prepared(engine, "BEGIN")


def _prepared(engine: AsyncEngine, begin: str) -> AsyncEngine:
    """The engine with our pragmas and our BEGIN."""

    def on_connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        if begin == "BEGIN":
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    def on_begin(connection: Any) -> None:
        # The driver would begin late and deferred: an upgrade from read to write then fails at once,
        # whatever the timeout.
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", on_connect)
    event.listen(engine.sync_engine, "begin", on_begin)
    return engine
