"""Whether the anchors in a database prove its checkpoints: each proof of storage against its block header."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from ledger import offline
from ledger.checkpoint import Checkpoint
from ledger.errors import TamperedError, VerificationError
from ledger.receipt import Anchor, commitment
from ledger.record import parse_time
from ledger.state import prove_storage
from ledger.trust import Trust
from ledger.verify import Status, Step

ANCHOR = "ledger_anchor"


def check_anchors(conn: sqlite3.Connection, trust: Trust | None) -> Iterator[Step]:
    """One step; TamperedError names the first row that does not prove the checkpoint of its size.

    A block is believed only if the trust file names it; all others are the word of who runs the chain.
    """
    proven, believed = 0, 0
    for row in offline.anchors(conn):
        try:
            anchor = _proven_anchor(conn, row)
        except (VerificationError, TypeError, ValueError, AttributeError) as error:
            text = error.text if isinstance(error, TamperedError) else str(error)
            raise TamperedError(f"{ANCHOR} {row['anchor_id']}", text) from error
        if anchor is not None and row["state"] == "anchored":
            proven += 1
            believed = max(believed, row["size"] if _trusted(anchor, trust) else 0)
    text = f"{proven} anchors prove the checkpoints of their sizes"
    if believed:
        text += f"; that of {believed} leaves in the block that the trust file names"
        yield Step("anchor", Status.CHECKED, text)
    else:
        yield Step("anchor", Status.NOT_CHECKED, f"{text}, in no block that a trust file names")


def _proven_anchor(conn: sqlite3.Connection, row: Mapping[str, Any]) -> Anchor | None:
    """The anchor in a row that has one; an error says what is wrong with it."""
    parse_time(row["changed_at"])
    if row["proof"] is None:
        if row["state"] == "anchored":
            raise ValueError("it is anchored without a proof")
        return None
    anchor = Anchor.parse(row["proof"])
    note = offline.checkpoint_note(conn, row["size"])
    if note is None:
        raise ValueError(f"there is no checkpoint of its size {row['size']}")
    checkpoint = Checkpoint.parse(note)
    header = anchor.block()
    word = prove_storage(
        header.state_root, anchor.contract, anchor.slot, anchor.account_proof, anchor.storage_proof
    )
    if word != commitment(checkpoint.size, checkpoint.root):
        raise ValueError(f"its proof is of another checkpoint than that of {checkpoint.size} leaves")
    return anchor


def _trusted(anchor: Anchor, trust: Trust | None) -> bool:
    if trust is None or trust.chain is None:
        return False
    chain = trust.chain
    return (anchor.chain_id, anchor.contract, anchor.block().hash) == (
        chain.id,
        chain.contract,
        chain.header,
    )
