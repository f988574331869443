"""One statement with everything that it rests on: its intervals, the revisions before and after it and what
changed between them, its record in the log and its booking under an agreement on the chain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import statement_list
from aggregator.agreement import Agreement
from aggregator.schema import call_table, statement_table
from aggregator.statement_contract import COMPARED, WAIVED, Difference, differences, is_under_way
from aggregator.statement_list import Row
from aggregator.store import agreement
from ledger import agreement_store
from ledger import store as ledger_store
from ledger.agreement_store import Account
from vtn.errors import UnknownObject


@dataclass(frozen=True, slots=True)
class Interval:
    """A quarter hour; `metered_wh` None: no reading came."""

    start: datetime
    baseline_wh: int
    metered_wh: int | None
    reduction_wh: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What made a revision say something else than the one before: each a count or a pair of values."""

    readings: int = 0
    baselines: int = 0
    days_before: tuple[date, ...] = ()
    days_now: tuple[date, ...] = ()
    outcome_before: str = ""
    waiver: bool = False

    @property
    def is_of_homes_only(self) -> bool:
        """Whether nothing but the homes' shares came out otherwise."""
        measured = self.readings or self.baselines or self.days_before
        return not (measured or self.outcome_before or self.waiver)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision, and what changed from the one before it; the first one has no change."""

    row: Row
    intervals: tuple[Interval, ...]
    days: tuple[date, ...]
    adjustment_w: int
    waived_minor: int
    change: Change | None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A statement as its page shows it. `leaf` is its record's place in the log, None before it is sealed;
    `account` its booking, None where no agreement on the chain covers it, and `differences` what the contract
    says otherwise than the newest revision.
    """

    row: Row
    revision: Revision
    revisions: tuple[Revision, ...]
    agreement: Agreement
    shares: Mapping[str, int]
    notified_at: datetime
    leaf: int | None
    anchored: bool
    account: Account | None
    differences: tuple[Difference, ...]


async def view(conn: AsyncConnection, number: int) -> View:
    """The statement of that number; UnknownObject if there is none."""
    row = await statement_list.numbered(conn, number)
    if row is None:
        raise UnknownObject(f"there is no statement {number}")
    revisions = await _revisions(conn, row)
    c = call_table.c
    call = select(c.agreement_id, c.notified_at).where(c.event_id == row.event_id, c.ven_id == row.ven_id)
    agreement_id, notified_at = (await conn.execute(call)).one()
    leaf = await leaf_of(conn, row)
    detail = await _detail(conn, number)
    account = await agreement_store.account(conn, row.ven_id, row.event_id)
    return View(
        row=row,
        revision=next(one for one in revisions if one.row.number == number),
        revisions=tuple(revisions),
        agreement=await agreement(conn, agreement_id),
        shares=detail["shares_minor"],
        notified_at=notified_at,
        leaf=leaf,
        anchored=leaf is not None and leaf < await ledger_store.anchored_size(conn),
        account=account,
        differences=_differences(revisions[-1].row, account),
    )


def _differences(newest: Row, account: Account | None) -> tuple[Difference, ...]:
    """What the contract says otherwise than the newest revision, which it will not be given any more."""
    if account is None or account.settled is None:
        return ()
    if is_under_way(newest.revision, account.settled, account.state, account.text):
        return ()
    return differences({name: getattr(newest, name) for name in COMPARED}, account.settled)


async def leaf_of(conn: AsyncConnection, row: Row) -> int | None:
    """Where the log has the record of a statement."""
    key = f"statement/{row.ven_id}/{row.event_id}/{row.revision}"
    leaf = (await ledger_store.leaves_by_key(conn, [key])).get(key)
    return None if leaf is None else leaf.index


async def _detail(conn: AsyncConnection, number: int) -> dict[str, Any]:
    query = select(statement_table.c.detail).where(statement_table.c.seq == number)
    found: dict[str, Any] = json.loads((await conn.execute(query)).scalar_one())
    return found


async def _revisions(conn: AsyncConnection, row: Row) -> list[Revision]:
    found: list[Revision] = []
    for one in await statement_list.of_call(conn, row.event_id, row.ven_id):
        detail = await _detail(conn, one.number)
        intervals = tuple(
            Interval(
                datetime.fromisoformat(each["start"]),
                each["baseline_wh"],
                each["metered_wh"],
                each["reduction_wh"],
            )
            for each in detail["intervals"]
        )
        days = tuple(date.fromisoformat(day) for day in detail["baseline_days"])
        made = Revision(
            row=one,
            intervals=intervals,
            days=days,
            adjustment_w=detail["adjustment_w"],
            waived_minor=detail.get(WAIVED, 0),
            change=None,
        )
        found.append(_with_change(found[-1] if found else None, made))
    return found


def _with_change(before: Revision | None, now: Revision) -> Revision:
    if before is None:
        return now
    change = Change(
        readings=_differing(before.intervals, now.intervals, "metered_wh"),
        baselines=_differing(before.intervals, now.intervals, "baseline_wh"),
        days_before=before.days if before.days != now.days else (),
        days_now=now.days if before.days != now.days else (),
        outcome_before=before.row.outcome if before.row.outcome != now.row.outcome else "",
        waiver=bool(before.waived_minor) is not bool(now.waived_minor),
    )
    return replace(now, change=change)


def _differing(before: Sequence[Interval], now: Sequence[Interval], name: str) -> int:
    old = {one.start: getattr(one, name) for one in before}
    new = {one.start: getattr(one, name) for one in now}
    return sum(old.get(start) != new.get(start) for start in old.keys() | new.keys())
