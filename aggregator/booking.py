"""Statements on their way to the contract: each that is sealed is handed over once, with the leaves of what
it rests on.

Rules: a statement is handed over in the transaction that moves the position, so a kill loses and doubles
none; the hashes are those of the log's leaves, so that a receipt ties to the booking. A statement of an event
that no agreement on the chain covers stays where it is: in the log.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import audit, override_book, settlement, store
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
    (call,) = await store.calls(conn, event_id=statement.event_id, ven_id=statement.ven_id)
    start_s = int(call.period.start.timestamp())
    held = await _covering(conn, statement.ven_id, start_s)
    if outcome is None or held is None:
        return
    measured = await _leaf(conn, audit.statement_record(stored).key)
    if statement.revision > 1:
        revision = Revision(statement.revision, outcome, statement.delivered_wh, measured)
        await agreement_store.add_revision(conn, statement.ven_id, statement.event_id, revision, now)
        return
    versions = await override_book.versions(conn, call.ven_id, call.event_id, call.modification_number)
    answer = await store.answer_key(conn, call, versions)
    booking = Booking(
        signal_hash=await _leaf(conn, f"signal/{call.ven_id}/{call.event_id}/{call.modification_number}"),
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
    """The agreement under which a call that starts then falls.

    One that the node had accepted by then counts by its terms also while the chain does not show it so: the
    chain may be behind, and the settler waits for it.
    """
    held = await agreement_store.agreements(conn, ven_id)
    on_chain = [one for one in held if one.standing is not None and one.standing.covers(start_s)]
    behind = [one for one in held if _is_behind(one) and _was_agreed(one, start_s)]
    found = on_chain or behind
    return found[-1] if found else None


def _is_behind(held: Held) -> bool:
    """Whether the chain showed once that the node had accepted, and does not show it now."""
    return bool(held.accepted_at) and (held.standing is None or not held.standing.accepted_at)


def _was_agreed(held: Held, start_s: int) -> bool:
    return max(held.accepted_at, held.terms.starts_at) <= start_s < held.terms.expires_at


async def _leaf(conn: AsyncConnection, key: str) -> bytes:
    """The hash of a record's leaf; zeros if it is not in the log, or erased."""
    leaf = (await ledger_store.leaves_by_key(conn, [key])).get(key)
    if leaf is None or leaf.salt is None or leaf.canonical is None:
        return NO_HASH
    return leaf_hash(leaf.salt, leaf.canonical)
