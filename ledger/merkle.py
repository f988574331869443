"""RFC 6962 Merkle trees over SHA-256: hashes, and what inclusion and consistency proofs consist of. Frozen.

Trees are named by their leaf range: `[start, end)` is the tree over these leaves. Whoever makes a proof
asks for a list of ranges and hashes them; whoever checks one needs the path only. Nothing here keeps state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from ledger.errors import VerificationError

EMPTY_ROOT = sha256(b"").digest()
HASH_BYTES = 32

Range = tuple[int, int]
Subtree = tuple[int, int]
"""(level, index): the complete subtree over leaves [index << level, (index + 1) << level)."""


def leaf_hash(salt: bytes, canonical: bytes) -> bytes:
    """SHA-256(0x00 || salt || canonical): RFC 6962 section 2.1 with the salted record as the leaf's input."""
    return sha256(b"\x00" + salt + canonical).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an interior node: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def complete_root(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of neighbouring subtrees of equal height."""
    while len(hashes) > 1:
        hashes = [
            sha256(b"\x01" + left + right).digest()
            for left, right in zip(hashes[::2], hashes[1::2], strict=True)
        ]
    return hashes[0]


def subtrees(span: Range) -> list[Subtree]:
    """The complete subtrees that make up a range which is a node of some tree, left to right."""
    start, end = span
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def range_hash(span: Range, subtree_hash: Callable[[Subtree], bytes]) -> bytes:
    """The Merkle tree hash of a range, from the hashes of its complete subtrees; of no leaves it is SHA-256
    of nothing.
    """
    hashes = [subtree_hash(subtree) for subtree in subtrees(span)]
    if not hashes:
        return EMPTY_ROOT
    root = hashes.pop()
    while hashes:
        root = node_hash(hashes.pop(), root)
    return root


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The ranges whose hashes form the inclusion path of a leaf, from the leaf upwards (RFC 6962 section
    2.1.1).
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    path: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_ranges(old_size: int, new_size: int) -> list[Range]:
    """The ranges whose hashes show that the tree of `new_size` extends that of `old_size` (RFC 6962 section
    2.1.2).
    """
    if not 0 < old_size <= new_size:
        raise ValueError(f"a tree of {new_size} leaves cannot extend one of {old_size}")
    path: list[Range] = []
    start, end = 0, new_size
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    if start > 0:
        path.append((start, end))
    return path[::-1]


def root_from_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """The root that a leaf and its path lead to; VerificationError if the path has the wrong length for
    that leaf.
    """
    if not 0 <= index < size:
        raise VerificationError(
            "inclusion", "the leaf index lies outside the tree", expected=f"below {size}", got=str(index)
        )
    spans = inclusion_ranges(index, size)
    _same_length("inclusion", spans, path)
    root = leaf
    for (start, _), sibling in zip(spans, path, strict=True):
        # The sibling never holds the leaf itself, so it lies to the left exactly if it starts before it.
        root = node_hash(sibling, root) if start < index else node_hash(root, sibling)
    return root


def check_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Nothing if the new tree extends the old one, VerificationError with both roots if the path does not
    show it.
    """
    if old_size > new_size:
        raise VerificationError(
            "consistency", "the newer tree is smaller", expected=f"at least {old_size}", got=str(new_size)
        )
    if old_size == 0:
        _same_length("consistency", [], path)
        _same_root(EMPTY_ROOT, old_root)
        return
    spans = consistency_ranges(old_size, new_size)
    _same_length("consistency", spans, path)
    known = list(zip(spans, path, strict=True))
    if spans and spans[0][1] == old_size and spans[0][0] > 0:
        (_, old), known = known[0], known[1:]
    else:
        old = old_root
    new = old
    for (start, _), sibling in known:
        if start < old_size:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
        else:
            new = node_hash(new, sibling)
    _same_root(old, old_root)
    _same_root(new, new_root)


def _split(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def _same_length(step: str, spans: Sequence[Range], path: Sequence[bytes]) -> None:
    if len(spans) != len(path):
        raise VerificationError(
            step, "the path has the wrong length", expected=str(len(spans)), got=str(len(path))
        )


def _same_root(computed: bytes, claimed: bytes) -> None:
    if computed != claimed:
        raise VerificationError(
            "consistency", "the path leads to another root", expected=claimed.hex(), got=computed.hex()
        )
