"""The anchorer: moves the newest checkpoint into the contract exactly once, and keeps the proof that it is
there.

Rules that make it exactly once:
- the signed bytes are durable before they are sent, and the same bytes are sent again after a crash;
- the contract swaps only if its head is the expected checkpoint, so of two transactions for one step at
  most one counts;
- what happened is read from the contract's storage and events, never from the words of an answer;
- what the tables call anchored is what the chain shows: after a fork it is put right before anything is sent.

A chain that does not answer is no error: `step` says so in its state and tries again at the next call.
Whatever has gathered meanwhile needs one transaction, because the newest checkpoint covers all earlier
leaves.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection
from web3.types import Wei

from ledger import store
from ledger.chain_key import ChainKey
from ledger.checkpoint import Checkpoint
from ledger.errors import (
    ChainError,
    ChainUnavailableError,
    ForeignHeadError,
    TokenError,
    VerificationError,
)
from ledger.merkle import EMPTY_ROOT
from ledger.node import Head, Node, NodeRefusedError, publish_call, publish_transaction, raised_fees
from ledger.receipt import Anchor, commitment, parse_hex
from ledger.settings import LOOK_AGAIN, AnchorSettings
from ledger.state import ADDRESS_BYTES
from ledger.store import Transition

MAX_SIZE = 2**63 - 1
ALARM_AFTER = timedelta(minutes=15)
"""How long checkpoints may wait for their chain before somebody should look."""
ROWS = 20
"""Anchors that are read in one go, while the newest that the chain still has is searched for."""
MAX_TURNS = 8
"""Looks at the chain in one step: enough to finish an old transaction and to make a new one."""


class Database(Protocol):
    """Where the ledger's tables are; each block is a transaction of its own, durable at its end."""

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that may write."""
        ...

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A view for reading."""
        ...


class AnchorStatus(StrEnum):
    """How anchoring stands."""

    IDLE = "idle"
    """All published checkpoints are anchored."""
    WAITING = "waiting"
    """A transaction is sent and not yet mined."""
    CHAIN_DOWN = "chain down"
    """The chain does not answer; nothing is lost."""
    FAILED = "failed"
    """A person must look: the text says at what."""


@dataclass(frozen=True, slots=True)
class AnchorState:
    """How anchoring stands since `since`; `anchored` is the number of leaves that the chain holds.

    `behind_since`: when it last began that not all was anchored, None if all is; `alarm`: that is long ago.
    """

    status: AnchorStatus
    text: str
    anchored: int
    since: datetime
    behind_since: datetime | None = None
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class _Base:
    """A checkpoint as the contract counts: size and root, (0, root of the empty tree) before the first."""

    size: int
    root: bytes

    @property
    def word(self) -> bytes:
        return commitment(self.size, self.root)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the tables say: the newest checkpoint, how much is anchored, the transaction on its way."""

    newest: Checkpoint
    anchored: int
    transition: Transition | None

    @property
    def done(self) -> bool:
        return self.transition is None and self.newest.size == self.anchored


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the chain says: in its newest block, and in the newest that is deep enough to be final."""

    head: Head
    held: _Base
    final: Head
    final_held: _Base


class Anchorer:
    """Brings checkpoints to the chain. Call `step` from one task, as often as you like."""

    def __init__(self, settings: AnchorSettings) -> None:
        self._settings = settings
        self._key = ChainKey.load(settings.key)
        self._contract = parse_hex("settings", settings.contract, ADDRESS_BYTES)
        self._state: AnchorState | None = None
        self._node: Node | None = None
        # Once a transaction of ours was taken, key, contract and gas are right, and need no rehearsal.
        self._proven = False
        self._seen_at: datetime | None = None
        self._retraced_at: datetime | None = None
        self._last_held = _Base(0, EMPTY_ROOT)
        self._anchored = 0

    @property
    def state(self) -> AnchorState | None:
        """How the last step ended; None before the first."""
        return self._state

    async def close(self) -> None:
        """Close the connections to the node."""
        if self._node is not None:
            await self._node.close()
            self._node = None

    async def step(self, db: Database, now: datetime) -> AnchorState:
        """Bring anchoring as far as it goes now. Never raises for what a chain or a network does."""
        try:
            status, text = await self._advance(db, now)
        except ChainUnavailableError as error:
            status, text = AnchorStatus.CHAIN_DOWN, str(error)
        except (ChainError, TokenError, VerificationError) as error:
            status, text = AnchorStatus.FAILED, str(error)
        previous = self._state
        since = previous.since if previous and previous.status is status else now
        behind = None
        if status is not AnchorStatus.IDLE:
            behind = (previous.behind_since if previous else None) or now
        alarm = behind is not None and now - behind > ALARM_AFTER
        self._state = AnchorState(status, text, self._anchored, since, behind, alarm)
        return self._state

    async def _advance(self, db: Database, now: datetime) -> tuple[AnchorStatus, str]:
        sent = 0  # the row of the transaction that this step sent
        for _ in range(MAX_TURNS):
            kept = await self._kept(db)
            if kept is None:
                return AnchorStatus.IDLE, "there is no checkpoint yet"
            self._anchored = kept.anchored
            if kept.done and self._seen_at is not None and now - self._seen_at < LOOK_AGAIN:
                return AnchorStatus.IDLE, "every checkpoint is anchored"
            node = await self._connected()
            seen = await self._look(db, node, kept.newest)
            noted = await self._note(db, node, kept, seen, sent=sent, now=now)
            self._seen_at = now
            if noted or kept.done:
                continue
            if seen.final_held != seen.held:
                return AnchorStatus.WAITING, f"mined, and {self._settings.confirmations} blocks must follow"
            transition = kept.transition
            if transition is None:
                transition = await self._prepare(db, node, kept.newest, seen, now)
                if transition is None:  # another anchorer was faster
                    continue
            elif not await self._may_still_come(node, transition, seen):
                async with db.write() as conn:
                    await store.drop_transition(conn, transition.anchor_id, now)
                self._proven = False
                if transition.anchor_id == sent:
                    return AnchorStatus.FAILED, "a transaction was mined and did not change the contract"
                continue
            elif transition.anchor_id == sent:
                return AnchorStatus.WAITING, "a transaction is sent and not mined yet"
            elif fees := raised_fees(transition.raw_transaction, seen.head.base_fee):
                transition = await self._raise(db, transition, kept.newest, seen, fees=fees, now=now)
                if transition is None:
                    continue
            await node.send(transition.raw_transaction)
            sent = transition.anchor_id
        return AnchorStatus.WAITING, "the contract moves while it is looked at"

    async def _kept(self, db: Database) -> _Kept | None:
        async with db.read() as conn:
            newest = await store.newest_checkpoint(conn)
            if newest is None:
                return None
            return _Kept(newest, await store.anchored_size(conn), await store.signed_transition(conn))

    async def _look(self, db: Database, node: Node, newest: Checkpoint) -> _Seen:
        head = await self._head(node)
        held = await self._held(db, head, newest)
        if not self._settings.confirmations:
            return _Seen(head, held, head, held)
        number = max(head.number - self._settings.confirmations, 0)
        try:
            final = await node.head(self._settings.chain_id, self._contract, number)
        except VerificationError as error:
            if (error.step, error.got) != ("account", "absent"):
                raise
            # The contract itself is younger than that.
            return _Seen(head, held, head, _Base(0, EMPTY_ROOT))
        return _Seen(head, held, final, await self._held(db, final, newest))

    async def _note(
        self, db: Database, node: Node, kept: _Kept, seen: _Seen, *, sent: int, now: datetime
    ) -> bool:
        """Note what the chain holds, if the tables say otherwise; whether they did."""
        held, anchored, transition = seen.final_held.size, kept.anchored, kept.transition
        looked = self._retraced_at is not None and now - self._retraced_at < LOOK_AGAIN
        if held == anchored and looked:
            return False
        own = transition is not None and transition.anchor_id == sent
        if own and transition and (transition.from_size, transition.size) == (anchored, held):
            above, found = anchored, [(held, seen.final.anchor)]
        else:
            above, found = await self._retrace(db, node, seen)
            self._retraced_at = now
            if above == held == anchored:
                return False
        async with db.write() as conn:
            # If not, another anchorer was here meanwhile, and this one looks again.
            if await store.anchored_size(conn) == anchored:
                await store.set_anchors(conn, above, found, now)
        self._proven = self._proven or held > anchored
        return True

    async def _retrace(self, db: Database, node: Node, seen: _Seen) -> tuple[int, list[tuple[int, Anchor]]]:
        """The largest anchored checkpoint whose block the chain still has, and what the contract published
        since.
        """
        above, block = await self._common(db, node, seen.final.number)
        held = seen.final_held.size
        if held <= above:
            return held, []
        found: list[tuple[int, Anchor]] = []
        size = above
        for step in await node.published(self._contract, block + 1, seen.final.number):
            if not size < step.size <= held:
                raise ChainError(
                    f"not a CheckpointLog: it published {step.size} between {size} and {held} leaves"
                )
            size = step.size
            if size == held:
                break
            # What lies between needs no proof of its own, and a node that forgot the state gives none.
            with contextlib.suppress(NodeRefusedError, VerificationError):
                then = await node.head(self._settings.chain_id, self._contract, step.block)
                if then.word == commitment(size, step.root):
                    found.append((size, then.anchor))
        return above, [*found, (held, seen.final.anchor)]

    async def _common(self, db: Database, node: Node, newest_block: int) -> tuple[int, int]:
        """The largest anchored checkpoint whose block is one of the chain's, and the block; (0, -1) if none
        is.
        """
        below = MAX_SIZE
        while True:
            async with db.read() as conn:
                rows = await store.anchors(conn, below, ROWS)
            if not rows:
                return 0, -1
            for size, anchor in rows:
                header = anchor.block()
                if (
                    anchor.contract == self._contract
                    and header.number <= newest_block
                    and await node.block_hash(header.number) == header.hash
                ):
                    return size, header.number
            below = rows[-1][0]

    async def _may_still_come(self, node: Node, transition: Transition, seen: _Seen) -> bool:
        """Whether a signed transaction can still succeed: the head is what it expects, its nonce is free."""
        if transition.from_size != seen.held.size:
            return False
        return transition.nonce == await node.nonce(self._key.address, seen.head)

    async def _connected(self) -> Node:
        if self._node is None:
            node = await Node.connect(self._settings.rpc_url, self._settings.timeout_s)
            try:
                found = await node.chain_id()
                if found != self._settings.chain_id:
                    raise ChainError(f"the node serves chain {found}, not {self._settings.chain_id}")
            except BaseException:
                await node.close()
                raise
            self._node = node
        return self._node

    async def _head(self, node: Node) -> Head:
        """The contract's head; ChainError if there is no such contract, or one that was never set up."""
        try:
            head = await node.head(self._settings.chain_id, self._contract)
        except VerificationError as error:
            if (error.step, error.got) != ("account", "absent"):
                raise
            raise self._no_log() from error
        if not any(head.word):
            raise self._no_log()
        return head

    def _no_log(self) -> ChainError:
        return ChainError(
            f"there is no CheckpointLog at {self._settings.contract}: the chain was emptied or the address is"
            " wrong"
        )

    async def _held(self, db: Database, head: Head, newest: Checkpoint) -> _Base:
        """Which of our checkpoints the contract holds."""
        # Nearly always what it held last, or the newest: these need no look-up.
        for known in (self._last_held, _Base(newest.size, newest.root), _Base(0, EMPTY_ROOT)):
            if head.word == known.word:
                self._last_held = known
                return known
        async with db.read() as conn:
            checkpoint = await store.checkpoint_of_word(conn, head.word)
        if checkpoint is None:
            raise ForeignHeadError(
                f"the contract {self._settings.contract} holds {head.word.hex()}, no checkpoint of this log"
            )
        return _Base(checkpoint.size, checkpoint.root)

    async def _prepare(
        self, db: Database, node: Node, newest: Checkpoint, seen: _Seen, now: datetime
    ) -> Transition | None:
        """A signed transaction to the newest checkpoint, durable before anybody sees it; None if another one
        is on its way.
        """
        signed = await self._sign(node, seen.head, seen.held, newest)
        async with db.write() as conn:
            return await store.add_transition(conn, signed, now)

    async def _raise(
        self,
        db: Database,
        transition: Transition,
        newest: Checkpoint,
        seen: _Seen,
        *,
        fees: dict[str, Wei],
        now: datetime,
    ) -> Transition | None:
        """A transaction that pays more in place of one that paid too little. It has the same nonce, so that
        only one of them can be mined.
        """
        signed = self._signed(seen.held, newest, transition.nonce, fees)
        async with db.write() as conn:
            await store.drop_transition(conn, transition.anchor_id, now)
            return await store.add_transition(conn, signed, now)

    async def _sign(self, node: Node, head: Head, held: _Base, newest: Checkpoint) -> Transition:
        if not self._proven:
            data = publish_call(held.size, held.root, newest.size, newest.root)
            await node.rehearse(self._contract, self._key.address, data, self._settings.gas)
        return self._signed(held, newest, await node.nonce(self._key.address, head), head.fees)

    def _signed(self, held: _Base, newest: Checkpoint, nonce: int, fees: dict[str, Wei]) -> Transition:
        transaction = publish_transaction(
            self._settings.chain_id,
            self._contract,
            nonce=nonce,
            gas=self._settings.gas,
            fees=fees,
            data=publish_call(held.size, held.root, newest.size, newest.root),
        )
        return Transition(newest.size, held.size, nonce, self._key.sign(transaction))
