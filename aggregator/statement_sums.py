"""Sums of statements that are asked for again and again: each event is summed once, and again only when it
gets another statement.

Rules: what is remembered is of the newest revisions; whoever asks with an older view of the database changes
nothing that is remembered; a choice by node is few statements and is summed by the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from operator import attrgetter

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import statement_list
from aggregator.profile import Calendar
from aggregator.statement_list import PAGE, By, Choice, Total

ALL_AT_ONCE = 50
"""So many events or more are summed in one go."""


class StatementSums:
    """The sums of each event, as far as somebody has asked."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._events: dict[str, list[Total]] = {}
        self._mark = 0
        self._turn = asyncio.Lock()

    async def totals(self, conn: AsyncConnection, choice: Choice) -> list[Total]:
        """What all chosen statements come to, one line for each currency."""
        if choice.node or choice.revisions != "newest":
            return await statement_list.totals(conn, choice, self._calendar)
        return _joined(await self._chosen(conn, choice), lambda _: "")

    async def grouped(
        self, conn: AsyncConnection, choice: Choice, by: By, page: int = 1
    ) -> tuple[list[Total], int]:
        """A page of sums by event, node or month, and how many lines there are in all."""
        if by is By.NODE:
            return await statement_list.by_node(conn, choice, self._calendar, page)
        if choice.node or choice.revisions != "newest":
            found = await statement_list.by_event(conn, choice, self._calendar)
        else:
            found = await self._chosen(conn, choice)
        if by is By.MONTH:
            found = _joined(found, self._month)
        found.sort(key=attrgetter("start", "label"), reverse=True)
        return found[(page - 1) * PAGE : page * PAGE], len(found)

    async def months(self, conn: AsyncConnection) -> list[str]:
        """The months in which there are settled events, the newest first."""
        await self._advance(conn)
        return sorted({self._month(one) for found in self._events.values() for one in found}, reverse=True)

    def _month(self, total: Total) -> str:
        day: date = self._calendar.day_of(total.start)
        return f"{day:%Y-%m}"

    async def _chosen(self, conn: AsyncConnection, choice: Choice) -> list[Total]:
        await self._advance(conn)
        return [
            one
            for found in self._events.values()
            for one in found
            if choice.event in {"", one.link} and choice.month in {"", self._month(one)}
        ]

    async def _advance(self, conn: AsyncConnection) -> None:
        """Sum the events that have got a statement since the last time."""
        async with self._turn:
            newest, changed = await statement_list.settled_since(conn, self._mark)
            if newest <= self._mark:
                return
            one_by_one = [Choice(event=event_id) for event_id in changed]
            choices = [Choice()] if len(changed) >= ALL_AT_ONCE else one_by_one
            for choice in choices:
                sums: dict[str, list[Total]] = {}
                for total in await statement_list.by_event(conn, choice, self._calendar):
                    sums.setdefault(total.link, []).append(total)
                self._events |= sums
            self._mark = newest


def _joined(found: Iterable[Total], label_of: Callable[[Total], str]) -> list[Total]:
    """Lines with the same label and currency as one."""
    joined: dict[tuple[str, str], Total] = {}
    for one in found:
        label = label_of(one)
        before = joined.get((label, one.currency))
        joined[label, one.currency] = (
            replace(one, label=label, link=label) if before is None else _added(before, one)
        )
    return sorted(joined.values(), key=attrgetter("label", "currency"), reverse=True)


def _added(before: Total, one: Total) -> Total:
    return replace(
        before,
        statements=before.statements + one.statements,
        requested_wh=before.requested_wh + one.requested_wh,
        delivered_wh=before.delivered_wh + one.delivered_wh,
        incentive_minor=before.incentive_minor + one.incentive_minor,
        penalty_minor=before.penalty_minor + one.penalty_minor,
        amount_minor=before.amount_minor + one.amount_minor,
        start=min(before.start, one.start),
        end=max(before.end, one.end),
    )
