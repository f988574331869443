"""What a VEN remembers, in one SQLite file: every SQL statement of this package is here.

A commit is on the disk before it counts (WAL, `synchronous=FULL`): a power cut loses nothing that was saved.
Beside the file lies its last good copy (`.good`), written whenever registration, events or requests change (a
repeated event is no change: a card in a small box wears out by what is written). A
damaged file is put aside (`.damaged`) and the copy takes its place: its events go on with their limits, the
VTN is asked for its list again. The copy holds no unsent reports; those made since are made again.

Messages are kept as the XML that goes over the wire.
"""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from openadr import CreateOpt, CreateReport, DistributeEvent, Message, ProtocolError, UpdateReport
from openadr.codec import decode, encode
from openadr.enums import OptType
from openadr.parser import OWN
from ven import state_file
from ven.errors import StateError
from ven.event import HeldEvent
from ven.registration import Registration
from ven.report import HeldRequest
from ven.saved import Saved

REFUSED_KEPT = 100
NONCES_KEPT = timedelta(minutes=15)
"""More than twice the widest window, so that what it forgets cannot be accepted any more."""
_MESSAGES = ("ven_answer", "ven_opt")
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
            return cls(path, connection, _load(connection))
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
            _save_state(connection, before, saved)
            _save_events(connection, before.events, saved.events)
            _save_requests(connection, before.requests, saved.requests)
            for table, old, new in zip(_MESSAGES, _messages(before), _messages(saved), strict=True):
                _save_messages(connection, table, old, new)
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
        row = (signer, nonce, _text(signed_at))
        with self._transaction() as connection:
            connection.execute("DELETE FROM ven_nonce WHERE signed_at < ?", (_text(signed_at - NONCES_KEPT),))
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
                _save_state(connection, Saved(), self._saved)
                _save_events(connection, {}, self._saved.events)
                _save_requests(connection, {}, self._saved.requests)
                for table, kept in zip(_MESSAGES, _messages(self._saved), strict=True):
                    _save_messages(connection, table, (), kept)
            copy._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            copy.close()
            draft.replace(target)
            state_file.sync_directory(target.parent)
        except (sqlite3.DatabaseError, OSError) as error:
            raise StateError(f"the copy {target} of the state cannot be written: {error}") from error


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


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


def _save_state(connection: sqlite3.Connection, before: Saved, saved: Saved) -> None:
    known = saved.registration
    connection.execute(
        "INSERT OR REPLACE INTO ven_state VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            known.ven_id if known else None,
            known.registration_id if known else None,
            known.vtn_id if known else None,
            known.poll_period_s if known else None,
            saved.metadata,
            saved.synced,
            _text(saved.barred_until),
            known is not None and known.xml_signature,
            saved.renewing,
        ),
    )


def _save_events(
    connection: sqlite3.Connection, before: Mapping[str, HeldEvent], after: Mapping[str, HeldEvent]
) -> None:
    _remove(connection, "DELETE FROM ven_event WHERE event_id = ?", before, after)
    for position, (event_id, held) in enumerate(after.items()):
        if before.get(event_id) == held:
            continue
        connection.execute(
            "INSERT OR REPLACE INTO ven_event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                event_id,
                position,
                encode(DistributeEvent(request_id="", vtn_id="", events=(held.event,))),
                held.request_id,
                _text(held.received_at),
                held.opt_type,
                held.code,
                held.description,
                int(held.offset.total_seconds()),
                _text(held.stop_at),
                held.vanished,
            ),
        )


def _save_requests(
    connection: sqlite3.Connection, before: Mapping[str, HeldRequest], after: Mapping[str, HeldRequest]
) -> None:
    _remove(connection, "DELETE FROM ven_request WHERE report_request_id = ?", before, after)
    for position, (request_id, held) in enumerate(after.items()):
        if before.get(request_id) == held:
            continue
        connection.execute(
            "INSERT OR REPLACE INTO ven_request VALUES (?, ?, ?, ?, ?, ?)",
            (
                request_id,
                position,
                encode(CreateReport(request_id="", report_requests=(held.request,))),
                _text(held.accepted_at),
                _text(held.next_start),
                held.final,
            ),
        )


def _messages(saved: Saved) -> tuple[tuple[Message, ...], ...]:
    """What stands in the tables of `_MESSAGES`."""
    return saved.answers, saved.opts


def _save_messages(
    connection: sqlite3.Connection, table: str, before: Sequence[Message], after: Sequence[Message]
) -> None:
    if tuple(before) == tuple(after):
        return
    connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a name of ours
    rows = [(index, encode(each)) for index, each in enumerate(after)]
    connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", rows)  # noqa: S608 - a name of ours


def _load_messages(connection: sqlite3.Connection, table: str) -> tuple[Message, ...]:
    rows = connection.execute(f"SELECT body FROM {table} ORDER BY position")  # noqa: S608 - a name of ours
    return tuple(decode(body, OWN) for (body,) in rows)


def _remove(
    connection: sqlite3.Connection, statement: str, before: Mapping[str, object], after: Mapping[str, object]
) -> None:
    connection.executemany(statement, [(key,) for key in before if key not in after])


def _load(connection: sqlite3.Connection) -> Saved:
    row = connection.execute(
        "SELECT ven_id, registration_id, vtn_id, poll_period_s, metadata, synced, barred_until,"
        " xml_signature, renewing FROM ven_state"
    ).fetchone()
    if row is None:
        return Saved()
    ven_id, registration_id, vtn_id, poll_period_s, metadata, synced, barred_until, signs, renewing = row
    answers, opts = (_load_messages(connection, table) for table in _MESSAGES)
    return Saved(
        registration=Registration(ven_id, registration_id, vtn_id, poll_period_s, bool(signs))
        if ven_id
        else None,
        metadata=metadata,
        synced=bool(synced),
        renewing=bool(renewing),
        barred_until=_time(barred_until),
        events=_load_events(connection),
        requests=_load_requests(connection),
        answers=answers,
        opts=tuple(each for each in opts if isinstance(each, CreateOpt)),
    )


def _load_events(connection: sqlite3.Connection) -> dict[str, HeldEvent]:
    events = {}
    for row in connection.execute(
        "SELECT event_id, body, request_id, received_at, opt_type, code, description, offset_s, stop_at,"
        " vanished FROM ven_event ORDER BY position"
    ):
        event_id, body, request_id, received_at, opt_type, code, description, offset_s, stop_at, vanished = (
            row
        )
        message = decode(body, OWN)
        if not isinstance(message, DistributeEvent):
            raise ValueError(f"{type(message).__name__} in place of event {event_id}")
        events[event_id] = HeldEvent(
            event=message.events[0],
            request_id=request_id,
            received_at=datetime.fromisoformat(received_at),
            opt_type=OptType(opt_type),
            code=code,
            description=description,
            offset=timedelta(seconds=offset_s),
            stop_at=_time(stop_at),
            vanished=bool(vanished),
        )
    return events


def _load_requests(connection: sqlite3.Connection) -> dict[str, HeldRequest]:
    requests = {}
    for request_id, body, accepted_at, next_start, final in connection.execute(
        "SELECT report_request_id, body, accepted_at, next_start, final FROM ven_request ORDER BY position"
    ):
        message = decode(body, OWN)
        if not isinstance(message, CreateReport):
            raise ValueError(f"{type(message).__name__} in place of report request {request_id}")
        requests[request_id] = HeldRequest(
            request=message.report_requests[0],
            accepted_at=datetime.fromisoformat(accepted_at),
            next_start=datetime.fromisoformat(next_start),
            final=bool(final),
        )
    return requests
