"""Commit seals of QBFT: who sealed a block, by signatures over exactly that block."""

from __future__ import annotations

import pytest
import rlp
from coincurve import PrivateKey

from ledger.errors import MalformedError, VerificationError
from ledger.qbft import ExtraData, extra_data, with_extra_data
from ledger.seal import MAX_SEALS, SealedHeader, quorum
from ledger.state import keccak256
from tests.ledger.evidence import VALIDATOR_ADDRESSES, VALIDATOR_KEYS, sealed_header

ROOT = bytes(range(32))
RAW = sealed_header(ROOT, round_number=3)


@pytest.mark.parametrize(
    ("validators", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (6, 4), (7, 5), (10, 7)]
)
def test_a_quorum_is_two_thirds_rounded_up(validators: int, needed: int) -> None:
    assert quorum(validators) == needed


def test_the_sealers_of_a_block_are_found() -> None:
    sealed = SealedHeader.decode(RAW)
    assert tuple(sealed.sealers()) == sealed.validators == VALIDATOR_ADDRESSES
    assert (sealed.header.number, sealed.header.state_root) == (41, ROOT)


def test_a_seal_is_over_the_header_with_its_round_and_without_seals() -> None:
    # Made apart from the code, with another RLP library.
    fields = rlp.decode(RAW)
    vanity, validators, vote, round_number, seals = rlp.decode(fields[12])
    signed = [*fields[:12], rlp.encode([vanity, validators, vote, round_number, []]), *fields[13:]]
    hashed = [*fields[:12], rlp.encode([vanity, validators, vote, b"", []]), *fields[13:]]
    assert round_number == b"\x03"
    assert seals[0] == VALIDATOR_KEYS[0].sign_recoverable(keccak256(rlp.encode(signed)), hasher=None)
    assert SealedHeader.decode(RAW).header.hash == keccak256(rlp.encode(hashed))


def test_the_blocks_hash_says_nothing_of_round_and_seals() -> None:
    other = sealed_header(ROOT, VALIDATOR_KEYS[:1], round_number=0)
    assert SealedHeader.decode(other).header.hash == SealedHeader.decode(RAW).header.hash


@pytest.mark.parametrize("field", [3, 8, 11])
def test_seals_of_another_block_are_those_of_nobody(field: int) -> None:
    fields = rlp.decode(RAW)
    fields[field] = bytes([fields[field][0] ^ 1]) + fields[field][1:]
    assert not set(SealedHeader.decode(rlp.encode(fields)).sealers()) & set(VALIDATOR_ADDRESSES)


def test_seals_of_another_round_are_those_of_nobody() -> None:
    moved = with_extra_data(RAW, ExtraData(**{**_parts(RAW), "round": b"\x04"}))
    assert not set(SealedHeader.decode(moved).sealers()) & set(VALIDATOR_ADDRESSES)


def _parts(raw: bytes) -> dict[str, object]:
    extra = extra_data(raw)
    return {name: getattr(extra, name) for name in ("validators", "vanity", "vote", "round", "seals")}


def with_seals(*seals: bytes) -> bytes:
    """The header with other seals."""
    return with_extra_data(RAW, ExtraData(**{**_parts(RAW), "seals": seals}))


def test_a_validator_that_sealed_twice_is_named() -> None:
    twice = sealed_header(ROOT, [*VALIDATOR_KEYS[:2], VALIDATOR_KEYS[0]])
    named = f"0x{VALIDATOR_ADDRESSES[0].hex()} again"
    with pytest.raises(VerificationError, match=f"seals: a validator sealed twice: .* got {named}"):
        SealedHeader.decode(twice).sealers()


@pytest.mark.parametrize("seal", [bytes(65), b"\xff" * 65, bytes(64) + b"\x04", b"\x01" * 64 + b"\x1b"])
def test_a_seal_that_is_no_signature_is_shown(seal: bytes) -> None:
    with pytest.raises(VerificationError, match=f"seals: a seal is no signature: .* got 0x{seal.hex()}"):
        SealedHeader.decode(with_seals(seal)).sealers()


def test_seals_without_end_are_not_looked_at() -> None:
    with pytest.raises(MalformedError, match=f"too many seals: expected at most {MAX_SEALS}, got 101"):
        SealedHeader.decode(with_seals(*[bytes(65)] * 101))


def test_a_stranger_is_found_too() -> None:
    raw = sealed_header(ROOT, [PrivateKey(b"\x07" * 32)])
    (stranger,) = SealedHeader.decode(raw).sealers()
    assert stranger not in VALIDATOR_ADDRESSES
