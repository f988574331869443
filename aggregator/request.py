"""An operator's request: previewed, sent as events, changed, taken back. The same key twice is one request.

A request, its calls, the events and their outbox rows are one transaction: whoever got an answer finds all
of it after any crash, and whoever got none finds nothing of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import change_book, clearance, sent_event, store
from aggregator.agreement import Call
from aggregator.change_plan import TAKEN_OUT, plan_change
from aggregator.clearance import Sender
from aggregator.dispatch import Assignment, Dispatch, Passed, ReductionRequest, energy_wh, plan_dispatch
from aggregator.errors import (
    BadInputError,
    KeyReusedError,
    PreviewChangedError,
    RequestRefusedError,
    UnknownObjectError,
)
from aggregator.portfolio import Node, Portfolio
from aggregator.profile import QUARTER, Period, floor_to
from aggregator.sent_event import SentEvent, event_of
from aggregator.store import StoredCall
from openadr import Duration
from vtn.publication import publish_all
from vtn.revision import cancel_all
from vtn.schema import event_table

Notices = dict[str, Duration]
LONGEST = timedelta(days=1)
OF_APPROVALS = "approval/"
"""Keys of what approvals send begin so; nobody else's may."""


@dataclass(frozen=True, slots=True)
class Change:
    """The event that a request takes the place of, at the version that its operator has seen; `reason` is
    sent to its nodes as it is.
    """

    event_id: str
    version: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the operator words it; ``nodes`` (W by name) takes the choice out of our hands.

    With `change` it is no new event: an event that was sent becomes what is asked here.
    """

    reduction: ReductionRequest
    nodes: Mapping[str, int] | None = None
    test_event: bool = False
    key: str | None = None
    change: Change | None = None

    @classmethod
    def read(cls, text: str, key: str | None = None) -> Asked:
        """The request behind `text`."""
        content = json.loads(text)
        start, end = (datetime.fromisoformat(content[name]) for name in ("start", "end"))
        reduction = ReductionRequest(Period(start, end), content["power_w"])
        change = Change(**content["change"]) if "change" in content else None
        return cls(reduction, content["nodes"], content["test_event"], key, change)

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
        if self.change is not None:
            content["change"] = asdict(self.change)
        return json.dumps(content, sort_keys=True)


def digest(asked: Asked, dispatch: Dispatch) -> str:
    """The hash of exactly what would be sent: what was asked, and the part and price of every node."""
    parts = [[one.ven_id, one.power_w, str(one.cost_minor)] for one in dispatch.assignments]
    text = json.dumps([asked.text(), sorted(parts)], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


async def plan(conn: AsyncConnection, portfolio: Portfolio, asked: Asked, now: datetime) -> Dispatch:
    """The dispatch that would be sent now; RequestRefusedError for a period that has begun, StaleEventError
    for a change of an event that is not as it was seen.
    """
    if asked.reduction.period.start < now:
        raise RequestRefusedError(
            f"start: {asked.reduction.period.start.isoformat()} has passed, it is {now.isoformat()}"
        )
    sent = await _changed(conn, asked, now)
    if asked.nodes is not None:
        return await _as_told(conn, portfolio, asked, now, sent)
    if sent is None:
        return plan_dispatch(asked.reduction, await portfolio.offers(conn, asked.reduction, now))
    offers = await portfolio.offers(conn, asked.reduction, now, sent.event_id)
    return plan_change(asked.reduction, offers, sent)


async def send(
    conn: AsyncConnection,
    portfolio: Portfolio,
    market_context: str,
    asked: Asked,
    now: datetime,
    *,
    sender: Sender,
    previewed: str | None = None,
) -> dict[str, Any]:
    """Plan, publish the events, and answer; the same key gives the first answer again.

    `previewed` is the digest of what the operator has seen: PreviewChangedError if it would be another now.
    RequestRefusedError if no node can give anything, KeyReusedError if the key stands for another request;
    what the budget and the rule of two people say: see `clearance.check`.
    """
    earlier = await _answered(conn, asked)
    if earlier is not None:
        return earlier
    dispatch = await plan(conn, portfolio, asked, now)
    exactly = digest(asked, dispatch)
    if previewed is not None and exactly != previewed:
        raise PreviewChangedError
    if not dispatch.assignments:
        reasons = [f"{passed.ven_name}: {passed.hits[0].text}" for passed in dispatch.passed]
        raise RequestRefusedError("; ".join(["no node can give anything", *reasons]))
    changed = asked.change.event_id if asked.change else None
    await clearance.check(conn, portfolio.rules, dispatch, exactly, sender=sender, now=now, changed=changed)
    now = now.replace(
        microsecond=0
    )  # the wire has whole seconds; the statement must see the same notification
    order = _Order(portfolio, market_context, asked, dispatch, now)
    if asked.change is not None:
        return await _send_change(conn, order, asked.change, sender)
    return await _send_new(conn, order)


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be sent, after everything has agreed to it."""

    portfolio: Portfolio
    market_context: str
    asked: Asked
    dispatch: Dispatch
    now: datetime

    async def calls(self, conn: AsyncConnection, event_id: str) -> tuple[dict[str, StoredCall], Notices]:
        """Each node's part by its id, and the notice that it is told of."""
        nodes = {node.ven_id: node for node in await self.portfolio.nodes(conn)}
        period, calls, notices = self.asked.reduction.period, {}, {}
        for one in self.dispatch.assignments:
            node = nodes[one.ven_id]
            calls[node.ven_id] = StoredCall(
                event_id,
                node.ven_id,
                node.agreement_id,
                period,
                one.power_w,
                self.asked.test_event,
                self.now,
            )
            notices[node.ven_id] = Duration.of(node.agreement.notice)
        return calls, notices

    def answer(self, request_id: str, event_id: str) -> dict[str, Any]:
        """What the operator is told."""
        ids = {"request_id": request_id, "event_id": event_id, "requested_at": self.now.isoformat()}
        return {**ids, **described(self.dispatch)}


async def _send_new(conn: AsyncConnection, order: _Order) -> dict[str, Any]:
    start = order.asked.reduction.period.start
    name = f"{start:%Y%m%dT%H%M%SZ}-{await store.count_starting(conn, start) + 1}"
    while await _is_taken(conn, f"event-{name}"):
        stem, _, number = name.rpartition("-")
        name = f"{stem}-{int(number) + 1}"
    request_id, event_id = f"request-{name}", f"event-{name}"
    answer = order.answer(request_id, event_id)
    stored = store.StoredRequest(request_id, event_id, order.asked.text(), answer, order.now, None)
    await store.add_request(conn, stored, order.asked.key)
    calls, notices = await order.calls(conn, event_id)
    events = {ven_id: event_of(call, order.market_context, notices[ven_id]) for ven_id, call in calls.items()}
    await publish_all(conn, events, order.now, order.portfolio.admit)
    for call in calls.values():
        await store.add_call(conn, call)
    return answer


async def _is_taken(conn: AsyncConnection, event_id: str) -> bool:
    """Whether a request has this event, one that was moved too, or somebody made one of this id by hand: that
    would be nobody's to take back.
    """
    if await store.find_request(conn, event_id=event_id) is not None:
        return True
    by_hand = select(event_table.c.event_id).where(event_table.c.event_id == event_id).limit(1)
    return (await conn.execute(by_hand)).first() is not None


async def _send_change(
    conn: AsyncConnection, order: _Order, change: Change, sender: Sender
) -> dict[str, Any]:
    sent = await sent_event.find(conn, change.event_id)
    request = await store.find_request(conn, event_id=change.event_id)
    if request is None:
        raise UnknownObjectError(f"there is no event {change.event_id[:128]!r}")
    answer = order.answer(request.request_id, change.event_id)
    calls, notices = await order.calls(conn, change.event_id)
    programme = sent_event.Programme(order.market_context, order.portfolio.admit)
    await sent_event.change(conn, sent, calls, notices, programme, now=order.now, reason=change.reason)
    kept = change_book.Kept(change.event_id, order.asked.text(), answer, order.now, sender.who)
    await change_book.add(conn, kept, order.asked.key)
    return answer


async def _answered(conn: AsyncConnection, asked: Asked) -> dict[str, Any] | None:
    """What was answered to this key before; KeyReusedError where it stands for another request."""
    if asked.key is None:
        return None
    earlier = await store.find_request(conn, idempotency_key=asked.key)
    found = earlier or await change_book.with_key(conn, asked.key)
    if found is not None and found.asked != asked.text():
        raise KeyReusedError
    return None if found is None else found.answer


async def _changed(conn: AsyncConnection, asked: Asked, now: datetime) -> SentEvent | None:
    """The event that would change; None for a new one."""
    if asked.change is None:
        return None
    sent = await sent_event.find(conn, asked.change.event_id)
    sent.check_open(asked.change.version, now)
    if sent.test_event != asked.test_event:
        raise RequestRefusedError("test_event: a test stays a test, and an event that is paid stays one")
    return sent


async def cancel(
    conn: AsyncConnection, request_id: str, now: datetime, reason: str | None = None
) -> dict[str, Any]:
    """Take a request back, named by its own id or its event's: its nodes are told at their next poll, with
    the reason if there is one.

    What they gave before counts until now. A second time changes nothing. RequestRefusedError once it is
    over.
    """
    found = await store.find_request(conn, request_id=request_id)
    found = found or await store.find_request(conn, event_id=request_id)
    if found is None:
        raise UnknownObjectError(f"there is no request {request_id}")
    if found.cancelled_at is None:
        sent = await sent_event.find(conn, found.event_id)
        if now >= sent.period.end:
            raise RequestRefusedError(f"it ended at {sent.period.end.isoformat()}")
        await cancel_all(conn, found.event_id, list(sent.parts), now, reason)
        await store.cancel_request(conn, found.event_id, floor_to(now, QUARTER), now)
    return {
        "request_id": found.request_id,
        "event_id": found.event_id,
        "cancelled_at": (found.cancelled_at or now).isoformat(),
    }


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


async def _as_told(
    conn: AsyncConnection, portfolio: Portfolio, asked: Asked, now: datetime, sent: SentEvent | None
) -> Dispatch:
    """The operator's own choice of nodes, less those that their agreement keeps out. What a node was sent
    already is not judged again.
    """
    chosen = dict(asked.nodes or {})
    period = asked.reduction.period
    nodes: dict[str, Node] = {node.ven_name: node for node in await portfolio.nodes(conn)}
    unknown = sorted(chosen.keys() - nodes.keys())
    if unknown:
        raise UnknownObjectError(f"there is no node {unknown[0]}")
    calls = {
        name: Call(period, power_w)
        for name, power_w in chosen.items()
        if sent is None or not sent.has(nodes[name].ven_id, period, power_w)
    }
    hits = await portfolio.hits(conn, calls, now, sent.event_id if sent else None)
    if sent is not None:
        hits |= {name: [TAKEN_OUT] for name in chosen if nodes[name].ven_id in sent.taken_out}
    assignments = []
    for name, power_w in sorted(chosen.items()):
        node = nodes[name]
        cost = node.agreement.price_minor_per_kwh * energy_wh(power_w, period) / 1000
        if name not in hits:
            assignments.append(Assignment(node.ven_id, name, power_w, cost))
    passed = [Passed(name, tuple(found)) for name, found in sorted(hits.items())]
    return Dispatch(asked.reduction, tuple(assignments), tuple(passed))


async def newest_asked(conn: AsyncConnection, event_id: str) -> Asked:
    """The request behind an event as it was worded last; UnknownObjectError."""
    changes = await change_book.of_event(conn, event_id)
    request = await store.find_request(conn, event_id=event_id)
    if request is None:
        raise UnknownObjectError(f"there is no event {event_id[:128]!r}")
    return Asked.read(changes[-1].asked if changes else request.asked)


def key_of(text: str | None) -> str | None:
    """An idempotency key as somebody gives it; BadInputError where it would be an approval's."""
    if text is not None and text.startswith(OF_APPROVALS):
        raise BadInputError(f"idempotency_key: keys that begin with {OF_APPROVALS} are those of approvals")
    return text


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
