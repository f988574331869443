"""What a VEN remembers, as rows of the tables in `ven.schema`; messages are the XML of the wire."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TypeVar

from openadr import CreateOpt, CreateReport, DistributeEvent, Message
from openadr.codec import decode, encode
from openadr.enums import OptType
from openadr.parser import OWN
from ven.deed import Deed, Kind
from ven.event import HeldEvent
from ven.registration import Registration
from ven.report import HeldRequest
from ven.saved import Saved

T = TypeVar("T")

_MESSAGES = ("ven_answer", "ven_opt")


def save(connection: sqlite3.Connection, before: Saved, saved: Saved) -> None:
    """Turns the rows of `before` into those of `saved`; the caller's transaction makes them last."""
    _save_state(connection, before, saved)
    _save_events(connection, before.events, saved.events)
    _save_requests(connection, before.requests, saved.requests)
    for table, old, new in zip(_MESSAGES, _messages(before), _messages(saved), strict=True):
        _save_messages(connection, table, old, new)


def load(connection: sqlite3.Connection) -> Saved:
    """What the tables hold; ProtocolError, ValueError, KeyError, TypeError where it is none of ours."""
    row = connection.execute(
        "SELECT ven_id, registration_id, vtn_id, poll_period_s, metadata, synced, barred_until,"
        " xml_signature, renewing, pruned_at, leaving FROM ven_state"
    ).fetchone()
    if row is None:
        return Saved()
    (
        ven_id,
        registration_id,
        vtn_id,
        poll_period_s,
        metadata,
        synced,
        barred_until,
        signs,
        renewing,
        pruned_at,
        leaving,
    ) = row
    answers, opts = (_load_messages(connection, table) for table in _MESSAGES)
    return Saved(
        registration=Registration(ven_id, registration_id, vtn_id, poll_period_s, bool(signs))
        if registration_id
        else None,
        metadata=metadata,
        synced=bool(synced),
        renewing=bool(renewing),
        leaving=bool(leaving),
        pruned_at=_time(pruned_at),
        barred_until=_time(barred_until),
        events=_load_events(connection),
        requests=_load_requests(connection),
        answers=answers,
        opts=tuple(each for each in opts if isinstance(each, CreateOpt)),
    )


def is_blank(connection: sqlite3.Connection) -> bool:
    """Whether nothing was ever saved."""
    return connection.execute("SELECT 1 FROM ven_state").fetchone() is None


def load_nonces(connection: sqlite3.Connection) -> dict[tuple[str, str], datetime]:
    """When each signer has used each nonce, the oldest first."""
    rows = connection.execute("SELECT signer, nonce, signed_at FROM ven_nonce ORDER BY signed_at")
    return {(signer, nonce): datetime.fromisoformat(signed_at) for signer, nonce, signed_at in rows}


def save_nonces(
    connection: sqlite3.Connection, nonces: Mapping[tuple[str, str], datetime], oldest: datetime
) -> None:
    """Adds nonces with the times of their signatures, and drops those signed before `oldest`."""
    rows = [(as_text(signed_at.astimezone(UTC)), *key) for key, signed_at in nonces.items()]
    connection.execute("DELETE FROM ven_nonce WHERE signed_at < ?", (as_text(oldest.astimezone(UTC)),))
    connection.executemany("INSERT OR IGNORE INTO ven_nonce VALUES (?, ?, ?)", rows)


def spent_until(connection: sqlite3.Connection) -> datetime | None:
    """Up to when answers count as spent, because the nonces of the last of them may be lost."""
    row = connection.execute("SELECT until FROM ven_spent").fetchone()
    return None if row is None else datetime.fromisoformat(row[0])


def save_spent_until(connection: sqlite3.Connection, until: datetime | None) -> None:
    """Puts that mark elsewhere; None: no nonce can be lost."""
    connection.execute("DELETE FROM ven_spent")
    if until is not None:
        connection.execute("INSERT INTO ven_spent VALUES (1, ?)", (as_text(until),))


def copies(connection: sqlite3.Connection) -> int:
    """How many good copies were made of the state up to this one."""
    row = connection.execute("SELECT number FROM ven_copy").fetchone()
    return int(row[0]) if row else 0


def save_copies(connection: sqlite3.Connection, number: int) -> None:
    """Numbers the state of which a copy is made."""
    connection.execute("INSERT OR REPLACE INTO ven_copy VALUES (1, ?)", (number,))


def load_deeds(connection: sqlite3.Connection, *, all_kinds: bool = True) -> list[Deed]:
    """What was done, oldest first; all but reports where not of all kinds."""
    rows = connection.execute(
        "SELECT kind, at, subject, sha256, ven_id FROM ven_deed WHERE ? OR kind != 'report' ORDER BY seq",
        (all_kinds,),
    )
    return [
        Deed(Kind(kind), datetime.fromtimestamp(at, UTC), subject, digest, own_id)
        for kind, at, subject, digest, own_id in rows
    ]


def save_deeds(connection: sqlite3.Connection, deeds: Sequence[Deed], limit: int) -> None:
    """Adds what was done, under the id of the state where it names none; of all the newest `limit` stay."""
    connection.executemany(
        "INSERT INTO ven_deed (kind, at, subject, sha256, ven_id)"
        " VALUES (?, ?, ?, ?, coalesce(?, (SELECT ven_id FROM ven_state)))",
        [(each.kind, int(each.at.timestamp()), each.subject, each.sha256, each.ven_id) for each in deeds],
    )
    connection.execute("DELETE FROM ven_deed WHERE seq <= (SELECT max(seq) FROM ven_deed) - ?", (limit,))


def queued_hashes(connection: sqlite3.Connection) -> set[bytes]:
    """SHA-256 of the reports that were not acknowledged, as far as the file knows."""
    return {sha256(body).digest() for (body,) in connection.execute("SELECT body FROM ven_queue")}


def ven_id(connection: sqlite3.Connection) -> str | None:
    """Under which id the VEN is registered."""
    row = connection.execute("SELECT ven_id FROM ven_state WHERE registration_id IS NOT NULL").fetchone()
    return None if row is None else row[0]


def former_id(connection: sqlite3.Connection) -> str | None:
    """The id of the state, whether the VEN is registered or not."""
    row = connection.execute("SELECT ven_id FROM ven_state").fetchone()
    return None if row is None else row[0]


def as_text(instant: datetime | None) -> str | None:
    """An instant as it stands in the tables."""
    return None if instant is None else instant.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _save_state(connection: sqlite3.Connection, before: Saved, saved: Saved) -> None:
    row = _state(saved)
    if row == _state(before) and not is_blank(connection):
        return
    # the id stays when the registration ends: the next one tells by it whose the deeds are
    places = "coalesce(?, (SELECT ven_id FROM ven_state))" + ", ?" * (len(row) - 1)
    connection.execute(f"INSERT OR REPLACE INTO ven_state VALUES (1, {places})", row)  # noqa: S608 - question marks


def _state(saved: Saved) -> tuple[object, ...]:
    known = saved.registration
    return (
        known.ven_id if known else None,
        known.registration_id if known else None,
        known.vtn_id if known else None,
        known.poll_period_s if known else None,
        saved.metadata,
        saved.synced,
        as_text(saved.barred_until),
        known is not None and known.xml_signature,
        saved.renewing,
        as_text(saved.pruned_at),
        saved.leaving,
    )


def _save_events(
    connection: sqlite3.Connection, before: Mapping[str, HeldEvent], after: Mapping[str, HeldEvent]
) -> None:
    statement = "DELETE FROM ven_event WHERE event_id = ?"
    for position, event_id, held in _changes(connection, statement, before, after):
        connection.execute(
            "INSERT OR REPLACE INTO ven_event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                event_id,
                position,
                encode(DistributeEvent(request_id="", vtn_id="", events=(held.event,))),
                held.request_id,
                as_text(held.received_at),
                held.opt_type,
                held.code,
                held.description,
                int(held.offset.total_seconds()),
                as_text(held.stop_at),
                held.vanished,
            ),
        )


def _save_requests(
    connection: sqlite3.Connection, before: Mapping[str, HeldRequest], after: Mapping[str, HeldRequest]
) -> None:
    statement = "DELETE FROM ven_request WHERE report_request_id = ?"
    for position, request_id, held in _changes(connection, statement, before, after):
        known = before.get(request_id)
        if known is not None and known.request == held.request:
            # its progress alone: the request itself is long, and written to a card each time
            progress = (position, as_text(held.accepted_at), as_text(held.next_start), held.final, request_id)
            connection.execute(
                "UPDATE ven_request SET position = ?, accepted_at = ?, next_start = ?, final = ?"
                " WHERE report_request_id = ?",
                progress,
            )
            continue
        connection.execute(
            "INSERT OR REPLACE INTO ven_request VALUES (?, ?, ?, ?, ?, ?)",
            (
                request_id,
                position,
                encode(CreateReport(request_id="", report_requests=(held.request,))),
                as_text(held.accepted_at),
                as_text(held.next_start),
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


def _changes(
    connection: sqlite3.Connection, statement: str, before: Mapping[str, T], after: Mapping[str, T]
) -> Iterator[tuple[int, str, T]]:
    """Removes what is there no more by `statement`; gives place, key and value of what is new or elsewhere.

    The order of events decides where they overlap.
    """
    connection.executemany(statement, [(key,) for key in before if key not in after])
    places = {key: place for place, key in enumerate(before)}
    for place, (key, each) in enumerate(after.items()):
        if (before.get(key), places.get(key)) != (each, place):
            yield place, key, each


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
