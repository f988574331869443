"""How good the forecasts were: against what the homes would have taken and given without the event.

Beside each stands weekly naive, the same quarter-hours a week before. nMAE is the sum of absolute errors over
the sum of the true values, over all nodes and quarter-hours with a forecast; None where there is none.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from flexpact.demo.homes import ask

_WEEK = timedelta(days=7)
_DAY = timedelta(days=1)
_KW_PER_WH = 4.0 / 1000.0  # of a quarter-hour

Values = Sequence[float | None]


async def forecast_nmae(
    socket: Path, forecasts: Mapping[str, Any], midnight: datetime
) -> dict[str, float | None]:
    """Return nMAE by name for the day from `midnight` on, which `forecasts` (GET /forecasts) is about."""
    true = await _truth(socket, midnight, midnight + _DAY)
    before = await _truth(socket, midnight - _WEEK, midnight - _WEEK + _DAY)
    rows = {row["ven_name"]: row for row in forecasts["nodes"] if row["ven_name"] in true}
    load, flexible = "counterfactual_wh", "counterfactual_flexible_wh"
    return {
        "load": nmae(_pairs(true, load, {name: row["load_forecast_kw"] for name, row in rows.items()})),
        "load_weekly_naive": nmae(_pairs(true, load, _kw_of(before, load))),
        "offer": nmae(_pairs(true, flexible, {name: row["offer_kw"] for name, row in rows.items()})),
        "offer_weekly_naive": nmae(_pairs(true, flexible, _kw_of(before, flexible))),
        "portfolio": nmae(zip(_sum_kw(true, load), forecasts["portfolio"]["forecast_kw"], strict=False)),
        "portfolio_weekly_naive": nmae(zip(_sum_kw(true, load), _sum_kw(before, load), strict=False)),
    }


def nmae(pairs: Iterable[tuple[float, float | None]]) -> float | None:
    """Return the sum of |true - forecast| over that of |true|, of the (true, forecast) pairs with both."""
    known = [(true, forecast) for true, forecast in pairs if forecast is not None]
    total = sum(abs(true) for true, _ in known)
    if total == 0:
        return None
    return sum(abs(true - forecast) for true, forecast in known) / total


async def _truth(socket: Path, start: datetime, end: datetime) -> Mapping[str, Mapping[str, Sequence[float]]]:
    answer = await ask(socket, "truth", start=start.isoformat(), end=end.isoformat())
    nodes: Mapping[str, Mapping[str, Sequence[float]]] = answer["nodes"]
    return nodes


def _pairs(
    true: Mapping[str, Mapping[str, Sequence[float]]], quantity: str, forecast: Mapping[str, Values]
) -> Iterable[tuple[float, float | None]]:
    names = [name for name in true if name in forecast]
    true_kw = _kw_of(true, quantity)
    return chain.from_iterable(zip(true_kw[name], forecast[name], strict=False) for name in names)


def _kw_of(nodes: Mapping[str, Mapping[str, Sequence[float]]], quantity: str) -> dict[str, list[float]]:
    return {name: [wh * _KW_PER_WH for wh in energy[quantity]] for name, energy in nodes.items()}


def _sum_kw(nodes: Mapping[str, Mapping[str, Sequence[float]]], quantity: str) -> list[float]:
    return [sum(values) for values in zip(*_kw_of(nodes, quantity).values(), strict=True)]
