"""One node as the dashboard shows it, as JSON. Its reports and messages are operations of the VTN."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from pydantic import Field

from aggregator.access.permission import Permission
from aggregator.dashboard.health import Health
from aggregator.dashboard.node_certificate import Urgency
from aggregator.dashboard.node_event_query import NodeEvent, events_of, open_events
from aggregator.dashboard.node_facts import Certificate, Facts, facts_of, found
from aggregator.dashboard.operation import DeskCall, Operation
from vtn import ven_list
from vtn.api_route import Answer, At, Query, Route
from vtn.errors import UnknownObject
from vtn.registration import Ven


class CertificateState(Answer):
    """One certificate of the node, withdrawn ones too."""

    short: str
    fingerprint: str | None = Field(description="Null: it is awaited by its short form.")
    taken: bool
    since: At
    ends_at: At | None
    urgency: Urgency


class Terms(Answer):
    """What is agreed; money in minor units of the currency."""

    capacity_kw: Decimal
    price_minor_per_kwh: Decimal
    penalty_minor_per_kwh: Decimal
    threshold: Decimal
    max_calls_per_day: int
    notice_s: int
    currency: str
    chain_id: str | None = Field(description="Of the agreement on the chain, where one is in force.")


class HomeState(Answer):
    """A home behind the node."""

    name: str
    used_today_kwh: float | None
    known_until: At | None


class NodeDetail(Answer):
    """What is known of a node."""

    ven_id: str
    ven_name: str
    state: Health
    registered_at: At | None
    suspended_at: At | None
    last_contact: At | None
    clock_skew_s: float | None
    poll_period_s: int
    certificates: list[CertificateState]
    certificate_until: At | None
    certificate_urgency: Urgency
    waiting: dict[str, int]
    traced_since: At | None
    offer_kw: float | None = Field(description="What it offers now.")
    offered_at: At | None
    agreement: Terms | None
    open_events: list[str]
    homes: list[HomeState]


class NodeEventView(Answer):
    """One event of the node and what it answered."""

    event_id: str
    start: At
    end: At | None
    power_kw: float | None = Field(description="What was asked of it; null for events made by hand.")
    published_at: At
    delivered_at: At | None
    opt: str | None
    response_code: str | None
    responded_at: At | None
    cancelled_at: At | None


class NodeEvents(Answer):
    """One page of its events, the newest first."""

    events: list[NodeEventView]
    found: int


class EventsQuery(Query):
    """Which page."""

    page: int = Field(default=1, ge=1, le=100_000)
    size: int = Field(default=25, ge=1, le=200)


async def _show(call: DeskCall) -> Answer:
    ven = await _node(call)
    facts = await facts_of(call.conn, call.desk, ven, call.now)
    return _detail(facts, list(await open_events(call.conn, ven.ven_id, call.now)))


async def _events(call: DeskCall) -> Answer:
    query: EventsQuery = call.query
    ven = await _node(call)
    listed, total = await events_of(call.conn, ven.ven_id, page=query.page, size=query.size)
    return NodeEvents(events=[_event(one) for one in listed], found=total)


async def _node(call: DeskCall) -> Ven:
    """The node of this id or name, if the caller may see it."""
    ven = await ven_list.named(call.conn, call.path["ven"])
    if ven is None:
        raise UnknownObject(f"no VEN has the id or name {call.path['ven']!r}")
    return await found(call.conn, ven.ven_id, call.principal.scope)


def _detail(facts: Facts, still_open: list[str]) -> NodeDetail:
    ven = facts.ven
    return NodeDetail(
        ven_id=ven.ven_id,
        ven_name=ven.ven_name,
        state=facts.state,
        registered_at=ven.registered_at,
        suspended_at=ven.suspended_at,
        last_contact=facts.contact,
        clock_skew_s=None if facts.skew is None else facts.skew.total_seconds(),
        poll_period_s=int(facts.poll_period / timedelta(seconds=1)),
        certificates=[_certificate(one) for one in facts.certificates],
        certificate_until=facts.certificate_until,
        certificate_urgency=facts.certificate_urgency,
        waiting=dict(facts.waiting),
        traced_since=facts.traced_since,
        offer_kw=facts.offer_kw,
        offered_at=facts.offered_at,
        agreement=_terms(facts),
        open_events=still_open,
        homes=[
            HomeState(
                name=home.name,
                used_today_kwh=None if home.known_until is None else round(home.used_kwh, 3),
                known_until=home.known_until,
            )
            for home in facts.homes
        ],
    )


def _certificate(one: Certificate) -> CertificateState:
    return CertificateState(
        short=one.enrolled.short,
        fingerprint=one.enrolled.fingerprint,
        taken=one.taken,
        since=one.enrolled.since,
        ends_at=one.ends_at,
        urgency=one.urgency,
    )


def _terms(facts: Facts) -> Terms | None:
    agreed = facts.agreement
    if agreed is None:
        return None
    return Terms(
        capacity_kw=agreed.capacity_kw,
        price_minor_per_kwh=agreed.price_minor_per_kwh,
        penalty_minor_per_kwh=agreed.penalty_minor_per_kwh,
        threshold=agreed.threshold,
        max_calls_per_day=agreed.max_calls_per_day,
        notice_s=int(agreed.notice.total_seconds()),
        currency=agreed.currency,
        chain_id=None if facts.held is None else facts.held.agreement_id.hex(),
    )


def _event(one: NodeEvent) -> NodeEventView:
    return NodeEventView(
        event_id=one.event_id,
        start=one.start,
        end=one.end,
        power_kw=None if one.power_w is None else one.power_w / 1000,
        published_at=one.published_at,
        delivered_at=one.delivered_at,
        opt=one.opt,
        response_code=one.response_code,
        responded_at=one.responded_at,
        cancelled_at=one.cancelled_at,
    )


OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/fleet/{ven}",
            name="showFleetNode",
            summary="One node: health, certificates, agreement, offer, and the homes behind it.",
            handle=_show,
            answer=NodeDetail,
            passing=("last_contact", "clock_skew_s", "waiting", "state", "offer_kw"),
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/fleet/{ven}/events",
            name="listNodeEvents",
            summary="The node's events and what it answered, the newest first.",
            handle=_events,
            answer=NodeEvents,
            query=EventsQuery,
        ),
        permission=Permission.FLEET_READ,
    ),
)
