"""Does the chain hold this checkpoint? Needs the standard library alone, no flexpact.

    python checkpoint_to_header.py RECEIPT [--chain ID] [--contract 0x...] [--block 0x...]

From the receipt's checkpoint follows the word that the contract must hold in its slot 0. The proofs in the
receipt lead from that word to the contract's account and to the state root in a block header. Printed are
chain, contract, and the block's number, time and hash, to be held against what you know of the chain: give
them as options, and a difference is exit 1. Whether the log signed the checkpoint is for
leaf_to_checkpoint.py to say. The seals of a QBFT chain's validators are counted here, not checked. The
formats are told in docs/evidence.md.
"""

import argparse
import base64
import sys
from datetime import datetime, timezone
from typing import Any, NoReturn


def fail(reason: str) -> NoReturn:
    print(f"FAILED: {reason}")
    sys.exit(1)


# --- Keccak-256 (FIPS 202's permutation, with the padding byte 0x01 of Ethereum) ---

MASK = 2**64 - 1
ROTATIONS = (
    (0, 36, 3, 41, 18),
    (1, 44, 10, 45, 2),
    (62, 6, 43, 15, 61),
    (28, 55, 25, 21, 56),
    (27, 20, 39, 8, 14),
)


def rounds() -> list[int]:
    """The 24 round constants, from the shift register that defines them."""
    constants, register = [], 1
    for _ in range(24):
        constant = 0
        for place in range(7):
            constant |= (register & 1) << (2**place - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return constants


ROUNDS = rounds()


def turned(word: int, by: int) -> int:
    return (word << by | word >> 64 - by) & MASK


def permute(a: list[list[int]]) -> list[list[int]]:
    for constant in ROUNDS:
        c = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
        d = [c[x - 1] ^ turned(c[(x + 1) % 5], 1) for x in range(5)]
        b = [[0] * 5 for _ in range(5)]
        for x in range(5):
            for y in range(5):
                b[y][(2 * x + 3 * y) % 5] = turned(a[x][y] ^ d[x], ROTATIONS[x][y])
        a = [[b[x][y] ^ (~b[(x + 1) % 5][y] & MASK & b[(x + 2) % 5][y]) for y in range(5)] for x in range(5)]
        a[0][0] ^= constant
    return a


def keccak(data: bytes) -> bytes:
    rate = 136
    padded = bytearray(data + b"\x01" + bytes(-(len(data) + 1) % rate))
    padded[-1] |= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for start in range(0, len(padded), rate):
        for i in range(rate // 8):
            lanes[i % 5][i // 5] ^= int.from_bytes(padded[start + 8 * i : start + 8 * i + 8], "little")
        lanes = permute(lanes)
    return b"".join(lanes[x][0].to_bytes(8, "little") for x in range(4))


# --- RLP: a byte string, or a list of items ---


def decode(data: bytes) -> Any:
    item, rest = split(data)
    if rest:
        fail("anchor: bytes after the end of an RLP item")
    return item


def split(data: bytes) -> tuple[Any, bytes]:
    first = data[0]
    if first < 0x80:
        return data[:1], data[1:]
    base, start = (0x80 if first < 0xC0 else 0xC0), 1
    length = first - base
    if length > 55:
        start, length = length - 54, int.from_bytes(data[1 : length - 54], "big")
    payload, rest = data[start : start + length], data[start + length :]
    if len(payload) != length or prefix(base, length) != data[:start]:
        fail("anchor: an RLP length is wrong")
    if base == 0x80:
        return payload, rest
    items = []
    while payload:
        item, payload = split(payload)
        items.append(item)
    return items, rest


def encode(item: Any) -> bytes:
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < 0x80 else prefix(0x80, len(item)) + item
    payload = b"".join(map(encode, item))
    return prefix(0xC0, len(payload)) + payload


def prefix(base: int, length: int) -> bytes:
    if length <= 55:
        return bytes([base + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(size)]) + size


# --- A Merkle Patricia proof: each node is the one whose hash its parent names ---


def nibbles(data: bytes) -> list[int]:
    return [half for byte in data for half in (byte >> 4, byte & 15)]


def prove(what: str, root: bytes, key: bytes, nodes: list[bytes]) -> bytes:
    """The value under the key in the trie with that root."""
    reference: Any = root
    left, way = list(nodes), nibbles(keccak(key))
    while True:
        if isinstance(reference, bytes):
            if not left or keccak(left[0]) != reference:
                got = keccak(left[0]).hex() if left else "no node"
                fail(f"{what}: expected a node with hash {reference.hex()}, got {got}")
            node = decode(left.pop(0))
        else:
            node = reference  # a node below 32 bytes stands in its parent
        if len(node) == 17:
            reference, way = node[way[0]], way[1:]
            continue
        compact = nibbles(node[0])
        part = compact[1:] if compact[0] & 1 else compact[2:]
        if way[: len(part)] != part:
            fail(f"{what}: the proof shows that there is none")
        reference, way = node[1], way[len(part) :]
        if compact[0] & 2:
            if way or left:
                fail(f"{what}: the proof is longer than needed")
            return bytes(reference)


# --- The receipt ---


def raw(text: str) -> bytes:
    found = base64.b64decode(text, validate=True)
    return found if base64.b64encode(found).decode() == text else fail(f"receipt: not base64: {text}")


def stretched(squeezed: bytes) -> bytes:
    """The anchor with its runs of zeros, each of which is kept as a zero and its length."""
    out, at = bytearray(), 0
    while at < len(squeezed):
        if squeezed[at]:
            out.append(squeezed[at])
            at += 1
        else:
            out += bytes(squeezed[at + 1])
            at += 2
    return bytes(out)


def block_hash(header: bytes, voucher: bytes) -> tuple[bytes, int]:
    """The hash that the chain knows the block by (QBFT's leaves out round and seals), and its seals."""
    if voucher == b"aggregator":
        return keccak(header), 0
    fields = decode(header)
    vanity, validators, vote, _round, seals = decode(fields[12])
    bare = encode([vanity, validators, vote, b"", []])
    return keccak(encode([*fields[:12], bare, *fields[13:]])), len(seals)


def main() -> None:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("receipt")
    for name in ("chain", "contract", "block"):
        parser.add_argument(f"--{name}")
    options = parser.parse_args()
    with open(options.receipt, encoding="utf-8", newline="") as file:
        head, _, note = file.read().partition("\n\n")
    lines = head.split("\n")
    if lines[0] != "c2sp.org/tlog-proof@v1":
        fail(f"receipt: expected c2sp.org/tlog-proof@v1, got {lines[0]}")
    version, _, squeezed = raw(lines[1].removeprefix("extra ")).partition(b"\n")
    if version != b"flexpact-receipt/v1":
        fail(f"receipt: expected flexpact-receipt/v1, got {version!r}")
    chain, contract, slot, account_nodes, storage_nodes, header, voucher = decode(stretched(squeezed))
    _, size, root, *_ = note.split("\n")
    word = keccak(int(size).to_bytes(32, "big") + raw(root))
    fields = decode(header)
    account = decode(prove("account", fields[3], contract, account_nodes))
    held = decode(prove("storage", account[2], slot.rjust(32, b"\0"), storage_nodes)).rjust(32, b"\0")
    if held != word or slot:
        fail(f"storage: expected {word.hex()} in slot 0, got {held.hex()} in slot 0x{slot.hex()}")
    digest, seals = block_hash(header, voucher)
    number, seconds = (int.from_bytes(fields[place], "big") for place in (8, 11))
    chain_id = str(int.from_bytes(chain, "big"))
    found = {"chain": chain_id, "contract": f"0x{contract.hex()}", "block": f"0x{digest.hex()}"}
    for name, value in found.items():
        if getattr(options, name) not in (None, value):
            fail(f"{name}: expected {getattr(options, name)}, got {value}")
    at = datetime.fromtimestamp(seconds, timezone.utc).isoformat()
    print(f"ok: contract {found['contract']} on chain {chain_id} holds the checkpoint of {size} leaves")
    print(f"in block {number} of {at}, hash {found['block']}, with {seals} seals that are not checked here")


if __name__ == "__main__":
    try:
        main()
    except (
        ValueError,
        IndexError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        OSError,
    ) as error:
        fail(f"the receipt is not what it should be: {error}")
