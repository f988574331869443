"""What the aggregator knows of one node: read once, for its page and for the API."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import store
from aggregator.agreement import Agreement
from aggregator.dashboard.health import Health, health
from aggregator.dashboard.node_certificate import Urgency, end_of, is_taken, urgency
from aggregator.dashboard.page import Desk
from aggregator.profile import QUARTER, LoadProfile, Period
from aggregator.readings import LOAD, LOAD_FORECAST, OFFER, TELEMETRY, issued, metered
from ledger import agreement_store
from ledger.agreement_store import Held
from vtn import certificate, outbox, registration, trace
from vtn.certificate import Enrolled
from vtn.errors import UnknownObject
from vtn.registration import Ven
from vtn.report_request import catalogue

NODES_OWN = frozenset({LOAD, LOAD_FORECAST, OFFER})
NEAR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate of a node; `ends_at` None: not before it is replaced, as far as is known."""

    enrolled: Enrolled
    ends_at: datetime | None
    taken: bool
    urgency: Urgency


@dataclass(frozen=True, slots=True)
class Home:
    """A home behind the node: what it used today as far as that was reported, and until when."""

    name: str
    used_kwh: float
    known_until: datetime | None


@dataclass(frozen=True, slots=True)
class Facts:
    """One node. `offer_kw` is what it offers now, by what it said at `offered_at`; `held` its agreement on
    the chain, where agreements are there; `waiting` counts what waits for its polls, by kind.
    """

    ven: Ven
    contact: datetime | None
    state: Health
    skew: timedelta | None
    skewed: bool
    poll_period: timedelta
    certificates: Sequence[Certificate]
    waiting: Mapping[str, int]
    traced_since: datetime | None
    agreement: Agreement | None
    held: Held | None
    offered_at: datetime | None
    offer_kw: float | None
    homes: Sequence[Home]

    @property
    def certificate_until(self) -> datetime | None:
        """When the last one ends of those that are taken and whose end is known; None: none is."""
        ends = [one.ends_at for one in self.certificates if one.taken and one.ends_at is not None]
        return max(ends, default=None)

    @property
    def certificate_urgency(self) -> Urgency:
        """How soon somebody must do something about its certificates."""
        if not any(one.taken for one in self.certificates):
            return Urgency.OVER
        until = self.certificate_until
        found = [one.urgency for one in self.certificates if one.taken and one.ends_at == until]
        return found[0] if until is not None else Urgency.NONE


async def found(conn: AsyncConnection, ven_id: str, scope: frozenset[str] | None) -> Ven:
    """The node of that id; UnknownObject where there is none, or none that may be seen."""
    if scope is not None and ven_id not in scope:
        raise UnknownObject(f"no VEN has the id {ven_id!r}")
    return await registration.find(conn, ven_id)


async def facts_of(conn: AsyncConnection, desk: Desk, ven: Ven, now: datetime) -> Facts:
    """All of one node."""
    contact = desk.office.contacts().get(ven.ven_id, ven.last_contact)
    skew = desk.office.clock_skews().get(ven.ven_id)
    agreed = await store.agreement_with(conn, ven.ven_id)
    offer = await issued(conn, ven.ven_id, OFFER, Period(now - QUARTER, now + NEAR))
    offer_kw = None if offer is None else offer[1].at(now)
    period_s = desk.settings.vtn.poll_period_s
    return Facts(
        ven=ven,
        contact=contact,
        state=health(ven, contact, period_s, now),
        skew=skew,
        skewed=skew is not None and abs(skew.total_seconds()) > desk.settings.vtn.clock_skew_s,
        poll_period=timedelta(seconds=ven.poll_period_s or period_s),
        certificates=[_certificate(one, now) for one in await certificate.enrolled(conn, ven.ven_id)],
        waiting=await outbox.counts(conn, ven.ven_id),
        traced_since=await trace.traced_since(conn, ven.ven_id),
        agreement=None if agreed is None else agreed[1],
        held=await agreement_store.in_force(conn, ven.ven_id) if desk.settings.agreements else None,
        offered_at=None if offer is None else offer[0],
        offer_kw=None if offer_kw is None or math.isnan(offer_kw) else offer_kw,
        homes=await _homes(conn, desk, ven.ven_id, now),
    )


def _certificate(one: Enrolled, now: datetime) -> Certificate:
    taken = is_taken(one, now)
    ends_at = end_of(one)
    return Certificate(one, ends_at, taken, urgency(ends_at, now) if taken else Urgency.NONE)


async def _homes(conn: AsyncConnection, desk: Desk, ven_id: str, now: datetime) -> list[Home]:
    """The homes that it reports, by what it said it can report."""
    names = set()
    for offered in await catalogue(conn, ven_id):
        if offered.report is not None and offered.report_name.endswith(TELEMETRY):
            names |= {point.r_id for point in offered.report.report_descriptions} - NODES_OWN
    if not names:
        return []
    calendar = desk.portfolio.calendar
    day = calendar.day(calendar.day_of(now))
    read = await metered(conn, [ven_id], sorted(names), day)
    return [_home(name, read.profiles.get((ven_id, name))) for name in sorted(names)]


def _home(name: str, profile: LoadProfile | None) -> Home:
    if profile is None:
        return Home(name, 0.0, None)
    known = [(index, kw) for index, kw in enumerate(profile.kw) if not math.isnan(kw)]
    used = sum(kw for _, kw in known) / 4
    until = profile.start + (known[-1][0] + 1) * profile.step if known else None
    return Home(name, used, until)
