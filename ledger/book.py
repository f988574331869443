"""The log's own rows as records: what was signed, cosigned and anchored is sealed into the log that it
belongs to.

A checkpoint's time, the course of an anchor and who has cosigned stand in no signature and in no block.
Sealed with the next facts, they cannot be changed either without a trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from ledger.record import Record, parse_time

CHECKPOINT, ANCHOR, COSIGNATURE = "checkpoint", "anchor", "cosignature"
"""The kinds of these records."""
_OWN_LINES = 5
"""Lines of a note up to the log's own signature; witnesses may add theirs at any time."""


def checkpoint_record(row: Mapping[str, Any]) -> Record:
    """The record of a row of `ledger_checkpoint`."""
    note = "\n".join(row["note"].split("\n")[:_OWN_LINES])
    body = {"size": row["size"], "commitment": row["commitment"].hex(), "note": note}
    return Record(CHECKPOINT, f"checkpoint/{row['size']}", parse_time(row["published_at"]), body)


def cosignature_record(row: Mapping[str, Any]) -> Record:
    """The record of a row of `ledger_cosignature`."""
    body = {name: row[name] for name in ("number", "size", "witness", "line")}
    return Record(COSIGNATURE, f"cosignature/{row['number']}", parse_time(row["received_at"]), body)


def anchor_record(row: Mapping[str, Any]) -> Record:
    """The record of a row of `ledger_anchor` whose outcome is known."""
    body: dict[str, object] = {"anchor_id": row["anchor_id"], "state": row["state"], "size": row["size"]}
    for name in ("from_size", "nonce"):
        if row[name] is not None:
            body[name] = row[name]
    if row["raw_transaction"] is not None:
        body["raw_transaction_sha256"] = sha256(row["raw_transaction"]).hexdigest()
    if row["proof"] is not None:
        body["proof_sha256"] = sha256(row["proof"].encode()).hexdigest()
    return Record(ANCHOR, f"anchor/{row['anchor_id']}", parse_time(row["changed_at"]), body)
