"""The tree against the definition of RFC 6962, written down a second time, and against published vectors."""

from __future__ import annotations

from hashlib import sha256

import pytest

from ledger import merkle
from ledger.errors import VerificationError

# Inputs and roots of the test tree that Certificate Transparency implementations share.
SHARED_INPUTS = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
SHARED_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
MOST = 33


def defined_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


LEAVES = [merkle.leaf_hash(b"", bytes([number])) for number in range(MOST)]


def hashed(span: merkle.Range) -> bytes:
    return defined_root(LEAVES[span[0] : span[1]])


def test_shared_vectors_are_met() -> None:
    leaves = [merkle.leaf_hash(b"", bytes.fromhex(text)) for text in SHARED_INPUTS]
    for size, root in SHARED_ROOTS.items():
        computed = merkle.range_hash(
            (0, size), lambda s: merkle.complete_root(leaves[s[1] << s[0] : (s[1] + 1) << s[0]])
        )
        assert computed.hex() == root


def test_empty_tree_is_the_hash_of_nothing() -> None:
    empty = merkle.range_hash((0, 0), lambda _: b"")
    assert empty.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", range(1, MOST + 1))
def test_every_leaf_of_a_tree_has_a_path_to_its_root(size: int) -> None:
    for index in range(size):
        path = [hashed(span) for span in merkle.inclusion_ranges(index, size)]
        assert merkle.root_from_inclusion(index, size, LEAVES[index], path) == hashed((0, size))


@pytest.mark.parametrize("size", range(2, 12))
def test_a_changed_path_or_place_leads_elsewhere(size: int) -> None:
    root = hashed((0, size))
    for index in range(size):
        path = [hashed(span) for span in merkle.inclusion_ranges(index, size)]
        for position in range(len(path)):
            changed = [*path[:position], bytes(32), *path[position + 1 :]]
            assert merkle.root_from_inclusion(index, size, LEAVES[index], changed) != root
        for other in range(size):
            if other != index and len(merkle.inclusion_ranges(other, size)) == len(path):
                assert merkle.root_from_inclusion(other, size, LEAVES[index], path) != root


def test_a_path_of_the_wrong_length_is_refused() -> None:
    path = [hashed(span) for span in merkle.inclusion_ranges(3, 7)]
    for wrong in (path[:-1], [*path, bytes(32)]):
        with pytest.raises(VerificationError, match=f"expected 3, got {len(wrong)}"):
            merkle.root_from_inclusion(3, 7, LEAVES[3], wrong)


@pytest.mark.parametrize("index", [-1, 7, 8])
def test_a_leaf_outside_the_tree_is_refused(index: int) -> None:
    with pytest.raises(VerificationError, match="outside"):
        merkle.root_from_inclusion(index, 7, LEAVES[0], [])
    with pytest.raises(ValueError, match="not in a tree"):
        merkle.inclusion_ranges(index, 7)


@pytest.mark.parametrize("new", range(1, MOST + 1))
def test_growth_is_shown_from_every_earlier_size(new: int) -> None:
    for old in range(1, new + 1):
        path = [hashed(span) for span in merkle.consistency_ranges(old, new)]
        merkle.check_consistency(old, hashed((0, old)), new, hashed((0, new)), path)
        with pytest.raises(VerificationError):
            merkle.check_consistency(old, hashed((0, old)), new, bytes(32), path)


def test_every_tree_extends_the_empty_one() -> None:
    merkle.check_consistency(0, merkle.EMPTY_ROOT, 5, hashed((0, 5)), [])
    with pytest.raises(VerificationError, match="another root"):
        merkle.check_consistency(0, bytes(32), 5, hashed((0, 5)), [])


@pytest.mark.parametrize(("old", "new"), [(1, 2), (3, 7), (4, 8), (6, 13), (8, 8), (5, 6)])
def test_a_log_that_did_not_only_grow_is_found(old: int, new: int) -> None:
    path = [hashed(span) for span in merkle.consistency_ranges(old, new)]
    before, after = hashed((0, old)), hashed((0, new))
    cases = [(bytes(32), after, path), (before, bytes(32), path)]
    cases += [(before, after, [*path[:at], bytes(32), *path[at + 1 :]]) for at in range(len(path))]
    for old_root, new_root, nodes in cases:
        with pytest.raises(VerificationError, match="consistency"):
            merkle.check_consistency(old, old_root, new, new_root, nodes)
    with pytest.raises(VerificationError, match="wrong length"):
        merkle.check_consistency(old, before, new, after, [*path, bytes(32)])


def test_a_shrunken_log_is_found() -> None:
    with pytest.raises(VerificationError, match="smaller"):
        merkle.check_consistency(5, bytes(32), 4, bytes(32), [])
    with pytest.raises(ValueError, match="cannot extend"):
        merkle.consistency_ranges(5, 4)
