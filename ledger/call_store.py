"""All SQL of the aggregator's calls of the contract, and of the operator's orders that ask for some; the
tables are in `agreement_schema`. Functions take the caller's connection and never commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.agreement_schema import call_table, order_table
from ledger.record import time_text

_ID_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a settlement is contested; the chain has the SHA-256 of salt and text."""

    text: str
    salt: bytes


@dataclass(frozen=True, slots=True)
class Order:
    """Something that the aggregator's operator wants done."""

    order_id: int
    kind: str
    agreement_id: bytes
    event_key: bytes | None
    argument: str
    state: str = "open"
    text: str = ""
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class SignedCall:
    """A signed transaction that the chain may still take."""

    call_id: int
    goal: str
    nonce: int
    raw_transaction: bytes

    @property
    def agreement_id(self) -> bytes | None:
        """The agreement that it is about; None if an older version signed it, which did not always say."""
        _, named, *_ = self.goal.split(" ")
        return bytes.fromhex(named) if len(named) == _ID_DIGITS else None


async def add_order(conn: AsyncConnection, order: Order, now: datetime) -> int:
    """Keep an order; its number."""
    row = {
        "kind": order.kind,
        "agreement_id": order.agreement_id,
        "event_key": order.event_key,
        "argument": order.argument,
        "state": order.state,
        "text": order.text,
        "made_at": time_text(now),
        "reason": order.reason.text if order.reason else None,
        "reason_salt": order.reason.salt if order.reason else None,
    }
    (number,) = (await conn.execute(insert(order_table).values(row))).inserted_primary_key or (0,)
    return int(number)


async def orders(
    conn: AsyncConnection, agreement_id: bytes | None = None, *, open_only: bool = True
) -> list[Order]:
    """Orders in the order in which they came, all or those about one agreement."""
    t = order_table
    columns = (t.c.order_id, t.c.kind, t.c.agreement_id, t.c.event_key, t.c.argument, t.c.state, t.c.text)
    query = select(*columns, t.c.reason, t.c.reason_salt).order_by(t.c.order_id)
    if open_only:
        query = query.where(t.c.state == "open")
    if agreement_id is not None:
        query = query.where(t.c.agreement_id == agreement_id)
    return [
        Order(*row[:7], None if row.reason is None else Reason(row.reason, row.reason_salt))
        for row in await conn.execute(query)
    ]


async def end_order(
    conn: AsyncConnection, order_id: int, state: str, said: str, block: tuple[int, bytes] | None = None
) -> None:
    """Note that an order is `done`, in a block, or `refused`, and why."""
    number, digest = block or (None, None)
    values = {"state": state, "text": said, "seen_block": number, "seen_hash": digest}
    await conn.execute(update(order_table).where(order_table.c.order_id == order_id).values(**values))


async def newest_done_in(conn: AsyncConnection) -> tuple[int, bytes] | None:
    """Number and hash of the newest block in which an order was done."""
    t = order_table
    query = select(t.c.seen_block, t.c.seen_hash).where(t.c.seen_block.is_not(None))
    row = (await conn.execute(query.order_by(t.c.seen_block.desc()).limit(1))).one_or_none()
    return None if row is None else (row.seen_block, row.seen_hash)


async def reopen_orders(conn: AsyncConnection, block: int) -> None:
    """What was done in that block is still wanted: the chain no longer has the block."""
    t = order_table
    values = {"state": "open", "seen_block": None, "seen_hash": None}
    await conn.execute(update(t).where(t.c.seen_block == block).values(**values))


async def signed_calls(conn: AsyncConnection) -> list[SignedCall]:
    """The transactions that the chain may still take, in the order of their nonces."""
    return await _calls(conn, "signed")


async def mined_from(conn: AsyncConnection, nonce: int) -> list[SignedCall]:
    """The transactions that counted as mined, from a nonce on: the newest for each, in their order."""
    newest = {call.nonce: call for call in await _calls(conn, "mined", nonce)}
    return list(newest.values())


async def _calls(conn: AsyncConnection, state: str, nonce: int = 0) -> list[SignedCall]:
    t = call_table
    query = select(t.c.call_id, t.c.goal, t.c.nonce, t.c.raw_transaction)
    query = query.where(t.c.state == state, t.c.nonce >= nonce).order_by(t.c.nonce, t.c.call_id)
    return [SignedCall(*row) for row in await conn.execute(query)]


async def calls_for(conn: AsyncConnection, goal: str) -> list[bytes]:
    """The transactions that were signed for a goal and had their time, newest first."""
    t = call_table
    query = select(t.c.raw_transaction).where(t.c.goal == goal, t.c.state != "signed")
    return list((await conn.execute(query.order_by(t.c.call_id.desc()))).scalars())


async def add_calls(
    conn: AsyncConnection,
    known: Sequence[SignedCall],
    made: Sequence[tuple[str, int, bytes]],
    now: datetime,
) -> list[SignedCall]:
    """Keep signed transactions (goal, nonce, bytes) before they are sent. None is kept if others than the
    known ones are on their way: somebody else was here meanwhile.
    """
    if await signed_calls(conn) != list(known):
        return []
    return [await _add(conn, *call, now) for call in made]


async def replace_call(
    conn: AsyncConnection, call: SignedCall, raw: bytes, now: datetime
) -> SignedCall | None:
    """Keep another transaction with the nonce of one that is on its way; None if that one no longer is."""
    if call not in await signed_calls(conn):
        return None
    await set_calls(conn, [call], "dropped", now)
    return await _add(conn, call.goal, call.nonce, raw, now)


async def _add(conn: AsyncConnection, goal: str, nonce: int, raw: bytes, now: datetime) -> SignedCall:
    row = {
        "goal": goal,
        "state": "signed",
        "nonce": nonce,
        "raw_transaction": raw,
        "changed_at": time_text(now),
    }
    (number,) = (await conn.execute(insert(call_table).values(row))).inserted_primary_key or (0,)
    return SignedCall(int(number), goal, nonce, raw)


async def set_calls(conn: AsyncConnection, calls: Sequence[SignedCall], state: str, now: datetime) -> None:
    """Note that transactions are `mined`, `dropped` because others took their place, or `signed` again."""
    values = {"state": state, "changed_at": time_text(now)}
    for call in calls:
        await conn.execute(update(call_table).where(call_table.c.call_id == call.call_id).values(**values))


async def count_calls(conn: AsyncConnection) -> dict[str, int]:
    """How many transactions there were, by state."""
    t = call_table
    rows = await conn.execute(select(t.c.state, func.count()).group_by(t.c.state))
    return {row[0]: row[1] for row in rows}
