"""What a VEN is and takes part in, and why an event is nothing for it (VEX-13 to VEX-16, TGT-04). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite

from openadr import Duration, Event, ServiceArea, Signal, Target
from openadr.enums import SignalName
from openadr.event_rules import SIGNALS as STANDARD
from openadr.interval import END_OF_TIME
from openadr.uri import normal

_SIMPLE_LEVELS = frozenset({0.0, 1.0, 2.0, 3.0})
_CORNERS = 3


@dataclass(frozen=True, slots=True)
class Scope:
    """What this VEN is and takes part in: an event outside it is refused. `market_contexts` empty: any.

    `meters` are mrids of meter assets, `grid_nodes` names of pricing nodes and service delivery points,
    `links` the transport interfaces (receipt, delivery), `position` the site's coordinates in the order that
    the VTN's areas have.
    """

    ven_id: str
    vtn_id: str
    signals: frozenset[tuple[str, str]]
    market_contexts: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    parties: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    device_classes: frozenset[str] = frozenset()
    meters: frozenset[str] = frozenset()
    grid_nodes: frozenset[str] = frozenset()
    links: frozenset[tuple[str, str]] = frozenset()
    position: tuple[float, float] | None = None


def fault(event: Event, offset: timedelta, scope: Scope, now: datetime) -> tuple[str, str] | None:
    """Response code and text for an event that cannot be followed; `offset` is its random delay."""
    context = event.descriptor.market_context
    if scope.market_contexts and normal(context) not in map(normal, scope.market_contexts):
        return "462", f"market context {context} is not configured"
    if not _is_addressed(event.target, scope):
        return "462", "the target names nothing of this VEN"
    for signal in event.signals:
        found = _signal_fault(signal, event, scope)
        if found is not None:
            return found
    end = event.end
    if end is not None and later(end, max(offset, timedelta(0))) <= now:
        return "454", f"the event is over since {end:%Y-%m-%dT%H:%M:%SZ}"
    return None


def later(instant: datetime, delay: timedelta) -> datetime:
    """The sum, at most the end of the calendar: no message can make it overflow."""
    return instant + min(delay, END_OF_TIME - instant)


def _is_addressed(target: Target, scope: Scope) -> bool:
    """Members of a target are joined by OR; an empty one is the whole VEN (VEX-14, GEN-12)."""
    return (
        target == Target()
        or _is_addressed_whole(target, scope)
        or not scope.device_classes.isdisjoint(target.end_device_asset)
    )


def _is_addressed_whole(target: Target, scope: Scope) -> bool:
    """Whether anything but a device class names this VEN or what it owns."""
    nodes = target.pnode + target.aggregated_pnode + target.service_delivery_point
    links = ((link.point_of_receipt, link.point_of_delivery) for link in target.transport_interface)
    return (
        scope.ven_id in target.ven_id
        or not scope.resources.isdisjoint(target.resource_id)
        or not scope.groups.isdisjoint(target.group_id + target.group_name)
        or not scope.parties.isdisjoint(target.party_id)
        or not scope.meters.isdisjoint(target.meter_asset)
        or not scope.grid_nodes.isdisjoint(nodes)
        or not scope.links.isdisjoint(links)
        or _lies_in(scope.position, target.service_area + target.service_location)
    )


def _lies_in(position: tuple[float, float] | None, areas: Iterable[ServiceArea]) -> bool:
    return position is not None and any(_contains(area.positions, position) for area in areas)


def _contains(positions: tuple[float, ...], point: tuple[float, float]) -> bool:
    """Whether a ring of corners has the point inside: a ray from it crosses the ring an odd times."""
    corners = list(zip(positions[::2], positions[1::2], strict=False))
    if len(positions) % 2 or len(corners) < _CORNERS:
        return False
    inside = False
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y1 > point[1]) != (y2 > point[1]) and point[0] < (x2 - x1) * (point[1] - y1) / (y2 - y1) + x1:
            inside = not inside
    return inside


def _signal_fault(signal: Signal, event: Event, scope: Scope) -> tuple[str, str] | None:
    unsupported = _unsupported(signal, scope)
    if unsupported is not None:
        return "460", unsupported
    classes = signal.target.end_device_asset if signal.target is not None else ()
    if classes and _classes_addressed(event.target, scope).isdisjoint(classes):
        return "469", f"no device of class {', '.join(classes)} is addressed here"
    wrong = _wrong_data(signal, event)
    return None if wrong is None else ("454", wrong)


def _wrong_data(signal: Signal, event: Event) -> str | None:
    values = [interval.payload_float for interval in signal.intervals]
    if not all(map(isfinite, values)):
        return f"signal {signal.signal_id} has a value that is no number"
    if _name(signal) == SignalName.SIMPLE and not _SIMPLE_LEVELS.issuperset(values):
        return "a SIMPLE level is 0, 1, 2 or 3"
    if any(interval.duration and interval.duration.is_negative for interval in signal.intervals):
        return f"signal {signal.signal_id} has an interval with a negative duration"
    if event.end is not None and _end_of_intervals(signal, event) != event.end:
        return f"intervals of signal {signal.signal_id} do not add up to the event's duration"
    return None


def _name(signal: Signal) -> str:
    name = signal.signal_name
    return SignalName.SIMPLE if name == SignalName.SIMPLE_LOWER else name


def _unsupported(signal: Signal, scope: Scope) -> str | None:
    """Name, type and unit make one combination; the units of the standard's signals are fixed (EVT-27)."""
    name, kind = _name(signal), signal.signal_type
    if (name, str(kind)) not in scope.signals:
        return f"signal {signal.signal_name} of type {kind} is not supported"
    units = STANDARD.get(name, {}).get(kind)
    unit = signal.item_base.kind if signal.item_base is not None else None
    if units is None or (unit is None and not units) or unit in units:
        return None
    return f"signal {signal.signal_name} of type {kind} is not supported in {unit or 'no unit'}"


def _classes_addressed(target: Target, scope: Scope) -> frozenset[str]:
    """The site's device classes within the event's own target: a signal's target narrows it (TGT-03, AND)."""
    if target == Target() or _is_addressed_whole(target, scope):
        return scope.device_classes
    return scope.device_classes.intersection(target.end_device_asset)


def _end_of_intervals(signal: Signal, event: Event) -> datetime:
    end = event.dtstart
    for interval in signal.intervals:
        end = (interval.duration or Duration(0)).after(end)
    return end
