"""Whether a record is what was anchored: one step after the other, from files alone. Frozen.

record -> leaf -> root by the inclusion path -> that root in a checkpoint signed by the log, and cosigned by
witnesses -> the checkpoint in the contract's storage -> the storage under a block header that the auditor
trusts, or that validators sealed whom he trusts. A step that cannot be taken with the given trust is
reported as not checked, never as passed. No network, no database.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from ledger.checkpoint import Checkpoint
from ledger.errors import VerificationError
from ledger.merkle import root_from_inclusion
from ledger.receipt import SLOT, VALIDATORS, Anchor, Receipt, commitment
from ledger.record import Record, time_text
from ledger.seal import quorum
from ledger.state import Header, prove_storage
from ledger.trust import ChainTrust, LogKey, Trust


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
    key = check_signature(checkpoint, trust)
    yield _checked("checkpoint", f"signed by {trust.origin} with the key {key.key.id.hex()}")
    yield from _witness_step(checkpoint, trust)
    yield from anchor_steps(receipt, trust)
    if key.bounded:
        yield _validity(key, receipt, trust)


def check_signature(checkpoint: Checkpoint, trust: Trust) -> LogKey:
    """The log's key that signed a checkpoint; VerificationError if none of the trust file's did."""
    _same("checkpoint", "it is another log's", trust.origin, checkpoint.origin)
    for key in trust.keys:
        if key.key.id == checkpoint.key_id:
            checkpoint.verify(key.key)
            return key
    known = " or ".join(key.key.id.hex() for key in trust.keys)
    raise VerificationError(
        "checkpoint", "signed by another key", expected=known, got=checkpoint.key_id.hex()
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


def _witness_step(checkpoint: Checkpoint, trust: Trust) -> Iterator[Step]:
    if trust.witness is None:
        if checkpoint.cosignatures:
            yield _not_checked(
                "witness", f"{len(checkpoint.cosignatures)} cosignatures, and the trust file names no witness"
            )
        return
    keys = {(key.name, key.id): key for key in trust.witness.keys}
    seen = []
    for line in checkpoint.cosignatures:
        key = keys.get((line.name, line.key_id))
        # As C2SP asks: a line of an unknown key is ignored, a wrong one of a known key is not.
        if key is not None:
            line.verify(checkpoint, key)
            seen.append(f"{line.name} at {_time(line.time)}")
    if len(seen) < trust.witness.needed:
        raise VerificationError(
            "witness",
            f"too few cosignatures of the {len(keys)} witnesses in the trust file",
            expected=str(trust.witness.needed),
            got=str(len(seen)),
        )
    others = len(checkpoint.cosignatures) - len(seen)
    yield _checked(
        "witness",
        f"{trust.witness.needed} needed, cosigned by {', '.join(seen)}{_ignored(others, 'cosignatures')}",
    )


def anchor_steps(receipt: Receipt, trust: Trust) -> Iterator[Step]:
    """The steps from the checkpoint of a receipt to a block that is trusted, as they are taken."""
    sealed = receipt.anchor.vouched_by == VALIDATORS
    if trust.chain is None:
        for name in ("contract", *["seals"] * sealed, "header", "account", "storage"):
            yield _not_checked(name, "the trust file names no chain")
        return
    anchor = receipt.anchor
    _same("contract", "another chain", str(trust.chain.id), str(anchor.chain_id))
    _same("contract", "another contract", f"0x{trust.chain.contract.hex()}", f"0x{anchor.contract.hex()}")
    _same("contract", "another storage slot", str(SLOT), str(anchor.slot))
    yield _checked("contract", f"0x{anchor.contract.hex()} on chain {anchor.chain_id}")
    if sealed or trust.chain.names_validators:
        yield _seals(anchor, trust.chain)
    header = anchor.block()
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


def _seals(anchor: Anchor, chain: ChainTrust) -> Step:
    # The number is among what the seals are over, so a block cannot be shown as one of another set's time.
    validators = chain.validators_of(anchor.block().number)
    needed = quorum(len(validators.addresses))
    if anchor.vouched_by != VALIDATORS:
        raise VerificationError(
            "seals",
            f"only the {anchor.vouched_by} vouches for the header",
            expected=f"seals of {needed} of {len(validators.addresses)} validators",
            got="none",
        )
    sealed = anchor.sealed()
    if not chain.names_validators:
        return _not_checked("seals", f"{len(sealed.seals)} seals, and the trust file names no validators")
    sealers = sealed.sealers()
    trusted = [address for address in sealers if address in validators.addresses]
    if len(trusted) < needed:
        raise VerificationError(
            "seals", f"too few seals of {validators.text}", expected=str(needed), got=str(len(trusted))
        )
    names = ", ".join(f"0x{address.hex()}" for address in trusted)
    others = _ignored(len(sealers) - len(trusted), "seals")
    since = "" if validators.from_block is None else f" of {validators.text}"
    return _checked("seals", f"{needed} needed{since}, sealed by {names}{others}")


def _header(header: Header, vouched_by: str, chain: ChainTrust) -> Step:
    vouch = "its validators vouch" if vouched_by == VALIDATORS else f"the {vouched_by} vouches"
    if chain.header is not None:
        expected, got = f"0x{chain.header.hex()}", f"0x{header.hash.hex()}"
        _same("header", "the receipt rests on another block", expected, got)
        return _checked("header", f"block {header.number} is the trusted one; {vouch} for it")
    if chain.names_validators:
        return _checked("header", f"block {header.number} at {_time(header.timestamp)}, as its seals say")
    return _not_checked("header", f"the trust file names no block; only {vouch} for block {header.number}")


def _validity(key: LogKey, receipt: Receipt, trust: Trust) -> Step:
    """Whether the key counted when the checkpoint was anchored: the only time that somebody else gave."""
    if trust.chain is None or (trust.chain.header is None and not trust.chain.names_validators):
        if key.lost_at is not None:
            raise VerificationError(
                "validity",
                "the key is declared lost, and nothing shows that the checkpoint is older",
                expected=f"a trusted block before {time_text(key.lost_at)}",
                got="no trusted block",
            )
        return _not_checked("validity", "without a trusted block there is no time to compare the key's with")
    made = receipt.anchor.block().timestamp
    said = []
    for at, fault, word in (
        (key.valid_from, "anchored before the key was valid", "from"),
        (key.valid_until, "anchored when the key was no longer valid", "before"),
        (key.lost_at, "anchored when the key was declared lost", "before"),
    ):
        if at is None:
            continue
        wanted = f"{word} {time_text(at)}"
        if (made < at.timestamp()) == (word == "from"):
            raise VerificationError("validity", fault, expected=wanted, got=_time(made))
        said.append(wanted)
    return _checked("validity", f"anchored at {_time(made)}; the key counts {' and '.join(said)}")


def _time(seconds: int) -> str:
    """Seconds since 1970 as UTC text, as far as years have four digits."""
    try:
        return time_text(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s since 1970"


def _ignored(count: int, what: str) -> str:
    return f"; {count} {what} of keys that the trust file does not name" if count else ""


def _not_checked(name: str, text: str) -> Step:
    return Step(name, Status.NOT_CHECKED, text)


def _checked(name: str, text: str) -> Step:
    return Step(name, Status.CHECKED, text)


def _same(step: str, text: str, expected: str, got: str) -> None:
    if expected != got:
        raise VerificationError(step, text, expected=expected, got=got)
