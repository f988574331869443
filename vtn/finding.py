"""Which rules the messages of a VEN broke, counted for the operator.

Counts are kept in memory and written with the last contacts, so that a message that is answered from memory
stays so; after a crash the newest counts are lost, which no promise depends on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert  # SQLite compiles it too
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr.finding import Finding
from vtn.schema import finding_table


@dataclass(frozen=True, slots=True)
class Found:
    """A rule that messages of this kind broke, how often, first and last."""

    ven_id: str
    rule: str
    message: str
    text: str
    first_at: datetime
    last_at: datetime
    count: int


class Findings:
    """What was found since it was written down last."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], Found] = {}

    def note(self, ven_id: str, message: str, findings: Iterable[Finding], now: datetime) -> None:
        """Count what was found in a message of that name."""
        for finding in findings:
            key = (ven_id, finding.rule, message)
            before = self._found.get(key, Found(*key, finding.text, now, now, 0))
            self._found[key] = replace(before, text=finding.text, last_at=now, count=before.count + 1)

    def take(self) -> list[Found]:
        """What is to be written down; it is forgotten here."""
        found, self._found = self._found, {}
        return list(found.values())


async def keep(conn: AsyncConnection, found: Iterable[Found]) -> None:
    """Add these counts to those kept before."""
    t = finding_table
    for each in found:
        row = {
            "ven_id": each.ven_id,
            "rule": each.rule,
            "message": each.message,
            "text": each.text,
            "first_at": each.first_at,
            "last_at": each.last_at,
            "count": each.count,
        }
        changed = {"text": each.text, "last_at": each.last_at, "count": t.c.count + each.count}
        statement = insert(t).values(row)
        await conn.execute(
            statement.on_conflict_do_update(index_elements=["ven_id", "rule", "message"], set_=changed)
        )


async def findings_of(conn: AsyncConnection, ven_id: str) -> list[Found]:
    """Everything found in a VEN's messages, by rule and message."""
    t = finding_table
    columns = (t.c.ven_id, t.c.rule, t.c.message, t.c.text, t.c.first_at, t.c.last_at, t.c.count)
    rows = await conn.execute(select(*columns).where(t.c.ven_id == ven_id).order_by(t.c.rule, t.c.message))
    return [Found(*row) for row in rows]
