"""What an event would do, before anything is sent: who is asked, what to expect, what stands in the way.

Nothing is written. The digest names exactly what was shown: `request.send` refuses to send anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import budget, clearance, sent_event
from aggregator import request as operator_request
from aggregator.agreement import Clause
from aggregator.budget import Excess, Opened
from aggregator.commitment import Commitment, commitments
from aggregator.dispatch import Dispatch
from aggregator.effect import Effect, Rate
from aggregator.portfolio import Portfolio
from aggregator.profile import Period
from aggregator.reach import Reach, contacts, reach_of
from aggregator.request import Asked
from aggregator.sent_event import SentEvent
from vtn import registration


@dataclass(frozen=True, slots=True)
class Reached:
    """A node that would be asked."""

    ven_id: str
    ven_name: str
    power_w: int
    reach: Reach
    last_contact: datetime | None


@dataclass(frozen=True, slots=True)
class Leaving:
    """A node that would be taken out of the event that changes."""

    ven_id: str
    ven_name: str
    power_w: int


@dataclass(frozen=True, slots=True)
class Overlap:
    """Another event in the same time."""

    event_id: str
    period: Period
    power_w: int
    nodes: int
    test_event: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """All of it. `record` is the fleet's delivery rate, on which `effect` rests; `sent` is the event that
    would change, None for a new one, and `leaving` its nodes that would be taken out.
    """

    asked: Asked
    dispatch: Dispatch
    digest: str
    effect: Effect
    record: Rate
    nodes: tuple[Reached, ...]
    overlaps: tuple[Overlap, ...]
    excesses: tuple[Excess, ...]
    breaker: Opened | None
    needs_second: bool
    sent: SentEvent | None = None
    leaving: tuple[Leaving, ...] = ()

    def before_w(self, ven_id: str) -> int:
        """What the node is asked for by the event as it stands."""
        part = self.sent.parts.get(ven_id) if self.sent else None
        return part.power_w if part else 0

    def reaching(self, reach: str) -> list[Reached]:
        """The nodes that stand so."""
        return [node for node in self.nodes if node.reach == reach]

    @property
    def clause_counts(self) -> dict[Clause, int]:
        """How many nodes each clause keeps out, the most first."""
        counts: dict[Clause, int] = {}
        for passed in self.dispatch.passed:
            for clause in {hit.clause for hit in passed.hits}:
                counts[clause] = counts.get(clause, 0) + 1
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


async def preview(
    conn: AsyncConnection,
    portfolio: Portfolio,
    asked: Asked,
    now: datetime,
    *,
    heard: Mapping[str, datetime],
    poll_period_s: int,
) -> Preview:
    """What `asked` would do now; `heard` is when nodes spoke, as far as the database does not know it yet,
    `poll_period_s` the server's own rhythm. RequestRefusedError where it cannot be asked at all.
    """
    rules, changed = portfolio.rules, asked.change.event_id if asked.change else None
    sent = await sent_event.find(conn, changed) if changed else None
    dispatch = await operator_request.plan(conn, portfolio, asked, now)
    await portfolio.record.advance(conn)
    known = await contacts(conn, heard, poll_period_s)
    parts = clearance.parts_of(dispatch, changed or "")
    nodes = tuple(
        Reached(one.ven_id, one.ven_name, one.power_w, reach, known[one.ven_id].at)
        for one in dispatch.assignments
        for reach in [reach_of(known[one.ven_id], asked.reduction.period.start, now)]
    )
    silent = [node.ven_id for node in nodes if node.reach is Reach.SILENT]
    return Preview(
        asked,
        dispatch,
        operator_request.digest(asked, dispatch),
        portfolio.record.effect({node.ven_id: node.power_w for node in nodes}, silent),
        portfolio.record.fleet(),
        nodes,
        _overlaps(await commitments(conn, asked.reduction.period.start), asked.reduction.period, changed),
        tuple(await budget.excesses(conn, rules.limits, rules.calendar, parts, changed)),
        await budget.in_the_way(conn, parts, changed),
        await clearance.second_is_needed(conn, rules, dispatch, changed),
        sent,
        await _leaving(conn, sent, dispatch),
    )


async def _leaving(conn: AsyncConnection, sent: SentEvent | None, dispatch: Dispatch) -> tuple[Leaving, ...]:
    if sent is None:
        return ()
    staying = {one.ven_id for one in dispatch.assignments}
    gone = {ven_id: call.power_w for ven_id, call in sent.parts.items() if ven_id not in staying}
    names = {ven.ven_id: ven.ven_name for ven in await registration.vens(conn)} if gone else {}
    return tuple(
        Leaving(ven_id, names[ven_id], gone[ven_id]) for ven_id in sorted(gone, key=names.__getitem__)
    )


def _overlaps(found: Sequence[Commitment], period: Period, changed: str | None = None) -> tuple[Overlap, ...]:
    events: dict[str, list[Commitment]] = {}
    for one in found:
        if one.event_id != changed and one.period.overlaps(period):
            events.setdefault(one.event_id, []).append(one)
    return tuple(
        Overlap(
            event_id,
            Period(min(one.period.start for one in parts), max(one.period.end for one in parts)),
            sum(one.power_w for one in parts),
            len(parts),
            all(one.test_event for one in parts),
        )
        for event_id, parts in events.items()
    )
