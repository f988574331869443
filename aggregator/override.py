"""A prosumer's "not this time": his home stays out of one event of its node, and may come back before it.

Rules: his word, the new version of the event for his node, what the node is asked for, and the fact in the
journal are one transaction. The event names the homes that still take part. It asks for less by what the home
is expected to give, where past events tell that and this one has not begun (what a signal has said stays,
EVT-04). Where nobody is left, the event is taken back from the node, for good; one that runs is not: what the
node has given or owes is settled, so its last home stays in. Saying the same again is nothing new.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import and_, select, update
from sqlalchemy.dialects.postgresql import insert  # SQLite compiles it too
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import clearance, override_book, sent_event, share, store
from aggregator import home as homes
from aggregator.commitment import Commitment
from aggregator.errors import Obstacle, OverrideError
from aggregator.home import Home, Part
from aggregator.override_book import KIND, Standing
from aggregator.override_schema import override_table
from aggregator.portfolio import Portfolio
from aggregator.request import newest_asked
from aggregator.schema import call_table, statement_table
from aggregator.settlement import LOAD_DISPATCH, Outcome
from aggregator.store import StoredCall
from openadr import Event, Target
from vtn import event as vtn_event
from vtn import journal
from vtn.errors import NotAdmitted, UnknownObject
from vtn.schema import event_table

SALT_BYTES = 32
MOST_BACK = 2
"""How often a home may come back to an event: each word makes a version that an operator has not seen."""
RECENT = 10
"""Past events that tell how much a home gives."""
C, S = call_table.c, statement_table.c


@dataclass(frozen=True, slots=True)
class Case:
    """One home's part in an event, with all that decides what its word does."""

    home: Home
    part: Part
    call: StoredCall
    homes: dict[str, str]
    named: tuple[str, ...]
    out: tuple[Standing, ...]
    lowers_w: int | None
    """By how much less the node would be asked for without the home; None where that is not known."""

    @property
    def is_able(self) -> bool:
        """Whether its box can leave the home out, and no other one with it."""
        return self.home.name is None or self.resource in self.meant

    @property
    def resource(self) -> str | None:
        """What stands for the home in events; None where nothing does, or for another home as well."""
        own = self.homes.get(self.home.r_id)
        return own if list(self.homes.values()).count(own or "") == 1 else None

    @property
    def meant(self) -> frozenset[str]:
        """The resources that the event is for; those that it names, where homes stay out of it already."""
        out = {self.homes.get(one.r_id) for one in self.out}
        return frozenset(self.named or set(self.homes.values()) - out)

    @property
    def is_last(self) -> bool:
        """Whether nobody would be left to take part."""
        return self.home.name is None or not self.left

    def must_stay(self, now: datetime) -> bool:
        """Whether its word would take a node out of an event that runs."""
        return self.is_last and now >= self.call.period.start

    @property
    def left(self) -> tuple[str, ...]:
        """The resources that take part without the home."""
        return tuple(sorted(self.meant - {self.resource}))

    @property
    def back(self) -> Target:
        """Whom the event is for once the home is back: all of the VEN where no other home stays out."""
        if all(one.r_id == self.home.r_id for one in self.out):
            return Target(ven_id=(self.call.ven_id,))
        if self.resource is None:
            raise OverrideError(Obstacle.UNABLE, "your box does not name your home any more")
        return Target(resource_id=tuple(sorted({*self.meant, self.resource})))


async def case(conn: AsyncConnection, home: Home, event_id: str, ven_id: str, now: datetime) -> Case:
    """How a home stands to an event; UnknownObjectError where it is none of its own."""
    part = await homes.part(conn, home, event_id, ven_id)
    (call,) = [one for one in await store.calls(conn, event_id=event_id) if one.ven_id == ven_id]
    out = tuple((await override_book.standing(conn, event_id, ven_id)).get(ven_id, ()))
    known = dict(await override_book.homes_of(conn, ven_id))
    named = await override_book.named(conn, event_id, ven_id)
    begun = now >= call.period.start
    lowers_w = 0 if begun else await _expected_w(conn, call, out, home.r_id)
    return Case(home, part, call, known, named, out, lowers_w)


async def say(
    conn: AsyncConnection, home: Home, event_id: str, ven_id: str, now: datetime, *, seen: str | None = None
) -> None:
    """Let the home stay out of the event; a second time changes nothing.

    `seen` is the version of the part that he was shown. UnknownObjectError, OverrideError.
    """
    found = await case(conn, home, event_id, ven_id, now)
    if found.part.out_since is not None:
        return
    check_open(found.part, now)
    _check_seen(found.part, seen)
    if not found.is_able:
        text = "your box does not say that it can leave your home out: ask your programme"
        raise OverrideError(Obstacle.UNABLE, text)
    if found.must_stay(now):
        text = (
            "it runs, and nobody else behind your box takes part: opt out at the box, or ask your programme"
        )
        raise OverrideError(Obstacle.LAST, text)
    number = await _cancelled(conn, found, now) if found.is_last else await _without(conn, found, now)
    row = {
        "event_id": event_id,
        "ven_id": ven_id,
        "r_id": home.r_id,
        "salt": secrets.token_hex(SALT_BYTES),
        "said_at": now,
        "taken_back_at": None,
        "lowered_w": 0 if found.is_last else found.lowers_w or 0,
    }
    anew = {name: row[name] for name in ("salt", "said_at", "taken_back_at", "lowered_w")}
    keys = ["event_id", "ven_id", "r_id"]
    await conn.execute(
        insert(override_table).values(row).on_conflict_do_update(index_elements=keys, set_=anew)
    )
    made = override_book.commitment(event_id, home.r_id, str(row["salt"]))
    await _note(conn, found.call, (number, made, "out"), now)


async def take_back(
    conn: AsyncConnection,
    home: Home,
    event_id: str,
    ven_id: str,
    now: datetime,
    *,
    portfolio: Portfolio,
    seen: str | None = None,
) -> None:
    """Let the home take part again, before the event starts; where it takes part already nothing changes.

    The node is asked for what the home's word took off only where that may be asked for now.
    UnknownObjectError, OverrideError.
    """
    found = await case(conn, home, event_id, ven_id, now)
    if found.part.out_since is None:
        return
    if found.part.cancelled_at is not None:
        raise OverrideError(Obstacle.CANCELLED, "it was called off for your box: it does not come back")
    if now >= found.part.start:
        text = f"it began at {found.part.start.isoformat()}: this cannot be taken back now"
        raise OverrideError(Obstacle.BEGUN, text)
    _check_seen(found.part, seen)
    (own,) = [one for one in found.out if one.r_id == home.r_id]
    t = override_table
    mine = (t.c.event_id == event_id, t.c.ven_id == ven_id, t.c.r_id == home.r_id)
    times_back = int((await conn.execute(select(t.c.times_back).where(*mine))).scalar_one())
    if times_back >= MOST_BACK:
        raise OverrideError(Obstacle.OFTEN, f"it has come back {times_back} times, which is the most")
    power_w = found.call.power_w + min(own.lowered_w, await _missing_w(conn, event_id))
    if not await _may_grow(conn, found.call, power_w, portfolio, now):
        power_w = found.call.power_w
    number = await _told(conn, found, found.back, power_w, now)
    back = update(t).where(*mine).values(taken_back_at=now, lowered_w=0, times_back=times_back + 1)
    await conn.execute(back)
    await _note(conn, found.call, (number, own.commitment, "in"), now)


def check_open(part: Part, now: datetime) -> None:
    """Nothing where the home may still stay out of the event; OverrideError."""
    if part.cancelled_at is not None:
        raise OverrideError(Obstacle.CANCELLED, "it was called off: there is nothing to stay out of")
    if now >= part.end:
        raise OverrideError(Obstacle.OVER, f"it was over at {part.end.isoformat()}")


def _check_seen(part: Part, seen: str | None) -> None:
    if seen is not None and seen != part.version:
        raise OverrideError(Obstacle.STALE, "it has changed since you looked at it: look again")


async def _without(conn: AsyncConnection, found: Case, now: datetime) -> int:
    """The event for those who are left; the number of its new version."""
    power_w = found.call.power_w - (found.lowers_w or 0)
    return await _told(conn, found, Target(resource_id=found.left), power_w, now)


async def _told(conn: AsyncConnection, found: Case, target: Target, power_w: int, now: datetime) -> int:
    """Send the node the event for those who take part; the number of its new version."""
    call = found.call
    held = await vtn_event.event_of(conn, call.ven_id, call.event_id)
    if held is None:
        raise OverrideError(Obstacle.STALE, "it is not kept any more")
    event = replace(_asking(held, power_w), target=target)
    try:
        await vtn_event.modify(conn, event, call.ven_id, now, _less_of_the_same)
    except (NotAdmitted, UnknownObject) as error:
        raise OverrideError(Obstacle.STALE, str(error)) from error
    return await _follow(conn, call, power_w=power_w)


async def _cancelled(conn: AsyncConnection, found: Case, now: datetime) -> int:
    """Take the event back from the node; the number of its last version."""
    try:
        await vtn_event.cancel(conn, found.call.event_id, found.call.ven_id, now)
    except (NotAdmitted, UnknownObject) as error:
        raise OverrideError(Obstacle.STALE, str(error)) from error
    return await _follow(conn, found.call, cancelled_at=now)


async def _missing_w(conn: AsyncConnection, event_id: str) -> int:
    """What the operator has asked for last, and no node is asked for."""
    asked, sent = await newest_asked(conn, event_id), await sent_event.find(conn, event_id)
    return max(0, asked.reduction.power_w - sent.power_w)


async def _may_grow(
    conn: AsyncConnection, call: StoredCall, power_w: int, portfolio: Portfolio, now: datetime
) -> bool:
    """Whether the node may be asked for so much now, by everything that binds who sends an event."""
    held = await vtn_event.event_of(conn, call.ven_id, call.event_id)
    part = Commitment(call.event_id, call.ven_id, call.period, power_w)
    if held is None or not await clearance.allows(conn, portfolio.rules, part):
        return False
    try:
        await portfolio.admit(conn, _asking(held, power_w), call.ven_id, now)
    except NotAdmitted:
        return False
    return True


async def _less_of_the_same(conn: AsyncConnection, event: Event, ven_id: str, now: datetime) -> None:
    """No clause is asked: the call was admitted when it was notified, and what is more has been judged."""


def _asking(event: Event, power_w: int) -> Event:
    """The event with another power in W, as `aggregator.sent_event` writes it."""
    signals = tuple(
        replace(
            signal,
            intervals=tuple(
                replace(interval, payload_float=float(-power_w)) for interval in signal.intervals
            ),
        )
        if signal.signal_name == LOAD_DISPATCH
        else signal
        for signal in event.signals
    )
    return replace(event, signals=signals)


async def _follow(conn: AsyncConnection, call: StoredCall, **values: object) -> int:
    """Let the call be that of the newest version, unless somebody else changed it meanwhile (OverrideError);
    the version's number. That of a cancellation is not the call's: it asks for nothing.
    """
    e = event_table.c
    mine = (e.event_id == call.event_id, e.ven_id == call.ven_id)
    number = int((await conn.execute(select(e.modification_number).where(*mine))).scalar_one())
    if "cancelled_at" not in values:
        values["modification_number"] = number
    as_it_was = and_(
        C.event_id == call.event_id,
        C.ven_id == call.ven_id,
        C.cancelled_at.is_(None),
        C.power_w == call.power_w,
        C.modification_number == call.modification_number,
    )
    if (await conn.execute(update(call_table).where(as_it_was).values(values))).rowcount != 1:
        raise OverrideError(Obstacle.STALE, "it is being changed by your programme: look again")
    return number


async def _expected_w(
    conn: AsyncConnection, call: StoredCall, out: Sequence[Standing], r_id: str
) -> int | None:
    """What of the request is expected of a home: its part of what its node got for its newest events, at most
    nine tenths of what is still asked for; None where no event tells.
    """
    of_call = and_(C.event_id == S.event_id, C.ven_id == S.ven_id, C.settled_revision == S.revision)
    query = select(S.body, S.detail).select_from(statement_table.join(call_table, of_call))
    rows = await conn.execute(query.where(S.ven_id == call.ven_id).order_by(S.seq.desc()).limit(RECENT))
    own = whole = 0
    for row in rows:
        statement, minor = store.statement_of(row.body), json.loads(row.detail)[share.AMOUNTS].get(r_id)
        if statement.outcome is Outcome.MEASURED and statement.amount_minor > 0 and minor is not None:
            own, whole = own + int(minor), whole + statement.amount_minor
    if not whole:
        return None
    first_w = call.power_w + sum(one.lowered_w for one in out)
    return min(first_w * own // whole, call.power_w * 9 // 10)


async def _note(conn: AsyncConnection, call: StoredCall, said: tuple[int, str, str], now: datetime) -> None:
    """The fact: from which version of the event on a home, by its commitment, stays out or comes back."""
    number, home, stand = said
    body = {"event_id": call.event_id, "modification_number": number, "home": home, "stand": stand}
    if not await journal.record(conn, KIND, call.ven_id, f"{call.event_id}/{number}", body=body, now=now):
        raise OverrideError(Obstacle.STALE, "another home's word made this version: look again")
