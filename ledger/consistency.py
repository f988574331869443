"""Whether a log only grew between two of its signed checkpoints, and what is kept of one that forked.

The proof is a file `flexpact-consistency/v1`: a line for each size, then the RFC 6962 path, one base64 hash
a line. Anyone may make it who has the log's tiles; it is the two signatures that bind the log.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ledger.checkpoint import Checkpoint, from_base64, parse_count, to_base64
from ledger.errors import ForkError, MalformedError, VerificationError
from ledger.merkle import HASH_BYTES, check_consistency
from ledger.receipt import PROOF, Receipt
from ledger.trust import Trust
from ledger.verify import Status, Step, check_signature

FORMAT = "flexpact-consistency/v1"
FORK_FORMAT = "flexpact-fork/v1"
MAX_FILE_BYTES = 16 * 1024
"""A path has at most two hashes for each of 63 levels."""
STEP = "consistency"


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """The hashes that show that the tree of `new` leaves only adds to that of `old`."""

    old: int
    new: int
    path: tuple[bytes, ...]

    def text(self) -> str:
        """The proof as a file's content."""
        lines = [FORMAT, f"old {self.old}", f"new {self.new}", *map(to_base64, self.path)]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_file(cls, raw: bytes) -> ConsistencyProof:
        """The proof in a file; MalformedError on the smallest departure from what `text` writes."""
        if len(raw) > MAX_FILE_BYTES:
            raise MalformedError(STEP, f"the proof is larger than {MAX_FILE_BYTES} bytes")
        lines = _text(STEP, raw).split("\n")
        if lines[0] != FORMAT:
            raise MalformedError(STEP, "format is not known", expected=FORMAT, got=repr(lines[0][:40]))
        if len(lines) < 4 or lines[-1] or not (lines[1].startswith("old ") and lines[2].startswith("new ")):
            raise MalformedError(STEP, "the proof is not format, old size, new size and a hash a line")
        old, new = (parse_count(STEP, line[4:]) for line in lines[1:3])
        return cls(old, new, tuple(from_base64(STEP, line, HASH_BYTES) for line in lines[3:-1]))


def read_head(raw: bytes) -> Checkpoint:
    """The signed checkpoint in a file: a receipt's, or a checkpoint by itself."""
    if raw.startswith(PROOF.partition("@")[0].encode()):
        return Receipt.from_file(raw).checkpoint
    return Checkpoint.parse(_text("checkpoint", raw))


def consistency_steps(
    one: Checkpoint, other: Checkpoint, proof: ConsistencyProof | None, trust: Trust
) -> Iterator[Step]:
    """The steps one by one: both signed by the log, then the one tree within the other.

    ForkError, with both checkpoints, if the log signed two trees that do not belong to one log, or if the
    proof does not show that they do; VerificationError if a file is no evidence at all.
    """
    old, new = sorted((one, other), key=lambda checkpoint: checkpoint.size)
    for checkpoint in (old, new):
        check_signature(checkpoint, trust)
        yield Step("checkpoint", Status.CHECKED, f"{checkpoint.size} leaves, signed by {trust.origin}")
    if old.size == new.size:
        if old.root != new.root:
            raise _fork(f"the log signed two trees of {old.size} leaves", old, new, None)
        yield Step(STEP, Status.CHECKED, f"both are of the same tree of {old.size} leaves")
        return
    if proof is None:
        raise VerificationError(
            STEP,
            f"a proof is needed; the log's operator makes it: flexpact ledger consistency {old.size}"
            f" {new.size}",
        )
    if (proof.old, proof.new) != (old.size, new.size):
        raise VerificationError(
            STEP,
            "the proof is for other sizes",
            expected=f"{old.size} and {new.size}",
            got=f"{proof.old} and {proof.new}",
        )
    try:
        check_consistency(old.size, old.root, new.size, new.root, proof.path)
    except VerificationError as error:
        raise _fork(
            f"this proof does not show that the tree of {new.size} leaves holds that of {old.size}",
            old,
            new,
            proof,
            error,
        ) from error
    yield Step(STEP, Status.CHECKED, f"the log only grew, from {old.size} to {new.size} leaves")


def keep_evidence(folder: Path, fork: ForkError) -> Path:
    """Write the evidence of a fork to a file of its own, durably, and say which; nothing is overwritten.

    The same evidence again is the same file. OSError if it cannot be kept.
    """
    content = "\n".join([FORK_FORMAT, fork.text, "", *fork.evidence]).encode()
    stem = f"fork-{sha256(content).hexdigest()[:16]}"
    for number in range(1, 1000):
        path = folder / (f"{stem}.txt" if number == 1 else f"{stem}-{number}.txt")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            if path.read_bytes() == content:
                return path
            continue  # one that was cut off while it was written
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(folder)
        return path
    raise OSError(f"{folder / stem} exists a thousand times")


def _sync_folder(folder: Path) -> None:
    """Make the name durable too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fork(
    text: str,
    old: Checkpoint,
    new: Checkpoint,
    proof: ConsistencyProof | None,
    found: VerificationError | None = None,
) -> ForkError:
    evidence: Sequence[str] = [old.text(), new.text(), *([proof.text()] if proof else [])]
    return ForkError(
        STEP,
        text,
        evidence,
        expected=found.expected if found else old.root.hex(),
        got=found.got if found else new.root.hex(),
    )


def _text(step: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(step, f"the file is not UTF-8 at byte {error.start}") from error
