"""What a prosumer may know: one home's load, events and money, and nothing of any other home.

Rules: everything is looked up by the nodes and the home of the account, so what is another's is as unknown as
what does not exist. Sums over a node are sums over neighbours and are not told to a home. An account without
a home is for its nodes as a whole: it sees their sums, and no single home.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, RowMapping, Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator import share, store
from aggregator.access.principal import Principal
from aggregator.errors import UnknownObjectError
from aggregator.override_schema import override_table
from aggregator.performance import WH_PER_KW_QUARTER
from aggregator.profile import Calendar, LoadProfile, Period, total
from aggregator.readings import LOAD, NODES_OWN, metered
from aggregator.schema import call_table, statement_table
from aggregator.settlement import Outcome
from aggregator.usual import Called, home_use
from vtn.schema import event_table

C, E, S, W = call_table.c, event_table.c, statement_table.c, override_table.c


@dataclass(frozen=True, slots=True)
class Home:
    """What an account is for; `name` None: these nodes as a whole."""

    ven_ids: tuple[str, ...]
    name: str | None

    @property
    def r_id(self) -> str:
        """The data point of its meter."""
        return self.name or LOAD

    @property
    def r_ids(self) -> tuple[str, ...]:
        """All data points that are its own."""
        return (self.name,) if self.name else tuple(sorted(NODES_OWN))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The home's part in one event. `amount_minor` is its share of the newest statement, negative where it
    owes; None where there is none (yet). `answer` is what its node said: optIn, optOut or None. `out_since`
    is since when the home stays out of it by its own word; None where it takes part.
    """

    event_id: str
    ven_id: str
    start: datetime
    end: datetime
    test_event: bool
    cancelled_at: datetime | None
    answer: str | None
    outcome: Outcome | None = None
    amount_minor: int | None = None
    currency: str = ""
    number: int | None = None
    out_since: datetime | None = None

    @property
    def version(self) -> str:
        """Changes where the event does, as far as it concerns the home."""
        parts = (self.start, self.end, self.test_event, self.cancelled_at, self.out_since)
        return sha256(repr(parts).encode()).hexdigest()[:16]

    def may_stay_out(self, now: datetime) -> bool:
        """Whether the home may still say that it does not take part."""
        return self.out_since is None and self.cancelled_at is None and now < self.end

    def may_come_back(self, now: datetime) -> bool:
        """Whether it may take that back."""
        return self.out_since is not None and self.cancelled_at is None and now < self.start

    def is_running(self, now: datetime) -> bool:
        """Whether it runs at an instant."""
        return self.cancelled_at is None and self.start <= now < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The home's share of one revision of a statement."""

    number: int
    event_id: str
    ven_id: str
    revision: int
    made_at: datetime
    outcome: Outcome
    amount_minor: int | None
    currency: str
    opening: dict[str, object] | None
    whole: bool
    """Whether the account is for all of it, and not for a home's share."""
    alone: bool
    """Whether the record may be shown: that of two homes would tell what the other one got."""


@dataclass(frozen=True, slots=True)
class Use:
    """What the home used in an event and what it usually uses then, in Wh; None where it is not known."""

    used_wh: int | None
    usual_wh: int | None

    @property
    def saved_wh(self) -> int | None:
        """What it used less than usual; negative where it used more."""
        if self.used_wh is None or self.usual_wh is None:
            return None
        return self.usual_wh - self.used_wh


@dataclass(frozen=True, slots=True)
class Month:
    """What a month's events came to in one currency; `month` is its first day."""

    month: date
    currency: str
    amount_minor: int
    events: int


def home_of(principal: Principal) -> Home:
    """What the account is for; nothing at all where it names no node."""
    return Home(tuple(sorted(principal.scope or ())), principal.home)


async def load(conn: AsyncConnection, home: Home, period: Period) -> LoadProfile:
    """What the home's meter says, in kW; NaN where nothing is known."""
    found = await metered(conn, home.ven_ids, [home.r_id], period)
    return total(list(found.profiles.values()), period)


async def next_part(conn: AsyncConnection, home: Home, now: datetime) -> Part | None:
    """The event that runs, or else the next one."""
    query = _parts(home).where(C.end > now, C.cancelled_at.is_(None)).order_by(C.start, C.event_id)
    row = (await conn.execute(query.limit(1))).mappings().first()
    return None if row is None else _part(row, home)


async def count(conn: AsyncConnection, home: Home) -> int:
    """How many events it has had, or will have."""
    return int((await conn.execute(select(func.count()).where(C.ven_id.in_(home.ven_ids)))).scalar_one())


async def parts(conn: AsyncConnection, home: Home, limit: int | None, offset: int = 0) -> Sequence[Part]:
    """Its events, the newest first."""
    newest = _parts(home).order_by(C.start.desc(), C.event_id, C.ven_id)
    return [_part(row, home) for row in (await conn.execute(newest.limit(limit).offset(offset))).mappings()]


async def part(conn: AsyncConnection, home: Home, event_id: str, ven_id: str) -> Part:
    """One of its events; UnknownObjectError where it is none of its own."""
    query = _parts(home).where(C.event_id == event_id, C.ven_id == ven_id)
    row = (await conn.execute(query)).mappings().first()
    if row is None:
        raise UnknownObjectError(f"your home has no event {event_id[:128]!r}")
    return _part(row, home)


async def use(conn: AsyncConnection, home: Home, one: Part, calendar: Calendar) -> Use:
    """What it did in one of its events; the usual is the mean of the days that the statement rests on."""
    detail = {} if one.number is None else json.loads(await _detail(conn, one.number))
    days = [date.fromisoformat(day) for day in detail.get("baseline_days", ())]
    called = Called(one.ven_id, Period(one.start, one.end), calendar)
    found = await home_use(conn, called, days, [home.r_id])
    return Use(_watt_hours(found.used[home.r_id]), _watt_hours(found.usual[home.r_id]))


async def shares(conn: AsyncConnection, home: Home, one: Part) -> Sequence[Share]:
    """Its share of each revision of an event's statement, the newest first."""
    query = _statements(home).where(S.event_id == one.event_id, S.ven_id == one.ven_id)
    return [share_in(row, home) for row in (await conn.execute(query.order_by(S.revision.desc()))).mappings()]


async def share_of(conn: AsyncConnection, home: Home, number: str) -> Share:
    """Its share of the statement of that number; UnknownObjectError where it is not about this home."""
    row = None
    if number.isascii() and number.isdigit() and len(number) < 16:
        row = (await conn.execute(_statements(home).where(S.seq == int(number)))).mappings().first()
    if row is None:
        raise UnknownObjectError(f"your home has no statement {number[:20]!r}")
    return share_in(row, home)


async def months(conn: AsyncConnection, home: Home, zone: ZoneInfo) -> Sequence[Month]:
    """What each month brought, by the event's local start, the newest first."""
    query = _parts(home).where(S.seq.is_not(None)).order_by(C.start.desc())
    sums: dict[tuple[date, str], tuple[int, int]] = {}
    for row in (await conn.execute(query)).mappings():
        one = _part(row, home)
        if one.amount_minor is not None:
            key = one.start.astimezone(zone).date().replace(day=1), one.currency
            amount, events = sums.get(key, (0, 0))
            sums[key] = amount + one.amount_minor, events + 1
    return [Month(month, currency, *found) for (month, currency), found in sums.items()]


def _parts(home: Home) -> Select[tuple[object, ...]]:
    """Calls of the home's nodes, each with its newest statement."""
    of_call = and_(E.event_id == C.event_id, E.ven_id == C.ven_id)
    newest = and_(S.event_id == C.event_id, S.ven_id == C.ven_id, S.revision == C.settled_revision)
    own_word = and_(
        W.event_id == C.event_id,
        W.ven_id == C.ven_id,
        W.r_id == home.r_id,
        W.taken_back_at.is_(None),
    )
    columns = (C.event_id, C.ven_id, C.start, C.end, C.test_event, C.cancelled_at, E.opt.label("answer"))
    joined = call_table.outerjoin(event_table, of_call).outerjoin(statement_table, newest)
    return (
        select(*columns, W.said_at.label("out_since"), S.seq, S.body, S.detail)
        .select_from(joined.outerjoin(override_table, own_word))
        .where(_own(home, C.ven_id))
    )


def _statements(home: Home) -> Select[tuple[object, ...]]:
    return select(S.seq, S.body, S.detail, S.made_at).where(_own(home, S.ven_id))


def _own(home: Home, ven_id: ColumnElement[str]) -> ColumnElement[bool]:
    return ven_id.in_(home.ven_ids)


def _part(row: RowMapping, home: Home) -> Part:
    values = dict(row)
    number, body, detail = values.pop("seq"), values.pop("body"), values.pop("detail")
    if number is None:
        return Part(**values)
    statement = store.statement_of(body)
    return Part(
        **values,
        outcome=statement.outcome,
        amount_minor=_amount(home, json.loads(detail), statement.amount_minor),
        currency=statement.currency,
        number=number,
    )


def share_in(row: RowMapping, home: Home) -> Share:
    """A home's share of a statement, as its row has it."""
    statement, detail = store.statement_of(row["body"]), json.loads(row["detail"])
    return Share(
        number=row["seq"],
        event_id=statement.event_id,
        ven_id=statement.ven_id,
        revision=statement.revision,
        made_at=row["made_at"],
        outcome=statement.outcome,
        amount_minor=_amount(home, detail, statement.amount_minor),
        currency=statement.currency,
        opening=share.opening(detail, home.name) if home.name else None,
        whole=home.name is None,
        alone=home.name is None or len(detail[share.AMOUNTS]) + len(detail.get(share.ERASED, ())) != 2,
    )


def _amount(home: Home, detail: share.Detail, whole_minor: int) -> int | None:
    if home.name is None:
        return whole_minor
    found = detail[share.AMOUNTS].get(home.name)
    return None if found is None else int(found)


async def _detail(conn: AsyncConnection, number: int) -> str:
    return str((await conn.execute(select(S.detail).where(S.seq == number))).scalar_one())


def _watt_hours(profile: LoadProfile) -> int | None:
    """The energy of a profile; None where part of it is not known."""
    if not profile.kw or not profile.known():
        return None
    return round(math.fsum(profile.kw) * WH_PER_KW_QUARTER)
