"""Whether an event may be sent by whoever sends it: the budget, and the second person where one is needed.

Every way to an event of a request passes `check` in `request.send`, in the transaction that publishes; events
made by hand pass `check_by_hand`. The owner of the control socket is the operator of the machine, who could
change the settings and the database as well: he needs no second person, but the budget binds him too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import budget
from aggregator.access.action import BY_SOCKET
from aggregator.commitment import Commitment, asked_w, capacities_w, commitments
from aggregator.dispatch import Dispatch
from aggregator.errors import (
    ApprovalError,
    ApprovalNeededError,
    BreakerOpenError,
    BudgetExceededError,
)
from aggregator.limit_schema import approval_table
from aggregator.limit_settings import LimitSettings
from aggregator.profile import Calendar, Period
from aggregator.schema import agreement_table
from aggregator.topic import Changed, Topic
from openadr import Event
from vtn.errors import NotAdmitted
from vtn.store import after_commit, if_undone

WAITING, SENT, REFUSED, VOID, EXPIRED = "waiting", "sent", "refused", "void", "expired"


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends; `approval_id` is what a second person grants by sending it."""

    who: str
    approval_id: str | None = None

    @property
    def owns_the_machine(self) -> bool:
        """Whether he came by the control socket."""
        return self.who == BY_SOCKET


MACHINE_OWNER = Sender(BY_SOCKET)


@dataclass(frozen=True, slots=True)
class Rules:
    """What binds events: the settings, and the calendar whose days are counted."""

    limits: LimitSettings
    calendar: Calendar

    def needs_second(self, power_w: int, nodes: int, fleet: int) -> bool:
        """Whether an event of so much, of so many nodes of a fleet, needs a second person."""
        kw, share = self.limits.approval_above_kw, self.limits.approval_above_share
        above_kw = kw is not None and power_w > kw * 1000
        return above_kw or (share is not None and fleet > 0 and nodes > share * fleet)


async def check(
    conn: AsyncConnection,
    rules: Rules,
    dispatch: Dispatch,
    digest: str,
    *,
    sender: Sender,
    now: datetime,
    changed: str | None = None,
) -> None:
    """Nothing where the event may be sent now, or the event `changed` be this from now on.

    BreakerOpenError, BudgetExceededError, ApprovalNeededError, or ApprovalError where the approval is not for
    exactly this event, by another person, in time.
    """
    await check_budget(conn, rules, dispatch, sender=sender, now=now, changed=changed)
    if sender.approval_id is not None:
        await _granted(conn, digest, sender, now)
    elif not sender.owns_the_machine and await second_is_needed(conn, rules, dispatch, changed):
        raise ApprovalNeededError


async def check_budget(
    conn: AsyncConnection,
    rules: Rules,
    dispatch: Dispatch,
    *,
    sender: Sender,
    now: datetime,
    changed: str | None = None,
) -> None:
    """The budget's part of `check`."""
    parts = parts_of(dispatch, changed or "")
    await budget.check(conn, rules.limits, rules.calendar, parts, who=sender.who, now=now, changed=changed)


async def second_is_needed(
    conn: AsyncConnection, rules: Rules, dispatch: Dispatch, changed: str | None = None
) -> bool:
    """Whether the dispatch is for two people; what two have decided about (`changed`) stays so."""
    parts = parts_of(dispatch, changed or "")
    return await _is_large(conn, rules, parts, dispatch.request.period.start, changed)


async def allows(conn: AsyncConnection, rules: Rules, part: Commitment) -> bool:
    """Whether a node may be asked for this without anybody who decides: the breaker is closed, it is within
    the budget, and no second person is needed. Nothing opens the breaker here.
    """
    if await budget.breaker(conn) is not None:
        return False
    if await budget.excesses(conn, rules.limits, rules.calendar, [part]):
        return False
    return not await _is_large(conn, rules, [part], part.period.start)


async def _is_large(
    conn: AsyncConnection,
    rules: Rules,
    wanted: Sequence[Commitment],
    since: datetime,
    changed: str | None = None,
) -> bool:
    """Whether what is wanted needs a second person, together with the rest of its event and with all in the
    same time that nobody approved: many small events at once are a large one.
    """
    if not wanted or (rules.limits.approval_above_kw is None and rules.limits.approval_above_share is None):
        return False
    t = approval_table.c
    approved = set((await conn.execute(select(t.event_id).where(t.state == SENT))).scalars())
    if changed in approved:
        return True
    standing = budget.apart_from(wanted, await commitments(conn, since), changed)
    event_id, periods = wanted[0].event_id, {one.period for one in wanted}
    event = [*wanted, *(one for one in standing if one.event_id == event_id)]
    beside = [
        one
        for one in standing
        if one.event_id not in approved and any(one.period.overlaps(period) for period in periods)
    ]
    at_once_w = budget.peak_w([*wanted, *beside], list(periods))
    power_w = max(at_once_w, sum(one.power_w for one in event))
    nodes = {one.ven_id for one in (*event, *beside)}
    return rules.needs_second(power_w, len(nodes), await fleet_size(conn))


async def fleet_size(conn: AsyncConnection) -> int:
    """How many nodes have an agreement."""
    query = select(func.count(func.distinct(agreement_table.c.ven_id)))
    return int((await conn.execute(query)).scalar_one())


async def check_by_hand(
    rules: Rules, sender: Sender, conn: AsyncConnection, events: Mapping[str, Event], now: datetime
) -> None:
    """The same for an event that is made by hand, by the id of each VEN: what two people decide about is made
    as a request. NotAdmitted says why not.
    """
    capacities = await capacities_w(conn)
    wanted = [
        Commitment(
            event.event_id,
            ven_id,
            Period(event.dtstart, event.end),
            asked_w(event, capacities.get(ven_id, 0)),
        )
        for ven_id, event in events.items()
        if event.end is not None and event.end > event.dtstart
    ]
    try:
        await budget.check(conn, rules.limits, rules.calendar, wanted, who=sender.who, now=now)
    except BudgetExceededError as error:
        raise NotAdmitted("budget", str(error)) from error
    except BreakerOpenError as error:
        raise NotAdmitted("breaker", str(error)) from error
    since = min([now, *(one.period.start for one in wanted)])
    if not sender.owns_the_machine and await _is_large(conn, rules, wanted, since):
        raise NotAdmitted("approval", "it is so large that two people decide: make it as a request")


def parts_of(dispatch: Dispatch, event_id: str = "") -> list[Commitment]:
    """A dispatch as what it would commit nodes to."""
    period = dispatch.request.period
    return [Commitment(event_id, one.ven_id, period, one.power_w) for one in dispatch.assignments]


async def _granted(conn: AsyncConnection, digest: str, sender: Sender, now: datetime) -> None:
    """Use an approval up; the second of two approvers at once finds it used."""
    t = approval_table
    query = select(t.c.state, t.c.digest, t.c.proposed_by, t.c.expires_at)
    row = (await conn.execute(query.where(t.c.approval_id == sender.approval_id))).first()
    if row is None or row.state != WAITING:
        raise ApprovalError("it has been decided already")
    if row.proposed_by == sender.who:
        raise ApprovalError("who proposed an event does not approve it: another person does")
    if now >= row.expires_at:
        raise ApprovalError(f"it has expired at {row.expires_at.isoformat()}: propose it again")
    if row.digest != digest:
        void_if_undone(conn, sender, now)
        raise ApprovalError("it would not be the event that was proposed any more: propose it again")
    done = update(t).where(t.c.approval_id == sender.approval_id, t.c.state == WAITING)
    await conn.execute(done.values(state=SENT, decided_by=sender.who, decided_at=now))


def void_if_undone(conn: AsyncConnection, sender: Sender, now: datetime) -> None:
    """Let the approval that somebody would grant be void, once the unit of work is undone."""
    if_undone(conn, partial(_void, sender, now))


async def _void(sender: Sender, now: datetime, conn: AsyncConnection) -> None:
    """Any change ends an approval for good, also where it is undone later."""
    t = approval_table
    done = update(t).where(t.c.approval_id == sender.approval_id, t.c.state == WAITING)
    await conn.execute(done.values(state=VOID, decided_by=sender.who, decided_at=now))
    after_commit(conn, Changed(Topic.EVENTS))
