"""The next 36 hours of a node, learned from its own past 28 days, in numpy alone.

Ten homes are too few for a smooth curve and too many for one habit: what tells most about a quarter hour is
the same quarter hour of earlier days, weighed by age, of all days and of days of the same kind (working day,
weekend), and yesterday's level. A ridge regression finds the weights; it is pulled towards an equal mean of
its inputs, so it can do no worse than that where the past is short. The model is learned once a day, from
whole days before the midnight, so a restarted box makes the same forecast; each hour it is applied to what
has been metered since.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from feid.errors import HistoryTooShortError

Array = NDArray[np.float64]

STEPS_PER_DAY = 96
_FIRST_DAYS = 8  # days of past that the inputs of one day look back on at least
_RIDGE = 1.0
_ALL_DAYS = (0.7, 0.85, 0.95)  # weight of a day against the day after it, for the weighed means
_SAME_KIND = 0.85


@dataclass(frozen=True, slots=True)
class Model:
    """The learned weights of the inputs; values are scaled by `scale` around `centre` (both in the unit of
    the past).
    """

    weights: tuple[float, ...]
    centre: float
    scale: float


def learn(past: Sequence[float], end: datetime) -> Model:
    """A model of the quarter hours that end at `end`, whole days only; NaN for a missing one.

    HistoryTooShortError with fewer than nine days.
    """
    days = _days(past)
    if len(days) <= _FIRST_DAYS:
        raise HistoryTooShortError(f"a forecast needs {_FIRST_DAYS + 1} days of readings, got {len(days)}")
    filled = _filled(days)
    weekend = _weekend(end, len(days))
    inputs = np.vstack([_inputs(filled[:n], weekend[:n], weekend[n]) for n in range(_FIRST_DAYS, len(days))])
    known = days[_FIRST_DAYS:].ravel()
    rows = np.isfinite(known)
    centre = float(filled.mean())
    scale = float(filled.std()) or 1.0
    x, y = (inputs[rows] - centre) / scale, (known[rows] - centre) / scale
    equal = np.full(x.shape[1], 1.0 / x.shape[1])
    pull = _RIDGE * np.eye(x.shape[1])
    weights = equal + np.linalg.solve(x.T @ x + pull, x.T @ (y - x @ equal))
    return Model(tuple(weights.tolist()), centre, scale)


def predict(model: Model, past: Sequence[float], end: datetime, steps: int) -> list[float]:
    """The `steps` quarter hours after `end`, in the unit of the past and never negative.

    The second day is made from the first: its yesterday is the forecast itself.
    """
    days = _filled(_days(past))
    weekend = _weekend(end, len(days))
    made: list[Array] = []
    while len(made) * STEPS_PER_DAY < steps:
        next_weekend = _weekend(end + timedelta(days=len(made) + 1), 1)[0]
        scaled = (_inputs(days, weekend, next_weekend) - model.centre) / model.scale
        day = np.maximum(scaled @ np.asarray(model.weights) * model.scale + model.centre, 0.0)
        made.append(day)
        days, weekend = np.vstack([days, day]), np.vstack([weekend, next_weekend])
    return [float(value) for value in np.concatenate(made)[:steps]]


def _days(past: Sequence[float]) -> Array:
    """The past as rows of 24 hours that end where it ends; what does not fill a row is left out."""
    values = np.asarray(past, dtype=np.float64)
    rows = len(values) // STEPS_PER_DAY
    return values[len(values) - rows * STEPS_PER_DAY :].reshape(rows, STEPS_PER_DAY)


def _filled(days: Array) -> Array:
    """Missing quarter hours as the mean of the others at that time of day."""
    missing = ~np.isfinite(days)
    if not missing.any():
        return days
    known = np.where(missing, 0.0, days)
    count = (~missing).sum(axis=0)
    overall = known.sum() / max(int(count.sum()), 1)
    usual = np.where(count > 0, known.sum(axis=0) / np.maximum(count, 1), overall)
    return np.where(missing, usual, days)


def _weekend(end: datetime, rows: int) -> NDArray[np.bool_]:
    """Whether each quarter hour of the rows that end at `end` lies on a Saturday or Sunday."""
    first = end - timedelta(days=rows)
    shift = (first.hour * 60 + first.minute) // 15
    slots = np.arange(rows * STEPS_PER_DAY) + shift
    return ((first.weekday() + slots // STEPS_PER_DAY) % 7 >= 5).reshape(rows, STEPS_PER_DAY)


def _inputs(days: Array, weekend: NDArray[np.bool_], target: NDArray[np.bool_]) -> Array:
    """One row of inputs for each quarter hour of the day after `days`; `target` says which of them are at a
    weekend.
    """
    age = np.arange(len(days))[::-1]
    columns = [days[-1], days[-2], days[-7]]
    columns += [_weighed(days, np.broadcast_to((base**age)[:, None], days.shape)) for base in _ALL_DAYS]
    alike = (weekend == target) * (_SAME_KIND**age)[:, None]
    columns.append(np.where(alike.sum(axis=0) > 0, _weighed(days, alike + 1e-9), columns[-1]))
    columns.append(_smooth(days[-1], 2))
    columns.append(_smooth(columns[4], 1))
    columns.append(_smooth(columns[4], 4))
    columns.append(np.full(STEPS_PER_DAY, days[-1].mean()))
    columns.append(np.full(STEPS_PER_DAY, days[-7:].mean()))
    return np.column_stack(columns)


def _weighed(days: Array, weights: Array) -> Array:
    mean: Array = (days * weights).sum(axis=0) / weights.sum(axis=0)
    return mean


def _smooth(day: Array, reach: int) -> Array:
    """A bell-weighted mean over `reach` quarter hours on either side."""
    bell = np.hanning(2 * reach + 3)[1:-1]
    return np.convolve(np.pad(day, reach, mode="edge"), bell / bell.sum(), "valid")
