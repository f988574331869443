"""What a VEN remembers, in one SQLite file: SQL stands here and in `ven.state_rows`, and nowhere else.

A commit is on the disk before it counts (WAL, `synchronous=FULL`): a power cut loses nothing that was saved.
Beside the file lies its last good copy (`.good`), written whenever registration, events or requests change (a
repeated event is no change: a card in a small box wears out by what is written). A damaged file is put aside
(`.damaged`) and the copy takes its place: its events go on with their limits, the VTN is asked for its list
again. The copy holds no unsent reports; those made since are made again.
"""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from openadr import ProtocolError, UpdateReport
from openadr.codec import encode
from ven import state_file, state_rows
from ven.errors import StateError
from ven.event import HeldEvent
from ven.saved import Saved
from ven.state_rows import as_text

REFUSED_KEPT = 100
NONCES_KEPT = timedelta(minutes=15)
"""More than twice the widest window, so that what it forgets cannot be accepted any more."""
# a database, but not one that we wrote: damaged all the same
_UNREADABLE = (ProtocolError, ValueError, KeyError, TypeError)
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@dataclass(frozen=True, slots=True)
class Queued:
    """A report on its way; `body` is sent as it is, however often."""

    seq: int
    report_request_id: str
    body: bytes


class Store:
    """The state file of one VEN; used from one thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection, saved: Saved) -> None:
        """Use `open`."""
        self._path = path
        self._connection = connection
        self._saved = saved

    @classmethod
    def open(cls, path: Path) -> "Store":
        """The store in `path`, made if it is not there; StateError where it cannot be used."""
        copy = state_file.copy_path(path)
        try:
            if copy.exists() and (not path.exists() or not path.stat().st_size):
                return cls._restored(path)
            return cls._opened(path)
        except (sqlite3.DatabaseError, *_UNREADABLE) as error:
            if isinstance(error, sqlite3.DatabaseError) and error.sqlite_errorcode not in _DAMAGED:
                raise StateError(f"the state file {path} cannot be used: {error}") from error
            if not copy.exists():
                raise StateError(state_file.hopeless(path)) from error
        except OSError as error:
            raise StateError(f"the state file {path} cannot be used: {error.strerror}") from error
        return cls._restored(path)

    @classmethod
    def _opened(cls, path: Path) -> "Store":
        connection = state_file.connect(path)
        try:
            state_file.migrate(connection, path)
            return cls(path, connection, state_rows.load(connection))
        except BaseException:
            connection.close()
            raise

    @classmethod
    def _restored(cls, path: Path) -> "Store":
        """The last good copy put in place; its events are to be compared with the VTN's (POLL-10)."""
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.replace(path.with_name(path.name + ".damaged" + suffix))
        try:
            good = cls._opened(state_file.copy_path(path))
            saved = replace(good.load(), synced=False)
            good.close()
            store = cls._opened(path)
        except (sqlite3.DatabaseError, OSError, *_UNREADABLE) as error:
            raise StateError(state_file.hopeless(path)) from error
        store.save(saved)
        return store

    def load(self) -> Saved:
        """What was saved last."""
        return self._saved

    def save(self, saved: Saved, reports: Sequence[UpdateReport] = (), revoked: Collection[str] = ()) -> None:
        """Makes `saved` last, queues `reports` and drops unsent ones of `revoked`: all or nothing."""
        before = self._saved
        if saved == before and not reports and not revoked:
            return
        with self._transaction() as connection:
            state_rows.save(connection, before, saved)
            if before.registration is not None and not _same_ids(before, saved):
                # a new registration has new requests; the VTN has forgotten the old ones (RPT-43)
                connection.execute("DELETE FROM ven_queue WHERE refused IS NULL")
            connection.executemany(
                "DELETE FROM ven_queue WHERE report_request_id = ?", [(each,) for each in revoked]
            )
            connection.executemany(
                "INSERT INTO ven_queue (report_request_id, body) VALUES (?, ?)",
                [(each.reports[0].report_request_id, encode(each)) for each in reports],
            )
        self._saved = saved
        if _deserves_copy(before, saved):
            self._write_copy()

    def next_queued(self) -> Queued | None:
        """The oldest report that the VTN has not acknowledged."""
        row = self._connection.execute(
            "SELECT seq, report_request_id, body FROM ven_queue WHERE refused IS NULL ORDER BY seq LIMIT 1"
        ).fetchone()
        return None if row is None else Queued(*row)

    def waiting(self) -> dict[str, int]:
        """How many reports of each request wait to be sent."""
        return dict(
            self._connection.execute(
                "SELECT report_request_id, count(*) FROM ven_queue WHERE refused IS NULL"
                " GROUP BY report_request_id"
            ).fetchall()
        )

    def delivered(self, seq: int) -> None:
        """Forgets a report: the VTN has it."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM ven_queue WHERE seq = ?", (seq,))

    def refuse(self, seq: int, reason: str) -> None:
        """Sets a report aside that the VTN will never take; the newest hundred of those are kept."""
        with self._transaction() as connection:
            connection.execute("UPDATE ven_queue SET refused = ? WHERE seq = ?", (reason, seq))
            connection.execute(
                "DELETE FROM ven_queue WHERE refused IS NOT NULL AND seq NOT IN"
                " (SELECT seq FROM ven_queue WHERE refused IS NOT NULL ORDER BY seq DESC LIMIT ?)",
                (REFUSED_KEPT,),
            )

    def refused(self) -> list[tuple[str, str]]:
        """Request id and reason of the reports that were set aside."""
        query = "SELECT report_request_id, refused FROM ven_queue WHERE refused IS NOT NULL ORDER BY seq"
        return self._connection.execute(query).fetchall()

    def spend(self, signer: str, nonce: str, signed_at: datetime) -> bool:
        """Takes note of the nonce of a signed answer; False where it came before: a replay (SIG-05).

        `signed_at` lies in the window around now; nonces that are older than any window are forgotten.
        """
        row = (signer, nonce, as_text(signed_at))
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM ven_nonce WHERE signed_at < ?", (as_text(signed_at - NONCES_KEPT),)
            )
            done = connection.execute("INSERT OR IGNORE INTO ven_nonce VALUES (?, ?, ?)", row)
        return done.rowcount == 1

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:  # commits, or rolls back
                yield self._connection
        except sqlite3.DatabaseError as error:
            raise StateError(f"the state file {self._path} cannot be written: {error}") from error

    def _write_copy(self) -> None:
        target = state_file.copy_path(self._path)
        draft = target.with_name(target.name + ".new")
        try:
            for suffix in ("", "-wal", "-shm"):
                draft.with_name(draft.name + suffix).unlink(missing_ok=True)
            copy = Store._opened(draft)
            # not `save`: a copy has no copy
            with copy._transaction() as connection:
                state_rows.save(connection, Saved(), self._saved)
            copy._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            copy.close()
            draft.replace(target)
            state_file.sync_directory(target.parent)
        except (sqlite3.DatabaseError, OSError) as error:
            raise StateError(f"the copy {target} of the state cannot be written: {error}") from error


def _same_ids(before: Saved, after: Saved) -> bool:
    old, new = before.registration, after.registration
    return old is None or (
        new is not None and (old.ven_id, old.registration_id) == (new.ven_id, new.registration_id)
    )


def _deserves_copy(before: Saved, after: Saved) -> bool:
    return (
        before.registration != after.registration
        or _substance(before.events) != _substance(after.events)
        or before.metadata != after.metadata
        or before.opts != after.opts
        or before.requests.keys() != after.requests.keys()
    )


def _substance(events: Mapping[str, HeldEvent]) -> dict[str, HeldEvent]:
    """Events without what changes when a VTN repeats them, which may be at each poll."""
    return {key: replace(held, request_id="") for key, held in events.items()}
