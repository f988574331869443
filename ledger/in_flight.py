"""The settler's calls on their way: signed and kept, sent, and known to have come to an end by the chain's
state alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from web3.types import Wei

from ledger import call_store
from ledger.anchor import Database
from ledger.call_store import SignedCall
from ledger.chain_key import ChainKey
from ledger.contract_node import Block, ContractNode
from ledger.node import publish_transaction, raised_fees, transaction_fees
from ledger.settings import SettlerSettings
from ledger.settling import Goal
from ledger.state import rlp_decode

TO, DATA = 5, 7
"""Places in a transaction of type 2."""


class InFlight:
    """The calls of one account to one contract."""

    def __init__(self, settings: SettlerSettings, key: ChainKey, contract: bytes) -> None:
        self._settings = settings
        self._key = key
        self._contract = contract

    async def calls(
        self, db: Database, node: ContractNode, block: Block, now: datetime
    ) -> tuple[int, list[SignedCall]]:
        """The account's next nonce after a block, and the calls that take it and those that follow it.

        What the chain has taken back is on its way again. A call behind a nonce that no call has can not come
        to pass, and is dropped: what it was for is called for anew.
        """
        nonce = await node.nonce_after(self._key.address, block.number)
        async with db.read() as conn:
            kept = await call_store.signed_calls(conn)
            undone = await call_store.mined_from(conn, nonce)
        own = [call for call in undone if _fields(call.raw_transaction)[TO] == self._contract]
        places = {call.nonce: call for call in [*own, *kept]}
        calls: list[SignedCall] = []
        while nonce + len(calls) in places:
            calls.append(places[nonce + len(calls)])
        ended = [call for call in kept if call.nonce < nonce]
        dropped = [call for call in [*undone, *kept] if call.nonce >= nonce and call not in calls]
        again = [call for call in calls if call not in kept]
        if ended or dropped or again:
            async with db.write() as conn:
                await call_store.set_calls(conn, ended, "mined", now)
                await call_store.set_calls(conn, dropped, "dropped", now)
                await call_store.set_calls(conn, again, "signed", now)
        return nonce, calls[: self._settings.in_flight]

    async def sign(
        self,
        db: Database,
        calls: Sequence[SignedCall],
        goals: Sequence[Goal],
        *,
        nonce: int,
        base_fee: int,
        now: datetime,
    ) -> list[SignedCall]:
        """Signed calls for these goals behind those that are on their way, durable before anybody sees them;
        none if somebody else was here meanwhile.
        """
        if not goals:
            return []
        fees = transaction_fees(base_fee)
        made = [
            (goal.name, place, self._signed(place, goal.data, fees))
            for place, goal in enumerate(goals, nonce + len(calls))
        ]
        async with db.write() as conn:
            return await call_store.add_calls(conn, calls, made, now)

    async def send(
        self, db: Database, node: ContractNode, call: SignedCall, block: Block, now: datetime
    ) -> int:
        """Send a call, or in its place one with its nonce that pays enough if it does not; the number of what
        was sent.
        """
        if fees := raised_fees(call.raw_transaction, block.base_fee):
            signed = self._signed(call.nonce, _fields(call.raw_transaction)[DATA], fees)
            async with db.write() as conn:
                call = await call_store.replace_call(conn, call, signed, now) or call
        await node.send(call.raw_transaction)
        return call.call_id

    def _signed(self, nonce: int, data: bytes, fees: dict[str, Wei]) -> bytes:
        transaction = publish_transaction(
            self._settings.chain_id,
            self._contract,
            nonce=nonce,
            gas=self._settings.gas,
            fees=fees,
            data=data,
        )
        return self._key.sign(transaction)


def _fields(raw: bytes) -> list[bytes]:
    return cast("list[bytes]", rlp_decode("transaction", raw[1:]))
