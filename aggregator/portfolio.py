"""The Virtual Nodes, what was agreed with them, and whether an event may be sent to one: ``admit``.

Every path to an event passes ``Portfolio.admit``, which reads the local mirror of the agreements and the
calls so far in the transaction that publishes, so two requests at once cannot both take the last call of a
day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import commitment, limit_rules, mirror, store
from aggregator.agreement import Agreement, Call, Clause, ClauseHit, broken_clauses
from aggregator.clearance import Rules, Sender, check_by_hand
from aggregator.commitment import Commitment, asked_w
from aggregator.dispatch import FlexibilityOffer, ReductionRequest
from aggregator.effect import DeliveryRecord
from aggregator.profile import QUARTER, Calendar, LoadProfile, Period, floor_to
from aggregator.readings import OFFER
from aggregator.schema import agreement_table
from aggregator.settings import AggregatorSettings
from ledger import agreement_store
from ledger.agreement_store import Held
from openadr import Event
from vtn import availability, registration
from vtn.availability import Part, Schedule
from vtn.errors import NotAdmitted
from vtn.schema import ven_table
from vtn.store import Notice

A_DAY = timedelta(days=1)  # the contract's days begin at another hour than the programme's


@dataclass(frozen=True, slots=True)
class Node:
    """One Virtual Node and the agreement in force with it."""

    ven_id: str
    ven_name: str
    agreement_id: int
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class _Known:
    """What is read once for many nodes, by their ids."""

    commitments: Mapping[str, Sequence[Commitment]]
    schedules: Mapping[str, Sequence[Schedule]]
    held: Mapping[str, Held]


class Portfolio:
    """The nodes of a programme."""

    def __init__(self, settings: AggregatorSettings) -> None:
        self.calendar: Calendar = settings.programme.calendar()
        self._lead = timedelta(seconds=settings.programme.offer_lead_s)
        self.file_limits = settings.limits
        self.rules = Rules(settings.limits, self.calendar)
        self.record = DeliveryRecord()
        """What nodes gave in past events, for whoever has called `advance`."""
        self._part = Part(market_context=settings.programme.market_context)
        self._agreements = settings.agreements
        self._opt_policy = settings.vtn.opt.of(settings.programme.market_context)

    async def follow_limits(self, conn: AsyncConnection) -> None:
        """Let what admins have set bind from now on, as far as it is stricter than the settings file."""
        self.rules = await self.rules_of(conn)

    async def rules_of(self, conn: AsyncConnection) -> Rules:
        """What binds events by what this unit of work sees."""
        return await limit_rules.in_force(conn, self.file_limits, self.calendar)

    def hear(self, notices: Sequence[Notice]) -> None:
        """Let rules bind that were changed in a unit of work, once that is durable; for `Database.listen`."""
        for notice in notices:
            if isinstance(notice, Rules):
                self.rules = notice

    async def nodes(self, conn: AsyncConnection) -> list[Node]:
        """All nodes with an agreement, by name."""
        agreed, t = await store.agreements(conn), ven_table.c
        some = t.ven_id.in_(select(agreement_table.c.ven_id))
        rows = await conn.execute(select(t.ven_id, t.ven_name).where(some).order_by(t.ven_name))
        return [Node(ven_id, name, *agreed[ven_id]) for ven_id, name in rows]

    def offers_until(self, now: datetime) -> datetime:
        """Offers made after this instant are not used for a request that comes now.

        Rounding to the quarter hour, with a lead, keeps what a node gets independent of the seconds that its
        messages took: the same request in the same quarter hour meets the same offers. Only the first offer
        that a node ever made counts at once: a new node does not wait for the clock.
        """
        return floor_to(now, QUARTER) - self._lead

    async def offers(
        self, conn: AsyncConnection, request: ReductionRequest, now: datetime, event_id: str | None = None
    ) -> list[FlexibilityOffer]:
        """What each node offers for the request's period, its price, and the clauses against asking it at
        all; `event_id`: an event that the request would take the place of.
        """
        issued = await store.newest_series(conn, OFFER, self.offers_until(now))
        nothing = LoadProfile(request.period.start, QUARTER, ())
        nodes, found = await self.nodes(conn), []
        if any(node.ven_id not in issued for node in nodes):
            issued = await store.first_series(conn, OFFER, self.offers_until(now)) | issued
        known = await self._known(conn, nodes, request.period, opts=True)
        for node in nodes:
            hits = self._hits(node, Call(request.period, 0), known, event_id, now)
            hits += self._opted_out(node, request.period, known)
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
        period = Period(event.dtstart, event.end)
        call = Call(period, asked_w(event, node.agreement.capacity_w()))
        known = await self._known(conn, [node], call.period)
        for hit in self._against(node, call, known, event.event_id, now):
            raise NotAdmitted(str(hit.clause), hit.text)

    async def judge(
        self, sender: Sender, conn: AsyncConnection, events: Mapping[str, Event], now: datetime
    ) -> None:
        """What budget and second person say to an event by hand, for all its VENs at once; NotAdmitted."""
        await check_by_hand(self.rules, sender, conn, events, now)

    async def hits(
        self, conn: AsyncConnection, calls: Mapping[str, Call], now: datetime, event_id: str | None = None
    ) -> dict[str, list[ClauseHit]]:
        """The clauses that stand against calls, by name of the node; nodes without any are left out.

        `event_id`: an event that these calls take the place of.
        """
        nodes = [node for node in await self.nodes(conn) if node.ven_name in calls]
        if not nodes:
            return {}
        spans = [call.period for call in calls.values()]
        period = Period(min(span.start for span in spans), max(span.end for span in spans))
        known = await self._known(conn, nodes, period)
        found = {
            node.ven_name: self._against(node, calls[node.ven_name], known, event_id, now) for node in nodes
        }
        return {name: hits for name, hits in found.items() if hits}

    async def _known(
        self, conn: AsyncConnection, nodes: Sequence[Node], period: Period, *, opts: bool = False
    ) -> _Known:
        """What stands in the way of calls in a period, with one look for all nodes."""
        since = self.calendar.day(self.calendar.day_of(period.start)).start - A_DAY
        one = nodes[0].ven_id if len(nodes) == 1 else None
        ven_ids = [node.ven_id for node in nodes]
        asks_opts = opts or not self._opt_policy.events_in_opt_out
        return _Known(
            commitment.by_node(await commitment.commitments(conn, since, one)),
            await availability.schedules_of_all(conn, ven_ids) if asks_opts else {},
            await self._held(conn, one) if self._agreements is not None else {},
        )

    async def _held(self, conn: AsyncConnection, ven_id: str | None) -> dict[str, Held]:
        if ven_id is None:
            return await agreement_store.all_in_force(conn)
        held = await agreement_store.in_force(conn, ven_id)
        return {} if held is None else {ven_id: held}

    def _against(
        self, node: Node, call: Call, known: _Known, event_id: str | None, now: datetime
    ) -> list[ClauseHit]:
        """What stands against a call: the node's own word only where the policy says so."""
        hits = self._hits(node, call, known, event_id, now)
        if not self._opt_policy.events_in_opt_out:
            hits += self._opted_out(node, call.period, known)
        return hits

    def _opted_out(self, node: Node, period: Period, known: _Known) -> list[ClauseHit]:
        """The node's own word that it stays out, by the opt schedules that it has sent."""
        schedules = known.schedules.get(node.ven_id, [])
        out = availability.out_during(schedules, self._opt_policy, self._part, period.start, period.end)
        if out is None:
            return []
        return [ClauseHit(Clause.OPT_OUT, "has opted out from %(since)s on", {"since": out})]

    def _hits(
        self, node: Node, call: Call, known: _Known, event_id: str | None, now: datetime
    ) -> list[ClauseHit]:
        promised = known.commitments.get(node.ven_id, [])
        others = [other.period for other in promised if other.event_id != event_id]
        hits = broken_clauses(node.agreement, call, others, self.calendar, now)
        if self._agreements is not None:
            held, required = known.held.get(node.ven_id), self._agreements.required
            standing = mirror.standing_hits(held, call, others, now, required=required)
            told = {hit.clause for hit in hits}
            hits += [hit for hit in standing if hit.clause not in told]
        return hits
