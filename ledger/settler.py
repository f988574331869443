"""The settler: brings statements into the contract `DRAgreement` and pays them, each exactly once.

Rules that make it exactly once:
- the signed bytes of a call are durable before they are sent; after a crash the same bytes are sent again;
- a nonce belongs to one call for ever. Several calls are on their way at a time, one for each agreement at
  most; a call has come to an end when the chain has used its nonce, and is on its way again, with the same
  bytes, if the chain takes that back. Only its fees are raised, when blocks have become dearer than it pays;
- what came of it is read from the chain, never from the words of an answer: what the contract lacks is called
  for, what it has is not. It takes each booking, revision and payment once;
- a call is rehearsed before it is signed. The clause that stands against it is named, nothing is sent, and it
  is tried again later by itself.

A chain that does not answer is no error: `step` says so and tries again at the next call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from ledger import agreement_store as store
from ledger import call_store
from ledger.agreement import Settled
from ledger.agreement_contract import AgreementContract, refusal
from ledger.agreement_mirror import Mirror
from ledger.agreement_store import Account, Held
from ledger.anchor import Database
from ledger.call_store import Order, SignedCall
from ledger.chain_key import ChainKey
from ledger.contract_node import Block, ContractNode, RevertedCallError
from ledger.errors import CallValueError, ChainError, ChainUnavailableError, TokenError
from ledger.in_flight import InFlight
from ledger.node import NodeRefusedError
from ledger.receipt import ADDRESS_BYTES, parse_hex
from ledger.settings import SettlerSettings
from ledger.settling import (
    LOOK_AGAIN_S,
    WINDOW_LOOK_S,
    Goal,
    Next,
    is_carried_out,
    next_for,
    order_goal,
    order_name,
    propose,
)

UNKNOWN = "the chain does not have the agreement"
BEHIND = frozenset({"AlreadyProposed", "AlreadyBooked", "AlreadyRevised", "AlreadyPaid"})
"""Clauses by which the contract has what it had not at the block that was looked at: there are newer ones, or
the node's answers do not agree yet.
"""
ROWS = 50
"""Events that are read in one go."""
MAX_CALLS = 500
"""Calls after which one step ends, so that others get their turn."""


class SettlerStatus(StrEnum):
    """How settling stands."""

    IDLE = "idle"
    """The contract has all that it can have now."""
    WAITING = "waiting"
    """Transactions are sent and not yet mined."""
    CHAIN_DOWN = "chain down"
    """The chain does not answer; nothing is lost."""
    FAILED = "failed"
    """A person must look: the text says at what, and names the clause."""


@dataclass(frozen=True, slots=True)
class SettlerState:
    """How settling stands since `since`."""

    status: SettlerStatus
    text: str
    since: datetime


@dataclass(slots=True)
class _Turn:
    """One look at the chain: after which block, the agreements by id, those that have a call on its way, what
    this step has signed before; and the calls that are found to be due now, at most `room`. `behind` is what
    shows that the chain is further than that block.
    """

    db: Database
    contract: AgreementContract
    block: Block
    held: dict[bytes, Held]
    busy: set[bytes]
    tried: set[str]
    room: int
    now: datetime
    goals: list[Goal] = field(default_factory=list)
    behind: str = ""

    @property
    def full(self) -> bool:
        """Whether no more calls can be signed now."""
        return len(self.goals) >= self.room

    @property
    def place(self) -> tuple[int, bytes]:
        """The block's number and hash."""
        return self.block.number, self.block.hash

    async def settled(self, agreement_id: bytes, event_key: bytes) -> Settled | None:
        """What the contract holds of an event."""
        return await self.contract.settled(agreement_id, event_key, self.block.number)

    def want(self, goal: Goal) -> None:
        """A call is to be signed."""
        self.goals.append(goal)
        self.busy.add(goal.agreement_id)


class Settler:
    """Brings agreements, bookings and payments to the chain. Call `refresh` and `step` from one task."""

    def __init__(self, settings: SettlerSettings) -> None:
        self._settings = settings
        self._key = ChainKey.load(settings.key)
        self._address = parse_hex("settings", settings.contract, ADDRESS_BYTES)
        self._flight = InFlight(settings, self._key, self._address)
        self._contract: AgreementContract | None = None
        self._mirror = Mirror()
        self._state: SettlerState | None = None

    @property
    def account(self) -> bytes:
        """The aggregator's account."""
        return self._key.address

    @property
    def state(self) -> SettlerState | None:
        """How the last step ended; None before the first."""
        return self._state

    async def token_balance(self, account: bytes) -> int:
        """What an account has of the token, in minor units, as the chain says; ChainError if it cannot."""
        return await (await self._connected()).token_balance(account)

    async def close(self) -> None:
        """Close the connections to the node."""
        if self._contract is not None:
            await self._contract.node.close()
            self._contract = None

    async def refresh(self, db: Database, now: datetime) -> bool:
        """Bring the mirror of the agreements up to date; False if the chain does not answer as it must."""
        try:
            contract = await self._connected()
            await self._mirror.look(db, contract, await contract.node.newest(), now)
        except ChainError as error:
            down = isinstance(error, ChainUnavailableError)
            self._note(SettlerStatus.CHAIN_DOWN if down else SettlerStatus.FAILED, str(error), now)
            return False
        return True

    async def step(self, db: Database, now: datetime) -> SettlerState:
        """Bring the contract as far as it goes now. Never raises for what a chain or a network does."""
        try:
            status, said = await self._advance(db, now)
        except ChainUnavailableError as error:
            status, said = SettlerStatus.CHAIN_DOWN, str(error)
        except (ChainError, TokenError) as error:
            status, said = SettlerStatus.FAILED, str(error)
        return self._note(status, said, now)

    def _note(self, status: SettlerStatus, said: str, now: datetime) -> SettlerState:
        previous = self._state
        since = previous.since if previous and previous.status is status else now
        self._state = SettlerState(status, said, since)
        return self._state

    async def _advance(self, db: Database, now: datetime) -> tuple[SettlerStatus, str]:
        contract = await self._connected()
        await self._rewind(db, contract, now)
        sent, tried = set[int](), set[str]()
        while len(sent) < MAX_CALLS:
            block = await contract.node.newest()
            nonce, calls = await self._flight.calls(db, contract.node, block, now)
            await self._mirror.look(db, contract, block, now)
            goals, behind = await self._goals(db, contract, block, calls, tried=tried, now=now)
            tried |= {goal.name for goal in goals}
            calls += await self._flight.sign(db, calls, goals, nonce=nonce, base_fee=block.base_fee, now=now)
            fresh = [call for call in calls if call.call_id not in sent]
            if not fresh and calls:
                return SettlerStatus.WAITING, f"{len(calls)} transactions are sent and not mined yet"
            if not calls:
                return (SettlerStatus.WAITING, behind) if behind else await self._at_rest(db)
            for call in fresh:
                sent.add(await self._flight.send(db, contract.node, call, block, now))
        return SettlerStatus.WAITING, f"{len(sent)} calls were made, more may wait"

    async def _at_rest(self, db: Database) -> tuple[SettlerStatus, str]:
        async with db.read() as conn:
            complaints = await store.complaints(conn)
        if complaints:
            more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
            return SettlerStatus.FAILED, complaints[0] + more
        return SettlerStatus.IDLE, "the contract has all that it can have now"

    async def _rewind(self, db: Database, contract: AgreementContract, now: datetime) -> None:
        """Look again at what was seen in blocks that the chain no longer has, and at orders done in them."""
        while True:
            async with db.read() as conn:
                seen = [await store.newest_seen_in(conn), await call_store.newest_done_in(conn)]
            gone = [
                number
                for number, digest in filter(None, seen)
                if await contract.node.block_hash(number) != digest
            ]
            if not gone:
                return
            async with db.write() as conn:
                for number in gone:
                    await store.reopen(conn, number, now)
                    await call_store.reopen_orders(conn, number)

    async def _goals(
        self,
        db: Database,
        contract: AgreementContract,
        block: Block,
        calls: Sequence[SignedCall],
        *,
        tried: set[str],
        now: datetime,
    ) -> tuple[list[Goal], str]:
        """The next calls that the contract would take, as many as there is room for, and what shows that the
        chain is further than the block.
        """
        busy = {call.agreement_id for call in calls}
        room = self._settings.in_flight - len(calls)
        if room <= 0 or None in busy:  # a call of an older version does not name its agreement
            return [], ""
        async with db.read() as conn:
            held = {one.agreement_id: one for one in await store.agreements(conn)}
        turn = _Turn(db, contract, block, held, {one for one in busy if one}, tried, room, now)
        await self._proposed(turn)
        await self._ordered(turn)
        await self._settling(turn)
        return turn.goals, turn.behind

    async def _proposed(self, turn: _Turn) -> None:
        """The offers that the chain does not have; what stands against one is noted."""
        for agreement in turn.held.values():
            if turn.full:
                return
            if agreement.standing is not None or agreement.agreement_id in turn.busy:
                continue
            goal, said = None, ""
            try:
                goal = propose(agreement.agreement_id, agreement.terms)
            except CallValueError as error:  # it must not hold up the others
                said = str(error)
            if goal is not None:
                clause, said = await self._against(turn, goal)
                if clause in BEHIND:
                    turn.behind = said
                    self._mirror.ask_all_again()
                    continue
            if said != agreement.text:
                async with turn.db.write() as conn:
                    await store.tell_agreement(conn, agreement.agreement_id, said)
            if goal is not None and not said:
                turn.want(goal)

    async def _ordered(self, turn: _Turn) -> None:
        """The calls that the operator wants; orders that are done or refused are noted on the way."""
        async with turn.db.read() as conn:
            orders = await call_store.orders(conn)
        for order in orders:
            if turn.full:
                return
            if order.agreement_id in turn.busy:
                continue
            done_in, said = await self._done_in(turn, order)
            if done_in is None and not said:
                try:
                    goal = order_goal(order)
                    said = (await self._against(turn, goal))[1]
                except CallValueError as error:
                    said = str(error)
                if not said:
                    turn.want(goal)
                    continue
            async with turn.db.write() as conn:
                await call_store.end_order(
                    conn, order.order_id, "done" if done_in else "refused", said, done_in
                )

    async def _done_in(self, turn: _Turn, order: Order) -> tuple[tuple[int, bytes] | None, str]:
        """The block in which an order was done, if it was; else what stands against it before it is tried.

        A call of its own that had its effect has done it, whatever came after; before there is one, what the
        contract shows is not to be done again.
        """
        agreement = turn.held.get(order.agreement_id)  # None: its node was erased since
        if agreement is None or agreement.standing is None:
            return None, UNKNOWN
        async with turn.db.read() as conn:
            made = await call_store.calls_for(conn, order_name(order))
        for raw in made:
            mined = await turn.contract.node.mined(raw)
            if mined is not None and mined[0]:
                return mined[1:], ""
        settled = await turn.settled(order.agreement_id, order.event_key) if order.event_key else None
        return (turn.place if is_carried_out(order, agreement.standing, settled) else None), ""

    async def _settling(self, turn: _Turn) -> None:
        """The next bookings, revisions and payments; everything else that was due is noted on the way."""
        passed = 0  # what stays due now
        while True:
            async with turn.db.read() as conn:
                due = await store.due_accounts(conn, turn.now, ROWS, passed)
            for account in due:
                if turn.full:
                    return
                if account.agreement_id in turn.busy or await self._settle(turn, account):
                    passed += 1
            if len(due) < ROWS:
                return

    async def _settle(self, turn: _Turn, account: Account) -> bool:
        """Whether an event stays due, for a call or another look; else it is noted when to look again."""
        now_s = int(turn.now.timestamp())
        agreement = turn.held[account.agreement_id]
        settled, step = None, Next(None, now_s + LOOK_AGAIN_S, f"event {account.event_id}: {UNKNOWN}")
        if agreement.standing is not None:
            settled = await turn.settled(account.agreement_id, account.event_key)
            try:
                step = next_for(account, settled, agreement.terms, now_s)
            except CallValueError as error:
                step = Next(None, now_s + LOOK_AGAIN_S, f"event {account.event_id}: {error}")
        if step.goal is not None:
            clause, said = await self._against(turn, step.goal)
            if not said:
                turn.want(step.goal)
                return True
            if clause in BEHIND:
                turn.behind = said
                return True
            kind = step.goal.name.partition(" ")[0]
            step = Next(None, now_s + LOOK_AGAIN_S, f"{kind} of event {account.event_id}: {said}")
            if clause == "WindowOpen":  # the chain's clock is behind ours
                step = Next(None, now_s + WINDOW_LOOK_S)
        look_at = datetime.fromtimestamp(step.look_at, UTC) if step.look_at is not None else None
        async with turn.db.write() as conn:
            await store.see_account(conn, account, settled, look_at=look_at, said=step.text, block=turn.place)
        return False

    async def _against(self, turn: _Turn, goal: Goal) -> tuple[str, str]:
        """The clause against a call by its name, and in words with both values; empty if there is none."""
        try:
            node = turn.contract.node
            await node.rehearse_call(self._address, self._key.address, goal.data, self._settings.gas)
        except RevertedCallError as error:
            return refusal(error.data)
        except NodeRefusedError as error:
            return "", str(error)
        # The contract would take it again, so what this step has sent had no effect: once a step is enough.
        return "", "the call was mined and did not change the contract" if goal.name in turn.tried else ""

    async def _connected(self) -> AgreementContract:
        if self._contract is None:
            node = await ContractNode.connect(self._settings.rpc_url, self._settings.timeout_s)
            try:
                found = await node.chain_id()
                if found != self._settings.chain_id:
                    raise ChainError(f"the node serves chain {found}, not {self._settings.chain_id}")
            except BaseException:
                await node.close()
                raise
            self._contract = AgreementContract(node, self._address)
        return self._contract
