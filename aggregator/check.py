"""Whether journal, statements, checkpoints and anchors are what was sealed: each row against its leaf.

The leaves must have been checked before (`ledger.check`): where a row and its leaf differ, the row is wrong.
Rows behind the last sealed one are told, and are no error: nothing is known of them yet.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from aggregator import share
from aggregator.check_events import check_answers, check_events
from aggregator.check_readings import check_readings
from aggregator.sealed_rows import JOURNAL, MADE_WRONG, TABLES, Row, Sealed, position, table_of
from aggregator.statement_contract import check_settlements
from ledger import book, erasure, offline
from ledger.check import Progress
from ledger.check_cosignature import check_cosignatures
from ledger.errors import TamperedError
from ledger.record import FORMAT
from ledger.verify import Status, Step
from vtn import original

_KIND = b'"kind":"'
_SHOWN = 80
OLD_FORM = "rows were sealed in another form, which this version cannot build again"
SET_ASIDE = "rows were anchored when they were sealed, on a chain that was set back since"


@dataclass(slots=True)
class _Reader:
    """How far a table was compared with the leaves that its rows made."""

    sealed: Sealed
    conn: sqlite3.Connection
    rows: Iterator[Row] = field(init=False)
    position: int = field(init=False)
    last: int = 0
    count: int = 0
    gap: bool = False
    """Whether rows may have been erased since the last one."""
    remarks: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rows = self.sealed.rows(self.conn)
        self.position = position(self.conn, self.sealed)

    def compare(self, index: int, key: str, canonical: bytes) -> None:
        """The next row with the next leaf that such a row made."""
        row = next(self.rows, None)
        if row is None or (row.key != key and row.number > self.position and self._number(key) is None):
            raise TamperedError(f"{self.sealed.table} {key}", f"the row of leaf {index} is missing")
        if row.problem:
            raise TamperedError(self._name(row.number), row.problem)
        if row.key != key:
            self._misplaced(row, index, key)
        if row.canonical != canonical:
            self._changed(row, canonical)
        self.last = row.number
        self.count += 1
        self.gap = False

    def finish(self) -> Step:
        """What is behind the last leaf; TamperedError if the position says that a row there was sealed."""
        newer = 0
        for row in self.rows:
            if row.number <= self.position:
                raise TamperedError(self._name(row.number), "no leaf was made from it")
            newer += 1
        if self.last > self.position or (self.last < self.position and not self.gap):
            raise TamperedError(
                f"agg_position {self.sealed.position}",
                "the sealed rows end elsewhere",
                expected=str(self.last),
                got=str(self.position),
            )
        said = [f"{self.count} rows are what was sealed"]
        said += [f"{number} of these {remark}" for remark, number in sorted(self.remarks.items())]
        if newer:
            said.append(f"{newer} newer rows are not sealed yet")
        status = Status.NOT_CHECKED if self.remarks[OLD_FORM] else Status.CHECKED
        return Step(self.sealed.table, status, "; ".join(said))

    def _misplaced(self, row: Row, index: int, key: str) -> None:
        """Another row stands at a leaf's place: TamperedError says which was changed, added, moved or
        removed.
        """
        there = self._number(key)
        own = None if row.key is None else offline.canonical_of_key(self.conn, row.key)
        if there is None and own is not None:
            raise TamperedError(f"{self.sealed.table} {key}", f"the row of leaf {index} is missing")
        if there is None:
            raise TamperedError(
                self._name(row.number),
                f"it is not the row of leaf {index}",
                expected=key,
                got=_short(row.key),
            )
        if own is None and row.number <= self.position:
            raise TamperedError(self._name(row.number), "no leaf was made from it")
        # A record holds its row's number: a row that is still what was sealed did not move.
        moved = there if row.canonical == own else row.number
        raise TamperedError(
            self._name(moved), "it stands out of its order", expected=key, got=_short(row.key)
        )

    def _changed(self, row: Row, canonical: bytes) -> None:
        """Nothing but a remark if time alone made the difference; else TamperedError names the field."""
        sealed, found = json.loads(canonical), json.loads(row.canonical)
        old_form = sealed.pop("format") != FORMAT
        found.pop("format")
        if sealed == found:
            return
        if old_form:
            self.remarks[OLD_FORM] += 1
            return
        was, now = _flat(sealed), _flat(found)
        different = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
        if (
            sealed["kind"] == book.ANCHOR
            and different == ["at", "body.state"]
            and (was["body.state"], now["body.state"]) == ("anchored", "dropped")
            and was["at"] < now["at"]
        ):
            self.remarks[SET_ASIDE] += 1
            return
        name = different[0]
        raise TamperedError(
            self._name(row.number),
            f"{name} is not what was sealed",
            expected=_short(was.get(name)),
            got=_short(now.get(name)),
        )

    def _number(self, key: str) -> Any:
        """The number of the row that makes a record of that key; None if none does."""
        return next((row.number for row in self.sealed.rows(self.conn) if row.key == key), None)

    def _name(self, number: object) -> str:
        return f"{self.sealed.table} {number}"


def check_rows(conn: sqlite3.Connection, progress: Progress) -> Iterator[Step]:
    """One step for each table; TamperedError names the first row that is not what was sealed."""
    readers = {sealed.table: _Reader(sealed, conn) for sealed in (JOURNAL, *TABLES.values())}
    size = offline.log_size(conn)
    for index, key, _, canonical in offline.leaves(conn):
        if canonical is None or _kind(canonical) == erasure.KIND:
            for reader in readers.values():
                reader.gap = True
            continue
        reader = readers[table_of(_kind(canonical)).table]
        reader.compare(index, key, canonical)
        if index % 1024 == 0:
            progress("rows", index, size)
    for reader in readers.values():
        yield reader.finish()
    yield _shares(conn)
    yield check_settlements(conn)
    yield check_cosignatures(conn)
    yield _originals(conn)
    yield check_events(conn)
    yield check_answers(conn)
    yield check_readings(conn)


def _shares(conn: sqlite3.Connection) -> Step:
    """Homes' shares that are gone from statements: each must be named by a record of an erasure. The
    statements themselves were compared before.
    """
    named, gone = frozenset(erasure.read_said(conn).values), 0
    for seq, detail in conn.execute("SELECT seq, detail FROM agg_statement ORDER BY seq"):
        try:
            commitments = list(json.loads(detail).get(share.ERASED, ()))
        except MADE_WRONG as error:
            raise TamperedError(f"agg_statement {seq}", f"its detail cannot be read: {error}") from error
        for commitment in commitments:
            gone += 1
            if commitment not in named:
                raise TamperedError(
                    f"agg_statement {seq}", "a home's share is gone, and no record says that it was erased"
                )
    signed = max((int(row[0]) for row in offline.checkpoints(conn)), default=0)
    unsigned = len(named.difference(erasure.read_said(conn, signed).values))
    text = f"{gone} homes' shares were erased from statements"
    if unsigned:
        text += f"; {unsigned} of them by a record that nobody has signed yet"
    return Step("shares", Status.NOT_CHECKED if unsigned else Status.CHECKED, text)


def _originals(conn: sqlite3.Connection) -> Step:
    """Messages kept as they came: each by the hash that its fact was sealed with. Old ones may be gone."""
    count = 0
    for digest, raw in conn.execute("SELECT sha256, raw FROM vtn_original"):
        try:
            found = sha256(original.unpacked(raw)).hexdigest()
        except (zlib.error, TypeError, AttributeError):
            found = "none: it cannot be unpacked"
        if found != digest:
            raise TamperedError(f"vtn_original {digest}", "the message has another hash", got=found)
        count += 1
    return Step("vtn_original", Status.CHECKED, f"{count} messages are those of their hashes")


def _kind(canonical: bytes) -> str:
    """The kind of a record: the last of its fields."""
    return canonical[canonical.rindex(_KIND) + len(_KIND) : -2].decode()


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record, and those of its body by names of their own."""
    rest = {name: value for name, value in fields.items() if name != "body"}
    return rest | {f"body.{name}": value for name, value in fields["body"].items()}


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
