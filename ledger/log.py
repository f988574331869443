"""The log: records become leaves, leaves become signed checkpoints, and a leaf gets its receipt.

Every call works in the caller's transaction and keeps no state of its own, so a rollback or a kill leaves
the log as it was. Invariants:
- leaf indices are dense and never change; the same natural key is one leaf for ever;
- the tiles are those of exactly the leaves in the table;
- a checkpoint is signed only for a tree that extends every earlier one, because leaves are only added.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import erasure, offline, proof, store, tile
from ledger.checkpoint import ED25519, Checkpoint, NoteSigner, VerifierKey, to_base64
from ledger.errors import KeyConflictError, KeyFileError, TamperedError
from ledger.merkle import Range, consistency_ranges, leaf_hash, range_hash
from ledger.note import DASH
from ledger.receipt import VALIDATORS, Anchor, Receipt
from ledger.record import Record
from ledger.trust import ChainTrust, LogKey, Trust, WitnessTrust

First = TypeVar("First")
Second = TypeVar("Second")

SLICE = 2048
"""Leaves that are inserted in one go, while the next are made."""
TURN = 256
"""Records that are made leaves in one go: a millisecond or two of work."""


class Log:
    """An append-only log named `origin`, whose checkpoints are signed with `key` (which bears the same
    name) and cosigned by the witnesses that are asked, if there are any. `former` are the keys before it.
    """

    def __init__(
        self,
        origin: str,
        key: NoteSigner,
        witness: WitnessTrust | None = None,
        former: Sequence[LogKey] = (),
    ) -> None:
        if key.name != origin:
            raise ValueError(f"the key belongs to the log {key.name!r}, not to {origin!r}")
        if key.kind != ED25519:
            raise ValueError(f"the key of {key.name!r} is a witness's, not a log's")
        if key.verifier in [known.key for known in former]:
            raise KeyFileError(f"the key {key.verifier.id.hex()} of {origin!r} is among its former keys too")
        self.origin = origin
        self._key = key
        self._witness = witness
        self._former = tuple(former)

    async def append(self, records: Sequence[Record], conn: AsyncConnection) -> list[int]:
        """The leaf index of each record, new or old. The write becomes durable with the caller's commit.

        A record whose key is in the log already keeps its first leaf (and its first salt); KeyConflictError
        if the content differs, RecordError if a record has no canonical bytes. In both cases nothing is
        written.
        """
        size = await store.log_size(conn)
        indices: list[int] = []
        async with conn.begin_nested():
            tiles = await store.tiles(conn, tile.edge(size))
            made = await _leaves(records[:SLICE])
            for start in range(SLICE, len(records) + SLICE, SLICE):
                (found, new), made = await _side_by_side(
                    _add(conn, size, made), _leaves(records[start : start + SLICE])
                )
                indices += found
                tiles |= tile.extend(size, tiles, [digest for _, _, _, digest in new])
                size += len(new)
            await store.put_tiles(conn, tiles)
        return indices

    async def publish(self, conn: AsyncConnection, now: datetime) -> Checkpoint | None:
        """A new signed checkpoint over all leaves, or None if there is nothing new to sign. TamperedError if
        one of the new leaves tells of an erasure that no key of this log signed: somebody else wrote it.
        """
        size = await store.log_size(conn)
        newest = await store.newest_checkpoint(conn)
        signed = newest.size if newest else 0
        if size == signed:
            return None
        # What an earlier key signed just before a rotation is ours; a lost one is anybody's.
        ours = [self._key.verifier, *(known.key for known in self._former if known.lost_at is None)]
        for leaf in await store.leaves_from(conn, signed, f"{erasure.KIND}/"):
            if not erasure.is_authorised(leaf.index, leaf.canonical or b"", ours):
                raise TamperedError(
                    f"ledger_leaf {leaf.index}", "it tells of an erasure that the log's key did not sign"
                )
        (root,) = await _hashes(conn, [(0, size)])
        checkpoint = Checkpoint.sign(size, root, self._key)
        await store.add_checkpoint(conn, checkpoint, now)
        return checkpoint

    async def anchored(self, conn: AsyncConnection) -> tuple[Checkpoint, Anchor] | None:
        """The newest anchored checkpoint, with the cosignatures that are there for it, and its anchor."""
        return await proof.visit(conn, proof.anchored)

    async def receipt(
        self, conn: AsyncConnection, index: int, under: tuple[Checkpoint, Anchor] | None = None
    ) -> tuple[Record, Receipt]:
        """A leaf's record and its receipt under the newest anchored checkpoint.

        Who wants many gives what `anchored` says as `under`: to read it takes longer than all the rest.

        UnknownLeafError if there is no such leaf, if it is not anchored yet, or if the record was erased.
        """
        return await proof.visit(conn, partial(proof.receipt, index=index, under=under))

    async def trust(self, conn: AsyncConnection, valid_from: datetime | None = None) -> Trust:
        """The trust file for receipts given now: our key and those before it, contract and block of the
        newest anchor, if there is one, and the witnesses that are asked. Where validators seal, it names
        those of that block: an auditor puts in whom he trusts.
        """
        anchored = await store.newest_anchor(conn)
        chain = None
        if anchored is not None:
            anchor = anchored[1]
            validators = anchor.sealed().validators if anchor.vouched_by == VALIDATORS else ()
            chain = ChainTrust(anchor.chain_id, anchor.contract, anchor.block().hash, validators)
        return Trust((LogKey(self._key.verifier, valid_from), *self._former), chain, self._witness)

    @property
    def verifier(self) -> VerifierKey:
        """The public half of the log's key."""
        return self._key.verifier

    def attest(self, text: str) -> str:
        """The log's signature line under a text of ours (C2SP signed note); a token may take a while.

        ValueError for a text that could be taken for a checkpoint, or is not whole lines.
        """
        if not text.endswith("\n") or text.startswith(f"{self.origin}\n"):
            raise ValueError("a text that is signed ends its line and does not begin with the log's name")
        raw = self._key.verifier.id + self._key.sign(text.encode())
        return f"{DASH} {self.origin} {to_base64(raw)}"

    async def consistency(self, conn: AsyncConnection, old_size: int, new_size: int) -> list[bytes]:
        """The proof that the tree of `new_size` leaves only adds to that of `old_size`."""
        spans = consistency_ranges(old_size, new_size)
        return await proof.visit(conn, partial(offline.hashes, spans=spans))


async def _leaves(records: Sequence[Record]) -> list[store.LeafRow]:
    """Records as leaves. Many take long, so others in this event loop get their turn."""
    made: list[store.LeafRow] = []
    for start in range(0, len(records), TURN):
        made += [
            (record.key, record.salt, canonical := record.canonical(), leaf_hash(record.salt, canonical))
            for record in records[start : start + TURN]
        ]
        await asyncio.sleep(0)
    return made


async def _side_by_side(
    first: Coroutine[Any, Any, First], second: Coroutine[Any, Any, Second]
) -> tuple[First, Second]:
    """What both give. If one fails, its error, when the other has ended too."""
    try:
        async with asyncio.TaskGroup() as group:
            one, other = group.create_task(first), group.create_task(second)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return one.result(), other.result()


async def _add(
    conn: AsyncConnection, size: int, leaves: Sequence[store.LeafRow]
) -> tuple[list[int], Sequence[store.LeafRow]]:
    """Add leaves to a log of that size: the index of each, new or old, and which were new."""
    # Nearly always all of them are new, which the insert itself finds out faster than any look-up.
    async with conn.begin_nested() as attempt:
        if await store.add_leaves(conn, size, leaves) == len(leaves):
            return list(range(size, size + len(leaves))), leaves
        await attempt.rollback()
    indices, new = await _sort_out(conn, size, leaves)
    await store.add_leaves(conn, size, new)
    return indices, new


async def _sort_out(
    conn: AsyncConnection, size: int, leaves: Sequence[store.LeafRow]
) -> tuple[list[int], list[store.LeafRow]]:
    """The index of each leaf, and which are new; KeyConflictError if a key has another content."""
    stored = await store.leaves_by_key(conn, [leaf[0] for leaf in leaves])
    known = {key: (leaf.index, leaf.canonical) for key, leaf in stored.items()}
    new: list[store.LeafRow] = []
    indices = []
    for leaf in leaves:
        key, _, canonical, _ = leaf
        index, content = known.setdefault(key, (size + len(new), canonical))
        if index == size + len(new):
            new.append(leaf)
        elif content is not None and content != canonical:
            raise KeyConflictError(f"leaf {index} has the key {key!r} already, with another content")
        indices.append(index)
    return indices, new


async def _hashes(conn: AsyncConnection, spans: Sequence[Range]) -> list[bytes]:
    tiles = await store.tiles(conn, tile.places(spans))
    return [range_hash(span, lambda subtree: tile.subtree_hash(subtree, tiles)) for span in spans]
