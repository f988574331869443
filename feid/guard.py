"""Local limits: they win over any signal, and they come from the settings file on this box alone.

Nothing that arrives over a network is an argument of this module: `Limits` are made by `feid.settings` from a
local file, the state comes from the devices. Invariants of what `clamp` lets through, for any commands
whatever:

- only devices of this node, at powers that the device's plate allows; a load is never capped below 0;
- no battery is discharged below its reserve, counting all that it is told within the schedule;
- a home never takes, nor feeds in, more than its connection carries;
- nothing is held longer than `max_hold_minutes` ahead, and no device is held without a break longer than
  `max_event_hours`;
- a home or a tank that is below its comfort temperature is left alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from feid.devices import Command, Device, DeviceKind, DeviceState
from feid.site import SiteState


@dataclass(frozen=True, slots=True)
class Limits:
    """What this box never exceeds. Powers in kW, one value for each home or the default."""

    connection_capacity_kw: float = 14.0
    home_capacity_kw: tuple[tuple[str, float], ...] = ()
    soc_reserve_percent: float = 15.0
    room_min_c: float = 18.5
    tank_min_c: float = 42.0
    max_event_hours: float = 24.0
    max_hold_minutes: float = 30.0
    min_hold_minutes: float = 5.0

    def __post_init__(self) -> None:
        for name, low, high in _BOUNDS:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"limits.{name} must be between {low:g} and {high:g}, got {value}")
        for home_id, capacity_kw in self.home_capacity_kw:
            if not 0 < capacity_kw <= 1000:
                raise ValueError(
                    f"limits.home_capacity_kw.{home_id} must be above 0 and at most 1000, got {capacity_kw}"
                )

    def capacity_kw(self, home_id: str) -> float:
        """What this home's connection carries, in kW, in either direction."""
        return dict(self.home_capacity_kw).get(home_id, self.connection_capacity_kw)


_BOUNDS = (
    ("connection_capacity_kw", 0.1, 1000.0),
    ("soc_reserve_percent", 0.0, 100.0),
    ("room_min_c", 5.0, 30.0),
    ("tank_min_c", 5.0, 70.0),
    ("max_event_hours", 0.0, 24.0),
    ("max_hold_minutes", 5.0, 60.0),
    ("min_hold_minutes", 1.0, 60.0),
)


def clamp(commands: Iterable[Command], limits: Limits, state: SiteState) -> list[Command]:
    """The commands that the limits allow, by device and time; what is not allowed is reduced or left out."""
    known = state.pairs()
    by_device: dict[str, list[Command]] = {}
    for command in commands:
        if command.device_id in known:
            by_device.setdefault(command.device_id, []).append(command)
    allowed: list[Command] = []
    for device_id, wanted in sorted(by_device.items()):
        device, doing = known[device_id]
        if not _comfortable(device, doing, limits):
            continue
        periods = _periods(wanted, limits, state)
        powers = [replace(c, power_kw=_within_plate(c.power_kw, device, limits)) for c in periods]
        allowed += _above_reserve(powers, device, doing, limits, state.at)
    return _within_connection(allowed, state.devices, limits)


def _comfortable(device: Device, doing: DeviceState, limits: Limits) -> bool:
    """Whether the people in the home can spare this device now; unknown temperature: the device guards
    itself.
    """
    if doing.temperature_c is None:
        return True
    if device.kind is DeviceKind.HEAT_PUMP:
        return doing.temperature_c > limits.room_min_c
    if device.kind is DeviceKind.WATER_HEATER:
        return doing.temperature_c > limits.tank_min_c
    return True


def _periods(wanted: Sequence[Command], limits: Limits, state: SiteState) -> list[Command]:
    """Entries without overlap, cut to the time that the device may still be held; the earlier entry wins."""
    now = state.at
    held_since = now if state.held_since is None else state.held_since
    horizon = min(
        now + timedelta(minutes=limits.max_hold_minutes), held_since + timedelta(hours=limits.max_event_hours)
    )
    shortest = timedelta(minutes=limits.min_hold_minutes)
    kept: list[Command] = []
    free_from = now - timedelta(minutes=limits.max_hold_minutes)
    for command in sorted(wanted, key=lambda c: (c.start, c.end, c.power_kw)):
        start, end = max(command.start, free_from), min(command.end, horizon)
        if end - start >= shortest and end > now:
            kept.append(replace(command, start=start, end=end))
            free_from = end
    return kept


def _within_plate(power_kw: float, device: Device, limits: Limits) -> float:
    capacity_kw = limits.capacity_kw(device.home_id)
    return min(max(power_kw, device.min_power_kw, -capacity_kw), device.max_power_kw, capacity_kw)


def _above_reserve(
    commands: list[Command], device: Device, doing: DeviceState, limits: Limits, now: datetime
) -> list[Command]:
    """Cut a battery's discharge so that its energy above the reserve lasts; without a known charge, none."""
    if device.kind is not DeviceKind.BATTERY:
        return commands
    soc = doing.soc_percent if doing.soc_percent is not None else 0.0
    left_kwh = max(0.0, soc - limits.soc_reserve_percent) / 100 * device.capacity_kwh
    kept: list[Command] = []
    for command in commands:
        hours = (command.end - max(command.start, now)) / timedelta(hours=1)
        power_kw = command.power_kw
        if power_kw < 0:
            power_kw = max(power_kw, -left_kwh / hours)
            left_kwh -= -power_kw * hours
        kept.append(replace(command, power_kw=power_kw))
    return kept


def _within_connection(commands: list[Command], devices: Sequence[Device], limits: Limits) -> list[Command]:
    """Reduce charging and feeding in so that all devices of a home together stay within its connection."""
    by_id = {d.device_id: d for d in devices}
    return [
        _charging_within(command, by_id[command.device_id], commands, devices, limits)
        if by_id[command.device_id].kind is DeviceKind.BATTERY and command.power_kw > 0
        else command
        for command in commands
    ]


def _charging_within(
    command: Command, battery: Device, commands: Sequence[Command], devices: Sequence[Device], limits: Limits
) -> Command:
    """A battery's charging as far as the home's other devices leave room for it."""
    others = [d for d in devices if d.home_id == battery.home_id and d.device_id != battery.device_id]
    room_kw = limits.capacity_kw(battery.home_id) - sum(_most_kw(d, command, commands) for d in others)
    return replace(command, power_kw=max(0.0, min(command.power_kw, room_kw)))


def _most_kw(device: Device, during: Command, commands: Sequence[Command]) -> float:
    """What another device may take in the period of a command: its plate, unless a cap covers the whole
    period.
    """
    for other in commands:
        if other.device_id == device.device_id and other.start <= during.start and other.end >= during.end:
            return max(0.0, other.power_kw)
    return device.max_power_kw
