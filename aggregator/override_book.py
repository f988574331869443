"""Which homes stay out of an event, as everybody else needs it: events, statements, screens.

Rules: the journal names a home by a salted commitment alone; salt and name stand in one row, and with that
row the name is gone. A change of an event that a home's word made is no new request: what the node answered
to the version before still counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.errors import RequestRefusedError
from aggregator.override_schema import override_table
from aggregator.readings import METERED, NODES_OWN
from openadr import Event, ReportDescription, Target
from vtn import event as vtn_event
from vtn.catalogue import catalogue
from vtn.schema import journal_table

KIND = "override"
T = override_table.c


@dataclass(frozen=True, slots=True)
class Standing:
    """A home that stays out of an event."""

    r_id: str
    commitment: str
    lowered_w: int


def commitment(event_id: str, r_id: str, salt: str) -> str:
    """What the journal has in place of the home's name; that of an erased home is all that is left of it."""
    if not salt:
        return r_id
    said = json.dumps([event_id, r_id], separators=(",", ":")).encode()
    return sha256(b"\x00" + bytes.fromhex(salt) + said).hexdigest()


async def standing(
    conn: AsyncConnection, event_id: str, ven_id: str | None = None
) -> Mapping[str, list[Standing]]:
    """The homes that stay out, by their node's id."""
    query = select(T.ven_id, T.r_id, T.salt, T.lowered_w).where(
        T.event_id == event_id, T.taken_back_at.is_(None)
    )
    if ven_id is not None:
        query = query.where(T.ven_id == ven_id)
    found: dict[str, list[Standing]] = {}
    for row in await conn.execute(query.order_by(T.ven_id, T.r_id)):
        one = Standing(row.r_id, commitment(event_id, row.r_id, row.salt), row.lowered_w)
        found.setdefault(row.ven_id, []).append(one)
    return found


async def homes_of(conn: AsyncConnection, ven_id: str) -> Mapping[str, str]:
    """The homes behind a node by their meters' data points, each with the resource that stands for it in
    events: as the node's metadata say, else of the same name.
    """
    return {
        point.r_id: _resource(point)
        for offered in await catalogue(conn, ven_id)
        if offered.report is not None and offered.report_name in METERED
        for point in offered.report.report_descriptions
        if point.r_id not in NODES_OWN
    }


def _resource(point: ReportDescription) -> str:
    for target in (point.report_subject, point.report_data_source):
        if target is not None and len(target.resource_id) == 1:
            return target.resource_id[0]
    return point.r_id


async def named(conn: AsyncConnection, event_id: str, ven_id: str) -> tuple[str, ...]:
    """The resources that a node's event names alone as it has it now; () where it is for the whole node."""
    held = await vtn_event.event_of(conn, ven_id, event_id)
    return () if held is None else tuple(sorted(held.target.resources_alone or ()))


async def kept(conn: AsyncConnection, events: Mapping[str, Event]) -> dict[str, Event]:
    """New versions of an event by its nodes' ids, for those homes that take part in it: what the event names
    now, whatever the node's metadata have become since. RequestRefusedError where nobody would be named.
    """
    event_ids = {event.event_id for event in events.values()}
    out = {(event_id, ven_id) for event_id in event_ids for ven_id in await standing(conn, event_id)}
    found = dict(events)
    for ven_id, event in events.items():
        if (event.event_id, ven_id) in out:
            resources = await named(conn, event.event_id, ven_id)
            if not resources:  # without a name it would call the homes that stay out
                raise RequestRefusedError(
                    f"homes of {ven_id} stay out, and its event names nobody: take it out"
                )
            found[ven_id] = replace(event, target=Target(resource_id=resources))
    return found


async def versions(conn: AsyncConnection, ven_id: str, event_id: str, newest: int) -> frozenset[int]:
    """The versions of an event whose answers count: the newest one, and those before it that differ in the
    homes alone.
    """
    t, prefix = journal_table.c, f"{KIND}/{ven_id}/{event_id}/"
    rows = await conn.execute(select(t.key).where(t.key > prefix, t.key < prefix[:-1] + "0"))
    steps = {key.removeprefix(prefix) for (key,) in rows}
    first = newest
    while str(first) in steps:
        first -= 1
    return frozenset(range(first, newest + 1))
