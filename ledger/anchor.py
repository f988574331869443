"""The anchorer: moves the newest checkpoint into the contract exactly once, and keeps the proof that it is
there.

Rules that make it exactly once:
- the signed bytes are durable before they are sent, and the same bytes are sent again after a crash;
- the contract swaps only if its head is the expected checkpoint, so of two transactions for one step at
  most one counts;
- what happened is read from the contract's storage, never from the words of an answer.

A chain that does not answer is no error: `step` says so in its state and tries again at the next call.
Whatever has gathered meanwhile needs one transaction, because the newest checkpoint covers all earlier
leaves.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import store
from ledger.checkpoint import Checkpoint
from ledger.errors import ChainError, ChainUnavailableError, ForeignHeadError, VerificationError
from ledger.merkle import EMPTY_ROOT
from ledger.node import ChainKey, Head, Node, publish_call, publish_transaction
from ledger.receipt import ADDRESS_BYTES, commitment, parse_hex
from ledger.settings import AnchorSettings
from ledger.store import Transition

LOOK_AGAIN = timedelta(hours=1)
"""How often the chain is asked whether it still holds what was anchored, while there is nothing new."""
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
    """How anchoring stands since `since`; `anchored` is the number of leaves that the chain holds."""

    status: AnchorStatus
    text: str
    anchored: int
    since: datetime


@dataclass(frozen=True, slots=True)
class _Base:
    """A checkpoint as the contract counts: size and root, (0, root of the empty tree) before the first."""

    size: int
    root: bytes

    @property
    def word(self) -> bytes:
        return commitment(self.size, self.root)


class Anchorer:
    """Brings checkpoints to the chain. Call `step` from one task, as often as you like."""

    def __init__(self, settings: AnchorSettings) -> None:
        self._settings = settings
        self._key = ChainKey.load(settings.key_file)
        self._contract = parse_hex("settings", settings.contract, ADDRESS_BYTES)
        self._state: AnchorState | None = None
        self._node: Node | None = None
        # Once a transaction of ours was taken, key, contract and gas are right, and need no rehearsal.
        self._proven = False
        self._seen_at: datetime | None = None
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
        except (ChainError, VerificationError) as error:
            status, text = AnchorStatus.FAILED, str(error)
        previous = self._state
        since = previous.since if previous and previous.status is status else now
        self._state = AnchorState(status, text, self._anchored, since)
        return self._state

    async def _advance(self, db: Database, now: datetime) -> tuple[AnchorStatus, str]:
        async with db.read() as conn:
            newest = await store.newest_checkpoint(conn)
            anchored = await store.anchored_size(conn)
            transition = await store.signed_transition(conn)
        self._anchored = anchored
        if newest is None:
            return AnchorStatus.IDLE, "there is no checkpoint yet"
        sent = False
        for _ in range(MAX_TURNS):
            done = transition is None and newest.size == anchored
            if done and self._seen_at is not None and now - self._seen_at < LOOK_AGAIN:
                return AnchorStatus.IDLE, "every checkpoint is anchored"
            self._seen_at = None
            node = await self._connected()
            head = await self._head(node)
            held = await self._held(db, head, newest)
            self._seen_at = now
            if done and held.size >= anchored:
                continue
            # A chain that was set back holds less than it proved before: it gets the newest again.
            anchored = min(anchored, held.size) if transition is None else anchored
            if held.size > anchored:
                async with db.write() as conn:
                    await store.add_anchor(conn, held.size, head.anchor, transition, now)
                    self._anchored = await store.anchored_size(conn)
                anchored, transition, sent, self._proven = held.size, None, False, True
                continue
            if transition is None:
                signed = await self._sign(node, head, held, newest)
                async with db.write() as conn:
                    transition = await store.add_transition(conn, signed, now)
            elif not await self._may_still_come(node, transition, head, held):
                async with db.write() as conn:
                    await store.drop_transition(conn, transition.anchor_id, now)
                transition, self._proven = None, False
                if sent:
                    return AnchorStatus.FAILED, "a transaction was mined and did not change the contract"
                continue
            elif sent:
                return AnchorStatus.WAITING, "a transaction is sent and not mined yet"
            await node.send(transition.raw_transaction)
            sent = True
        return AnchorStatus.WAITING, "the contract moves while it is looked at"

    async def _may_still_come(self, node: Node, transition: Transition, head: Head, held: _Base) -> bool:
        """Whether a signed transaction can still succeed: the head is what it expects, its nonce is free."""
        if transition.from_size != held.size:
            return False
        return transition.nonce == await node.nonce(self._key.address, head)

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

    async def _sign(self, node: Node, head: Head, held: _Base, newest: Checkpoint) -> Transition:
        data = publish_call(held.size, held.root, newest.size, newest.root)
        if not self._proven:
            await node.rehearse(self._contract, self._key.address, data, self._settings.gas)
        nonce = await node.nonce(self._key.address, head)
        transaction = publish_transaction(
            self._settings.chain_id,
            self._contract,
            nonce=nonce,
            gas=self._settings.gas,
            fees=head.fees,
            data=data,
        )
        return Transition(newest.size, held.size, nonce, self._key.sign(transaction))
