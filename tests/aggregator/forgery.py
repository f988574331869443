"""A log written anew and signed: what only the owner of its key can do, or who took the key."""

from __future__ import annotations

import json
import sqlite3

from ledger import book, merkle, offline, tile
from ledger.checkpoint import Checkpoint, Cosignature, SigningKey
from ledger.receipt import commitment
from tests.aggregator.sealed import LATER, WITNESSES, SealedRun


def forge_report(conn: sqlite3.Connection, run: SealedRun, index: int) -> None:
    """Change what one fact says, in the journal and in a log that is written anew for it."""
    (canonical,) = conn.execute("SELECT canonical FROM ledger_leaf WHERE leaf_index = ?", (index,)).fetchone()
    fields = json.loads(canonical)
    (text,) = conn.execute("SELECT body FROM vtn_journal WHERE key = ?", (fields["key"],)).fetchone()
    body = json.loads(text) | {"forged": 1}
    conn.execute("UPDATE vtn_journal SET body = ? WHERE key = ?", (json.dumps(body), fields["key"]))
    fields["body"]["forged"] = 1
    rewrite(conn, run, {index: canonical_bytes(fields)})


def rewrite(conn: sqlite3.Connection, run: SealedRun, changed: dict[int, bytes]) -> None:
    """Put other records into the log and write all of it anew, signed: what only the owner of its key can.

    What the chain holds he cannot change, so he says that nothing was ever anchored; the witnesses are his
    friends.
    """
    key = SigningKey.load(run.log_key)
    conn.execute("UPDATE ledger_anchor SET state = 'dropped', proof = NULL")
    for row in offline.anchors(conn):
        record = book.anchor_record(row)
        conn.execute("UPDATE ledger_leaf SET canonical = ? WHERE key = ?", (record.canonical(), record.key))
    for index, canonical in changed.items():
        conn.execute("UPDATE ledger_leaf SET canonical = ? WHERE leaf_index = ?", (canonical, index))
    for (size,) in conn.execute("SELECT size FROM ledger_checkpoint ORDER BY size").fetchall():
        tiles = tiles_of(conn, size)
        root = merkle.range_hash((0, size), lambda subtree, tiles=tiles: tile.subtree_hash(subtree, tiles))
        row = {
            "note": Checkpoint.sign(size, root, key).text(),
            "commitment": commitment(size, root),
            "size": size,
        }
        conn.execute(
            "UPDATE ledger_checkpoint SET note = :note, commitment = :commitment WHERE size = :size", row
        )
        times = conn.execute("SELECT published_at FROM ledger_checkpoint WHERE size = ?", (size,)).fetchone()
        record = book.checkpoint_record({**row, "published_at": times[0]})
        conn.execute("UPDATE ledger_leaf SET canonical = ? WHERE key = ?", (record.canonical(), record.key))
        cosign(conn, Checkpoint.parse(str(row["note"])))
    conn.execute("DELETE FROM ledger_tile")
    for place, content in tiles_of(conn, offline.log_size(conn)).items():
        conn.execute("INSERT INTO ledger_tile VALUES (?, ?, ?)", (*place, content))


def cosign(conn: sqlite3.Connection, checkpoint: Checkpoint) -> None:
    """The witnesses' lines for another checkpoint in place of those for the one before."""
    keys = {str(key.verifier): key for key in WITNESSES}
    for row in list(offline.cosignatures(conn)):
        if row["size"] == checkpoint.size:
            row["line"] = Cosignature.sign(checkpoint, keys[row["witness"]], LATER).line()
            conn.execute("UPDATE ledger_cosignature SET line = :line WHERE number = :number", row)
            record = book.cosignature_record(row)
            conn.execute(
                "UPDATE ledger_leaf SET canonical = ? WHERE key = ?", (record.canonical(), record.key)
            )


def tiles_of(conn: sqlite3.Connection, size: int) -> dict[tile.Place, bytes]:
    """The tiles of the first leaves, as their rows stand now."""
    rows = list(offline.leaves(conn))[:size]
    return tile.extend(0, {}, [merkle.leaf_hash(salt, canonical) for _, _, salt, canonical in rows])


def canonical_bytes(fields: dict[str, object]) -> bytes:
    """A record in its canonical form."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
