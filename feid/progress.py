"""How far this box has verified the log, and under which checkpoint: its next audit goes on from there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ledger.checkpoint import Checkpoint
from ledger.consistency import ConsistencyProof, consistency_steps, keep_evidence
from ledger.errors import ForkError, LedgerError, VerificationError
from ledger.trust import Trust

Proofs = Mapping[tuple[int, int], bytes]
"""Files that show that a log only grew, by the two sizes."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`after`: the last leaf that need not be given again; `head`: the newest checkpoint whose leaves were
    verified here.
    """

    after: int
    head: Checkpoint

    def kept(self) -> dict[str, object]:
        """What stands in the result of an audit."""
        return {"after": self.after, "checkpoint": self.head.text()}

    @classmethod
    def of(cls, result: object) -> Progress | None:
        """The progress in the result of an audit; None where there is none that can be read."""
        kept = result.get("progress") if isinstance(result, dict) else None
        after = kept.get("after") if isinstance(kept, dict) else None
        if not (isinstance(kept, dict) and isinstance(after, int)):
            return None
        try:
            return cls(after, Checkpoint.parse(str(kept.get("checkpoint"))))
        except LedgerError:
            return None


def steps_between(sizes: Collection[int]) -> Iterator[tuple[int, int]]:
    """The pairs of sizes between which a log must be shown to have only grown."""
    yield from pairwise(sorted(set(sizes)))


def faults(heads: Collection[Checkpoint], proofs: Proofs, trust: Trust, folder: Path) -> list[str]:
    """What speaks against checkpoints being of one log that only grew, in sentences; of a fork, both
    checkpoints are kept in the folder.
    """
    found = []
    for old, new in pairwise(sorted(heads, key=lambda head: head.size)):
        try:
            raw = proofs.get((old.size, new.size))
            proof = ConsistencyProof.from_file(raw) if raw else None
            list(consistency_steps(old, new, proof, trust))
        except ForkError as error:
            found.append(f"{error}; both checkpoints are in {_kept(folder, error)}")
        except VerificationError as error:
            found.append(str(error))
    return found


def _kept(folder: Path, fork: ForkError) -> str:
    try:
        return str(keep_evidence(folder, fork))
    except OSError as error:
        return f"no file: {error.strerror}"
