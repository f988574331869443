"""What all nodes can report, were asked for, and sent that could not be kept.

SQL filters, sorts and cuts the lists into pages, whatever the size of the fleet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field, StringConstraints
from sqlalchemy import ColumnElement, Select, case, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn.api_route import Query
from vtn.catalogue import Offered, catalogue
from vtn.report_request import RequestState, read_request
from vtn.schema import journal_table, quarantine_table, report_request_table, report_spec_table, ven_table

SIZE = 50
MOST_PAGES = 100_000
R = TypeVar("R")
Looked = Annotated[str, StringConstraints(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Progress(StrEnum):
    """Where a request stands for whoever looks at many."""

    ASKED = "asked"
    RUNNING = "running"
    CANCELLING = "cancelling"
    ENDED = "ended"


class ListQuery(Query):
    """Which rows are listed."""

    text: Looked = Field(default="", description="Part of a node's name or id.")
    report: Looked = Field(default="", description="Name of a report, such as TELEMETRY_USAGE.")
    page: int = Field(default=1, ge=1, le=MOST_PAGES)


class RequestQuery(ListQuery):
    """Which requests are listed."""

    state: Progress | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """Which part of a list: how many rows come before it, and how many are in it at most."""

    after: int
    limit: int

    @classmethod
    def of(cls, query: ListQuery) -> Cut:
        """The page that a query asks for."""
        return cls((query.page - 1) * SIZE, SIZE)

    def next(self, found: int) -> int | None:
        """How many rows come before the next part; None where this is the last."""
        return self.after + self.limit if self.after + self.limit < found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed(Generic[R]):
    """One page of a list; `found` is how many fit."""

    rows: Sequence[R]
    found: int

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.found // SIZE))


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """A report that a node was asked for; durations in seconds where they are no months."""

    ven_id: str
    ven_name: str
    report_request_id: str
    specifier_id: str
    report_name: str
    r_ids: Sequence[str]
    state: RequestState
    outcome: str | None
    by_operator: bool
    granularity_s: int | None
    report_back_s: int | None
    start: datetime | None
    end: datetime | None
    requested_at: datetime
    ended_at: datetime | None
    last_report_at: datetime | None

    @property
    def is_answered(self) -> bool:
        """Whether a report that comes once has come."""
        open_ = self.state in (RequestState.ASKED, RequestState.RUNNING)
        return open_ and self.last_report_at is not None and not self.report_back_s


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferRow:
    """A report that a node can make; `offered` has its metadata."""

    ven_id: str
    ven_name: str
    offered: Offered


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A value that was not kept, as it came, and why."""

    key: str
    ven_id: str
    ven_name: str | None
    report_request_id: str
    r_id: str
    start: str
    value: str
    reason: str
    received_at: datetime


def _state() -> ColumnElement[str]:
    t = report_request_table.c
    return case(
        (t.ended_at.is_not(None), literal(str(RequestState.ENDED))),
        (t.cancelled_at.is_not(None), literal(str(RequestState.CANCELLING))),
        (t.accepted_at.is_(None), literal(str(RequestState.ASKED))),
        else_=literal(str(RequestState.RUNNING)),
    )


def holds(text: str) -> ColumnElement[bool]:
    """Whether a node's name or id has this in it."""
    t = ven_table.c
    return or_(t.ven_name.icontains(text, autoescape=True), t.ven_id.icontains(text, autoescape=True))


async def _page(conn: AsyncConnection, query: Select[Any], order: Sequence[Any], cut: Cut) -> tuple[Any, int]:
    """The statement of one page, and how many rows there are."""
    counted = select(func.count()).select_from(query.order_by(None).subquery())
    found = int((await conn.execute(counted)).scalar_one())
    return query.order_by(*order).limit(cut.limit).offset(cut.after).subquery("page"), found


async def requests(conn: AsyncConnection, query: RequestQuery, cut: Cut | None = None) -> Listed[RequestRow]:
    """What was asked for, newest first."""
    t, v = report_request_table, ven_table
    chosen = select(t, v.c.ven_name, _state().label("state")).join(v, v.c.ven_id == t.c.ven_id)
    if query.text.strip():
        chosen = chosen.where(holds(query.text.strip()))
    if query.report:
        chosen = chosen.where(t.c.report_name == query.report)
    if query.state is not None:
        chosen = chosen.where(_state() == str(query.state))
    order = (t.c.requested_at.desc(), v.c.ven_name, t.c.report_request_id)
    page, found = await _page(conn, chosen, order, cut or Cut.of(query))
    p = page.c
    rows = await conn.execute(
        select(page, _last_report(p).label("last_report_at")).order_by(
            p.requested_at.desc(), p.ven_name, p.report_request_id
        )
    )
    return Listed(rows=[_request(row) for row in rows], found=found)


def _last_report(p: Any) -> Any:
    """When the newest report of a request came: the journal's keys are in the order of their creation."""
    t = journal_table.c
    stem = literal("report/") + p.ven_id + "/" + p.report_request_id
    newest = select(t.at).where(t.key > stem + "/", t.key < stem + "0").order_by(t.key.desc()).limit(1)
    return newest.scalar_subquery()


def _request(row: Any) -> RequestRow:
    asked = read_request(row.content)
    specifier = asked.report_specifier if asked else None
    granularity = specifier.granularity if specifier else None
    back = specifier.report_back_duration if specifier else None
    return RequestRow(
        ven_id=row.ven_id,
        ven_name=row.ven_name,
        report_request_id=row.report_request_id,
        specifier_id=row.specifier_id,
        report_name=row.report_name,
        r_ids=list(row.r_ids),
        state=RequestState(row.state),
        outcome=row.outcome,
        by_operator=bool(row.by_operator),
        granularity_s=granularity.seconds if granularity else None,
        report_back_s=back.seconds + back.months * 30 * 86_400 if back else None,
        start=row.start,
        end=row.end,
        requested_at=row.requested_at,
        ended_at=row.ended_at,
        last_report_at=row.last_report_at,
    )


async def one_request(conn: AsyncConnection, ven_id: str, request_id: str) -> RequestRow | None:
    """One request; None where there is none of that name."""
    t, v = report_request_table, ven_table
    chosen = (
        select(t, v.c.ven_name, _state().label("state"))
        .join(v, v.c.ven_id == t.c.ven_id)
        .where(t.c.ven_id == ven_id, t.c.report_request_id == request_id)
        .subquery("page")
    )
    found = await conn.execute(select(chosen, _last_report(chosen.c).label("last_report_at")))
    row = found.one_or_none()
    return None if row is None else _request(row)


async def offers(conn: AsyncConnection, query: ListQuery, cut: Cut | None = None) -> Listed[OfferRow]:
    """What nodes can report, by name of the node."""
    t, v = report_spec_table, ven_table
    chosen = select(t.c.ven_id, v.c.ven_name, t.c.specifier_id).join(v, v.c.ven_id == t.c.ven_id)
    if query.text.strip():
        chosen = chosen.where(holds(query.text.strip()))
    if query.report:
        chosen = chosen.where(t.c.report_name == query.report)
    page, found = await _page(
        conn, chosen, (v.c.ven_name, t.c.ven_id, t.c.specifier_id), cut or Cut.of(query)
    )
    rows = (
        await conn.execute(select(page).order_by(page.c.ven_name, page.c.ven_id, page.c.specifier_id))
    ).all()
    known = {
        (ven_id, offered.specifier_id): offered
        for ven_id in {row.ven_id for row in rows}
        for offered in await catalogue(conn, ven_id)
    }
    listed = [
        OfferRow(ven_id=row.ven_id, ven_name=row.ven_name, offered=known[row.ven_id, row.specifier_id])
        for row in rows
    ]
    return Listed(rows=listed, found=found)


async def report_names(conn: AsyncConnection) -> Mapping[str, int]:
    """How many nodes offer a report, by its name."""
    t = report_spec_table.c
    query = select(t.report_name, func.count(t.ven_id.distinct())).group_by(t.report_name)
    return {name: int(count) for name, count in await conn.execute(query.order_by(t.report_name))}


async def states(conn: AsyncConnection) -> Mapping[str, int]:
    """How many requests stand where."""
    state = _state()
    query = select(state, func.count()).select_from(report_request_table).group_by(state)
    return {name: int(count) for name, count in await conn.execute(query)}


async def quarantined(
    conn: AsyncConnection, query: ListQuery, cut: Cut | None = None
) -> Listed[QuarantineRow]:
    """Values that were not kept, newest first; `report` is the data point here."""
    t, v = quarantine_table, ven_table
    chosen = select(t, v.c.ven_name).outerjoin(v, v.c.ven_id == t.c.ven_id)
    if query.text.strip():
        chosen = chosen.where(holds(query.text.strip()))
    if query.report:
        chosen = chosen.where(t.c.r_id == query.report)
    page, found = await _page(conn, chosen, (t.c.received_at.desc(), t.c.key), cut or Cut.of(query))
    p = page.c
    columns = (p.key, p.ven_id, p.ven_name, p.report_request_id, p.r_id, p.start, p.value, p.reason)
    rows = await conn.execute(select(*columns, p.received_at).order_by(p.received_at.desc(), p.key))
    return Listed(rows=[QuarantineRow(*row) for row in rows], found=found)
