"""Evenly spaced power and the half-open periods it is cut into; the M&V calendar.

Rule: instants are aware UTC, periods are half-open, power is kW and consumption positive. A slot of
which nothing is known holds NaN, never zero.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

QUARTER = timedelta(minutes=15)
SATURDAY = 5


def floor_to(instant: datetime, step: timedelta) -> datetime:
    """The last multiple of ``step`` (counted from 1970) that is not after ``instant``."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (instant - epoch) // step * step


@dataclass(frozen=True, slots=True)
class Period:
    """From ``start`` (in) to ``end`` (out)."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError(f"a period needs aware times: {self.start} to {self.end}")
        if self.end <= self.start:
            raise ValueError(f"a period must end after it starts: {self.start} to {self.end}")

    def overlaps(self, other: "Period") -> bool:
        """Whether an instant lies in both."""
        return self.start < other.end and other.start < self.end

    def contains(self, instant: datetime) -> bool:
        """Whether ``instant`` lies inside (the end does not)."""
        return self.start <= instant < self.end

    def slots(self, step: timedelta = QUARTER) -> Iterator[datetime]:
        """Starts of the slots of the absolute grid of ``step`` that lie wholly inside."""
        start = floor_to(self.start, step)
        if start < self.start:
            start += step
        while start + step <= self.end:
            yield start
            start += step


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """Mean power in kW for each slot of ``step`` from ``start`` on; NaN where nothing is known."""

    start: datetime
    step: timedelta
    kw: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.step <= timedelta(0):
            raise ValueError(f"a profile needs an aware start and a positive step: {self.start}, {self.step}")

    @property
    def end(self) -> datetime:
        """The first instant after the last slot."""
        return self.start + len(self.kw) * self.step

    def at(self, instant: datetime) -> float:
        """Power in kW of the slot that holds ``instant``; NaN outside."""
        index = (instant - self.start) // self.step
        return self.kw[index] if 0 <= index < len(self.kw) else math.nan

    def window(self, period: Period) -> "LoadProfile":
        """The part that lies in the period's slots; NaN where the profile does not reach."""
        slots = list(period.slots(self.step))
        return LoadProfile(slots[0] if slots else period.start, self.step, tuple(map(self.at, slots)))

    def energy_kwh(self) -> float:
        """Energy of the known slots."""
        hours = self.step / timedelta(hours=1)
        return math.fsum(kw for kw in self.kw if not math.isnan(kw)) * hours

    def known(self) -> bool:
        """Whether no slot is NaN."""
        return not any(map(math.isnan, self.kw))


def total(profiles: "list[LoadProfile]", period: Period) -> LoadProfile:
    """Sum of the profiles over the period's quarter hours; NaN where any of them is unknown."""
    slots = list(period.slots())
    return LoadProfile(
        slots[0] if slots else period.start,
        QUARTER,
        tuple(math.fsum(p.at(slot) for p in profiles) if profiles else math.nan for slot in slots),
    )


def known_part(profiles: "list[LoadProfile]", period: Period) -> tuple[LoadProfile, tuple[int, ...]]:
    """Sum of what is known of the profiles in each of the period's quarter hours, and of how many it is.

    NaN where less than half of them are known: such a sum would look like a drop of the load.
    """
    slots = list(period.slots())
    sums, counts = [0.0] * len(slots), [0] * len(slots)
    for profile in profiles:
        same = bool(slots) and profile.start == slots[0] and profile.step == QUARTER
        values = profile.kw if same and len(profile.kw) == len(slots) else profile.window(period).kw
        for index, kw in enumerate(values):
            if not math.isnan(kw):
                sums[index] += kw
                counts[index] += 1
    known = tuple(
        total if count and 2 * count >= len(profiles) else math.nan
        for total, count in zip(sums, counts, strict=True)
    )
    return LoadProfile(slots[0] if slots else period.start, QUARTER, known), tuple(counts)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which local day an instant belongs to, and of which type that day is.

    Two day types: working days, and weekends with holidays.
    """

    zone: tzinfo = UTC
    holidays: frozenset[date] = frozenset()

    def day_of(self, instant: datetime) -> date:
        """The local day of an instant."""
        return instant.astimezone(self.zone).date()

    def is_workday(self, day: date) -> bool:
        """Whether ``day`` is neither weekend nor holiday."""
        return day.weekday() < SATURDAY and day not in self.holidays

    def day(self, day: date) -> Period:
        """The local day in UTC: 23, 24 or 25 hours."""
        return Period(self._midnight(day), self._midnight(day + timedelta(days=1)))

    def shifted(self, instant: datetime, days: int) -> datetime:
        """The same local wall-clock time ``days`` later (or earlier), also across a clock change."""
        local = instant.astimezone(self.zone)
        wall = datetime.combine(local.date() + timedelta(days=days), local.time(), self.zone)
        return wall.astimezone(UTC)

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time.min, self.zone).astimezone(UTC)
