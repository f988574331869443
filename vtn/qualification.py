"""Events qualified by CreateOpt: which parts of a VEN said by themselves whether they take part.

Rules: a CreateOpt without targets, or with the venID alone, speaks for all resources of the event, with
targets for those (OPT-11). What a CreateOpt has said only another one changes: neither a CreatedEvent
(EVT-37) nor a modification of the event does (OPT-13).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import CreateOpt, Event
from openadr.enums import OptType, ResponseRequired
from openadr.errors import DeploymentError, InvalidId, NotAllowed, OutOfSequence, TargetMismatch
from vtn import event_content, given
from vtn.availability import KINDS, LIMIT, is_whole_ven, read, targets_of
from vtn.schema import event_table, opt_table

DEVICE_CLASS = "device_class"
_SAID = """
SELECT o.ven_id, o.content FROM json_each(?) AS given
CROSS JOIN vtn_opt AS o WHERE o.ven_id = given.key AND o.event_id = given.value->>'event_id'
    AND o.content IS NOT NULL ORDER BY o.seq
"""


@dataclass(frozen=True, slots=True)
class Qualification:
    """What the CreateOpts about one event come to: for all of it (None: nothing was said), and for parts."""

    whole: OptType | None
    parts: Mapping[tuple[str, object], OptType]

    def settles(self, event: Event) -> OptType | None:
        """The opt of the event: in if any of it takes part; None while some of it is left to CreatedEvent."""
        if not self.is_complete(event):
            return None
        named = targets_of(event.target)
        said = {self.parts.get(part, self.whole) for part in named} or {self.whole, *self.parts.values()}
        return OptType.OPT_IN if OptType.OPT_IN in said else OptType.OPT_OUT

    def is_complete(self, event: Event) -> bool:
        """Whether nothing of the event is left for a CreatedEvent to say."""
        named = targets_of(event.target)
        return self.whole is not None or (bool(named) and named <= self.parts.keys())


async def qualification(conn: AsyncConnection, ven_id: str, event_id: str) -> Qualification:
    """What a VEN said of an event by CreateOpt; each CreateOpt speaks over those before it."""
    t = opt_table
    rows = await conn.execute(
        select(t.c.content)
        .where(t.c.ven_id == ven_id, t.c.event_id == event_id, t.c.content.is_not(None))
        .order_by(t.c.seq)
    )
    return _summed(rows.scalars())


def _summed(contents: Iterable[bytes]) -> Qualification:
    whole: OptType | None = None
    parts: dict[tuple[str, object], OptType] = {}
    for content in contents:
        message = read(content)
        if is_whole_ven(message):
            whole, parts = message.opt_type, {}
        else:
            parts |= dict.fromkeys(_parts(message), message.opt_type)
    return Qualification(whole, parts)


async def check(conn: AsyncConnection, message: CreateOpt, ven_id: str) -> None:
    """Refuse a CreateOpt for an event that is not the VEN's, wants no answer, or has not these targets."""
    t = event_table
    mine = (t.c.ven_id == ven_id, t.c.event_id == message.event_id)
    row = (await conn.execute(select(t.c.modification_number, t.c.content).where(*mine))).one_or_none()
    if row is None:
        raise InvalidId("the eventID is not known", rule="EVT-38")
    if (message.modification_number or 0) > row.modification_number:
        raise OutOfSequence("a modificationNumber was never sent", rule="EVT-38")
    event = event_content.read(row.content)
    if event.response_required is ResponseRequired.NEVER:
        raise NotAllowed("the event wants no response", rule="OPT-12")
    if not _is_inside(message, event):
        raise TargetMismatch("the target is not one of the event's", rule="OPT-11")
    o = opt_table
    said = select(func.count()).select_from(o).where(o.c.ven_id == ven_id, o.c.event_id == message.event_id)
    if (await conn.execute(said)).scalar_one() >= LIMIT:
        raise DeploymentError(f"more than {LIMIT} opts for one event")


async def apply(conn: AsyncConnection, event_id: str, ven_id: str, now: datetime) -> None:
    """Let the event's state say what its CreateOpts come to; after its end they are history only."""
    t = event_table
    mine = (t.c.ven_id == ven_id, t.c.event_id == event_id)
    columns = (t.c.content, t.c.delivered_at, t.c.ends_at)
    row = (await conn.execute(select(*columns).where(*mine))).one()
    if row.ends_at is not None and row.ends_at <= now:
        return
    values: dict[str, object] = {"delivered_at": row.delivered_at or now}
    settled = (await qualification(conn, ven_id, event_id)).settles(event_content.read(row.content))
    if settled is not None:
        values["opt"] = str(settled)
    await conn.execute(update(t).where(*mine).values(**values))


async def settled_opts(conn: AsyncConnection, events: Mapping[str, Event]) -> dict[str, str]:
    """The opts that new versions of events begin with (OPT-13), by VEN; who is left out is asked again."""
    asked = given.events({ven_id: event.event_id for ven_id, event in events.items()})
    said: dict[str, list[bytes]] = {}
    for row in await conn.exec_driver_sql(_SAID, (asked,)):
        said.setdefault(row.ven_id, []).append(row.content)
    found = ((ven_id, _summed(contents).settles(events[ven_id])) for ven_id, contents in said.items())
    return {ven_id: str(settled) for ven_id, settled in found if settled is not None}


async def is_settled(conn: AsyncConnection, ven_id: str, event_id: str) -> bool:
    """Whether CreateOpts have said all that there is to say, so that a CreatedEvent changes nothing."""
    t = event_table
    rows = await conn.execute(select(t.c.content).where(t.c.ven_id == ven_id, t.c.event_id == event_id))
    content = rows.scalar_one_or_none()
    if content is None:
        return False
    said = await qualification(conn, ven_id, event_id)
    return said.is_complete(event_content.read(content))


def _parts(message: CreateOpt) -> frozenset[tuple[str, object]]:
    classes = message.device_class.end_device_asset if message.device_class else ()
    return targets_of(message.target) | {(DEVICE_CLASS, name) for name in classes}


def _is_inside(message: CreateOpt, event: Event) -> bool:
    """Whether the opt speaks of nothing that the event is not addressed to.

    A group, an area or a node of the grid may hold any resource; a list of resources holds those alone.
    """
    named = targets_of(event.target)
    kinds = {kind for kind, _ in named}
    if not named:
        return True
    unlisted = set() if kinds == {"resource_id"} else {*KINDS} - kinds | {"resource_id"}
    return all(part in named or part[0] in unlisted for part in targets_of(message.target))
