"""A receipt: all that is needed to show offline that a record is in the log and the log on the chain. Frozen.

The file is a C2SP `tlog-proof`: leaf index, inclusion path, signed checkpoint. Its `extra` line, which that
format keeps for what an application adds, holds the anchor, `flexpact-receipt/v1`: the contract's storage
slot, proven against a block header. Every line has its place; nothing may be added.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ledger.checkpoint import MAX_SIZE, Checkpoint, from_base64, parse_count, to_base64
from ledger.errors import MalformedError
from ledger.merkle import HASH_BYTES
from ledger.seal import SealedHeader
from ledger.state import ADDRESS_BYTES as ADDRESS_BYTES  # noqa: PLC0414 - its readers look for it here
from ledger.state import Header, Item, encode_integer, integer, keccak256, rlp_decode, rlp_encode

PROOF = "c2sp.org/tlog-proof@v1"
"""The first line of the file."""
FORMAT = "flexpact-receipt/v1"
"""The first line of what the `extra` line holds."""
MAX_FILE_BYTES = 64 * 1024
MAX_ANCHOR_BYTES = 32 * 1024
SLOT = 0
"""The slot of `CheckpointLog` that holds the commitment to the newest checkpoint."""
AGGREGATOR = "aggregator"
"""Who vouches for the header of a chain without seals: the party that runs the chain."""
VALIDATORS = "validators"
"""Who vouches for the header of a QBFT chain: its validators, by their seals."""


def commitment(size: int, root: bytes) -> bytes:
    """The word that the contract stores for a checkpoint: keccak256(size as 32 bytes || root)."""
    return keccak256(size.to_bytes(32, "big") + root)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A storage proof of the contract's slot at one block. `header` is the block header in RLP, as are the
    nodes.
    """

    chain_id: int
    contract: bytes
    slot: int
    account_proof: tuple[bytes, ...]
    storage_proof: tuple[bytes, ...]
    header: bytes
    vouched_by: str = AGGREGATOR

    def block(self) -> Header:
        """The header, with the hash that the chain knows its block by."""
        return self.sealed().header if self.vouched_by == VALIDATORS else Header.decode(self.header)

    def sealed(self) -> SealedHeader:
        """The header with its validators' seals; MalformedError if it is not one of a QBFT chain."""
        return SealedHeader.decode(self.header)

    def text(self) -> str:
        """The value of the `extra` line: base64 of the format's name, a line end and the squeezed RLP of
        all fields.
        """
        fields: list[Item] = [
            encode_integer(self.chain_id),
            self.contract,
            encode_integer(self.slot),
            list(self.account_proof),
            list(self.storage_proof),
            self.header,
            self.vouched_by.encode(),
        ]
        return to_base64(FORMAT.encode() + b"\n" + squeeze(rlp_encode(fields)))

    @classmethod
    def parse(cls, text: str) -> Anchor:
        """The anchor in the value of an `extra` line; MalformedError unless `text` would write exactly it."""
        version, _, squeezed = from_base64("receipt", text).partition(b"\n")
        if version != FORMAT.encode():
            raise MalformedError(
                "receipt", "format of the anchor is not known", expected=FORMAT, got=_shown(version)
            )
        fields = rlp_decode("receipt", _stretch(squeezed))
        if isinstance(fields, bytes) or len(fields) != 7:
            raise MalformedError("receipt", "the anchor has not its seven fields")
        voucher = _bytes(fields[6])
        if voucher not in (AGGREGATOR.encode(), VALIDATORS.encode()):
            raise MalformedError(
                "receipt",
                "nobody known vouches for the header",
                expected=f"{AGGREGATOR} or {VALIDATORS}",
                got=_shown(voucher),
            )
        return cls(
            _count(fields[0]),
            _bytes(fields[1], ADDRESS_BYTES),
            _count(fields[2]),
            _nodes(fields[3]),
            _nodes(fields[4]),
            _bytes(fields[5]),
            voucher.decode(),
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """The proof that a leaf is under a checkpoint, and the checkpoint in the contract's storage."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint
    anchor: Anchor

    def text(self) -> str:
        """The receipt as a file's content."""
        lines = [PROOF, f"extra {self.anchor.text()}", f"index {self.index}", *map(to_base64, self.path)]
        return "\n".join(lines) + "\n\n" + self.checkpoint.text()

    def to_file(self) -> bytes:
        """The receipt as a file's bytes."""
        return self.text().encode()

    @classmethod
    def from_file(cls, raw: bytes) -> Receipt:
        """The receipt in a file; MalformedError on the smallest departure from the form that `to_file`
        writes.
        """
        if len(raw) > MAX_FILE_BYTES:
            raise MalformedError("receipt", f"the file is larger than {MAX_FILE_BYTES} bytes")
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise MalformedError("receipt", f"the file is not UTF-8 at byte {error.start}") from error
        version = text.partition("\n")[0]
        if version != PROOF:
            raise MalformedError("receipt", "format is not known", expected=PROOF, got=repr(version[:40]))
        head, blank, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if not blank or len(lines) < 3 or not lines[1].startswith("extra "):
            raise MalformedError("receipt", "the file is not extra, index, path, blank line and checkpoint")
        if not lines[2].startswith("index "):
            raise MalformedError("receipt", "the third line is not the leaf's index")
        return cls(
            parse_count("receipt", lines[2].removeprefix("index ")),
            tuple(from_base64("receipt", line, HASH_BYTES) for line in lines[3:]),
            Checkpoint.parse(checkpoint),
            Anchor.parse(lines[1].removeprefix("extra ")),
        )


def parse_hex(step: str, text: str, length: int) -> bytes:
    """The bytes behind `0x` and lower-case hexadecimal digits."""
    try:
        raw = bytes.fromhex(text[2:])
    except ValueError as error:
        raise MalformedError(step, f"not hexadecimal: {text[:80]!r}") from error
    if text != f"0x{raw.hex()}" or len(raw) != length:
        raise MalformedError(step, f"not 0x and {2 * length} lower-case hexadecimal digits: {text[:80]!r}")
    return raw


_ZEROS = re.compile(rb"\0{1,255}")
_RUN = re.compile(rb"\0(.?)", re.DOTALL)


def squeeze(raw: bytes) -> bytes:
    """`raw` with each run of zero bytes, the longest first and at most 255, as a zero and its length: headers
    are half zeros.
    """
    return _ZEROS.sub(lambda run: bytes([0, len(run[0])]), raw)


def _stretch(squeezed: bytes) -> bytes:
    """The bytes that `squeeze` was given; MalformedError unless it would write exactly these."""
    length = len(squeezed) + sum(sum(run[1]) - 2 for run in _RUN.finditer(squeezed))
    if length > MAX_ANCHOR_BYTES:
        raise MalformedError("receipt", f"the anchor is larger than {MAX_ANCHOR_BYTES} bytes")
    raw = _RUN.sub(lambda run: bytes(sum(run[1])), squeezed)
    if squeeze(raw) != squeezed:
        raise MalformedError("receipt", "a run of zeros in the anchor is not in its one form")
    return raw


def _bytes(item: Item, length: int | None = None) -> bytes:
    if not isinstance(item, bytes) or (length is not None and len(item) != length):
        raise MalformedError("receipt", "a field of the anchor has another shape")
    return item


def _nodes(item: Item) -> tuple[bytes, ...]:
    if isinstance(item, bytes):
        raise MalformedError("receipt", "a proof in the anchor is not a list of nodes")
    return tuple(_bytes(node) for node in item)


def _count(item: Item) -> int:
    number = integer("receipt", item)
    if number > MAX_SIZE:
        raise MalformedError("receipt", f"number is above {MAX_SIZE}: {number}")
    return number


def _shown(raw: bytes) -> str:
    return repr(raw[:40].decode("utf-8", "backslashreplace"))
