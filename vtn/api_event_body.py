"""An event as the operator writes and reads it in JSON, and as a value of `openadr`: the same words twice.

A duration of an interval may be left out where the signal has one interval, which then lasts as long as the
event; uids are counted here. Limits of the standard are those of `openadr.rules`, asked by `vtn.event`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from openadr import (
    ActivePeriod,
    Baseline,
    Duration,
    Event,
    EventDescriptor,
    ItemBase,
    PowerAttributes,
    ServiceArea,
    Signal,
    SignalInterval,
    Target,
    TransportInterface,
)
from openadr.enums import EventStatus, ResponseRequired, SignalName, SignalType, SiScaleCode
from openadr.item_base import UNITS
from vtn.api_route import Body, DurationText, Id, Instant, Text

Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e15, le=1e15)]
NAMES = frozenset(str(name) for name in SignalName)
KINDS = frozenset(UNITS) - {"oadrGBDataDescription"}  # a feed is a report's
CURRENCIES = frozenset({"currency", "currencyPerKWh", "currencyPerKW", "currencyPerThm"})
CURRENCY = re.compile("[A-Z]{3}")
MAINS = {"hertz": 50.0, "voltage": 230.0, "ac": True}
MAX_INTERVALS = 20_000


class IntervalBody(Body):
    """One step of a signal or baseline."""

    duration: DurationText | None = Field(
        default=None, description="May be left out where there is one interval."
    )
    value: Number


class UnitBody(Body):
    """A unit. `units` names a currency (`EUR`) or a unit of your own; the standard fixes the others."""

    kind: str = Field(description=f"One of {', '.join(sorted(KINDS))}.")
    scale: SiScaleCode | None = Field(
        default=None, description="Power of ten, such as `k`; `none` otherwise."
    )
    units: Text | None = None
    description: Text | None = None
    hertz: Number | None = Field(default=None, description="Of power: 50 where it is left out.")
    voltage: Number | None = Field(default=None, description="Of power: 230 where it is left out.")
    ac: bool | None = Field(default=None, description="Of power: alternating current where it is left out.")
    pulse_factor: Number | None = Field(default=None, description="Of pulses: kWh for each.")

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"is none of {', '.join(sorted(KINDS))}")
        return kind

    @model_validator(mode="after")
    def _complete(self) -> UnitBody:
        if self.kind in CURRENCIES and (self.units is None or not CURRENCY.fullmatch(self.units)):
            raise ValueError(f"units of {self.kind} is a currency, such as EUR")
        if self.kind == "customUnit" and None in (self.units, self.description):
            raise ValueError("a customUnit has units and description")
        if self.kind == "pulseCount" and self.pulse_factor is None:
            raise ValueError("a pulseCount has a pulse_factor")
        return self


class AreaBody(Body):
    """A polygon: latitude and longitude of its corners in turn."""

    feature_id: Id | None = None
    polygon_id: Id | None = None
    positions: list[Number] = Field(min_length=6)

    @field_validator("positions")
    @classmethod
    def _pairs(cls, positions: list[float]) -> list[float]:
        if len(positions) % 2:
            raise ValueError("a corner has two numbers")
        return positions


class InterfaceBody(Body):
    """A connection between two nodes of the grid."""

    point_of_receipt: Id
    point_of_delivery: Id


class TargetBody(Body):
    """What the event concerns at the VEN, joined by OR; nothing: all of it. The VEN is not named here."""

    resource_id: list[Id] = []
    group_id: list[Id] = []
    group_name: list[Id] = []
    party_id: list[Id] = []
    end_device_asset: list[Id] = []
    meter_asset: list[Id] = []
    pnode: list[Id] = []
    aggregated_pnode: list[Id] = []
    service_delivery_point: list[Id] = []
    transport_interface: list[InterfaceBody] = []
    service_area: list[AreaBody] = []
    service_location: list[AreaBody] = []


class SignalBody(Body):
    """What the VEN is asked for."""

    signal_name: Text = Field(description="Of the standard, or `x-...`.")
    signal_type: SignalType
    signal_id: Id | None = Field(default=None, description="Counted from 0 where it is left out.")
    unit: UnitBody | None = None
    device_classes: list[Id] = Field(default=[], description="Only these devices, such as `Thermostat`.")
    intervals: list[IntervalBody] = Field(min_length=1, max_length=MAX_INTERVALS)

    @field_validator("signal_name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in NAMES and not name.startswith("x-"):
            raise ValueError(f"is no signal of the standard ({', '.join(sorted(NAMES))}) and no x-...")
        return name


class BaselineBody(Body):
    """What is expected without the event, for the aggregate of `resource_id`."""

    baseline_id: Id
    baseline_name: Text
    start: Instant
    duration: DurationText
    intervals: list[IntervalBody] = Field(min_length=1, max_length=MAX_INTERVALS)
    resource_id: list[Id] = []
    unit: UnitBody | None = None


class ContentFields(Body):
    """Everything of an event that may be left out."""

    market_context: Text | None = Field(default=None, description="Of the programme: a URI.")
    priority: int | None = Field(default=None, ge=0, le=2**32 - 1, description="1 is the highest; 0: none.")
    test_event: bool = False
    vtn_comment: Text | None = None
    response_required: ResponseRequired = ResponseRequired.ALWAYS
    start_after: DurationText | None = Field(default=None, description="Width of the random start.")
    notification: DurationText | None = Field(default=None, description="Notice before the start.")
    ramp_up: DurationText | None = None
    recovery: DurationText | None = None
    baseline: BaselineBody | None = None
    target: TargetBody = TargetBody()


class EventContent(ContentFields):
    """A whole event. Duration `PT0S`: until it is cancelled."""

    start: Instant
    duration: DurationText
    signals: list[SignalBody] = Field(min_length=1, max_length=64)


def event_of(content: EventContent, event_id: str, market_context: str, now: datetime) -> Event:
    """The event that this content describes; ValueError where a unit has parts that it must not have."""
    return Event(
        descriptor=EventDescriptor(
            event_id=event_id,
            priority=content.priority,
            market_context=content.market_context or market_context,
            created_date_time=now,
            event_status=EventStatus.FAR,
            test_event="true" if content.test_event else None,
            vtn_comment=content.vtn_comment,
        ),
        active_period=ActivePeriod(
            dtstart=content.start,
            duration=content.duration,
            start_after=content.start_after,
            notification=content.notification or Duration(0),
            ramp_up=content.ramp_up,
            recovery=content.recovery,
        ),
        signals=tuple(
            _signal(signal, number, content.duration) for number, signal in enumerate(content.signals)
        ),
        baseline=_baseline(content.baseline) if content.baseline else None,
        target=_target(content.target),
        response_required=content.response_required,
    )


def _signal(body: SignalBody, number: int, whole: Duration) -> Signal:
    classes = tuple(body.device_classes)
    return Signal(
        intervals=_intervals(body.intervals, whole),
        target=Target(end_device_asset=classes) if classes else None,
        signal_name=body.signal_name,
        signal_type=body.signal_type,
        signal_id=body.signal_id or str(number),
        item_base=_item_base(body.unit) if body.unit else None,
    )


def _intervals(bodies: list[IntervalBody], whole: Duration) -> tuple[SignalInterval, ...]:
    alone = whole if len(bodies) == 1 else None
    return tuple(
        SignalInterval(
            duration=alone if body.duration is None else body.duration,
            uid=str(uid),
            payload_float=body.value,
        )
        for uid, body in enumerate(bodies)
    )


def _baseline(body: BaselineBody) -> Baseline:
    return Baseline(
        dtstart=body.start,
        duration=body.duration,
        intervals=_intervals(body.intervals, body.duration),
        baseline_id=body.baseline_id,
        resource_id=tuple(body.resource_id),
        baseline_name=body.baseline_name,
        item_base=_item_base(body.unit) if body.unit else None,
    )


def _item_base(body: UnitBody) -> ItemBase:
    description, units, _ = UNITS[body.kind]
    power = body.kind.startswith("power")
    pulses = body.kind == "pulseCount"
    given = {name: getattr(body, name) for name in MAINS if getattr(body, name) is not None}
    if given and not power:
        raise ValueError(f"{body.kind} has no {', '.join(given)}")
    mains = MAINS | given
    return ItemBase(
        kind=body.kind,
        item_description=body.description or description,
        item_units=body.units or units,
        si_scale_code=body.scale if pulses else body.scale or SiScaleCode.NONE,
        power_attributes=PowerAttributes(
            hertz=_decimal(mains["hertz"]), voltage=_decimal(mains["voltage"]), ac=bool(mains["ac"])
        )
        if power
        else None,
        pulse_factor=body.pulse_factor,
    )


def _decimal(number: float) -> Decimal:
    return Decimal(int(number)) if float(number).is_integer() else Decimal(str(number))


def _target(body: TargetBody) -> Target:
    plain = {name: tuple(getattr(body, name)) for name in PLAIN_TARGETS}
    named = Target(**plain)
    return replace(
        named,
        transport_interface=tuple(
            TransportInterface(
                point_of_receipt=each.point_of_receipt, point_of_delivery=each.point_of_delivery
            )
            for each in body.transport_interface
        ),
        service_area=_areas(body.service_area),
        service_location=_areas(body.service_location),
    )


def _areas(bodies: list[AreaBody]) -> tuple[ServiceArea, ...]:
    return tuple(
        ServiceArea(feature_id=area.feature_id, polygon_id=area.polygon_id, positions=tuple(area.positions))
        for area in bodies
    )


PLAIN_TARGETS = (
    "resource_id",
    "group_id",
    "group_name",
    "party_id",
    "end_device_asset",
    "meter_asset",
    "pnode",
    "aggregated_pnode",
    "service_delivery_point",
)


def content_of(event: Event) -> EventContent:
    """The event in the operator's words; `event_of` makes the same event of it again.

    It is not validated: what is published may come from elsewhere, with longer texts than the operator's.
    """
    descriptor, period = event.descriptor, event.active_period
    return EventContent.model_construct(
        start=period.dtstart,
        duration=period.duration,
        signals=[_signal_body(signal) for signal in event.signals],
        market_context=descriptor.market_context,
        priority=descriptor.priority,
        test_event=event.is_test,
        vtn_comment=descriptor.vtn_comment or None,
        response_required=event.response_required,
        start_after=period.start_after,
        notification=period.notification,
        ramp_up=period.ramp_up,
        recovery=period.recovery,
        baseline=_baseline_body(event.baseline) if event.baseline else None,
        target=target_body(replace(event.target, ven_id=())),
    )


def _signal_body(signal: Signal) -> SignalBody:
    return SignalBody.model_construct(
        signal_name=signal.signal_name,
        signal_type=signal.signal_type,
        signal_id=signal.signal_id,
        unit=_unit_body(signal.item_base) if signal.item_base else None,
        device_classes=list(signal.target.end_device_asset) if signal.target else [],
        intervals=_interval_bodies(signal.intervals),
    )


def _interval_bodies(intervals: tuple[SignalInterval, ...]) -> list[IntervalBody]:
    return [
        IntervalBody.model_construct(duration=each.duration, value=each.payload_float) for each in intervals
    ]


def _baseline_body(baseline: Baseline) -> BaselineBody:
    return BaselineBody.model_construct(
        baseline_id=baseline.baseline_id,
        baseline_name=baseline.baseline_name,
        start=baseline.dtstart,
        duration=baseline.duration,
        intervals=_interval_bodies(baseline.intervals),
        resource_id=list(baseline.resource_id),
        unit=_unit_body(baseline.item_base) if baseline.item_base else None,
    )


def _unit_body(unit: ItemBase) -> UnitBody:
    mains = unit.power_attributes
    return UnitBody.model_construct(
        kind=unit.kind,
        scale=unit.si_scale_code,
        units=unit.item_units,
        description=unit.item_description,
        hertz=float(mains.hertz) if mains else None,
        voltage=float(mains.voltage) if mains else None,
        ac=mains.ac if mains else None,
        pulse_factor=unit.pulse_factor,
    )


def target_body(target: Target) -> TargetBody:
    """What a target names beside the VEN, in the operator's words; not validated, it may be a VEN's."""
    plain: dict[str, Any] = {name: list(getattr(target, name)) for name in PLAIN_TARGETS}
    for name in ("service_area", "service_location"):
        plain[name] = [
            AreaBody.model_construct(
                feature_id=area.feature_id, polygon_id=area.polygon_id, positions=list(area.positions)
            )
            for area in getattr(target, name)
        ]
    plain["transport_interface"] = [
        InterfaceBody.model_construct(
            point_of_receipt=each.point_of_receipt, point_of_delivery=each.point_of_delivery
        )
        for each in target.transport_interface
    ]
    return TargetBody.model_construct(**plain)
