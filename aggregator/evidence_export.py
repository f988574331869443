"""A log taken out of its database, file by file, into a folder that is verified without it.

Works beside the running server, a thousand leaves in each view of the database. What is in the folder
already is not written again, so an export that was interrupted, or is made again, goes on where it stopped.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from ledger import offline, proof, tile
from ledger.checkpoint import Checkpoint
from ledger.errors import LedgerError
from ledger.evidence_folder import (
    ERASED,
    LINE_END,
    ORIGINALS,
    RECEIPTS,
    RECORDS,
    SHARD,
    EvidenceFolder,
    Progress,
)
from ledger.merkle import HASH_BYTES, range_hash
from ledger.outsider import scripts
from ledger.receipt import Anchor
from ledger.trust import Trust
from vtn import original

README = """\
The log {origin}: every record that is anchored, and what is needed to verify it without its operator.

  records/SHARD/N.json      record N as it was hashed, with its salt; SHARD is N // 1000
  receipts/SHARD/N.receipt  the proof that record N is in the log and the log on the chain
  originals/SHARD/N.xml     the signed message that it rests on, where it was still kept
  erased/SHARD/N.hash       in place of them: the hash of leaf N, whose record was erased
  checkpoints/SIZE.txt      the signed heads of the log
  blocks/SIZE.txt           the hash of the block that anchors the head of that size
  trust.toml                the log's keys and the contract, as given to the export
  scripts/                  two programs that check a receipt without flexpact

  flexpact ledger check-export FOLDER --trust trust.toml
  flexpact verify receipts/SHARD/N.receipt --record records/SHARD/N.json --trust trust.toml

Compare the key and the contract in trust.toml with what you were given by another way, then use yours. A
receipt from an earlier export is anchored in an earlier block: hold its hash in blocks/ against the chain,
and give it to `flexpact ledger trust` as --header.
"""


@dataclass(slots=True)
class Written:
    """What an export wrote; `kept` leaves were there already."""

    records: int = 0
    originals: int = 0
    erased: int = 0
    checkpoints: int = 0
    kept: int = 0
    still_there: int = 0
    """Leaves whose files are there, and that were erased in the log since."""
    waiting: int = 0
    """Leaves that are not anchored yet, for the next export."""


def export(database: Path, folder: EvidenceFolder, trust: Trust, tell: Progress) -> Written:
    """Write what the folder lacks of a log; LedgerError if nothing is anchored, or if the folder holds
    something else than an earlier state of this log.
    """
    with offline.reading(database) as conn:
        under = proof.anchored(conn)
        if under is None:
            raise LedgerError("nothing of this log is anchored yet, so there are no receipts")
        _begin(conn, folder, trust, under[0])
        block = f"0x{under[1].block().hash.hex()}{LINE_END}"
        folder.write(folder.block_file(under[0].size), block.encode())
        written = Written(waiting=offline.log_size(conn) - under[0].size)
    size = under[0].size
    for first in range(0, size, SHARD):
        end = min(first + SHARD, size)
        missing = folder.missing(first, end)
        written.kept += end - first - len(missing)
        with offline.reading(database) as conn:
            _count_erased(conn, folder, range(first, end), missing, written)
            for number, index in enumerate(missing):
                _leaf(conn, folder, index, under, written)
                tell("written", first + number + 1, size)
    with offline.reading(database) as conn:
        _checkpoints(conn, folder, size, written)
    return written


def _begin(conn: sqlite3.Connection, folder: EvidenceFolder, trust: Trust, newest: Checkpoint) -> None:
    if trust.origin != newest.origin:
        raise LedgerError(f"the trust file is of the log {trust.origin}, and the database of {newest.origin}")
    folder.begin(newest.origin, offline.tile_bytes(conn, (0, 0))[:HASH_BYTES])
    for size in folder.checkpoint_sizes()[-1:]:
        held = folder.checkpoint(size)
        if size > offline.log_size(conn) or _root(conn, size) != held.root:
            raise LedgerError(
                f"{folder.path} holds a checkpoint of {size} leaves that this log does not lead to: the"
                " database is older, or another"
            )
    for name, content in scripts().items():
        folder.write(folder.path / "scripts" / name, content)
    folder.write(folder.path / "README.txt", README.format(origin=newest.origin).encode())
    folder.write(folder.path / "trust.toml", trust.to_file())


def _root(conn: sqlite3.Connection, size: int) -> bytes:
    contents = {place: offline.tile_bytes(conn, place) for place in tile.places([(0, size)])}
    return range_hash((0, size), lambda subtree: tile.subtree_hash(subtree, contents))


def _count_erased(
    conn: sqlite3.Connection, folder: EvidenceFolder, leaves: range, missing: list[int], written: Written
) -> None:
    names = folder.there(RECORDS, leaves.start // SHARD)
    erased = conn.execute(_ERASED, (leaves.start, leaves.stop))
    gone = {index for (index,) in erased} - set(missing)
    written.still_there += sum(f"{index}.json" in names for index in gone)


def _leaf(
    conn: sqlite3.Connection,
    folder: EvidenceFolder,
    index: int,
    under: tuple[Checkpoint, Anchor],
    written: Written,
) -> None:
    if conn.execute(_ERASED, (index, index + 1)).fetchone():
        number, place = divmod(index, tile.WIDTH)
        digest = offline.tile_bytes(conn, (0, number))[place * HASH_BYTES :][:HASH_BYTES]
        folder.write(folder.file(ERASED, index), f"{digest.hex()}{LINE_END}".encode())
        written.erased += 1
        return
    record, receipt = proof.receipt(conn, index, under)
    raw_sha256 = record.body.get("raw_sha256")
    row = conn.execute(_ORIGINAL, (raw_sha256,)).fetchone() if isinstance(raw_sha256, str) else None
    if row is not None:
        folder.write(folder.file(ORIGINALS, index), original.unpacked(row[0]))
        written.originals += 1
    folder.write(folder.file(RECORDS, index), record.to_file())
    folder.write(folder.file(RECEIPTS, index), receipt.to_file())
    written.records += 1


def _checkpoints(conn: sqlite3.Connection, folder: EvidenceFolder, size: int, written: Written) -> None:
    there = set(folder.checkpoint_sizes())
    for number, _, note, _ in offline.checkpoints(conn):
        if number <= size and number not in there:
            folder.write(folder.checkpoint_file(number), note.encode())
            written.checkpoints += 1


_ERASED = "SELECT leaf_index FROM ledger_leaf WHERE leaf_index >= ? AND leaf_index < ? AND canonical IS NULL"
_ORIGINAL = "SELECT raw FROM vtn_original WHERE sha256 = ?"
