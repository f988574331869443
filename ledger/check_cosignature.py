"""Whether the cosignatures in a database are what their witnesses have signed."""

from __future__ import annotations

import sqlite3

from ledger import offline
from ledger.checkpoint import Checkpoint, Cosignature, VerifierKey
from ledger.errors import TamperedError, VerificationError
from ledger.record import parse_time
from ledger.verify import Status, Step

COSIGNATURE = "ledger_cosignature"


def check_cosignatures(conn: sqlite3.Connection) -> Step:
    """One step; TamperedError names the first row whose line is not its witness's for its checkpoint."""
    count, witnesses = 0, set[str]()
    for row in offline.cosignatures(conn):
        record = f"{COSIGNATURE} {row['number']}"
        note = offline.checkpoint_note(conn, row["size"])
        if note is None:
            raise TamperedError(record, f"there is no checkpoint of its size {row['size']}")
        try:
            parse_time(row["received_at"])
            Cosignature.parse(row["line"]).verify(Checkpoint.parse(note), VerifierKey.parse(row["witness"]))
        except (VerificationError, TypeError, ValueError, AttributeError) as error:
            raise TamperedError(record, str(error)) from error
        count += 1
        witnesses.add(row["witness"])
    text = f"{count} lines of {len(witnesses)} witnesses belong to the checkpoints of their sizes"
    return Step("cosignatures", Status.CHECKED, text)
