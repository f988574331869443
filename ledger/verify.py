"""Whether a record is what was anchored: one step after the other, from files alone. Frozen.

record -> leaf -> root by the inclusion path -> that root in a checkpoint signed by the log -> the
checkpoint in the contract's storage -> the storage under a block header that the auditor trusts. A step
that cannot be taken with the given trust is reported as not checked, never as passed. No network, no
database.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ledger.errors import VerificationError
from ledger.merkle import root_from_inclusion
from ledger.receipt import SLOT, Receipt, commitment
from ledger.record import Record, time_text
from ledger.state import Header, prove_storage
from ledger.trust import ChainTrust, Trust


class Status(StrEnum):
    """What became of a step that did not fail."""

    CHECKED = "checked"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a verification, with a sentence that says what was found or why it could not be checked."""

    name: str
    status: Status
    text: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The steps of a verification in which nothing failed."""

    steps: tuple[Step, ...]

    @property
    def complete(self) -> bool:
        """Whether every step was checked."""
        return all(step.status is Status.CHECKED for step in self.steps)


def verify_receipt(record: Record, receipt: Receipt, trust: Trust) -> Verified:
    """Which steps were checked and which could not be; VerificationError says which one failed, with both
    values.
    """
    return Verified(tuple(verification_steps(record, receipt, trust)))


def verification_steps(record: Record, receipt: Receipt, trust: Trust) -> Iterator[Step]:
    """The steps one by one, as they are taken; VerificationError at the first that fails."""
    checkpoint = receipt.checkpoint
    leaf = record.leaf()
    yield _checked("record", f"{record.kind} {record.key} has leaf hash {leaf.hex()}")
    root = root_from_inclusion(receipt.index, checkpoint.size, leaf, receipt.path)
    if root != checkpoint.root:
        raise VerificationError(
            "inclusion", "the path leads to another root", expected=checkpoint.root.hex(), got=root.hex()
        )
    yield _checked("inclusion", f"leaf {receipt.index} is in the tree of {checkpoint.size} leaves")
    checkpoint.verify(trust.key)
    yield _checked("checkpoint", f"signed by {trust.origin}")
    yield from _anchor_steps(receipt, trust)
    if trust.valid_from is not None:
        yield _validity(receipt, trust)
    if trust.witness is not None:
        raise VerificationError(
            "witness", "too few cosignatures", expected=str(trust.witness.needed), got="0"
        )


def read_evidence(step: str, path: Path, limit_bytes: int) -> bytes:
    """The content of a regular file, at most one byte more than `limit_bytes`; VerificationError if there
    is none.

    A device or a pipe is refused, because reading one may never end.
    """
    try:
        # Without O_NONBLOCK the mere opening of a pipe waits for somebody to write to it.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise VerificationError(step, f"{path} cannot be read: it is not a regular file")
            return file.read(limit_bytes + 1)
    except OSError as error:
        raise VerificationError(step, f"{path} cannot be read: {error.strerror}") from error


def _anchor_steps(receipt: Receipt, trust: Trust) -> Iterator[Step]:
    if trust.chain is None:
        for name in ("contract", "header", "account", "storage"):
            yield Step(name, Status.NOT_CHECKED, "the trust file names no chain")
        return
    anchor = receipt.anchor
    _same("contract", "another chain", str(trust.chain.id), str(anchor.chain_id))
    _same("contract", "another contract", f"0x{trust.chain.contract.hex()}", f"0x{anchor.contract.hex()}")
    _same("contract", "another storage slot", str(SLOT), str(anchor.slot))
    yield _checked("contract", f"0x{anchor.contract.hex()} on chain {anchor.chain_id}")
    header = Header.decode(anchor.header)
    yield _header(header, anchor.vouched_by, trust.chain)
    word = prove_storage(
        header.state_root, anchor.contract, anchor.slot, anchor.account_proof, anchor.storage_proof
    )
    yield _checked("account", f"the contract's account is in the state of block {header.number}")
    checkpoint = receipt.checkpoint
    _same(
        "storage",
        "the contract holds another checkpoint",
        commitment(checkpoint.size, checkpoint.root).hex(),
        word.hex(),
    )
    yield _checked("storage", f"the contract holds this checkpoint of {checkpoint.size} leaves")


def _header(header: Header, vouched_by: str, chain: ChainTrust) -> Step:
    if chain.header is None:
        return Step(
            "header",
            Status.NOT_CHECKED,
            f"the trust file names no block; only the {vouched_by} vouches for block {header.number}",
        )
    _same("header", "the receipt rests on another block", f"0x{chain.header.hex()}", f"0x{header.hash.hex()}")
    return _checked("header", f"block {header.number} is the trusted one; the {vouched_by} vouches for it")


def _validity(receipt: Receipt, trust: Trust) -> Step:
    if trust.chain is None or trust.chain.header is None or trust.valid_from is None:
        return Step(
            "validity",
            Status.NOT_CHECKED,
            "without a trusted block there is no time to compare the key's with",
        )
    made = Header.decode(receipt.anchor.header).timestamp
    if made < trust.valid_from.timestamp():
        raise VerificationError(
            "validity",
            "anchored before the key was valid",
            expected=f"from {time_text(trust.valid_from)}",
            got=f"{made} s since 1970",
        )
    return _checked("validity", f"anchored after {time_text(trust.valid_from)}, when the key began")


def _checked(name: str, text: str) -> Step:
    return Step(name, Status.CHECKED, text)


def _same(step: str, text: str, expected: str, got: str) -> None:
    if expected != got:
        raise VerificationError(step, text, expected=expected, got=got)
