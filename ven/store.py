"""What a VEN remembers, in one SQLite file: SQL stands here and in `ven.state_rows`, and nowhere else.

A commit is on the disk before it counts (WAL, `synchronous=FULL`): a power cut loses nothing that was saved.
Beside the file lies its last good copy (`.good`), written whenever registration, events or requests change. A
damaged file is put aside (`.damaged`) and the copy takes its place: its events go on with their limits, the
VTN is asked for its list again. The copy holds no unsent reports; those made since are made again. A log that
was cut leaves a file that is older and sound: copies are numbered, so it is known by a newer copy.

A card in a small box wears out by what is written, so what brings nothing new is not: an event that is only
repeated stays as it was, and two things wait in memory for the next change, which takes them along:
- nonces of signed answers, for a minute at most. A mark on the disk runs ahead of them: after a crash all
  that was signed up to the mark counts as a replay, so a VEN that signs may hear nothing for that minute;
- reports that the VTN has acknowledged. A crash in between sends them once more, the same bytes.

Each report that leaves so, each version of an event that came and each opt leaves a short row behind
(`ven.deed`): what the box can hold against what others say that it did.
"""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from openadr import ProtocolError, UpdateReport
from openadr.codec import encode
from openadr.interval import format_instant
from ven import state_file, state_rows
from ven.deed import Deed, Kind
from ven.errors import StateError
from ven.saved import Saved, steady

REFUSED_KEPT = 100
NONCES_KEPT = timedelta(minutes=15)
"""More than twice the widest window, so that what it forgets cannot be accepted any more."""
DELIVERED_KEPT = 20
"""Reports acknowledged that wait for another change to be forgotten with."""
DEEDS_KEPT = 100_000
"""By number and not by age: a clock that was far ahead must not make the box forget. About 12 MB."""
SPENT_AHEAD = timedelta(minutes=1)
"""How far the mark runs ahead of the newest answer: so long nonces need not be written."""
# a database, but not one that we wrote: damaged all the same
_UNREADABLE = (ProtocolError, ValueError, KeyError, TypeError)
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@dataclass(frozen=True, slots=True)
class Queued:
    """A report on its way; `body` is sent as it is, however often."""

    seq: int
    report_request_id: str
    body: bytes
    created_at: str

    def delivered(self, sha256: bytes, now: datetime) -> Deed:
        """That the VTN has it; `sha256` of the bytes that it has: of `body`, unless that went out signed."""
        return Deed(Kind.REPORT, now, f"{self.report_request_id}/{self.created_at}", sha256)


@dataclass(frozen=True, slots=True)
class Recollection:
    """What a state file says of what its VEN has done."""

    ven_id: str | None
    deeds: tuple[Deed, ...]
    unacknowledged: frozenset[bytes]
    """SHA-256 of reports that may have been sent."""

    @property
    def ids(self) -> frozenset[str]:
        """Under which ids it was done; the log has each deed under the id of then."""
        return frozenset(filter(None, (self.ven_id, *(deed.ven_id for deed in self.deeds))))


def recollect(path: Path) -> Recollection:
    """What the VEN of this state file has done, also while it runs; StateError where it cannot be read."""
    # of a file that nobody has open nothing is made beside it: another user could not open it any more
    beside = path.with_name(path.name + "-wal").exists()
    how = "mode=ro" if beside else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True)) as connection:
            connection.execute("BEGIN")
            return Recollection(
                state_rows.ven_id(connection),
                tuple(state_rows.load_deeds(connection)),
                frozenset(state_rows.queued_hashes(connection)),
            )
    except (sqlite3.DatabaseError, ValueError) as error:
        raise StateError(f"the state file {path} cannot be read: {error}") from error


class Store:
    """The state file of one VEN; used from one thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection, saved: Saved) -> None:
        """Use `open`."""
        self._path = path
        self._connection = connection
        self._saved = saved
        self._nonces = state_rows.load_nonces(connection)
        self._fresh: dict[tuple[str, str], datetime] = {}  # those that are not in the file
        # up to here everything counts as spent: if we crash, and since the crash before this start
        self._mark = self._gap = state_rows.spent_until(connection)
        self._delivered_to = 0  # reports up to this one; they are sent oldest first
        self._done: list[Deed] = []  # what is to be written with the next change
        self._own_id = state_rows.former_id(connection)
        self._known = {
            each.identity
            for each in state_rows.load_deeds(connection, all_kinds=False)
            if each.ven_id == self._own_id
        }
        self._copies = state_rows.copies(connection)
        self._unwritten = 0  # how many of them are still in the file

    @classmethod
    def open(cls, path: Path) -> "Store":
        """The store in `path`, made if it is not there; StateError where it cannot be used."""
        copy = state_file.copy_path(path)
        try:
            if copy.exists() and (not path.exists() or not path.stat().st_size):
                return cls._restored(path)
            store = cls._opened(path)
            if not copy.exists() or not store._is_behind(copy):
                return store
            store._connection.close()
        except (sqlite3.DatabaseError, *_UNREADABLE) as error:
            if isinstance(error, sqlite3.DatabaseError) and error.sqlite_errorcode not in _DAMAGED:
                raise StateError(f"the state file {path} cannot be used: {error}") from error
            if not copy.exists():
                raise StateError(state_file.hopeless(path)) from error
        except OSError as error:
            raise StateError(f"the state file {path} cannot be used: {error.strerror}") from error
        return cls._restored(path)

    def _is_behind(self, copy: Path) -> bool:
        """Whether what the copy holds is not here: the log was cut, or nothing was restored yet."""
        return state_file.copies_of(copy) > self._copies or state_rows.is_blank(self._connection)

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

    def save(
        self,
        saved: Saved,
        reports: Sequence[UpdateReport] = (),
        revoked: Collection[str] = (),
        deeds: Iterable[Deed] = (),
    ) -> None:
        """Makes `saved` last, queues `reports` and drops unsent ones of `revoked`: all or nothing.

        `deeds`, reports apart, last with it; those that were done before under the same venID are none.
        """
        before = self._saved
        saved = steady(before, saved)
        own_id = saved.registration.ven_id if saved.registration else None
        if own_id is not None and own_id != self._own_id:
            self._known, self._own_id = set(), own_id  # the log has what was done before under the id of then
        news = {
            each.identity: replace(each, ven_id=self._own_id)
            for each in deeds
            if each.identity not in self._known
        }
        if saved == before and not reports and not revoked and not news:
            return
        self._done += news.values()
        self._known |= news.keys()
        copied = _deserves_copy(before, saved)
        with self._transaction() as connection:
            state_rows.save(connection, before, saved)
            if copied:
                state_rows.save_copies(connection, self._copies + 1)
            if before.registration is not None and not _same_ids(before, saved):
                # a new registration has new requests; the VTN has forgotten the old ones (RPT-43)
                connection.execute("DELETE FROM ven_queue WHERE refused IS NULL")
            connection.executemany(
                "DELETE FROM ven_queue WHERE report_request_id = ?", [(each,) for each in revoked]
            )
            connection.executemany(
                "INSERT INTO ven_queue (report_request_id, body, created_at) VALUES (?, ?, ?)",
                [_queue_row(each) for each in reports],
            )
        self._saved = saved
        if copied:
            self._copies += 1
            self._write_copy()

    def next_queued(self) -> Queued | None:
        """The oldest report that the VTN has not acknowledged."""
        row = self._connection.execute(
            "SELECT seq, report_request_id, body, created_at FROM ven_queue WHERE refused IS NULL AND seq > ?"
            " ORDER BY seq LIMIT 1",
            (self._delivered_to,),
        ).fetchone()
        return None if row is None else Queued(*row)

    def waiting(self) -> dict[str, int]:
        """How many reports of each request wait to be sent."""
        return dict(
            self._connection.execute(
                "SELECT report_request_id, count(*) FROM ven_queue WHERE refused IS NULL AND seq > ?"
                " GROUP BY report_request_id",
                (self._delivered_to,),
            ).fetchall()
        )

    def delivered(self, seq: int, *deeds: Deed) -> None:
        """Forgets the oldest report, which the VTN has; `deeds` say so."""
        self._delivered_to = seq
        self._done += [replace(each, ven_id=self._own_id) for each in deeds]
        self._unwritten += 1
        if self._unwritten >= DELIVERED_KEPT:
            self._flush()

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
        """Takes note of the nonce of a signed answer; False where it came before: a replay (SIG-05), or
        may have come before a crash.

        `signed_at` lies in the window around now; nonces that are older than any window are forgotten.
        """
        key = (signer, nonce)
        if key in self._nonces or _covers(self._gap, signed_at):
            return False
        self._nonces[key] = self._fresh[key] = signed_at
        if not _covers(self._mark, signed_at):
            self._flush()
        return True

    def close(self) -> None:
        """Writes what has waited, and closes the file."""
        with suppress(StateError):  # a disk that is full: then it is as after a crash
            if self._fresh or self._unwritten or self._mark != self._gap:
                with self._transaction() as connection:
                    state_rows.save_spent_until(connection, self._gap)
        self._connection.close()

    def _flush(self) -> None:
        with self._transaction():
            pass

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:  # commits, or rolls back
                mark = self._write_what_waits()
                yield self._connection
            self._mark, self._unwritten = mark, 0
            self._fresh.clear()
            self._done.clear()
        except sqlite3.DatabaseError as error:
            raise StateError(f"the state file {self._path} cannot be written: {error}") from error

    def _write_what_waits(self) -> datetime | None:
        """Reports that are done, deeds and nonces; gives the mark that holds once the transaction is done."""
        if self._done:
            state_rows.save_deeds(self._connection, self._done, DEEDS_KEPT)
        if self._unwritten:
            query = "DELETE FROM ven_queue WHERE refused IS NULL AND seq <= ?"
            self._connection.execute(query, (self._delivered_to,))
        if not self._fresh:
            return self._mark
        newest = next(reversed(self._fresh.values()))
        oldest = newest - NONCES_KEPT
        self._nonces = {key: signed_at for key, signed_at in self._nonces.items() if signed_at >= oldest}
        state_rows.save_nonces(self._connection, self._fresh, oldest)
        state_rows.save_spent_until(self._connection, newest + SPENT_AHEAD)
        return newest + SPENT_AHEAD

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
                state_rows.save_copies(connection, self._copies)
            copy._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            copy.close()
            draft.replace(target)
            state_file.sync_directory(target.parent)
        except (sqlite3.DatabaseError, OSError) as error:
            raise StateError(f"the copy {target} of the state cannot be written: {error}") from error


def _covers(mark: datetime | None, signed_at: datetime) -> bool:
    """Whether an answer signed then counts as spent by the mark; not for ever, if a clock was far ahead."""
    return mark is not None and mark - NONCES_KEPT < signed_at <= mark


def _queue_row(message: UpdateReport) -> tuple[str, bytes, str]:
    report = message.reports[0]
    return report.report_request_id, encode(message), format_instant(report.created_date_time)


def _same_ids(before: Saved, after: Saved) -> bool:
    old, new = before.registration, after.registration
    return old is None or (
        new is not None and (old.ven_id, old.registration_id) == (new.ven_id, new.registration_id)
    )


def _deserves_copy(before: Saved, after: Saved) -> bool:
    return (
        before.registration != after.registration
        or before.events != after.events
        or before.metadata != after.metadata
        or before.opts != after.opts
        or before.requests.keys() != after.requests.keys()
    )
