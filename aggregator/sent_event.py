"""The event of a request after it was sent: how it stands, and how its nodes' parts in it are changed.

Rules: a call follows the newest version that its node was sent: its period, its power, its notification and
the version's number change together with the event, in the caller's transaction. Statements, bookings and
answers are those of that number. Who is taken out of an event is never asked for it again: a cancellation is
final for a VEN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import override_book, store
from aggregator.errors import RequestRefusedError, StaleEventError, UnknownObjectError
from aggregator.profile import Period
from aggregator.schema import call_table
from aggregator.settlement import LOAD_DISPATCH
from aggregator.store import StoredCall
from openadr import ActivePeriod, Duration, Event, EventDescriptor, ItemBase, Signal, SignalInterval, Target
from openadr.enums import EventStatus, ResponseRequired, SignalType
from vtn.publication import Admit, publish_all
from vtn.revision import cancel_all, modify_all
from vtn.schema import event_table


@dataclass(frozen=True, slots=True)
class SentEvent:
    """The event of a request as its nodes have it: `parts` by their ids, without those that were taken out.

    `version` grows with every change of the event for any node, and never with what nodes answer.
    """

    event_id: str
    version: int
    period: Period
    test_event: bool
    parts: Mapping[str, StoredCall]
    taken_out: frozenset[str]
    cancelled: bool
    lowered_w: Mapping[str, int] = field(default_factory=dict)
    """What is expected of the homes that stay out, by their node's id."""

    @property
    def power_w(self) -> int:
        """What is asked of all nodes together."""
        return sum(call.power_w for call in self.parts.values())

    def has(self, ven_id: str, period: Period, power_w: int) -> bool:
        """Whether that is what the node was sent already."""
        call = self.parts.get(ven_id)
        return call is not None and (call.period, call.power_w) == (period, power_w)

    def check_open(self, version: int, now: datetime) -> None:
        """Nothing where it may still be changed by somebody who has seen this version; RequestRefusedError,
        StaleEventError.
        """
        if self.cancelled:
            raise RequestRefusedError(f"{self.event_id} was taken back")
        if now >= self.period.start:
            raise RequestRefusedError(
                f"{self.event_id} began at {self.period.start.isoformat()}: it can be taken back, not changed"
            )
        if version != self.version:
            raise StaleEventError


@dataclass(frozen=True, slots=True)
class Programme:
    """What every version of an event needs: where it belongs, and who judges it for each node."""

    market_context: str
    admit: Admit


async def find(conn: AsyncConnection, event_id: str) -> SentEvent:
    """The event as it stands; UnknownObjectError where no request has made it."""
    calls = await store.calls(conn, event_id=event_id)
    request = await store.find_request(conn, event_id=event_id)
    if not calls or request is None:
        raise UnknownObjectError(f"there is no event {event_id[:128]!r}")
    numbers = await _numbers(conn, event_id)
    parts = {call.ven_id: call for call in calls if call.cancelled_at is None}
    out = await override_book.standing(conn, event_id)
    return SentEvent(
        event_id=event_id,
        version=sum(numbers[call.ven_id] + 1 for call in calls),
        period=next(iter(parts.values()), calls[-1]).period,
        test_event=calls[0].test_event,
        parts=parts,
        taken_out=frozenset(call.ven_id for call in calls if call.cancelled_at is not None),
        cancelled=request.cancelled_at is not None,
        lowered_w={ven_id: sum(one.lowered_w for one in homes) for ven_id, homes in out.items()},
    )


async def change(
    conn: AsyncConnection,
    sent: SentEvent,
    calls: Mapping[str, StoredCall],
    notices: Mapping[str, Duration],
    programme: Programme,
    *,
    now: datetime,
    reason: str | None = None,
) -> None:
    """Let the event be these calls, by their nodes: others are taken out, what a node has already stays.

    `notices` are what nodes are told of their notice; `reason` is sent to nodes as it is. NotAdmitted where
    the standard or an agreement forbids it; the caller undoes the transaction then.
    """
    fresh = {ven_id: call for ven_id, call in calls.items() if ven_id not in sent.parts}
    new = {
        ven_id: call
        for ven_id, call in calls.items()
        if ven_id in sent.parts and not sent.has(ven_id, call.period, call.power_w)
    }
    await take_out(conn, sent.event_id, sorted(sent.parts.keys() - calls.keys()), now, reason)
    events = {ven_id: _told(call, programme, notices[ven_id], reason) for ven_id, call in new.items()}
    await modify_all(conn, await override_book.kept(conn, events), now, programme.admit)
    numbers = await _numbers(conn, sent.event_id)
    for ven_id, call in new.items():
        await _keep(conn, replace(call, modification_number=numbers[ven_id]))
    events = {ven_id: _told(call, programme, notices[ven_id], None) for ven_id, call in fresh.items()}
    await publish_all(conn, events, now, programme.admit)
    for call in fresh.values():
        await store.add_call(conn, call)


async def take_out(
    conn: AsyncConnection, event_id: str, ven_ids: Sequence[str], now: datetime, reason: str | None = None
) -> None:
    """Take an event that has not begun back from some of its nodes; the others keep it."""
    if not ven_ids:
        return
    await cancel_all(conn, event_id, ven_ids, now, reason)
    t = call_table
    for ven_id in ven_ids:
        mine = (t.c.event_id == event_id, t.c.ven_id == ven_id, t.c.cancelled_at.is_(None))
        await conn.execute(update(t).where(*mine).values(cancelled_at=now))


def event_of(call: StoredCall, market_context: str, notification: Duration | None = None) -> Event:
    """The event of one node: SIMPLE level 1, and LOAD_DISPATCH with its own change of power (negative:
    less).
    """
    length = Duration.of(call.period.end - call.period.start)
    return Event(
        descriptor=EventDescriptor(
            event_id=call.event_id,
            market_context=market_context,
            created_date_time=call.notified_at,
            event_status=EventStatus.CANCELLED if call.cancelled_at else EventStatus.FAR,
            test_event="true" if call.test_event else None,
        ),
        active_period=ActivePeriod(dtstart=call.period.start, duration=length, notification=notification),
        signals=(
            _signal("SIMPLE", SignalType.LEVEL, 1.0, length, None),
            _signal(LOAD_DISPATCH, SignalType.DELTA, float(-call.power_w), length, ItemBase.power()),
        ),
        target=Target(ven_id=(call.ven_id,)),
        response_required=ResponseRequired.ALWAYS,
    )


def _told(call: StoredCall, programme: Programme, notice: Duration, reason: str | None) -> Event:
    event = event_of(call, programme.market_context, notice)
    return replace(event, descriptor=replace(event.descriptor, modification_reason=reason))


async def _keep(conn: AsyncConnection, call: StoredCall) -> None:
    t = call_table
    mine = update(t).where(t.c.event_id == call.event_id, t.c.ven_id == call.ven_id)
    await conn.execute(
        mine.values(
            agreement_id=call.agreement_id,
            start=call.period.start,
            end=call.period.end,
            power_w=call.power_w,
            notified_at=call.notified_at,
            modification_number=call.modification_number,
        )
    )


async def _numbers(conn: AsyncConnection, event_id: str) -> dict[str, int]:
    t = event_table.c
    rows = await conn.execute(select(t.ven_id, t.modification_number).where(t.event_id == event_id))
    return {row.ven_id: row.modification_number for row in rows}


def _signal(name: str, kind: SignalType, value: float, length: Duration, unit: ItemBase | None) -> Signal:
    interval = SignalInterval(duration=length, uid="0", payload_float=value)
    return Signal(
        intervals=(interval,), signal_name=name, signal_type=kind, signal_id=name.lower(), item_base=unit
    )
