"""A receipt: all that is needed to show offline that a record is in the log and the log on the chain.
`flexpact-receipt/v0`.

The first part is in the manner of C2SP `tlog-proof`: leaf index, inclusion path, signed checkpoint. The
second part is the anchor: the contract's storage slot, proven against a block header. Every line has its
place; nothing may be added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.checkpoint import Checkpoint, from_base64, parse_count, to_base64
from ledger.errors import MalformedError
from ledger.merkle import HASH_BYTES
from ledger.state import keccak256

FORMAT = "flexpact-receipt/v0"
MAX_FILE_BYTES = 64 * 1024
SLOT = 0
"""The slot of `CheckpointLog` that holds the commitment to the newest checkpoint."""
VOUCHER = "aggregator"
"""Who vouches for the header: on a chain without validators' seals it is the party that runs the chain."""
ADDRESS_BYTES = 20


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
    vouched_by: str = VOUCHER

    def lines(self) -> list[str]:
        """The anchor part of a receipt, line by line."""
        return [
            f"chain {self.chain_id}",
            f"contract 0x{self.contract.hex()}",
            f"slot {self.slot}",
            *(f"account {to_base64(node)}" for node in self.account_proof),
            *(f"storage {to_base64(node)}" for node in self.storage_proof),
            f"header {to_base64(self.header)}",
            f"vouched-by {self.vouched_by}",
        ]

    @classmethod
    def parse(cls, lines: Sequence[str]) -> Anchor:
        """The anchor in these lines; MalformedError unless `lines` would write exactly them."""
        fields = [line.partition(" ")[::2] for line in lines]
        names = [name for name, _ in fields]
        accounts, storages = names.count("account"), names.count("storage")
        if names != [
            "chain",
            "contract",
            "slot",
            *["account"] * accounts,
            *["storage"] * storages,
            "header",
            "vouched-by",
        ]:
            raise MalformedError(
                "receipt",
                "the anchor part is not chain, contract, slot, account, storage, header, vouched-by",
            )
        values = [value for _, value in fields]
        nodes = [from_base64("receipt", value) for value in values[3:-1]]
        if values[-1] != VOUCHER:
            raise MalformedError(
                "receipt", "nobody known vouches for the header", expected=VOUCHER, got=values[-1]
            )
        return cls(
            parse_count("receipt", values[0]),
            parse_hex("receipt", values[1], ADDRESS_BYTES),
            parse_count("receipt", values[2]),
            tuple(nodes[:accounts]),
            tuple(nodes[accounts:-1]),
            nodes[-1],
            values[-1],
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
        lines = [FORMAT, f"index {self.index}", *(to_base64(node) for node in self.path)]
        return (
            "\n".join(lines) + "\n\n" + self.checkpoint.text() + "\n" + "\n".join(self.anchor.lines()) + "\n"
        )

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
        if version != FORMAT:
            raise MalformedError("receipt", "format is not known", expected=FORMAT, got=repr(version[:40]))
        parts = text.split("\n\n")
        if len(parts) != 4 or not text.endswith("\n"):
            raise MalformedError("receipt", "the file has not its three parts, path, checkpoint and anchor")
        return cls(
            *_parse_path(parts[0].split("\n")),
            Checkpoint.parse(f"{parts[1]}\n\n{parts[2]}\n"),
            Anchor.parse(parts[3][:-1].split("\n")),
        )


def parse_hex(step: str, text: str, length: int) -> bytes:
    """The bytes behind `0x` and lower-case hexadecimal digits."""
    try:
        raw = bytes.fromhex(text[2:])
    except ValueError as error:
        raise MalformedError(step, f"not hexadecimal: {text!r}") from error
    if text != f"0x{raw.hex()}" or len(raw) != length:
        raise MalformedError(step, f"not 0x and {2 * length} lower-case hexadecimal digits: {text!r}")
    return raw


def _parse_path(lines: Sequence[str]) -> tuple[int, tuple[bytes, ...]]:
    if len(lines) < 2 or not lines[1].startswith("index "):
        raise MalformedError("receipt", "the second line is not the leaf's index")
    index = parse_count("receipt", lines[1].removeprefix("index "))
    return index, tuple(from_base64("receipt", line, HASH_BYTES) for line in lines[2:])
