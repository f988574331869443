"""The operation for an event's live curve: what its page draws, with names and times that programs read."""

from __future__ import annotations

from pydantic import Field

from aggregator.access.permission import Permission
from aggregator.dashboard import event
from aggregator.dashboard.chart import Series
from aggregator.dashboard.operation import Errand, Operation
from vtn.api_route import Answer, At, Route


class CurveView(Answer):
    """A sum over the event's nodes, quarter hour by quarter hour; null: not known."""

    kw: list[float | None]
    nodes: list[int] = Field(description="Of how many nodes each value is the sum; empty: of all.")


class EventLoadView(Answer):
    """What an event's nodes use, what they should use, and what they would have used."""

    start: At
    end: At
    times: list[At]
    nodes: int = Field(description="How many nodes are in it.")
    metered: CurveView
    target: CurveView
    baseline: CurveView
    complete: bool = Field(description="False while newer curves are being made: ask again soon.")


async def _load(errand: Errand) -> Answer:
    chart = await event.drawn(errand.visit)
    (shade,) = chart.shades
    metered, target, baseline = map(_curve, chart.series)
    return EventLoadView(
        start=shade.start,
        end=shade.end,
        times=list(chart.times),
        nodes=chart.series[0].among,
        metered=metered,
        target=target,
        baseline=baseline,
        complete=not chart.unfinished,
    )


def _curve(one: Series) -> CurveView:
    partly = any(count != one.among for count in one.counts)
    return CurveView(kw=list(one.values), nodes=list(one.counts) if partly else [])


OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/events/{event_id}/load",
            name="showEventLoad",
            summary="Target against delivered: the curves of a request's event, also while it runs.",
            handle=_load,
            answer=EventLoadView,
        ),
        permission=Permission.FLEET_READ,
        errand=True,
    ),
)
