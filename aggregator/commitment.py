"""What nodes have promised already: the calls of requests, and events that an operator made by hand.

An event by hand is no call, but it counts against the agreement and the budget as one. What was taken back
after it began has called its node all the same: it counts, until then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import store
from aggregator.profile import Period
from aggregator.schema import call_table
from aggregator.settlement import LOAD_DISPATCH
from openadr import Event, Signal
from openadr.enums import SignalName, SignalType
from vtn import event_content
from vtn.schema import event_table, ven_table


@dataclass(frozen=True, slots=True)
class Commitment:
    """One node's part in an event, as far as it was not taken back; the power is never negative."""

    event_id: str
    ven_id: str
    period: Period
    power_w: int
    test_event: bool = False


def asked_w(event: Event, capacity_w: int) -> int:
    """The power in W by which the event may move a node whose agreed capacity is `capacity_w`, up or down.

    Only LOAD_DISPATCH deltas say how much; setpoints, prices, levels and any other signal may move all that
    was agreed. A SIMPLE signal beside a delta says no more than the delta; of levels 0 alone it asks for
    nothing.
    """
    deltas = [signal for signal in event.signals if _is_delta(signal)]
    delta_w = round(sum(map(_largest_w, deltas)))
    others = [signal for signal in event.signals if not _is_delta(signal) and _says_something(signal)]
    told = delta_w > 0 and all(_is_simple(signal) for signal in others)
    return delta_w if told or not others else max(delta_w, capacity_w)


def _is_delta(signal: Signal) -> bool:
    return signal.signal_name == LOAD_DISPATCH and signal.signal_type is SignalType.DELTA


def _is_simple(signal: Signal) -> bool:
    return signal.signal_name in (SignalName.SIMPLE, SignalName.SIMPLE_LOWER)


def _says_something(signal: Signal) -> bool:
    return not _is_simple(signal) or any(interval.payload_float for interval in signal.intervals)


def _largest_w(signal: Signal) -> float:
    scale = signal.item_base.si_scale_code if signal.item_base else None
    largest = max((abs(interval.payload_float) for interval in signal.intervals), default=0.0)
    return largest if scale is None else largest * scale.factor


async def commitments(
    conn: AsyncConnection, since: datetime, ven_id: str | None = None
) -> Sequence[Commitment]:
    """Those that end after an instant, of all nodes or of one, by their start."""
    found = [*await _called(conn, since, ven_id), *await _by_hand(conn, since, ven_id)]
    return sorted(found, key=lambda one: (one.period.start, one.event_id, one.ven_id))


def by_node(found: Sequence[Commitment]) -> dict[str, list[Commitment]]:
    """The same by the node's id."""
    grouped: dict[str, list[Commitment]] = {}
    for one in found:
        grouped.setdefault(one.ven_id, []).append(one)
    return grouped


async def _called(conn: AsyncConnection, since: datetime, ven_id: str | None) -> list[Commitment]:
    t = call_table.c
    query = select(t.event_id, t.ven_id, t.start, t.end, t.power_w, t.test_event, t.cancelled_at)
    query = query.where(t.end > since, or_(t.cancelled_at.is_(None), t.cancelled_at > since))
    if ven_id is not None:
        query = query.where(t.ven_id == ven_id)
    return [
        Commitment(row.event_id, row.ven_id, period, row.power_w, row.test_event)
        for row in await conn.execute(query)
        for period in _kept(row.start, row.end, row.cancelled_at)
    ]


async def _by_hand(conn: AsyncConnection, since: datetime, ven_id: str | None) -> list[Commitment]:
    """From the VENs on, so that the index by VEN and end is used."""
    e, v, c = event_table.c, ven_table.c, call_table.c
    called = exists().where(c.event_id == e.event_id, c.ven_id == e.ven_id)
    open_since = or_(e.ends_at.is_(None), e.ends_at > since)
    query = (
        select(e.ven_id, e.content, e.cancelled_at)
        .select_from(ven_table.join(event_table, and_(v.ven_id == e.ven_id, open_since)))
        .where(or_(e.cancelled_at.is_(None), e.cancelled_at > since), ~called)
    )
    if ven_id is not None:
        query = query.where(v.ven_id == ven_id)
    rows = (await conn.execute(query)).all()
    capacities = await capacities_w(conn, ven_id) if rows else {}
    found = []
    for row in rows:
        event = event_content.read(row.content)
        power_w = asked_w(event, capacities.get(row.ven_id, 0))
        for period in _kept(event.dtstart, event.end, row.cancelled_at):
            found.append(Commitment(event.event_id, row.ven_id, period, power_w, bool(event.is_test)))
    return found


async def capacities_w(conn: AsyncConnection, ven_id: str | None = None) -> dict[str, int]:
    """The agreed capacity of all nodes or of one, by id."""
    if ven_id is None:
        return {known: terms.capacity_w() for known, (_, terms) in (await store.agreements(conn)).items()}
    agreed = await store.agreement_with(conn, ven_id)
    return {} if agreed is None else {ven_id: agreed[1].capacity_w()}


def _kept(start: datetime, end: datetime | None, cancelled_at: datetime | None) -> list[Period]:
    """The time for which an event held; none where it was taken back before, or has no end."""
    if end is None:
        return []
    until = end if cancelled_at is None else min(end, cancelled_at)
    return [Period(start, until)] if until > start else []
