"""The Virtual Nodes, what was agreed with them, and whether an event may be sent to one: ``admit``.

Every path to an event passes ``Portfolio.admit``, which reads the local mirror of the agreements and the
calls so far in the transaction that publishes, so two requests at once cannot both take the last call of a
day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import mirror, store
from aggregator.agreement import Agreement, Call, Clause, ClauseHit, broken_clauses
from aggregator.dispatch import FlexibilityOffer, ReductionRequest
from aggregator.profile import QUARTER, Calendar, LoadProfile, Period, floor_to
from aggregator.readings import OFFER
from aggregator.settings import AggregatorSettings, NodeSettings
from aggregator.settlement import requested_w
from ledger import agreement_store
from openadr import Event
from vtn import availability, event_list, registration
from vtn.availability import Part
from vtn.errors import CertificateRefused, NotAdmitted

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Node:
    """One Virtual Node and the agreement in force with it."""

    ven_id: str
    ven_name: str
    agreement_id: int
    agreement: Agreement


async def enrol(
    conn: AsyncConnection, nodes: Sequence[NodeSettings], now: datetime, *, on_chain: bool = False
) -> None:
    """Allow the configured certificates to register, and put the agreements in force."""
    known = {ven.ven_name: ven.ven_id for ven in await registration.vens(conn)}
    for node in nodes:
        await _enrolled(conn, node, known, now)
    await agree(conn, nodes, now, on_chain=on_chain)


async def agree(
    conn: AsyncConnection, nodes: Sequence[NodeSettings], now: datetime, *, on_chain: bool
) -> None:
    """Put in force for each node what is configured or, with agreements `on_chain`, what it has accepted."""
    known = {ven.ven_name: ven.ven_id for ven in await registration.vens(conn)}
    for node in nodes:
        ven_id, agreed = known[node.ven_name], node.agreement.agreement()
        held = await agreement_store.in_force(conn, ven_id) if on_chain else None
        if held is not None and held.standing is not None and held.standing.accepted_at:
            agreed = mirror.agreement_of(held.terms, agreed.currency)
        await store.agree(conn, ven_id, agreed, now)


async def _enrolled(
    conn: AsyncConnection, node: NodeSettings, known: Mapping[str, str], now: datetime
) -> str:
    """The node's id. A certificate that the operator has withdrawn since stays out, and the rest goes on."""
    try:
        return await registration.enrol(conn, node.ven_name, node.fingerprint, now, ven_id=node.ven_id)
    except CertificateRefused as error:
        if node.ven_name not in known:
            raise
        log.warning("a node's certificate is not enrolled", node=node.ven_name, error=str(error))
        return known[node.ven_name]


class Portfolio:
    """The nodes of a programme."""

    def __init__(self, settings: AggregatorSettings) -> None:
        self.calendar: Calendar = settings.programme.calendar()
        self._lead = timedelta(seconds=settings.programme.offer_lead_s)
        self._part = Part(market_context=settings.programme.market_context)
        self._agreements = settings.agreements
        self._opt_policy = settings.vtn.opt.of(settings.programme.market_context)

    async def nodes(self, conn: AsyncConnection) -> list[Node]:
        """All nodes with an agreement, by name."""
        agreed = await store.agreements(conn)
        known = await registration.vens(conn)
        return [Node(ven.ven_id, ven.ven_name, *agreed[ven.ven_id]) for ven in known if ven.ven_id in agreed]

    def offers_until(self, now: datetime) -> datetime:
        """Offers made after this instant are not used for a request that comes now.

        Rounding to the quarter hour, with a lead, keeps what a node gets independent of the seconds that its
        messages took: the same request in the same quarter hour meets the same offers.
        """
        return floor_to(now, QUARTER) - self._lead

    async def offers(
        self, conn: AsyncConnection, request: ReductionRequest, now: datetime
    ) -> list[FlexibilityOffer]:
        """What each node offers for the request's period, its price, and the clauses against asking it at
        all.
        """
        issued = await store.newest_series(conn, OFFER, self.offers_until(now))
        nothing = LoadProfile(request.period.start, QUARTER, ())
        found = []
        for node in await self.nodes(conn):
            hits = [
                *await self._hits(conn, node, Call(request.period, 0), None, now),
                *await self._opted_out(conn, node, request.period),
            ]
            available = issued[node.ven_id][1] if node.ven_id in issued else nothing
            terms = node.agreement
            capacity_w, price = terms.capacity_w(), terms.price_minor_per_kwh
            found.append(
                FlexibilityOffer(node.ven_id, node.ven_name, available, capacity_w, price, tuple(hits))
            )
        return found

    async def admit(self, conn: AsyncConnection, event: Event, ven_id: str, now: datetime) -> None:
        """Nothing if the agreement allows this event now; NotAdmitted names the first clause against it."""
        if event.end is None:
            raise NotAdmitted("period", "an event without an end cannot be settled")
        agreed = await store.agreement_with(conn, ven_id)
        if agreed is None:
            raise NotAdmitted("agreement", "nothing is agreed with this node")
        node = Node(ven_id, (await registration.find(conn, ven_id)).ven_name, *agreed)
        call = Call(Period(event.dtstart, event.end), requested_w(event))
        for hit in await self._against(conn, node, call, event.event_id, now):
            raise NotAdmitted(str(hit.clause), hit.text)

    async def hits(
        self, conn: AsyncConnection, calls: Mapping[str, Call], now: datetime
    ) -> dict[str, list[ClauseHit]]:
        """The clauses that stand against calls, by name of the node; nodes without any are left out."""
        found = {}
        for node in await self.nodes(conn):
            if node.ven_name in calls:
                hits = await self._against(conn, node, calls[node.ven_name], None, now)
                if hits:
                    found[node.ven_name] = hits
        return found

    async def _against(
        self, conn: AsyncConnection, node: Node, call: Call, event_id: str | None, now: datetime
    ) -> list[ClauseHit]:
        """What stands against a call: the node's own word only where the policy says so."""
        hits = await self._hits(conn, node, call, event_id, now)
        if not self._opt_policy.events_in_opt_out:
            hits += await self._opted_out(conn, node, call.period)
        return hits

    async def _opted_out(self, conn: AsyncConnection, node: Node, period: Period) -> list[ClauseHit]:
        """The node's own word that it stays out, by the opt schedules that it has sent."""
        schedules = await availability.schedules_of(conn, node.ven_id)
        out = availability.out_during(schedules, self._opt_policy, self._part, period.start, period.end)
        if out is None:
            return []
        return [ClauseHit(Clause.OPT_OUT, f"has opted out from {out:%Y-%m-%d %H:%M} on")]

    async def _hits(
        self, conn: AsyncConnection, node: Node, call: Call, event_id: str | None, now: datetime
    ) -> list[ClauseHit]:
        past = await store.calls(conn, ven_id=node.ven_id)
        others = [other.period for other in past if other.cancelled_at is None and other.event_id != event_id]
        # an event that an operator made by hand is no call, but it counts against the agreement as one
        known = {event_id, *(other.event_id for other in past)}
        since = self.calendar.day(self.calendar.day_of(call.period.start)).start
        others += [
            Period(by_hand.dtstart, by_hand.end)
            for by_hand in await event_list.uncancelled(conn, node.ven_id, since)
            if by_hand.event_id not in known and by_hand.end is not None
        ]
        hits = broken_clauses(node.agreement, call, others, self.calendar, now)
        if self._agreements is not None:
            held = await agreement_store.in_force(conn, node.ven_id)
            standing = mirror.standing_hits(held, call, others, now, required=self._agreements.required)
            told = {hit.clause for hit in hits}
            hits += [hit for hit in standing if hit.clause not in told]
        return hits
