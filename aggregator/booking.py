"""Statements on their way to the contract: each that is sealed is handed over once, with the leaves of what
it rests on.

Rules: a statement is handed over in the transaction that moves the position, so a kill loses and doubles
none; the hashes are those of the log's leaves, so that a receipt ties to the booking. A statement of an event
that no agreement on the chain covers stays where it is: in the log.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import audit, settlement, store
from ledger import agreement_store
from ledger import store as ledger_store
from ledger.agreement import NO_HASH, Booking, Outcome, Revision
from ledger.agreement_store import Held
from ledger.merkle import leaf_hash
from vtn.store import Database

BOOKED = "booked-statements"
STATEMENTS_A_STEP = 100
OUTCOMES = {
    settlement.Outcome.MEASURED: Outcome.MEASURED,
    settlement.Outcome.LATE_OPT_OUT: Outcome.LATE_OPT_OUT,
    settlement.Outcome.TEST: Outcome.TEST,
    settlement.Outcome.NOT_DELIVERED: Outcome.NOT_DELIVERED,
    settlement.Outcome.OPTED_OUT: Outcome.OPTED_OUT,
    settlement.Outcome.UNMEASURED: Outcome.UNMEASURED,
}
"""How the contract calls what decided a statement; a cancelled call is no call for it."""


async def hand_over(db: Database, now: datetime) -> None:
    """Keep what is to be booked of every sealed statement. The mirror of the agreements must be up to date:
    what no agreement covers by then is never booked.
    """
    while True:
        async with db.write() as conn:
            after = await store.position(conn, BOOKED)
            sealed = await store.position(conn, audit.STATEMENTS)
            found = await store.statements(conn, after=after, limit=STATEMENTS_A_STEP)
            ready = [stored for stored in found if stored.seq <= sealed]
            for stored in ready:
                await _hand_over(conn, stored, now)
            if ready:
                await store.move(conn, BOOKED, ready[-1].seq)
        if len(ready) < STATEMENTS_A_STEP:
            return


async def _hand_over(conn: AsyncConnection, stored: store.StoredStatement, now: datetime) -> None:
    statement = stored.statement
    outcome = OUTCOMES.get(statement.outcome)
    (call,) = [
        c for c in await store.calls(conn, event_id=statement.event_id) if c.ven_id == statement.ven_id
    ]
    start_s = int(call.period.start.timestamp())
    held = await _covering(conn, statement.ven_id, start_s)
    if outcome is None or held is None:
        return
    measured = await _leaf(conn, audit.statement_record(stored).key)
    if statement.revision > 1:
        revision = Revision(statement.revision, outcome, statement.delivered_wh, measured)
        await agreement_store.add_revision(conn, statement.ven_id, statement.event_id, revision, now)
        return
    answer = await store.answer_key(conn, call)
    booking = Booking(
        signal_hash=await _leaf(conn, f"signal/{call.ven_id}/{call.event_id}/0"),
        response_hash=await _leaf(conn, answer) if answer else NO_HASH,
        measurement_hash=measured,
        notified_at=int(call.notified_at.timestamp()),
        starts_at=start_s,
        duration_s=int((call.period.end - call.period.start).total_seconds()),
        requested_wh=statement.requested_wh,
        delivered_wh=statement.delivered_wh,
        outcome=outcome,
    )
    names = (statement.ven_id, statement.event_id)
    await agreement_store.add_account(conn, names, held.agreement_id, booking, now)


async def _covering(conn: AsyncConnection, ven_id: str, start_s: int) -> Held | None:
    """The agreement under which a call that starts then falls. One that the chain has had and does not show
    now counts by its terms: the chain may be behind, and the settler waits for it.
    """
    held = await agreement_store.agreements(conn, ven_id)
    on_chain = [one for one in held if one.standing is not None and one.standing.covers(start_s)]
    if on_chain:
        return on_chain[-1]
    for one in reversed(held):
        in_time = one.terms.starts_at <= start_s < one.terms.expires_at
        if one.standing is None and in_time and await agreement_store.was_proposed(conn, one.agreement_id):
            return one
    return None


async def _leaf(conn: AsyncConnection, key: str) -> bytes:
    """The hash of a record's leaf; zeros if it is not in the log, or erased."""
    leaf = (await ledger_store.leaves_by_key(conn, [key])).get(key)
    if leaf is None or leaf.salt is None or leaf.canonical is None:
        return NO_HASH
    return leaf_hash(leaf.salt, leaf.canonical)
