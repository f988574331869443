"""When VENs say that they take part: schedules, what supersedes what, and where a VEN stands at an instant.

Rules: a schedule speaks for a part of the VEN: its targets (none: the whole VEN), the events of its market
context (none: all), its device classes (none: all), joined by AND (OPT-08, OPT-09). For each part the newest
schedule of a kind that covers it is the only one of its kind (OPT-07); in and out are independent, and the
programme's policy says which rules where both hold, and what holds outside of both (OPT-18).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import ActivePeriod, CancelOpt, CreateOpt, Event, Target, decode, uri
from openadr.enums import OptType
from openadr.errors import DeploymentError, InvalidId, NotAllowed
from openadr.interval import END_OF_TIME
from openadr.parser import OWN
from vtn import given
from vtn.errors import NotAdmitted
from vtn.opt_policy import OptPolicies, OptPolicy
from vtn.publication import Admit
from vtn.schema import EPOCH, MICROSECOND, opt_table

KINDS = tuple(name for name in Target.__dataclass_fields__ if name not in ("ven_id", "end_device_asset"))
LIMIT = 1000  # of schedules of one VEN, and of opts for one event
PERIODS = 10_000  # of all schedules of one VEN: they are read anew for every message and every question
_KEPT_OF_ALL = """
SELECT o.ven_id, o.content, o.at FROM json_each(?) AS given
CROSS JOIN vtn_opt AS o WHERE o.ven_id = given.key AND o.event_id IS NULL
    AND o.content IS NOT NULL AND o.cancelled_at IS NULL ORDER BY o.seq
"""
_START_OF_TIME = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Part:
    """What a question is about: a target such as `("resource_id", "battery")`, a programme, a device class.

    None: the whole VEN, every programme, every class.
    """

    target: tuple[str, object] | None = None
    market_context: str | None = None
    device_class: str | None = None


WHOLE = Part()


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule of a VEN that is not cancelled; empty sets stand for everything."""

    opt_id: str
    opt_type: OptType
    reason: str
    received_at: datetime
    periods: tuple[ActivePeriod, ...]
    targets: frozenset[tuple[str, object]]
    market_context: str | None
    device_classes: frozenset[str]

    def covers(self, part: Part) -> bool:
        """Whether it speaks for all of this part."""
        return (
            (not self.targets or part.target in self.targets)
            and self.market_context in (None, _normal(part.market_context))
            and (not self.device_classes or part.device_class in self.device_classes)
        )

    def swallows(self, other: Schedule) -> bool:
        """Whether it speaks for all that the other speaks for."""
        return (
            _holds_all(self.targets, other.targets)
            and self.market_context in (None, other.market_context)
            and _holds_all(self.device_classes, other.device_classes)
        )

    def meets(self, other: Schedule) -> bool:
        """Whether both speak for some common part, at a common instant."""
        contexts = {self.market_context, other.market_context}
        return (
            _common(self.targets, other.targets)
            and (None in contexts or len(contexts) == 1)
            and _common(self.device_classes, other.device_classes)
            and _overlap(self.periods, other.periods)
        )

    def holds_at(self, instant: datetime) -> bool:
        """Whether one of its periods contains the instant; a duration of zero has no end (OPT-10)."""
        return any(
            period.dtstart <= instant and (period.end is None or instant < period.end)
            for period in self.periods
        )


def targets_of(target: Target) -> frozenset[tuple[str, object]]:
    """What a target names beside the VEN itself, each with its kind."""
    return frozenset((kind, value) for kind in KINDS for value in getattr(target, kind))


def is_whole_ven(message: CreateOpt) -> bool:
    """Whether an opt speaks for all that the VEN has."""
    return not targets_of(message.target) and message.device_class is None


def stance(schedules: Sequence[Schedule], policy: OptPolicy, part: Part, instant: datetime) -> OptType:
    """Whether the part takes part at the instant; `schedules` of one VEN, oldest first."""
    said = {each.opt_type for each in _ruling(schedules, part) if each.holds_at(instant)}
    if not said:
        return policy.outside
    return said.pop() if len(said) == 1 else policy.precedence


def out_during(
    schedules: Sequence[Schedule], policy: OptPolicy, part: Part, start: datetime, end: datetime | None
) -> datetime | None:
    """The first instant of `[start, end)` for which the part is out, None if it takes part throughout."""
    ruling = _ruling(schedules, part)  # of many schedules these alone change anything
    edges = {start} | {
        edge for each in ruling for period in each.periods for edge in (period.dtstart, period.end) if edge
    }
    for edge in sorted(edges):
        inside = start <= edge and (end is None or edge < end)
        if inside and stance(ruling, policy, part, edge) is OptType.OPT_OUT:
            return edge
    return None


def _ruling(schedules: Sequence[Schedule], part: Part) -> list[Schedule]:
    """The newest schedule of each kind that covers the part."""
    newest = {each.opt_type: each for each in schedules if each.covers(part)}
    return list(newest.values())


def out_for(event: Event, schedules: Sequence[Schedule], policy: OptPolicy, now: datetime) -> datetime | None:
    """The first instant from now on at which the VEN is out for an event, None if it takes part in it."""
    part = Part(market_context=event.descriptor.market_context)
    return out_during(schedules, policy, part, max(now, event.dtstart), event.end)


def unless_opted_out(policies: OptPolicies, admit: Admit) -> Admit:
    """`admit`, and no event for a time for which the VEN is out where the programme forbids that (OPT-18)."""

    async def check(conn: AsyncConnection, event: Event, ven_id: str, now: datetime) -> None:
        policy = policies.of(event.descriptor.market_context)
        if not policy.events_in_opt_out:
            out = out_for(event, await schedules_of(conn, ven_id), policy, now)
            if out is not None:
                raise NotAdmitted("OPT-18", f"VEN {ven_id!r} is opted out at {out.isoformat()}")
        await admit(conn, event, ven_id, now)

    return check


async def schedules_of(conn: AsyncConnection, ven_id: str) -> list[Schedule]:
    """The schedules of a VEN that are neither cancelled nor superseded as a whole, oldest first."""
    return [schedule for _, schedule in await _kept(conn, ven_id)]


async def schedules_of_all(conn: AsyncConnection, ven_ids: Sequence[str]) -> dict[str, list[Schedule]]:
    """The same of many VENs; those that have none are left out."""
    found: dict[str, list[Schedule]] = {}
    for row in (await conn.exec_driver_sql(_KEPT_OF_ALL, (given.ids(ven_ids),))).mappings():
        schedule = _schedule(read(row["content"]), EPOCH + row["at"] * MICROSECOND)
        found.setdefault(row["ven_id"], []).append(schedule)
    return found


async def supersede(
    conn: AsyncConnection, message: CreateOpt, ven_id: str, policies: OptPolicies, now: datetime
) -> None:
    """Check a new schedule against its programme, and end those that it takes the place of."""
    policy = policies.of(message.market_context)
    if message.opt_type not in policy.schedules:
        raise NotAllowed(f"{message.opt_type} schedules are not taken", rule="OPT-18")
    fresh = _schedule(message, now)
    kept = await _kept(conn, ven_id)
    if len(kept) >= LIMIT:
        raise DeploymentError(f"more than {LIMIT} schedules")
    if len(fresh.periods) + sum(len(each.periods) for _, each in kept) > PERIODS:
        raise DeploymentError(f"more than {PERIODS} periods in all schedules")
    rivals = [each for _, each in kept if each.opt_type is not fresh.opt_type]
    if not policy.overlap and any(fresh.meets(rival) for rival in rivals):
        raise NotAllowed("the schedule overlaps one of the other optType", rule="OPT-18")
    over = [seq for seq, each in kept if each.opt_type is fresh.opt_type and fresh.swallows(each)]
    t = opt_table
    await conn.execute(update(t).where(t.c.seq.in_(over)).values(cancelled_at=now))


async def cancel(conn: AsyncConnection, message: CancelOpt, ven_id: str, now: datetime) -> None:
    """Take back every schedule with this id; an opt that qualifies an event cannot be taken back (OPT-14)."""
    t = opt_table
    mine = (t.c.ven_id == ven_id, t.c.opt_id == message.opt_id, t.c.event_id.is_(None))
    known = (await conn.execute(select(func.count()).select_from(t).where(*mine))).scalar_one()
    if not known:
        raise InvalidId("the optID is not known", rule="OPT-17")
    await conn.execute(update(t).where(*mine, t.c.cancelled_at.is_(None)).values(cancelled_at=now))


async def _kept(conn: AsyncConnection, ven_id: str) -> list[tuple[int, Schedule]]:
    t = opt_table
    rows = await conn.execute(
        select(t.c.seq, t.c.content, t.c.at)
        .where(
            t.c.ven_id == ven_id,
            t.c.content.is_not(None),
            t.c.event_id.is_(None),
            t.c.cancelled_at.is_(None),
        )
        .order_by(t.c.seq)
    )
    return [(row.seq, _schedule(read(row.content), row.at)) for row in rows]


def read(content: bytes) -> CreateOpt:
    """A CreateOpt as it was kept."""
    message = decode(content, OWN)
    assert isinstance(message, CreateOpt)  # noqa: S101 - written by vtn.opt
    return message


def _schedule(message: CreateOpt, received_at: datetime) -> Schedule:
    classes = message.device_class.end_device_asset if message.device_class else ()
    return Schedule(
        opt_id=message.opt_id,
        opt_type=message.opt_type,
        reason=message.opt_reason,
        received_at=received_at,
        periods=message.availability,
        targets=targets_of(message.target),
        market_context=_normal(message.market_context),
        device_classes=frozenset(classes),
    )


def _normal(market_context: str | None) -> str | None:
    return None if market_context is None else uri.normal(market_context)


def _holds_all(mine: frozenset[object], theirs: frozenset[object]) -> bool:
    return not mine or (bool(theirs) and theirs <= mine)


def _common(mine: frozenset[object], theirs: frozenset[object]) -> bool:
    return not mine or not theirs or bool(mine & theirs)


def _overlap(mine: Sequence[ActivePeriod], theirs: Sequence[ActivePeriod]) -> bool:
    """Whether some instant is in a period of each; in the order of time, because there may be many."""
    spans = sorted(
        (period.dtstart, period.end or END_OF_TIME, side)
        for side, periods in enumerate((mine, theirs))
        for period in periods
    )
    ends = [_START_OF_TIME, _START_OF_TIME]
    for start, end, side in spans:
        if start < ends[1 - side]:
            return True
        ends[side] = max(ends[side], end)
    return False
