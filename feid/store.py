"""Everything that the box remembers, in one SQLite file that survives a power cut.

Readings are kept for 35 days, because the aggregator may ask for them again (HISTORY_USAGE); the frozen
state of an event is kept until it is over, so that a restarted box follows the same plan. A file that is
damaged is moved aside and a new one is begun: the meters keep their registers and the limits live in the
settings, so nothing that makes the box safe is in here.
"""

import json
import logging
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

log = logging.getLogger(__name__)

QUARTER_HOUR = timedelta(minutes=15)
KEPT = timedelta(days=35)

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE register (
        start INTEGER NOT NULL,          -- unix seconds of the beginning of the quarter hour
        home_id TEXT NOT NULL,
        energy_wh INTEGER NOT NULL,
        flexible_wh INTEGER NOT NULL,    -- what the home's devices could have given up
        quality TEXT NOT NULL,           -- oadrDataQuality
        PRIMARY KEY (start, home_id)
    ) WITHOUT ROWID;
    CREATE TABLE offer (
        issued INTEGER NOT NULL,
        start INTEGER NOT NULL,
        load_wh INTEGER NOT NULL,
        offer_wh INTEGER NOT NULL,
        PRIMARY KEY (issued, start)
    ) WITHOUT ROWID;
    CREATE TABLE frozen (
        event_id TEXT NOT NULL,
        frozen_at INTEGER NOT NULL,      -- the instant that the state describes
        ends INTEGER,                    -- NULL: open-ended event
        state TEXT NOT NULL,             -- JSON
        checksum INTEGER NOT NULL,       -- CRC-32 of state
        PRIMARY KEY (event_id, frozen_at)
    ) WITHOUT ROWID;
    CREATE TABLE mark (name TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
    """,
)


@dataclass(frozen=True, slots=True)
class Register:
    """One home's quarter hour as the meter gave it, with our verdict on its quality."""

    home_id: str
    start: datetime
    energy_wh: int
    flexible_wh: int
    quality: str


@dataclass(frozen=True, slots=True)
class NodeQuarter:
    """All homes of the node in one quarter hour."""

    start: datetime
    energy_wh: int
    flexible_wh: int


@dataclass(frozen=True, slots=True)
class OfferedQuarter:
    """One quarter hour of an offer, in Wh: the load forecast for the node, and what its devices can give."""

    start: datetime
    load_wh: int
    offer_wh: int


class Store:
    """The box's memory. Each method is one transaction; nothing is reported before it is on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.moved_aside: Path | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _open(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise  # a directory that cannot be written, a locked file: nothing is wrong with the contents
            self.moved_aside = _move_aside(path)
            log.error(
                "%s is damaged (%s): moved to %s, beginning anew from the meters' own registers",
                path,
                error,
                self.moved_aside,
            )
            self._db = _open(path)

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def keep_registers(self, registers: Iterable[Register], complete_until: tuple[str, datetime]) -> None:
        """Keep registers (one that is there already is replaced) and, with them, the mark that they are
        complete until.
        """
        with self._db:
            name, until = complete_until
            self._db.execute("INSERT OR REPLACE INTO mark VALUES (?, ?)", (name, _unix(until)))
            self._db.executemany(
                "INSERT OR REPLACE INTO register VALUES (?, ?, ?, ?, ?)",
                [(_unix(r.start), r.home_id, r.energy_wh, r.flexible_wh, r.quality) for r in registers],
            )

    def registers(self, start: datetime, end: datetime, home_id: str | None = None) -> list[Register]:
        """Registers of the quarter hours that begin in [start, end), in order of time, then home."""
        rows = self._db.execute(
            "SELECT home_id, start, energy_wh, flexible_wh, quality FROM register"
            " WHERE start >= ? AND start < ? AND (? IS NULL OR home_id = ?) ORDER BY start, home_id",
            (_unix(start), _unix(end), home_id, home_id),
        )
        return [
            Register(home, _utc(at), energy, flexible, quality)
            for home, at, energy, flexible, quality in rows
        ]

    def node_quarters(self, start: datetime, end: datetime) -> list[NodeQuarter]:
        """The sum over the homes of each quarter hour that begins in [start, end), in order of time."""
        rows = self._db.execute(
            "SELECT start, sum(energy_wh), sum(flexible_wh) FROM register WHERE start >= ? AND start < ?"
            " GROUP BY start ORDER BY start",
            (_unix(start), _unix(end)),
        )
        return [NodeQuarter(_utc(at), energy, flexible) for at, energy, flexible in rows]

    def first_gap(self, homes: int, start: datetime, end: datetime) -> datetime | None:
        """The first quarter hour in [start, end) that lacks a home, after the first that is kept; None
        without one.
        """
        rows = self._db.execute(
            "SELECT start, count(*) FROM register WHERE start >= ? AND start < ?"
            " GROUP BY start ORDER BY start",
            (_unix(start), _unix(end)),
        ).fetchall()
        expected = rows[0][0] if rows else _unix(start)
        for at, count in rows:
            if at != expected or count < homes:
                break
            expected += int(QUARTER_HOUR.total_seconds())
        return _utc(expected) if expected < _unix(end) else None

    def keep_mark(self, name: str, at: datetime | None) -> None:
        """Keep an instant under a name; None forgets it."""
        with self._db:
            if at is None:
                self._db.execute("DELETE FROM mark WHERE name = ?", (name,))
            else:
                self._db.execute("INSERT OR REPLACE INTO mark VALUES (?, ?)", (name, _unix(at)))

    def mark(self, name: str) -> datetime | None:
        """The instant that was kept under this name."""
        row = self._db.execute("SELECT at FROM mark WHERE name = ?", (name,)).fetchone()
        return None if row is None else _utc(row[0])

    def keep_offer(self, issued: datetime, quarters: Iterable[OfferedQuarter]) -> None:
        """Keep the offer that was issued at this instant; the same instant again replaces it."""
        with self._db:
            self._db.execute("DELETE FROM offer WHERE issued = ?", (_unix(issued),))
            self._db.executemany(
                "INSERT INTO offer VALUES (?, ?, ?, ?)",
                [(_unix(issued), _unix(q.start), q.load_wh, q.offer_wh) for q in quarters],
            )

    def last_issued(self, at: datetime | None = None) -> datetime | None:
        """When the newest offer was issued, not looking past an instant if one is given."""
        row = self._db.execute(
            "SELECT max(issued) FROM offer WHERE issued <= ?", (2**62 if at is None else _unix(at),)
        ).fetchone()
        return None if row[0] is None else _utc(row[0])

    def offer(self, issued: datetime) -> list[OfferedQuarter]:
        """The offer that was issued at this instant, in order of time; empty if there is none."""
        rows = self._db.execute(
            "SELECT start, load_wh, offer_wh FROM offer WHERE issued = ? ORDER BY start", (_unix(issued),)
        )
        return [OfferedQuarter(_utc(start), load, offer) for start, load, offer in rows]

    def freeze(self, event_id: str, frozen_at: datetime, ends: datetime | None, state: object) -> None:
        """Keep the state that an event's plan is made from; what is kept first stays."""
        text = json.dumps(state, sort_keys=True)
        with self._db:
            self._db.execute(
                "INSERT OR IGNORE INTO frozen VALUES (?, ?, ?, ?, ?)",
                (event_id, _unix(frozen_at), None if ends is None else _unix(ends), text, _crc(text)),
            )

    def frozen(self, event_id: str, frozen_at: datetime) -> object | None:
        """The state kept for this event and instant; None if there is none, or if it was damaged (then it
        goes).
        """
        row = self._db.execute(
            "SELECT state, checksum FROM frozen WHERE event_id = ? AND frozen_at = ?",
            (event_id, _unix(frozen_at)),
        ).fetchone()
        if row is None:
            return None
        if not isinstance(row[0], str) or _crc(row[0]) != row[1]:
            log.error("the frozen state of event %s is damaged and is taken anew", event_id)
            with self._db:
                self._db.execute(
                    "DELETE FROM frozen WHERE event_id = ? AND frozen_at = ?", (event_id, _unix(frozen_at))
                )
            return None
        return json.loads(row[0])  # type: ignore[no-any-return]  # whatever freeze was given

    def forget_from(self, at: datetime) -> None:
        """Drop readings and offers of an instant and later."""
        with self._db:
            self._db.execute("DELETE FROM register WHERE start >= ?", (_unix(at),))
            self._db.execute("DELETE FROM offer WHERE issued >= ?", (_unix(at),))

    def purge(self, now: datetime) -> None:
        """Drop readings and offers older than 35 days, and the plans of events that ended a day ago."""
        with self._db:
            self._db.execute("DELETE FROM register WHERE start < ?", (_unix(now - KEPT),))
            self._db.execute("DELETE FROM offer WHERE issued < ?", (_unix(now - KEPT),))
            self._db.execute("DELETE FROM frozen WHERE ends < ?", (_unix(now - timedelta(days=1)),))


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=5.0)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        verdict: Sequence[str] = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict[0] != "ok":
            raise sqlite3.DatabaseError(f"database disk image is malformed: {verdict[0]}")
        done: int = db.execute("PRAGMA user_version").fetchone()[0]
        for number, script in enumerate(MIGRATIONS[done:], start=done + 1):
            db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
    except BaseException:
        db.close()
        raise
    return db


def _move_aside(path: Path) -> Path:
    """Rename the file and its companions to the first free name, so that nothing is ever overwritten."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    path.rename(aside)
    return aside


def _crc(text: str) -> int:
    return zlib.crc32(text.encode())


def _unix(at: datetime) -> int:
    if at.tzinfo is None:
        raise ValueError(f"an instant needs its offset from UTC, got {at}")
    return int(at.timestamp())


def _utc(unix: int) -> datetime:
    return datetime.fromtimestamp(unix, UTC)
