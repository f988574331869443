"""Evidence made from fixed keys, without a log or a chain: the same bytes at every run.

The tree, the tries and the headers are made here; what signs and writes is the code under test. The QBFT
headers bear the seals of four keys of ours, laid out as Besu lays them out; no Besu made any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256

import rlp
from coincurve import PrivateKey
from trie.hexary import HexaryTrie

from ledger import merkle
from ledger.checkpoint import COSIGNATURE, Checkpoint, Cosignature, SigningKey
from ledger.receipt import AGGREGATOR, SLOT, VALIDATORS, Anchor, Receipt, commitment
from ledger.record import Record
from ledger.state import Item, encode_integer, keccak256, rlp_encode
from ledger.trust import ChainTrust, LogKey, Trust, WitnessTrust

ORIGIN = "example.org/flexpact"
CHAIN_ID = 20_260_002
INDEX = 3
BLOCK_AT = datetime(2026, 1, 20, 18, 1, tzinfo=UTC)
EMPTY_BLOOM = bytes(256)
VANITY = bytes(32)
_EMPTY_LIST_HASH = keccak256(rlp_encode([]))
_EMPTY_TRIE = keccak256(b"\x80")


def seed(name: str) -> bytes:
    """32 bytes for a key of that name."""
    return sha256(b"flexpact test key: " + name.encode()).digest()


LOG_KEY = SigningKey(ORIGIN, seed("log"))
NEXT_LOG_KEY = SigningKey(ORIGIN, seed("next log"))
WITNESSES = [
    SigningKey(f"witness.example/{name}", seed(f"witness {name}"), COSIGNATURE) for name in ("a", "b", "c")
]
VALIDATOR_KEYS = [PrivateKey(seed(f"validator {number}")) for number in range(1, 5)]
CONTRACT = keccak256(b"contract")[12:]


def address(key: PrivateKey) -> bytes:
    """The account of a secp256k1 key."""
    return keccak256(key.public_key.format(compressed=False)[1:])[12:]


VALIDATOR_ADDRESSES = tuple(address(key) for key in VALIDATOR_KEYS)

RECORD = Record(
    "report",
    "report/node-1/3",
    datetime(2026, 1, 20, 17, 45, tzinfo=UTC),
    {
        "duration_s": 900,
        "energy_wh": 2030,
        "homes": [{"energy_wh": 213, "home_id": "home-01"}],
        "quality": "measured",
        "r_id": "load",
        "start": "2026-01-20T17:45:00Z",
        "ven_id": "node-1",
    },
    seed("salt"),
)


@dataclass(frozen=True)
class Evidence:
    """The three files of one verification."""

    record: Record
    receipt: Receipt
    trust: Trust

    def files(self) -> dict[str, bytes]:
        """Their contents by name."""
        return {
            "record": self.record.to_file(),
            "receipt": self.receipt.to_file(),
            "trust": self.trust.to_file(),
        }


def path_of(record: Record, index: int, size: int) -> tuple[tuple[bytes, ...], bytes]:
    """An inclusion path and the root it leads to; its siblings stand for the other leaves."""
    path = tuple(sha256(b"leaves %d to %d" % span).digest() for span in merkle.inclusion_ranges(index, size))
    return path, merkle.root_from_inclusion(index, size, record.leaf(), path)


def checkpoint(
    root: bytes,
    size: int = 7,
    key: SigningKey = LOG_KEY,
    witnesses: Sequence[SigningKey] = (),
    at: datetime = BLOCK_AT,
) -> Checkpoint:
    """A checkpoint, cosigned one second after the other."""
    signed = Checkpoint.sign(size, root, key)
    for number, witness in enumerate(witnesses, 1):
        signed = signed.with_cosignature(Cosignature.sign(signed, witness, at + timedelta(seconds=number)))
    return signed


@cache
def state(word: bytes, accounts: int = 12) -> tuple[bytes, tuple[bytes, ...], tuple[bytes, ...]]:
    """The root of a state in which the contract holds `word` among other accounts, and both proofs."""
    storage: HexaryTrie = HexaryTrie({})
    storage[keccak256(SLOT.to_bytes(32, "big"))] = rlp_encode(word.lstrip(b"\0"))
    world: HexaryTrie = HexaryTrie({})
    for number in range(accounts - 1):
        fields: list[Item] = [encode_integer(number), b"", _EMPTY_TRIE, keccak256(b"")]
        world[keccak256(keccak256(b"account %d" % number)[12:])] = rlp_encode(fields)
    world[keccak256(CONTRACT)] = rlp_encode([b"\x01", b"", storage.root_hash, keccak256(b"code")])
    proofs = (
        world.get_proof(keccak256(CONTRACT)),
        storage.get_proof(keccak256(SLOT.to_bytes(32, "big"))),
    )
    accounts_proof, storage_proof = (tuple(rlp.encode(node) for node in proof) for proof in proofs)
    return world.root_hash, accounts_proof, storage_proof


def header(state_root: bytes, extra: bytes = b"", number: int = 41, at: datetime = BLOCK_AT) -> bytes:
    """A Cancun header in RLP, with one log's bits in its bloom."""
    bloom = bytearray(EMPTY_BLOOM)
    for place in (4, 31, 67, 90, 133, 170, 201, 230, 255):
        bloom[place] |= 0x20
    fields: list[Item] = [
        keccak256(b"parent"),
        _EMPTY_LIST_HASH,
        VALIDATOR_ADDRESSES[0],
        state_root,
        keccak256(b"transactions"),
        keccak256(b"receipts"),
        bytes(bloom),
        encode_integer(1),
        encode_integer(number),
        encode_integer(30_000_000),
        encode_integer(46_021),
        encode_integer(int(at.timestamp())),
        extra,
        bytes.fromhex("63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"),
        bytes(8),
        b"",
        _EMPTY_TRIE,
        b"",
        b"",
        bytes(32),
    ]
    return rlp_encode(fields)


def sealed_header(
    state_root: bytes,
    sealers: Sequence[PrivateKey] = tuple(VALIDATOR_KEYS),
    round_number: int = 0,
    vote: Sequence[Item] = (),
    validators: Sequence[bytes] = VALIDATOR_ADDRESSES,
    **changes: object,
) -> bytes:
    """A QBFT header with the seals of these keys."""

    def extra(seals: Sequence[bytes]) -> bytes:
        parts: list[Item] = [VANITY, list(validators), list(vote)]
        return rlp_encode([*parts, encode_integer(round_number), list(seals)])

    digest = keccak256(header(state_root, extra(()), **changes))  # type: ignore[arg-type] # by name
    seals = [key.sign_recoverable(digest, hasher=None) for key in sealers]
    return header(state_root, extra(seals), **changes)  # type: ignore[arg-type] # by name


def anchor(
    signed: Checkpoint, *, sealers: Sequence[PrivateKey] | None = None, accounts: int = 12, **changes: object
) -> Anchor:
    """The contract holding that checkpoint; under seals if there are sealers."""
    root, account_proof, storage_proof = state(commitment(signed.size, signed.root), accounts)
    if sealers is None:
        raw, voucher = header(root, **changes), AGGREGATOR  # type: ignore[arg-type] # by name
    else:
        raw, voucher = sealed_header(root, sealers, **changes), VALIDATORS  # type: ignore[arg-type] # by name
    return Anchor(CHAIN_ID, CONTRACT, SLOT, account_proof, storage_proof, raw, voucher)


def evidence(
    index: int = INDEX,
    size: int = 7,
    *,
    witnesses: Sequence[SigningKey] = (),
    sealers: Sequence[PrivateKey] | None = None,
    accounts: int = 12,
    **changes: object,
) -> Evidence:
    """A record, its receipt and a trust file with which every step is checked."""
    path, root = path_of(RECORD, index, size)
    signed = checkpoint(root, size, witnesses=witnesses)
    proof = anchor(signed, sealers=sealers, accounts=accounts, **changes)
    return Evidence(RECORD, Receipt(index, path, signed, proof), trust_in(proof, witnesses))


def trust_in(proof: Anchor, witnesses: Sequence[SigningKey] = ()) -> Trust:
    """Trust in the log's key, in the block of that anchor or its validators, and in all those witnesses."""
    chain = ChainTrust(CHAIN_ID, CONTRACT)
    if proof.vouched_by == VALIDATORS:
        chain = replace(chain, validators=VALIDATOR_ADDRESSES)
    else:
        chain = replace(chain, header=proof.block().hash)
    keys = tuple(key.verifier for key in witnesses)
    return Trust((LogKey(LOG_KEY.verifier),), chain, WitnessTrust(len(keys), keys) if keys else None)
