"""State proofs, against the trie that py-evm uses, and everything that a proof must not be."""

from __future__ import annotations

import random
from typing import Any

import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st
from trie.hexary import HexaryTrie

from ledger import state
from ledger.errors import MalformedError, VerificationError

items = st.recursive(st.binary(max_size=80), lambda inner: st.lists(inner, max_size=4), max_leaves=8)


def tree(entries: dict[bytes, bytes]) -> tuple[bytes, Any]:
    """A secure trie over these entries: its root and the oracle that proves keys."""
    trie = HexaryTrie({})
    for key, value in entries.items():
        trie[state.keccak256(key)] = value
    return trie.root_hash, trie


def proof(trie: Any, key: bytes) -> list[bytes]:
    return [rlp.encode(node) for node in trie.get_proof(state.keccak256(key))]


def random_entries(count: int, seed: int) -> dict[bytes, bytes]:
    chance = random.Random(seed)
    return {
        chance.randbytes(20): chance.randbytes(chance.choice([1, 5, 31, 32, 33, 70])) for _ in range(count)
    }


def test_keccak_is_the_one_of_ethereum() -> None:
    assert state.keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


@given(items)
def test_rlp_is_what_the_reference_library_writes(item: state.Item) -> None:
    encoded = rlp.encode(item)
    assert state.rlp_encode(item) == encoded
    if _depth(item) <= 4:
        assert state.rlp_decode("x", encoded) == item


def _depth(item: state.Item) -> int:
    return 0 if isinstance(item, bytes) else 1 + max((_depth(part) for part in item), default=0)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("", id="nothing"),
        pytest.param("8100", id="a small byte with a length"),
        pytest.param("b800", id="a long form for nothing"),
        pytest.param("b80161", id="a long form for one byte"),
        pytest.param("b90001" + "61", id="a length with a leading zero"),
        pytest.param("b9", id="a length that is cut off"),
        pytest.param("826161" + "00", id="a byte after the end"),
        pytest.param("8361", id="fewer bytes than announced"),
        pytest.param("c28361", id="an item that leaves its list"),
        pytest.param("c3826161" + "61", id="a byte after a list"),
        pytest.param("c6c5c4c3c2c1c0", id="lists nested deeper than any proof"),
        pytest.param("bfffffffffffffffff", id="a length beyond all memory"),
        pytest.param("c1", id="a list without its item"),
    ],
)
def test_rlp_in_any_other_form_is_refused(raw: str) -> None:
    with pytest.raises(MalformedError):
        state.rlp_decode("x", bytes.fromhex(raw))


@pytest.mark.parametrize("count", [1, 2, 3, 17, 300])
def test_every_entry_of_a_trie_is_proven(count: int) -> None:
    entries = random_entries(count, count)
    root, trie = tree(entries)
    for key, value in entries.items():
        assert state.prove("x", root, key, proof(trie, key)) == value


@pytest.mark.parametrize("count", [1, 2, 17, 300])
def test_absence_is_proven(count: int) -> None:
    root, trie = tree(random_entries(count, count))
    for key in random_entries(60, 99):
        assert state.prove("x", root, key, proof(trie, key)) is None


def test_entries_that_share_their_first_nibbles_are_proven() -> None:
    # Among many keys some hashes share several nibbles, which makes extension nodes and nodes inside nodes.
    entries = {number.to_bytes(4, "big"): b"\x01" for number in range(3000)}
    root, trie = tree(entries)
    for key in list(entries)[::37]:
        assert state.prove("x", root, key, proof(trie, key)) == b"\x01"


def test_a_changed_missing_or_added_node_is_refused() -> None:
    entries = random_entries(300, 1)
    root, trie = tree(entries)
    key = next(iter(entries))
    nodes = proof(trie, key)
    assert len(nodes) >= 2
    for at, node in enumerate(nodes):
        changed = bytes([*node[:-1], node[-1] ^ 1])
        for wrong in ([*nodes[:at], changed, *nodes[at + 1 :]], [*nodes[:at], *nodes[at + 1 :]]):
            with pytest.raises(VerificationError):
                state.prove("x", root, key, wrong)
    with pytest.raises(MalformedError, match="1 nodes of the proof are not needed"):
        state.prove("x", root, key, [*nodes, nodes[-1]])
    with pytest.raises(VerificationError, match="missing"):
        state.prove("x", root, key, [])


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        pytest.param(b"abc", "neither branch", id="a text"),
        pytest.param([b"a", b"b", b"c"], "neither branch", id="three parts"),
        pytest.param([b"", b"x"], "no valid path", id="no path"),
        pytest.param([[b""], b"x"], "no valid path", id="a list as path"),
        pytest.param([b"\x40", b"x"], "no valid path", id="an unknown flag"),
        pytest.param([b"\x01", b"x"], "no valid path", id="padding that is not zero"),
    ],
)
def test_a_node_that_no_trie_holds_is_refused(node: state.Item, reason: str) -> None:
    raw = state.rlp_encode(node)
    with pytest.raises(MalformedError, match=reason):
        state.prove("x", state.keccak256(raw), b"key", [raw])


def test_an_empty_trie_proves_absence_without_nodes() -> None:
    root, trie = tree({})
    assert root == state.EMPTY_TRIE
    assert state.prove("x", root, b"key", proof(trie, b"key")) is None
    with pytest.raises(MalformedError, match="not needed"):
        state.prove("x", root, b"key", [b"\x80"])


def test_a_leaf_with_a_list_as_value_is_refused() -> None:
    path = state.keccak256(b"key")
    raw = state.rlp_encode([b"\x20" + path, [b"x"]])
    with pytest.raises(MalformedError, match="list instead of a value"):
        state.prove("x", state.keccak256(raw), b"key", [raw])


def test_a_trie_deeper_than_its_keys_is_refused() -> None:
    below = state.rlp_encode([b""] * 17)
    raw = state.rlp_encode([b"\x00" + state.keccak256(b"key"), state.keccak256(below)])
    with pytest.raises(MalformedError, match="deeper"):
        state.prove("x", state.keccak256(raw), b"key", [raw, below])


CONTRACT = bytes(range(20))
WORD = bytes([0, 0, *range(1, 31)])


def account(storage_root: bytes) -> bytes:
    return state.rlp_encode([b"", b"", storage_root, state.keccak256(b"code")])


def stored(slot: int, word: bytes) -> tuple[bytes, list[bytes], list[bytes]]:
    storage_root, storage = tree({slot.to_bytes(32, "big"): state.rlp_encode(word.lstrip(b"\0"))})
    state_root, accounts = tree({CONTRACT: account(storage_root), bytes(20): account(storage_root)})
    return state_root, proof(accounts, CONTRACT), proof(storage, slot.to_bytes(32, "big"))


def test_the_word_in_a_slot_is_proven_with_its_leading_zeros() -> None:
    root, accounts, storage = stored(3, WORD)
    assert state.prove_storage(root, CONTRACT, 3, accounts, storage) == WORD


def test_a_slot_that_was_never_written_holds_zero() -> None:
    storage_root, storage = tree({(1).to_bytes(32, "big"): b"\x01"})
    root, accounts = tree({CONTRACT: account(storage_root)})
    nodes = proof(storage, bytes(32))
    assert state.prove_storage(root, CONTRACT, 0, proof(accounts, CONTRACT), nodes) == bytes(32)


def test_a_contract_that_does_not_exist_is_named() -> None:
    root, accounts = tree({bytes(20): account(bytes(32))})
    with pytest.raises(VerificationError, match=f"account: .*expected 0x{CONTRACT.hex()}, got absent"):
        state.prove_storage(root, CONTRACT, 0, proof(accounts, CONTRACT), [])


@pytest.mark.parametrize(
    "value", [b"text", state.rlp_encode([b"", b"", b"short", b""]), state.rlp_encode([b""])]
)
def test_an_account_of_another_shape_is_refused(value: bytes) -> None:
    root, accounts = tree({CONTRACT: value})
    with pytest.raises(MalformedError, match="account"):
        state.prove_storage(root, CONTRACT, 0, proof(accounts, CONTRACT), [])


@pytest.mark.parametrize("value", [state.rlp_encode([b"x"]), state.rlp_encode(bytes(33))])
def test_a_slot_that_holds_no_word_is_refused(value: bytes) -> None:
    storage_root, storage = tree({bytes(32): value})
    root, accounts = tree({CONTRACT: account(storage_root)})
    with pytest.raises(MalformedError, match="not a word"):
        state.prove_storage(root, CONTRACT, 0, proof(accounts, CONTRACT), proof(storage, bytes(32)))


def header(**changes: state.Item) -> bytes:
    fields: dict[int, state.Item] = dict.fromkeys(range(20), b"")
    fields[3], fields[8], fields[11] = bytes(32), b"\x05", b"\x69\x6e\xc5\x00"
    fields.update({int(name[1:]): value for name, value in changes.items()})
    return state.rlp_encode([fields[number] for number in sorted(fields)])


def test_a_header_gives_its_state_root_number_and_time() -> None:
    raw = header()
    decoded = state.Header.decode(raw)
    assert (decoded.number, decoded.timestamp, decoded.state_root) == (5, 0x696EC500, bytes(32))
    assert decoded.hash == state.keccak256(raw)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(state.rlp_encode(b"text"), id="a text"),
        pytest.param(state.rlp_encode([b""] * 14), id="too few fields"),
        pytest.param(header(f3=b"short"), id="a short state root"),
        pytest.param(header(f3=[b"x"]), id="a list as state root"),
        pytest.param(header(f8=b"\x00\x05"), id="a number with a leading zero"),
        pytest.param(header(f11=b"\x01" * 9), id="a time beyond 64 bits"),
        pytest.param(header(f11=[b"\x01"]), id="a list as time"),
    ],
)
def test_what_is_no_header_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError, match="header"):
        state.Header.decode(raw)


def test_address_of_a_new_contract_follows_from_maker_and_nonce() -> None:
    # The first contract on the main network that this well-known maker made with nonce 0.
    maker = bytes.fromhex("6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0")
    assert state.contract_address(maker, 0).hex() == "cd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"
