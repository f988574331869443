"""What a node would have used: 10-of-10 and high-4-of-5 with a same-day additive adjustment.

Rules:
- A *like day* is an earlier day of the same type (working day; weekend or holiday) on which the node was not
  called and whose readings are complete over the event's clock times and over those of the adjustment window.
- ``10-of-10`` is the mean of the last 10 like days, ``high-4-of-5`` the mean of those 4 of the last 5 that
  used most energy in the event's clock times (of two equal days the later one). With fewer like days all
  that there are count, but fewer than 5 carry no baseline.
- The adjustment is metered minus unadjusted baseline, averaged over the 3 hours that end at the last quarter
  hour before the notification (a node that knows of its event could raise them), inside the event's day and
  outside other events; under 4 known quarter hours there is none. It is capped at ``cap`` times the
  unadjusted baseline's mean over the event, up and down, and added to every quarter hour.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from aggregator.errors import BaselineError
from aggregator.profile import QUARTER, Calendar, LoadProfile, Period, floor_to
from aggregator.told import Values, in_english

FEWEST_DAYS = 5
NO_QUARTER = "the event %(period)s holds no whole quarter hour"
TOO_FEW_DAYS = "%(count)s complete like days before %(start)s, needed %(needed)s"
FEWEST_ADJUSTMENT_SLOTS = 4
ADJUSTMENT_WINDOW = timedelta(hours=3)
DEFAULT_CAP = 0.4


class Method(StrEnum):
    """How like days become a baseline."""

    TEN_OF_TEN = "10-of-10"
    HIGH_4_OF_5 = "high-4-of-5"


@dataclass(frozen=True, slots=True)
class Baseline:
    """A node's baseline over one event; ``profile`` holds the adjusted kW of each quarter hour."""

    method: Method
    days: tuple[date, ...]
    adjustment_kw: float
    adjustment_window: Period | None
    profile: LoadProfile


@dataclass(frozen=True, slots=True)
class Question:
    """The event that a baseline is asked for.

    ``load`` are the node's readings, ``others`` the periods of its other calls: their days are no like days.
    """

    load: LoadProfile
    event: Period
    notified_at: datetime
    calendar: Calendar
    others: Sequence[Period] = ()


def adjustment_window(event: Period, notified_at: datetime, calendar: Calendar) -> Period | None:
    """The 3 hours before the notification, as far as they lie in the event's day; None if under an hour is
    left.
    """
    end = floor_to(min(notified_at, event.start), QUARTER)
    midnight = calendar.day(calendar.day_of(event.start)).start
    start = max(end - ADJUSTMENT_WINDOW, midnight)
    return Period(start, end) if end - start >= FEWEST_ADJUSTMENT_SLOTS * QUARTER else None


def baseline(method: Method, question: Question, cap: float = DEFAULT_CAP) -> Baseline:
    """The adjusted baseline of one event; BaselineError while fewer than 5 like days are complete."""
    window = adjustment_window(question.event, question.notified_at, question.calendar)
    days = _chosen(method, question, window)
    plain = _means(question, days, question.event)
    adjustment = _adjustment(question, days, window, cap * abs(math.fsum(plain) / len(plain)))
    profile = LoadProfile(next(question.event.slots()), QUARTER, tuple(kw + adjustment for kw in plain))
    return Baseline(method, tuple(days), adjustment, window, profile)


def typical_day(
    method: Method, load: LoadProfile, day: date, calendar: Calendar, others: Sequence[Period]
) -> LoadProfile:
    """The unadjusted baseline of a whole day, for pictures and forecasts; BaselineError as for an event."""
    period = calendar.day(day)
    question = Question(load, period, period.start, calendar, others)
    return baseline(method, question).profile


def _chosen(method: Method, question: Question, window: Period | None) -> list[date]:
    if not any(True for _ in question.event.slots()):
        raise BaselineError(in_english(NO_QUARTER, {"period": question.event}))
    wanted = 10 if method is Method.TEN_OF_TEN else 5
    found: list[date] = []
    for day in _like_days(question, window):
        found.append(day)
        if len(found) == wanted:
            break
    if len(found) < FEWEST_DAYS:
        values: Values = {"count": len(found), "start": question.event.start, "needed": FEWEST_DAYS}
        raise BaselineError(in_english(TOO_FEW_DAYS, values))
    if method is Method.HIGH_4_OF_5:
        found.sort(key=lambda day: (_energy(question, day), day), reverse=True)
        found = found[:4]
    return sorted(found)


def _like_days(question: Question, window: Period | None) -> Iterator[date]:
    calendar, event_day = question.calendar, question.calendar.day_of(question.event.start)
    called = {day for other in question.others for day in _days_of(other, calendar)}
    periods = [question.event, *([window] if window else ())]
    day, first = event_day - timedelta(days=1), calendar.day_of(question.load.start)
    while day >= first:
        alike = calendar.is_workday(day) == calendar.is_workday(event_day) and day not in called
        if alike and not any(any(map(math.isnan, _on(question, day, period))) for period in periods):
            yield day
        day -= timedelta(days=1)


def _days_of(period: Period, calendar: Calendar) -> Iterator[date]:
    day, last = calendar.day_of(period.start), calendar.day_of(period.end - timedelta(microseconds=1))
    while day <= last:
        yield day
        day += timedelta(days=1)


@lru_cache(maxsize=1024)
def _same_times(calendar: Calendar, period: Period, days: int) -> tuple[datetime, ...]:
    """The period's quarter hours at the same clock times some days later: the same ones for each node."""
    return tuple(calendar.shifted(slot, days) for slot in period.slots())


def _on(question: Question, day: date, period: Period) -> list[float]:
    """What the node used on ``day`` at the clock times of the period's quarter hours."""
    back = (day - question.calendar.day_of(question.event.start)).days
    return [question.load.at(slot) for slot in _same_times(question.calendar, period, back)]


def _energy(question: Question, day: date) -> float:
    return math.fsum(_on(question, day, question.event))


def _means(question: Question, days: Sequence[date], period: Period) -> list[float]:
    """The mean of the days for each of the period's quarter hours."""
    used = zip(*(_on(question, day, period) for day in days), strict=True)
    return [math.fsum(at_this_time) / len(days) for at_this_time in used]


def _adjustment(question: Question, days: Sequence[date], window: Period | None, cap_kw: float) -> float:
    if window is None:
        return 0.0
    offsets = [
        question.load.at(slot) - mean
        for slot, mean in zip(window.slots(), _means(question, days, window), strict=True)
        if not math.isnan(question.load.at(slot)) and _free(question, slot)
    ]
    if len(offsets) < FEWEST_ADJUSTMENT_SLOTS:
        return 0.0
    return max(-cap_kw, min(cap_kw, math.fsum(offsets) / len(offsets)))


def _free(question: Question, slot: datetime) -> bool:
    quarter = Period(slot, slot + QUARTER)
    return not any(quarter.overlaps(other) for other in question.others)
