"""Extra data of QBFT blocks, held against an example of Besu's documentation and against py-evm's RLP."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import rlp
from eth.vm.forks.cancun.blocks import CancunBlockHeader

from ledger.errors import ChainError, MalformedError
from ledger.node import encode_header
from ledger.qbft import ExtraData, hashed_header
from ledger.seal import SealedHeader
from ledger.state import Header, rlp_encode

VALIDATORS = tuple(
    bytes.fromhex(text)
    for text in (
        "4592c8e45706cc08b8f44b11e43cba0cfc5892cb",
        "06e23768a0f59cf365e18c2e0c89e151bcdedc70",
        "c5327f96ee02d7bcbc1bf1236b8c15148971e1de",
        "ab5e7f4061c605820d3744227eed91ff8e2c8908",
    )
)
# What `besu rlp encode --type=QBFT_EXTRA_DATA` makes of these four, by Besu's documentation of QBFT.
DOCUMENTED = (
    "f87aa00000000000000000000000000000000000000000000000000000000000000000f854944592c8e45706cc08b8f44b11e4"
    "3cba0cfc5892cb9406e23768a0f59cf365e18c2e0c89e151bcdedc7094c5327f96ee02d7bcbc1bf1236b8c15148971e1de94ab"
    "5e7f4061c605820d3744227eed91ff8e2c8908c080c0"
)
SEALED = ExtraData(
    VALIDATORS,
    vanity=b"v" * 32,
    vote=(VALIDATORS[0], b"\xff"),
    round=b"\x02",
    seals=tuple(bytes([mark]) * 65 for mark in (1, 2, 3)),
)


def block(extra: ExtraData, hashed: ExtraData | None = None, **changes: Any) -> dict[str, Any]:
    """A block as a node's JSON-RPC says it; its hash is py-evm's, over the extra data `hashed`."""
    header = CancunBlockHeader(
        difficulty=1,
        block_number=7,
        gas_limit=30_000_000,
        timestamp=1_800_000_000,
        extra_data=(hashed or extra).encode(),
        base_fee_per_gas=0,
        parent_beacon_block_root=bytes(32),
    )
    fields = {
        "parentHash": header.parent_hash,
        "sha3Uncles": header.uncles_hash,
        "miner": header.coinbase,
        "stateRoot": header.state_root,
        "transactionsRoot": header.transaction_root,
        "receiptsRoot": header.receipt_root,
        "logsBloom": header.bloom.to_bytes(256, "big"),
        "difficulty": 1,
        "number": 7,
        "gasLimit": header.gas_limit,
        "gasUsed": 0,
        "timestamp": header.timestamp,
        "extraData": extra.encode(),
        "mixHash": header.mix_hash,
        "nonce": header.nonce,
        "baseFeePerGas": 0,
        "withdrawalsRoot": header.withdrawals_root,
        "blobGasUsed": 0,
        "excessBlobGas": 0,
        "parentBeaconBlockRoot": header.parent_beacon_block_root,
        "hash": header.hash,
    }
    return {**fields, **changes}


def test_the_genesis_extra_data_is_the_documented_one() -> None:
    assert ExtraData(VALIDATORS).encode().hex() == DOCUMENTED
    assert ExtraData.decode(bytes.fromhex(DOCUMENTED)) == ExtraData(VALIDATORS)


@pytest.mark.parametrize("extra", [ExtraData(VALIDATORS), ExtraData(()), SEALED])
def test_extra_data_are_read_back_and_are_what_another_reader_finds(extra: ExtraData) -> None:
    assert ExtraData.decode(extra.encode()) == extra
    vanity, validators, vote, round_, seals = rlp.decode(extra.encode())
    assert (vanity, tuple(validators), tuple(vote)) == (extra.vanity, extra.validators, extra.vote)
    assert (round_, tuple(seals)) == (extra.round, extra.seals)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (b"flexpact", "not that of QBFT"),
        ([bytes(32), [], [], b""], "not that of QBFT"),
        ([bytes(31), [], [], b"", []], "does not begin with 32 bytes"),
        ([[], [], [], b"", []], "does not begin with 32 bytes"),
        ([bytes(32), b"", [], b"", []], "validators of the extra data are no list"),
        ([bytes(32), [bytes(19)], [], b"", []], "validator in the extra data is not 20 bytes"),
        ([bytes(32), [[]], [], b"", []], "validator in the extra data is not 20 bytes"),
        ([bytes(32), [], b"x", b"", []], "vote or round"),
        ([bytes(32), [], [], [], []], "vote or round"),
        ([bytes(32), [], [], b"", b""], "seals of the extra data are no list"),
        ([bytes(32), [], [], b"", [bytes(64)]], "seal in the extra data is not 65 bytes"),
    ],
)
def test_other_extra_data_are_refused(items: Any, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        ExtraData.decode(rlp_encode(items))


def test_a_sealed_block_is_known_by_the_hash_without_round_and_seals() -> None:
    bare = replace(SEALED, round=b"", seals=())
    fields = block(SEALED, hashed=bare)
    header, vouched_by = encode_header(fields)
    assert vouched_by == "validators"
    assert SealedHeader.decode(header).header.hash == fields["hash"]
    assert ExtraData.decode(rlp.decode(header)[12]) == SEALED


def test_the_first_block_is_hashed_as_it_is() -> None:
    fields = block(ExtraData(VALIDATORS))
    header, vouched_by = encode_header(fields)
    assert vouched_by == "aggregator"
    assert Header.decode(header).hash == fields["hash"]


@pytest.mark.parametrize("name", ["stateRoot", "transactionsRoot", "parentHash"])
def test_a_sealed_block_with_another_content_is_refused(name: str) -> None:
    fields = block(SEALED, hashed=replace(SEALED, round=b"", seals=()), **{name: b"\x01" * 32})
    with pytest.raises(ChainError, match="does not hash to the block's hash"):
        encode_header(fields)


def test_other_validators_make_another_hash() -> None:
    hashed = replace(SEALED, validators=VALIDATORS[:3], round=b"", seals=())
    with pytest.raises(ChainError, match="does not hash"):
        encode_header(block(SEALED, hashed=hashed))


@pytest.mark.parametrize("raw", [b"", b"x", rlp_encode([b""] * 12), rlp_encode([*[b""] * 12, []])])
def test_what_is_no_header_of_qbft_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        hashed_header(raw)
