"""What nodes reported, as curves and as rows: power where the unit is of power or energy, else the values.

Rules: SQL adds the values of a step up, so that a curve has a bounded number of points whatever the meter's
own steps; only usable values make a curve, the others are counted beside it. Rows are read in pieces by their
key, so that no answer has to be held in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    case,
    func,
    literal,
    or_,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.profile import Period
from aggregator.readings import USABLE
from openadr import ItemBase
from vtn.catalogue import catalogue
from vtn.schema import EPOCH, MICROSECOND, micros, reading_table, ven_table
from vtn.store import Database

MOST_SERIES = 6
MOST_POINTS = 800
ROWS_A_PIECE = 4000
MOST_COUNTED = 1_000_000
STEPS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 360, 1440))
KNOWN_NODES = 500  # whose units are remembered while rows are read
_ENERGY, _POWER = "energyReal", "powerReal"


@dataclass(frozen=True, slots=True)
class Unit:
    """What the numbers of a data point are."""

    kind: str = ""
    name: str = ""
    factor: float = 1.0

    @classmethod
    def of(cls, item_base: ItemBase | None) -> Unit:
        """The unit that the metadata name."""
        if item_base is None:
            return cls()
        scale = item_base.si_scale_code
        factor = scale.factor if scale else 1.0
        prefix = "" if scale is None or factor == 1.0 else str(scale)
        return cls(item_base.kind, f"{prefix}{item_base.item_units or item_base.kind}", factor)

    @property
    def is_power(self) -> bool:
        """Whether a value can be shown as power."""
        return self.kind in (_ENERGY, _POWER)

    def kw(self, value: float, duration_s: float) -> float | None:
        """The mean power in kW that a value stands for; None where it stands for none."""
        if self.kind == _POWER:
            return value * self.factor / 1000
        if self.kind == _ENERGY and duration_s > 0:
            return value * self.factor / 1000 * 3600 / duration_s
        return None


@dataclass(frozen=True, slots=True)
class Key:
    """Which series."""

    ven_id: str
    report_name: str
    r_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is wanted. Empty ids: of every node, or every data point; `report_name` empty: of every report."""

    ven_ids: Sequence[str] = ()
    r_ids: Sequence[str] = ()
    report_name: str = ""
    period: Period

    def conditions(self) -> list[ColumnElement[bool]]:
        """The same in SQL."""
        t = reading_table.c
        wanted = [t.ts >= self.period.start, t.ts < self.period.end]
        if self.ven_ids:
            wanted.append(t.ven_id.in_(self.ven_ids))
        if self.r_ids:
            wanted.append(t.r_id.in_(self.r_ids))
        if self.report_name:
            wanted.append(t.report_name == self.report_name)
        return wanted


@dataclass(frozen=True, slots=True)
class Row:
    """One value with its node's name and its unit."""

    start: datetime
    ven_id: str
    ven_name: str
    report_name: str
    r_id: str
    duration_s: float
    value: float
    quality: str
    created_at: datetime
    unit: Unit


@dataclass(frozen=True, slots=True)
class Curve:
    """One series over the steps of a period: kW, or values in its own unit; None where nothing is known."""

    key: Key
    unit: Unit
    values: Sequence[float | None]
    unusable: int


def step_of(period: Period) -> timedelta:
    """The shortest step that keeps a curve readable."""
    length = period.end - period.start
    return next((step for step in STEPS if length / step <= MOST_POINTS), STEPS[-1])


class Units:
    """The units of data points as their nodes describe them now; each node is looked up once."""

    def __init__(self) -> None:
        self._known: dict[str, Mapping[tuple[str, str], Unit]] = {}

    async def of(self, conn: AsyncConnection, key: Key) -> Unit:
        """The unit of a data point; without a name where its node does not describe it any more."""
        if key.ven_id not in self._known:
            if len(self._known) >= KNOWN_NODES:
                self._known.clear()
            self._known[key.ven_id] = {
                (offered.report_name, point.r_id): Unit.of(point.item_base)
                for offered in await catalogue(conn, key.ven_id)
                for point in (offered.report.report_descriptions if offered.report else ())
            }
        return self._known[key.ven_id].get((key.report_name, key.r_id), Unit())


async def curves(conn: AsyncConnection, selection: Selection) -> tuple[list[datetime], list[Curve]]:
    """The times and the first curves of a selection, by node and data point."""
    step = step_of(selection.period)
    start = EPOCH + (selection.period.start - EPOCH) // step * step
    times = list(Period(start, max(selection.period.end, start + step)).slots(step))
    found: dict[Key, dict[int, Any]] = {}
    for row in await conn.execute(_summed(selection, step // MICROSECOND)):
        found.setdefault(Key(row.ven_id, row.report_name, row.r_id), {})[int(row.slot)] = row
    units = Units()
    made = []
    for key in sorted(found, key=lambda one: (one.ven_id, one.report_name, one.r_id))[:MOST_SERIES]:
        unit = await units.of(conn, key)
        unusable = sum(int(row.unusable) for row in found[key].values())
        made.append(Curve(key, unit, _values(found[key], unit, times, step), unusable))
    return times, made


def _summed(selection: Selection, step: int) -> Select[Any]:
    """What each series says in each step."""
    t = reading_table.c
    usable = or_(*(t.quality.startswith(prefix, autoescape=True) for prefix in USABLE))
    number = type_coerce(t.ts, BigInteger) // step
    return (
        select(
            t.ven_id,
            t.report_name,
            t.r_id,
            number.label("slot"),
            func.sum(case((usable, t.value))).label("value"),
            func.sum(case((usable, t.duration_s))).label("seconds"),
            func.sum(case((usable, 1), else_=0)).label("count"),
            func.max(case((usable, t.duration_s))).label("longest_s"),
            func.sum(case((usable, 0), else_=1)).label("unusable"),
        )
        .where(*selection.conditions())
        .group_by(t.ven_id, t.report_name, t.r_id, number)
    )


def _values(
    slots: Mapping[int, Any], unit: Unit, times: Sequence[datetime], step: timedelta
) -> list[float | None]:
    """A value for each step; one that holds for longer than a step is drawn as long as it holds."""
    values: list[float | None] = [None] * len(times)
    first = micros(times[0]) // (step // MICROSECOND) if times else 0
    for slot, row in sorted(slots.items()):
        if not row.count:
            continue
        if unit.kind == _ENERGY:
            value = unit.kw(row.value, row.seconds)
        else:
            mean = row.value / row.count
            value = unit.kw(mean, 0) if unit.is_power else mean
        reach = max(1, round((row.longest_s or 0) / step.total_seconds()))
        for index in range(max(0, slot - first), min(len(values), slot - first + reach)):
            values[index] = value
    return values


async def qualities(conn: AsyncConnection, selection: Selection) -> Mapping[str, int]:
    """How many values of a selection have which quality, the most frequent first."""
    t = reading_table.c
    query = select(t.quality, func.count()).where(*selection.conditions()).group_by(t.quality)
    rows = await conn.execute(query.order_by(func.count().desc(), t.quality))
    return {quality: int(count) for quality, count in rows}


async def count(conn: AsyncConnection, selection: Selection) -> int:
    """How many values there are, at most `MOST_COUNTED`."""
    some = select(reading_table.c.ts).where(*selection.conditions()).limit(MOST_COUNTED).subquery()
    return int((await conn.execute(select(func.count()).select_from(some))).scalar_one())


async def newest(conn: AsyncConnection, selection: Selection, most: int) -> list[Row]:
    """The newest values, newest first."""
    t = reading_table.c
    query = _rows(selection).order_by(t.ts.desc(), t.ven_id, t.r_id, t.report_name).limit(most)
    return await _with_units(conn, Units(), (await conn.execute(query)).all())


def _rows(selection: Selection) -> Select[Any]:
    t, v = reading_table, ven_table
    columns = (t.c.ts, t.c.ven_id, t.c.report_name, t.c.r_id, t.c.duration_s, t.c.value, t.c.quality)
    name = func.coalesce(v.c.ven_name, t.c.ven_id).label("ven_name")
    joined = t.outerjoin(v, v.c.ven_id == t.c.ven_id)
    return select(*columns, t.c.created_at, name).select_from(joined).where(*selection.conditions())


async def _with_units(conn: AsyncConnection, units: Units, rows: Sequence[Any]) -> list[Row]:
    return [
        Row(
            start=row.ts,
            ven_id=row.ven_id,
            ven_name=row.ven_name,
            report_name=row.report_name,
            r_id=row.r_id,
            duration_s=row.duration_s,
            value=row.value,
            quality=row.quality,
            created_at=row.created_at,
            unit=await units.of(conn, Key(row.ven_id, row.report_name, row.r_id)),
        )
        for row in rows
    ]


class Reader:
    """Reads a selection piece by piece, each in a unit of work of its own: node after node where nodes are
    named, else by time. `after` goes on behind a row's time, data point and report, for one node.
    """

    def __init__(
        self, db: Database | None, selection: Selection, after: tuple[datetime, str, str] | None = None
    ) -> None:
        self._db = db
        self._selection = selection
        self._nodes = list(selection.ven_ids)
        self._after: tuple[Any, ...] | None = after
        self._units = Units()

    async def pieces(self) -> AsyncIterator[list[Row]]:
        """All rows."""
        while self._db is not None:
            async with self._db.read() as conn:
                rows = await self.piece(conn, ROWS_A_PIECE)
            if rows:
                yield rows
            elif len(self._nodes) > 1:
                del self._nodes[0]
                self._after = None
            else:
                return

    async def piece(self, conn: AsyncConnection, size: int) -> list[Row]:
        """The next rows of the node that is read, or of all."""
        t = reading_table.c
        one = self._nodes[:1]
        key: tuple[Any, ...] = (
            (t.ts, t.r_id, t.report_name) if one else (t.ts, t.ven_id, t.r_id, t.report_name)
        )
        query = _rows(replace(self._selection, ven_ids=one)).order_by(*key).limit(size)
        if self._after is not None:
            query = query.where(tuple_(*key) > tuple_(*self._bound(key)))
        rows = await _with_units(conn, self._units, (await conn.execute(query)).all())
        if rows:
            last = rows[-1]
            self._after = (last.start, *(() if one else (last.ven_id,)), last.r_id, last.report_name)
        return rows

    def _bound(self, key: Sequence[Any]) -> list[Any]:
        """Where the last piece ended, each part of the type of its column."""
        return [literal(part, column.type) for part, column in zip(self._after or (), key, strict=True)]
