"""Whether nodes will hear of an event in time, from when they last spoke and how often they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.schema import agreement_table
from vtn.schema import ven_table

LATE_POLLS, SILENT_POLLS = 3, 12
"""After so many missed polls a node is late, after so many it is silent."""


class Reach(StrEnum):
    """How sure it is that a node has an event when it begins; the worst first."""

    SILENT = "silent"  # has missed so many polls that it counts as gone, or never came
    LATE = "late"  # has missed polls
    TOO_SLOW = "too_slow"  # its next poll is after the start
    FRESH = "fresh"


@dataclass(frozen=True, slots=True)
class Contact:
    """When a node spoke last, and how often it does."""

    at: datetime | None
    poll_period: timedelta
    listens: bool  # registered and not suspended


def reach_of(contact: Contact, start: datetime, now: datetime) -> Reach:
    """Whether a node will have an event that is given to it now when it begins."""
    period = contact.poll_period
    if not contact.listens or contact.at is None or now - contact.at > SILENT_POLLS * period:
        return Reach.SILENT
    if now - contact.at > LATE_POLLS * period:
        return Reach.LATE
    return Reach.TOO_SLOW if contact.at + period >= start else Reach.FRESH


async def contacts(
    conn: AsyncConnection, heard: Mapping[str, datetime], poll_period_s: int
) -> dict[str, Contact]:
    """All nodes with an agreement by id; `heard` is when they spoke, as far as the database does not know it
    yet.
    """
    t = ven_table.c
    query = select(t.ven_id, t.last_contact, t.poll_period_s, t.registration_id, t.suspended_at)
    query = query.where(t.ven_id.in_(select(agreement_table.c.ven_id)))
    return {
        row.ven_id: Contact(
            heard.get(row.ven_id, row.last_contact),
            timedelta(seconds=row.poll_period_s or poll_period_s),
            row.registration_id is not None and row.suspended_at is None,
        )
        for row in await conn.execute(query)
    }
