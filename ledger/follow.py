"""A light follower: the log's checkpoints held against the chain, and the chain against the log.

One `look` reads both and takes nothing on trust that can be checked:
- each checkpoint is signed by the log, and of each size there is one tree;
- what the contract holds is proven against the block's header, and is the last of what it published;
- the sizes that it published rise, and each tree is the log's: the same, or shown by a consistency path;
- what a receipt says to be on the chain is there;
- nothing that was seen before is gone: neither log nor chain is set back or rewritten.
What was seen is kept in a file; it moves on only when all of that holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.checkpoint import Checkpoint
from ledger.errors import ForkError, LedgerError, VerificationError
from ledger.head_source import FoundHead, HeadSource
from ledger.merkle import EMPTY_ROOT, check_consistency
from ledger.receipt import VALIDATORS, Anchor, commitment
from ledger.seal import quorum
from ledger.trust import ChainTrust, Trust
from ledger.verify import Status, Step, check_signature

if TYPE_CHECKING:
    from ledger.node import Head, Node, Published

STATE_FILE = "follower.json"
LOG, CHAIN, TREE = "log", "chain", "tree"


@dataclass(frozen=True, slots=True)
class Point:
    """A size and root that somebody stands for; `evidence` is his word for it."""

    size: int
    root: bytes
    said_by: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found in order last: the log's newest checkpoint, and the chain's with its block."""

    checkpoint: Checkpoint | None = None
    size: int = 0
    root: bytes = EMPTY_ROOT
    block: int = 0
    block_hash: bytes = b""

    @classmethod
    def load(cls, file: Path) -> Seen:
        """What a file holds; nothing if there is none, LedgerError if it cannot be read."""
        try:
            raw: Any = json.loads(file.read_text(encoding="utf-8"))
            note = raw["checkpoint"]
            return cls(
                None if note is None else Checkpoint.parse(note),
                int(raw["size"]),
                bytes.fromhex(raw["root"]),
                int(raw["block"]),
                bytes.fromhex(raw["block_hash"]),
            )
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError, VerificationError) as error:
            raise LedgerError(f"{file} cannot be read: {error}; nothing says what was seen before") from error

    def save(self, file: Path) -> None:
        """Durably in place of what was there."""
        content = {
            "checkpoint": None if self.checkpoint is None else self.checkpoint.text(),
            "size": self.size,
            "root": self.root.hex(),
            "block": self.block,
            "block_hash": self.block_hash.hex(),
        }
        draft = file.with_suffix(".new")
        with draft.open("w", encoding="utf-8") as out:
            json.dump(content, out)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
        descriptor = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Follower:
    """Follows one log and its contract. Call `look` from one task."""

    def __init__(self, trust: Trust, source: HeadSource, node: Node, folder: Path, first_block: int) -> None:
        if trust.chain is None:
            raise LedgerError("the trust file names no chain to follow")
        self._trust, self._chain = trust, trust.chain
        self._source, self._node = source, node
        self._file = folder / STATE_FILE
        self._first_block = first_block
        # What was shown to be in one tree, so that the next look needs to show only what is new.
        self._known: list[Published] = []

    async def look(self) -> list[Step]:
        """The steps in which nothing failed. VerificationError says what is wrong (ForkError with evidence),
        SourceError and ChainUnavailableError that nothing can be said now.
        """
        seen = Seen.load(self._file)
        # The chain first: what it holds was published before, so that an honest log shows as much.
        head, published = await self._read_chain()
        await self._not_set_back(seen, head, published)
        found = await self._source.heads()
        heads = [self._signed(one) for one in found]
        newest = max((one.checkpoint for one in found), key=lambda one: one.size, default=None)
        steps = [Step(LOG, Status.CHECKED, f"{len(heads)} checkpoints, signed by {self._trust.origin}")]
        if seen.checkpoint is not None:
            newest = self._not_older(seen.checkpoint, newest)
            heads.append(_point_of(seen.checkpoint))
        steps.append(self._held(head, published))
        on_chain = [self._point(one) for one in published]
        _all_anchored(found, on_chain)
        known = len(self._known) if published[: len(self._known)] == self._known else 0
        steps.append(await self._one_tree(heads, on_chain[max(known - 1, 0) :]))
        if steps[-1].status is Status.CHECKED:
            self._known = published
        last = published[-1] if published else None
        Seen(
            newest,
            last.size if last else 0,
            last.root if last else EMPTY_ROOT,
            head.number,
            head.anchor.block().hash,
        ).save(self._file)
        return steps

    def _signed(self, head: FoundHead) -> Point:
        """A checkpoint of the log that the trust file names."""
        try:
            check_signature(head.checkpoint, self._trust)
        except VerificationError as error:
            raise VerificationError(
                LOG, f"{head.place}: {error.text}", expected=error.expected, got=error.got
            ) from error
        return _point_of(head.checkpoint)

    def _not_older(self, seen: Checkpoint, newest: Checkpoint | None) -> Checkpoint:
        """The larger one; who serves the log must not show less than he did."""
        size = newest.size if newest else 0
        if self._source.live and size < seen.size:
            raise ForkError(
                LOG,
                "the log shows an older state than before",
                [seen.text(), newest.text() if newest else "no checkpoint\n"],
                expected=f"at least {seen.size} leaves",
                got=str(size),
            )
        return newest if newest and size >= seen.size else seen

    async def _read_chain(self) -> tuple[Head, list[Published]]:
        number = await self._node.chain_id()
        if number != self._chain.id:
            raise VerificationError(CHAIN, "another chain", expected=str(self._chain.id), got=str(number))
        head = await self._node.head(self._chain.id, self._chain.contract)
        _check_seals(head.anchor, self._chain)
        return head, await self._node.published(self._chain.contract, self._first_block, head.number)

    async def _not_set_back(self, seen: Seen, head: Head, published: Sequence[Published]) -> None:
        """Nothing if the chain still has what was seen of it."""
        if not seen.block_hash:
            return
        sizes = {one.size: one.root for one in published}
        evidence = [
            f"seen: block {seen.block} 0x{seen.block_hash.hex()}, newest {seen.size} {seen.root.hex()}\n",
            f"now: block {head.number} 0x{head.anchor.block().hash.hex()}\n{head.anchor.text()}\n",
        ]
        if seen.size and sizes.get(seen.size) != seen.root:
            got = f"{published[-1].size} leaves" if published else "no checkpoint"
            raise ForkError(
                CHAIN,
                "the chain was set back: it no longer holds what it held",
                evidence,
                expected=f"a checkpoint of {seen.size} leaves",
                got=got,
            )
        if (found := await self._node.block_hash(seen.block)) != seen.block_hash:
            raise ForkError(
                CHAIN,
                f"the chain was rewritten: block {seen.block} is another one than before",
                evidence,
                expected=seen.block_hash.hex(),
                got=found.hex() if found else "none",
            )

    def _held(self, head: Head, published: Sequence[Published]) -> Step:
        """What was published rises, and its last is what the contract holds."""
        size, root = 0, EMPTY_ROOT
        for one in published:
            if one.size <= size:
                raise ForkError(
                    CHAIN,
                    f"two checkpoints do not follow each other, in block {one.block}",
                    [self._point(before).evidence for before in published if before.block <= one.block],
                    expected=f"more than {size} leaves",
                    got=str(one.size),
                )
            size, root = one.size, one.root
        if head.word != commitment(size, root):
            raise ForkError(
                CHAIN,
                f"block {head.number} proves another checkpoint than the last that was published,"
                f" of {size} leaves",
                [*(self._point(one).evidence for one in published[-1:]), head.anchor.text() + "\n"],
                expected=commitment(size, root).hex(),
                got=head.word.hex(),
            )
        return Step(CHAIN, Status.CHECKED, f"block {head.number} proves the last of {len(published)}: {size}")

    async def _one_tree(self, heads: Sequence[Point], on_chain: Sequence[Point]) -> Step:
        """All belong to one tree, from each to the next."""
        points = sorted([*heads, *on_chain], key=lambda point: point.size)
        points = [point for point in points if point.size]
        size = max((head.size for head in heads), default=0)
        alone = 0
        for old, new in pairwise(points):
            if old.size == new.size and old.root != new.root:
                raise _apart(f"there are two trees of {old.size} leaves", old, new)
        for old, new in pairwise(points):
            if old.size == new.size:
                continue
            path = await self._source.path(old.size, new.size, size) if new.size <= size else None
            if path is None:
                alone += 1
                continue
            try:
                check_consistency(old.size, old.root, new.size, new.root, path)
            except VerificationError as error:
                text = f"nothing shows that the tree of {new.size} leaves holds that of {old.size}"
                raise _apart(text, old, new) from error
        return await self._told(heads, on_chain, size, alone)

    async def _told(self, heads: Sequence[Point], on_chain: Sequence[Point], size: int, alone: int) -> Step:
        newest = on_chain[-1].size if on_chain else 0
        waiting = f"; {size - newest} leaves are not on the chain yet" if size > newest else ""
        if newest > size:
            text = f"the chain holds {newest} leaves, and the log shows {size} only"
            # A folder may be old and a witness late, but not who shows the tree itself.
            if self._source.live and (size == 0 or await self._source.path(1, size, size)):
                shown = [head.evidence for head in heads if head.size == size] or ["no checkpoint\n"]
                raise ForkError(TREE, text, [on_chain[-1].evidence, shown[0]])
            return Step(TREE, Status.NOT_CHECKED, text)
        by_size = {head.size for head in heads}
        unknown = sum(point.size not in by_size for point in on_chain)
        if alone and unknown:
            return Step(
                TREE,
                Status.NOT_CHECKED,
                f"{unknown} of {len(on_chain)} on the chain are of sizes that nobody shows a checkpoint or"
                f" tiles of{waiting}",
            )
        return Step(TREE, Status.CHECKED, f"log and chain are one tree, of {size} leaves{waiting}")

    def _point(self, one: Published) -> Point:
        text = (
            f"chain {self._chain.id}, contract 0x{self._chain.contract.hex()}, block {one.block}:"
            f" published {one.size} {one.root.hex()}\n"
        )
        return Point(one.size, one.root, CHAIN, text)


def _point_of(checkpoint: Checkpoint) -> Point:
    return Point(checkpoint.size, checkpoint.root, LOG, checkpoint.text())


def _all_anchored(found: Sequence[FoundHead], on_chain: Sequence[Point]) -> None:
    """What receipts say to be on the chain is there, and no checkpoint is of another tree than the chain's of
    its size, also of one that was looked at before.
    """
    published = {one.size: one for one in on_chain}
    for head in found:
        there = published.get(head.checkpoint.size)
        if there is not None and there.root != head.checkpoint.root:
            text = f"there are two trees of {there.size} leaves"
            raise _apart(text, _point_of(head.checkpoint), there)
        if there is None and head.anchored:
            raise ForkError(
                CHAIN,
                f"the chain never held the checkpoint of the receipt {head.place}",
                [head.checkpoint.text(), *(f"published {size}\n" for size in sorted(published))],
                expected=f"{head.checkpoint.size} leaves",
                got=f"{max(published, default=0)} at most, and not these",
            )


def _check_seals(anchor: Anchor, chain: ChainTrust) -> None:
    """Nothing if a quorum of the validators that the trust file names sealed the block, or it names none."""
    if not chain.names_validators:
        return
    validators = chain.validators_of(anchor.block().number)
    sealers = anchor.sealed().sealers() if anchor.vouched_by == VALIDATORS else ()
    trusted = [address for address in sealers if address in validators.addresses]
    needed = quorum(len(validators.addresses))
    if len(trusted) < needed:
        raise VerificationError(
            "seals", f"too few seals of {validators.text}", expected=str(needed), got=str(len(trusted))
        )


def _apart(text: str, old: Point, new: Point) -> ForkError:
    return ForkError(
        TREE,
        f"{text}: one of the {old.said_by}, one of the {new.said_by}",
        [old.evidence, new.evidence],
        expected=old.root.hex(),
        got=new.root.hex(),
    )
