"""Whether the log in a database is the one that was signed: leaves, tiles and checkpoints, row by row.

Leaves are hashed again and the tree is built again from them; each tile must be what comes of it, and its
root what each checkpoint signs. Where a leaf and its tile differ, the next signed root says which of the two
was changed. Whoever holds the log's key can write all of it anew: such a log is found by one checkpoint of
the old one that is kept elsewhere, such as in anyone's receipt.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice

from ledger import offline, tile
from ledger.checkpoint import Checkpoint
from ledger.erasure import KIND, erased_key, erased_ranges, is_authorised, read_erased
from ledger.errors import TamperedError, VerificationError
from ledger.merkle import HASH_BYTES, inclusion_ranges, range_hash, root_from_inclusion
from ledger.receipt import Receipt, commitment
from ledger.record import SALT_BYTES, parse_time
from ledger.trust import Trust
from ledger.verify import Status, Step, check_signature

LEAF, TILE, CHECKPOINT = "ledger_leaf", "ledger_tile", "ledger_checkpoint"

Progress = Callable[[str, int, int], None]
"""Told now and then: what is being checked, how many are done, of how many."""


@dataclass(frozen=True, slots=True)
class Head:
    """What must be the root at a size, and who says so."""

    size: int
    root: bytes
    record: str
    receipt: Receipt | None = None
    """Where the head is that of a receipt: its path tells nearer what was changed."""
    lost: bool = False
    """Whether the key that signed it is declared lost."""


@dataclass(slots=True)
class Tree:
    """The tiles that leaves lead to, built from their hashes as they come."""

    size: int = 0
    tiles: dict[tile.Place, bytes] = field(default_factory=dict)
    """Those that the next root may need."""

    def add(self, hashes: Sequence[bytes]) -> dict[tile.Place, bytes]:
        """Add up to a tile of leaves, beginning at the edge of one; the tiles that this made or changed."""
        changed = tile.extend(self.size, self.tiles, hashes)
        kept = {place: self.tiles[place] for place in tile.edge(self.size) if place not in changed}
        self.tiles = kept | changed
        self.size += len(hashes)
        return changed

    def root(self, size: int) -> bytes:
        """The root of the first `size` leaves, of which the last lies in the last tile that was added."""
        return range_hash((0, size), lambda subtree: tile.subtree_hash(subtree, self.tiles))


def check_log(
    conn: sqlite3.Connection, trust: Trust | None, progress: Progress, outside: Iterable[Head] = ()
) -> Iterator[Step]:
    """The steps one by one; TamperedError names the first row that is not what was signed.

    Without `trust` the signatures are reported as not checked. `outside` are the log's heads that are known
    from elsewhere.
    """
    size = offline.log_size(conn)
    inside = checked_heads(conn, trust)
    tree, signed, lost = Tree(), 0, 0
    demanded = sorted(outside, key=lambda head: head.size)
    hashes = _leaf_hashes(conn, trust)
    head = next(inside, None)
    while batch := list(islice(hashes, tile.WIDTH)):
        number = tree.size // tile.WIDTH
        _same_tile(conn, trust, number, batch)
        for place, content in tree.add(batch).items():
            if len(content) == tile.WIDTH * HASH_BYTES:
                _same_upper_tile(conn, place, content)
        while head is not None and head.size <= tree.size:
            _same_root(conn, head, tree)
            signed, lost = head.size, lost + head.lost
            head = next(inside, None)
        while demanded and demanded[0].size <= tree.size:
            _same_root(conn, demanded.pop(0), tree)
        progress("leaves", tree.size, size)
    _same_end(conn, tree, head, demanded)
    yield _leaves(conn, signed, tree.size)
    yield _signatures(trust, signed, tree.size, lost)


def _leaves(conn: sqlite3.Connection, signed: int, size: int) -> Step:
    """What was found of the leaves; who cannot sign can erase no more than is told here."""
    gone, known = len(read_erased(conn)), len(read_erased(conn, signed))
    text = f"{size} leaves are what the tree was built from"
    if known:
        text += f"; {known} of them were erased, as records in the log say"
    if gone == known:
        return Step("leaves", Status.CHECKED, text)
    text += f"; {gone - known} leaves erased by a record that nobody has signed yet"
    return Step("leaves", Status.NOT_CHECKED, text)


def _check_told(conn: sqlite3.Connection) -> None:
    """TamperedError names the first erasure record that tells of leaves which the log cannot have had."""
    for index, canonical in offline.leaves_like(conn, f"{KIND}/"):
        try:
            ranges = erased_ranges(json.loads(canonical)["body"])
            had = all(0 <= first <= last < index for first, last in ranges)
        except (ValueError, TypeError, KeyError, RecursionError):
            continue  # what cannot be read tells of nothing
        except OverflowError:
            had = False
        if not had:
            raise TamperedError(
                f"{LEAF} {index}", "it tells of the erasure of leaves that are none before it"
            )


def checked_heads(conn: sqlite3.Connection, trust: Trust | None) -> Iterator[Head]:
    """What each checkpoint says, smallest first; TamperedError if its row contradicts itself or is not
    signed by the log.
    """
    for size, word, note, published_at in offline.checkpoints(conn):
        record = f"{CHECKPOINT} {size}"
        try:
            parse_time(published_at)
            checkpoint = Checkpoint.parse(note)
            lost = trust is not None and check_signature(checkpoint, trust).lost_at is not None
        except (VerificationError, TypeError, AttributeError) as error:
            raise TamperedError(record, str(error)) from error
        if checkpoint.size != size:
            raise TamperedError(
                record, "its note is of another size", expected=str(checkpoint.size), got=str(size)
            )
        if commitment(checkpoint.size, checkpoint.root) != word:
            raise TamperedError(record, "its commitment is not that of its size and root")
        yield Head(checkpoint.size, checkpoint.root, record, lost=lost)


def _leaf_hashes(conn: sqlite3.Connection, trust: Trust | None) -> Iterator[bytes]:
    """The hash of each leaf as its row gives it; TamperedError at the first row that is missing or broken, or
    with `trust` that tells of an erasure and was not signed when it was made.
    """
    keys = None if trust is None else [known.key for known in trust.keys]
    _check_told(conn)
    erased = read_erased(conn, keys=keys)
    for expected, (index, key, salt, canonical) in enumerate(offline.leaves(conn)):
        if index != expected:
            missing = index > expected and _in_its_tile(conn, expected)
            record = f"{LEAF} {expected if missing else index}"
            raise TamperedError(record, "the leaf is missing" if missing else "it has no place in the log")
        record = f"{LEAF} {index}"
        if index in erased:
            if (key, salt, canonical) != (erased_key(index), None, None):
                raise TamperedError(record, "it is not erased, and a record says that it was")
            yield _hash_in_its_tile(conn, index)
            continue
        if not (isinstance(salt, bytes) and isinstance(canonical, bytes) and len(salt) == SALT_BYTES):
            said = "no record says" if trust is None else "no record that the log's key signed says"
            raise TamperedError(record, f"payload or salt is gone, and {said} that it was erased")
        if _key_of(canonical) != key:
            raise TamperedError(record, "its key is not that of its record")
        if keys is not None and key.startswith(f"{KIND}/") and not is_authorised(index, canonical, keys):
            raise TamperedError(record, "it tells of an erasure, and no key of the log signed it")
        yield sha256(b"\x00" + salt + canonical).digest()


def _hash_in_its_tile(conn: sqlite3.Connection, index: int) -> bytes:
    """What is left of an erased leaf: no row can show whether it is the right one, but the roots do."""
    number, place = divmod(index, tile.WIDTH)
    stored = offline.tile_content(conn, (0, number))
    content = stored[place * HASH_BYTES :][:HASH_BYTES] if isinstance(stored, bytes) else b""
    if len(content) != HASH_BYTES:
        raise TamperedError(f"{TILE} 0/{number}", f"it holds no hash for leaf {index}")
    return content


def _in_its_tile(conn: sqlite3.Connection, index: int) -> bool:
    """Whether the tile of a leaf holds a hash for it."""
    number, place = divmod(index, tile.WIDTH)
    stored = offline.tile_content(conn, (0, number))
    return isinstance(stored, bytes) and len(stored) > place * HASH_BYTES


def _key_of(canonical: bytes) -> object:
    try:
        fields = json.loads(canonical)
    except (ValueError, RecursionError):
        return None
    return fields.get("key") if isinstance(fields, dict) else None


def _same_tile(conn: sqlite3.Connection, trust: Trust | None, number: int, batch: Sequence[bytes]) -> None:
    """Nothing if the leaf hashes are those of their tile; TamperedError names the leaf or the tile."""
    computed, stored = b"".join(batch), offline.tile_content(conn, (0, number))
    if stored == computed:
        return
    first = number * tile.WIDTH
    record = f"{TILE} 0/{number}"
    if not isinstance(stored, bytes) or len(stored) % HASH_BYTES:
        different = 0
        kept = b""
    else:
        kept = stored
        pairs = zip(tile.split(kept), batch, strict=False)
        shorter = min(len(kept) // HASH_BYTES, len(batch))
        different = next((place for place, (one, other) in enumerate(pairs) if one != other), shorter)
    index = first + different
    if different == len(batch):  # the tile holds more than there are leaves
        covered = any(head.size > index for head in checked_heads(conn, trust))
        if covered:
            raise TamperedError(f"{LEAF} {index}", "the leaf is missing")
        raise TamperedError(record, f"it holds more leaves than there are, or leaf {index} was removed")
    if _signed_as_the_rows_say(conn, trust, index):
        if stored is None:
            raise TamperedError(record, "the tile is missing")
        raise TamperedError(record, f"it holds another hash for leaf {index}, whose row is as it was signed")
    raise TamperedError(
        f"{LEAF} {index}",
        "its row has another hash than its tile",
        expected=kept[different * HASH_BYTES :][:HASH_BYTES].hex() or "none",
        got=batch[different].hex(),
    )


def _signed_as_the_rows_say(conn: sqlite3.Connection, trust: Trust | None, index: int) -> bool:
    """Whether the first checkpoint above this leaf signs what the rows of the leaves lead to."""
    head = next((head for head in checked_heads(conn, trust) if head.size > index), None)
    if head is None:
        return False
    tree, hashes = Tree(), _leaf_hashes(conn, trust)
    try:
        while tree.size < head.size and (batch := list(islice(hashes, tile.WIDTH))):
            tree.add(batch)
    except TamperedError:
        return False
    return tree.size >= head.size and tree.root(head.size) == head.root


def _same_upper_tile(conn: sqlite3.Connection, place: tile.Place, content: bytes) -> None:
    """Nothing if a tile above the leaves' own is stored as it was built."""
    level, number = place
    if level == 0:
        return
    stored = offline.tile_content(conn, place)
    if stored != content:
        what = "the tile is missing" if stored is None else "it is not what its leaves lead to"
        raise TamperedError(f"{TILE} {level}/{number}", what)


def _same_root(conn: sqlite3.Connection, head: Head, tree: Tree) -> None:
    root = tree.root(head.size)
    if root == head.root:
        return
    text = f"the first {head.size} leaves have another root"
    if head.receipt is not None:
        first, last = _where_it_differs(conn, head.receipt)
        text += f"; what was changed lies in the leaves {first} to {last}"
    raise TamperedError(head.record, text, expected=head.root.hex(), got=root.hex())


def _where_it_differs(conn: sqlite3.Connection, receipt: Receipt) -> tuple[int, int]:
    """The first and last of the leaves among which the first change lies, as near as the path tells."""
    index, size = receipt.index, receipt.checkpoint.size
    own = (index, index + 1)
    spans = inclusion_ranges(index, size)
    leaf, *found = offline.hashes(conn, [own, *spans])
    different = [
        span for span, ours, theirs in zip(spans, found, receipt.path, strict=True) if ours != theirs
    ]
    if root_from_inclusion(index, size, leaf, receipt.path) != receipt.checkpoint.root:
        different.append(own)
    start, end = min(different)
    return start, end - 1


def _same_end(conn: sqlite3.Connection, tree: Tree, head: Head | None, outside: Sequence[Head]) -> None:
    """Nothing if log, tiles and heads end together; TamperedError names what is missing or too much."""
    for place in tile.edge(tree.size):
        _same_upper_tile(conn, place, tree.tiles[place])
    if head is not None:
        raise TamperedError(
            f"{LEAF} {tree.size}", f"the leaf is missing: a checkpoint of {head.size} leaves was signed"
        )
    if outside:
        raise TamperedError(
            outside[0].record,
            "the log is shorter than it was",
            expected=f"at least {outside[0].size} leaves",
            got=str(tree.size),
        )
    for level, number in offline.tile_places(conn):
        known = isinstance(level, int) and isinstance(number, int) and 0 <= level < tile.LEVELS
        if not known or not 0 <= number * tile.WIDTH < tree.size >> (tile.HEIGHT * level):
            raise TamperedError(f"{TILE} {level}/{number}", "no leaves lead to this tile")


def _signatures(trust: Trust | None, signed: int, size: int, lost: int) -> Step:
    newer = f"; {size - signed} newer leaves are under no checkpoint yet" if size > signed else ""
    text = f"the tree of {signed} leaves is the one that was signed{newer}"
    if trust is None:
        return Step("checkpoint", Status.NOT_CHECKED, f"{text}; no trust file says by whom")
    if lost:
        text += f"; {lost} checkpoints with a key that is declared lost: a receipt from before can show more"
        return Step("checkpoint", Status.NOT_CHECKED, text)
    return Step("checkpoint", Status.CHECKED, f"{text}, by {trust.origin}")
