"""Devices behind the box, as values: what they are, what they do, what they are told, what their meters say.

Rules of this module:
- Power is in kW and consumption is positive; a battery that discharges has negative power.
- Times are aware UTC; periods are half-open.
- A command is an entry of a schedule that expires: a device outside every entry runs its own normal control,
  so an agent that dies leaves its homes in normal operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import isfinite
from typing import Protocol

METER_STEP = timedelta(minutes=15)
"""Meters register energy by quarter hours, aligned to the hour."""


class DriverError(Exception):
    """The devices cannot be reached, or refused what was asked."""


class DriverUnreachableError(DriverError):
    """The devices do not answer now; the same call may succeed later."""


class DeviceKind(StrEnum):
    """What a flexible device is; the text is the last part of its device id."""

    BATTERY = "battery"
    EV_CHARGER = "ev-charger"
    HEAT_PUMP = "heat-pump"
    WATER_HEATER = "water-heater"


class Quality(StrEnum):
    """How far a meter reading can be trusted, in the words of OpenADR 2.0b (oadrDataQuality)."""

    GOOD = "Quality Good - Non Specific"
    MISSING = "No Quality - No Value"
    """The meter gave nothing; the energy is an estimate."""
    IMPLAUSIBLE = "Quality Bad - Sensor Failure"
    """The meter gave a negative or absurd value; the energy is an estimate."""


def check_aware(moment: datetime, name: str) -> None:
    """Raise ValueError, naming the field, if `moment` has no UTC offset."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(f"{name} must carry a UTC offset, got {moment.isoformat()}")


@dataclass(frozen=True, slots=True)
class Device:
    """One flexible device and its limits.

    `min_power_kw` is 0 for loads and negative for a battery (largest discharge). `capacity_kwh` is what a
    battery or a car stores; for a heat pump and a water heater it is the electric energy between the comfort
    minimum and the normal upper temperature.
    """

    device_id: str
    home_id: str
    kind: DeviceKind
    max_power_kw: float
    min_power_kw: float
    capacity_kwh: float

    def __post_init__(self) -> None:
        if not self.min_power_kw <= 0 <= self.max_power_kw:
            limits = f"{self.min_power_kw}..{self.max_power_kw} kW"
            raise ValueError(f"{self.device_id}: limits {limits} must enclose 0")


@dataclass(frozen=True, slots=True)
class Command:
    """A schedule entry that expires: in [start, end) a battery is held at `power_kw`, a load capped at it.

    Physics and local limits of the device win: an empty battery does not discharge, a cold home is heated.
    """

    device_id: str
    start: datetime
    end: datetime
    power_kw: float

    def __post_init__(self) -> None:
        check_aware(self.start, "start")
        check_aware(self.end, "end")
        if self.end <= self.start:
            times = f"end {self.end.isoformat()} is not after start {self.start.isoformat()}"
            raise ValueError(f"{self.device_id}: {times}")
        if not isfinite(self.power_kw):
            raise ValueError(f"{self.device_id}: power_kw must be a finite number, got {self.power_kw}")


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What a device was doing at the instant `at`.

    `power_kw` is the mean of the minutes just before `at`. `available_kw` is the reduction, against what the
    device would otherwise take, that it can keep up for two hours; the sum over one home is possible at once.
    `soc_percent` is a battery's charge, or the part of its wanted energy that a plugged-in car has.
    `held_until` is the end of the schedule entry in force, None in normal operation.
    """

    device_id: str
    at: datetime
    power_kw: float
    soc_percent: float | None
    temperature_c: float | None
    plugged_in: bool | None
    available_kw: float
    held_until: datetime | None


@dataclass(frozen=True, slots=True)
class MeterReading:
    """A home's energy in one quarter hour, kept by the meter itself: nothing is lost while the box is down.

    `energy_wh` is consumption; unless `quality` is good it is an estimate. `flexible_wh` is the part that the
    home's devices could have given up in that interval (within an event: could have given up in addition).
    """

    home_id: str
    start: datetime
    duration: timedelta
    energy_wh: int
    flexible_wh: int
    quality: Quality

    @property
    def end(self) -> datetime:
        """The instant when the reading is complete."""
        return self.start + self.duration


class Driver(Protocol):
    """Meters and devices of one node. Calls raise DriverError; DriverUnreachableError may be tried again."""

    async def devices(self) -> list[Device]:
        """All flexible devices of the node, by device id."""

    async def meter_readings(self, start: datetime, end: datetime) -> list[MeterReading]:
        """The readings whose start lies in [start, end), by time and home, incomplete ones left out."""

    async def states(self, at: datetime) -> list[DeviceState]:
        """All devices as they were at `at`, a mark of five minutes within the last 24 hours."""

    async def schedule(self, commands: Sequence[Command]) -> list[Command]:
        """Replace the node's schedule from the earliest start on, or from now; gives what is now held.

        An entry in force at that start ends there. Entries of one device must not overlap.
        """

    async def close(self) -> None:
        """Free the connection; what is scheduled stays until it expires."""
