"""Agreements on the chain in a running aggregator: the mirror is kept, statements are handed over and
settled, and the operator's wishes are carried out. Nothing of the business ever waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import audit, booking, enrolment, mirror, statement
from aggregator.errors import BadInputError, RequestRefusedError, SettingsError, UnknownObjectError
from aggregator.settings import AgreementsSettings, ChainSettings, NodeSettings, ProgrammeSettings
from ledger import agreement_store, call_store
from ledger.agreement import NO_HASH, Settled, Terms, salted_digest
from ledger.agreement_contract import propose_call
from ledger.agreement_store import Account, Held
from ledger.call_store import Order, Reason
from ledger.chain_key import ChainKey
from ledger.errors import CallValueError, ChainError
from ledger.log import Log
from ledger.settler import Settler, SettlerStatus
from vtn import registration
from vtn.store import Database

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 225.0
ASKED_S = 5.0
"""Real seconds that somebody who looks at a page waits for the chain."""
MINED_S = 1.0
"""Real seconds until a transaction that is on its way is looked at again."""


Unit = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
"""Opens a unit of work in which an order is kept, with what is to be kept beside it."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the operator offers a node beside the limits and prices that are configured; accounts are 20
    bytes.
    """

    ven_name: str
    account: bytes
    arbiter: bytes
    starts_at: datetime
    expires_at: datetime
    payment_term_s: int
    dispute_window_s: int


class ChainBook:
    """The aggregator's part in the agreements on the chain."""

    def __init__(
        self,
        settings: tuple[AgreementsSettings, ChainSettings, Sequence[NodeSettings], ProgrammeSettings],
        sealed: Log,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        agreements, chain, self._nodes, self._programme = settings
        self._settler = Settler(agreements.settler(chain))
        if ChainKey.load(chain.key).address == self._settler.account:
            raise SettingsError(
                f"agreements and chain have one account, 0x{self._settler.account.hex()}: each needs a key of"
                " its own, because it counts its transactions by itself"
            )
        self._log = sealed
        self._clock = clock
        self._sleep = sleep
        self._news = asyncio.Event()
        self._turn = asyncio.Lock()
        self._accepted: dict[str, Terms] | None = None

    async def close(self) -> None:
        """Close the connections to the chain."""
        await self._settler.close()

    def wake(self) -> None:
        """There may be something to do."""
        self._news.set()

    async def work(self, db: Database) -> None:
        """Bring the chain as far as it goes, then wait for news or a while."""
        self._news.clear()
        if await self.look(db) is SettlerStatus.WAITING:
            await asyncio.sleep(MINED_S)
            return
        waits = [asyncio.ensure_future(self._news.wait()), asyncio.ensure_future(self._sleep(LOOK_EVERY_S))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def look(self, db: Database) -> SettlerStatus:
        """One turn: mirror, hand over, settle."""
        async with self._turn:
            now, before = self._clock(), self._settler.state
            if await self._settler.refresh(db, now):
                await self._settle(db, now)
            await self._put_in_force(db, now)
        state = self._settler.state
        if state is None:
            raise RuntimeError("a turn leaves a state")
        if before is None or (before.status, before.text) != (state.status, state.text):
            log.info("agreements", status=str(state.status), text=state.text)
        return state.status

    async def _settle(self, db: Database, now: datetime) -> None:
        """Hand over and settle, until no statement lacks what the contract says of its penalty."""
        while True:
            await audit.seal(db, self._log)
            await booking.hand_over(db, now)
            await self._settler.step(db, now)
            made = await statement.follow_contract(db, self._programme, now)
            if not made:
                return
            for one in made:
                log.info("statement made", **one.body())

    async def _put_in_force(self, db: Database, now: datetime) -> None:
        """What nodes have accepted on the chain is what the business counts with."""
        async with db.read() as conn:
            held = await agreement_store.agreements(conn)
        accepted = {h.subject: h.terms for h in held if h.standing is not None and h.standing.accepted_at}
        if accepted != self._accepted:
            async with db.write() as conn:
                await enrolment.agree(conn, self._nodes, now, on_chain=True)
            self._accepted = accepted

    async def catch_up(self, db: Database, timeout_s: float) -> bool:
        """Whether the chain has all that it can have now, within real seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    status = await self.look(db)
                    if status is not SettlerStatus.WAITING:
                        return status is SettlerStatus.IDLE
                    await asyncio.sleep(MINED_S / 5)
        return False

    def state(self) -> dict[str, Any]:
        """How it stands, for people."""
        state = self._settler.state
        return {
            "status": str(state.status) if state else "not asked yet",
            "text": state.text if state else "",
        }

    async def token_balance(self, account: bytes) -> int | None:
        """What an account has of the token now, in minor units; None if the chain does not tell in time."""
        with suppress(ChainError, TimeoutError):
            async with asyncio.timeout(ASKED_S), self._turn:
                return await self._settler.token_balance(account)
        return None

    async def propose(self, db: Database, offer: Offer, unit: Unit | None = None) -> dict[str, Any]:
        """Keep an offer to a node (in `unit`), and bring it to the chain if that answers; RequestRefusedError
        if the node has an agreement that is not over, BadInputError if the contract cannot hold a value.
        """
        now = self._clock()
        async with (unit or db.write)() as conn:
            vens = {ven.ven_name: ven.ven_id for ven in await registration.vens(conn)}
            configured = {node.ven_name: node.agreement.agreement() for node in self._nodes}
            if offer.ven_name not in vens or offer.ven_name not in configured:
                raise UnknownObjectError(f"there is no node {offer.ven_name}")
            ven_id = vens[offer.ven_name]
            await agreement_store.drop_refused(conn, ven_id)
            for held in await agreement_store.agreements(conn, ven_id):
                if not held.is_over(now):
                    raise RequestRefusedError(
                        f"node {offer.ven_name} has an agreement that is not over: {held.agreement_id.hex()}"
                    )
            terms = Terms(
                aggregator=self._settler.account,
                node=offer.account,
                arbiter=offer.arbiter,
                starts_at=int(offer.starts_at.timestamp()),
                expires_at=int(offer.expires_at.timestamp()),
                payment_term_s=offer.payment_term_s,
                dispute_window_s=offer.dispute_window_s,
                utc_offset_s=self._utc_offset_s(offer.starts_at),
                **mirror.limits_of(configured[offer.ven_name]),
            )
            try:
                propose_call(NO_HASH, terms)
            except CallValueError as error:  # once it is kept, it would be refused at each step
                raise BadInputError(str(error)) from error
            agreement_id = await agreement_store.add_agreement(conn, ven_id, terms, now)
        await self.look(db)
        return await self.agreement(db, agreement_id.hex())

    async def dispute(
        self, db: Database, text: str, event_id: str, reason: str, unit: Unit | None = None
    ) -> None:
        """Contest a settlement. Reason and salt, of which the chain has the hash, are kept before anything is
        sent; `agreement` shows them.
        """
        salt, digest = salted_digest(reason)
        kept = Reason(reason, salt)
        await self.order(db, text, "dispute", digest.hex(), event_id=event_id, reason=kept, unit=unit)

    async def order(
        self,
        db: Database,
        text: str,
        kind: str,
        argument: str,
        *,
        event_id: str = "",
        reason: Reason | None = None,
        unit: Unit | None = None,
    ) -> None:
        """Keep an order about an agreement or one of its events (in `unit`), and carry it out if the chain
        answers. RequestRefusedError with the clause if the contract refuses.
        """
        async with (unit or db.write)() as conn:
            held = await _find(conn, text)
            key = None
            if event_id:
                account = await agreement_store.account(conn, held.subject, event_id)
                if account is None:
                    raise UnknownObjectError(f"event {event_id} is not booked under that agreement")
                key = account.event_key
            wanted = Order(0, kind, held.agreement_id, key, argument, reason=reason)
            number = await call_store.add_order(conn, wanted, self._clock())
        await self.look(db)
        async with db.read() as conn:
            (kept,) = [o for o in await call_store.orders(conn, open_only=False) if o.order_id == number]
        if kept.state == "refused":
            raise RequestRefusedError(f"{kind}: {kept.text}")

    async def agreements(self, db: Database) -> list[dict[str, Any]]:
        """All agreements without their events."""
        async with db.read() as conn:
            names = {ven.ven_id: ven.ven_name for ven in await registration.vens(conn)}
            return [self._shown(held, names) for held in await agreement_store.agreements(conn)]

    async def agreement(self, db: Database, text: str) -> dict[str, Any]:
        """One agreement with its events, as the chain showed them last."""
        async with db.read() as conn:
            held = await _find(conn, text)
            names = {ven.ven_id: ven.ven_name for ven in await registration.vens(conn)}
            accounts = await agreement_store.accounts(conn, held.agreement_id)
            orders = await call_store.orders(conn, held.agreement_id, open_only=False)
        events = {account.event_key: account.event_id for account in accounts}
        return {
            **self._shown(held, names),
            "events": [_event(account) for account in accounts],
            "disputes": [_dispute(order, order.reason, events) for order in orders if order.reason],
        }

    def _shown(self, held: Held, names: dict[str, str]) -> dict[str, Any]:
        now_s, standing = int(self._clock().timestamp()), held.standing
        state = standing.state_at(now_s).name.lower() if standing else "not on the chain"
        return {
            "id": held.agreement_id.hex(),
            "ven_id": held.subject,
            "ven_name": names.get(held.subject, ""),
            "state": state,
            "why": held.text or (standing.why_suspended(now_s) if standing else ""),
            "seen_at": held.seen_at.isoformat(),
            "starts_at": held.terms.starts_at,
            "expires_at": held.terms.expires_at,
        }

    def _utc_offset_s(self, at: datetime) -> int:
        """The offset of the programme's zone then: what the contract counts its days by."""
        offset = at.astimezone(self._programme.calendar().zone).utcoffset() or timedelta(0)
        return int(offset.total_seconds())


async def _find(conn: Any, text: str) -> Held:
    for held in await agreement_store.agreements(conn):
        if held.agreement_id.hex() == text.removeprefix("0x").lower():
            return held
    raise UnknownObjectError(f"there is no agreement {text[:80]!r}")


def _event(account: Account) -> dict[str, Any]:
    booked = account.booking
    return {
        "event_id": account.event_id,
        "event_key": account.event_key.hex(),
        "signal_hash": booked.signal_hash.hex(),
        "response_hash": booked.response_hash.hex(),
        "measurement_hash": account.revisions[-1].measurement_hash.hex(),
        "state": account.state,
        "text": account.text,
        "settled": _settled(account.settled) if account.settled else None,
    }


def _dispute(order: Order, reason: Reason, events: dict[bytes, str]) -> dict[str, Any]:
    return {
        "event_id": events.get(order.event_key or b"", ""),
        "reason": reason.text,
        "reason_salt": reason.salt.hex(),
        "reason_hash": order.argument,
        "state": order.state,
        "text": order.text,
    }


def _settled(settled: Settled) -> dict[str, Any]:
    return {
        "status": settled.status.name.lower(),
        "outcome": settled.outcome.name.lower(),
        "revision": settled.revision,
        "requested_wh": settled.requested_wh,
        "delivered_wh": settled.delivered_wh,
        "incentive_minor": settled.incentive_minor,
        "penalty_minor": settled.penalty_minor,
        "penalty_waived": settled.penalty_waived,
        "amount_minor": settled.amount_minor,
        "final_at": settled.final_at,
        "due_at": settled.due_at,
    }
