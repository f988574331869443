"""Statements as people look for them: chosen by event, node and month, a page at a time, with their totals;
and the same summed up by event, node or month.

Rules: totals are kept apart by currency and are whole minor units; unless all revisions are asked for, only
the newest one of a call counts, so that nothing is summed twice; a month is that of the programme's calendar
in which the event begins. Everything is cut and summed in SQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, Select, and_, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.json_text import JsonText
from aggregator.profile import Calendar, Period
from aggregator.schema import call_table, statement_table
from aggregator.store import statement_of
from vtn.schema import ven_table

PAGE = 50
MOST_PAGES = 100_000
_MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])", re.ASCII)


class By(StrEnum):
    """What the lines of a list stand for."""

    STATEMENT = "statement"
    EVENT = "event"
    NODE = "node"
    MONTH = "month"


def _is_month(text: str) -> str:
    if text and _MONTH.fullmatch(text) is None:
        raise ValueError("a month is written such as 2026-01")
    return text


def is_plain(text: str) -> str:
    """The text without spaces around it; ValueError if it holds what cannot be seen."""
    if not text.isprintable():
        raise ValueError("it holds a character that cannot be seen")
    return text.strip()


class Choice(BaseModel):
    """Which statements; empty texts choose all. `node` is a VEN's name or id."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    event: Annotated[str, AfterValidator(is_plain)] = Field(default="", max_length=128)
    node: Annotated[str, AfterValidator(is_plain)] = Field(default="", max_length=128)
    month: Annotated[str, AfterValidator(_is_month)] = ""
    revisions: str = Field(default="newest", pattern="^(newest|all)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One revision of a statement. `number` names it for ever; `newest` is the newest one of its call."""

    number: int
    event_id: str
    ven_id: str
    ven_name: str
    start: datetime
    end: datetime
    outcome: str
    requested_wh: int
    delivered_wh: int
    incentive_minor: int
    penalty_minor: int
    amount_minor: int
    currency: str
    baseline_method: str
    revision: int
    newest: int
    made_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What statements of one currency come to; `label` is the event, node or month they are of."""

    label: str
    link: str
    currency: str
    statements: int
    requested_wh: int
    delivered_wh: int
    incentive_minor: int
    penalty_minor: int
    amount_minor: int
    start: datetime
    end: datetime


_S, _C, _V = statement_table.c, call_table.c, ven_table.c
_SUMS = ("requested_wh", "delivered_wh", "incentive_minor", "penalty_minor", "amount_minor")
_JOINED = statement_table.join(
    call_table, and_(_C.event_id == _S.event_id, _C.ven_id == _S.ven_id)
).outerjoin(ven_table, _V.ven_id == _S.ven_id)


def month_of(calendar: Calendar, month: str) -> Period:
    """A month such as 2026-01 from its first local midnight to its end."""
    first = date.fromisoformat(f"{month}-01")
    following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return Period(calendar.day(first).start, calendar.day(following).start)


def _chosen(query: Select[Any], choice: Choice, calendar: Calendar) -> Select[Any]:
    query = query.select_from(_JOINED)
    if choice.revisions == "newest":
        query = query.where(_C.settled_revision == _S.revision)
    if choice.event:
        query = query.where(_S.event_id == choice.event)
    if choice.node:
        query = query.where(_C.ven_id == _ven_id(choice.node))
    if choice.month:
        month = month_of(calendar, choice.month)
        query = query.where(_C.start >= month.start, _C.start < month.end)
    return query


def _ven_id(node: str) -> ColumnElement[str]:
    """The id of a node by its name, else what was given."""
    named = select(_V.ven_id).where(_V.ven_name == node).scalar_subquery()
    return func.coalesce(named, node)


async def rows(
    conn: AsyncConnection,
    choice: Choice,
    calendar: Calendar,
    *,
    page: int = 1,
    limit: int = PAGE,
    before: int | None = None,
) -> list[Row]:
    """A page of them, the newest first; `before`: only those with smaller numbers, then `page` stays 1."""
    # of one node there are few: they are found by the node and sorted, not looked for in the order of all
    order = _S.seq + 0 if choice.node else _S.seq
    query = _chosen(select(*_ROW), choice, calendar).order_by(order.desc())
    if before is not None:
        query = query.where(_S.seq < before)
    found = await conn.execute(query.limit(limit).offset((page - 1) * limit))
    return [_row(one) for one in found]


async def of_call(conn: AsyncConnection, event_id: str, ven_id: str) -> list[Row]:
    """All revisions of one call, the first one first."""
    query = select(*_ROW).select_from(_JOINED).where(_S.event_id == event_id, _S.ven_id == ven_id)
    return [_row(one) for one in await conn.execute(query.order_by(_S.revision))]


async def numbered(conn: AsyncConnection, number: int) -> Row | None:
    """The statement of that number."""
    found = (await conn.execute(select(*_ROW).select_from(_JOINED).where(_S.seq == number))).one_or_none()
    return None if found is None else _row(found)


_ROW = (
    _S.seq,
    _S.body,
    _S.made_at,
    _C.start,
    _C.end,
    _C.settled_revision,
    func.coalesce(_V.ven_name, _S.ven_id).label("ven_name"),
)


def _row(found: Any) -> Row:
    statement = statement_of(found.body)
    return Row(
        number=found.seq,
        event_id=statement.event_id,
        ven_id=statement.ven_id,
        ven_name=found.ven_name,
        start=found.start,
        end=found.end,
        outcome=str(statement.outcome),
        requested_wh=statement.requested_wh,
        delivered_wh=statement.delivered_wh,
        incentive_minor=statement.incentive_minor,
        penalty_minor=statement.penalty_minor,
        amount_minor=statement.amount_minor,
        currency=statement.currency,
        baseline_method=statement.baseline_method,
        revision=statement.revision,
        newest=found.settled_revision,
        made_at=found.made_at,
    )


async def totals(conn: AsyncConnection, choice: Choice, calendar: Calendar) -> list[Total]:
    """What all chosen statements come to, one line for each currency."""
    nothing = (literal("").label("label"), literal("").label("link"))
    return await _read(conn, _sums(choice, calendar, nothing))


async def by_node(
    conn: AsyncConnection, choice: Choice, calendar: Calendar, page: int = 1
) -> tuple[list[Total], int]:
    """A page of nodes by name with their sums, and how many nodes there are in all."""
    called = select(_C.ven_id).where(_C.ven_id == _V.ven_id, _C.settled_revision > 0)
    if choice.event:
        called = called.where(_C.event_id == choice.event)
    if choice.month:
        month = month_of(calendar, choice.month)
        called = called.where(_C.start >= month.start, _C.start < month.end)
    chosen = select(_V.ven_id).where(called.exists())
    if choice.node:
        chosen = chosen.where(_V.ven_id == _ven_id(choice.node))
    count = int((await conn.execute(select(func.count()).select_from(chosen.subquery()))).scalar_one())
    few = (await conn.execute(chosen.order_by(_V.ven_name).limit(PAGE).offset((page - 1) * PAGE))).scalars()
    label = (_V.ven_name.label("label"), _S.ven_id.label("link"))
    query = _sums(choice, calendar, label).where(_C.ven_id.in_(list(few)))
    return await _read(conn, query.order_by(None).order_by(_V.ven_name)), count


async def by_event(conn: AsyncConnection, choice: Choice, calendar: Calendar) -> list[Total]:
    """The sums of each event, the newest first: many, `statement_sums` remembers them."""
    return await _read(conn, _sums(choice, calendar, (_S.event_id.label("label"), _S.event_id.label("link"))))


async def settled_since(conn: AsyncConnection, mark: int) -> tuple[int, list[str]]:
    """The number of the newest statement, and the events of those with larger numbers than `mark`."""
    newest = (await conn.execute(select(func.max(_S.seq)))).scalar() or 0
    if newest <= mark:
        return newest, []
    events = await conn.execute(select(_S.event_id).where(_S.seq > mark).distinct())
    return newest, list(events.scalars())


def _sums(choice: Choice, calendar: Calendar, label: tuple[Any, Any]) -> Select[Any]:
    body = JsonText(_S.body)
    currency = body["currency"].as_string().label("currency")
    sums = [func.sum(body[name].as_integer()).label(name) for name in _SUMS]
    counted = func.count().label("statements")
    extent = (func.min(_C.start).label("start"), func.max(_C.end).label("end"))
    query = _chosen(select(*label, currency, counted, *sums, *extent), choice, calendar)
    return query.group_by(*label, currency).order_by(func.max(_C.start).desc(), label[0], currency)


async def _read(conn: AsyncConnection, query: Select[Any]) -> list[Total]:
    found = await conn.execute(query)
    return [Total(**{**one, "label": one["label"] or ""}) for one in found.mappings()]


def pages_of(count: int, limit: int = PAGE) -> int:
    """How many pages so many lines fill; at least one."""
    return max(1, -(-count // limit))
