"""A statement beside the contract that pays it: the penalty that the contract waives, and what differs.

The contract takes no penalty where a suspension, or arrears, began between the notification and the start.
Only the chain knows all of these, so its word counts, as the mirror has it: a statement of before it was
booked shows the penalty, and a revision follows.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.schema import statement_table
from aggregator.sealed_rows import MADE_WRONG
from aggregator.settlement import Statement
from ledger import agreement_store
from ledger.agreement import Settled, Status, settled_from
from ledger.agreement_store import Account
from ledger.errors import TamperedError
from ledger.verify import Status as Checked
from ledger.verify import Step

WAIVED = "waived_minor"
"""In a statement's detail: the penalty that is not owed, where there is one."""
COMPARED = ("outcome", "requested_wh", "delivered_wh", "incentive_minor", "penalty_minor", "amount_minor")
STEP = "settlements"
SHOWN = 5
_NEWEST = """
    SELECT s.seq, s.body, l.settled, l.state, l.text FROM agg_call AS c
    JOIN agg_statement AS s
        ON s.event_id = c.event_id AND s.ven_id = c.ven_id AND s.revision = c.settled_revision
    JOIN ledger_settlement AS l ON l.event_id = c.event_id AND l.subject = c.ven_id
    WHERE l.settled IS NOT NULL ORDER BY s.seq
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field by its name, as the statement and the contract have it."""

    name: str
    statement: str | int
    contract: str | int


async def is_waived(conn: AsyncConnection, ven_id: str, event_id: str) -> bool:
    """Whether the contract waives the penalty of a call, as it was seen last."""
    account = await agreement_store.account(conn, ven_id, event_id)
    return account is not None and account.settled is not None and account.settled.penalty_waived


def without_penalty(statement: Statement) -> tuple[Statement, dict[str, int]]:
    """The statement without its penalty, and what its detail says of that."""
    waived = statement.penalty_minor
    return replace(statement, penalty_minor=0), {WAIVED: waived} if waived else {}


async def lags_behind(conn: AsyncConnection, account: Account) -> bool:
    """Whether the newest statement of a call may have to say something else of its penalty than it does."""
    t = statement_table
    query = select(t.c.detail).where(t.c.ven_id == account.subject, t.c.event_id == account.event_id)
    detail = (await conn.execute(query.order_by(t.c.revision.desc()).limit(1))).scalar()
    if detail is None or account.settled is None:
        return False
    return account.settled.penalty_waived != (WAIVED in json.loads(detail))


def differences(statement: Mapping[str, Any], settled: Settled) -> tuple[Difference, ...]:
    """What the contract says otherwise than a statement with these fields."""
    there: dict[str, str | int] = {
        "outcome": settled.outcome.name.lower(),
        **{name: getattr(settled, name) for name in COMPARED if name != "outcome"},
    }
    return tuple(
        Difference(name, statement[name], there[name]) for name in COMPARED if statement[name] != there[name]
    )


def is_under_way(revision: int, settled: Settled, state: str, text: str) -> bool:
    """Whether the contract will still be given the newest revision: then a difference is none."""
    return state == "open" and not text and settled.status is Status.OPEN and settled.revision < revision


def check_settlements(conn: sqlite3.Connection) -> Step:
    """Whether the newest statements of a database file say what the contract showed of them last."""
    count, under_way, found = 0, 0, []
    for seq, body, settled, state, text in conn.execute(_NEWEST):
        try:
            statement, shown = json.loads(body), settled_from(json.loads(settled))
            different = differences(statement, shown)
            waits = is_under_way(statement["revision"], shown, state, text)
        except MADE_WRONG as error:
            raise TamperedError(f"agg_statement {seq}", f"its settlement cannot be read: {error}") from error
        count += 1
        if different and waits:
            under_way += 1
        elif different:
            found += [f"agg_statement {seq}: {one}" for one in _said(different)]
    said = [f"{count} statements were compared with what the contract showed of them last"]
    if under_way:
        said.append(f"{under_way} are on their way to it")
    if found:
        said.append(f"{len(found)} fields differ: {', '.join(found[:SHOWN])}")
    return Step(STEP, Checked.NOT_CHECKED if found else Checked.CHECKED, "; ".join(said))


def _said(different: tuple[Difference, ...]) -> Iterator[str]:
    for one in different:
        yield f"{one.name} is {one.statement}, the contract has {one.contract}"
