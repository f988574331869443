"""The extra data of a block under QBFT, the consensus of Hyperledger Besu: who may seal blocks, and who
sealed this one.

RLP of five items: 32 bytes of anything, the validators' addresses, a vote (an empty list if there is none),
the round, and the validators' seals. The hash of a block is taken with the round zero and without seals,
because each validator may hold the block with other seals; only the first block is hashed as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ledger.errors import MalformedError
from ledger.state import ADDRESS_BYTES, Item, header_fields, rlp_decode, rlp_encode

STEP = "header"
VANITY_BYTES = 32
SEAL_BYTES = 65
EXTRA_FIELD = 12
"""The place of the extra data among the fields of a header."""


@dataclass(frozen=True, slots=True)
class ExtraData:
    """What the extra data of a block says; `vote` stays as it came."""

    validators: tuple[bytes, ...]
    vanity: bytes = bytes(VANITY_BYTES)
    vote: tuple[Item, ...] = ()
    round: bytes = b""
    seals: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """Its bytes."""
        return rlp_encode([self.vanity, list(self.validators), list(self.vote), self.round, list(self.seals)])

    @classmethod
    def decode(cls, raw: bytes) -> ExtraData:
        """The extra data in these bytes; MalformedError if they are of another kind."""
        items = rlp_decode(STEP, raw)
        if isinstance(items, bytes) or len(items) != 5:
            raise MalformedError(STEP, "the extra data is not that of QBFT")
        vanity, validators, vote, round_, seals = items
        if not isinstance(vanity, bytes) or len(vanity) != VANITY_BYTES:
            raise MalformedError(STEP, f"the extra data does not begin with {VANITY_BYTES} bytes")
        if isinstance(vote, bytes) or not isinstance(round_, bytes):
            raise MalformedError(STEP, "vote or round of the extra data is of another kind")
        return cls(
            _texts("validator", validators, ADDRESS_BYTES),
            vanity,
            tuple(vote),
            round_,
            _texts("seal", seals, SEAL_BYTES),
        )


def extra_data(raw: bytes) -> ExtraData:
    """The extra data in a header in RLP; MalformedError if it is no header of QBFT."""
    extra = header_fields(raw)[EXTRA_FIELD]
    if not isinstance(extra, bytes):
        raise MalformedError(STEP, "the extra data is a list")
    return ExtraData.decode(extra)


def hashed_header(raw: bytes) -> bytes:
    """A header as its hash is taken: the round zero, the seals gone. MalformedError if it is no header of
    QBFT.
    """
    return with_extra_data(raw, replace(extra_data(raw), round=b"", seals=()))


def with_extra_data(raw: bytes, extra: ExtraData) -> bytes:
    """A header with other extra data."""
    fields = header_fields(raw)
    return rlp_encode([*fields[:EXTRA_FIELD], extra.encode(), *fields[EXTRA_FIELD + 1 :]])


def _texts(name: str, item: Item, size: int) -> tuple[bytes, ...]:
    if isinstance(item, bytes):
        raise MalformedError(STEP, f"the {name}s of the extra data are no list")
    parts: Sequence[Item] = item
    found = tuple(part for part in parts if isinstance(part, bytes) and len(part) == size)
    if len(found) != len(parts):
        raise MalformedError(STEP, f"a {name} in the extra data is not {size} bytes")
    return found
