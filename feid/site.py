"""The node as the plan of an event sees it: devices, what they were doing, and what is usual at these
hours.

Frozen at one instant before the event and kept, so that a plan can be made again from the same values.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from feid.devices import Device, DeviceKind, DeviceState

QUARTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class UsualHome:
    """What is usual in a home, mean kW for each quarter hour from `SiteState.at` on, learned from its
    registers.
    """

    home_id: str
    load_kw: tuple[float, ...]
    flexible_kw: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class UsualBattery:
    """What a battery did a day ago, kW for each quarter hour from `SiteState.at` on.

    `power_kw` is its own control's; `give_kw` is the discharge that it could have kept up, above all as
    much as its home took beside what can be paused.
    """

    device_id: str
    power_kw: tuple[float, ...]
    give_kw: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SiteState:
    """The node's devices and what they were doing at one instant; what is usual is needed for a plan only.

    `held_since` is when the devices began to be held without a break; None when they are not.
    """

    at: datetime
    devices: tuple[Device, ...]
    states: tuple[DeviceState, ...]
    homes: tuple[UsualHome, ...] = ()
    yesterday: tuple[UsualBattery, ...] = ()
    held_since: datetime | None = None

    def pairs(self) -> dict[str, tuple[Device, DeviceState]]:
        """Each device with its state, by device id; a device without a state is left out."""
        states = {state.device_id: state for state in self.states}
        return {d.device_id: (d, states[d.device_id]) for d in self.devices if d.device_id in states}

    def of_homes(self, homes: frozenset[str] | None) -> "SiteState":
        """The state without the other homes and their devices; all of it where `homes` is None."""
        if homes is None:
            return self
        devices = tuple(device for device in self.devices if device.home_id in homes)
        ids = {device.device_id for device in devices}
        return replace(
            self,
            devices=devices,
            states=tuple(state for state in self.states if state.device_id in ids),
            homes=tuple(home for home in self.homes if home.home_id in homes),
            yesterday=tuple(usual for usual in self.yesterday if usual.device_id in ids),
        )

    def to_json(self) -> dict[str, Any]:
        """The state as JSON values, instants as unix seconds."""
        return _plain(asdict(self))  # type: ignore[no-any-return]  # a dict stays one

    @classmethod
    def from_json(cls, value: Any) -> "SiteState":
        """The state that `to_json` gave; KeyError, TypeError or ValueError for anything else."""
        return cls(
            at=_instant(value["at"]),
            devices=tuple(Device(**{**d, "kind": DeviceKind(d["kind"])}) for d in value["devices"]),
            states=tuple(_state(s) for s in value["states"]),
            homes=tuple(
                UsualHome(h["home_id"], tuple(h["load_kw"]), tuple(h["flexible_kw"])) for h in value["homes"]
            ),
            yesterday=tuple(
                UsualBattery(d["device_id"], tuple(d["power_kw"]), tuple(d["give_kw"]))
                for d in value["yesterday"]
            ),
        )


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value


def _state(value: dict[str, Any]) -> DeviceState:
    held_until = value["held_until"]
    return DeviceState(
        **{
            **value,
            "at": _instant(value["at"]),
            "held_until": None if held_until is None else _instant(held_until),
        }
    )


def _instant(unix: int) -> datetime:
    return datetime.fromtimestamp(unix, UTC)
