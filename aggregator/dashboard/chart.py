"""What static/chart.js draws: curves over one time axis, as JSON.

A value stands for the step that begins at its time: power is drawn as steps, unless it is asked otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import hdrs, web

from aggregator.dashboard.page import Visit
from aggregator.dashboard.wording import words_of

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One curve; `style` is step, line or points, `colour` 1 to 6 as in app.css; `dashed` for what is
    expected rather than measured. A sum says of how many of `among` it is made, value by value.
    """

    name: str
    values: Values
    colour: int = 1
    style: str = "step"
    dashed: bool = False
    counts: Sequence[int] = ()
    among: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What lies between two curves, such as P10 and P90 of a forecast."""

    name: str
    lower: Values
    upper: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Shade:
    """A period that is marked: an event."""

    start: datetime
    end: datetime
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One picture; `start` and `end` are the edges of the axis, whatever the data reach."""

    start: datetime
    end: datetime
    times: Sequence[datetime]
    series: Sequence[Series]
    unit: str = "kW"
    bands: Sequence[Band] = field(default=())
    shades: Sequence[Shade] = field(default=())
    unfinished: bool = False  # the browser asks again soon

    def answer(self, visit: Visit) -> web.Response:
        """The answer to a chart's `src`, in the user's zone and language."""
        words = words_of(visit)
        content: dict[str, Any] = {
            "from": int(self.start.timestamp()),
            "to": int(self.end.timestamp()),
            "now": int(visit.now.timestamp()),
            "zone": words.zone.key,
            "language": words.locale_tag,
            "unit": self.unit,
            "times": [int(time.timestamp()) for time in self.times],
            "series": [
                {
                    "name": one.name,
                    "values": list(one.values),
                    "colour": one.colour,
                    "style": one.style,
                    "dashed": one.dashed,
                    "counts": list(one.counts) if any(n != one.among for n in one.counts) else [],
                    "among": one.among,
                }
                for one in self.series
            ],
            "bands": [
                {"name": band.name, "lower": list(band.lower), "upper": list(band.upper)}
                for band in self.bands
            ],
            "shades": [
                {
                    "from": int(shade.start.timestamp()),
                    "to": int(shade.end.timestamp()),
                    "label": shade.label,
                }
                for shade in self.shades
            ],
        }
        again = {hdrs.RETRY_AFTER: "2"} if self.unfinished else {}
        return web.json_response(content, headers={hdrs.CACHE_CONTROL: "no-store", **again})
