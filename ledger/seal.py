"""The commit seals in a block header of a QBFT chain (Besu): which validators said that the block is final.

A seal is a recoverable secp256k1 signature (r, s, recovery id) over the hash of the header whose extra data
has no seals in it. The block's own hash leaves out the round as well: so it says nothing of the seals, and
each of them is checked here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from coincurve import PublicKey

from ledger.errors import MalformedError, VerificationError
from ledger.qbft import extra_data, hashed_header, with_extra_data
from ledger.state import Header, integer, keccak256

MAX_SEALS = 100
"""A network has a few dozen validators at most; finding the key behind a seal takes a tenth of a
millisecond.
"""
STEP = "seals"


def quorum(validators: int) -> int:
    """How many of so many validators must seal a block: two thirds, rounded up."""
    return -(-2 * validators // 3)


@dataclass(frozen=True, slots=True)
class SealedHeader:
    """A block header with its seals. `header.hash` is the block's hash; `digest` is what each seal signs;
    `validators` are those that the header itself names, none where a contract names them.
    """

    header: Header
    digest: bytes
    validators: tuple[bytes, ...]
    seals: tuple[bytes, ...]

    @classmethod
    def decode(cls, raw: bytes) -> SealedHeader:
        """The header in RLP form; MalformedError if its extra data are not those of QBFT."""
        extra = extra_data(raw)
        integer(STEP, extra.round)
        if len(extra.seals) > MAX_SEALS:
            raise MalformedError(
                STEP, "too many seals", expected=f"at most {MAX_SEALS}", got=str(len(extra.seals))
            )
        block = replace(Header.decode(raw), hash=keccak256(hashed_header(raw)))
        digest = keccak256(with_extra_data(raw, replace(extra, seals=())))
        return cls(block, digest, extra.validators, extra.seals)

    def sealers(self) -> list[bytes]:
        """The address behind each seal; VerificationError if one has none, or if two have the same."""
        found = [_sealer(seal, self.digest) for seal in self.seals]
        for at, address in enumerate(found):
            if address in found[:at]:
                raise VerificationError(
                    STEP,
                    "a validator sealed twice",
                    expected=f"{len(found)} validators",
                    got=f"0x{address.hex()} again",
                )
        return found


def _sealer(seal: bytes, digest: bytes) -> bytes:
    try:
        key = PublicKey.from_signature_and_message(seal, digest, hasher=None)
    except ValueError as error:
        raise VerificationError(
            STEP, "a seal is no signature", expected="r, s and recovery id", got=f"0x{seal.hex()}"
        ) from error
    return keccak256(key.format(compressed=False)[1:])[12:]
