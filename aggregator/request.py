"""An operator's request: previewed, sent as events, taken back. The same key twice is one request.

A request, its calls, the events and their outbox rows are one transaction: whoever got an answer finds all
of it after any crash, and whoever got none finds nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import store
from aggregator.agreement import Call
from aggregator.dispatch import Assignment, Dispatch, Passed, ReductionRequest, energy_wh, plan_dispatch
from aggregator.errors import KeyReusedError, RequestRefusedError, UnknownObjectError
from aggregator.portfolio import Node, Portfolio
from aggregator.profile import QUARTER, Period, floor_to
from aggregator.settlement import LOAD_DISPATCH
from openadr import ActivePeriod, Duration, Event, EventDescriptor, ItemBase, Signal, SignalInterval, Target
from openadr.enums import EventStatus, ResponseRequired, SignalType
from vtn.publication import publish_all
from vtn.revision import cancel_all

LONGEST = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the operator words it; ``nodes`` (W by name) takes the choice out of our hands."""

    reduction: ReductionRequest
    nodes: Mapping[str, int] | None = None
    test_event: bool = False
    key: str | None = None

    def text(self) -> str:
        """Canonical text of everything but the key: what a repeat of the key must say again."""
        period = self.reduction.period
        content = {
            "start": period.start.isoformat(),
            "end": period.end.isoformat(),
            "power_w": self.reduction.power_w,
            "nodes": dict(self.nodes) if self.nodes is not None else None,
            "test_event": self.test_event,
        }
        return json.dumps(content, sort_keys=True)


async def plan(conn: AsyncConnection, portfolio: Portfolio, asked: Asked, now: datetime) -> Dispatch:
    """The dispatch that would be sent now; RequestRefusedError for a period that has begun."""
    if asked.reduction.period.start < now:
        raise RequestRefusedError(
            f"start: {asked.reduction.period.start.isoformat()} has passed, it is {now.isoformat()}"
        )
    if asked.nodes is not None:
        return await _as_told(conn, portfolio, asked, now)
    return plan_dispatch(asked.reduction, await portfolio.offers(conn, asked.reduction, now))


async def send(
    conn: AsyncConnection, portfolio: Portfolio, market_context: str, asked: Asked, now: datetime
) -> dict[str, Any]:
    """Plan, publish the events, and answer; the same key gives the first answer again.

    RequestRefusedError if no node can give anything, KeyReusedError if the key stands for another request.
    """
    if asked.key is not None:
        earlier = await store.find_request(conn, idempotency_key=asked.key)
        if earlier is not None:
            if earlier.asked != asked.text():
                raise KeyReusedError
            return earlier.answer
    dispatch = await plan(conn, portfolio, asked, now)
    if not dispatch.assignments:
        reasons = [f"{passed.ven_name}: {passed.hits[0].text}" for passed in dispatch.passed]
        raise RequestRefusedError("; ".join(["no node can give anything", *reasons]))
    period = asked.reduction.period
    name = f"{period.start:%Y%m%dT%H%M%SZ}-{await store.count_starting(conn, period.start) + 1}"
    now = now.replace(
        microsecond=0
    )  # the wire has whole seconds; the statement must see the same notification
    request_id, event_id = f"request-{name}", f"event-{name}"
    answer = {
        "request_id": request_id,
        "event_id": event_id,
        "requested_at": now.isoformat(),
        **described(dispatch),
    }
    await store.add_request(
        conn, store.StoredRequest(request_id, event_id, asked.text(), answer, now, None), asked.key
    )
    nodes = {node.ven_id: node for node in await portfolio.nodes(conn)}
    events, calls = {}, []
    for assignment in dispatch.assignments:
        node = nodes[assignment.ven_id]
        call = store.StoredCall(
            event_id, node.ven_id, node.agreement_id, period, assignment.power_w, asked.test_event, now
        )
        events[node.ven_id] = event_of(call, market_context, Duration.of(node.agreement.notice))
        calls.append(call)
    await publish_all(conn, events, now, portfolio.admit)
    for call in calls:
        await store.add_call(conn, call)
    return answer


async def cancel(conn: AsyncConnection, request_id: str, now: datetime) -> dict[str, Any]:
    """Take a request back, named by its own id or its event's: its nodes are told at their next poll.

    What they gave before counts until now. A second time changes nothing. RequestRefusedError once it is
    over.
    """
    found = await store.find_request(conn, request_id=request_id)
    found = found or await store.find_request(conn, event_id=request_id)
    if found is None:
        raise UnknownObjectError(f"there is no request {request_id}")
    calls = await store.calls(conn, event_id=found.event_id)
    if found.cancelled_at is None:
        if now >= calls[0].period.end:
            raise RequestRefusedError(f"it ended at {calls[0].period.end.isoformat()}")
        await cancel_all(conn, found.event_id, [call.ven_id for call in calls], now)
        await store.cancel_request(conn, found.event_id, floor_to(now, QUARTER), now)
    return {
        "request_id": found.request_id,
        "event_id": found.event_id,
        "cancelled_at": (found.cancelled_at or now).isoformat(),
    }


def event_of(call: store.StoredCall, market_context: str, notification: Duration | None = None) -> Event:
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


def described(dispatch: Dispatch) -> dict[str, Any]:
    """A dispatch as JSON; money as text in minor units, not rounded."""
    period = dispatch.request.period
    return {
        "start": period.start.isoformat(),
        "end": period.end.isoformat(),
        "requested_kw": dispatch.request.power_w / 1000,
        "expected_kw": dispatch.power_w / 1000,
        "expected_kwh": energy_wh(dispatch.power_w, period) / 1000,
        "shortfall_kw": dispatch.shortfall_w / 1000,
        "cost_minor": str(dispatch.cost_minor),
        "nodes": [
            {
                "ven_id": assignment.ven_id,
                "ven_name": assignment.ven_name,
                "power_kw": assignment.power_w / 1000,
                "cost_minor": str(assignment.cost_minor),
            }
            for assignment in dispatch.assignments
        ],
        "passed": [
            {
                "ven_name": passed.ven_name,
                "clauses": [{"clause": str(hit.clause), "text": hit.text} for hit in passed.hits],
            }
            for passed in dispatch.passed
        ],
    }


async def _as_told(conn: AsyncConnection, portfolio: Portfolio, asked: Asked, now: datetime) -> Dispatch:
    """The operator's own choice of nodes, less those that their agreement keeps out."""
    chosen = dict(asked.nodes or {})
    period = asked.reduction.period
    nodes: dict[str, Node] = {node.ven_name: node for node in await portfolio.nodes(conn)}
    unknown = sorted(chosen.keys() - nodes.keys())
    if unknown:
        raise UnknownObjectError(f"there is no node {unknown[0]}")
    hits = await portfolio.hits(conn, {name: Call(period, power_w) for name, power_w in chosen.items()}, now)
    assignments = []
    for name, power_w in sorted(chosen.items()):
        node = nodes[name]
        cost = node.agreement.price_minor_per_kwh * energy_wh(power_w, period) / 1000
        if name not in hits:
            assignments.append(Assignment(node.ven_id, name, power_w, cost))
    passed = [Passed(name, tuple(found)) for name, found in sorted(hits.items())]
    return Dispatch(asked.reduction, tuple(assignments), tuple(passed))


def period_of(start: datetime, end: datetime) -> Period:
    """The period of a request; RequestRefusedError with the values that cannot be."""
    if start.tzinfo is None or end.tzinfo is None:
        raise RequestRefusedError("start and end need a time zone, such as a Z at the end")
    if end <= start:
        raise RequestRefusedError(f"it must end after it starts: {start.isoformat()} to {end.isoformat()}")
    if end - start > LONGEST:
        raise RequestRefusedError(f"it lasts {end - start}, at most {LONGEST} can be asked for")
    for name, instant in (("start", start), ("end", end)):
        if instant.microsecond:
            raise RequestRefusedError(f"{name}: {instant.isoformat()} is no whole second")
    return Period(start.astimezone(UTC), end.astimezone(UTC))


def _signal(name: str, kind: SignalType, value: float, length: Duration, unit: ItemBase | None) -> Signal:
    interval = SignalInterval(duration=length, uid="0", payload_float=value)
    return Signal(
        intervals=(interval,), signal_name=name, signal_type=kind, signal_id=name.lower(), item_base=unit
    )
