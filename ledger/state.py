"""What an Ethereum state proof says, checked by ourselves: RLP, block headers, and Merkle Patricia proofs.

A proof is the list of trie nodes from the root to the leaf. Each node must be the one whose hash its parent
names, none may be missing and none may be left over. RLP is read strictly: one encoding for each value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from Crypto.Hash import keccak

from ledger.errors import MalformedError, VerificationError

Item = bytes | list["Item"]

ADDRESS_BYTES = 20
SHORT = 55
"""RLP lengths up to this many bytes stand in the first byte."""
HEADER_FIELDS = range(15, 32)
"""A header has 15 fields before the London fork, 20 in Cancun; later forks only add at the end."""
_BRANCH, _PAIR = 17, 2


def keccak256(raw: bytes) -> bytes:
    """Keccak-256, the hash of Ethereum (not SHA3-256, which pads differently)."""
    return keccak.new(digest_bits=256, data=raw).digest()


def contract_address(maker: bytes, nonce: int) -> bytes:
    """The address of the contract that an account makes with its transaction of that nonce."""
    return keccak256(rlp_encode([maker, encode_integer(nonce)]))[12:]


def rlp_encode(item: Item | Sequence[Item]) -> bytes:
    """RLP of a byte string or of a list of items."""
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < 0x80 else _prefix(0x80, len(item)) + item
    payload = b"".join(rlp_encode(part) for part in item)
    return _prefix(0xC0, len(payload)) + payload


def rlp_decode(step: str, raw: bytes) -> Item:
    """The value that RLP bytes stand for; MalformedError unless they are its one encoding, to the last
    byte.
    """
    item, end = _read(step, raw, 0, len(raw))
    if end != len(raw):
        raise MalformedError(step, f"{len(raw) - end} bytes after the end of the RLP item")
    return item


EMPTY_TRIE = keccak256(b"\x80")
"""The root of a trie without entries: the hash of RLP's empty text."""


@dataclass(frozen=True, slots=True)
class Header:
    """A block header, as far as a receipt needs it; `timestamp`: seconds since 1970, the chain's clock."""

    hash: bytes
    state_root: bytes
    number: int
    timestamp: int

    @classmethod
    def decode(cls, raw: bytes) -> Header:
        """The header in RLP form; its hash is that of the bytes as they are."""
        fields = header_fields(raw)
        state_root, number, timestamp = fields[3], fields[8], fields[11]
        if not isinstance(state_root, bytes) or len(state_root) != 32:
            raise MalformedError("header", "the state root is not 32 bytes")
        return cls(keccak256(raw), state_root, integer("header", number), integer("header", timestamp))


def header_fields(raw: bytes) -> list[Item]:
    """The fields of a block header in RLP form; MalformedError if it has another shape."""
    fields = rlp_decode("header", raw)
    if isinstance(fields, bytes) or len(fields) not in HEADER_FIELDS:
        raise MalformedError("header", "the RLP is not a block header")
    return fields


def prove_storage(
    state_root: bytes,
    contract: bytes,
    slot: int,
    account_proof: Sequence[bytes],
    storage_proof: Sequence[bytes],
) -> bytes:
    """The 32-byte word that a contract holds in a slot under that state root, zero if it never wrote there.

    VerificationError names the step, `account` or `storage`, at which the proof does not hold.
    """
    account = prove("account", state_root, contract, account_proof)
    if account is None:
        raise VerificationError(
            "account", "the chain's state has no such contract", expected=f"0x{contract.hex()}", got="absent"
        )
    fields = rlp_decode("account", account)
    if (
        isinstance(fields, bytes)
        or len(fields) != 4
        or not isinstance(fields[2], bytes)
        or len(fields[2]) != 32
    ):
        raise MalformedError("account", "the proven value is not an account")
    word = prove("storage", fields[2], slot.to_bytes(32, "big"), storage_proof)
    if word is None:
        return bytes(32)
    value = rlp_decode("storage", word)
    if not isinstance(value, bytes) or len(value) > 32:
        raise MalformedError("storage", "the proven value is not a word")
    return value.rjust(32, b"\0")


def prove(step: str, root: bytes, key: bytes, nodes: Sequence[bytes]) -> bytes | None:
    """The value under `key` in the secure trie with that root, or None if the proof shows that there is
    none.
    """
    path = _nibbles(keccak256(key))
    left = list(reversed(nodes))
    if root == EMPTY_TRIE:  # its one node is left out of proofs
        return _finish(step, None, left)
    reference: Item = root
    while True:
        node = _resolve(step, reference, left)
        if len(node) == _BRANCH:
            reference, path = node[path[0]], path[1:]
        else:
            shared, is_leaf = _compact_path(step, node[0])
            if path[: len(shared)] != shared or (is_leaf and len(path) != len(shared)):
                return _finish(step, None, left)
            if is_leaf:
                return _finish(step, node[1], left)
            reference, path = node[1], path[len(shared) :]
        if reference == b"":
            return _finish(step, None, left)
        if not path:
            raise MalformedError(step, "the trie is deeper than its keys are long")


def _resolve(step: str, reference: Item, left: list[bytes]) -> list[Item]:
    if isinstance(reference, list):  # a node below 32 bytes stands inside its parent
        node: Item = reference
    else:
        if not left:
            raise VerificationError(
                step, "a node is missing from the proof", expected=reference.hex(), got="the end of the proof"
            )
        raw = left.pop()
        if keccak256(raw) != reference:
            raise VerificationError(
                step,
                "a node of the proof has another hash",
                expected=reference.hex(),
                got=keccak256(raw).hex(),
            )
        node = rlp_decode(step, raw)
    if isinstance(node, bytes) or len(node) not in (_BRANCH, _PAIR):
        raise MalformedError(step, "a node of the proof is neither branch, extension nor leaf")
    return node


def _finish(step: str, value: Item | None, left: list[bytes]) -> bytes | None:
    if left:
        raise MalformedError(step, f"{len(left)} nodes of the proof are not needed")
    if isinstance(value, list):
        raise MalformedError(step, "a leaf holds a list instead of a value")
    return value


def _compact_path(step: str, raw: Item) -> tuple[list[int], bool]:
    if isinstance(raw, list) or not raw or raw[0] >> 4 > 3 or (not raw[0] & 0x10 and raw[0] & 0x0F):
        raise MalformedError(step, "a node of the proof has no valid path")
    nibbles = _nibbles(raw)
    return nibbles[1:] if nibbles[0] & 1 else nibbles[2:], bool(nibbles[0] & 2)


def _nibbles(raw: bytes) -> list[int]:
    return [nibble for byte in raw for nibble in (byte >> 4, byte & 0x0F)]


def encode_integer(number: int) -> bytes:
    """A number as RLP holds it: big endian, without leading zeros."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def integer(step: str, item: Item) -> int:
    """The number below 2^64 that an RLP item stands for; MalformedError if it is not in its one form."""
    if isinstance(item, list) or len(item) > 8 or item[:1] == b"\0":
        raise MalformedError(step, "a number is not written in its one form")
    return int.from_bytes(item, "big")


def _prefix(base: int, length: int) -> bytes:
    if length <= SHORT:
        return bytes([base + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([base + SHORT + len(size)]) + size


def _read(step: str, raw: bytes, at: int, stop: int, depth: int = 0) -> tuple[Item, int]:
    if at >= stop or depth > 4:  # a header, an account and a trie node nest at most three deep
        raise MalformedError(step, "RLP ends too early or nests too deep")
    first = raw[at]
    if first < 0x80:
        return raw[at : at + 1], at + 1
    base = 0x80 if first < 0xC0 else 0xC0
    start, length = at + 1, first - base
    if length > SHORT:
        size = raw[start : start + length - SHORT]
        start, length = start + len(size), int.from_bytes(size, "big")
    end = start + length
    if end > stop or raw[at:start] != _prefix(base, length):
        raise MalformedError(step, "RLP length is wrong or not in its one form")
    if base == 0x80:
        if length == 1 and raw[start] < 0x80:
            raise MalformedError(step, "RLP of a small byte is not in its one form")
        return raw[start:end], end
    items: list[Item] = []
    while start < end:
        item, start = _read(step, raw, start, end, depth + 1)
        items.append(item)
    return items, end
