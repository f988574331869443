"""The evidence for what a home got: its statement's record and receipt, and what opens its own share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import share
from aggregator.errors import UnknownObjectError
from aggregator.home import Share
from ledger import store as ledger_store
from ledger.errors import LedgerError, VerificationError
from ledger.log import Log
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.trust import Trust
from ledger.verify import Status, Step, verification_steps

SHARE_STEP = "share"
HOW = """\
This folder shows what your home got for one event.

  record.json    what was written down when the event was settled
  receipt.txt    shows that the record was anchored, and was not changed since
  trust.toml     which log and which chain this is; an auditor uses a file of his own
  share.json     your own share: home, amount in cents (or the like), salt, commitment

What your box reported is not here: its messages hold the values of all homes behind it.

Check record and receipt:   flexpact verify receipt.txt --record record.json --trust trust.toml

Check your share: the SHA-256 of a zero byte, the 32 bytes of the salt, and the text ["HOME",AMOUNT]
is your commitment, and it stands in the list "shares" of the record. The other commitments there are
those of other homes; without their salts nobody can tell what they stand for.
"""


@dataclass(frozen=True, slots=True)
class Proof:
    """The evidence, and what came of checking it; `failed` says which step did not hold, if one did not."""

    record: Record
    receipt: Receipt
    trust: Trust
    opening: Mapping[str, object] | None
    steps: tuple[Step, ...]
    failed: str = ""

    @property
    def holds(self) -> bool:
        """Whether no step failed."""
        return not self.failed

    def files(self) -> dict[str, str]:
        """The files by which anybody can check it."""
        named = {
            "record.json": self.record.to_file().decode(),
            "receipt.txt": self.receipt.to_file().decode(),
            "trust.toml": self.trust.text(),
            "how-to-check.txt": HOW,
        }
        if self.opening is not None:
            named["share.json"] = json.dumps(self.opening, indent=2, ensure_ascii=False) + "\n"
        return named


async def index_of(conn: AsyncConnection, of: Share) -> int | None:
    """The leaf of a statement; None while it is not sealed."""
    key = f"statement/{of.ven_id}/{of.event_id}/{of.revision}"
    found = await ledger_store.leaves_by_key(conn, [key])
    return found[key].index if key in found else None


async def is_anchored(conn: AsyncConnection, of: Share) -> bool:
    """Whether there is a receipt for it."""
    index = await index_of(conn, of)
    return index is not None and index < await ledger_store.anchored_size(conn)


async def proof(conn: AsyncConnection, log: Log, of: Share) -> Proof:
    """The evidence for a share, checked; UnknownObjectError where there is none that may be shown (yet)."""
    if not of.alone:
        raise UnknownObjectError(
            "this statement is about two homes, so its record would tell what the other one got"
        )
    if of.amount_minor is None:
        raise UnknownObjectError("your home has no share in this statement")
    index = await index_of(conn, of)
    if index is None or index >= await ledger_store.anchored_size(conn):
        raise UnknownObjectError("this statement is not anchored yet; it will be within minutes")
    record, receipt = await log.receipt(conn, index)
    trust = await log.trust(conn)
    steps, failed = await asyncio.to_thread(_checked, record, receipt, trust, of)
    return Proof(record, receipt, trust, of.opening, steps, failed)


def _checked(record: Record, receipt: Receipt, trust: Trust, of: Share) -> tuple[tuple[Step, ...], str]:
    taken: list[Step] = []
    try:
        for step in verification_steps(record, receipt, trust):
            taken.append(step)
        taken.extend(_share_step(record, of))
    except LedgerError as error:
        return tuple(taken), str(error)
    return tuple(taken), ""


def _share_step(record: Record, of: Share) -> Iterator[Step]:
    """Whether the record says what the page says; for a home by the commitment to its share."""
    opening = of.opening
    if of.whole:
        if record.body.get("amount_minor") != of.amount_minor:
            raise VerificationError(SHARE_STEP, "the record has another amount")
        yield Step(
            SHARE_STEP, Status.CHECKED, f"the record says {of.amount_minor} {of.currency} in minor units"
        )
        return
    if opening is None:
        text = "the shares of all homes were sealed in one piece"
        yield Step(SHARE_STEP, Status.NOT_CHECKED, text)
        return
    made = share.commitment(str(opening["home"]), int(str(opening["minor"])), str(opening["salt"]))
    listed = record.body.get("shares")
    if not isinstance(listed, list) or made not in listed:
        raise VerificationError(SHARE_STEP, f"the record has no commitment {made}")
    yield Step(SHARE_STEP, Status.CHECKED, f"the record commits to it: {made}")
