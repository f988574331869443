"""Notes: single statements, each durable when its caller goes on; those that wait together share a COMMIT.

A unit of work costs a millisecond of SQLAlchemy, savepoints and threads. A note is a statement as it stands,
kept by a thread that does nothing else, over a connection of its own.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from vtn import inline

Then = Callable[[Sequence["Note"], Exception | None], None]


@dataclass(slots=True, eq=False)
class Note:
    """One statement; `count` says how many rows it changed, once it is durable."""

    sql: str
    row: Sequence[Any]
    durable: asyncio.Future[None]
    count: int = 0


class Clerk:
    """The thread that keeps notes. It starts with the first, and ends with `close`."""

    def __init__(self, database: str, busy_timeout_s: float) -> None:
        self._database = database
        self._busy_timeout_s = busy_timeout_s
        self._work: SimpleQueue[tuple[Sequence[Note], asyncio.AbstractEventLoop, Then] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def keep(self, notes: Sequence[Note], then: Then) -> None:
        """Keep them in one transaction; `then` is called with them, in this event loop."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="vtn-clerk", daemon=True)
            self._thread.start()
        self._work.put((notes, asyncio.get_running_loop(), then))

    def close(self) -> None:
        """Finish what is under way and close the file."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        conn: sqlite3.Connection | None = None
        while (work := self._work.get()) is not None:
            notes, loop, then = work
            error = None
            try:
                if conn is None:
                    conn = self._open()
                _commit(conn, notes)
            except Exception as fault:  # the caller's to hear, whatever it is
                error = fault
            with suppress(RuntimeError):  # the loop was closed: nobody waits
                loop.call_soon_threadsafe(then, notes, error)
        if conn is not None:
            conn.close()

    def _open(self) -> sqlite3.Connection:
        conn = inline.plain(self._database, self._busy_timeout_s)
        conn.execute("PRAGMA synchronous=FULL")
        return conn


def _commit(conn: sqlite3.Connection, notes: Sequence[Note]) -> None:
    conn.execute("BEGIN IMMEDIATE")
    try:
        for note in notes:
            note.count = conn.execute(note.sql, note.row).rowcount
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
