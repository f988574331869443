"""How well each way to a baseline would have met a node's own past: placebo events on days without any.

A placebo event has the clock times of a real one, on an earlier day of the same type on which the node was
not called; the baseline sees what it would have seen then, and is held against what was metered. All errors
are of quarter hours: RRMSE is the root of the mean squared error over the mean of what was metered, CVRMSE
the same with one value fewer in the mean, bias the sum of the errors over the sum of what was metered (above
0: the baseline is too high, and reductions are overpaid).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from aggregator.baseline import DEFAULT_CAP, Baseline, Method, Question, baseline, typical_day
from aggregator.errors import BaselineError
from aggregator.profile import Calendar, LoadProfile, Period

MOST_PLACEBOS = 20
REACH = timedelta(days=35)
"""So far back placebo events are looked for."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to a baseline: how like days are chosen, and whether the same day's morning corrects them."""

    method: Method
    adjusted: bool


VARIANTS = tuple(Variant(method, adjusted) for method in Method for adjusted in (True, False))


@dataclass(frozen=True, slots=True)
class Placebo:
    """One day's event that was none: what the baseline says, and what was metered, in kW of quarter hours."""

    day: date
    expected_kw: tuple[float, ...]
    metered_kw: tuple[float, ...]
    like_days: int

    @property
    def bias(self) -> float | None:
        """The error of the day's energy as a share; None where nothing was used."""
        used = math.fsum(self.metered_kw)
        return (math.fsum(self.expected_kw) - used) / used if used else None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How one variant did; None where no day carries it."""

    variant: Variant
    placebos: tuple[Placebo, ...]

    @property
    def like_days(self) -> tuple[int, int] | None:
        """The fewest and the most like days that a baseline was made of."""
        counts = [one.like_days for one in self.placebos]
        return (min(counts), max(counts)) if counts else None

    @property
    def rrmse(self) -> float | None:
        """Root of the mean squared error as a share of what was metered on average."""
        return self._relative(0)

    @property
    def cvrmse(self) -> float | None:
        """The same with one value fewer in the mean of the squares."""
        return self._relative(1)

    @property
    def bias(self) -> float | None:
        """The errors of all energy together as a share; above 0 the baseline is too high."""
        used = math.fsum(kw for one in self.placebos for kw in one.metered_kw)
        expected = math.fsum(kw for one in self.placebos for kw in one.expected_kw)
        return (expected - used) / used if used else None

    def _relative(self, fewer: int) -> float | None:
        errors = [
            expected - used
            for one in self.placebos
            for expected, used in zip(one.expected_kw, one.metered_kw, strict=True)
        ]
        mean = math.fsum(kw for one in self.placebos for kw in one.metered_kw) / max(1, len(errors))
        if len(errors) <= fewer or not mean:
            return None
        squared = math.fsum(error * error for error in errors) / (len(errors) - fewer)
        return math.sqrt(squared) / abs(mean)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All variants over one event's clock times: how each did before, and what it says of the day itself.

    `chosen` has no baseline of a variant that the day's readings do not carry; `typical` are unadjusted
    baselines of the whole day.
    """

    day: date
    event: Period
    accuracies: tuple[Accuracy, ...]
    chosen: dict[Variant, Baseline]
    typical: dict[Method, LoadProfile]
    metered: LoadProfile

    @property
    def best(self) -> Variant | None:
        """The variant with the least RRMSE (of equal ones the first); None where there is none."""
        known = [
            (round(one.rrmse, 6), number)
            for number, one in enumerate(self.accuracies)
            if one.rrmse is not None
        ]
        return self.accuracies[min(known)[1]].variant if known else None


@dataclass(frozen=True, slots=True)
class History:
    """A node's readings, its calls, and how the programme counts days."""

    load: LoadProfile
    calls: Sequence[Period]
    calendar: Calendar
    cap: float = DEFAULT_CAP


def compare(history: History, event: Period, notice: timedelta) -> Comparison:
    """All variants for an event at these clock times that is announced `notice` before."""
    calendar = history.calendar
    day = calendar.day_of(event.start)
    others = [call for call in history.calls if not call.overlaps(event)]
    events = [event, *_placebos(history, event)]
    found = {variant: [_one(history, variant, one, notice, others) for one in events] for variant in VARIANTS}
    accuracies = tuple(
        Accuracy(variant, tuple(_placebo(history, made) for made in found[variant][1:] if made is not None))
        for variant in VARIANTS
    )
    typical = {}
    for method in Method:
        try:
            typical[method] = typical_day(method, history.load, day, calendar, others)
        except BaselineError:
            continue
    chosen = {variant: made[0] for variant, made in found.items() if made[0] is not None}
    return Comparison(day, event, accuracies, chosen, typical, history.load.window(calendar.day(day)))


def _placebos(history: History, event: Period) -> list[Period]:
    """The same clock times on earlier days of the same type, without a call and wholly metered."""
    calendar, day = history.calendar, history.calendar.day_of(event.start)
    found: list[Period] = []
    for back in range(1, REACH.days + 1):
        earlier = day - timedelta(days=back)
        if calendar.is_workday(earlier) != calendar.is_workday(day) or len(found) == MOST_PLACEBOS:
            continue
        whole = calendar.day(earlier)
        start, end = calendar.shifted(event.start, -back), calendar.shifted(event.end, -back)
        if end <= start or any(call.overlaps(whole) for call in history.calls):
            continue
        if all(not math.isnan(history.load.at(slot)) for slot in Period(start, end).slots()):
            found.append(Period(start, end))
    return found


def _one(
    history: History, variant: Variant, event: Period, notice: timedelta, others: Sequence[Period]
) -> Baseline | None:
    question = Question(history.load, event, _notified(event, notice), history.calendar, others)
    try:
        return baseline(variant.method, question, history.cap if variant.adjusted else 0.0)
    except BaselineError:
        return None


def _notified(event: Period, notice: timedelta) -> datetime:
    return event.start - notice


def _placebo(history: History, made: Baseline) -> Placebo:
    profile = made.profile
    slots = [profile.start + index * profile.step for index in range(len(profile.kw))]
    used = tuple(history.load.at(slot) for slot in slots)
    return Placebo(history.calendar.day_of(profile.start), profile.kw, used, len(made.days))
