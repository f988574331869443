"""Events that two people decide about: proposed by one, approved by another, sent by the approval.

What is approved is bound to the hash of exactly what was proposed: if it would be another event when the
second person decides, nothing is sent and the proposal is void. All rules are in `clearance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import clearance
from aggregator import request as operator_request
from aggregator.access.secret import new_id
from aggregator.clearance import EXPIRED, REFUSED, SENT, WAITING, Sender
from aggregator.errors import (
    ApprovalError,
    KeyReusedError,
    PreviewChangedError,
    RequestRefusedError,
    StaleEventError,
    UnknownObjectError,
)
from aggregator.limit_schema import approval_table
from aggregator.portfolio import Portfolio
from aggregator.request import Asked
from aggregator.topic import Changed, Topic
from vtn.store import after_commit

SHOWN = 100


@dataclass(frozen=True, slots=True)
class Proposal:
    """One event that waits, or has waited, for a second person. People are named by their ids."""

    approval_id: str
    asked: Asked
    digest: str
    power_w: int
    nodes: int
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime
    state: str
    decided_by: str | None
    decided_at: datetime | None
    event_id: str | None

    def state_at(self, now: datetime) -> str:
        """waiting, sent, refused, void, or expired."""
        return EXPIRED if self.state == WAITING and now >= self.expires_at else self.state


async def propose(
    conn: AsyncConnection,
    portfolio: Portfolio,
    asked: Asked,
    now: datetime,
    *,
    sender: Sender,
    previewed: str | None = None,
) -> Proposal:
    """Put an event before a second person; the same key is the same proposal.

    PreviewChangedError, RequestRefusedError, and what the budget says.
    """
    t = approval_table
    if asked.key is not None:
        earlier = await _find(conn, t.c.idempotency_key == asked.key)
        if earlier is not None:
            if earlier.asked.text() != asked.text():
                raise KeyReusedError
            return earlier
    dispatch = await operator_request.plan(conn, portfolio, asked, now)
    digest = operator_request.digest(asked, dispatch)
    if previewed is not None and digest != previewed:
        raise PreviewChangedError
    if not dispatch.assignments:
        raise RequestRefusedError("no node can give anything")
    rules, changed = portfolio.rules, asked.change.event_id if asked.change else None
    await clearance.check_budget(conn, rules, dispatch, sender=sender, now=now, changed=changed)
    proposal = Proposal(
        approval_id=new_id("p"),
        asked=asked,
        digest=digest,
        power_w=dispatch.power_w,
        nodes=len(dispatch.assignments),
        proposed_by=sender.who,
        proposed_at=now,
        expires_at=min(
            now + timedelta(seconds=rules.limits.approval_expires_s), asked.reduction.period.start
        ),
        state=WAITING,
        decided_by=None,
        decided_at=None,
        event_id=None,
    )
    await conn.execute(insert(t).values(_row(proposal)))
    after_commit(conn, Changed(Topic.EVENTS))
    return proposal


async def approve(
    conn: AsyncConnection,
    portfolio: Portfolio,
    market_context: str,
    approval_id: str,
    now: datetime,
    *,
    who: str,
) -> dict[str, Any]:
    """Send what was proposed, as the second person; the answer of `request.send`. ApprovalError if not."""
    proposal = await find(conn, approval_id)
    key = f"{operator_request.OF_APPROVALS}{approval_id}"
    asked, sender = replace(proposal.asked, key=key), Sender(who, approval_id)
    if proposal.state != WAITING:
        raise ApprovalError("it has been decided already")
    try:
        answer = await operator_request.send(conn, portfolio, market_context, asked, now, sender=sender)
    except StaleEventError as error:
        clearance.void_if_undone(conn, sender, now)
        raise ApprovalError("the event has changed since this was proposed: propose it again") from error
    t = approval_table
    sent = update(t).where(t.c.approval_id == approval_id)
    await conn.execute(sent.values(event_id=answer["event_id"]))
    after_commit(conn, Changed(Topic.EVENTS))
    return answer


async def refuse(conn: AsyncConnection, approval_id: str, who: str, now: datetime) -> None:
    """Decide against it; who proposed it takes it back so."""
    t = approval_table
    waiting = update(t).where(t.c.approval_id == approval_id, t.c.state == WAITING)
    done = await conn.execute(waiting.values(state=REFUSED, decided_by=who, decided_at=now))
    if not done.rowcount:
        await find(conn, approval_id)
        raise ApprovalError("it has been decided already")
    after_commit(conn, Changed(Topic.EVENTS))


async def find(conn: AsyncConnection, approval_id: str) -> Proposal:
    """One proposal; UnknownObjectError."""
    found = await _find(conn, approval_table.c.approval_id == approval_id)
    if found is None:
        raise UnknownObjectError(f"there is no proposal {approval_id[:128]!r}")
    return found


async def of_event(conn: AsyncConnection, event_id: str) -> Proposal | None:
    """The newest proposal that two people have sent this event by; None where one person sent it."""
    t = approval_table
    query = select(t).where(t.c.event_id == event_id, t.c.state == SENT).order_by(t.c.decided_at.desc())
    row = (await conn.execute(query.limit(1))).first()
    return None if row is None else _proposal(row)


async def proposals(conn: AsyncConnection, limit: int = SHOWN) -> Sequence[Proposal]:
    """The newest first."""
    t = approval_table
    query = select(t).order_by(t.c.proposed_at.desc(), t.c.approval_id).limit(limit)
    return [_proposal(row) for row in await conn.execute(query)]


async def waiting(conn: AsyncConnection, now: datetime) -> Sequence[Proposal]:
    """Those about which somebody can still decide, the oldest first."""
    t = approval_table
    query = select(t).where(t.c.state == WAITING, t.c.expires_at > now).order_by(t.c.proposed_at)
    return [_proposal(row) for row in await conn.execute(query.limit(SHOWN))]


async def _find(conn: AsyncConnection, clause: Any) -> Proposal | None:
    row = (await conn.execute(select(approval_table).where(clause))).first()
    return None if row is None else _proposal(row)


def _row(proposal: Proposal) -> dict[str, Any]:
    return {
        "approval_id": proposal.approval_id,
        "asked": proposal.asked.text(),
        "idempotency_key": proposal.asked.key,
        "digest": proposal.digest,
        "power_w": proposal.power_w,
        "nodes": proposal.nodes,
        "proposed_by": proposal.proposed_by,
        "proposed_at": proposal.proposed_at,
        "expires_at": proposal.expires_at,
        "state": proposal.state,
    }


def _proposal(row: Any) -> Proposal:
    return Proposal(
        approval_id=row.approval_id,
        asked=Asked.read(row.asked, row.idempotency_key),
        digest=row.digest,
        power_w=row.power_w,
        nodes=row.nodes,
        proposed_by=row.proposed_by,
        proposed_at=row.proposed_at,
        expires_at=row.expires_at,
        state=row.state,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        event_id=row.event_id,
    )
