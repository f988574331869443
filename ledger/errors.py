"""What can go wrong in the evidence, one type for each thing that a person would do next.

LedgerError
├── RecordError             a value without canonical bytes (float, null ...): our caller's mistake
│   └── KeyConflictError    the same natural key was appended before with another content
├── KeyFileError            a key file that cannot be used
├── TokenError              a key in a PKCS#11 token that cannot be used
├── UnknownLeafError        nobody appended that leaf, or no anchored checkpoint covers it yet
├── VerificationError       the evidence does not hold; names the step and both values
│   ├── MalformedError      a file is not in its one allowed form; names the file and the place
│   ├── ForkError           the log signed two trees of which neither holds the other: keep both checkpoints
│   └── TamperedError       a row of a database is not what was sealed; names the row
└── ChainError              the chain answered, but not as it must
    ├── ChainUnavailableError   no answer: nothing is lost, try again later
    ├── CallValueError          a value that the contract cannot hold was to be sent: correct it
    └── ForeignHeadError        the contract holds a checkpoint that this log never made
"""

from __future__ import annotations

from collections.abc import Sequence


class LedgerError(Exception):
    """The ledger could not do what was asked."""


class RecordError(LedgerError):
    """The record holds a value that has no canonical bytes."""


class KeyConflictError(RecordError):
    """A record with this key and another content is already in the log."""


class KeyFileError(LedgerError):
    """The key file cannot be read or does not hold a key of the expected kind."""


class TokenError(LedgerError):
    """The token does not answer, or does not hold a key of the expected kind; no message shows a PIN."""


class UnknownLeafError(LedgerError):
    """No receipt can be given for that leaf."""


class VerificationError(LedgerError):
    """One step of a verification failed; `expected` is what the evidence or the trust file claims."""

    def __init__(self, step: str, text: str, *, expected: str = "", got: str = "") -> None:
        self.step = step
        self.text, self.expected, self.got = _line(text), _line(expected), _line(got)
        values = f": expected {self.expected}, got {self.got}" if expected or got else ""
        super().__init__(f"{step}: {self.text}{values}")


def _line(text: str) -> str:
    """What came from a file as part of one sentence: cut where it is long, without line ends."""
    cut = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    return cut if cut.isprintable() else repr(cut)[1:-1]


LONGEST = 300
"""Letters of a value that a sentence shows: keys and hashes in full, files not."""


class MalformedError(VerificationError):
    """A file differs from the one form that its format allows; it proves nothing."""


class ForkError(VerificationError):
    """Two checkpoints that the log signed do not belong to one log; `evidence` holds them as they were
    signed, and the proof that failed where there was one.
    """

    def __init__(
        self, step: str, text: str, evidence: Sequence[str], *, expected: str = "", got: str = ""
    ) -> None:
        self.evidence = tuple(evidence)
        super().__init__(step, text, expected=expected, got=got)


class TamperedError(VerificationError):
    """A row of a database differs from what was sealed; `record` names it: its table and its number."""

    def __init__(self, record: str, text: str, *, expected: str = "", got: str = "") -> None:
        self.record = record
        super().__init__(record, text, expected=expected, got=got)


class ChainError(LedgerError):
    """The chain gave an answer that cannot be right."""


class ChainUnavailableError(ChainError):
    """The chain does not answer; the anchor is tried again at the next step."""


class CallValueError(ChainError):
    """The contract cannot hold a value of the call."""


class ForeignHeadError(ChainError):
    """The contract's head is no checkpoint of this log: another publisher, or this database is older than
    the chain.
    """
