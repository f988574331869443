"""Loads of homes without their flexible devices: from formulas of ours, or from real meters.

A load comes by local days of 288 slots of five minutes, mean kW each, with a mark for every value that a real
meter did not measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from feid.meters import MISSING, Meters
from feid.physics import Floats

SLOTS_PER_DAY = 288
SLOT_S = 300
QUARTER_S = 900
DAY_S = 86_400
WEEK_S = 7 * DAY_S

_HOURS: Floats = np.linspace(0.0, 24.0, SLOTS_PER_DAY, endpoint=False) + 1.0 / 24.0

# (hour, width in hours, kW) of the day's humps, on working days and at weekends
_Humps = tuple[tuple[float, float, float], ...]
ARCHETYPES: dict[str, tuple[_Humps, _Humps]] = {
    "family": (
        ((7.0, 0.8, 0.6), (12.3, 1.0, 0.35), (18.5, 1.8, 1.3)),
        ((9.5, 1.8, 0.6), (13.0, 2.0, 0.7), (18.7, 2.2, 1.2)),
    ),
    "two at work": (
        ((6.8, 0.7, 0.5), (19.0, 1.9, 1.1)),
        ((10.5, 1.8, 0.6), (14.0, 2.0, 0.5), (19.0, 2.0, 0.9)),
    ),
    "retired": (
        ((8.5, 1.3, 0.5), (12.0, 1.2, 0.8), (18.0, 2.0, 0.8)),
        ((8.8, 1.4, 0.5), (12.0, 1.3, 0.9), (18.0, 2.0, 0.8)),
    ),
    "single": (
        ((7.5, 0.8, 0.25), (19.5, 2.0, 0.6)),
        ((11.0, 2.0, 0.3), (19.0, 2.5, 0.5)),
    ),
    "office at home": (
        ((8.0, 1.0, 0.4), (12.5, 1.0, 0.6), (13.0, 3.2, 0.35), (18.8, 1.8, 1.0)),
        ((9.8, 1.7, 0.5), (13.0, 2.0, 0.5), (18.8, 2.2, 1.0)),
    ),
}

# (kW, slots, runs on a mean day, hour, width in hours) of appliances that show as spikes
APPLIANCES = (
    (1.9, 1, 3.0, 13.0, 5.0),  # kettle
    (1.6, 8, 0.5, 18.0, 1.5),  # oven
    (0.9, 14, 0.4, 11.0, 4.0),  # washing machine
    (1.0, 13, 0.5, 20.0, 2.0),  # dishwasher
)

_STREAM_HOME, _STREAM_DAY = 11, 12


class BaseLoad(Protocol):
    """Where the load without devices comes from."""

    @property
    def utc_offset_s(self) -> int:
        """Seconds that local time is ahead of UTC, for all days; whole quarter hours."""

    def day(self, local_day: int) -> tuple[Floats, NDArray[np.uint8]]:
        """Mean kW and meter marks (0 = measured), each (homes, 288), of a local day counted from 1970."""


@dataclass(frozen=True, slots=True)
class _Habit:
    """What sets one household apart from its archetype."""

    humps: tuple[_Humps, _Humps]
    standby_kw: float
    scale: float
    shift_hours: float
    restlessness: float


class GeneratedLoad:
    """Households of ours: humps of the day by archetype and weekday, season, noise that lasts, appliances.

    The same seed gives the same home the same day, whatever the number of homes.
    """

    def __init__(self, seed: int, homes: int, utc_offset_s: int = 0) -> None:
        self._seed = seed
        self._habits = [_habit(seed, home) for home in range(homes)]
        self._offset_s = utc_offset_s

    @property
    def utc_offset_s(self) -> int:
        """Seconds that local time is ahead of UTC."""
        return self._offset_s

    def day(self, local_day: int) -> tuple[Floats, NDArray[np.uint8]]:
        """Mean kW of every home and slot; every value is measured."""
        kw = np.stack(
            [_home_day(self._seed, home, habit, local_day) for home, habit in enumerate(self._habits)]
        )
        return kw, np.zeros(kw.shape, np.uint8)


class MeteredLoad:
    """What real meters measured, in the order of the columns; after the end, the week before again."""

    def __init__(self, meters: Meters, homes: int) -> None:
        self._start_s = meters.start.timestamp()
        self._step_s = meters.step.total_seconds()
        self._offset_s = round(meters.utc_offset_s / QUARTER_S) * QUARTER_S
        self._size = len(meters.kw)
        self._mean_kw = meters.kw[:, :homes].mean(axis=0)
        self._sums = _running_sums(meters.kw[:, :homes])  # in kW x steps, so any step can be cut into slots
        self._bad = {
            mark: _running_sums(meters.marks[:, :homes] == mark) for mark in np.unique(meters.marks) if mark
        }

    @property
    def utc_offset_s(self) -> int:
        """Seconds that the file's local time is ahead of UTC."""
        return self._offset_s

    def day(self, local_day: int) -> tuple[Floats, NDArray[np.uint8]]:
        """Mean kW of every home and slot, and what the meter really measured."""
        starts_s = local_day * DAY_S - self._offset_s + np.arange(SLOTS_PER_DAY) * SLOT_S - self._start_s
        over_s = starts_s + SLOT_S - self._size * self._step_s
        starts_s = starts_s - np.maximum(0, np.ceil(over_s / WEEK_S)) * WEEK_S
        first, last = starts_s / self._step_s, (starts_s + SLOT_S) / self._step_s
        kw = (self._at(last) - self._at(first)) * (self._step_s / SLOT_S)
        outside = (first < 0) | (last > self._size)
        kw[outside] = self._mean_kw
        marks = np.zeros(kw.shape, np.uint8)
        begin = np.clip(np.floor(first).astype(np.intp), 0, self._size)
        end = np.clip(np.ceil(last).astype(np.intp), 0, self._size)
        for mark, sums in self._bad.items():
            marks[sums[end] > sums[begin]] = mark
        marks[outside | (over_s > 0)] = MISSING
        return kw.T, marks.T

    def _at(self, position: Floats) -> Floats:
        """Running sums at positions that may lie between two intervals."""
        whole = np.clip(np.floor(position).astype(np.intp), 0, self._size - 1)
        part = (position - whole)[:, np.newaxis]
        sums: Floats = self._sums[whole] + part * (self._sums[whole + 1] - self._sums[whole])
        return sums


def _running_sums(values: NDArray[np.float64] | NDArray[np.bool_]) -> Floats:
    """Sums of the rows before each row, and of all."""
    sums = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=sums[1:])
    return sums


def _habit(seed: int, home: int) -> _Habit:
    rng = np.random.default_rng([seed, _STREAM_HOME, home])
    names = tuple(ARCHETYPES)
    return _Habit(
        humps=ARCHETYPES[names[int(rng.integers(len(names)))]],
        standby_kw=float(rng.uniform(0.10, 0.32)),
        scale=float(np.exp(rng.normal(0.0, 0.28))),
        shift_hours=float(rng.normal(0.0, 0.5)),
        restlessness=float(rng.uniform(0.15, 0.35)),
    )


def is_weekend(local_day: int) -> bool:
    """True on Saturdays and Sundays (day 0, 1970-01-01, was a Thursday)."""
    return (local_day + 3) % 7 >= 5


def season(local_day: int) -> float:
    """1 in the middle of January, -1 in the middle of July, a cosine between."""
    return float(np.cos(2.0 * np.pi * (local_day - 15) / 365.25))


def hump(hours: Floats, middle: float, width: float) -> Floats:
    """A smooth hump of height 1 on the round of the day."""
    away = (hours - middle + 12.0) % 24.0 - 12.0
    return np.exp(-0.5 * (away / width) ** 2)


def _home_day(seed: int, home: int, habit: _Habit, local_day: int) -> Floats:
    rng = np.random.default_rng([seed, _STREAM_DAY, home, local_day])
    hours = _HOURS - habit.shift_hours
    kw = np.zeros(SLOTS_PER_DAY)
    for middle, width, height in habit.humps[is_weekend(local_day)]:
        kw += height * hump(hours, middle + rng.normal(0.0, 0.25), width)
    kw += 0.12 * (1.0 + season(local_day)) * hump(hours, 19.5, 2.0)  # light of dark evenings
    kw *= habit.scale * (1.0 + 0.15 * season(local_day)) * np.exp(rng.normal(0.0, 0.12))
    kw *= np.exp(habit.restlessness * _lasting_noise(rng))
    kw += habit.standby_kw
    for height, slots, runs, middle, width in APPLIANCES:
        for begin in rng.normal(middle, width, rng.poisson(runs)):
            first = int(begin % 24.0 * 12)
            kw[first : first + slots] += height
    return kw


def _lasting_noise(rng: np.random.Generator) -> Floats:
    """Noise of mean 0 and deviation 1 that half forgets itself in about half an hour."""
    keep = 0.9
    shocks = rng.standard_normal(SLOTS_PER_DAY + 60)
    kernel = keep ** np.arange(60) * np.sqrt(1.0 - keep**2)
    return np.convolve(shocks, kernel, mode="valid")[:SLOTS_PER_DAY]
