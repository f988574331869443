"""Tiles: however leaves arrive, the tiles are the same and every subtree comes out of them."""

from __future__ import annotations

import random

import pytest

from ledger import merkle, tile
from tests.ledger.test_merkle import defined_root

COUNT = 70_000  # three levels of tiles
LEAVES = [number.to_bytes(32, "big") for number in range(COUNT)]


def appended(batches: list[int]) -> dict[tile.Place, bytes]:
    tiles: dict[tile.Place, bytes] = {}
    size = 0
    for count in batches:
        edge = {place: tiles[place] for place in tile.edge(size)}
        tiles.update(tile.extend(size, edge, LEAVES[size : size + count]))
        size += count
    return tiles


@pytest.fixture(scope="module")
def whole() -> dict[tile.Place, bytes]:
    return appended([COUNT])


def test_tiles_do_not_depend_on_how_leaves_arrive(whole: dict[tile.Place, bytes]) -> None:
    chance = random.Random(2)
    batches: list[int] = []
    while (left := COUNT - sum(batches)) > 0:
        batches.append(min(left, chance.choice([1, 2, 255, 256, 257, 1000, 5000])))
    assert appended(batches) == whole


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, COUNT])
def test_root_of_every_earlier_size_comes_out_of_the_tiles(size: int, whole: dict[tile.Place, bytes]) -> None:
    needed = {place: whole[place] for place in tile.places([(0, size)])}
    root = merkle.range_hash((0, size), lambda subtree: tile.subtree_hash(subtree, needed))
    assert root == (defined_root(LEAVES[:size]) if size else merkle.EMPTY_ROOT)
    assert len(needed) <= 6


@pytest.mark.parametrize("index", [0, 255, 256, 65_535, 65_536, COUNT - 1])
def test_path_of_a_leaf_needs_few_tiles(index: int, whole: dict[tile.Place, bytes]) -> None:
    spans = merkle.inclusion_ranges(index, COUNT)
    needed = {place: whole[place] for place in tile.places(spans)}
    path = [merkle.range_hash(span, lambda subtree: tile.subtree_hash(subtree, needed)) for span in spans]
    assert merkle.root_from_inclusion(index, COUNT, LEAVES[index], path) == defined_root(LEAVES)
    assert len(needed) <= 6


def test_a_tile_that_was_undone_leaves_no_hash_behind() -> None:
    first, second = (b"".join(LEAVES[start : start + tile.WIDTH]) for start in (0, 1000))
    for content, start in [(first, 0), (second, 1000), (first, 0)]:
        for level in range(tile.HEIGHT):
            index = (tile.WIDTH >> level) - 1
            span = LEAVES[start + (index << level) : start + (index + 1 << level)]
            assert tile.subtree_hash((level, index), {(0, 0): content}) == defined_root(span)
