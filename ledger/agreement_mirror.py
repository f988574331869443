"""The local mirror of the agreements, kept by what the contract says has changed, not by asking about each.

Rules: every change of an agreement writes an event that names it, a change of a party one that names its
account. What changed in blocks that the chain no longer has is asked again. All are asked at the start, after
a fork deeper than is remembered, and once in a while in case a node's events were incomplete.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger import agreement_store as store
from ledger.agreement_contract import NAME, AgreementContract
from ledger.agreement_store import Held
from ledger.anchor import Database
from ledger.contract_node import Block
from ledger.interface import interface
from ledger.settling import LOOK_AGAIN_S

LOOKS = 64
"""Looks that are remembered: so many blocks at least may be replaced before all is asked again."""
WORD_BYTES = 32


@dataclass(frozen=True, slots=True)
class _Look:
    """A block up to which the mirror was brought, and what its look found changed."""

    number: int
    hash: bytes
    changed: frozenset[bytes]


class Mirror:
    """Brings the mirror of one contract's agreements up to a block."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque(maxlen=LOOKS)
        self._all_at: datetime | None = None
        self._places: list[bytes] = []

    def ask_all_again(self) -> None:
        """Let the next look ask about all agreements: something was answered that they contradict."""
        self._all_at = None

    async def look(self, db: Database, contract: AgreementContract, block: Block, now: datetime) -> None:
        """Note how the agreements stand after a block; all of them at the first look."""
        words: frozenset[bytes] | None = frozenset()
        gone = 0
        if self._all_at is None or now - self._all_at >= timedelta(seconds=LOOK_AGAIN_S):
            words = None
        elif not (self._looks and self._looks[-1].hash == block.hash):
            words, gone = await self._changed(contract, block)
        if words is None or words:
            await self._note(db, contract, words, block, now)
        for _ in range(gone):  # not before: where the chain fails half-way, the next look needs them
            self._looks.pop()
        self._looks.append(_Look(block.number, block.hash, words or frozenset()))
        if words is None:
            self._all_at = now

    async def _note(
        self,
        db: Database,
        contract: AgreementContract,
        words: frozenset[bytes] | None,
        block: Block,
        now: datetime,
    ) -> None:
        """Ask about the agreements that the words name, or about all, and keep it in one transaction."""
        async with db.read() as conn:
            held = await store.agreements(conn)
        asked = [one for one in held if words is None or not words.isdisjoint(_words(one))]
        seen = {one.agreement_id: await contract.standing(one.agreement_id, block.number) for one in asked}
        if seen:
            async with db.write() as conn:
                await store.see_agreements(conn, seen, now)

    async def _changed(
        self, contract: AgreementContract, block: Block
    ) -> tuple[frozenset[bytes] | None, int]:
        """What events name since the last look that the chain still has, and named in those that it has not,
        None if that is too long ago to tell; and how many looks the chain has not.
        """
        undone: set[bytes] = set()
        for gone, last in enumerate(reversed(self._looks)):
            if last.number <= block.number and await contract.node.block_hash(last.number) == last.hash:
                return await self._named(contract, last.number + 1, block.number) | undone, gone
            undone |= last.changed
        return None, len(self._looks)

    async def _named(self, contract: AgreementContract, first: int, last: int) -> frozenset[bytes]:
        """What the events in the blocks `first` to `last` name first: ids of agreements that changed and, in
        words of 32 bytes, accounts whose place in the registry did.
        """
        if not self._places:
            known = interface(NAME)
            answer = await contract.node.ask_contract(contract.address, known.encode("registry"))
            (registry,) = known.decode("registry", answer)
            self._places = [contract.address, bytes.fromhex(registry[2:])]
        return await contract.node.named(self._places, first, last)


def _words(held: Held) -> set[bytes]:
    """How events name an agreement and its parties."""
    accounts = (held.terms.aggregator, held.terms.node, held.terms.arbiter)
    return {held.agreement_id, *(account.rjust(WORD_BYTES, b"\0") for account in accounts)}
