"""The audit trail as people read it: who did what, when, to what, and where the log has it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.access.action import KIND
from aggregator.access.schema import user_table
from aggregator.json_text import JsonText
from aggregator.profile import Calendar
from aggregator.record_list import LARGEST, is_day
from aggregator.statement_list import is_plain
from ledger import store as ledger_store
from vtn.schema import journal_table

PAGE = 50
OUTCOMES = ("done", "refused", "failed")


def _is_outcome(text: str) -> str:
    if text and text not in OUTCOMES:
        raise ValueError("an action is done, refused or failed")
    return text


class TrailChoice(BaseModel):
    """Which actions; empty texts choose all. `who` is a user's name or id, `what` a part of what was done or
    of the objects' names; days count by the programme's calendar, both included.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    who: Annotated[str, AfterValidator(is_plain)] = Field(default="", max_length=128)
    what: Annotated[str, AfterValidator(is_plain)] = Field(default="", max_length=128)
    outcome: Annotated[str, AfterValidator(_is_outcome)] = ""
    since: Annotated[str, AfterValidator(is_day)] = ""
    until: Annotated[str, AfterValidator(is_day)] = ""
    before: int = Field(default=LARGEST, ge=0, le=LARGEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One action. `name` is the user's now, empty where he is none of ours (the control socket); `leaf` its
    record's place in the log, None before it is sealed.
    """

    number: int
    at: datetime
    who: str
    name: str
    role: str
    by: str
    what: str
    objects: tuple[str, ...]
    outcome: str
    detail: str
    form_sha256: str
    leaf: int | None


async def lines(
    conn: AsyncConnection, choice: TrailChoice, calendar: Calendar, limit: int = PAGE
) -> tuple[list[Line], int | None]:
    """A page, the newest first, and `before` of the next page; None where there is none."""
    t, u = journal_table.c, user_table.c
    body = JsonText(t.body)
    who = body["who"].as_string()
    query = (
        select(t.seq, t.at, t.key, t.body, func.coalesce(u.name, "").label("name"))
        .select_from(journal_table.outerjoin(user_table, u.user_id == who))
        .where(t.key >= f"{KIND}//", t.key < f"{KIND}/0", t.seq < choice.before)  # a range of the index
    )
    if choice.who:
        query = query.where(or_(who == choice.who, u.name == choice.who))
    if choice.what:
        parts = (body["what"].as_string(), body["objects"].as_string())
        query = query.where(or_(*(part.contains(choice.what, autoescape=True) for part in parts)))
    if choice.outcome:
        query = query.where(body["outcome"].as_string() == choice.outcome)
    if choice.since:
        query = query.where(t.at >= calendar.day(date.fromisoformat(choice.since)).start)
    if choice.until:
        query = query.where(t.at < calendar.day(date.fromisoformat(choice.until)).end)
    found = list(await conn.execute(query.order_by(t.seq.desc()).limit(limit + 1)))
    leaves = await ledger_store.leaves_by_key(conn, [row.key for row in found])
    page = [_line(row, leaves.get(row.key)) for row in found[:limit]]
    return page, page[-1].number if len(found) > limit else None


def _line(row: Any, leaf: ledger_store.StoredLeaf | None) -> Line:
    said = row.body
    return Line(
        number=row.seq,
        at=row.at,
        who=said["who"],
        name=row.name,
        role=said["role"],
        by=said["by"],
        what=said["what"],
        objects=tuple(said["objects"]),
        outcome=said["outcome"],
        detail=said["detail"],
        form_sha256=said["form_sha256"],
        leaf=None if leaf is None else leaf.index,
    )
