"""A witness: a second party that cosigns the checkpoints of logs, each only if it extends the one before.

What it keeps, in one SQLite file, is the newest checkpoint that it cosigned of each log. Rules:
- comparing with that checkpoint and replacing it is one transaction, durable before the cosignature is given;
- so of one log no two trees of a size are cosigned, and never a smaller one after a larger;
- the same checkpoint again gets the same cosignature, byte for byte;
- two trees of one size are kept, as the log signed them, and told. A proof that does not fit is no evidence:
  anybody can send the log's own checkpoint with one.
The states and their codes are those of C2SP `tlog-witness`.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ledger.checkpoint import (
    COSIGNATURE,
    ED25519,
    Cosignature,
    SigningKey,
    VerifierKey,
    from_base64,
    parse_count,
    to_base64,
)
from ledger.consistency import keep_evidence
from ledger.errors import ForkError, KeyFileError, LedgerError, MalformedError, VerificationError
from ledger.merkle import EMPTY_ROOT, HASH_BYTES, check_consistency
from ledger.note import Note

KEY_FILE, STATE_FILE = "witness.key", "witness.sqlite"
MAX_PROOF_LINES = 63
"""As C2SP says; a path between trees of fewer than 2^63 leaves may have more, and no log has them."""
STEP = "request"
_SCHEMA = """
CREATE TABLE witness (key TEXT NOT NULL) STRICT;
CREATE TABLE head (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL,
    cosignature TEXT NOT NULL
) STRICT;
"""


class NotCosignedError(LedgerError):
    """The witness does not cosign; `status` is C2SP's code for it, `size` the one that it has cosigned,
    `forked` whether the log signed two trees of one size, `evidence` where that is kept.
    """

    def __init__(
        self,
        status: int,
        text: str,
        *,
        size: int | None = None,
        forked: bool = False,
        evidence: Path | None = None,
    ) -> None:
        self.status, self.size, self.forked, self.evidence = status, size, forked, evidence
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Request:
    """What a log asks: its checkpoint, with the proof that it extends that of `old` leaves."""

    old: int
    path: tuple[bytes, ...]
    note: Note

    def text(self) -> str:
        """The body of `add-checkpoint`."""
        return request_text(self.old, self.path, self.note.text())

    @classmethod
    def parse(cls, raw: bytes) -> Request:
        """The request in a body; MalformedError if it is none."""
        try:
            head, blank, note = raw.decode().partition("\n\n")
        except UnicodeDecodeError as error:
            raise MalformedError(STEP, f"it is not UTF-8 at byte {error.start}") from error
        first, *lines = head.split("\n")
        if not blank or not first.startswith("old "):
            raise MalformedError(STEP, "it is not an old size, proof lines, a blank line and a checkpoint")
        if len(lines) > MAX_PROOF_LINES:
            raise MalformedError(
                STEP, "too many proof lines", expected=f"at most {MAX_PROOF_LINES}", got=str(len(lines))
            )
        path = tuple(from_base64(STEP, line, HASH_BYTES) for line in lines)
        return cls(parse_count(STEP, first.removeprefix("old ")), path, Note.parse(note))


def request_text(old: int, path: Sequence[bytes], note: str) -> str:
    """The body of `add-checkpoint`."""
    return "\n".join([f"old {old}", *map(to_base64, path)]) + "\n\n" + note


@dataclass(frozen=True, slots=True)
class _Head:
    """The newest checkpoint of a log that was cosigned, and the line."""

    note: Note
    cosignature: str


class Witness:
    """Cosigns for the logs whose keys it knows. Use it from one thread at a time; `close` it."""

    def __init__(self, folder: Path, logs: Sequence[VerifierKey]) -> None:
        self._key = SigningKey.load(folder / KEY_FILE, COSIGNATURE)
        self._folder = folder
        self._logs: dict[str, list[VerifierKey]] = defaultdict(list)
        for key in logs:
            if key.kind != ED25519:
                raise KeyFileError(f"the key {key} is a witness's, not a log's")
            self._logs[key.name].append(key)
        self._conn = _open(folder / STATE_FILE, self._key.verifier)

    @property
    def verifier(self) -> VerifierKey:
        """The key that trust files name."""
        return self._key.verifier

    def close(self) -> None:
        """Close the file."""
        self._conn.close()

    def add_checkpoint(self, raw: bytes, now: datetime) -> str:
        """The cosignature line for the checkpoint in a request, once it is durable that it was given.

        NotCosignedError says why there is none, LedgerError that the state cannot be written.
        """
        try:
            request = Request.parse(raw)
        except MalformedError as error:
            raise NotCosignedError(400, str(error)) from error
        note = self._signed(request.note)
        if request.old > note.size:
            raise NotCosignedError(400, f"the old size {request.old} is above the checkpoint's {note.size}")
        with self._transaction():
            held = self._head(note.origin)
            if held is not None and held.note.size == note.size:
                return self._again(held, request.old, note)
            self._check_growth(held, request, note)
            line = self._cosign(note, now)
            self._conn.execute(
                "INSERT INTO head VALUES (?, ?, ?, ?, ?) ON CONFLICT (origin) DO UPDATE SET"
                " size = excluded.size, root = excluded.root, note = excluded.note,"
                " cosignature = excluded.cosignature",
                (note.origin, note.size, note.root, note.text(), line),
            )
        return line

    def newest(self, origin: str) -> str | None:
        """The newest checkpoint of a log that was cosigned, with that line; None if there is none."""
        held = self._head(origin)
        return None if held is None else held.note.text() + held.cosignature

    def _signed(self, note: Note) -> Note:
        """The checkpoint without lines that are not its log's."""
        keys = self._logs.get(note.origin)
        if not keys:
            raise NotCosignedError(404, f"the log {note.origin} is not known here")
        signed = note.signed_by(keys)
        if signed is None:
            raise NotCosignedError(403, f"no key that is known of {note.origin} signed this checkpoint")
        return signed

    def _again(self, held: _Head, old: int, note: Note) -> str:
        """The line that was given for this size; whatever else the log signed of it is a fork."""
        if note.root != held.note.root:
            text = f"the log {note.origin} signed two trees of {note.size} leaves"
            kept = self._keep(text, held.note, note)
            raise NotCosignedError(409, text, size=held.note.size, evidence=kept, forked=True)
        if old != note.size:
            raise _conflict(old, held.note.size)
        return held.cosignature

    def _check_growth(self, held: _Head | None, request: Request, note: Note) -> None:
        """Nothing if the checkpoint extends what was cosigned before."""
        size, root = (held.note.size, held.note.root) if held else (0, EMPTY_ROOT)
        if request.old != size:
            raise _conflict(request.old, size)
        try:
            check_consistency(size, root, note.size, note.root, request.path)
            if note.size == 0 and note.root != EMPTY_ROOT:
                raise VerificationError("consistency", "a tree without leaves has another root")
        except VerificationError as error:
            text = f"nothing shows that the tree of {note.size} leaves of {note.origin} holds that of {size}"
            raise NotCosignedError(422, f"{text}: {error}") from error

    def _cosign(self, note: Note, now: datetime) -> str:
        """C2SP `tlog-cosignature`, over the text as it came, lines that we do not know among it."""
        time = int(now.timestamp())
        signature = self._key.sign(f"cosignature/v1\ntime {time}\n{note.body}".encode())
        return Cosignature(self._key.name, self.verifier.id, time, signature).line() + "\n"

    def _keep(self, text: str, old: Note, new: Note) -> Path | None:
        """Keep both as they were signed: no more than the log itself signed, so that no stranger fills the
        disk.
        """
        try:
            return keep_evidence(self._folder, ForkError("consistency", text, [old.text(), new.text()]))
        except OSError:
            return None

    def _head(self, origin: str) -> _Head | None:
        row = self._conn.execute("SELECT note, cosignature FROM head WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else _Head(Note.parse(row[0]), row[1])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Begin before anything is read, so that of two processes one waits; durable at the end."""
        try:
            self._conn.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._conn.execute("COMMIT")
            except BaseException:
                self._conn.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise LedgerError(f"the witness's state cannot be written: {error}") from error


def make_witness(folder: Path, name: str) -> VerifierKey:
    """The public key of a new witness in a folder; KeyFileError if there is one already."""
    key = SigningKey.generate(name, COSIGNATURE)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in (folder / KEY_FILE, folder / STATE_FILE):
        if file.exists():
            raise KeyFileError(f"{file} exists already; a witness is made once")
    # The state first: a key without it would sign, once somebody made an empty one, what it must not.
    with sqlite3.connect(folder / STATE_FILE) as conn:
        conn.executescript(_SCHEMA)
        conn.execute("INSERT INTO witness VALUES (?)", (str(key.verifier),))
    conn.close()
    (folder / STATE_FILE).chmod(0o600)
    key.save(folder / KEY_FILE)
    return key.verifier


def _open(file: Path, key: VerifierKey) -> sqlite3.Connection:
    if not file.is_file():
        raise LedgerError(
            f"{file} is missing: without it this witness may sign what it must not; make a new one, with a"
            " new key"
        )
    conn = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    try:
        conn.execute("PRAGMA synchronous = EXTRA")
        found = conn.execute("SELECT key FROM witness").fetchall()
    except sqlite3.Error as error:
        conn.close()
        raise LedgerError(f"{file} is no witness's state: {error}") from error
    if found != [(str(key),)]:
        conn.close()
        raise LedgerError(f"{file} is the state of another witness than {key}")
    return conn


def _conflict(old: int, size: int) -> NotCosignedError:
    return NotCosignedError(409, f"the old size is {old}; what was cosigned has {size} leaves", size=size)
