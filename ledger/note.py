"""Checkpoints of any log, as a witness reads them: C2SP `tlog-checkpoint` in a C2SP `signed-note`.

Our own checkpoints and receipts are read more strictly, in `checkpoint`. Here a log may add lines to its
text and signatures of kinds that we do not know, as these formats allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature

from ledger.checkpoint import VerifierKey, check_name, from_base64, parse_count, to_base64
from ledger.errors import MalformedError
from ledger.merkle import HASH_BYTES

STEP = "checkpoint"
DASH = "\u2014"
MAX_LINES = 100
"""Signature lines that are looked at; nobody has so many."""
_ID_BYTES = 4


@dataclass(frozen=True, slots=True)
class Note:
    """A log's head at one size: `body` is the text that was signed, `lines` are key names with the raw
    signatures, key id first.
    """

    origin: str
    size: int
    root: bytes
    body: str
    lines: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, text: str) -> Note:
        """The checkpoint that a text holds; MalformedError if it is none."""
        head, blank, tail = text.rpartition("\n\n")
        signatures = tail.split("\n")
        if not blank or signatures.pop() or not 0 < len(signatures) <= MAX_LINES:
            raise MalformedError(STEP, "not a text, a blank line and signature lines")
        lines = head.split("\n")
        if len(lines) < 3 or not all(lines) or not all(line.isprintable() for line in lines):
            raise MalformedError(STEP, "its text is not origin, size, root and perhaps more lines")
        size = parse_count(STEP, lines[1])
        root = from_base64(STEP, lines[2], HASH_BYTES)
        return cls(lines[0], size, root, head + "\n", tuple(map(_signature, signatures)))

    def signed_by(self, keys: Sequence[VerifierKey]) -> Note | None:
        """The same with the lines of these keys alone; None if there is none, or a wrong one."""
        known = {(key.name, key.id): key for key in keys}
        found = [(name, raw) for name, raw in self.lines if (name, raw[:_ID_BYTES]) in known]
        try:
            for name, raw in found:
                known[name, raw[:_ID_BYTES]].verify(self.body.encode(), raw[_ID_BYTES:])
        except InvalidSignature:
            return None
        return Note(self.origin, self.size, self.root, self.body, tuple(found)) if found else None

    def text(self) -> str:
        """The signed note."""
        return self.body + "\n" + "".join(f"{DASH} {name} {to_base64(raw)}\n" for name, raw in self.lines)


def _signature(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != DASH:
        raise MalformedError(STEP, f"not a signature line: {line[:80]!r}")
    raw = from_base64(STEP, parts[2])
    if len(raw) <= _ID_BYTES:
        raise MalformedError(STEP, f"a signature line holds no signature: {line[:80]!r}")
    return check_name(parts[1]), raw
