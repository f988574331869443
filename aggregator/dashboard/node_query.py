"""The list of nodes as the database makes it: filtered, sorted and cut into pages before anything is read.

What of the last minute only the process knows (when nodes spoke) goes into the statement as one value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints
from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Select,
    Text,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.dashboard.health import Health
from aggregator.dashboard.health_in_sql import health_in_sql
from aggregator.schema import agreement_table
from vtn.api_route import Query
from vtn.schema import Instant, awaited_certificate_table, certificate_table, micros, ven_table

FINGERPRINT_PART = 8  # so many hex digits are looked for among the certificates too
MOST_PAGES = 100_000


class Expiry(StrEnum):
    """How the certificates of a node end."""

    OVER = "over"  # none is taken any more, or none ever was
    DAY = "1"
    WEEK = "7"
    MONTH = "30"


DAYS = {Expiry.DAY: 1, Expiry.WEEK: 7, Expiry.MONTH: 30}


class Programme(StrEnum):
    """Whether a node takes part in the programme."""

    IN = "in"
    OUT = "out"


class Sort(StrEnum):
    """By what the nodes are put in order."""

    NAME = "name"
    STATE = "state"
    CONTACT = "contact"
    CERTIFICATE = "certificate"


class Order(StrEnum):
    """Which end comes first."""

    UP = "up"
    DOWN = "down"


class Size(StrEnum):
    """How many stand on one page."""

    SHORT = "50"
    LONG = "200"
    LONGEST = "1000"


Looked = Annotated[str, StringConstraints(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]


class NodeQuery(Query):
    """Which nodes are listed, in which order."""

    text: Looked = Field(default="", description="Part of a name, an id, or a certificate's fingerprint.")
    state: Health | None = Field(default=None, description="How the node is doing.")
    expiry: Expiry | None = Field(
        default=None, description="Its last certificate ends within so many days, or none is taken (`over`)."
    )
    programme: Programme | None = Field(
        default=None, description="`in`: an agreement of the programme is in force."
    )
    sort: Sort = Sort.NAME
    order: Order = Order.UP
    size: Size = Size.SHORT
    page: int = Field(default=1, ge=1, le=MOST_PAGES)


@dataclass(frozen=True, slots=True)
class Row:
    """One node of the list. `certificate_until` is None where no end is known, `certificates` how
    many are taken.
    """

    ven_id: str
    ven_name: str
    state: Health
    contact: datetime | None
    certificate_until: datetime | None
    certificates: int
    in_programme: bool
    poll_period_s: int | None
    registered_at: datetime | None
    suspended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of the list; `found` is how many fit the filter, `states` counts all nodes there are."""

    rows: Sequence[Row]
    found: int
    states: Mapping[Health, int]
    ending: int
    """Nodes whose last certificate ends within 30 days, or has ended."""

    def pages(self, size: int) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.found // size))


@dataclass(frozen=True, slots=True)
class NodeList:
    """Asks for the list at one instant. `heard` is when nodes spoke as far as the database does not know it,
    `scope` the ids that may be seen (None: all), `poll_period_s` the server's own rhythm.
    """

    now: datetime
    heard: Mapping[str, datetime]
    poll_period_s: int
    scope: Collection[str] | None = None

    async def page(self, conn: AsyncConnection, query: NodeQuery) -> Listed:
        """One page of what fits."""
        nodes = self._nodes()
        t, wanted = nodes.c, self._wanted(nodes.c, query)
        size = int(query.size)
        found = int((await conn.execute(select(func.count()).select_from(nodes).where(*wanted))).scalar_one())
        rows = await conn.execute(
            select(t).where(*wanted).order_by(*_order(t, query)).limit(size).offset((query.page - 1) * size)
        )
        states, ending = await self._counts(conn, nodes)
        return Listed([_row(row) for row in rows], found, states, ending)

    async def states(self, conn: AsyncConnection) -> Counter[Health]:
        """How many nodes there are in each state."""
        heard, t = _heard(self.heard), ven_table.c
        contact = func.coalesce(heard.c.at, type_coerce(t.last_contact, BigInteger))
        state = health_in_sql(contact, self.poll_period_s, self.now).label("state")
        query = select(state, func.count()).select_from(
            ven_table.outerjoin(heard, heard.c.ven_id == t.ven_id)
        )
        if self.scope is not None:
            query = query.where(t.ven_id.in_(self.scope))
        return Counter({Health(found): count for found, count in await conn.execute(query.group_by(state))})

    async def cells(self, conn: AsyncConnection) -> Sequence[Any]:
        """Id, name, state and microsecond of the last contact of every node; worst first, then by name."""
        heard, t = _heard(self.heard), ven_table.c
        contact = func.coalesce(heard.c.at, type_coerce(t.last_contact, BigInteger))
        state = health_in_sql(contact, self.poll_period_s, self.now).label("state")
        query = select(t.ven_id, t.ven_name, state, contact).select_from(
            ven_table.outerjoin(heard, heard.c.ven_id == t.ven_id)
        )
        if self.scope is not None:
            query = query.where(t.ven_id.in_(self.scope))
        worst_first = case({str(one): number for number, one in enumerate(Health)}, value=state)
        return (await conn.execute(query.order_by(worst_first, func.lower(t.ven_name), t.ven_id))).all()

    async def _counts(self, conn: AsyncConnection, nodes: Any) -> tuple[Mapping[Health, int], int]:
        t = nodes.c
        ends = case((self._ends(t, timedelta(days=DAYS[Expiry.MONTH])), 1), else_=0)
        counted = select(t.state, func.count(), func.sum(ends)).group_by(t.state)
        states: Counter[Health] = Counter()
        ending = 0
        for state, count, soon in await conn.execute(counted):
            states[Health(state)] = count
            ending += soon
        return states, ending

    def _nodes(self) -> Any:
        """All nodes that may be seen, with what is worked out for each."""
        heard = _heard(self.heard)
        t, c, a = ven_table.c, certificate_table, awaited_certificate_table
        contact = func.coalesce(heard.c.at, type_coerce(t.last_contact, BigInteger))
        columns: tuple[ColumnElement[Any], ...] = (
            t.ven_id,
            t.ven_name,
            func.lower(t.ven_name).label("sorted_name"),
            health_in_sql(contact, self.poll_period_s, self.now).label("state"),
            type_coerce(contact, Instant).label("contact"),
            type_coerce(_until(t.ven_id, self.now), Instant).label("certificate_until"),
            (_taken(c, t.ven_id, self.now) + _taken(a, t.ven_id, self.now)).label("certificates"),
            exists().where(agreement_table.c.ven_id == t.ven_id).label("in_programme"),
            t.poll_period_s,
            t.registered_at,
            t.suspended_at,
        )
        query: Select[Any] = select(*columns).select_from(
            ven_table.outerjoin(heard, heard.c.ven_id == t.ven_id)
        )
        if self.scope is not None:
            query = query.where(t.ven_id.in_(self.scope))
        return query.subquery("node")

    def _wanted(self, t: Any, query: NodeQuery) -> list[ColumnElement[bool]]:
        wanted = []
        if query.text.strip():
            wanted.append(_holds(t, query.text.strip()))
        if query.state is not None:
            wanted.append(t.state == str(query.state))
        if query.expiry is Expiry.OVER:
            wanted.append(self._ends(t, timedelta(0)))
        elif query.expiry is not None:
            wanted.append(self._ends(t, timedelta(days=DAYS[query.expiry])))
        if query.programme is not None:
            wanted.append(t.in_programme if query.programme is Programme.IN else ~t.in_programme)
        return wanted

    def _ends(self, t: Any, within: timedelta) -> ColumnElement[bool]:
        """None is taken, or the last one ends by then."""
        return or_(t.certificates == 0, t.certificate_until <= self.now + within)


def _heard(heard: Mapping[str, datetime]) -> Any:
    """When nodes spoke, as a table."""
    spoke = literal({ven_id: micros(at) for ven_id, at in heard.items()}, JSON)
    each = func.json_each(spoke).table_valued("key", "value")
    at = cast(cast(each.c.value, Text), BigInteger)  # from JSON itself PostgreSQL makes no number
    return select(each.c.key.label("ven_id"), at.label("at")).subquery("heard")


def _taken(table: Any, ven_id: Any, now: datetime) -> Any:
    """How many certificates of a node are taken."""
    t = table.c
    in_force = or_(t.valid_until.is_(None), t.valid_until > now)
    return select(func.count()).where(t.ven_id == ven_id, in_force).scalar_subquery()


def _until(ven_id: Any, now: datetime) -> Any:
    """When the last one ends of those that are taken and whose end is known: one that nobody has come with
    yet replaces none.
    """
    t = certificate_table.c
    sooner = and_(t.valid_until.is_not(None), or_(t.expires_at.is_(None), t.valid_until < t.expires_at))
    ends = case((sooner, t.valid_until), else_=t.expires_at)
    in_force = or_(t.valid_until.is_(None), t.valid_until > now)
    return select(func.max(ends)).where(t.ven_id == ven_id, in_force).scalar_subquery()


def _holds(t: Any, text: str) -> ColumnElement[bool]:
    found = [t.ven_name.icontains(text, autoescape=True), t.ven_id.icontains(text, autoescape=True)]
    digits = text.replace(":", "").lower()
    if len(digits) >= FINGERPRINT_PART and set(digits) <= set("0123456789abcdef"):
        c = certificate_table.c
        found.append(exists().where(c.ven_id == t.ven_id, c.fingerprint.contains(digits)))
    return or_(*found)


def _order(t: Any, query: NodeQuery) -> list[Any]:
    worst_first = case({str(state): number for number, state in enumerate(Health)}, value=t.state)
    column = {
        Sort.NAME: t.sorted_name,
        Sort.STATE: worst_first,
        Sort.CONTACT: t.contact,
        Sort.CERTIFICATE: t.certificate_until,
    }[query.sort]
    first = column.asc() if query.order is Order.UP else column.desc()
    return [first.nulls_last(), t.sorted_name, t.ven_id]


def _row(row: Any) -> Row:
    return Row(
        ven_id=row.ven_id,
        ven_name=row.ven_name,
        state=Health(row.state),
        contact=row.contact,
        certificate_until=row.certificate_until,
        certificates=row.certificates,
        in_programme=bool(row.in_programme),
        poll_period_s=row.poll_period_s,
        registered_at=row.registered_at,
        suspended_at=row.suspended_at,
    )
