"""Erase one home behind a node: its readings, its share of each statement, and all that names it.

The node, its statements and the other homes stay, and their proofs hold: a statement's record keeps the
commitment of the share that is gone (`aggregator.share`). What can only be erased as a whole is: reports that
carried the home's values (their facts hash them), messages kept as they came that name it, and messages of
the trace. What stays of it is a difference: the node's total less what is kept of all other homes.
"""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from xml.sax.saxutils import escape

from aggregator import erase, erase_account, override_book, share
from aggregator.erase import alone, changed
from aggregator.errors import RequestRefusedError, UnknownObjectError
from aggregator.readings import NODES_OWN
from aggregator.store import detail_text
from ledger import erasure, offline
from ledger.checkpoint import NoteSigner, VerifierKey
from ledger.tombstone import Tombstone, Tombstones
from openadr import Message, ProtocolError, decode, encode
from vtn.schema import micros

Value = TypeVar("Value")

_OF_R_ID = ("vtn_reading", "vtn_reading_detail", "vtn_quarantine", "agg_series")
"""Tables with a row for each value of a home."""
_CATALOGUES = (("vtn_report_spec", "specifier_id"), ("vtn_report_request", "report_request_id"))
"""Tables that list what a node can report, and what it was asked for."""
_NAMED_IN = (
    ("vtn_original", ("raw",)),
    ("vtn_green_button", ("content",)),
    ("vtn_trace", ("request", "response")),
    ("vtn_event", ("content",)),
    ("vtn_opt", ("content",)),
)
"""Tables of messages that are destroyed where they name a home."""


@dataclass(frozen=True, slots=True)
class HomePlan:
    """What belongs to a home: leaves, rows that are destroyed or changed, and the commitments that stay."""

    ven_id: str
    ven_name: str
    home: str
    leaves: tuple[int, ...]
    rows: dict[str, int]
    still_named: bool
    """Whether the node says that it can report values of the home: then they come again."""
    events: tuple[str, ...]
    """Events that were addressed to it."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that is destroyed (`values` None), or changed to these values; `count` where it is several."""

    table: str
    rowid: tuple[tuple[str, Any], ...]
    values: dict[str, Any] | None = None
    count: int = 1

    def carry_out(self, conn: sqlite3.Connection) -> None:
        where = " AND ".join(f"{name} = ?" for name, _ in self.rowid)
        key = [value for _, value in self.rowid]
        if self.values is None:
            conn.execute(f"DELETE FROM {self.table} WHERE {where}", key)  # noqa: S608 - names of the schema
            return
        columns = ", ".join(f"{name} = ?" for name in self.values)
        conn.execute(
            f"UPDATE {self.table} SET {columns} WHERE {where}",  # noqa: S608 - names of the schema
            [*self.values.values(), *key],
        )


def plan(conn: sqlite3.Connection, subject: str, home: str, now: datetime) -> HomePlan:
    """What erasing a home behind the node with that venID or name would destroy; `now` says which events are
    over.

    UnknownObjectError if nothing here is such a home's, RequestRefusedError where it cannot be erased alone.
    """
    ven_id, ven_name = erase.node(conn, subject)
    found, _, _ = _plan(conn, ven_id, ven_name, home)
    query = "SELECT 1 FROM vtn_event WHERE ven_id = ? AND event_id = ? AND (ends_at IS NULL OR ends_at > ?)"
    for event_id in found.events:
        if conn.execute(query, (ven_id, event_id, micros(now))).fetchone():
            raise RequestRefusedError(
                f"the event {event_id} is addressed to {home!r} and not over; cancel it, or wait"
            )
    return found


def erase_home(
    path: Path,
    subject: str,
    home: str,
    now: datetime,
    key: NoteSigner,
    *,
    known: Sequence[VerifierKey] = (),
) -> HomePlan:
    """Erase a home from a database that nobody has open; what was destroyed. `key` and `known` as for
    `erase`.
    """
    with alone(path) as conn, changed(conn):
        found = plan(conn, subject, home, now)
        stone = erase.lay_tombstone(path, (found.ven_id, home), now, key, known)
        return _destroy(conn, (found.ven_id, found.ven_name, home), now, stone, key)


def erase_listed(conn: sqlite3.Connection, listed: Tombstones, now: datetime, key: NoteSigner) -> int:
    """Erase, in the caller's transaction, the homes that the list names and this log does not know as
    erased; how many that were.
    """
    known = frozenset(erasure.read_said(conn).subjects)
    news = [stone for stone in listed.stones if stone.digest.hex() not in known]
    erased = 0
    for ven_id, ven_name, home in _homes(conn) if news else ():
        stone = next((stone for stone in news if stone.names((ven_id, home))), None)
        if stone is not None:
            _destroy(conn, (ven_id, ven_name, home), now, stone, key)  # events or not: it was gone already
            erased += 1
    return erased


def _homes(conn: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Every home that something here is kept of: venID and name of its node, and its own id."""
    found = erase_account.homes(conn)
    for table in _OF_R_ID:
        found.update(conn.execute(f"SELECT DISTINCT ven_id, r_id FROM {table}"))  # noqa: S608
    found.update(conn.execute("SELECT ven_id, r_id FROM agg_override WHERE salt != ''"))
    for table, _ in _CATALOGUES:
        for ven_id, r_ids in conn.execute(f"SELECT ven_id, r_ids FROM {table}"):  # noqa: S608
            found.update((ven_id, r_id) for r_id in json.loads(r_ids))
    for ven_id, detail in conn.execute("SELECT ven_id, detail FROM agg_statement"):
        found.update((ven_id, home) for home in json.loads(detail)[share.AMOUNTS])
    names = dict(conn.execute("SELECT ven_id, ven_name FROM vtn_ven"))
    return sorted(
        (ven_id, names[ven_id], r_id) for ven_id, r_id in found if r_id not in NODES_OWN and ven_id in names
    )


def _destroy(
    conn: sqlite3.Connection, home: tuple[str, str, str], now: datetime, stone: Tombstone, key: NoteSigner
) -> HomePlan:
    found, rows, values = _plan(conn, *home)
    said = erasure.Said((stone.digest.hex(),), tuple(values))
    erasure.erase_leaves(conn, found.leaves, now, key, said)
    for row in rows:
        row.carry_out(conn)
    erase_account.close(conn, erase_account.accounts_of(conn, found.ven_id, found.home), now)
    return found


def _plan(
    conn: sqlite3.Connection, ven_id: str, ven_name: str, home: str
) -> tuple[HomePlan, list[_Row], list[str]]:
    if home in NODES_OWN:
        raise RequestRefusedError(f"{home!r} is {ven_name}'s own, not that of a home behind it")
    search = _Search(conn, ven_id, home)
    rows = [*search.values(), *search.catalogue(), *search.facts(), *search.messages()]
    rows += [*search.findings(), *search.overrides()]
    changes, commitments = search.statements()
    rows += changes
    accounts = erase_account.accounts_of(conn, ven_id, home)
    if not rows and not accounts:
        raise UnknownObjectError(f"nothing is kept of a home {home!r} behind {ven_name}")
    counted = {"agg_user": len(accounts)} if accounts else {}
    for row in rows:
        counted[row.table] = counted.get(row.table, 0) + row.count
    events = tuple(str(dict(row.rowid)["event_id"]) for row in rows if row.table == "vtn_event")
    found = HomePlan(
        ven_id,
        ven_name,
        home,
        leaves=tuple(search.leaves()),
        rows=dict(sorted(counted.items())),
        still_named=search.still_named,
        events=events,
    )
    return found, rows, commitments


class _Search:
    """Looks through the tables of one node for what is one home's."""

    def __init__(self, conn: sqlite3.Connection, ven_id: str, home: str) -> None:
        self._conn, self._ven_id, self._home = conn, ven_id, home
        written = re.escape(escape(home).encode())
        self._named = re.compile(rb">\s*" + written + rb"\s*<|\"" + written + rb"\"")
        self._told = re.compile(rf"(?<![\w.-]){re.escape(home)}(?![\w.-])")
        self._requests = self._asked_for()
        self._narrowed = {str(event_id) for (event_id,) in self._rows("agg_override", "event_id")}
        self.still_named = False

    def _asked_for(self) -> frozenset[str]:
        """The requests whose reports carry, or carried, values of the home."""
        found = {
            str(request)
            for request, r_ids in self._rows("vtn_report_request", "report_request_id, r_ids")
            if self._home in json.loads(r_ids)
        }
        for table in ("vtn_reading", "vtn_quarantine"):
            query = f"SELECT DISTINCT report_request_id FROM {table} WHERE ven_id = ? AND r_id = ?"  # noqa: S608
            found.update(str(row[0]) for row in self._conn.execute(query, (self._ven_id, self._home)))
        return frozenset(found)

    def _rows(self, table: str, columns: str) -> sqlite3.Cursor:
        return self._conn.execute(f"SELECT {columns} FROM {table} WHERE ven_id = ?", (self._ven_id,))  # noqa: S608

    def values(self) -> Iterator[_Row]:
        """Readings, and what else is kept value by value."""
        own = (("ven_id", self._ven_id), ("r_id", self._home))
        for table in _OF_R_ID:
            query = f"SELECT count(*) FROM {table} WHERE ven_id = ? AND r_id = ?"  # noqa: S608
            (count,) = self._conn.execute(query, (self._ven_id, self._home)).fetchone()
            if count:
                yield _Row(table, own, count=count)

    def catalogue(self) -> Iterator[_Row]:
        """What the node can report and was asked for, without the home."""
        for table, name in _CATALOGUES:
            for key, r_ids, content in self._rows(table, f"{name}, r_ids, content").fetchall():
                kept = [r_id for r_id in json.loads(r_ids) if r_id != self._home]
                rest = self._stripped(content)
                if (len(kept), rest) != (len(json.loads(r_ids)), content):
                    self.still_named |= table == "vtn_report_spec"
                    where = (("ven_id", self._ven_id), (name, key))
                    yield _Row(table, where, {"r_ids": json.dumps(kept), "content": rest})
        for seq, content in self._rows("vtn_outbox", "seq, content").fetchall():
            if (rest := self._stripped(content)) != content:
                yield _Row("vtn_outbox", (("seq", seq),), {"content": rest})
        ((answer,),) = self._rows("vtn_ven", "metadata_answer").fetchall()
        if answer is not None and (self.still_named or self._named.search(answer)):
            # the same metadata are then new to us, and are answered anew
            forgotten = {"metadata_key": None, "metadata_answer": None}
            yield _Row("vtn_ven", (("ven_id", self._ven_id),), forgotten)

    def facts(self) -> Iterator[_Row]:
        """Facts that hash values of the home, or name it."""
        for seq, kind, body in self._rows("vtn_journal", "seq, kind, body").fetchall():
            if self._speaks_of(kind, json.loads(body)):
                yield _Row("vtn_journal", (("seq", seq),))

    def leaves(self) -> Iterator[int]:
        """The leaves of these facts."""
        for index, _, _, canonical in offline.leaves(self._conn):
            if canonical is None:
                continue
            fields_ = json.loads(canonical)
            body = fields_["body"]
            if body.get("ven_id") == self._ven_id and self._speaks_of(fields_["kind"], body):
                yield index

    def _speaks_of(self, kind: str, body: Any) -> bool:
        if kind == "report" and body.get("report_request_id") in self._requests:
            return True
        if kind == "signal" and body.get("event_id") in self._narrowed and body.get("modification_number"):
            return True  # it hashes the names of the homes that the event was for
        return kind != "statement" and self._home in _texts(body)

    def messages(self) -> Iterator[_Row]:
        """Messages kept as they came or as they were sent, that name the home."""
        for table, columns in _NAMED_IN:
            keys = [row[1] for row in self._conn.execute(f"PRAGMA table_info({table})").fetchall() if row[5]]
            listed = ", ".join([*keys, *columns])
            for row in self._rows(table, listed).fetchall():
                key = tuple(zip(keys, row, strict=False))
                if any(self._named.search(_unpacked(raw)) for raw in row[len(keys) :] if raw):
                    yield _Row(table, key)

    def findings(self) -> Iterator[_Row]:
        """What was found wrong with its messages, in words that name the home."""
        for rule, message, text in self._rows("vtn_finding", "rule, message, text").fetchall():
            if self._told.search(text):
                where = (("ven_id", self._ven_id), ("rule", rule), ("message", message))
                yield _Row("vtn_finding", where)

    def overrides(self) -> Iterator[_Row]:
        """Events that the home stayed out of: without its name and salt, the commitment stays."""
        own = "agg_override", "event_id, salt, r_id"
        for event_id, salt, r_id in self._rows(*own).fetchall():
            if r_id == self._home and salt:
                where = (("event_id", event_id), ("ven_id", self._ven_id), ("r_id", r_id))
                left = override_book.commitment(event_id, r_id, salt)
                yield _Row("agg_override", where, {"r_id": left, "salt": ""})

    def statements(self) -> tuple[list[_Row], list[str]]:
        """The details of statements without the home's share, and the commitments that stay of it."""
        rows, commitments = [], []
        for seq, text in self._rows("agg_statement", "seq, detail").fetchall():
            detail = json.loads(text)
            if self._home not in detail[share.AMOUNTS]:
                continue
            if share.in_one_piece(detail):
                raise RequestRefusedError(
                    f"statement {seq} was sealed with the shares of all homes in one piece, by an older"
                    " version: no home can be erased from it alone, only the whole node"
                )
            rest, commitment = share.erased(detail, self._home)
            rows.append(_Row("agg_statement", (("seq", seq),), {"detail": detail_text(rest)}))
            commitments.append(commitment)
        return rows, commitments

    def _stripped(self, content: bytes | None) -> bytes | None:
        """A message without the home's data points; None where it cannot be read, or nothing is left."""
        if content is None or not self._named.search(content):
            return content
        try:
            message: Message = _without(decode(content), self._home)
            rest = encode(message)
        except ProtocolError:
            return None
        return None if self._named.search(rest) else rest


def _without(value: Value, home: str) -> Value:
    """A message, or a part of one, without the items of lists that are of a data point or resource."""
    if isinstance(value, tuple):
        return tuple(_without(item, home) for item in value if not _is_of(item, home))  # type: ignore[return-value] # of the same items
    if is_dataclass(value) and not isinstance(value, type):
        changes = {
            field.name: _without(getattr(value, field.name), home)
            for field in fields(value)
            if (field.init and isinstance(getattr(value, field.name), tuple))
            or is_dataclass(getattr(value, field.name))
        }
        return replace(value, **changes)
    return value


def _is_of(item: object, home: str) -> bool:
    return item == home or getattr(item, "r_id", None) == home


def _texts(value: object) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _unpacked(raw: bytes) -> bytes:
    try:
        return zlib.decompress(raw)
    except zlib.error:
        return raw
