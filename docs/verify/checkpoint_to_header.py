"""Does the chain hold this checkpoint? Needs the standard library alone, no flexpact.

    python checkpoint_to_header.py RECEIPT [--chain ID] [--contract 0x...] [--block 0x...] [--trust FILE]

From the receipt's checkpoint follows the word that the contract must hold in its slot 0. The proofs in the
receipt lead from that word to the contract's account and to the state root in a block header. Printed are
chain, contract, and the block's number, time and hash, to be held against what you know of the chain: give
them as options, or as the [chain] section of a trust file (Python 3.11), and a difference is exit 1.
Whether the log signed the checkpoint is for leaf_to_checkpoint.py to say. The seals of a QBFT chain are held
against the validators of the trust file, those of the block's time where they changed; without one they are
counted, not checked. The formats are told in docs/evidence.md.
"""

import argparse
import base64
import hashlib
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


# --- A seal: r, s and recovery id on the curve secp256k1 ---

P = 2**256 - 2**32 - 977
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
Point = Any  # two numbers, or None: the point at infinity
BASE: Point = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def plus(one: Point, two: Point) -> Point:
    """The sum of two points."""
    if one is None or two is None:
        return one or two
    (x1, y1), (x2, y2) = one, two
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    slope = 3 * x1 * x1 * pow(2 * y1, -1, P) if one == two else (y2 - y1) * pow(x2 - x1, -1, P)
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def times(factor: int, point: Point) -> Point:
    total: Point = None
    while factor:
        if factor & 1:
            total = plus(total, point)
        point, factor = plus(point, point), factor >> 1
    return total


def sealer(seal: bytes, digest: bytes) -> str:
    """The address whose key made this signature over that hash (SEC 1, section 4.1.6)."""
    r, s, way = int.from_bytes(seal[:32], "big"), int.from_bytes(seal[32:64], "big"), seal[64]
    x = r + (way >> 1) * ORDER
    y = pow(x**3 + 7, (P + 1) // 4, P)
    if len(seal) != 65 or way > 3 or not 0 < r < ORDER > s > 0 or x >= P or (y * y - x**3 - 7) % P:
        fail(f"seals: expected r, s and recovery id, got 0x{seal.hex()}")
    inverse = pow(r, -1, ORDER)
    own = times(s * inverse % ORDER, (x, y if y & 1 == way & 1 else P - y))
    key = plus(own, times(-int.from_bytes(digest, "big") * inverse % ORDER, BASE))
    if key is None:
        fail(f"seals: expected a key behind each seal, got none behind 0x{seal.hex()}")
    return "0x" + keccak(b"".join(part.to_bytes(32, "big") for part in key))[12:].hex()


# --- The trust file: its [chain] section ---


def chain_of(file: str) -> dict[str, Any]:
    """The section, if the check value is that of the lines below it."""
    import tomllib  # noqa: PLC0415 - from Python 3.11 on; without a trust file older ones will do

    with open(file, "rb") as opened:
        text = opened.read().decode()
    fields, body = tomllib.loads(text), text.partition("\n\n")[2]
    if fields["format"] != "flexpact-trust/v1":
        fail(f"trust: expected flexpact-trust/v1, got {fields['format']}")
    if fields["check"] != hashlib.sha256(body.encode()).hexdigest()[:16]:
        fail(f"trust: expected the check value of the lines below it, got {fields['check']}")
    section: dict[str, Any] = fields.get("chain") or fail("trust: expected a section [chain], got none")
    if not section.keys() <= {"id", "contract", "header", "validators"}:
        fail(f"trust: expected id, contract, header and validators, got {', '.join(section)}")
    return section


def validators_of(section: dict[str, Any], number: int) -> list[str]:
    """Who may seal the block of that number: one list for all blocks, or the last set that begins by then."""
    given = section.get("validators", [])
    if not any(isinstance(each, dict) for each in given):
        sets = [(0, given)] if given else []
    elif any(each.keys() != {"from_block", "addresses"} for each in given):
        fail("trust: expected from_block and addresses in each set of validators, got other entries")
    else:
        sets = [(each["from_block"], each["addresses"]) for each in given]
    blocks = [block for block, _ in sets]
    if any(type(block) is not int or not 0 <= block < 2**63 for block in blocks) or blocks != sorted(
        set(blocks)
    ):
        fail(f"trust: expected sets of validators in the order of their blocks, got {blocks}")
    for block, addresses in sets:
        if not addresses or len({bytes.fromhex(one[2:]) for one in addresses}) != len(addresses):
            fail(f"trust: expected validators, each once, got the set from block {block} on: {addresses}")
    holding = [addresses for block, addresses in sets if block <= number]
    if sets and not holding:
        fail(f"seals: expected a block from {blocks[0]} on, got block {number}")
    return list(holding[-1]) if holding else []


def seals_said(header: bytes, voucher: bytes, validators: list[str]) -> str:
    """How the block is sealed, if by two thirds of the validators, where there are any."""
    needed = -(-2 * len(validators) // 3)
    if voucher == b"aggregator":
        return "without seals" if not needed else fail(f"seals: expected {needed} seals, got none")
    fields = decode(header)
    vanity, named, vote, turn, seals = decode(fields[12])
    if len(seals) > 100:
        fail(f"seals: expected at most 100, got {len(seals)}")
    if not validators:
        return f"with {len(seals)} seals that are not checked here"
    signed = keccak(encode([*fields[:12], encode([vanity, named, vote, turn, []]), *fields[13:]]))
    sealers = [sealer(seal, signed) for seal in seals]
    if len(set(sealers)) != len(sealers):
        fail(f"seals: expected each validator once, got {', '.join(sealers)}")
    known = [one for one in sealers if one in validators]
    if len(known) < needed:
        fail(f"seals: expected {needed} of {len(validators)} validators, got {len(known)}")
    return f"sealed by {len(known)} of {len(validators)} validators, {needed} needed"


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


def block_hash(header: bytes, voucher: bytes) -> bytes:
    """The hash that the chain knows the block by: QBFT's leaves out round and seals."""
    if voucher == b"aggregator":
        return keccak(header)
    if voucher != b"validators":
        fail(f"receipt: expected aggregator or validators to vouch for the header, got {voucher!r}")
    fields = decode(header)
    vanity, validators, vote, _round, _seals = decode(fields[12])
    bare = encode([vanity, validators, vote, b"", []])
    return keccak(encode([*fields[:12], bare, *fields[13:]]))


def main() -> None:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("receipt")
    for name in ("chain", "contract", "block", "trust"):
        parser.add_argument(f"--{name}")
    options = parser.parse_args()
    trust = chain_of(options.trust) if options.trust else {}
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
    digest = block_hash(header, voucher)
    number, seconds = (int.from_bytes(fields[place], "big") for place in (8, 11))
    chain_id = str(int.from_bytes(chain, "big"))
    found = {"chain": chain_id, "contract": f"0x{contract.hex()}", "block": f"0x{digest.hex()}"}
    trusted = {"chain": trust.get("id"), "contract": trust.get("contract"), "block": trust.get("header")}
    for name, value in found.items():
        for expected in (getattr(options, name), trusted[name]):
            if expected is not None and str(expected) != value:
                fail(f"{name}: expected {expected}, got {value}")
    seals = seals_said(header, voucher, validators_of(trust, number))
    at = datetime.fromtimestamp(seconds, timezone.utc).isoformat()
    print(f"ok: contract {found['contract']} on chain {chain_id} holds the checkpoint of {size} leaves")
    print(f"in block {number} of {at}, hash {found['block']}, {seals}")


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
        KeyError,
    ) as error:
        fail(f"the receipt is not what it should be: {error}")
