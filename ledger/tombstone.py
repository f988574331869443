"""Tombstones: a signed list of what was erased, kept beside the database and with each later backup.

A backup that is older than an erasure still holds its subject; whoever puts it back erases again what the
list names. A subject stands there as SHA-256 over a salt of its own and its name, so that the list tells who
was erased to those only who ask for somebody by name. The file is a text like a checkpoint's:

    flexpact-erasures/v1
    example.org/flexpact                                   the log's name
    2026-02-01T00:00:00Z SALT SUBJECT                      64 hexadecimal digits each, a line for each
                                                           (empty line)
    — example.org/flexpact NFD0ay...                       the log's key over all above
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature

from ledger.checkpoint import NoteSigner, VerifierKey, check_name, from_base64, to_base64
from ledger.errors import LedgerError, MalformedError, VerificationError
from ledger.record import parse_time, time_text

FORMAT = "flexpact-erasures/v1"
STEP = "erasures"
MAX_FILE_BYTES = 64 * 1024 * 1024
_DASH = "\u2014"
_ID_BYTES, _SIGNATURE_BYTES, _HASH_BYTES = 4, 64, 32

Subject = tuple[str, ...]
"""Who was erased: a VEN's id, or that and the id of a home behind it."""


@dataclass(frozen=True, slots=True, order=True)
class Tombstone:
    """One erasure: when, and of whom, told by a hash with a salt of its own."""

    at: datetime
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, subject: Subject, now: datetime) -> Tombstone:
        """The tombstone of a subject."""
        salt = secrets.token_bytes(_HASH_BYTES)
        return cls(now.astimezone(UTC).replace(microsecond=0), salt, _digest(salt, subject))

    def names(self, subject: Subject) -> bool:
        """Whether it is this subject's."""
        return _digest(self.salt, subject) == self.digest

    def line(self) -> str:
        """Its line in the list."""
        return f"{time_text(self.at)} {self.salt.hex()} {self.digest.hex()}"

    @classmethod
    def parse(cls, line: str) -> Tombstone:
        """The tombstone in a line; MalformedError for anything that `line` would not write."""
        parts = line.split(" ")
        try:
            at, salt, digest = parse_time(parts[0]), *map(bytes.fromhex, parts[1:])
            found = cls(at, salt, digest)
        except (ValueError, LedgerError) as error:
            raise MalformedError(STEP, f"not time, salt and hash: {line[:80]!r}") from error
        if found.line() != line or (len(salt), len(digest)) != (_HASH_BYTES, _HASH_BYTES):
            raise MalformedError(STEP, f"not time, salt and hash: {line[:80]!r}")
        return found


def _digest(salt: bytes, subject: Subject) -> bytes:
    """Each part with its length before it, so that no two subjects are one text."""
    parts = [part.encode() for part in subject]
    return sha256(b"\x00" + salt + b"".join(len(p).to_bytes(4, "big") + p for p in parts)).digest()


@dataclass(frozen=True, slots=True)
class Tombstones:
    """All erasures of a log that are known, oldest first."""

    origin: str
    stones: tuple[Tombstone, ...] = ()

    def with_more(self, more: Iterable[Tombstone]) -> Tombstones:
        """These and those, each once."""
        return Tombstones(self.origin, tuple(sorted({*self.stones, *more})))

    def text(self, key: NoteSigner) -> str:
        """The list, signed; the key bears the log's name."""
        body = self._body()
        raw = key.verifier.id + key.sign(body.encode())
        return f"{body}\n{_DASH} {key.name} {to_base64(raw)}\n"

    def _body(self) -> str:
        return "\n".join([FORMAT, self.origin, *(stone.line() for stone in self.stones)]) + "\n"

    @classmethod
    def parse(cls, raw: bytes, keys: Sequence[VerifierKey]) -> Tombstones:
        """The list in a file; MalformedError if it is none, VerificationError if none of these keys signed
        it.
        """
        try:
            body, _, signature = raw.decode().partition("\n\n")
        except UnicodeDecodeError as error:
            raise MalformedError(STEP, f"it is not UTF-8 at byte {error.start}") from error
        lines = body.split("\n")
        if lines[0] != FORMAT:
            raise MalformedError(STEP, "another format", expected=FORMAT, got=lines[0])
        if len(lines) < 2:
            raise MalformedError(STEP, "it ends before the log's name")
        found = cls(check_name(lines[1]), tuple(map(Tombstone.parse, lines[2:])))
        if tuple(sorted(set(found.stones))) != found.stones:
            raise MalformedError(STEP, "its lines are not in order, or one stands there twice")
        _check_signature(found._body().encode(), signature, keys)
        return found


def _check_signature(body: bytes, line: str, keys: Sequence[VerifierKey]) -> None:
    parts = line.removesuffix("\n").split(" ")
    if len(parts) != 3 or parts[0] != _DASH or not line.endswith("\n"):
        raise MalformedError(STEP, f"not a signature line: {line[:80]!r}")
    raw = from_base64(STEP, parts[2], _ID_BYTES + _SIGNATURE_BYTES)
    for key in keys:
        if (key.name, key.id) == (parts[1], raw[:_ID_BYTES]):
            try:
                key.verify(body, raw[_ID_BYTES:])
            except InvalidSignature as error:
                raise VerificationError(STEP, "the signature does not belong to this list") from error
            return
    expected = " or ".join(str(key) for key in keys)
    raise VerificationError(
        STEP, "signed by another key", expected=expected, got=f"{parts[1]}+{raw[:_ID_BYTES].hex()}"
    )


def path_beside(database: Path) -> Path:
    """Where the list of a database lies."""
    return database.with_name(database.name + ".erasures")


def read(path: Path, origin: str, keys: Sequence[VerifierKey]) -> Tombstones:
    """The list in a file; an empty one if there is no file. LedgerError names the file."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Tombstones(origin)
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return Tombstones.parse(raw, keys)
    except VerificationError as error:
        raise LedgerError(f"{path}: {error}") from error


def write(path: Path, listed: Tombstones, key: NoteSigner) -> None:
    """Put the list in the place of the one before, durably and at once."""
    draft = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(listed.text(key).encode())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise LedgerError(f"{path} cannot be written: {error.strerror}") from error
