"""Templates of demand-response programmes: an event from a programme, a start and values (SGN-09).

The kinds of programmes are those of the OpenADR Alliance's programme guide; signals, notice and random start
of each are our own choice within the standard's table of signals, to be changed by `dataclasses.replace`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from openadr import (
    ActivePeriod,
    Duration,
    Event,
    EventDescriptor,
    ItemBase,
    Signal,
    SignalInterval,
    Target,
)
from openadr.enums import EventStatus, SignalName, SignalType

DEFAULT_CURRENCY = "EUR"


@dataclass(frozen=True, slots=True)
class SignalTemplate:
    """One signal of a programme. `unit`: kind of its itemBase, None where it has none."""

    name: SignalName
    kind: SignalType
    unit: str | None = None

    def item_base(self, currency: str) -> ItemBase | None:
        """The unit in full; `currency` (ISO 4217) is used where the unit is money."""
        if self.unit is None:
            return None
        if self.unit.startswith("power"):
            return ItemBase.power(self.unit)
        return ItemBase.of(self.unit, currency if self.unit.startswith("currency") else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """What the events of one kind of programme have in common.

    An event uses one or more of `signals`. `step` is the usual length of an interval; `notice` is the time
    before the start at which VENs are told (x-eiNotification).
    """

    key: str
    title: str
    signals: tuple[SignalTemplate, ...]
    step: timedelta
    notice: timedelta
    start_after: timedelta | None = None
    ramp_up: timedelta | None = None
    device_classes: tuple[str, ...] = ()


_LEVELS = SignalTemplate(SignalName.SIMPLE, SignalType.LEVEL)
_PRICE = SignalTemplate(SignalName.ELECTRICITY_PRICE, SignalType.PRICE, "currencyPerKWh")
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)

PROGRAMMES: Mapping[str, Programme] = {
    programme.key: programme
    for programme in (
        Programme(
            key="critical-peak-pricing",
            title="Critical peak pricing",
            signals=(
                _LEVELS,
                _PRICE,
                SignalTemplate(SignalName.ELECTRICITY_PRICE, SignalType.PRICE_RELATIVE, "currencyPerKWh"),
                SignalTemplate(SignalName.ELECTRICITY_PRICE, SignalType.PRICE_MULTIPLIER),
            ),
            step=_HOUR,
            notice=_DAY,
        ),
        Programme(
            key="capacity-bidding",
            title="Capacity bidding",
            signals=(
                _LEVELS,
                SignalTemplate(SignalName.BID_LOAD, SignalType.SETPOINT, "powerReal"),
                SignalTemplate(SignalName.BID_PRICE, SignalType.PRICE, "currencyPerKWh"),
            ),
            step=_HOUR,
            notice=_DAY,
        ),
        Programme(
            key="residential-thermostat",
            title="Residential thermostats",
            signals=(
                _LEVELS,
                SignalTemplate(SignalName.LOAD_CONTROL, SignalType.LOAD_CONTROL_LEVEL_OFFSET),
                SignalTemplate(SignalName.LOAD_CONTROL, SignalType.LOAD_CONTROL_CAPACITY),
            ),
            step=_HOUR,
            notice=timedelta(0),
            start_after=timedelta(minutes=10),  # homes do not start, and do not return, all at once
            device_classes=("Thermostat",),
        ),
        Programme(
            key="fast-dispatch",
            title="Fast demand-response dispatch",
            signals=(
                _LEVELS,
                SignalTemplate(SignalName.LOAD_DISPATCH, SignalType.SETPOINT, "powerReal"),
                SignalTemplate(SignalName.LOAD_DISPATCH, SignalType.DELTA, "powerReal"),
            ),
            step=timedelta(minutes=15),
            notice=timedelta(minutes=10),
            ramp_up=timedelta(minutes=5),
        ),
        Programme(
            key="residential-ev-tou",
            title="Time-of-use tariff for electric vehicles at home",
            signals=(_PRICE, _LEVELS),
            step=_HOUR,
            notice=_DAY,
            device_classes=("Electric_Vehicle", "EVSE"),
        ),
        Programme(
            key="public-ev-rtp",
            title="Real-time prices at public charging stations",
            signals=(_PRICE,),
            step=_HOUR,
            notice=_HOUR,
            device_classes=("EVSE",),
        ),
        Programme(
            key="distributed-energy",
            title="Distributed energy resources",
            signals=(
                _PRICE,
                SignalTemplate(SignalName.LOAD_DISPATCH, SignalType.SETPOINT, "powerReal"),
                SignalTemplate(SignalName.CHARGE_STATE, SignalType.SETPOINT, "energyReal"),
            ),
            step=_HOUR,
            notice=_DAY,
        ),
    )
}
"""The templates by their key."""


def draft(
    programme: Programme,
    values: Mapping[SignalTemplate, Sequence[float]],
    *,
    event_id: str,
    market_context: str,
    dtstart: datetime,
    now: datetime,
    step: timedelta | None = None,
    currency: str = DEFAULT_CURRENCY,
) -> Event:
    """An event of the programme, ready for `vtn.event.publish`; ValueError where the values do not fit.

    `values`: for each signal that the event uses, one number for each interval of `step`.
    """
    lengths = {len(numbers) for numbers in values.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"each signal needs the same number of values, at least one; got {sorted(lengths)}")
    foreign = [item for item in values if item not in programme.signals]
    if foreign:
        raise ValueError(f"{programme.key} has no signal {foreign[0].name} of type {foreign[0].kind}")
    length, classes = Duration.of(step or programme.step), programme.device_classes
    period = ActivePeriod(
        dtstart=dtstart,
        duration=Duration(length.seconds * lengths.pop()),
        start_after=_duration(programme.start_after),
        notification=Duration.of(programme.notice),
        ramp_up=_duration(programme.ramp_up),
    )
    return Event(
        descriptor=EventDescriptor(
            event_id=event_id,
            market_context=market_context,
            created_date_time=now,
            event_status=EventStatus.FAR,
        ),
        active_period=period,
        signals=tuple(
            Signal(
                intervals=_intervals(numbers, length),
                target=Target(end_device_asset=classes) if classes else None,
                signal_name=template.name,
                signal_type=template.kind,
                signal_id=f"{event_id}-{number}",
                item_base=template.item_base(currency),
            )
            for number, (template, numbers) in enumerate(values.items())
        ),
    )


def _intervals(values: Sequence[float], length: Duration) -> tuple[SignalInterval, ...]:
    return tuple(
        SignalInterval(duration=length, uid=str(uid), payload_float=value) for uid, value in enumerate(values)
    )


def _duration(span: timedelta | None) -> Duration | None:
    return None if span is None else Duration.of(span)
