"""What the journal adds up to, kept in memory and moved on by the new facts alone: counting again is a start.

History is counted apart: a node's history counts by the whole days that its reports cover. Readings are
metered values; what a forecast says is none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.readings import HISTORY, TELEMETRY
from vtn import journal

FACTS_A_STEP = 2000
CHANGING = frozenset({"report", "signal"})
"""Kinds of facts after which a node's curves look otherwise."""


@dataclass(slots=True)
class Tally:
    """Running counts; ``advance`` before reading them. ``fresh`` gathers the reports for whoever takes
    them. ``changes`` counts the facts of each node that change its curves, of those with reports in
    ``reporting``; ``changed`` is their sum.
    """

    seq: int = 0
    reports: int = 0
    readings: int = 0
    history_reports: int = 0
    changed: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    reporting: set[str] = field(default_factory=set)
    fresh: list[journal.Fact] = field(default_factory=list)
    _history: dict[str, dict[datetime, datetime]] = field(default_factory=dict)

    async def advance(self, conn: AsyncConnection, fresh_after: int = 0) -> None:
        """Count the facts since the last time; reports up to number ``fresh_after`` are not gathered."""
        while facts := await journal.facts_after(conn, self.seq, FACTS_A_STEP):
            for fact in facts:  # without a wait in between: two who advance at once count each fact once
                if fact.seq <= self.seq or fact.kind not in CHANGING:
                    continue
                self.changed += 1
                self.changes[fact.ven_id] += 1
                if fact.kind == "report":
                    self._count(fact)
                    if fact.seq > fresh_after:
                        self.fresh.append(fact)
            self.seq = max(self.seq, facts[-1].seq)

    def history_days(self, ven_id: str) -> int:
        """Whole days that the node's history covers."""
        covered = timedelta(0)
        reached: datetime | None = None
        for start, end in sorted(self._history.get(ven_id, {}).items()):
            begin = start if reached is None else max(start, reached)
            if end > begin:
                covered += end - begin
                reached = end
        return covered // timedelta(days=1)

    def all_history_days(self) -> int:
        """The same of all nodes together."""
        return sum(map(self.history_days, self._history))

    def _count(self, fact: journal.Fact) -> None:
        body = fact.body
        self.reporting.add(fact.ven_id)
        if body["report_name"] != HISTORY:
            self.reports += 1
            self.readings += int(body["readings"]) if body["report_name"] == TELEMETRY else 0
            return
        self.history_reports += 1
        if body["start"] and body["end"]:
            start, end = datetime.fromisoformat(body["start"]), datetime.fromisoformat(body["end"])
            days = self._history.setdefault(fact.ven_id, {})
            days[start] = max(end, days.get(start, end))
