"""The log as people read it: records by kind, node and time, checkpoints with who cosigned them, anchors with
their blocks.

Rules: pages are cut in SQL and go back in time by the leaf's index, so a page stays what it is while the log
grows; a day is that on which the record was signed in a checkpoint, which is the only time that cannot be
changed afterwards; of an erased record there is its place alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.profile import Calendar
from aggregator.statement_list import is_plain
from ledger import tile
from ledger.checkpoint import Checkpoint
from ledger.cosignature_store import cosignature_table
from ledger.errors import RecordError
from ledger.merkle import range_hash
from ledger.receipt import Anchor
from ledger.record import Record, parse_time, time_text
from ledger.store import anchor_table, checkpoint_table, leaf_table, tiles
from vtn.schema import ven_table

PAGE = 50
OF_NODES = ("registration", "signal", "opt", "report", "override", "statement")
"""Kinds whose keys name a node."""
KINDS = (*OF_NODES, "action", "checkpoint", "anchor", "cosignature", "erased")
LARGEST = 10**15
EARLIEST, LATEST = date(1970, 1, 1), date(2199, 12, 31)


def is_day(text: str) -> str:
    """The text of a day, or nothing; ValueError for another."""
    if text:
        try:
            day = date.fromisoformat(text)
        except ValueError:
            raise ValueError("a day is written such as 2026-01-20") from None
        if not EARLIEST <= day <= LATEST:
            raise ValueError(f"a day lies from {EARLIEST} to {LATEST}")
    return text


def _is_kind(text: str) -> str:
    if text and text not in KINDS:
        raise ValueError("the log has no records of this kind")
    return text


class RecordChoice(BaseModel):
    """Which records; empty texts choose all. Days count by the programme's calendar, both included."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    kind: Annotated[str, AfterValidator(_is_kind)] = ""
    node: Annotated[str, AfterValidator(is_plain)] = Field(default="", max_length=128)
    since: Annotated[str, AfterValidator(is_day)] = ""
    until: Annotated[str, AfterValidator(is_day)] = ""
    before: int = Field(default=LARGEST, ge=0, le=LARGEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """One leaf; `at` and `kind` are None of an erased one."""

    index: int
    key: str
    kind: str | None
    node: str
    at: datetime | None

    @property
    def erased(self) -> bool:
        """Whether the record was erased; its hash is still in the tree."""
        return self.kind is None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRow:
    """A signed head of the log; the block is None while no anchor of it is known."""

    size: int
    published_at: datetime
    root: bytes
    witnesses: tuple[str, ...]
    state: str
    block: int | None
    block_at: datetime | None


async def records(
    conn: AsyncConnection, choice: RecordChoice, calendar: Calendar, limit: int = PAGE
) -> tuple[list[LogRow], int | None]:
    """A page of records, the newest first, and `before` of the next page; None where there is none."""
    t = leaf_table.c
    ven_id = choice.node
    if choice.node:
        named = select(ven_table.c.ven_id).where(ven_table.c.ven_name == choice.node)
        ven_id = (await conn.execute(named)).scalar() or choice.node
    chosen: Select[Any] = select(t.leaf_index).where(t.leaf_index < choice.before)
    ranges = _ranges(choice.kind, ven_id)
    if ranges is not None:
        chosen = chosen.where(ranges)
    for bound in await _days(conn, choice, calendar):
        chosen = chosen.where(bound)
    page = chosen.order_by(t.leaf_index.desc()).limit(limit + 1).subquery()
    query = select(leaf_table).join(page, page.c.leaf_index == t.leaf_index).order_by(t.leaf_index.desc())
    found = await _named(conn, [_row(row) for row in await conn.execute(query)])
    return found[:limit], found[limit - 1].index if len(found) > limit else None


def _ranges(kind: str, ven_id: str) -> ColumnElement[bool] | None:
    """Keys are KIND/VEN/...: what begins so is a range of the index."""
    if not kind and not ven_id:
        return None
    kinds = (kind,) if kind else OF_NODES
    starts = [f"{one}/{ven_id}/" if ven_id else f"{one}/" for one in kinds]
    key = leaf_table.c.key
    return or_(*(and_(key >= start, key < f"{start[:-1]}0") for start in starts))  # 0 is behind the slash


async def _days(
    conn: AsyncConnection, choice: RecordChoice, calendar: Calendar
) -> Sequence[ColumnElement[bool]]:
    t = checkpoint_table.c
    bounds: list[ColumnElement[bool]] = []
    if choice.since:
        start = time_text(calendar.day(date.fromisoformat(choice.since)).start).removesuffix("Z")
        earlier = select(func.max(t.size)).where(t.published_at < start)
        bounds.append(leaf_table.c.leaf_index >= ((await conn.execute(earlier)).scalar() or 0))
    if choice.until:
        end = time_text(calendar.day(date.fromisoformat(choice.until)).end).removesuffix("Z")
        within = select(func.max(t.size)).where(t.published_at < end)
        bounds.append(leaf_table.c.leaf_index < ((await conn.execute(within)).scalar() or 0))
    return bounds


def _row(row: Any) -> LogRow:
    if row.canonical is None or row.salt is None:
        return LogRow(index=row.leaf_index, key=row.key, kind=None, node="", at=None)
    record = Record.from_canonical(row.canonical, row.salt)
    ven_id = record.body.get("ven_id") or record.body.get("subject") or ""
    node = ven_id if isinstance(ven_id, str) else ""
    return LogRow(index=row.leaf_index, key=row.key, kind=record.kind, node=node, at=record.at)


async def _named(conn: AsyncConnection, rows: list[LogRow]) -> list[LogRow]:
    """The rows with the nodes' names in place of their ids."""
    t = ven_table.c
    known = select(t.ven_id, t.ven_name).where(t.ven_id.in_({one.node for one in rows if one.node}))
    names = {row.ven_id: row.ven_name for row in await conn.execute(known)}
    return [replace(row, node=names.get(row.node, row.node)) for row in rows]


async def leaf_hash_at(conn: AsyncConnection, index: int) -> bytes:
    """The hash that the tree holds of a leaf; it stays when the record is erased."""
    span = (index, index + 1)
    content = await tiles(conn, tile.places([span]))
    if not content:
        raise RecordError(f"the log has no leaf {index}")
    return range_hash(span, lambda subtree: tile.subtree_hash(subtree, content))


async def checkpoints(
    conn: AsyncConnection, before: int = LARGEST, limit: int = PAGE
) -> tuple[list[CheckpointRow], int | None]:
    """A page of checkpoints, the largest first, and `before` of the next page."""
    c, a = checkpoint_table.c, anchor_table.c
    anchored = and_(a.size == c.size, a.state == "anchored")
    query = (
        select(c.size, c.note, c.published_at, a.proof)
        .select_from(checkpoint_table.outerjoin(anchor_table, anchored))
        .where(c.size < before)
        .order_by(c.size.desc())
        .limit(limit + 1)
    )
    found = list(await conn.execute(query))
    sizes = [row.size for row in found]
    s = cosignature_table.c
    lines = await conn.execute(select(s.size, s.witness).where(s.size.in_(sizes)).order_by(s.number))
    witnesses: dict[int, list[str]] = {}
    for size, witness in lines:
        witnesses.setdefault(size, []).append(witness.partition("+")[0])
    page = [_checkpoint(row, tuple(witnesses.get(row.size, ()))) for row in found[:limit]]
    return page, page[-1].size if len(found) > limit else None


def _checkpoint(row: Any, witnesses: tuple[str, ...]) -> CheckpointRow:
    block = Anchor.parse(row.proof).block() if row.proof is not None else None
    return CheckpointRow(
        size=row.size,
        published_at=parse_time(row.published_at),
        root=Checkpoint.parse(row.note).root,
        witnesses=witnesses,
        state="anchored" if block else "signed",
        block=block.number if block else None,
        block_at=datetime.fromtimestamp(block.timestamp, UTC) if block else None,
    )
