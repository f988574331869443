"""The settler: brings statements into the contract `DRAgreement` and pays them, each exactly once.

Rules that make it exactly once:
- the signed bytes of a call are durable before they are sent; after a crash the same bytes are sent again;
- one call is on its way at a time, and a call has come to an end when the chain has used its nonce;
- what came of it is read from the contract after a block, never from the words of an answer: what the
  contract lacks is called for, what it has is not. It takes each booking, revision and payment once;
- a call is rehearsed before it is signed. The clause that stands against it is named, nothing is sent, and it
  is tried again later by itself.

A chain that does not answer is no error: `step` says so and tries again at the next call.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from ledger import agreement_store as store
from ledger.agreement import Settled
from ledger.agreement_contract import AgreementContract, refusal
from ledger.agreement_store import Account, Held, SignedCall
from ledger.anchor import Database
from ledger.contract_node import Block, ContractNode, RevertedCallError
from ledger.errors import CallValueError, ChainError, ChainUnavailableError
from ledger.node import ChainKey, NodeRefusedError, publish_transaction, transaction_fees
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
    propose,
)

UNKNOWN = "the chain does not have the agreement"
ROWS = 50
"""Events that are read in one go."""
MAX_CALLS = 500
"""Calls that one step makes at most, so that others get their turn."""


class SettlerStatus(StrEnum):
    """How settling stands."""

    IDLE = "idle"
    """The contract has all that it can have now."""
    WAITING = "waiting"
    """A transaction is sent and not yet mined."""
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


@dataclass(frozen=True, slots=True)
class _Turn:
    """One look at the chain: after which block, the agreements by id, and what this step has sent before."""

    db: Database
    contract: AgreementContract
    block: Block
    held: dict[bytes, Held]
    tried: set[str]
    now: datetime

    async def settled(self, agreement_id: bytes, event_key: bytes) -> Settled | None:
        return await self.contract.settled(agreement_id, event_key, self.block.number)


class Settler:
    """Brings agreements, bookings and payments to the chain. Call `refresh` and `step` from one task."""

    def __init__(self, settings: SettlerSettings) -> None:
        self._settings = settings
        self._key = ChainKey.load(settings.key_file)
        self._address = parse_hex("settings", settings.contract, ADDRESS_BYTES)
        self._contract: AgreementContract | None = None
        self._state: SettlerState | None = None
        self._seen_hash = b""
        self._seen_all_at: datetime | None = None

    @property
    def account(self) -> bytes:
        """The aggregator's account."""
        return self._key.address

    @property
    def state(self) -> SettlerState | None:
        """How the last step ended; None before the first."""
        return self._state

    async def close(self) -> None:
        """Close the connections to the node."""
        if self._contract is not None:
            await self._contract.node.close()
            self._contract = None

    async def refresh(self, db: Database, now: datetime) -> bool:
        """Bring the mirror of the agreements up to date; False if the chain does not answer as it must."""
        try:
            contract = await self._connected()
            await self._mirror(db, contract, await contract.node.newest(), now)
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
        except ChainError as error:
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
        sent, tried = 0, set[str]()
        for _ in range(MAX_CALLS):
            block = await contract.node.newest()
            async with db.read() as conn:
                call = await store.signed_call(conn)
            if call is not None:
                if await self._has_ended(db, contract, call, block, now):
                    continue
                if call.call_id == sent:
                    return SettlerStatus.WAITING, "a transaction is sent and not mined yet"
                await contract.node.send(call.raw_transaction)
                sent = call.call_id
                continue
            await self._mirror(db, contract, block, now)
            async with db.read() as conn:
                held = {agreement.agreement_id: agreement for agreement in await store.agreements(conn)}
            goal = await self._next(_Turn(db, contract, block, held, tried, now))
            if goal is None:
                return await self._at_rest(db)
            tried.add(goal.name)
            await self._sign(db, contract, goal, block, now)
        return SettlerStatus.WAITING, f"{MAX_CALLS} calls were made, more wait"

    async def _at_rest(self, db: Database) -> tuple[SettlerStatus, str]:
        async with db.read() as conn:
            complaints = await store.complaints(conn)
        if complaints:
            more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
            return SettlerStatus.FAILED, complaints[0] + more
        return SettlerStatus.IDLE, "the contract has all that it can have now"

    async def _has_ended(
        self, db: Database, contract: AgreementContract, call: SignedCall, block: Block, now: datetime
    ) -> bool:
        """Whether a signed call can no more have an effect that it has not had: its nonce is not the next."""
        nonce = await contract.node.nonce_after(self._key.address, block.number)
        if nonce == call.nonce:
            return False
        async with db.write() as conn:
            await store.end_call(conn, call.call_id, "mined" if nonce > call.nonce else "dropped", now)
        return True

    async def _rewind(self, db: Database, contract: AgreementContract, now: datetime) -> None:
        """Look again at what was done in blocks that the chain no longer has."""
        while True:
            async with db.read() as conn:
                newest = await store.newest_paid_in(conn)
            if newest is None or await contract.node.block_hash(newest[0]) == newest[1]:
                return
            async with db.write() as conn:
                await store.reopen(conn, newest[0], now)
            self._seen_all_at = None

    async def _mirror(self, db: Database, contract: AgreementContract, block: Block, now: datetime) -> None:
        """Note how the agreements stand after a block; those that are over only once in a while."""
        whole = self._seen_all_at is None or now - self._seen_all_at >= timedelta(seconds=LOOK_AGAIN_S)
        if block.hash == self._seen_hash and not whole:
            return
        async with db.read() as conn:
            held = await store.agreements(conn)
        for agreement in held:
            if whole or not agreement.is_over(now):
                standing = await contract.standing(agreement.agreement_id, block.number)
                async with db.write() as conn:
                    await store.see_agreement(conn, agreement.agreement_id, standing, now)
        self._seen_hash = block.hash
        if whole:
            self._seen_all_at = now

    async def _next(self, turn: _Turn) -> Goal | None:
        """The next call that the contract would take; None if there is none now."""
        for agreement in turn.held.values():
            if agreement.standing is None:
                goal, said = None, ""
                try:
                    goal = propose(agreement.agreement_id, agreement.terms)
                except CallValueError as error:  # it must not hold up the others
                    said = str(error)
                if goal is not None:
                    _, said = await self._against(turn, goal)
                if said != agreement.text:
                    async with turn.db.write() as conn:
                        await store.tell_agreement(conn, agreement.agreement_id, said)
                if not said:
                    return goal
        return await self._ordered(turn) or await self._settling(turn)

    async def _ordered(self, turn: _Turn) -> Goal | None:
        """The next call that the operator wants; orders that are done or refused are noted on the way."""
        async with turn.db.read() as conn:
            orders = await store.orders(conn)
        for order in orders:
            agreement = turn.held.get(order.agreement_id)  # None: its node was erased since
            standing = agreement.standing if agreement else None
            done, said = False, UNKNOWN
            if standing is not None:
                settled = await turn.settled(order.agreement_id, order.event_key) if order.event_key else None
                done = is_carried_out(order, standing, settled)
                try:
                    goal = order_goal(order)
                    said = "" if done else (await self._against(turn, goal))[1]
                    if not said and not done:
                        return goal
                except CallValueError as error:
                    said = str(error)
            async with turn.db.write() as conn:
                await store.end_order(conn, order.order_id, "done" if done else "refused", said)
        return None

    async def _settling(self, turn: _Turn) -> Goal | None:
        """The next booking, revision or payment; everything else that was due is noted on the way."""
        while True:
            async with turn.db.read() as conn:
                due = await store.due_accounts(conn, turn.now, ROWS)
            for account in due:
                goal = await self._settle(turn, account)
                if goal is not None:
                    return goal
            if len(due) < ROWS:
                return None

    async def _settle(self, turn: _Turn, account: Account) -> Goal | None:
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
                return step.goal
            kind = step.goal.name.partition(" ")[0]
            step = Next(None, now_s + LOOK_AGAIN_S, f"{kind} of event {account.event_id}: {said}")
            if clause == "WindowOpen":  # the chain's clock is behind ours
                step = Next(None, now_s + WINDOW_LOOK_S)
        look_at = datetime.fromtimestamp(step.look_at, UTC) if step.look_at is not None else None
        block = None if look_at else (turn.block.number, turn.block.hash)
        async with turn.db.write() as conn:
            await store.see_account(conn, account, settled, look_at=look_at, said=step.text, block=block)
        return None

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

    async def _sign(
        self, db: Database, contract: AgreementContract, goal: Goal, block: Block, now: datetime
    ) -> None:
        """A signed call, durable before anybody sees it."""
        nonce = await contract.node.nonce_after(self._key.address, block.number)
        transaction = publish_transaction(
            self._settings.chain_id,
            self._address,
            nonce=nonce,
            gas=self._settings.gas,
            fees=transaction_fees(block.base_fee),
            data=goal.data,
        )
        async with db.write() as conn:
            await store.add_call(conn, goal.name, nonce, self._key.sign(transaction), now)

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
