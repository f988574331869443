"""Records and receipts of a selection as one archive, with all that is needed to verify them without us: the
messages that nodes signed, the trust file, the newest checkpoint, two scripts, and a text that says how.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.outsider import CHECKPOINT_TO_HEADER, LEAF_TO_CHECKPOINT, scripts
from ledger.receipt import Receipt
from ledger.record import Record, time_text
from ledger.trust import Trust

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
README = """\
Records of the log {origin}, and their receipts
Made at {now}: {count} records; {left_out} more of the selection are erased or not anchored yet.

  records/N.json      record N as it was hashed, with its salt
  receipts/N.receipt  the proof that record N is in the log (C2SP tlog-proof) and the log on the chain
  originals/N.xml     the message that record N rests on, byte for byte as its sender signed it
  trust.toml          the log's keys and the contract, as this server names them
  checkpoint.txt      the newest signed head of the log
  scripts/            two programs that check a receipt without flexpact

Messages: {originals}. Of {without} more signed reports the message is not here: it is kept for a time only,
and an archive takes {most} MB of messages.

To verify one, offline:

  flexpact verify receipts/N.receipt --record records/N.json --trust trust.toml
  flexpact verify ... --original originals/N.xml

Without flexpact:

  python3 scripts/{leaf} records/N.json receipts/N.receipt \\
    {key}
  python3 scripts/{header} receipts/N.receipt{chain}

The first needs Python and its package `cryptography`, the second Python alone. The first leads from the
record to the signed checkpoint, the second from the checkpoint to the block's hash. Each says at its top what
it leaves open; `flexpact verify` checks the rest.

The trust file of this archive comes from the party that is to be checked. Compare its key and its contract
with what you were given by another way (the contract's operator, a witness, an earlier archive); then use
yours. Compare checkpoint.txt with a witness's: a log that shows two heads of one size has forked.
"""
MOST_ORIGINAL_MB = 64


@dataclass(frozen=True, slots=True)
class Evidence:
    """What goes into an archive; `left_out` counts what was chosen and has no receipt. `originals` are the
    signed messages by their records' indices; `without` counts the signed records that lack theirs.
    """

    origin: str
    now: datetime
    found: Sequence[tuple[Record, Receipt]]
    left_out: int
    trust: Trust
    checkpoint: bytes
    originals: Mapping[int, bytes]
    without: int


def as_zip(evidence: Evidence) -> bytes:
    """The archive; the same evidence at the same `now` is the same bytes."""
    files = {
        "README.txt": _readme(evidence).encode(),
        "trust.toml": evidence.trust.to_file(),
        "checkpoint.txt": evidence.checkpoint,
        **{f"scripts/{name}": content for name, content in scripts().items()},
        **{f"originals/{index}.xml": raw for index, raw in evidence.originals.items()},
    }
    for record, receipt in evidence.found:
        files[f"records/{receipt.index}.json"] = record.to_file()
        files[f"receipts/{receipt.index}.receipt"] = receipt.to_file()
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), content, zipfile.ZIP_DEFLATED)
    return written.getvalue()


def _readme(evidence: Evidence) -> str:
    chain = evidence.trust.chain
    signed_by = {receipt.checkpoint.key_id for _, receipt in evidence.found}
    known = {} if chain is None else {"chain": str(chain.id), "contract": f"0x{chain.contract.hex()}"}
    if chain is not None and chain.header is not None:
        known["block"] = f"0x{chain.header.hex()}"
    return README.format(
        origin=evidence.origin,
        now=time_text(evidence.now),
        count=len(evidence.found),
        left_out=evidence.left_out,
        originals=len(evidence.originals),
        without=evidence.without,
        most=MOST_ORIGINAL_MB,
        leaf=LEAF_TO_CHECKPOINT,
        header=CHECKPOINT_TO_HEADER,
        key=next((known.key for known in evidence.trust.keys if known.key.id in signed_by), "LOG_KEY"),
        chain="".join(f" \\\n    --{name} {value}" for name, value in known.items()),
    )
