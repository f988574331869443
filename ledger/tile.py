"""How the tree's hashes are kept: tiles of up to 256 neighbouring hashes, eight levels of the tree apart.

Tile (0, t) holds the leaf hashes 256 t ... 256 t + 255, tile (1, t) the roots of the level-0 tiles 256 t
..., and so on. Only the last tile of a level is ever rewritten, so appending costs one hash for each leaf
and few rows for many leaves, and a proof reads a handful of rows. Everything between is computed again from
the tile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256

from ledger.merkle import HASH_BYTES, Range, Subtree, subtrees

HEIGHT = 8
WIDTH = 1 << HEIGHT
LEVELS = 8
"""Tile levels up to 2^64 leaves."""

_KEPT_TILES = 64
"""Tiles whose inner hashes are kept, a megabyte: the upper ones are those of nearly every proof. They are
found by their content, so a tile that changed, or a change that was undone, never gives an old hash.
"""

Place = tuple[int, int]
"""(level, tile index)."""


def edge(size: int) -> list[Place]:
    """The partly filled tiles of a tree: those that the next leaf may touch."""
    places = []
    for level in range(LEVELS):
        count = size >> (HEIGHT * level)
        if count == 0:
            break
        if count % WIDTH:
            places.append((level, count // WIDTH))
    return places


def extend(size: int, tiles: Mapping[Place, bytes], leaves: Sequence[bytes]) -> dict[Place, bytes]:
    """The tiles that change when leaves are appended to a tree of `size`, given the content of its `edge`."""
    changed: dict[Place, bytes] = {}
    hashes = leaves
    for level in range(LEVELS):
        if not hashes:
            break
        index, filled = divmod(size >> (HEIGHT * level), WIDTH)
        kept = tiles[level, index][: filled * HASH_BYTES] if filled else b""
        row = kept + b"".join(hashes)
        roots = []
        for start in range(0, len(row), WIDTH * HASH_BYTES):
            content = row[start : start + WIDTH * HASH_BYTES]
            changed[level, index] = content
            index += 1
            if len(content) == WIDTH * HASH_BYTES:
                roots.append(_root(content))
        hashes = roots
    return changed


def places(spans: Sequence[Range]) -> set[Place]:
    """The tiles that are needed to hash these ranges."""
    return {place_of(subtree) for span in spans for subtree in subtrees(span)}


def place_of(subtree: Subtree) -> Place:
    """The tile that a complete subtree is computed from."""
    level, index = subtree
    return level // HEIGHT, (index << level % HEIGHT) // WIDTH


def subtree_hash(subtree: Subtree, tiles: Mapping[Place, bytes]) -> bytes:
    """The root of a complete subtree, from the tile that holds it."""
    level, index = subtree
    row = _rows(tiles[place_of(subtree)])[level % HEIGHT]
    start = (index << level % HEIGHT) % WIDTH >> level % HEIGHT
    return row[start * HASH_BYTES : (start + 1) * HASH_BYTES]


@lru_cache(maxsize=_KEPT_TILES)
def _rows(content: bytes) -> list[bytes]:
    """The hashes of a tile, the complete ones above each two of them, and so on."""
    rows = [content]
    while len(rows) < HEIGHT:
        rows.append(_above(rows[-1]))
    return rows


def _root(content: bytes) -> bytes:
    """`merkle.complete_root` of hashes that lie behind each other, a tenth faster."""
    while len(content) > HASH_BYTES:
        content = _above(content)
    return content


def _above(content: bytes) -> bytes:
    pairs = range(2 * HASH_BYTES, len(content) + 1, 2 * HASH_BYTES)
    return b"".join([sha256(b"\x01" + content[at - 2 * HASH_BYTES : at]).digest() for at in pairs])


def split(content: bytes) -> list[bytes]:
    """The hashes in a tile."""
    return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]
