"""A backup put back: checked, brought up to what was erased since, and laid in the place of the database.

Rules: nothing of the target is touched before the copy has passed every check; the database changes in one
rename, and one that is there is held until then, so that nobody else opens it. What was revoked since is not
known to the backup: every session, link, token and waiting approval ends. The log goes on under its name only
if nothing newer of it was published, else two trees would bear the same numbers; under a new name all that
the backup holds is sealed again. Messages that were signed before this moment are refused, because the nonces
that came after the backup are gone.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from aggregator import audit, erase, erase_account, erase_home
from aggregator.access.sealing import MARK
from aggregator.backup import DATABASE, ERASURES, Manifest, Tell, check_integrity, extract, opened, sync
from aggregator.check import check_rows
from aggregator.errors import BackupError
from aggregator.published import held_elsewhere
from aggregator.settings import AggregatorSettings
from ledger import erasure, offline, tombstone
from ledger.check import Head, check_log
from ledger.check_anchor import check_anchors
from ledger.checkpoint import Checkpoint, NoteSigner, VerifierKey
from ledger.errors import LedgerError
from ledger.log_key import log_key
from ledger.tombstone import Tombstones
from ledger.trust import LogKey, Trust
from ledger.verify import Step
from vtn import nonce
from vtn.schema import micros

_LOG_TABLES = (
    "ledger_leaf",
    "ledger_tile",
    "ledger_checkpoint",
    "ledger_anchor",
    "ledger_cosignature",
)
_SEALED = (audit.JOURNAL, audit.STATEMENTS, audit.CHECKPOINTS, audit.ANCHORS, audit.COSIGNATURES)
_HEADER = 100
"""Bytes at the beginning of a file by which SQLite knows it as a database."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a backup is to be put back.

    `trust`: keys beside the settings' own that checkpoints and erasures may be signed with; `heads`: what is
    known of the log from elsewhere; `erasures`: lists of what was erased, beside the target's own.
    """

    replace: bool = False
    new_log: bool = False
    ask: bool = True
    trust: Trust | None = None
    heads: tuple[Head, ...] = ()
    erasures: tuple[Path, ...] = ()


@dataclass(slots=True)
class Restored:
    """What was put back, and what was found on the way."""

    manifest: Manifest
    steps: list[Step] = field(default_factory=list)
    erased: int = 0
    """Subjects that the backup still held, and were erased again."""
    refused_before: datetime | None = None
    """Messages that were signed before this are refused."""
    sealed: int = 0
    """Users whose second factors open with the sealing key alone, which is in no plain backup."""


def restore(
    path: Path,
    settings: AggregatorSettings,
    wishes: Wishes,
    now: datetime,
    *,
    migrate: Callable[[Path], None],
    tell: Tell = lambda *_: None,
) -> Restored:
    """Put a backup in the place of the settings' database; BackupError or LedgerError says what is against
    it, and then nothing was changed.
    """
    key = log_key(settings.log.key, settings.log.origin)
    settings.state.mkdir(parents=True, exist_ok=True)
    with (
        _held(settings.database, wishes) as held,
        opened(path) as (manifest, archive),
        tempfile.TemporaryDirectory(prefix=".restore.", dir=settings.state) as folder,
    ):
        made = Restored(manifest)
        staged = Path(folder) / DATABASE
        for name in manifest.files.keys() & {DATABASE, ERASURES}:
            extract(archive, manifest, name, Path(folder) / name, tell)
        check_integrity(staged)
        migrate(staged)
        own = Trust((LogKey(key.verifier), *settings.log.former()))
        keys = [known.key for known in (*own.keys, *(wishes.trust.keys if wishes.trust else ()))]
        lists = [tombstone.path_beside(settings.database), Path(folder) / ERASURES, *wishes.erasures]
        listed = _listed(lists, settings.log.origin, keys)
        trust = wishes.trust or (None if wishes.new_log else own)
        _check_name(manifest.origin, settings.log.origin, new_log=wishes.new_log)
        made.steps = _checked(staged, held, settings, wishes, trust, tell=tell)
        made.erased, made.refused_before = _bring_up(staged, settings, wishes, listed, now=now, key=key)
        made.sealed = _sealed_factors(staged)
        _put(staged, settings.database, held, listed, key)
    return made


def _sealed_factors(database: Path) -> int:
    with offline.reading(database) as conn:
        query = "SELECT count(*) FROM agg_user WHERE totp_secret LIKE ? OR totp_pending LIKE ?"
        (count,) = conn.execute(query, (f"{MARK}%", f"{MARK}%")).fetchone()
    return int(count)


def standing(database: Path) -> list[str]:
    """What lies where a backup would be put, for a person; empty if nothing does."""
    if not database.exists():
        return []
    try:
        with offline.reading(database) as conn:
            (nodes,) = conn.execute("SELECT count(*) FROM vtn_ven").fetchone()
            (facts,) = conn.execute("SELECT count(*) FROM vtn_journal").fetchone()
            size = offline.log_size(conn)
            signed = max((int(row[0]) for row in offline.checkpoints(conn)), default=0)
    except (sqlite3.DatabaseError, LedgerError) as error:
        return [f"{database}, which cannot be read: {error}"]
    return [f"{database}: {nodes} nodes, {facts} facts, a log of {size} leaves, {signed} of them signed"]


@contextmanager
def _held(database: Path, wishes: Wishes) -> Iterator[sqlite3.Connection | None]:
    """The database that is there, which nobody else can open until this is over; None if there is none."""
    if not database.exists():
        yield None
        return
    if not wishes.replace:
        raise BackupError(f"there is a database already; --replace gives it up for ever: {database}")
    with erase.alone(database) as conn:
        yield conn


def _listed(paths: Sequence[Path], origin: str, keys: Sequence[VerifierKey]) -> Tombstones:
    for path in paths[2:]:
        if not path.is_file():
            raise BackupError(f"{path} is no file")
    stones = [stone for path in paths for stone in tombstone.read(path, origin, keys).stones]
    return Tombstones(origin).with_more(stones)


def _check_name(origin: str, ours: str, *, new_log: bool) -> None:
    if new_log and origin == ours:
        raise BackupError(f"--new-log begins another log, and [log] still names {ours}")
    if not new_log and origin != ours:
        raise BackupError(
            f"this is a backup of the log {origin}, and [log] names {ours}: with --new-log all that it holds"
            " is sealed again under that name"
        )


def _checked(
    staged: Path,
    held: sqlite3.Connection | None,
    settings: AggregatorSettings,
    wishes: Wishes,
    trust: Trust | None,
    *,
    tell: Tell,
) -> list[Step]:
    """What the checks of log, rows and anchors found; BackupError or VerificationError if one fails."""
    with offline.reading(staged) as conn:
        heads = () if wishes.new_log else tuple(_heads(conn, held, settings, wishes))
        for head in held_elsewhere(settings.chain, (), conn) if wishes.new_log and wishes.ask else ():
            raise BackupError(
                f"{head.record} holds a checkpoint of {head.size} leaves, of another log: deploy a new one"
                " with `flexpact ledger deploy` and name it in [chain]"
            )
        _check_nothing_newer(offline.log_size(conn), heads)
        known = [head for head in heads if head.root]
        return [
            *check_log(conn, trust, tell, known),
            *check_rows(conn, tell),
            *check_anchors(conn, trust),
        ]


def _heads(
    conn: sqlite3.Connection, held: sqlite3.Connection | None, settings: AggregatorSettings, wishes: Wishes
) -> Iterator[Head]:
    """Every head of the log that is known here or can be asked for."""
    yield from wishes.heads
    if wishes.ask:
        yield from held_elsewhere(settings.chain, settings.log.witnesses, conn)
    if held is None:
        return
    try:
        notes = [row[2] for row in offline.checkpoints(held)]
        newest = [Checkpoint.parse(note) for note in notes[-1:]]
    except (sqlite3.DatabaseError, LedgerError):
        return  # a database that cannot be read is why one restores
    for checkpoint in newest:
        if checkpoint.origin == settings.log.origin:
            yield Head(checkpoint.size, checkpoint.root, "the database that would be replaced")


def _check_nothing_newer(size: int, heads: Sequence[Head]) -> None:
    newest = max(heads, key=lambda head: head.size, default=None)
    if newest is not None and newest.size > size:
        raise BackupError(
            f"{newest.record} holds a checkpoint of {newest.size} leaves, and the log in this backup ends at"
            f" {size}: to go on from there would sign a second tree over the same numbers, a fork. Put a"
            " newer backup back; or, if there is none, give [log] another origin and key, [chain] a new"
            f" contract, and --new-log: then the {newest.size - size} leaves after it are lost"
        )


def _bring_up(
    staged: Path,
    settings: AggregatorSettings,
    wishes: Wishes,
    listed: Tombstones,
    *,
    now: datetime,
    key: NoteSigner,
) -> tuple[int, datetime]:
    """Erase what was erased since, revoke every access, begin the new log, and refuse what was signed before;
    how many subjects were erased, and up to when messages are refused.
    """
    refused_before = now + timedelta(seconds=settings.vtn.signature_window_s)
    with erase.alone(staged) as conn, erase.changed(conn):
        erased = erase.erase_listed(conn, listed, now, key)
        erased += erase_home.erase_listed(conn, listed, now, key)
        erase_account.shut_all(conn, now)
        if wishes.new_log:
            _begin_log(conn, now, key)
        conn.execute(nonce.REFUSE_UP_TO, (micros(refused_before),))
    return erased, refused_before


def _begin_log(conn: sqlite3.Connection, now: datetime, key: NoteSigner) -> None:
    """An empty log, into which all is sealed again; only what it says of erasures is taken over."""
    said = erasure.read_said(conn)
    for table in _LOG_TABLES:
        conn.execute(f"DELETE FROM {table}")  # noqa: S608 - names of the schema
    conn.executemany("UPDATE agg_position SET seq = 0 WHERE name = ?", [(name,) for name in _SEALED])
    if said.subjects or said.values:
        erasure.erase_leaves(conn, (), now, key, said)


def _put(
    staged: Path, database: Path, held: sqlite3.Connection | None, listed: Tombstones, key: NoteSigner
) -> None:
    """The copy in the place of the database, in one rename; the list of erasures first."""
    if held is None and database.exists():
        raise BackupError(f"{database} was made meanwhile; stop the aggregator, and begin again")
    with staged.open("rb") as file:
        os.fsync(file.fileno())
    if listed.stones:
        tombstone.write(tombstone.path_beside(database), listed, key)
    for end in ("-wal", "-shm", "-journal"):
        database.with_name(database.name + end).unlink(missing_ok=True)
    with ExitStack() as stack:
        given_up = None if held is None else stack.enter_context(database.open("r+b"))
        staged.replace(database)
        sync(database.parent)
        if given_up is not None:
            given_up.write(bytes(_HEADER))  # who waits for the file that is gone must not go on with it
