"""Asking many nodes for a report at once: who would be asked, who cannot be, and the asking itself.

Rules: all nodes are asked or none; a node that cannot be asked is named with the reason before anything is
written. A request has one id for all its nodes, and the same id again asks nobody twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import ActivePeriod, Duration, ReportRequest, ReportSpecifier, SpecifierPayload
from openadr.errors import ProtocolError
from openadr.report_request import check_request
from openadr.report_rules import report_requests
from vtn.catalogue import Offered, catalogue
from vtn.report_request import request_report
from vtn.schema import report_request_table, report_spec_table, ven_table

NONE = Duration(0)
MOST_NODES = 100
"""So many nodes are asked at a time: the writer of the database is busy with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted. `ven_names` None: every node that offers the report; `r_ids` None: all data points."""

    report_name: str
    ven_names: Sequence[str] | None = None
    r_ids: Sequence[str] | None = None
    granularity: Duration = NONE
    report_back: Duration = NONE
    period: ActivePeriod | None = None


@dataclass(frozen=True, slots=True)
class Addressee:
    """A node with the request that it would get."""

    ven_id: str
    ven_name: str
    request: ReportRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a wish comes to. `refused` are names with reasons, `too_many` how many nodes fit where that is
    more than can be asked.
    """

    addressees: Sequence[Addressee] = ()
    refused: Sequence[tuple[str, str]] = ()
    too_many: int = 0

    @property
    def points(self) -> int:
        """Data points of all nodes together."""
        return sum(len(one.request.report_specifier.specifier_payloads) for one in self.addressees)

    @property
    def values_a_day(self) -> int:
        """How many values would come on a day; 0 where it comes once, or when something changes."""
        found = 0
        for one in self.addressees:
            specifier = one.request.report_specifier
            if specifier.report_back_duration and specifier.granularity.seconds > 0:
                found += len(specifier.specifier_payloads) * (86_400 // specifier.granularity.seconds)
        return found


async def plan(conn: AsyncConnection, wish: Wish, request_id: str, now: datetime) -> Plan:
    """Who would be asked for what. Nodes that were asked by this id before are left out."""
    t, v = report_spec_table.c, ven_table.c
    query = select(v.ven_id, v.ven_name, t.specifier_id).join(
        report_spec_table, (t.ven_id == v.ven_id) & (t.report_name == wish.report_name), isouter=True
    )
    query = query.where(
        t.specifier_id.is_not(None) if wish.ven_names is None else v.ven_name.in_(wish.ven_names)
    )
    rows = (await conn.execute(query.order_by(v.ven_name, t.specifier_id))).all()
    done = await _asked_before(conn, request_id)
    rows = [row for row in rows if row.ven_id not in done]
    if len({row.ven_id for row in rows}) > MOST_NODES:
        return Plan(too_many=len({row.ven_id for row in rows}))
    known = {row.ven_name for row in rows}
    refused = [
        (name, "there is no such node") for name in wish.ven_names or () if name not in known and not done
    ]
    addressees: list[Addressee] = []
    for row in rows:
        if any(one.ven_id == row.ven_id for one in addressees):
            continue  # it offers the report more than once: the first is asked for
        offered = await catalogue(conn, row.ven_id)
        made = _request(offered, row.specifier_id, wish, request_id, now)
        if isinstance(made, str):
            refused.append((row.ven_name, made))
        else:
            addressees.append(Addressee(row.ven_id, row.ven_name, made))
    return Plan(addressees=addressees, refused=refused)


async def _asked_before(conn: AsyncConnection, request_id: str) -> set[str]:
    t = report_request_table.c
    return set(await conn.scalars(select(t.ven_id).where(t.report_request_id == request_id)))


def _request(
    offered: Sequence[Offered], specifier_id: str | None, wish: Wish, request_id: str, now: datetime
) -> ReportRequest | str:
    """The request, or why the node cannot get it."""
    if specifier_id is None:
        return f"it does not offer {wish.report_name}"
    points = _points(wish, offered, specifier_id)
    request = ReportRequest(
        report_request_id=request_id,
        report_specifier=ReportSpecifier(
            report_specifier_id=specifier_id,
            granularity=wish.granularity,
            report_back_duration=wish.report_back,
            report_interval=wish.period or _open_ended(wish, now),
            specifier_payloads=tuple(SpecifierPayload(r_id=each) for each in points),
        ),
    )
    for finding in report_requests((request,)):
        return finding.text
    try:
        check_request(request, [each.report for each in offered if each.report is not None])
    except ProtocolError as error:
        return error.description
    return request


def _open_ended(wish: Wish, now: datetime) -> ActivePeriod | None:
    """What comes periodically has a beginning (RPT-17): now, without an end."""
    if not wish.report_back:
        return None
    return ActivePeriod(dtstart=now.replace(microsecond=0), duration=Duration(0))


def _points(wish: Wish, offered: Sequence[Offered], specifier_id: str) -> Sequence[str]:
    if wish.r_ids is not None:
        return wish.r_ids
    for each in offered:
        if each.specifier_id == specifier_id and each.report is not None:
            return [point.r_id for point in each.report.report_descriptions]
    return ()


async def ask(conn: AsyncConnection, planned: Plan, now: datetime) -> int:
    """Ask all of them, at their next poll each; how many they are."""
    for one in planned.addressees:
        await request_report(conn, one.ven_id, one.request, now)
    return len(planned.addressees)
