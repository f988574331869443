"""One random change of one row of a table, as somebody with a database client would make it."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Names = set[str]
"""How a check may name the row: by its number before or after the change, or by the key of its record."""


@dataclass(frozen=True)
class Table:
    """A table, the columns that name a row, and which of its rows are sealed."""

    name: str
    number: tuple[str, ...]
    key: str = "NULL"
    """SQL of the key of the record that a row makes."""
    sealed: str = "1"
    """SQL of whether a row is sealed."""

    @property
    def text(self) -> str:
        """SQL of a row's number as a check prints it."""
        return " || '/' || ".join(self.number)


def _up_to(position: str, column: str) -> str:
    return f"{column} <= (SELECT seq FROM agg_position WHERE name = '{position}')"


TABLES = {
    table.name: table
    for table in (
        Table("vtn_journal", ("seq",), "key", _up_to("sealed-journal", "seq")),
        Table(
            "agg_statement",
            ("seq",),
            "'statement/' || ven_id || '/' || event_id || '/' || revision",
            _up_to("sealed-statements", "seq"),
        ),
        Table("ledger_leaf", ("leaf_index",)),
        Table("ledger_tile", ("level", "tile_index")),
        Table("ledger_checkpoint", ("size",), "'checkpoint/' || size", _up_to("sealed-checkpoints", "size")),
        Table(
            "ledger_anchor", ("anchor_id",), "'anchor/' || anchor_id", _up_to("sealed-anchors", "anchor_id")
        ),
        Table(
            "ledger_cosignature",
            ("number",),
            "'cosignature/' || number",
            _up_to("sealed-cosignatures", "number"),
        ),
    )
}


def mutate(conn: sqlite3.Connection, table: Table, rng: random.Random) -> tuple[str, Names]:
    """Change one row; what was done, and how a check may name the row."""
    act: Callable[..., tuple[str, Names]] = rng.choice([_change, _change, _change, _delete, _insert, _swap])
    while True:
        conn.execute("SAVEPOINT mutation")
        try:
            return act(conn, table, rng)
        except (sqlite3.IntegrityError, OverflowError):  # the table itself does not take this one: another
            conn.execute("ROLLBACK TO mutation")


def _pick(conn: sqlite3.Connection, table: Table, rng: random.Random) -> tuple[int, Names]:
    rows = conn.execute(
        f"SELECT rowid, {table.text}, {table.key} FROM {table.name} WHERE {table.sealed} ORDER BY rowid"
    ).fetchall()
    rowid, number, key = rng.choice(rows)
    return rowid, {f"{table.name} {number}", f"{table.name} {key}"}


def _columns(conn: sqlite3.Connection, table: Table) -> list[str]:
    return [row[1] for row in conn.execute(f"PRAGMA table_info({table.name})")]


def _number(conn: sqlite3.Connection, table: Table, rowid: int) -> str:
    found = conn.execute(f"SELECT {table.text} FROM {table.name} WHERE rowid = ?", (rowid,)).fetchone()
    return f"{table.name} {found[0]}"


def _change(conn: sqlite3.Connection, table: Table, rng: random.Random) -> tuple[str, Names]:
    rowid, names = _pick(conn, table, rng)
    column = rng.choice(_columns(conn, table))
    (old,) = conn.execute(f'SELECT "{column}" FROM {table.name} WHERE rowid = ?', (rowid,)).fetchone()
    new = _other(old, rng)
    conn.execute(f'UPDATE {table.name} SET "{column}" = ? WHERE rowid = ?', (new, rowid))
    if (column,) == table.number:
        rowid = new
    now = conn.execute(f'SELECT "{column}" FROM {table.name} WHERE rowid = ?', (rowid,)).fetchone()[0]
    if (type(now), now) == (type(old), old):  # the column's own type made it what it was
        raise sqlite3.IntegrityError
    return f"{column} of {sorted(names)}: {old!r} to {now!r}", names | {_number(conn, table, rowid)}


def _delete(conn: sqlite3.Connection, table: Table, rng: random.Random) -> tuple[str, Names]:
    rowid, names = _pick(conn, table, rng)
    conn.execute(f"DELETE FROM {table.name} WHERE rowid = ?", (rowid,))
    return f"deleted {sorted(names)}", names


def _insert(conn: sqlite3.Connection, table: Table, rng: random.Random) -> tuple[str, Names]:
    """A copy of a row at a free number that is not behind the sealed ones, and other where it must be."""
    rowid, _ = _pick(conn, table, rng)
    columns = _columns(conn, table)
    row = dict(
        zip(
            columns,
            conn.execute(f"SELECT * FROM {table.name} WHERE rowid = ?", (rowid,)).fetchone(),
            strict=True,
        )
    )
    for column in (*table.number, *({"key", "revision", "commitment", "witness"} & row.keys())):
        row[column] = _free(row[column], rng)
    if table.name == "ledger_anchor":
        row["state"] = "dropped"
    marks = ", ".join("?" * len(columns))
    made = conn.execute(f"INSERT INTO {table.name} VALUES ({marks})", tuple(row.values())).lastrowid
    assert made is not None
    limit = conn.execute(f"SELECT {table.sealed} FROM {table.name} WHERE rowid = ?", (made,)).fetchone()[0]
    if not limit:  # behind the sealed ones it is told, and no fault
        raise sqlite3.IntegrityError
    name = _number(conn, table, made)
    return f"inserted {name}", {name}


def _swap(conn: sqlite3.Connection, table: Table, rng: random.Random) -> tuple[str, Names]:
    """Two rows exchange their places."""
    (one, names), (other, more) = _pick(conn, table, rng), _pick(conn, table, rng)
    if one == other:
        raise sqlite3.IntegrityError
    rest = [column for column in _columns(conn, table) if column not in table.number]
    shown = ", ".join(f'"{column}"' for column in rest)
    rows = [
        conn.execute(f"SELECT {shown} FROM {table.name} WHERE rowid = ?", (rowid,)).fetchone()
        for rowid in (one, other)
    ]
    place = ", ".join(table.number)
    numbers = [
        conn.execute(f"SELECT {place} FROM {table.name} WHERE rowid = ?", (rowid,)).fetchone()
        for rowid in (one, other)
    ]
    conn.execute(f"DELETE FROM {table.name} WHERE rowid IN (?, ?)", (one, other))
    for number, row in zip(numbers, reversed(rows), strict=True):
        marks = ", ".join("?" * (len(number) + len(row)))
        conn.execute(f"INSERT INTO {table.name} ({place}, {shown}) VALUES ({marks})", number + row)
    return f"swapped {sorted(names)} and {sorted(more)}", names | more


def _free(value: Any, rng: random.Random) -> Any:
    if isinstance(value, int):
        return value + rng.choice([-1000, -7, -1, 1, 7])
    return _other(value, rng)


def _other(value: Any, rng: random.Random) -> Any:
    """Another value, of the same kind or not."""
    if rng.random() < 0.1:
        return rng.choice([None, "", 0, b"", "x"])
    if isinstance(value, int):
        return value + rng.choice([-(10**6), -60, -1, 1, 60, 10**6])
    if isinstance(value, bytes) and value:
        at = rng.randrange(len(value))
        return rng.choice(
            [value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :], value[:at]]
        )
    if isinstance(value, str) and value:
        at = rng.randrange(len(value))
        letter = rng.choice('0123456789abcdefXYZ "{}:,-')
        return rng.choice(
            [value[:at] + letter + value[at + 1 :], value[:at] + letter + value[at:], value[:at]]
        )
    return rng.choice([1, "x", b"x"])
