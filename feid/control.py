"""What the devices do in an event: a plan for the whole of it, made from a frozen state, always the same.

The plan aims at the reduction that was asked for, not at the most that is possible: what is delivered beyond
the request is paid to nobody and costs comfort. Batteries come first, because what they give is known; loads
are paused in order of how much they are expected to give, until the expected sum meets the request; batteries
then give the rest, spread so that their energy lasts to the end. Nothing here looks at a clock or at what
happened since.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from math import exp, isfinite

from feid.devices import Command, Device, DeviceKind, DeviceState
from feid.guard import Limits
from feid.site import QUARTER, SiteState
from openadr import Event, Signal
from openadr.enums import SignalType
from openadr.timeline import Setpoint

GRID = timedelta(minutes=5)
SIMPLE_SHARE = {0: 0.0, 1: 0.3, 2: 0.6, 3: 1.0}
"""Part of what can be given that a SIMPLE level asks for, where nothing more exact is asked."""

_SOC_MARGIN_PERCENT = (
    2.0  # the state is frozen a quarter of an hour before the start; until then it may change
)
_FORGET = timedelta(minutes=90)  # how long what a device does now tells more than what is usual
_SURE_LOAD = 0.8  # a battery feeds its own home only, and no minute of a home is like the mean
_TINY_KW = 0.05


@dataclass(frozen=True, slots=True)
class _Battery:
    """A battery over the event, kW for each step: what it would do, and the least (most negative) it can."""

    device: Device
    normal_kw: list[float]
    least_kw: list[float]
    energy_kwh: float

    def most_kw(self, step: int) -> float:
        """The reduction that it can give in a step, counting its power only."""
        return max(0.0, self.normal_kw[step] - self.least_kw[step])


@dataclass(frozen=True, slots=True)
class _Load:
    """A load over the event: the reduction that pausing it is expected to give, kW for each step."""

    device: Device
    expected_kw: list[float]


def grid_floor(at: datetime) -> datetime:
    """The five-minute mark at or before an instant."""
    return at - timedelta(minutes=at.minute % 5, seconds=at.second, microseconds=at.microsecond)


def plan_cycle(setpoint: Setpoint | None, state: SiteState, limits: Limits, now: datetime) -> list[Command]:
    """What the devices do from `now` to the next five-minute mark, by device; empty without a setpoint."""
    if setpoint is None:
        return []
    step = (grid_floor(now) - grid_floor(setpoint.event.dtstart)) // GRID
    plan = plan_event(setpoint.event, state, limits)
    if not 0 <= step < len(plan):
        return []
    end = grid_floor(now) + GRID
    if setpoint.event.end is not None:
        end = min(end, setpoint.event.end)
    return [Command(device_id, now, end, power_kw) for device_id, power_kw in plan[step]]


@lru_cache(maxsize=8)
def plan_event(event: Event, state: SiteState, limits: Limits) -> tuple[tuple[tuple[str, float], ...], ...]:
    """For each five-minute step of the event, from its first on: devices and powers in kW."""
    marks = _marks(event, limits)
    batteries, loads = _batteries(state, limits, marks), _loads(state, marks)
    target_kw = [
        requested_kw(event, max(mark, event.dtstart), _can_give(state, mark), _load(state, mark))
        for mark in marks
    ]
    if not any(kw > _TINY_KW for kw in target_kw):
        return tuple(() for _ in marks)
    paused = _choose(loads, target_kw, batteries)
    rest_kw = [
        max(0.0, kw - sum(load.expected_kw[step] for load in paused)) for step, kw in enumerate(target_kw)
    ]
    powers = _discharge(batteries, rest_kw)
    return tuple(
        tuple(
            [(load.device.device_id, 0.0) for load in paused if target_kw[step] > _TINY_KW]
            + [
                (b.device.device_id, kw[step])
                for b, kw in zip(batteries, powers, strict=True)
                if rest_kw[step] > _TINY_KW
            ]
        )
        for step in range(len(marks))
    )


def requested_kw(event: Event, at: datetime, can_give_kw: float, load_kw: float) -> float:
    """The reduction that an event asks for at an instant, in kW, never negative.

    A LOAD_DISPATCH of type delta says it directly (negative: reduce), one of type setpoint against the
    expected load, SIMPLE as a part of what can be given. A value that is no finite number asks for nothing.
    """
    signals = {(s.signal_name, s.signal_type): s for s in event.signals}
    if (delta := signals.get(("LOAD_DISPATCH", SignalType.DELTA))) is not None:
        return max(0.0, -_value(event, delta, at) * _to_kw(delta))
    if (wanted := signals.get(("LOAD_DISPATCH", SignalType.SETPOINT))) is not None:
        return max(0.0, load_kw - _value(event, wanted, at) * _to_kw(wanted))
    for (name, kind), signal in signals.items():
        if name.upper() == "SIMPLE" and kind is SignalType.LEVEL:
            return SIMPLE_SHARE.get(int(_value(event, signal, at)), 0.0) * can_give_kw
    return 0.0


def _value(event: Event, signal: Signal, at: datetime) -> float:
    """A signal's value at an instant; after its last interval, the last (duration 0: open end)."""
    start, value = event.dtstart, 0.0
    for interval in signal.intervals:
        value = interval.payload_float
        if interval.duration is None or not interval.duration:
            break
        start = interval.duration.after(start)
        if at < start:
            break
    return value if isfinite(value) else 0.0


def _to_kw(signal: Signal) -> float:
    scale = signal.item_base.si_scale_code if signal.item_base is not None else None
    return (scale.factor if scale is not None else 1.0) / 1000


def _marks(event: Event, limits: Limits) -> list[datetime]:
    longest = event.dtstart + timedelta(hours=limits.max_event_hours)
    end = longest if event.end is None else min(event.end, longest)
    first = grid_floor(event.dtstart)
    return [first + GRID * step for step in range(-(-(end - first) // GRID))]


def _usual(values: tuple[float, ...], state: SiteState, mark: datetime) -> float:
    """The usual value at a mark; beyond what was frozen, the last."""
    return values[min(max(0, (mark - state.at) // QUARTER), len(values) - 1)] if values else 0.0


def _can_give(state: SiteState, mark: datetime) -> float:
    """What the node is expected to be able to give at a mark, in kW."""
    return sum(_home_can_give(state, home.home_id, mark) for home in state.homes)


def _home_can_give(state: SiteState, home_id: str, mark: datetime) -> float:
    """What is usual, corrected by how much more or less the home can give now; the correction fades."""
    home = next((h for h in state.homes if h.home_id == home_id), None)
    now_kw = sum(s.available_kw for d, s in state.pairs().values() if d.home_id == home_id)
    if home is None:
        return now_kw
    usual_kw, usual_now_kw = _usual(home.flexible_kw, state, mark), _usual(home.flexible_kw, state, state.at)
    return max(0.0, usual_kw + (now_kw - usual_now_kw) * _fade(state, mark))


def _fade(state: SiteState, mark: datetime) -> float:
    return exp(-max(timedelta(0), mark - state.at) / _FORGET)


def _load(state: SiteState, mark: datetime) -> float:
    return sum(_usual(home.load_kw, state, mark) for home in state.homes)


def _loads(state: SiteState, marks: list[datetime]) -> list[_Load]:
    """Loads that can be paused, the surest first: those that can give most at this moment."""
    pairs = state.pairs()
    loads = [(d, s) for d, s in pairs.values() if d.kind is not DeviceKind.BATTERY]
    made = []
    for device, doing in sorted(loads, key=lambda pair: (-pair[1].available_kw, pair[0].device_id)):
        expected = [_expected(device, doing, state, mark) for mark in marks]
        made.append(_Load(device, expected))
    return made


def _expected(device: Device, doing: DeviceState, state: SiteState, mark: datetime) -> float:
    """What pausing a load gives at a mark: its share of what its home's loads give."""
    of_home = [(d, s) for d, s in state.pairs().values() if d.home_id == device.home_id]
    battery_kw = sum(s.available_kw for d, s in of_home if d.kind is DeviceKind.BATTERY)
    loads = [(d, s) for d, s in of_home if d.kind is not DeviceKind.BATTERY]
    now_kw = doing.available_kw
    home = next((h for h in state.homes if h.home_id == device.home_id), None)
    if home is None:
        return now_kw
    plate_kw = sum(d.max_power_kw for d, _ in loads)
    share = device.max_power_kw / plate_kw if plate_kw > 0 else 0.0
    usual_kw = max(0.0, _usual(home.flexible_kw, state, mark) - battery_kw) * share
    fade = _fade(state, mark)
    return min(device.max_power_kw, now_kw * fade + usual_kw * (1 - fade))


def _batteries(state: SiteState, limits: Limits, marks: list[datetime]) -> list[_Battery]:
    homes = {home.home_id: home for home in state.homes}
    yesterday = {usual.device_id: usual.power_kw for usual in state.yesterday}
    made = []
    for device, doing in state.pairs().values():
        if device.kind is not DeviceKind.BATTERY or doing.soc_percent is None:
            continue
        spare = max(0.0, doing.soc_percent - limits.soc_reserve_percent - _SOC_MARGIN_PERCENT) / 100
        normal = [_usual(yesterday.get(device.device_id, ()), state, mark) for mark in marks]
        home = homes.get(device.home_id)
        most = [
            min(
                -device.min_power_kw,
                limits.capacity_kw(device.home_id),
                (_usual(home.load_kw, state, mark) - min(0.0, kw)) * _SURE_LOAD
                if home
                else -device.min_power_kw,
            )
            for mark, kw in zip(marks, normal, strict=True)
        ]
        made.append(_Battery(device, normal, [-max(0.0, kw) for kw in most], spare * device.capacity_kwh))
    return sorted(made, key=lambda b: b.device.device_id)


def _choose(loads: list[_Load], target_kw: list[float], batteries: list[_Battery]) -> list[_Load]:
    """The loads to pause: as many as are needed so that loads and batteries together meet the request."""
    hours = GRID / timedelta(hours=1)
    wanted_kwh = sum(target_kw) * hours
    from_batteries_kwh = sum(
        -sum(b.least_kw[s] - kw for s, kw in enumerate(b.normal_kw)) * hours
        if -sum(b.least_kw) * hours <= b.energy_kwh
        else max(0.0, b.energy_kwh + sum(min(0.0, kw) for kw in b.normal_kw) * hours)
        for b in batteries
    )
    missing_kwh = wanted_kwh - from_batteries_kwh
    chosen: list[_Load] = []
    for load in loads:
        if missing_kwh <= 0:
            break
        expected_kwh = sum(load.expected_kw) * hours
        if expected_kwh > 0:
            chosen.append(load)
            missing_kwh -= expected_kwh
    return chosen


def _discharge(batteries: list[_Battery], rest_kw: list[float]) -> list[list[float]]:
    """Powers of each battery (negative: discharge) that give the rest, each in proportion to what it can."""
    hours = GRID / timedelta(hours=1)
    power = [list(b.normal_kw) for b in batteries]
    for step, wanted_kw in enumerate(rest_kw):
        able = [min(b.most_kw(step), _lasting_kw(b, rest_kw)) for b in batteries]
        part = min(1.0, wanted_kw / sum(able)) if sum(able) > 0 else 0.0
        for n, b in enumerate(batteries):
            power[n][step] = round(b.normal_kw[step] - able[n] * part, 3)
    for n, b in enumerate(batteries):
        used_kwh = -sum(min(0.0, kw) for kw in power[n]) * hours
        if used_kwh > b.energy_kwh:
            power[n] = [round(kw * b.energy_kwh / used_kwh, 3) if kw < 0 else kw for kw in power[n]]
    return power


def _lasting_kw(battery: _Battery, rest_kw: list[float]) -> float:
    """The power that the battery's energy lasts for, over the steps in which anything is wanted of it."""
    hours = sum(kw > _TINY_KW for kw in rest_kw) * (GRID / timedelta(hours=1))
    return battery.energy_kwh / hours if hours else 0.0
