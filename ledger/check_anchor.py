"""Whether the anchors in a database prove its checkpoints: each proof of storage against its block header."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from ledger import offline
from ledger.checkpoint import Checkpoint
from ledger.errors import TamperedError, VerificationError
from ledger.receipt import Anchor, Receipt, commitment
from ledger.record import parse_time
from ledger.state import prove_storage
from ledger.trust import Trust
from ledger.verify import Status, Step, anchor_steps

ANCHOR = "ledger_anchor"


def check_anchors(conn: sqlite3.Connection, trust: Trust | None) -> Iterator[Step]:
    """One step; TamperedError names the first row that does not prove the checkpoint of its size.

    A block is believed as in a receipt: if the trust file names it, or enough of the validators sealed it.
    """
    proven, believed = 0, 0
    for row in offline.anchors(conn):
        try:
            held = _proven(conn, row)
        except (VerificationError, TypeError, ValueError, AttributeError) as error:
            raise TamperedError(f"{ANCHOR} {row['anchor_id']}", str(error)) from error
        if held is not None and row["state"] == "anchored":
            proven += 1
            believed = max(believed, held.checkpoint.size if trust and _believed(held, trust) else 0)
    text = f"{proven} anchors prove the checkpoints of their sizes"
    if believed:
        yield Step("anchor", Status.CHECKED, f"{text}; that of {believed} leaves in a block that is trusted")
    else:
        yield Step("anchor", Status.NOT_CHECKED, f"{text}, in no block that a trust file makes believable")


def _proven(conn: sqlite3.Connection, row: Mapping[str, Any]) -> Receipt | None:
    """The checkpoint of a row and its anchor, if it has one; an error says what is wrong with it."""
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
    return Receipt(0, (), checkpoint, anchor)


def _believed(held: Receipt, trust: Trust) -> bool:
    """Whether every step from the checkpoint to a trusted block can be taken."""
    try:
        return all(step.status is Status.CHECKED for step in anchor_steps(held, trust))
    except VerificationError:
        return False
